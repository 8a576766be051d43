/**
 * MemoryCluster: nodes and clients of one process on a hub in memory: the whole system without devices and privileges, for a
 * first look and for tests of applications. A node that crashes here just falls silent and keeps nothing.
 */
import { createHash } from 'node:crypto'
import { createNet, Hub, type IpAddress, type Net, type Nic, Stack } from '../../stack/index.js'
import { Driver } from '../../stack/io/driver.js'
import { systemClock } from '../../stack/io/system-clock.js'
import { SystemRng } from '../../stack/io/system-rng.js'
import type { NodeId } from '../binding.js'
import {
  MemoryCheckpointStorage,
  MemoryCheckpointStore,
  MemoryMirrorStore,
} from '../memory-store.js'
import { HmacAuthenticator } from './authenticator.js'
import type { NodeConfig } from './node-config.js'
import { NodeRuntime } from './runtime.js'
import type { Beats, ControlChannel } from './runtime-parts.js'

const NO_HOST = 0

// The loop is everybody's: when a busy machine holds it up, nobody has fallen behind the others.
const ONE_LOOP = { turnLeaseMs: 10_000, stuckMs: 12_000 }

export class MemoryCluster {
  readonly hub = new Hub({ maxQueue: 10_000 })
  readonly #nodes = new Map<NodeId, NodeRuntime>()
  readonly #checkpoints = new MemoryCheckpointStorage()
  readonly #clients: Driver<Nic>[] = []
  readonly #key = createHash('sha256').update('memory').digest()
  readonly #secret = new Int32Array(4)
  #delivering = false
  #macs = 0

  constructor() {
    this.hub.onReadable = () => this.#deliverSoon()
  }

  /** A node that is up, by its id. */
  node(id: NodeId): NodeRuntime | undefined {
    return this.#nodes.get(id)
  }

  /** Starts a node; of `wanted` only what does not name devices, files and sockets is used. */
  start(wanted: NodeConfig): NodeRuntime {
    const { id } = wanted
    const config = { ...wanted, timing: { ...wanted.timing, ...ONE_LOOP } }
    const mac = config.mac ?? 0x02_75_73_00_00_00 + id
    const driver = new Driver<Nic>(this.#newStack(), systemClock)
    const runtime = new NodeRuntime(config, {
      stack: driver.stack as Stack,
      driver,
      link: this.hub.addPort(mac),
      beats: new SharedBeats(this.#nodes),
      beatsOffset: 0,
      control: this.#channelOf(id),
      controlPort: id,
      fence: { silence: () => Promise.resolve(true), open: () => false },
      fenceTarget: { host: NO_HOST, pid: id, startTime: 0, port: `port${id}` },
      mirrorStore: new MemoryMirrorStore(),
      checkpointStore: new MemoryCheckpointStore(this.#checkpoints),
      authenticator: new HmacAuthenticator(this.#key),
    })
    this.#nodes.set(id, runtime)
    runtime.start()
    for (const other of this.#nodes.keys()) {
      if (other === id) continue
      this.#nodes.get(other)?.handleChannel(id, true)
      runtime.handleChannel(other, true)
    }
    return runtime
  }

  /** Ends a node in mid-sentence; its peers see the end of the control channel. */
  async crash(id: NodeId): Promise<void> {
    const runtime = this.#nodes.get(id)
    if (runtime === undefined) return
    this.#nodes.delete(id)
    await runtime.crash()
    setImmediate(() => {
      for (const peer of this.#nodes.values()) peer.handleChannel(id, false)
    })
  }

  /** A client on the hub with an address of its own: its sockets, shaped as `node:net`. */
  client(address: IpAddress, prefix: number): Net {
    const stack = this.#newStack()
    const driver = new Driver<Nic>(stack, systemClock)
    const port = this.hub.addPort(0x02_63_00_00_00_00 + ++this.#macs)
    const nic = stack.addNic({ mac: port.mac, mtu: port.mtu, offload: port.offload })
    nic.setAddress(address, prefix, 'assigned')
    driver.attach(nic, port)
    this.#clients.push(driver)
    return createNet({
      stack,
      now: () => driver.now(),
      kick: () => driver.kick(),
      ref: () => driver.ref(),
      unref: () => driver.unref(),
    })
  }

  async close(): Promise<void> {
    for (const id of [...this.#nodes.keys()]) await this.crash(id)
    for (const driver of this.#clients) driver.close()
  }

  #newStack(): Stack {
    return new Stack({ rng: new SystemRng(), secret: this.#secret })
  }

  #channelOf(from: NodeId): ControlChannel {
    return {
      addPeer: () => {},
      send: (to, bytes) => {
        const peer = this.#nodes.get(to)
        if (peer === undefined || to === from) return false
        setImmediate(() => peer.handleMessage(from, bytes))
        return true
      },
      close: () => {},
    }
  }

  #deliverSoon(): void {
    if (this.#delivering) return
    this.#delivering = true
    setImmediate(() => {
      this.#delivering = false
      this.hub.deliver()
      if (this.hub.readable) this.#deliverSoon()
    })
  }
}

// One process, one event loop: who is there is alive, and nobody's lease can run out behind another's back.
class SharedBeats implements Beats {
  readonly port = 0
  readonly expirations = 0
  readonly #nodes: ReadonlyMap<NodeId, unknown>

  constructor(nodes: ReadonlyMap<NodeId, unknown>) {
    this.#nodes = nodes
  }

  addPeer(): void {}
  removePeer(): void {}
  turn(): void {}
  renewLease(): void {}
  close(): void {}

  peer(id: NodeId): { heard: boolean; lastHeardAt: number; turnAt: number } | null {
    if (!this.#nodes.has(id)) return null
    const now = systemClock.now()
    return { heard: true, lastHeardAt: now, turnAt: now }
  }
}
