/**
 * Rehearsal: a take-over in small, in memory and in made-up time, which a node plays through before it joins its cluster.
 *
 * A take-over is seldom, so that its code would be read and compiled in the very milliseconds in which clients wait: most of the
 * time that a claim takes is that. What is rehearsed is what there is in earnest: nodes, stacks, declarations; only devices, stores
 * and the event loop are others.
 */
import {
  type Connection,
  type Frame,
  Hub,
  type HubPort,
  type Millis,
  type Nic,
  parseIpAddress,
  type Rng,
  Stack,
  TcpState,
} from '../stack/index.js'
import type { Authenticator } from './authenticator.js'
import { type NodeId, parseBinding } from './binding.js'
import { smallestId } from './failover-policy.js'
import {
  MemoryCheckpointStorage,
  MemoryCheckpointStore,
  MemoryMirrorStore,
} from './memory-store.js'
import { ClusterNode } from './node.js'
import { DEFAULT_TIMING } from './node-options.js'

const BINDING = parseBinding(1, '192.0.2.1/24')
const CLIENT = parseIpAddress('192.0.2.2')
const PORT = 9
const STEP_MS: Millis = 5
/** Made-up time that a scene may take. */
const PATIENCE_MS: Millis = 2000
const TEXT = new Uint8Array(4096)
const CLIENTS = 4
/** The second finds out what the first one left uncompiled. */
const SCENES = 2

/** What came of it: connections that were taken over, and octets that the next owner had acknowledged by the end. */
export interface RehearsalResult {
  readonly promoted: number
  readonly acknowledged: number
}

/** A stack on the hub, and what is done with it in a turn. */
class Player {
  readonly stack: Stack
  readonly nic: Nic
  readonly #port: HubPort
  #now: Millis = 0

