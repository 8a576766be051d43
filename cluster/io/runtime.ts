/**
 * NodeRuntime: a ClusterNode in the world: link, event loop, heartbeat, control channel, stores and fence. It carries out what the
 * node asks for and decides nothing itself. What it runs on is given to it: devices and sockets (open-node.ts), or one process
 * with everything in memory (memory-cluster.ts).
 */
import { EventEmitter } from 'node:events'
import {
  createNet,
  DropReason,
  formatIpAddress,
  type IpAddress,
  isIpv4,
  type Millis,
  type Net,
  parseIpAddress,
  type Stack,
  StackError,
  type StackHost,
} from '../../stack/index.js'
import type { Participant } from '../../stack/io/driver.js'
import type { NodeId } from '../binding.js'
import type { CheckpointStore } from '../checkpoint.js'
import type { FenceTarget } from '../declaration.js'
import { handlePortOpened } from '../link-gap.js'
import { type Action, ClusterNode, type NodeReport } from '../node.js'
import { CheckpointPort } from './checkpoint-port.js'
import { nextIncarnation } from './incarnation.js'
import { MacFilter } from './mac-filter.js'
import type { NodeConfig } from './node-config.js'
import { DecisionLog, gatherStatus, type NodeStatus, type StatusSource } from './node-status.js'
import type { RuntimeParts } from './runtime-parts.js'

/** How often the loop turns at least: the heartbeat tells the peers that it does. */
const TURN_MS: Millis = 10
const SWEEP_MS: Millis = 10_000
// A look at the port, a claim, the take-over.
const ATTEND_STEPS = 3
/** A peer on a busy link hears frames without end; it must speak at last. */
const MAX_DRAIN_ROUNDS = 20
const NO_BINDING = 0

/** Events: `report` with a NodeReport for everything that happens; `close` when the node has fallen silent for good. */
export class NodeRuntime extends EventEmitter<{ report: [NodeReport]; close: [] }> {
  readonly config: NodeConfig
  readonly node: ClusterNode
  readonly stack: Stack
  /** The node's stack and its event loop. */
  readonly host: StackHost
  /** Sockets and servers on the node's stack, shaped as `node:net`. */
  readonly net: Net
  /** The last decisions and take-overs. */
  readonly log = new DecisionLog()
  readonly #parts: RuntimeParts
  readonly #checkpoints: CheckpointPort
  readonly #known = new Set<NodeId>()
  /** What operators and applications are to be told. */
  readonly #reports: NodeReport[] = []
  // A binding asks for a quorum.
  readonly #quorate: boolean
  #claiming = false
  #expirations = 0
  #heard = 0
  // Declarations for the control channels.
  readonly #declared: Uint8Array[] = []
  // Messages have been taken, and what they lead to has not been done.
  #told = false
  #turnAt: Millis = 0
  #sweepAt: Millis = 0
  #closing = false
  readonly #filter: MacFilter | null
  #operator: { close(): Promise<void> } | null = null

  /** Where the application keeps state of its own, in one transaction with its checkpoints (A2). */
  get store(): Pick<CheckpointStore, 'transaction' | 'open'> {
    return this.#parts.checkpointStore
  }

