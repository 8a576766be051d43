/**
 * Scenario: one whole run, chosen by its seed: a cluster of two to four nodes, a client with one to six streams, and what
 * goes wrong meanwhile. When the faults are over every stream must end within a bound (law 6).
 */
import { DEFAULT_TIMING, type ProxyHeader } from '../../cluster/index.js'
import { MemoryCheckpointStorage } from '../../cluster/memory-store.js'
import type { Action } from '../../cluster/node-actions.js'
import type { Millis } from '../../stack/index.js'
import type { ServerConfig } from './app.js'
import { Backend } from './backend.js'
import { Bridge } from './bridge.js'
import { Checkers, type Counts } from './checkers.js'
import { type AccessLink, Client } from './client.js'
import { Control } from './control.js'
import { Disk } from './disk.js'
import { type FaultPlan, Faults, type PlannedFault, randomFault, STAGES } from './faults.js'
import { type HostObserver, NodeHost, type Site } from './host.js'
import type { Prng } from './prng.js'
import { randomStream, type StreamSpec } from './workload.js'
import { World } from './world.js'

/** How long a stream may take behind the last fault: back-off after a long silence, and then its own time. */
export const PROGRESS_MS: Millis = 120_000

/** A run, as far as it is not left to the seed. */
export interface Setting {
  readonly nodes: number
  readonly streams: readonly StreamSpec[]
  readonly link: AccessLink
  readonly server: ServerConfig
  readonly receiveLimit: number
  readonly sendLimit: number
  readonly clientReceiveLimit: number
  readonly faults: FaultPlan
  /** The nodes are proxies, and a machine behind them serves. */
  readonly proxied?: boolean
  /** What tells the machine behind them whose connection it is; nothing when left out. */
  readonly header?: ProxyHeader
  /** Peers ask for what they missed; true when left out. */
  readonly repairs?: boolean
  /** Strict mode (D2); false when left out. */
  readonly strict?: boolean
  /** The binding returns to the smallest id when that is back (P23); false when left out. */
  readonly returns?: boolean
  /** More than half of the nodes must be heard to own (D3); false when left out. */
  readonly quorate?: boolean
}

/** What a run is besides its seed. */
export interface Variant {
  /** The nodes are proxies, and a machine behind them serves. */
  readonly proxied: boolean
  /** Each peer's port loses frames all the time, checkpoints are rare, and the owner is killed once. */
  readonly lossy: boolean
  /** The same with much more loss, and an owner that dies at any point of a turn. */
  readonly harsh: boolean
  readonly repairs: boolean
  /** Strict mode (D2). */
  readonly strict: boolean
  /** The binding returns to the smallest id when that is back (P23), which happens once at least. */
  readonly returns: boolean
  /** More than half of the nodes must be heard to own (D3), and nodes are cut off for good and all. */
  readonly quorate: boolean
}

export const PLAIN: Variant = {
  proxied: false,
  lossy: false,
  harsh: false,
  repairs: true,
  strict: false,
  returns: false,
  quorate: false,
}

export interface RunResult {
  readonly seed: number
  readonly violations: readonly string[]
  readonly fingerprint: string
  readonly steps: number
  readonly counts: Counts
  readonly trace: readonly string[]
  /** Frames that entered the bridge. */
  readonly frames: number
  /** Connections that the machine behind the proxies has accepted. */
  readonly served: number
}

export const PERFECT_LINK: AccessLink = {
  delay: 0.05,
  jitter: 0,
  loss: 0,
  duplicate: 0,
  reorder: 0,
}
export const QUICK_SERVER: ServerConfig = {
  commitEvery: 8192,
  readMax: 65_536,
  restMs: 0,
  regenerates: false,
}

