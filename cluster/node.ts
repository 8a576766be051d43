/**
 * ClusterNode: one node of the cluster: it hears the link, knows its peers, makes and takes declarations, and holds one Ownership
 * for each binding that it may own. It knows no socket and no clock. Frames come by the NIC's snoop hook, everything else by
 * `handle…`; what the world has to do for it is pulled as actions.
 */
import {
  DropReason,
  EPHEMERAL_PORTS,
  type EthernetHeader,
  EtherType,
  type Frame,
  type FrameSnoop,
  type IpAddress,
  type MacAddress,
  type Millis,
  type ServiceScope,
  StackError,
} from '../stack/index.js'
import type { NodeId } from './binding.js'
import { BindingTable } from './binding-table.js'
import { takeMessage } from './channel-messages.js'
import {
  clusterHash,
  DeclarationKind,
  decodeDeclaration,
  type OwnershipDeclaration,
} from './declaration.js'
import { FailureDetector } from './failure-detector.js'
import { GapRepair } from './gap-repair.js'
import { Herald } from './herald.js'
import { LinkGap } from './link-gap.js'
import type { Action, NodeReport } from './node-actions.js'
import { NOBODY, type NodeOptions, type NodeWorld } from './node-options.js'
import { Ownership } from './ownership.js'
import type { Declared, OwnershipContext } from './ownership-context.js'
import type { ProxyTarget } from './pairs.js'
import { Peers } from './peers.js'
import { TermsCheck } from './set-terms.js'
import { StrictMode } from './strict-mode.js'
import { macsBelieved } from './takeover.js'
import { Wiretap } from './wiretap.js'

export type { Action, NodeReport } from './node-actions.js'
export {
  DEFAULT_TIMING,
  type NodeOptions,
  type NodeTiming,
  type NodeWorld,
  type PermanencySet,
  type StrictTerms,
} from './node-options.js'
export type { OwnershipState } from './ownership-context.js'

const YIELD: DeclarationKind = DeclarationKind.YIELD

export class ClusterNode implements FrameSnoop, ServiceScope, OwnershipContext {
  readonly options: NodeOptions
  readonly world: NodeWorld
  readonly detector: FailureDetector
  readonly peers = new Peers()
  /** One for each binding, in the order of the options. */
  readonly ownerships: readonly Ownership[]
  /** Declarations that have been taken: behind each there may be something to do at once. */
  heard = 0
  readonly #repairs: GapRepair[] = []
  readonly #stricts: StrictMode[] = []
  readonly #byEndpoint = new BindingTable<Ownership>()
  // What others own beside them, of the same addresses.
  readonly #beside = new BindingTable<true>()
  readonly #wiretap: Wiretap
  readonly #cluster: number
  readonly #herald: Herald
  readonly #actions: Action[] = []
  // Nodes that are being fenced.
  readonly #silencing = new Set<NodeId>()
  readonly #terms = new TermsCheck()
  readonly #linkGap = new LinkGap(this)
  #turnedAt: Millis = 0

  /** Throws ERR_BINDING_OVERLAP. */
  constructor(options: NodeOptions, world: NodeWorld) {
    this.options = options
    this.world = world
    this.#cluster = clusterHash(options.cluster)
    this.#herald = new Herald(options, world.nic, world.authenticator)
    this.detector = new FailureDetector(options.timing)
    this.#wiretap = new Wiretap(world.stack.drops)
    this.ownerships = options.sets.map((set) => new Ownership(set, this))
    for (const each of new Set(options.sets.flatMap((set) => set.beside ?? [])))
      this.#beside.add(each, true)
    for (const ownership of this.ownerships) {
      this.#byEndpoint.add(ownership.binding, ownership)
      const repair = new GapRepair(options.id, ownership, world, this.peers, (a) => this.act(a))
      ownership.snooper.repair = repair
      this.#repairs.push(repair)
      this.#addStrict(ownership)
      this.#wiretap.add(ownership.snooper)
    }
  }

