/**
 * Backend: a machine beside the cluster that serves what the proxies bring: our stack, and the applications that elsewhere run on the
 * nodes, without any checkpoint. It knows nothing of the cluster, never fails, and counts its connections.
 */
import { MemoryCheckpointStorage, MemoryCheckpointStore } from '../../cluster/memory-store.js'
import { type Millis, NEVER, type Nic, Stack } from '../../stack/index.js'
import { ServerApp } from './app.js'
import type { Bridge, BridgePort, SharedFrame } from './bridge.js'
import type { Site } from './host.js'
import { SERVER_ADDRESS, SERVER_MAC } from './place.js'
import type { World } from './world.js'

export class Backend {
  readonly id = 0
  readonly port: BridgePort
  readonly stack: Stack
  readonly site: Site
  readonly app: ServerApp
  readonly #world: World
  readonly #bridge: Bridge
  readonly #nic: Nic
  readonly #skew: Millis
  #inbox: SharedFrame[] = []
  #wakeAt: Millis = NEVER

  constructor(site: Site) {
    const { world, bridge } = site
    this.site = site
    this.#world = world
    this.#bridge = bridge
    this.#skew = world.random.below(5_000_000)
    this.port = bridge.attach('server', false)
    this.port.deliver = (shared) => {
      this.#inbox.push(shared)
      this.#wake(0.01)
    }
    const secret = Int32Array.from([world.random.u32(), world.random.u32(), 5, 6])
    const { receiveLimit, sendLimit } = site
    this.stack = new Stack({ rng: world.random, secret, receiveLimit, sendLimit })
    this.#nic = this.stack.addNic({ mac: SERVER_MAC, mtu: 1500 })
    this.#nic.setAddress(SERVER_ADDRESS, 24, 'assigned')
    const checkpoints = new MemoryCheckpointStore(new MemoryCheckpointStorage())
    this.app = new ServerApp(this, checkpoints, site.server, SERVER_ADDRESS)
  }

  #wake(delay: Millis): void {
    const at = this.#world.now + delay
    if (at >= this.#wakeAt) return
    this.#wakeAt = at
    this.#world.at(at, () => {
      if (this.#wakeAt !== at) return
      this.#wakeAt = NEVER
      this.#turn()
    })
  }

  #turn(): void {
    const { stack } = this
    const now = this.#world.now + this.#skew
    for (const shared of this.#inbox) {
      stack.receive(this.#nic, shared.frame, now)
      this.#bridge.release(shared)
    }
    this.#inbox.length = 0
    stack.handleTimeout(now)
    this.app.dispatch(now)
    for (let f = stack.pollTransmit(now); f !== null; f = stack.pollTransmit(now)) {
      this.#bridge.transmit(this.port, f)
    }
    const at = Math.min(stack.nextDeadline(), this.app.nextDeadline())
    if (at < NEVER) this.#wake(Math.max(at - now, 0.1))
  }
}