/** A setting drawn from `random`. */
export function randomSetting(random: Prng): Setting {
  const nodes = random.pick([2, 3, 3, 3, 4])
  const lossy = random.chance(0.6)
  const link: AccessLink = {
    delay: random.pick([0.05, 1, 5, 20]),
    jitter: lossy ? random.pick([0, 1, 10]) : 0,
    loss: lossy ? random.between(0, 0.05) : 0,
    duplicate: random.chance(0.2) ? 0.02 : 0,
    reorder: lossy && random.chance(0.5) ? 0.05 : 0,
  }
  const slow = random.chance(0.25)
  const server: ServerConfig = {
    commitEvery: random.pick([1000, 8192, 50_000]),
    readMax: slow ? 500 + random.below(4000) : 65_536,
    restMs: slow ? random.pick([2, 10, 40]) : 0,
    regenerates: random.chance(0.4),
  }
  const streams: StreamSpec[] = []
  const count = 1 + random.below(6)
  for (let i = 0; i < count; i++) streams.push(randomStream(random))
  return {
    nodes,
    streams,
    link,
    server,
    receiveLimit: random.pick([8192, 65_536, 262_144]),
    sendLimit: random.pick([16_384, 65_536, 262_144]),
    clientReceiveLimit: random.pick([4096, 65_536, 1_048_576]),
    faults: Faults.plan(random, nodes),
  }
}

// Peers that miss frames, and an owner that dies.
function lossySetting(random: Prng): Setting {
  const setting = randomSetting(random)
  const faults: PlannedFault[] = []
  for (let peer = 1; peer < setting.nodes; peer++) {
    const rate = random.between(0.005, 0.03)
    faults.push({ at: 340, target: peer, fault: { kind: 'loss', ms: 4000, rate } })
  }
  const crash = { kind: 'crash', stage: 'now', frames: 0, restartMs: 0 } as const
  faults.push({ at: random.between(500, 1600), target: 'owner', fault: crash })
  return {
    ...setting,
    server: { ...setting.server, commitEvery: 50_000 },
    faults: { faults, healAt: 5000, fenced: 1, restarts: false },
  }
}

// Peers that miss one frame in ten at the worst, and an owner that dies between any two steps.
function harshSetting(random: Prng): Setting {
  const setting = randomSetting(random)
  const faults: PlannedFault[] = []
  for (let peer = 1; peer < setting.nodes; peer++) {
    const rate = random.between(0.01, 0.1)
    faults.push({ at: 340, target: peer, fault: { kind: 'loss', ms: 4000, rate } })
  }
  const stage = random.pick(STAGES.filter((each) => each !== 'declared'))
  const crash = { kind: 'crash', stage, frames: random.below(12), restartMs: 0 } as const
  faults.push({ at: random.between(360, 1600), target: 'owner', fault: crash })
  return {
    ...setting,
    server: { ...setting.server, commitEvery: 50_000 },
    faults: { faults, healAt: 5000, fenced: 1, restarts: false },
  }
}

// The owner dies and comes back while its successor serves, and whoever is there then may die, too.
function returningSetting(random: Prng): Setting {
  const setting = randomSetting(random)
  const faults: PlannedFault[] = []
  let at = random.between(400, 900)
  for (let i = 0; i < 3; i++) {
    const stage = random.pick(STAGES.filter((each) => each !== 'declared'))
    const restartMs = random.between(20, 600)
    const crash = { kind: 'crash', stage, frames: random.below(12), restartMs } as const
    const target = i === 0 || random.chance(0.5) ? 'owner' : random.below(setting.nodes)
    if (i === 0 || random.chance(0.7)) faults.push({ at, target, fault: crash })
    at += random.chance(0.3) ? random.between(600, 760) : random.between(100, 2500)
  }
  faults.push(...setting.faults.faults.filter(() => random.chance(0.3)))
  const healAt = Math.max(at, setting.faults.healAt) + 3500
  return { ...setting, faults: { ...setting.faults, faults, healAt, restarts: true } }
}

// Nodes are cut off with their control channels, stopped and held up meanwhile too, and no fence reaches across.
function quorateSetting(random: Prng): Setting {
  const setting = randomSetting(random)
  const nodes = random.pick([3, 3, 4, 5])
  const faults: PlannedFault[] = []
  let at = random.between(380, 1200)
  for (let i = 0; i < 3; i++) {
    const target = random.chance(0.7) ? 'owner' : random.below(nodes)
    const ms = random.pick([60, 85, 95, 120, 300, 1200]) * random.between(0.9, 1.1)
    faults.push({ at, target, fault: { kind: 'cut', ms, control: true } })
    const during = at + random.between(0, 200)
    if (random.chance(0.3)) faults.push({ at: during, target, fault: randomFault(random, target) })
    at += random.between(100, 2500)
  }
  const fenced = random.pick([1, 0.5, 0])
  return {
    ...setting,
    nodes,
    faults: { faults, healAt: at + 3500, fenced, restarts: true },
  }
}

