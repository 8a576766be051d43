/**
 * Carriage: single connections of a binding that another node serves than its owner (P20, P23).
 *
 * A new owner that lacks a connection asks its peers one after the other, in the policy's order, to go on with it (the fail-over directive).
 * Until one does it is silent for this connection, and behind that as well: the peer that took it speaks for it from the virtual
 * address, and nothing else. When nobody can, the connection ends by a reset. The owner is the one that looks after it: when its carrier
 * dies, it is fenced as an owner would be, and the connection is passed on again.
 */
import {
  type Connection,
  formatEndpoint,
  holdAddress,
  type IpAddress,
  type Millis,
  NEVER,
  type Seq,
  TcpState,
  ZERO,
} from '../stack/index.js'
import type { NodeId } from './binding.js'
import { FlightList, type LostFlow } from './flight-list.js'
import { type FlowKey, flowKeyOf, nameOf, nameOfKey } from './flow-key.js'
import { encodeFlowMessage, type FlowMessage, FlowMessageKind } from './flow-message.js'
import { endForsaken } from './forsaken.js'
import { refusesResume } from './hand-over.js'
import { doubtfulDataOf, NOBODY } from './node-options.js'
import type { CarriageTerm, OwnershipContext } from './ownership-context.js'
import { Promotion } from './promotion.js'
import type { ActiveFlow } from './recovery-message.js'
import type { GivenUp } from './resume-point.js'
import { Shadow } from './shadow.js'
import type { Succession } from './succession.js'
import { leaseOverAt } from './suspicion.js'

/** How long a peer may take to answer; a living one takes milliseconds. */
export const ANSWER_MS: Millis = 1500
// So much before others may take this node for dead it stops.
const MARGIN_MS: Millis = 10
/** How soon it is noticed that a carried connection is over. */
const WATCH_MS: Millis = 100

export class Carriage {
  readonly #term: CarriageTerm
  readonly #context: OwnershipContext
  readonly #succession: Succession
  readonly #speakerChanged: () => void
  // Served here, whoever owns the binding.
  readonly #carried = new Map<string, { readonly key: FlowKey; readonly connection: Connection }>()
  // Served by another node.
  readonly #away = new Map<string, { readonly flow: LostFlow; readonly node: NodeId }>()
  // Served by nobody: passed on, or about to be.
  readonly #lost = new FlightList()
  // Carriers that are dead, and may not be silent yet.
  readonly #dead = new Map<NodeId, Millis>()
  #watchAt: Millis = NEVER
  #refuseUntil: Millis = 0
  // This node claimed the binding without knowing what there was.
  #blind = false

  /** `speakerChanged` is called when this node has begun or ceased to speak for some of the binding. */
  constructor(
    term: CarriageTerm,
    context: OwnershipContext,
    succession: Succession,
    speakerChanged: () => void,
  ) {
    this.#speakerChanged = speakerChanged
    this.#term = term
    this.#context = context
    this.#succession = succession
    term.snooper.ignores = (port, address, remotePort) => this.carries(port, address, remotePort)
    term.snooper.isAway = (key) => this.#away.size > 0 && this.#away.has(nameOfKey(key))
  }

  /** This node speaks for some connection of a binding that it need not own. */
  get speaks(): boolean {
    return this.#carried.size > 0
  }