  constructor(hub: Hub, mac: number, rng: Rng) {
    this.stack = new Stack({ rng, secret: new Int32Array(4) })
    this.#port = hub.addPort(mac)
    this.nic = this.stack.addNic({ mac, mtu: this.#port.mtu })
    const onFrame = (frame: Frame): void => this.stack.receive(this.nic, frame, this.#now)
    this.#port.attach({ onFrame, onBatchEnd: () => {} })
  }

  /** Reads all, writes it back where `echoes`, and sends. */
  turn(now: Millis, echoes: boolean, buffer: Uint8Array): void {
    this.#now = now
    const { stack } = this
    stack.handleTimeout(now)
    for (let l = stack.pollAccept(); l !== null; l = stack.pollAccept()) {
      while (l.accept() !== null);
    }
    for (let c = stack.pollReady(); c !== null; c = stack.pollReady()) {
      c.events = 0
      const length = c.read(buffer, 0, buffer.length)
      if (echoes && length > 0) c.write(buffer, 0, length)
    }
    for (let f = stack.pollTransmit(now); f !== null; f = stack.pollTransmit(now)) {
      this.#port.transmit(f)
    }
  }

  leave(): void {
    this.#port.close()
  }
}

class Scene {
  readonly #hub = new Hub()
  readonly #players = new Map<NodeId, Player>()
  readonly #nodes = new Map<NodeId, ClusterNode>()
  readonly #client: Player
  readonly #connections: Connection[] = []
  readonly #buffer = new Uint8Array(TEXT.length)
  readonly #storage = new MemoryCheckpointStorage()
  #promoted = 0
  #now: Millis = 1000

  constructor(authenticator: Authenticator, rng: Rng) {
    this.#client = new Player(this.#hub, 0x02_00_5e_00_00_03, rng)
    this.#client.nic.setAddress(CLIENT, 24, 'assigned')
    for (const id of [1, 2]) this.#addNode(id, authenticator, rng)
  }

  #addNode(id: NodeId, authenticator: Authenticator, rng: Rng): void {
    const player = new Player(this.#hub, 0x02_00_5e_00_00_00 + id, rng)
    const { stack, nic } = player
    const node = new ClusterNode(
      {
        id,
        incarnation: 1000 + id,
        cluster: 'rehearsal',
        sets: [{ binding: BINDING, policy: smallestId }],
        controlAddress: 0,
        controlPort: id,
        heartbeatPort: id,
        fence: { host: 1, pid: id, startTime: 1, port: `r${id}` },
        application: '',
        timing: DEFAULT_TIMING,
      },
      {
        stack,
        nic,
        mirrorStore: new MemoryMirrorStore(),
        checkpoints: new MemoryCheckpointStore(this.#storage),
        authenticator,
      },
    )
    stack.listen(BINDING.address, PORT)
    node.start(this.#now)
    this.#players.set(id, player)
    this.#nodes.set(id, node)
  }

  play(): RehearsalResult {
    this.#until(() => this.#nodes.get(2)?.ownerships[0]?.owner === 1)
    for (let i = 0; i < CLIENTS; i++) {
      this.#connections.push(this.#client.stack.connect(BINDING.address, PORT, this.#now))
    }
    this.#until(() => this.#connections.every(({ state }) => state === TcpState.ESTABLISHED))
    this.#say()
    this.#until(() => this.#waiting() === 0)
    // What is said now the second node alone can answer.
    this.#players.get(1)?.leave()
    this.#players.delete(1)
    this.#nodes.delete(1)
    this.#say()
    this.#turn()
    this.#nodes.get(2)?.handleChannel(1, false, this.#now)
    this.#until(() => this.#waiting() === 0)
    const total = CLIENTS * 2 * TEXT.length
    return { promoted: this.#promoted, acknowledged: total - this.#waiting() }
  }

  #say(): void {
    for (const connection of this.#connections) connection.write(TEXT, 0, TEXT.length)
  }

  /** Octets that the clients said and have no acknowledgement of. */
  #waiting(): number {
    let octets = 0
    for (const { tcb, buffers } of this.#connections) octets += buffers.sent.end - tcb.ackedOffset
    return octets
  }

  #until(holds: () => boolean): void {
    const end = this.#now + PATIENCE_MS
    while (!holds() && this.#now < end) this.#turn()
  }

  #turn(): void {
    this.#now += STEP_MS
    const now = this.#now
    for (const [id, node] of this.#nodes) {
      for (const other of this.#nodes.keys()) {
        if (other !== id) node.handleHeartbeat(other, now, now)
      }
      node.beginTurn(now)
      node.handleTimeout(now)
      this.#act(id, node)
      // A claim was declared: the take-over itself is a turn of its own.
      node.handleTimeout(now)
      this.#act(id, node)
    }
    for (const player of this.#players.values()) player.turn(now, true, this.#buffer)
    this.#client.turn(now, false, this.#buffer)
    this.#hub.deliver()
  }

  #act(id: NodeId, node: ClusterNode): void {
    for (let a = node.pollAction(); a !== null; a = node.pollAction()) {
      if (a.kind === 'fence') node.handleFenced(a.node, true, this.#now)
      else if (a.kind === 'tell') this.#nodes.get(a.node)?.handleMessage(id, a.bytes, this.#now)
      else if (a.kind === 'send') this.#sendAll(id, a.bytes)
      else if (a.kind === 'report' && a.report.event === 'takeover') {
        this.#promoted += a.report.promoted
      }
    }
  }

  #sendAll(from: NodeId, bytes: Uint8Array): void {
    for (const [id, node] of this.#nodes) {
      if (id !== from) node.handleMessage(from, bytes, this.#now)
    }
  }
}

/** Plays it through, which takes some tens of milliseconds. `authenticator`: as in earnest, with a key that nobody else has. */
export function rehearse(authenticator: Authenticator, rng: Rng): RehearsalResult {
  let result: RehearsalResult = { promoted: 0, acknowledged: 0 }
  for (let i = 0; i < SCENES; i++) result = new Scene(authenticator, rng).play()
  return result
}