/** A cluster with its client, ready to run. */
export class Run {
  readonly world: World
  readonly bridge: Bridge
  readonly hosts: NodeHost[] = []
  readonly checkers: Checkers
  readonly client: Client
  /** What the proxies lead to, if they are proxies. */
  readonly backend: Backend | null
  readonly faults: Faults

  constructor(world: World, setting: Setting) {
    this.world = world
    this.bridge = new Bridge(world)
    this.checkers = new Checkers(world, this.bridge, this.hosts, setting.quorate === true)
    const site: Site = {
      world,
      bridge: this.bridge,
      storage: new MemoryCheckpointStorage(),
      disk: new Disk(world),
      observer: this.#observer(),
      timing: DEFAULT_TIMING,
      server: setting.server,
      receiveLimit: setting.receiveLimit,
      sendLimit: setting.sendLimit,
      proxied: setting.proxied === true,
      header: setting.header ?? null,
      repairs: setting.repairs !== false,
      strict: setting.strict === true,
      returns: setting.returns === true,
      members: setting.quorate === true ? setting.nodes : 0,
    }
    for (let id = 1; id <= setting.nodes; id++) this.hosts.push(new NodeHost(site, id))
    const control = new Control(world, this.hosts)
    for (const host of this.hosts) host.control = control
    this.client = new Client(
      world,
      this.bridge,
      setting.link,
      setting.streams,
      setting.clientReceiveLimit,
    )
    this.backend = site.proxied ? new Backend(site) : null
    this.checkers.watch(this.client)
    this.checkers.counts.connections = setting.streams.length
    this.faults = new Faults(world, this.hosts, this.client, control, this.checkers, setting.faults)
    for (const host of this.hosts) {
      const at = host.id === 1 ? 0 : world.random.between(0, 30)
      world.after(at, () => host.start())
    }
  }

  #observer(): HostObserver {
    const { checkers } = this
    return {
      handleAction: (host: NodeHost, action: Action) => {
        checkers.handleAction(host, action)
        this.faults.handleAction(host, action)
      },
      handleReset: (host, port) => checkers.handleReset(host, port),
      handleCrash: (host) => checkers.handleCrash(host),
      handleInputLost: (host, port) => checkers.handleInputLost(host, port),
    }
  }

  /** Runs to the end and says what came of it. */
  finish(): RunResult {
    const { world, client, faults, checkers } = this
    const limit = Math.max(faults.overAt, world.now + 1500) + PROGRESS_MS
    try {
      world.run(() => client.over && world.now >= faults.overAt, limit)
      const settled = world.now + 300
      world.run(() => false, Math.min(settled, limit + 300))
    } catch (error) {
      world.violate(`an exception: ${error instanceof Error ? error.stack : String(error)}`)
    }
    if (world.violations.length === 0) this.#checkProgress()
    if (world.violations.length === 0) checkers.finish()
    checkers.counts.done = client.sessions.filter((session) => session.state === 'done').length
    return {
      seed: world.seed,
      violations: world.violations,
      fingerprint: world.trace.fingerprint,
      steps: world.steps,
      counts: checkers.counts,
      trace: world.trace.lines,
      frames: this.bridge.frames,
      served: this.backend?.app.accepted ?? 0,
    }
  }

  // Law 6. A client that only listens may wait for ever when the reset that was meant for it got lost.
  #checkProgress(): void {
    for (const session of this.client.sessions) {
      if (session.over || this.checkers.wasGivenUp(session)) continue
      if (this.checkers.isUnknown(session)) continue
      const { read, written, spec } = session
      this.world.violate(
        `progress: stream ${session.index} (${spec.kind} :${session.localPort}) stands at ` +
          `${written}/${spec.input.length} written, ${read}/${spec.output.length} read`,
      )
    }
  }
}

/** The run of `seed`. */
export function simulate(
  seed: number,
  keepTrace = false,
  variant: Partial<Variant> = {},
): RunResult {
  const world = new World(seed, keepTrace)
  const { proxied, lossy, harsh, repairs, strict, returns, quorate } = { ...PLAIN, ...variant }
  const calm = quorate ? quorateSetting : returns ? returningSetting : randomSetting
  const choose = harsh ? harshSetting : lossy ? lossySetting : calm
  return new Run(world, {
    ...choose(world.random),
    proxied,
    repairs,
    strict,
    returns,
    quorate,
  }).finish()
}
