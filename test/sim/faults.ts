/**
 * Faults: what goes wrong in a run: crashes at any point of a turn, alone or in chains, processes that are stopped for less
 * or more than their lease, event loops that are held up, cuts, losses at one port. All of it heals in the end.
 *
 * Not among them is a cut that leaves two nodes that can neither hear nor fence each other, one of them with the client:
 * without a quorum neither can tell it from the other's death.
 */
import type { Action } from '../../cluster/node-actions.js'
import type { Millis } from '../../stack/index.js'
import type { Checkers } from './checkers.js'
import type { Client } from './client.js'
import type { Control } from './control.js'
import type { NodeHost, Stage } from './host.js'
import type { Prng } from './prng.js'
import type { World } from './world.js'

/** Whom a fault strikes: the owner of that moment, or a node by its place among the others. */
export type Target = 'owner' | number

export type Fault =
  | {
      readonly kind: 'crash'
      readonly stage: Stage | 'now'
      readonly frames: number
      readonly restartMs: Millis
    }
  | { readonly kind: 'pause'; readonly ms: Millis; readonly stage: Stage | 'now' }
  | { readonly kind: 'stall'; readonly ms: Millis }
  | { readonly kind: 'cut'; readonly ms: Millis; readonly control: boolean }
  | { readonly kind: 'loss'; readonly ms: Millis; readonly rate: number }

export interface PlannedFault {
  readonly at: Millis
  readonly target: Target
  readonly fault: Fault
}

export interface FaultPlan {
  readonly faults: readonly PlannedFault[]
  /** When all that is broken is mended. */
  readonly healAt: Millis
  /** Chance that a fence is confirmed. */
  readonly fenced: number
  /** Nodes that are down at `healAt` start again. */
  readonly restarts: boolean
}

export const NO_FAULTS: FaultPlan = { faults: [], healAt: 0, fenced: 1, restarts: false }

/** Where in a turn a process may end. */
export const STAGES = [
  'now',
  'declared',
  'received',
  'dispatched',
  'flushed',
  'sending',
  'sending',
] as const

export class Faults {
  readonly #world: World
  readonly #hosts: readonly NodeHost[]
  readonly #client: Client
  readonly #control: Control
  readonly #checkers: Checkers
  readonly #plan: FaultPlan
  readonly overAt: Millis