  /** Takes `parts` over and closes them when it is closed; `start` joins the cluster. */
  constructor(config: NodeConfig, parts: RuntimeParts) {
    super()
    this.config = config
    this.#quorate = config.sets.some(({ quorum = 1 }) => quorum > 1)
    this.#parts = parts
    this.stack = parts.stack
    this.#checkpoints = new CheckpointPort(
      parts.checkpointStore,
      (address, port) => this.node.ownershipAt(address, port)?.binding.id ?? NO_BINDING,
    )
    const nic = parts.stack.addNic({
      mac: parts.link.mac,
      mtu: parts.link.mtu,
      offload: parts.link.offload,
    })
    this.node = new ClusterNode(
      {
        id: config.id,
        incarnation: nextIncarnation(parts.mirrorStore, parts.driver.now()),
        cluster: config.cluster,
        sets: config.sets,
        controlAddress: parseIpAddress(config.controlHost, 'control.host'),
        controlPort: parts.controlPort,
        heartbeatPort: parts.beats.port,
        fence: parts.fenceTarget,
        application: config.app?.name ?? '',
        timing: config.timing,
      },
      {
        stack: parts.stack,
        nic,
        mirrorStore: parts.mirrorStore,
        checkpoints: parts.checkpointStore,
        authenticator: parts.authenticator,
      },
    )
    parts.driver.attach(nic, parts.link)
    const routers = config.routers.filter(isIpv4)
    this.#filter = config.macFilter
      ? new MacFilter(parts.link, nic, this.node.peers, routers)
      : null
    this.host = {
      stack: parts.stack,
      now: () => parts.driver.now(),
      kick: () => parts.driver.kick(),
      ref: () => parts.driver.ref(),
      unref: () => parts.driver.unref(),
      // P10: who owned it first does not matter, and an owner that is not known is not known to be dead.
      isOwnedElsewhere: (address, port) =>
        (this.node.ownershipAt(address, port)?.owner ?? config.id) !== config.id,
      checkpoints: this.#checkpoints,
    }
    this.net = createNet(this.host)
  }

  now(): Millis {
    return this.#parts.driver.now()
  }

  /** What this node tells its operator, gathered now (O3). */
  status(): NodeStatus {
    return gatherStatus(this.#statusSource(), this.log)
  }

  /** What serves the operator ends with the node. */
  serve(operator: { close(): Promise<void> }): void {
    this.#operator = operator
  }

  #statusSource(): StatusSource {
    const { link, linkLosses } = this.#parts
    const { missed, filtered } = linkLosses?.() ?? { missed: null, filtered: 0 }
    return {
      node: this.node,
      stack: this.stack,
      framesHeard: link.received,
      framesMissed: missed,
      framesFiltered: filtered,
      now: () => this.now(),
    }
  }

  /** Joins the cluster: declares itself on the link, and listens. */
  start(): void {
    const { driver, fence } = this.#parts
    fence.open()
    const participant: Participant = {
      nextDeadline: () => Math.min(this.node.nextDeadline(), this.#turnAt + TURN_MS),
      handleTimeout: (now) => this.#handleTimeout(now),
      afterReceive: (now) => this.#afterReceive(now),
      beforeTransmit: (now) => this.#beforeTransmit(now),
    }
    const now = this.now()
    this.#turnAt = now
    this.node.start(now)
    // The addresses are there, and with them the networks that the routers are on.
    for (const router of this.config.routers) this.node.world.nic.routes.addGateway(router)
    driver.addParticipant(participant)
    // The event loop must go on although no application listens yet.
    driver.ref()
  }

  #handleTimeout(now: Millis): void {
    this.#beginTurn(now)
    this.#hearHeartbeats()
    this.#refuseForeignKey()
    this.#attend(now)
    this.#filter?.update(now)
    if (now < this.#sweepAt) return
    this.#sweepAt = now + SWEEP_MS
    this.#checkpoints.sweep()
  }

  // Whoever hears its cluster only in signatures that it cannot verify takes its peers' address at the end of its boot.
  #refuseForeignKey(): void {
    if (this.#known.size > 0 || this.node.ownerships.some(({ owner }) => owner !== 0)) return
    if (this.stack.drops.get(DropReason.DECLARATION_BAD_TAG) === 0) return
    const { cluster, keyFile } = this.config
    throw new StackError(
      'ERR_KEY_FOREIGN',
      `the nodes of cluster ${cluster} on this link sign with another key than ${keyFile}: copy the key of one of them, or give this node a cluster name of its own`,
    )
  }

  #afterReceive(now: Millis): void {
    this.#beginTurn(now)
    this.#filter?.update(now)
    this.log.look(now)
    const { heard } = this.node
    if (heard === this.#heard) {
      this.#act()
      return
    }
    // A binding that is given to this node is not to wait for a timer.
    this.#heard = heard
    this.#attendTo(now)
  }

  // Peers have said something.
  #attendTo(now: Millis): void {
    this.#told = false
    this.#act()
    this.#hearHeartbeats()
    this.#attend(now)
  }

  #beforeTransmit(now: Millis): void {
    this.#beginTurn(now)
    // What is being attended to already sends its claim: that is one turn, not two within each other.
    if (this.#told && !this.#claiming) this.#attendTo(now)
    else this.#act()
    // Before anything leaves that a checkpoint counts as produced.
    this.#parts.checkpointStore.flush()
    // And behind it what the link says in this turn, too: who hears of it here first would take the link for cut.
    this.#sayDeclared()
  }

  #sayDeclared(): void {
    for (const bytes of this.#declared.splice(0)) {
      for (const id of this.#known) this.#parts.control.send(id, bytes)
    }
  }

  // Finds out whether we were stopped, before anything is sent in this turn.
  #beginTurn(now: Millis): void {
    this.#turnAt = now
    const { expirations } = this.#parts.beats
    if (expirations !== this.#expirations) {
      this.#expirations = expirations
      // The turn may have begun before the stop: others are to be listened to from now on, and not from then.
      this.node.handleLeaseLost(this.now())
    }
    // A quorum is judged by what has been heard until now, and not by when the turn began.
    if (this.#quorate) this.#hearHeartbeats()
    this.node.beginTurn(this.#quorate ? this.now() : now)
    this.#parts.beats.turn()
  }

  #hearHeartbeats(): void {
    const { beats, beatsOffset: offset } = this.#parts
    for (const id of this.#known) {
      const beat = beats.peer(id)
      if (beat === null || !beat.heard) continue
      this.node.handleHeartbeat(id, beat.lastHeardAt + offset, beat.turnAt + offset, beat.gone)
    }
  }

  // Something was heard outside of the driver's own events: a turn follows.
  #stir(take: (now: Millis) => void): void {
    const now = this.now()
    this.#beginTurn(now)
    let owned = this.#owned
    take(now)
    // Who is given a binding waits for that word alone: the reports come behind it.
    this.#claiming = true
    this.#act()
    if (this.#owned < owned) {
      this.#parts.driver.speak()
      owned = this.#owned
    }
    this.#hearHeartbeats()
    this.#attend(now, owned)
    this.#parts.driver.kick()
  }

  // `owned`: how many bindings this node owned before what led here.
  #attend(now: Millis, owned = this.#owned): void {
    // The end of listening leads to a claim, and that to the take-over itself, of which none may wait for a timer: who has heard of
    // the claim asks at once.
    this.#claiming = true
    for (let step = 0; step < ATTEND_STEPS; step++) {
      // A claim is heard of before what it leads to is done: with many connections that takes longer than the next in line waits.
      if (this.#declared.length > 0) {
        this.#sayDeclared()
        this.#parts.driver.speak()
      }
      this.node.handleTimeout(now)
      this.#act()
      if (this.node.nextDeadline() > now) break
    }
    if (this.#owned !== owned) this.#parts.driver.speak()
    this.#claiming = false
    this.#tell()
  }

  /** How many bindings this node owns. */
  get #owned(): number {
    let count = 0
    for (const { state } of this.node.ownerships) if (state === 'owner') count++
    return count
  }

  /** A peer fell silent, got stuck or ended: looks at once instead of at the next turn. */
  handleSilence(): void {
    if (!this.#closing) this.#stir(() => {})
  }

  /** The control channel to a node is up, or has ended. */
  handleChannel(node: NodeId, up: boolean): void {
    if (this.#closing) return
    this.#stir((now) => this.node.handleChannel(node, up, now))
  }

  /** A message came over the control channel of `from`. `bytes` is borrowed. */
  handleMessage(from: NodeId, bytes: Uint8Array): void {
    if (this.#closing) return
    const now = this.now()
    this.#beginTurn(now)
    this.node.handleMessage(from, bytes, now)
    // Messages come by the thousand when a node is told of all connections: what they lead to is done once for all that came together.
    this.#told = true
    this.#parts.driver.kick()
  }

  #act(): void {
    for (let a = this.node.pollAction(); a !== null; a = this.node.pollAction()) this.#carryOut(a)
    this.#tell()
  }

  #carryOut(action: Action): void {
    switch (action.kind) {
      case 'meet':
        this.#meet(action)
        break
      case 'send':
        this.#declared.push(action.bytes)
        break
      case 'tell':
        this.#parts.control.send(action.node, action.bytes)
        break
      case 'fence':
        void this.#silence(action.node, action.target)
        break
      case 'unfence':
        if (this.#parts.fence.open()) handlePortOpened(this.node, this.now())
        break
      case 'renew-lease':
        this.#parts.beats.renewLease(this.#expirations)
        break
      case 'report':
        this.#parts.setSpeaking?.(this.node.owns)
        this.#parts.recording?.remark(JSON.stringify(action.report))
        this.#reports.push(action.report)
        break
    }
  }

  // Behind what clients wait for, and before an application gets their connections: it opens what it needs when it hears that this node
  // owns the binding.
  #tell(): void {
    if (this.#claiming) return
    for (let r = this.#reports.shift(); r !== undefined; r = this.#reports.shift()) {
      this.log.note(r, this.#statusSource(), this.now())
      this.emit('report', r)
    }
  }

  #meet({ node, controlAddress, controlPort, heartbeatPort }: Action & { kind: 'meet' }): void {
    const host = formatIpAddress(controlAddress as IpAddress)
    this.#known.add(node)
    const { control, beats } = this.#parts
    control.addPeer(node, host, controlPort)
    beats.removePeer(node)
    beats.addPeer(node, host, heartbeatPort)
  }

  async #silence(node: NodeId, target: FenceTarget): Promise<void> {
    const { fence } = this.#parts
    const confirmed = await fence.silence(target, node)
    const { reason = '' } = fence
    await this.#drain()
    if (this.#closing) return
    if (!confirmed && reason !== '') {
      this.node.act({ kind: 'report', report: { event: 'fence-failed', node, reason } })
    }
    this.#stir((now) => this.node.handleFenced(node, confirmed, now))
  }

  // What the dead node said last lies in our own queue, and is to be heard before we speak in its place.
  async #drain(): Promise<void> {
    const { link } = this.#parts
    for (let round = 0; round < MAX_DRAIN_ROUNDS && !this.#closing; round++) {
      const before = link.received
      // Where something came, one more may be on its way through the bridge; clients go on saying things for ever.
      if (link.drain() && (round > 0 || link.received === before)) return
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  /**
   * Gives the bindings that this node owns to node `to`, or to whom the policy names, with all connections (P24). Returns how
   * many it gave; a `handover-refused` report tells when the peer gave one back. Throws ERR_NO_SUCCESSOR.
   */
  switchover(to: NodeId | null = null): number {
    let given = 0
    this.#stir((now) => {
      given = this.node.switchover(to, now)
    })
    return given
  }

  /** Leaves in good order: a peer takes the binding without waiting. */
  async close(): Promise<void> {
    if (this.#closing) return
    this.#stir((now) => this.node.yield(now))
    this.#closing = true
    await new Promise((resolve) => setTimeout(resolve, 20))
    await this.#release()
  }

  /** Falls silent in mid-sentence, as a node that dies: for the demo without processes. */
  async crash(): Promise<void> {
    this.#closing = true
    await this.#release()
  }

  async #release(): Promise<void> {
    const { driver, control, beats, mirrorStore, checkpointStore } = this.#parts
    driver.close()
    this.#tell()
    this.emit('close')
    await this.#operator?.close()
    await control.close()
    beats.close()
    mirrorStore.close()
    checkpointStore.close()
  }
}
