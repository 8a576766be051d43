/**
 * Bridge: an Ethernet segment where every port gets every frame but its own sender's, each with a delay of its own, in order
 * unless told otherwise, and with loss, duplication and cuts where the scenario wants them.
 */
import { Frame } from '../../stack/index.js'
import type { World } from './world.js'

const FRAME_SIZE = 2048

/** A frame on its way, shared by the ports that will get it. */
export interface SharedFrame {
  readonly frame: Frame
  users: number
}

/** One attachment. */
export class BridgePort {
  readonly name: string
  /** True for the port of a cluster node. */
  readonly isNode: boolean
  /** Shut by a fence: nothing in, nothing out. */
  isolated = false
  /** Ports on different sides of a cut do not hear each other. */
  side = 0
  loss = 0
  duplicate = 0
  /** Chance that a frame overtakes those before it. */
  reorder = 0
  minDelay = 0.01
  maxDelay = 0.06
  /** Frames that others could have and this port did not get. */
  missed = 0
  lastAt = 0
  deliver: (shared: SharedFrame) => void = () => {}

  constructor(name: string, isNode: boolean) {
    this.name = name
    this.isNode = isNode
  }
}

export class Bridge {
  readonly ports: BridgePort[] = []
  /** Frames that entered so far. */
  frames = 0
  /** Copies on their way to nodes. */
  inFlight = 0
  /** True when this port does not get the frame of this number. */
  misses: (port: BridgePort, index: number) => boolean = () => false
  /** Sees each frame that enters, with its number. */
  onFrame: (from: BridgePort, frame: Frame, index: number) => void = () => {}
  readonly #world: World
  readonly #pool: SharedFrame[] = []

  constructor(world: World) {
    this.#world = world
  }

  attach(name: string, isNode: boolean): BridgePort {
    const port = new BridgePort(name, isNode)
    this.ports.push(port)
    return port
  }

  /** A copy of `frame`; the caller gives it back by `release`. */
  share(frame: Frame): SharedFrame {
    const shared = this.#pool.pop() ?? { frame: new Frame(FRAME_SIZE), users: 0 }
    shared.frame.copyFrom(frame)
    shared.users = 1
    return shared
  }

  release(shared: SharedFrame): void {
    if (--shared.users === 0) this.#pool.push(shared)
  }

  /** `frame` enters by `from` and is copied for every other port. */
  transmit(from: BridgePort, frame: Frame): void {
    if (from.isolated) return
    const world = this.#world
    const index = this.frames++
    world.trace.frame(world.now, index, from.name, frame)
    const shared = this.share(frame)
    for (const port of this.ports) {
      if (port === from) continue
      const lost = port.isolated || port.side !== from.side || world.random.chance(port.loss)
      if (lost || this.misses(port, index)) {
        port.missed++
        continue
      }
      this.#carry(port, shared)
      if (world.random.chance(port.duplicate)) this.#carry(port, shared)
    }
    this.release(shared)
    this.onFrame(from, frame, index)
  }

  #carry(port: BridgePort, shared: SharedFrame): void {
    const { random, now } = this.#world
    let at = now + random.between(port.minDelay, port.maxDelay)
    if (!random.chance(port.reorder)) {
      at = Math.max(at, port.lastAt)
      port.lastAt = at
    }
    shared.users++
    if (port.isNode) this.inFlight++
    this.#world.at(at, () => {
      if (port.isNode) this.inFlight--
      if (port.isolated) {
        port.missed++
        this.release(shared)
      } else {
        port.deliver(shared)
      }
    })
  }
}