  /** Connections that this node serves beside the owner, those that others do, and those that nobody does yet. */
  get counts(): { readonly carried: number; readonly away: number; readonly lost: number } {
    return { carried: this.#carried.size, away: this.#away.size, lost: this.#lost.size }
  }

  /** Nodes that serve connections of this binding, to whose Ethernet address clients may send. */
  carriers(): Set<NodeId> {
    return new Set([...this.#away.values()].map(({ node }) => node))
  }

  /** True when the owner answers for these endpoints: nobody else serves a connection between them. */
  serves(localPort: number, remoteAddress: IpAddress, remotePort: number): boolean {
    if (this.#away.size === 0 && this.#lost.size === 0) return true
    const name = nameOf(localPort, remoteAddress, remotePort)
    return !this.#away.has(name) && !this.#lost.has(name)
  }

  isCarried(connection: Connection): boolean {
    const { localPort, remoteAddress, remotePort } = connection
    return this.carries(localPort, remoteAddress as IpAddress, remotePort)
  }

  /** True when this node serves the connection between these endpoints beside the owner. */
  carries(localPort: number, remoteAddress: IpAddress, remotePort: number): boolean {
    return this.#carried.size > 0 && this.#carried.has(nameOf(localPort, remoteAddress, remotePort))
  }

  /**
   * A connection that this node, which is about to own the binding, cannot save. True: another one may, and will be asked; its reset is
   * not to leave. `last` is the owner that is gone.
   */
  takeLost(shadow: Shadow, reason: GivenUp, last: NodeId): boolean {
    const { key, resetSeq } = shadow
    const tried = new Set([last, this.#context.options.id])
    if (this.#next(tried) === NOBODY) return false
    const known = shadow.verdict !== 'untracked'
    const { iss, irs } = known ? shadow.tcb : { iss: ZERO, irs: ZERO }
    // Few, and for as long as the process lives.
    holdAddress(key.remoteAddress)
    this.#lost.add(nameOfKey(key), { key, reason, iss, irs, resetSeq, tried })
    return true
  }

  /** This node goes on with these when the binding returns to its owner (P23). Returns them, and what others serve. */
  keep(connections: readonly Connection[], now: Millis): ActiveFlow[] {
    const { snooper, set } = this.#term
    for (const connection of connections) {
      const key = flowKeyOf(set.binding, connection)
      this.#carried.set(nameOfKey(key), { key, connection })
      const old = snooper.table.find(key.localPort, key.remoteAddress, key.remotePort)
      if (old !== undefined) snooper.remove(old)
    }
    if (this.speaks) this.#watchAt = Math.min(this.#watchAt, now + WATCH_MS)
    const { id } = this.#context.options
    const kept = [...this.#carried.values()].map(({ key }) => ({ key, node: id }))
    return [...kept, ...[...this.#away.values()].map(({ flow, node }) => ({ key: flow.key, node }))]
  }

  /** Other nodes go on with these when the binding returns to its owner (P23). */
  leave(flows: readonly ActiveFlow[]): void {
    for (const { key, node } of flows) {
      const name = nameOfKey(key)
      if (node !== this.#context.options.id) this.#leave(name, key, node, this.#lost.get(name))
    }
    this.#speakerChanged()
  }

  /** This node owns the binding, and the others have been told so. `blind`: it need not have known of all connections. */
  handleClaimed(now: Millis, blind: boolean): void {
    this.#blind = blind
    this.#carried.clear()
    this.#watchAt = NEVER
    for (const name of this.#lost.names()) this.#passOn(name, now)
    for (const node of this.carriers()) {
      if (!this.#context.peers.isUp(node)) this.handleDead(node, now)
    }
  }

  /** Another node owns the binding: what it does not serve itself is its to look after. */
  handleOwner(owner: NodeId, epoch: number): void {
    this.#lost.clear()
    // Whom this node took for dead may only have been cut off, with the owner.
    this.#dead.clear()
    for (const [name, { node }] of this.#away) if (node === owner) this.#away.delete(name)
    if (!this.speaks) return
    this.#context.world.checkpoints.claim(this.#term.binding.id, epoch)
    // Clients send to its Ethernet address from now on.
    this.#speakerChanged()
  }

  #next(tried: ReadonlySet<NodeId>): NodeId {
    const left = this.#succession.up.filter((node) => !tried.has(node))
    return this.#succession.choose(left) ?? NOBODY
  }

  // Asks the next peer, or ends the connection.
  #passOn(name: string, now: Millis): void {
    const flow = this.#lost.get(name)
    if (flow === undefined) return
    const to = this.#next(flow.tried)
    if (to === NOBODY) {
      this.#lost.remove(name)
      if (this.#term.state === 'owner' && this.#resume(flow.key, now)) return
      this.#report('flow-lost', flow.key, this.#term.owner, flow.reason)
      this.#context.world.stack.reset(flow.key, flow.resetSeq)
      return
    }
    flow.tried.add(to)
    this.#lost.ask(name, to, now + ANSWER_MS)
    this.#tell(to, FlowMessageKind.TAKE, flow.key, flow.iss, flow.irs)
  }

  /** Takes a message of another node about a connection of this binding. */
  handle(from: NodeId, m: FlowMessage, now: Millis): void {
    const name = nameOfKey(m.key)
    switch (m.kind) {
      case FlowMessageKind.TAKE:
        if (!this.#take(from, m, now)) this.#tell(from, FlowMessageKind.REFUSED, m.key)
        break
      case FlowMessageKind.CARRIED:
        this.#handleCarried(from, name, m)
        break
      case FlowMessageKind.REFUSED:
        this.#handleRefused(from, name, now)
        break
      case FlowMessageKind.ENDED:
        if (this.#away.get(name)?.node === from) this.#away.delete(name)
        break
      case FlowMessageKind.FORSAKEN:
        if (!this.#blind || this.#away.has(name) || this.#lost.has(name)) break
        if (endForsaken(m, this.#term, this.#context.world)) this.#report('flow-lost', m.key, from)
        break
      default:
    }
  }

  // The owner cannot go on with this connection: true when it is served here from now on.
  #take(from: NodeId, m: FlowMessage, now: Millis): boolean {
    const { owner, epoch, state, snooper, binding } = this.#term
    if (from !== owner || m.epoch !== epoch || state !== 'standby') return false
    // It may have been asked of a node that was stopped, and be another one's by now.
    if (now < this.#refuseUntil) return false
    const { localPort, remoteAddress, remotePort } = m.key
    const shadow = snooper.table.find(localPort, remoteAddress, remotePort)
    if (shadow === undefined || shadow.closed || shadow.partner !== null) return false
    shadow.settle(now)
    const { tcb } = shadow
    if (m.iss !== 0 && (tcb.iss !== m.iss || tcb.irs !== m.irs)) return false
    const { world } = this.#context
    if (!tcb.synSent || refusesResume(shadow, snooper, world.checkpoints) !== null) return false
    world.checkpoints.claim(binding.id, epoch)
    this.#adopt(shadow, now)
    this.#report('flow-carried', m.key, from)
    return true
  }

  #adopt(shadow: Shadow, now: Millis): void {
    const { stack, nic, checkpoints } = this.#context.world
    const { key, peerMac } = shadow
    const { localAddress, localPort, remoteAddress, remotePort } = key
    this.#term.snooper.remove(shadow)
    this.#away.delete(nameOfKey(key))
    if (peerMac !== 0) nic.hops.learn(remoteAddress, peerMac, now)
    new Promotion(stack, nic, now, doubtfulDataOf(this.#term.set)).promote(shadow, checkpoints)
    const connection = stack.tcp.demux.find(localAddress, localPort, remoteAddress, remotePort)
    if (connection === undefined || this.#term.state === 'owner') return
    this.#carried.set(nameOfKey(key), { key, connection })
    this.#watchAt = Math.min(this.#watchAt, now + WATCH_MS)
    this.#speakerChanged()
    this.#context.act({ kind: 'renew-lease' })
    this.#say(FlowMessageKind.CARRIED, key)
  }

  #handleCarried(from: NodeId, name: string, { key }: FlowMessage): void {
    const asked = this.#lost.get(name)
    if (!this.#leave(name, key, from, asked)) return
    this.#speakerChanged()
    if (asked !== undefined) this.#report('flow-passed', key, from)
  }

  // False: this node goes on with it, and not `node`.
  #leave(name: string, key: FlowKey, node: NodeId, asked: LostFlow | undefined): boolean {
    const own = this.#carried.get(name)
    // Two took it, as one was slow to answer: the smaller id goes on.
    if (own !== undefined && this.#context.options.id < node) {
      this.#say(FlowMessageKind.CARRIED, key)
      return false
    }
    if (own !== undefined) this.#letGo(name, own.connection)
    else this.#releaseOwned(key)
    this.#lost.remove(name)
    const blank = { key, reason: 'untracked' as GivenUp, iss: ZERO, irs: ZERO, resetSeq: ZERO }
    const known = this.#away.get(name)
    const flow = asked ?? known?.flow ?? { ...blank, tried: new Set<NodeId>() }
    if (known === undefined) holdAddress(key.remoteAddress)
    this.#away.set(name, { flow, node })
    return true
  }

  // Its carrier was not known here when the binding was claimed.
  #releaseOwned({ localAddress, localPort, remoteAddress, remotePort }: FlowKey): void {
    const { stack } = this.#context.world
    const held = stack.tcp.demux.find(localAddress, localPort, remoteAddress, remotePort)
    if (held !== undefined) stack.release(held)
  }

  #handleRefused(from: NodeId, name: string, now: Millis): void {
    if (this.#lost.asked(name) === from) {
      this.#passOn(name, now)
      return
    }
    const away = this.#away.get(name)
    if (away?.node !== from) return
    this.#away.delete(name)
    if (this.#term.state !== 'owner') return
    // Its carrier was stopped, and lives: it may go on when it has caught up.
    const tried = new Set([this.#context.options.id])
    this.#lost.add(name, { ...away.flow, tried })
    this.#lost.ask(name, NOBODY, now + 2 * this.#context.options.timing.bootMs)
  }

  /** A carrier is dead. Its connections are passed on when it is certain that it is silent. */
  handleDead(node: NodeId, now: Millis): void {
    for (const name of this.#lost.names())
      if (this.#lost.asked(name) === node) this.#awayAgain(name, node)
    const carries = [...this.#away.values()].some((each) => each.node === node)
    if (this.#term.state !== 'owner' || !carries) return
    this.#dead.set(node, NEVER)
    this.#context.silence(node, now)
  }

  /** `node` has started again, so that it carries nothing any more. */
  handleRestart(node: NodeId, now: Millis): void {
    if (this.#term.state === 'owner') this.#inherit(node, now)
    else for (const [name, each] of this.#away) if (each.node === node) this.#away.delete(name)
  }

  // It may have taken the connection before it died.
  #awayAgain(name: string, node: NodeId): void {
    const flow = this.#lost.get(name) as LostFlow
    this.#lost.remove(name)
    this.#away.set(name, { flow, node })
  }

  /** The fence around `node` stands, or could not be confirmed: then its lease must run out first. */
  handleFenced(node: NodeId, confirmed: boolean, now: Millis): void {
    if (!this.#dead.has(node)) return
    const { leaseMs, turnLeaseMs } = this.#context.options.timing
    this.#dead.set(node, confirmed ? now : now + Math.max(leaseMs, turnLeaseMs))
    if (confirmed) this.#inherit(node, now)
  }

  // No fence holds it: it may have been cut off, and be heard again.
  #inheritIfSilent(node: NodeId, now: Millis): void {
    const { detector, options, peers } = this.#context
    const { leaseMs, turnLeaseMs } = options.timing
    const over = leaseOverAt(detector.lastHeardAt(node), Math.max(leaseMs, turnLeaseMs))
    if (peers.isUp(node)) this.#dead.delete(node)
    else if (now < over) this.#dead.set(node, over)
    else this.#inherit(node, now)
  }

  #inherit(dead: NodeId, now: Millis): void {
    this.#dead.delete(dead)
    if (this.#term.state !== 'owner') return
    for (const [name, { flow, node }] of [...this.#away]) {
      if (node !== dead) continue
      this.#away.delete(name)
      // The owner is the last to be chosen: it lacked the connection before.
      const tried = new Set([dead, this.#context.options.id])
      if (this.#next(tried) === NOBODY && this.#resume(flow.key, now)) continue
      this.#lost.add(name, { ...flow, tried })
      this.#passOn(name, now)
    }
    this.#speakerChanged()
  }

  // The owner goes on with it itself, if it can.
  #resume({ localPort, remoteAddress, remotePort }: FlowKey, now: Millis): boolean {
    const { snooper } = this.#term
    const shadow = snooper.table.find(localPort, remoteAddress, remotePort)
    if (shadow === undefined || shadow.closed) return false
    shadow.settle(now)
    if (refusesResume(shadow, snooper, this.#context.world.checkpoints) !== null) return false
    this.#adopt(shadow, now)
    return true
  }

  /** A channel to `node` is up: it learns what is served here. */
  handleChannel(node: NodeId): void {
    for (const { key } of this.#carried.values()) this.#tell(node, FlowMessageKind.CARRIED, key)
  }

  /** This node was stopped: others may have passed on what it served. */
  handleLeaseLost(now: Millis): void {
    this.#refuseUntil = now + this.#context.options.timing.bootMs
    for (const [name, { key, connection }] of this.#carried) {
      this.#letGo(name, connection, key, now)
      this.#say(FlowMessageKind.REFUSED, key)
    }
  }

  // With `key` what was served here is watched again.
  #letGo(name: string, connection: Connection, key: FlowKey | null = null, now: Millis = 0): void {
    this.#carried.delete(name)
    const { tcb, buffers } = this.#context.world.stack.release(connection)
    this.#speakerChanged()
    if (key === null || tcb.state === TcpState.CLOSED || !tcb.synSent) return
    this.#term.snooper.admit(new Shadow(key, { tcb, buffers }), now)
  }

  // When others may be about to take this node for dead, which hears nobody, and to serve what it carries: an owner yields to the next.
  #aloneAt(): Millis {
    if (!this.speaks || this.#term.state === 'owner') return NEVER
    const { detector, options } = this.#context
    const heardAt = Math.max(0, ...this.#succession.others.map((id) => detector.lastHeardAt(id)))
    return heardAt === 0 ? NEVER : heardAt + options.timing.silenceMs - MARGIN_MS
  }

  handleTimeout(now: Millis): void {
    if (now >= this.#aloneAt()) this.handleLeaseLost(now)
    for (const name of this.#lost.due(now)) this.#passOn(name, now)
    for (const [node, at] of this.#dead) if (now >= at) this.#inheritIfSilent(node, now)
    if (now < this.#watchAt) return
    for (const [name, { key, connection }] of this.#carried) {
      if (!connection.released && !connection.closed) continue
      this.#carried.delete(name)
      this.#say(FlowMessageKind.ENDED, key)
    }
    this.#watchAt = this.speaks ? now + WATCH_MS : NEVER
    if (!this.speaks) this.#speakerChanged()
  }

  nextDeadline(): Millis {
    let earliest = Math.min(this.#watchAt, this.#lost.nextDeadline(), this.#aloneAt())
    // An owner looks after those that serve its connections.
    if (this.#away.size > 0) earliest = Math.min(earliest, this.#context.detector.nextDeadline())
    for (const at of this.#dead.values()) earliest = Math.min(earliest, at)
    return earliest
  }

  #say(kind: FlowMessageKind, key: FlowKey): void {
    this.#context.act({ kind: 'send', bytes: this.#encode(kind, key, ZERO, ZERO) })
  }

  #tell(node: NodeId, kind: FlowMessageKind, key: FlowKey, iss: Seq = ZERO, irs: Seq = ZERO): void {
    this.#context.act({ kind: 'tell', node, bytes: this.#encode(kind, key, iss, irs) })
  }

  #encode(kind: FlowMessageKind, key: FlowKey, iss: Seq, irs: Seq): Uint8Array {
    const { epoch } = this.#term
    const { authenticator } = this.#context.world
    return encodeFlowMessage({ kind, epoch, key, iss, irs }, authenticator)
  }

  #report(
    event: 'flow-lost' | 'flow-passed' | 'flow-carried',
    { localPort, remoteAddress, remotePort }: FlowKey,
    node: NodeId,
    reason: GivenUp = 'untracked',
  ): void {
    const binding = this.#term.binding.id
    const remote = formatEndpoint(remoteAddress, remotePort)
    const what = { binding, localPort, remote }
    this.#context.act({
      kind: 'report',
      report: event === 'flow-lost' ? { event, ...what, reason } : { event, ...what, node },
    })
  }
}