  constructor(
    world: World,
    hosts: readonly NodeHost[],
    client: Client,
    control: Control,
    checkers: Checkers,
    plan: FaultPlan,
  ) {
    this.#world = world
    this.#hosts = hosts
    this.#client = client
    this.#control = control
    this.#checkers = checkers
    this.#plan = plan
    this.overAt = world.now + plan.healAt
    for (const planned of plan.faults) world.after(planned.at, () => this.#strike(planned))
    if (plan.healAt > 0) world.after(plan.healAt, () => this.#healAll())
  }

  static plan(random: Prng, nodes: number): FaultPlan {
    const faults: PlannedFault[] = []
    const count = random.pick([0, 1, 1, 2, 2, 3, 4])
    let at = random.between(380, 1600)
    for (let i = 0; i < count; i++) {
      const target: Target = random.chance(0.75) ? 'owner' : random.below(nodes)
      faults.push({ at, target, fault: randomFault(random, target) })
      at += random.chance(0.4) ? random.between(0, 120) : random.between(100, 1500)
    }
    return {
      faults,
      healAt: count === 0 ? 0 : at + 3500,
      fenced: random.pick([1, 1, 0.5, 0]),
      restarts: random.chance(0.5),
    }
  }

  get #owner(): NodeHost | undefined {
    return this.#hosts.find((host) => host.running && host.own.state === 'owner')
  }

  #strike({ target, fault }: PlannedFault): void {
    const host = target === 'owner' ? this.#owner : this.#hosts[target]
    if (host === undefined || !host.running) return
    // A node that is cut off from everybody and loses its lease would claim alone: that takes a quorum to forbid.
    const claimsAlone = host.port.side !== 0 && !this.#checkers.quorate
    if (claimsAlone && (fault.kind === 'pause' || fault.kind === 'stall')) return
    if (fault.kind === 'crash') this.#crash(host, fault.stage, fault.frames, fault.restartMs)
    else if (fault.kind === 'pause') {
      if (fault.stage === 'now') host.pause(fault.ms)
      else host.stopPlan = { stage: fault.stage, ms: fault.ms }
    } else if (fault.kind === 'stall') host.stall(fault.ms)
    else if (fault.kind === 'cut')
      this.#cut(host, fault.ms, fault.control && host.own.state === 'owner')
    else {
      this.#world.note(`n${host.id}'s port loses ${(fault.rate * 100).toFixed(1)} %`)
      host.port.loss = fault.rate
      this.#world.after(fault.ms, () => {
        host.port.loss = 0
      })
    }
  }

  #crash(host: NodeHost, stage: Stage | 'now', frames: number, restartMs: Millis): void {
    if (stage === 'now') host.crash()
    else host.crashPlan = { stage, frames }
    if (restartMs > 0) this.#world.after(restartMs, () => host.restart())
  }

  // `host` alone on one side, everybody else with the client on the other.
  #cut(host: NodeHost, ms: Millis, control: boolean): void {
    this.#world.note(`n${host.id} is cut off${control ? ', its control channels too' : ''}`)
    this.#checkers.cut()
    host.port.side = 1
    if (control) this.#control.sides.set(host, 1)
    this.#world.after(ms, () => this.#heal())
  }

  #heal(): void {
    if (this.#hosts.every((host) => host.port.side === 0)) return
    this.#world.note('the cut heals')
    for (const host of this.#hosts) host.port.side = 0
    this.#control.heal()
    this.#checkers.healed()
  }

  #healAll(): void {
    this.#heal()
    for (const host of this.#hosts) {
      host.port.loss = 0
      host.crashPlan = null
      host.stopPlan = null
    }
    const up = this.#hosts.filter((host) => host.running)
    for (const host of this.#hosts) {
      if (this.#plan.restarts || up.length === 0) host.restart()
    }
    void this.#client
  }

  /** A fence is confirmed or not, a little later. One that is confirmed stands. */
  handleAction(host: NodeHost, action: Action): void {
    if (action.kind !== 'fence') return
    const { random } = this.#world
    const { node } = action
    const target = this.#hosts.find((one) => one.id === node)
    if (target === undefined) return
    // Across a cut nobody reaches the other's port.
    const confirmed = random.chance(this.#plan.fenced) && !this.#control.cutBetween(host, target)
    const life = host.life
    this.#world.after(random.between(0.3, 3), () => {
      if (confirmed) target.port.isolated = true
      this.#world.note(`the fence around n${node} is ${confirmed ? '' : 'not '}confirmed`)
      if (host.life === life && host.running) host.takeControl({ kind: 'fenced', node, confirmed })
    })
  }
}

export function randomFault(random: Prng, target: Target): Fault {
  const draw = random.unit()
  if (draw < 0.5) {
    const restartMs = random.chance(0.6) ? random.between(50, 2000) : 0
    return { kind: 'crash', stage: random.pick(STAGES), frames: random.below(12), restartMs }
  }
  if (draw < 0.72) {
    const ms = random.pick([20, 70, 90, 130, 300, 900, 2000]) * random.between(0.8, 1.2)
    return {
      kind: 'pause',
      ms,
      stage: random.pick(['now', 'now', 'declared', 'dispatched', 'flushed'] as const),
    }
  }
  if (draw < 0.78) return { kind: 'stall', ms: random.between(20, 2500) }
  if (draw < 0.9) return { kind: 'cut', ms: random.between(20, 1500), control: random.chance(0.7) }
  const rate = target === 'owner' ? random.between(0.01, 0.1) : random.between(0.005, 0.05)
  return { kind: 'loss', ms: random.between(50, 1000), rate }
}