  #addStrict(ownership: Ownership): void {
    const { strict: terms } = ownership.set
    if (terms === undefined) return
    const strict = new StrictMode(terms, ownership, this.world, this.peers, (a) => this.act(a))
    ownership.snooper.strict = strict
    this.#stricts.push(strict)
    this.world.stack.tcp.openings.isStrict = (address, port) =>
      this.ownershipAt(address, port)?.snooper.strict != null
  }

  /** True while this node owns at least one binding. */
  get owns(): boolean {
    return this.ownerships.some((ownership) => ownership.state === 'owner')
  }

  /** The binding with this id, or undefined. */
  ownershipOf(binding: number): Ownership | undefined {
    return this.ownerships.find((ownership) => ownership.binding.id === binding)
  }

  /** The binding that the local endpoint belongs to, or undefined. */
  ownershipAt(address: number, port: number): Ownership | undefined {
    return this.#byEndpoint.find(address, port)
  }

  /**
   * What clients say to this local endpoint a proxy brings to `target`, and back: to be said on each node, before its connections are
   * overheard. Throws ERR_PROXY_BINDING.
   */
  addProxy(address: number, port: number, target: ProxyTarget): void {
    const ownership = this.ownershipAt(address, port)
    // The proxy's own connections leave from the same address, and move with the same binding.
    const { firstPort, lastPort } = ownership?.binding ?? { firstPort: 0, lastPort: 0 }
    if (firstPort > EPHEMERAL_PORTS.first || lastPort < EPHEMERAL_PORTS.last) {
      const { first, last } = EPHEMERAL_PORTS
      throw new StackError(
        'ERR_PROXY_BINDING',
        `a proxy on port ${port} needs one binding that has this port and the ports ${first}-${last}, from which it connects to its server: leave "ports" out`,
      )
    }
    ownership?.snooper.pairs.add(port, target)
  }

  /** Boots: watches the addresses, and asks everybody on the link who they are (P3). */
  start(now: Millis): void {
    const { nic } = this.world
    nic.snoop = this
    this.world.stack.setScope(this)
    nic.isPeer = (mac) => this.peers.idOf(mac) !== 0
    this.#turnedAt = now
    for (const ownership of this.ownerships) {
      const { address, prefix } = ownership.binding
      nic.setAddress(address, prefix, 'observed', ownership.set.macs)
      ownership.start(now)
    }
    this.#solicit()
  }

  /**
   * The event loop turns. Comes before anything is received or sent in the turn, so that a node that was stopped finds out
   * before it speaks (D3).
   */
  beginTurn(now: Millis): void {
    const gap = now - this.#turnedAt
    this.#turnedAt = now
    if (gap > this.options.timing.turnLeaseMs) this.handleLeaseLost(now)
    for (const ownership of this.ownerships) ownership.checkQuorum(now)
  }

  /** Our lease ran out while we were stopped: others may have taken over. */
  handleLeaseLost(now: Millis): void {
    this.detector.grace(now)
    for (const ownership of this.ownerships) ownership.handleLeaseLost(now)
    // Peers may have written us off meanwhile.
    this.#solicit()
  }

  // Says what we know of each binding, and asks for what others know.
  #solicit(): void {
    for (const each of this.ownerships) {
      this.declare(each.owned ? DeclarationKind.RENEW : DeclarationKind.PRESENT, true, each)
    }
  }

  /** Sees every frame of the link. `frame` and `ethernet` are borrowed. */
  onFrame(frame: Frame, ethernet: EthernetHeader, now: Millis): void {
    const node = this.peers.idOf(ethernet.src)
    if (node !== NOBODY) this.detector.heard(node, now)
    this.#linkGap.hear()
    const { etherType } = ethernet
    if (etherType === EtherType.IPV4 || etherType === EtherType.IPV6) {
      this.#wiretap.onFrame(frame, ethernet, now)
    } else if (etherType === EtherType.EXPERIMENTAL) {
      const { payloadStart, payloadEnd } = ethernet
      this.handleDeclaration(frame.bytes.subarray(payloadStart, payloadEnd), now, true)
    }
  }

  /** Takes a message from the control channel of `from`. `bytes` is borrowed. */
  handleMessage(from: NodeId, bytes: Uint8Array, now: Millis): void {
    const taken = takeMessage(from, bytes, this.world, (id) => this.ownershipOf(id), now)
    if (!taken) this.handleDeclaration(bytes, now)
  }

  /** Takes a declaration from the link or from a control channel. `bytes` is borrowed. */
  handleDeclaration(bytes: Uint8Array, now: Millis, onLink = false): void {
    const { authenticator, stack } = this.world
    const d = decodeDeclaration(bytes, this.#cluster, authenticator)
    if (typeof d === 'number') {
      stack.drops.count(d)
      return
    }
    if (d.node === this.options.id) {
      if (d.incarnation !== this.options.incarnation) this.#report({ event: 'duplicate-id' })
      return
    }
    const notice = this.peers.note(d)
    const ownership = this.ownershipOf(d.binding)
    if (ownership !== undefined) this.#linkGap.heard(d, onLink, notice, ownership, now)
    if (notice === 'replayed' || notice === 'full') {
      stack.drops.count(DropReason.DECLARATION_REPLAYED)
      return
    }
    if (notice === 'again') return
    this.#meet(d, notice === 'new', now)
    if (ownership === undefined) return
    const agrees = this.#terms.agree(ownership.set, d, (report) => this.#report(report))
    if (agrees) ownership.handleDeclaration(d, now)
    this.heard++
  }

  #meet(d: OwnershipDeclaration, fresh: boolean, now: Millis): void {
    if (fresh) {
      this.detector.forget(d.node)
      const { node, controlAddress, controlPort, heartbeatPort } = d
      this.#actions.push({ kind: 'meet', node, controlAddress, controlPort, heartbeatPort })
      this.#report({ event: 'peer', node: d.node })
      for (const ownership of this.ownerships) ownership.met(d.node, d.incarnation, now)
      this.world.nic.otherMacs = macsBelieved(this.ownerships, this.peers)
    }
    this.detector.watch(d.node, now)
    this.detector.heard(d.node, now)
    // P4: whoever asks, and whoever is new here, hears of us.
    if (fresh) this.#answerAll()
    else if (d.solicit) {
      const asked = this.ownershipOf(d.binding)
      if (asked !== undefined) asked.answer = true
    }
  }

  #answerAll(): void {
    for (const ownership of this.ownerships) ownership.answer = true
  }

  /** The control channel to a node is up, or has ended. */
  handleChannel(node: NodeId, up: boolean, now: Millis): void {
    this.detector.channel(node, up, now)
    if (!up) return
    this.#answerAll()
    for (const { snapshots, carriage, snooper } of this.ownerships) {
      snapshots.handleChannel(node)
      carriage.handleChannel(node)
      snooper.strict?.handleChannel(node)
    }
  }

  /** A native heartbeat of `node` was heard at `heardAt`; its event loop last turned at `turnedAt`, and its port may be closed since. */
  handleHeartbeat(node: NodeId, heardAt: Millis, turnedAt: Millis, gone = false): void {
    this.detector.heartbeat(node, heardAt, turnedAt, gone)
  }

  /** The fence around `node` stands, or could not be confirmed: then its lease must run out first. */
  handleFenced(node: NodeId, confirmed: boolean, now: Millis): void {
    this.#silencing.delete(node)
    for (const ownership of this.ownerships) ownership.handleFenced(node, confirmed, now)
    this.handleTimeout(now)
  }

  handleTimeout(now: Millis): void {
    this.#buryTheDead(now)
    this.#wiretap.handleTimeout(now)
    this.#linkGap.handleTimeout(now)
    for (const ownership of this.ownerships) ownership.handleTimeout(now)
    for (const repair of this.#repairs) repair.handleTimeout(now)
    for (const strict of this.#stricts) strict.handleTimeout(now)
  }

  nextDeadline(): Millis {
    let earliest = Math.min(this.#wiretap.nextDeadline(), this.#linkGap.nextDeadline())
    for (const repair of this.#repairs) earliest = Math.min(earliest, repair.nextDeadline())
    for (const strict of this.#stricts) earliest = Math.min(earliest, strict.nextDeadline())
    for (const each of this.ownerships) earliest = Math.min(earliest, each.nextDeadline())
    return earliest
  }

  silence(node: NodeId, now: Millis): void {
    for (const { owner, snooper } of this.ownerships)
      if (owner === node) snooper.repair?.orphan(now)
    if (this.#silencing.has(node)) return
    const target = this.peers.get(node)?.fence
    if (target === undefined) {
      for (const ownership of this.ownerships) ownership.handleFenced(node, false, now)
      return
    }
    this.#silencing.add(node)
    this.#actions.push({ kind: 'fence', node, target })
  }

  bury(node: NodeId, now: Millis): void {
    this.peers.markDown(node)
    this.detector.bury(node, now)
    for (const { carriage } of this.ownerships) carriage.handleDead(node, now)
  }

  // Nodes that own nothing and show no life are out of the line until they declare themselves again: they are asked to, lest they count
  // themselves in.
  #buryTheDead(now: Millis): void {
    if (this.detector.findsLife(now)) this.#solicit()
    for (const peer of this.peers.all()) {
      const counts = (of: Ownership) => of.owner === peer.id || of.claimsFrom === peer.id
      if (!peer.up || this.ownerships.some(counts)) continue
      const cause = this.detector.suspects(peer.id, now)
      if (cause === null) continue
      this.bury(peer.id, now)
      this.#report({ event: 'peer-down', node: peer.id, cause })
    }
  }

  handleSpeaker(of: Ownership): void {
    of.snooper.repair?.handleSpeaker()
    this.setSpeaker(of)
    // A peer that meant to claim, and died, may have shut it.
    if (of.owned) this.openPort(of)
  }

  openPort(of: Ownership): void {
    const only = this.ownerships.every((each) => each === of || !each.owned)
    if (only) this.#actions.push({ kind: 'unfence' })
  }

  setSpeaker(of: Ownership): void {
    const { nic } = this.world
    const { address, prefix } = of.binding
    const here = this.ownerships.filter((each) => each.binding.address === address)
    // P25: of several owners of one address one answers for it.
    const answers = here.some((each) => each.owned && each.answersArp)
    const speaks = here.some((each) => each.owned || each.carriage.speaks)
    const state = answers ? 'assigned' : speaks ? 'shared' : 'observed'
    if (nic.addressOf(address)?.state !== state) nic.setAddress(address, prefix, state)
    nic.otherMacs = macsBelieved(this.ownerships, this.peers)
  }

  /** Answers for the endpoint: it owns the binding, and no other node serves a connection there. */
  serves(
    local: IpAddress,
    localPort: number,
    remote: IpAddress,
    remotePort: number,
    mac: MacAddress,
  ): boolean {
    const { nic } = this.world
    const own = this.#byEndpoint.find(local, localPort)
    const ours = nic.isAt(local, mac)
    // What was meant for another is taken where a connection knows it, and never refused: the other may be the true owner.
    if (own === undefined)
      return ours && !this.#beside.find(local, localPort) && nic.answersFor(local)
    if (!own.owned) return false
    if (!ours && own.answersArp) own.strays = true
    if (!ours && (own.set.arp === undefined || !nic.takes(mac))) return false
    return own.carriage.serves(localPort, remote, remotePort)
  }

  handleOutclaimed(of: Ownership, now: Millis): void {
    // Whoever takes us for dead may be about to claim the rest, too, and trusts in its fence, which we are going to open.
    for (const other of this.ownerships) {
      if (other !== of && other.state === 'owner') other.fall(now)
    }
  }

  declare(kind: DeclarationKind, solicit: boolean, of: Ownership, what: Declared = {}): void {
    const { epoch = of.epoch, owner = of.owner, connections } = what
    const standing = of.takeStanding()
    const bytes = this.#herald.declare(kind, solicit, of.set, epoch, owner, standing, connections)
    this.#actions.push({ kind: 'send', bytes })
  }

  handOver(of: Ownership, to: NodeId, connections: number, kind = YIELD): void {
    // Not by the control channel, which could bring it before the last frames of the link.
    this.#herald.declare(kind, false, of.set, of.epoch, to, of.takeStanding(), connections)
  }

  /**
   * Planned transfer (P24): gives every binding that this node owns to `to`, or to whom the policy names. Returns how many were
   * given. Throws ERR_NO_SUCCESSOR when the node is not up, or there is none.
   */
  switchover(to: NodeId | null, now: Millis): number {
    const owned = this.ownerships.filter((each) => each.state === 'owner')
    const up = this.peers.upWith(this.options.id)
    const plan = owned.map((each) => ({ each, next: to ?? each.succession.next() }))
    for (const { next } of plan) {
      if (next === NOBODY || next === this.options.id || !up.includes(next)) {
        const wanted = next === NOBODY ? 'no other node' : `node ${next} cannot take over, it`
        const why = `${wanted} is up: name one that is, and not this one`
        throw new StackError('ERR_NO_SUCCESSOR', why)
      }
    }
    for (const { each, next } of plan) each.handOver(next, now)
    return plan.length
  }

  /** Gives all bindings up in good order: for a shutdown. Peers claim them without waiting for our death. */
  yield(now: Millis): void {
    for (const ownership of this.ownerships) ownership.yield(now)
  }

  act(action: Action): void {
    this.#actions.push(action)
  }

  /** The next thing the world has to do for this node, or null: at the end of each turn, before anything is sent. */
  pollAction(): Action | null {
    if (this.#actions.length === 0 && this.#stricts.length > 0) this.#endTurn(this.#turnedAt)
    return this.#actions.shift() ?? null
  }

  // What the turn has brought in strict bindings (D2).
  #endTurn(now: Millis): void {
    const { tcp } = this.world.stack
    for (let c = tcp.pollUnconfirmed(); c !== null; c = tcp.pollUnconfirmed()) {
      this.ownershipAt(c.localAddress, c.localPort)?.snooper.strict?.take(c, now)
    }
    for (const strict of this.#stricts) strict.endTurn(now)
  }

  #report(report: NodeReport): void {
    this.#actions.push({ kind: 'report', report })
  }
}
