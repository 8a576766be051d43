/**
 * Control: the channels between the nodes beside the bridge: declarations with a delay, the end of a channel when a process
 * dies, heartbeats every five milliseconds. A full cut stops them too; what was sent meanwhile comes when the cut heals.
 */
import type { NodeHost } from './host.js'
import type { World } from './world.js'

export const HEARTBEAT_MS = 5
/** How long after a process died its peers see the channel's end. */
const EOF_MS = 2

export class Control {
  /** Hosts on different sides do not hear each other here. */
  readonly sides = new Map<NodeHost, number>()
  readonly #world: World
  readonly #hosts: readonly NodeHost[]
  readonly #channels = new Set<string>()
  #kept: (() => void)[] = []
  readonly #arrivals = new Map<string, number>()

  constructor(world: World, hosts: readonly NodeHost[]) {
    this.#world = world
    this.#hosts = hosts
    this.#beat()
  }

  cutBetween(a: NodeHost, b: NodeHost): boolean {
    return (this.sides.get(a) ?? 0) !== (this.sides.get(b) ?? 0)
  }

  heal(): void {
    this.sides.clear()
    const kept = this.#kept
    this.#kept = []
    for (const carry of kept) carry()
  }

  /** A message for every peer that has a channel to `from`, or for `only` one of them. */
  send(from: NodeHost, bytes: Uint8Array, only: number | null = null): void {
    const life = from.life
    for (const to of this.#hosts) {
      if (only !== null && to.id !== only) continue
      if (to === from || !this.#channels.has(channelName(from, to))) continue
      const target = to.life
      const carry = (): void => {
        this.#world.at(this.#arrival(from, to), () => {
          if (to.life === target && to.running)
            to.takeControl({ kind: 'message', from: from.id, bytes })
        })
      }
      if (this.cutBetween(from, to)) this.#kept.push(() => from.life === life && carry())
      else carry()
    }
  }

  // A channel keeps the order of its messages.
  #arrival(from: NodeHost, to: NodeHost): number {
    const name = `${from.id} ${to.id}`
    const at = this.#world.now + this.#world.random.between(0.1, 0.6)
    const arrival = Math.max(at, this.#arrivals.get(name) ?? 0)
    this.#arrivals.set(name, arrival)
    return arrival
  }

  /** `from` wants a channel to the node `id`. */
  open(from: NodeHost, id: number): void {
    const to = this.#hosts.find((host) => host.id === id)
    if (to === undefined || !to.running) return
    const name = channelName(from, to)
    if (this.#channels.has(name)) return
    const lives = [from.life, to.life]
    const carry = (): void =>
      this.#world.after(this.#world.random.between(0.5, 2), () => {
        if (from.life !== lives[0] || to.life !== lives[1] || !from.running || !to.running) return
        if (this.#channels.has(name)) return
        this.#channels.add(name)
        from.takeControl({ kind: 'channel', node: to.id, up: true })
        to.takeControl({ kind: 'channel', node: from.id, up: true })
      })
    if (this.cutBetween(from, to)) this.#kept.push(carry)
    else carry()
  }

  /** The process of `dead` is gone, and with it its channels. */
  closeAll(dead: NodeHost): void {
    for (const host of this.#hosts) {
      if (host === dead || !this.#channels.delete(channelName(dead, host))) continue
      const life = host.life
      if (this.cutBetween(dead, host)) continue
      this.#world.after(EOF_MS + this.#world.random.between(0, 0.5), () => {
        if (host.life !== life || !host.running) return
        if (this.#channels.has(channelName(dead, host))) return
        host.takeControl({ kind: 'channel', node: dead.id, up: false })
      })
    }
  }

  #beat(): void {
    for (const from of this.#hosts) {
      if (!from.running || from.paused) continue
      from.beatAt = this.#world.now
      for (const to of this.#hosts) {
        if (to === from || !to.running || this.cutBetween(from, to)) continue
        to.takeBeat(from.id, from.turnedAt)
      }
    }
    this.#world.after(HEARTBEAT_MS, () => this.#beat())
  }
}

function channelName(a: NodeHost, b: NodeHost): string {
  return a.id < b.id ? `${a.id}-${b.id}` : `${b.id}-${a.id}`
}
