/**
 * Ownership: one node's part in the ownership of one binding: when it suspects the owner, waits its turn, claims and yields. What
 * all bindings of a node share, peers, signs of life, fences and declarations, it finds in its OwnershipContext.
 *
 *              boot, nobody owns          owner suspected             fenced, or its lease has run out
 *   STANDBY ------------------> OWNER       STANDBY ----> CLAIMING ------------------------------> OWNER
 *   OWNER   -- a greater claim --> STANDBY      OWNER -- own lease lost --> FENCED -- nobody else owns --> OWNER
 */
import { type Millis, NEVER } from '../stack/index.js'
import type { Binding, NodeId } from './binding.js'
import { Candidacy } from './candidacy.js'
import { Carriage } from './carriage.js'
import { claimReports } from './claim-reports.js'
import { compareClaims, DeclarationKind, type OwnershipDeclaration } from './declaration.js'
import { type Standing, termsOf } from './failover-policy.js'
import { giverRest, HandOver } from './hand-over.js'
import { Mirror } from './mirror.js'
import type { NodeReport } from './node-actions.js'
import { NOBODY, type PermanencySet } from './node-options.js'
import { OwnerRecovery } from './owner-recovery.js'
import type { OwnershipContext, OwnershipState } from './ownership-context.js'
import type { Quorum } from './quorum.js'
import { SnapshotExchange } from './snapshot-exchange.js'
import { Snooper } from './snooper.js'
import { Succession } from './succession.js'
import { announce, clientsHeard, doubtAll, takeAll, watchAll } from './takeover.js'
import { Term } from './term.js'

const YIELDS: readonly DeclarationKind[] = [DeclarationKind.YIELD, DeclarationKind.RETURN]

export class Ownership {
  readonly set: PermanencySet
  readonly snooper: Snooper
  state: OwnershipState = 'standby'
  /** Who owns in the term that this node knows of. */
  owner: NodeId = NOBODY
  /** While this node owns: whose Ethernet address the clients may still send to. */
  predecessor: NodeId = NOBODY
  /** While this node owns: since its last renewal something was heard that was sent to another's Ethernet address. */
  strays = false
  /** Others are to hear from us of this binding, at the next timeout. */
  answer = false
  readonly #context: OwnershipContext
  readonly #mirror: Mirror
  readonly succession: Succession
  readonly #term: Term
  #renewAt: Millis = NEVER
  // When a policy that weighs standings is to hear of this node's again.
  #standAt: Millis = NEVER
  readonly #candidacy: Candidacy
  readonly #transfer: HandOver
  readonly snapshots: SnapshotExchange
  /** Connections that are served by another node than the owner. */
  readonly carriage: Carriage
  /** How the binding returns to the owner that the policy prefers. */
  readonly recovery: OwnerRecovery

  constructor(set: PermanencySet, context: OwnershipContext) {
    const { options, world, peers } = context
    this.set = set
    this.#context = context
    this.#term = new Term(set.binding.id, world.mirrorStore, world.checkpoints)
    const { stack } = world
    this.snooper = new Snooper(set.binding, stack.drops, (s) => stack.pairedIss(s.key, s.tcb))
    this.succession = new Succession(options.id, set, peers)
    this.#transfer = new HandOver(this.snooper, world.checkpoints)
    this.#candidacy = new Candidacy(this, context, this.#transfer, this.#term)
    this.snapshots = new SnapshotExchange(this, world, (a) => context.act(a))
    this.carriage = new Carriage(this, context, this.succession, () => context.setSpeaker(this))
    const accept = (): void => this.#transfer.accept()
    this.recovery = new OwnerRecovery(this, context, this.carriage, this.succession, accept)
    this.#mirror = new Mirror(world.mirrorStore, world.checkpoints, options.incarnation >>> 0)
    this.snooper.relieve = (shadow) => this.#mirror.relieve(shadow, this.snooper)
  }

  get quorum(): Quorum {
    return this.#candidacy.quorum
  }

  get binding(): Binding {
    return this.set.binding
  }

  /** The term of ownership that this node knows of; 0 while nobody is known to have owned. */
  get epoch(): number {
    return this.#term.epoch
  }

  /** This node knows of every connection of the binding, as far as it can tell (P27). */
  get complete(): boolean {
    return this.snooper.joining.complete
  }

  /** How this node stands, to be declared; while a successor is sought as it did before, for all must judge alike. */
  takeStanding(): Standing {
    const { options, world } = this.#context
    if (this.#candidacy.suspicion.holds) return this.succession.standingOf(options.id)
    const load = world.stack.tcp.demux.size
    return this.succession.stand(options.incarnation, this.owner, this.snooper, load)
  }

  /** From whom this node claims; it is buried when all that it had has been taken over. */
  get claimsFrom(): NodeId {
    return this.#candidacy.suspicion.from
  }

  /** Whoever owns this binding answers ARP, or neighbour discovery, for its address (P25). */
  get answersArp(): boolean {
    return this.set.arp !== 'elsewhere'
  }

  get owned(): boolean {
    return this.state === 'owner'
  }

  start(now: Millis): void {
    if (termsOf(this.set.policy).weighs) this.#standAt = now
    this.#term.restore()
    this.#candidacy.consent.start(now)
    this.#mirror.restore(this.snooper, now)
    // Where there was a term there may be an owner whose event loop is held up: it speaks while its lease lasts.
    this.listen(now, this.epoch > 0 ? this.#context.options.timing.turnLeaseMs : 0)
  }

  /** Nothing is known for certain: what the others say is to be heard first, for `least` at least. */
  listen(now: Millis, least: Millis = 0): void {
    this.#candidacy.vacancy.listenUntil = now + Math.max(this.#context.options.timing.bootMs, least)
  }

  /** The node's lease ran out while it was stopped: others may have taken over. */
  handleLeaseLost(now: Millis): void {
    if (this.#candidacy.suspicion.claimed) this.fall(now)
    if (this.state === 'claiming') this.state = 'standby'
    this.#candidacy.suspicion.end()
    // A transfer that is heard of only now may be long over, and another node the owner.
    this.#transfer.refuseUntil(now + this.#context.options.timing.bootMs)
    this.recovery.forget()
    if (this.state === 'owner') this.fall(now)
    this.carriage.handleLeaseLost(now)
  }

  /** Whoever speaks, as the owner or for some connections, and hears too few falls silent: others may be many, and claim. */
  checkQuorum(now: Millis): void {
    if ((!this.owned && !this.carriage.speaks) || this.quorum.holds(now)) return
    const { need: quorum } = this.quorum
    const report = { event: 'quorum-lost', binding: this.binding.id, quorum } as const
    this.#report({ ...report, heard: this.quorum.heard(now) })
    this.handleLeaseLost(now)
  }

  /** Falls silent, and claims again when it has listened and nobody else owns the binding. */
  fall(now: Millis): void {
    this.#stepDown(now)
    this.state = 'fenced'
    this.owner = NOBODY
    this.#candidacy.vacancy.begin(now)
    this.listen(now)
    this.#report({ event: 'fenced', binding: this.binding.id, epoch: this.epoch })
  }

  /** A node has declared itself that was not there before. */
  met(node: NodeId, incarnation: number, now: Millis): void {
    if (this.succession.met(node, incarnation, now)) {
      this.carriage.handleRestart(node, now)
      this.#candidacy.handleRestart(node, incarnation, now)
    }
    // It may come from behind a cut, where it owned the address too: the clients may have heard its last word.
    this.#announceAgain(now)
  }

  #announceAgain(now: Millis): void {
    if (this.owned && this.answersArp) this.#context.world.nic.announce(this.binding.address, now)
  }

  /** Takes an authentic declaration of another node about this binding. */
  handleDeclaration(d: OwnershipDeclaration, now: Millis): void {
    const { id: self, timing } = this.#context.options
    this.succession.handleDeclaration(d)
    if (d.kind >= DeclarationKind.ASK) {
      this.#candidacy.consent.handle(d, now)
      return
    }
    this.#term.heard(d.epoch)
    if (d.kind === DeclarationKind.CLAIM || d.kind === DeclarationKind.RENEW) {
      this.#handleClaim(d, d.node, now)
    } else if (d.kind === DeclarationKind.PRESENT && d.owner !== NOBODY) {
      if (d.owner !== self) this.#handleHearsay(d, now)
      else if (d.node === this.owner && d.epoch === this.epoch) {
        // Each claimed in this term and followed the other: it stands by for this node, which stood by for it.
        this.owner = NOBODY
        this.#candidacy.vacancy.begin(now)
      }
    } else if (this.state === 'owner' && d.epoch > this.epoch) {
      // Where more than half consent to each claim this node is not their owner any more.
      if (this.quorum.need > 1) this.fall(now)
      else this.#enterTerm(now)
    } else if (this.#isRefusal(d)) {
      this.#report({ event: 'handover-refused', binding: d.binding, to: d.node, epoch: d.epoch })
      this.#transfer.accept()
    } else if (d.kind === DeclarationKind.CANDIDATE) {
      this.#candidacy.handleCandidate(d, now)
    } else if (YIELDS.includes(d.kind) && d.node === this.owner) {
      if (this.state === 'claiming') this.state = 'standby'
      this.#candidacy.suspicion.fencing = false
      this.owner = NOBODY
      this.#candidacy.vacancy.yielded(d, timing, now)
      if (d.owner === self) this.#takeTransfer(d, now)
    }
  }

  #isRefusal(d: OwnershipDeclaration): boolean {
    const ours = d.kind === DeclarationKind.YIELD && d.owner === this.#context.options.id
    return ours && this.owner === NOBODY && d.epoch === this.epoch && this.#transfer.isTo(d.node)
  }

  // All that the last owner said lies before its word on the link, and has been overheard: what is missing now stays missing.
  #takeTransfer(d: OwnershipDeclaration, now: Millis): void {
    const listening = this.#candidacy.vacancy.isListening(now)
    if (!listening && this.state === 'standby' && this.#transfer.take(d, this.recovery, now)) return
    this.#context.handOver(this, d.node, 0)
  }

  // Who else owns the binding is known from one that knows it, when the owner itself cannot be heard: it counts when it is
  // news. An owner of which that is all we know is given the time in which it could still speak.
  #handleHearsay(d: OwnershipDeclaration, now: Millis): void {
    if (this.#transfer.accepted && d.epoch === this.epoch) return // it has been given away
    if (compareClaims(d.epoch, d.owner, this.epoch, this.owner) <= 0) return
    const { stuckMs, silenceMs } = this.#context.options.timing
    this.#handleClaim(d, d.owner, now)
    this.succession.ownerNamed()
    this.#context.detector.watch(d.owner, now + stuckMs - silenceMs)
  }

  #handleClaim(d: OwnershipDeclaration, owner: NodeId, now: Millis): void {
    const order = compareClaims(d.epoch, owner, this.epoch, this.owner)
    if (order < 0) {
      // A lesser claim: its maker has missed a greater one. It may have drawn the clients to its Ethernet address, too.
      this.answer = true
      this.#announceAgain(now)
      return
    }
    this.succession.ownerSpoke(now)
    this.#candidacy.heardOwner(owner, d)
    const { suspicion } = this.#candidacy
    if (order === 0) {
      // The owner lives after all. A fence that is on its way is gone through with: behind it nobody would hear the owner.
      if (this.state === 'claiming' && !suspicion.binds) this.state = 'standby'
      if (this.state !== 'claiming') suspicion.end()
      return
    }
    const before = this.state
    // No word of it: whoever claims has said all, and a YIELD of the old term could be taken for one of the new owner's.
    if (before === 'owner') this.#stepDown(now)
    this.#candidacy.end(owner, d.epoch)
    // Whoever did not hear that its address was claimed has not heard what was said from it since, either.
    const unheard = before === 'fenced' && d.kind !== DeclarationKind.CLAIM
    if (before === 'owner' || unheard) this.snooper.distrust(true)
    else this.snooper.joining.restart()
    this.#term.follow(d.epoch)
    this.owner = owner
    this.state = 'standby'
    this.carriage.handleOwner(owner, d.epoch)
    this.answer ||= before !== 'standby'
    const { binding, epoch } = d
    this.#report({ event: 'standby', binding, owner, epoch, yielded: before === 'owner' })
    if (before === 'owner') this.#context.handleOutclaimed(this, now)
    this.#context.act({ kind: 'unfence' })
  }

  /** The fence around `node` stands, or could not be confirmed: then its lease must run out first. */
  handleFenced(node: NodeId, confirmed: boolean, now: Millis): void {
    this.carriage.handleFenced(node, confirmed, now)
    if (this.state !== 'claiming' || node !== this.owner) return
    const { suspicion } = this.#candidacy
    if (suspicion.fencing) suspicion.fenced(node, confirmed, now)
  }

  handleTimeout(now: Millis): void {
    if (now >= this.#standAt) {
      this.#standAt = now + this.#context.options.timing.renewMs
      this.answer = true
    }
    if (this.answer) {
      this.answer = false
      const kind = this.owned ? DeclarationKind.RENEW : DeclarationKind.PRESENT
      this.#context.declare(kind, false, this)
    }
    this.snooper.handleTimeout(now)
    this.carriage.handleTimeout(now)
    this.checkQuorum(now)
    this.#proceed(now)
    // Last, as it takes longest: a claim, and what comes of it, does not wait for it.
    if (this.state !== 'claiming') this.#mirror.write(this.snooper, now)
  }

  #proceed(now: Millis): void {
    if (this.state === 'owner') {
      if (now >= this.#renewAt) this.#renew(now)
      return
    }
    if (this.state === 'claiming') {
      if (this.#candidacy.suspicion.claimed) this.#takeOver(now)
      else this.#pursue(now)
      return
    }
    if (this.snapshots.handleTimeout(now)) {
      // What it listened for it has been told; and the others are to know that it is in line.
      this.#candidacy.vacancy.listenUntil = 0
      this.answer = true
    }
    if (!this.#candidacy.vacancy.isListening(now)) this.#considerClaim(now)
  }

  nextDeadline(): Millis {
    if (this.answer) return 0
    const upkeep = Math.min(
      this.snooper.nextDeadline(),
      this.#mirror.nextDeadline(this.snooper),
      this.snapshots.nextDeadline(),
      this.carriage.nextDeadline(),
      this.#standAt,
    )
    if (this.state === 'owner') return Math.min(upkeep, this.#renewAt, this.quorum.endsAt())
    if (this.state === 'claiming') return Math.min(upkeep, this.#candidacy.pursueAt)
    return Math.min(upkeep, this.#candidacy.nextDeadline())
  }

  #considerClaim(now: Millis): void {
    const decision = this.#candidacy.decide(now)
    if (decision === 'claim') this.#claim(now)
    if (decision !== 'fence') return
    this.state = 'claiming'
    if (this.#candidacy.ownerEnded) this.snooper.repair?.orphan(now)
    else this.#context.silence(this.owner, now)
  }

  #pursue(now: Millis): void {
    const decision = this.#candidacy.pursue(now)
    if (decision === 'claim') this.#claim(now)
    if (decision === 'stand-by') this.state = 'standby'
  }

  /**
   * Claims the binding: epoch and declaration. What follows at once may take longer than those behind this node have patience, when
   * there are many connections: they are to have heard of it by then.
   */
  #claim(now: Millis): void {
    const { suspicion, vacancy } = this.#candidacy
    suspicion.claim(this.owner === NOBODY ? vacancy.yieldedBy : this.owner, now)
    this.state = 'claiming'
    this.owner = this.#context.options.id
    this.#enterTerm(now)
  }

  /** Takes over what was claimed: state, address, ARP; the connections speak at the next poll. */
  #takeOver(now: Millis): void {
    const { world, options, detector } = this.#context
    const { stack, nic } = world
    const { binding } = this
    const { id, timing } = options
    const { suspicion, vacancy } = this.#candidacy
    const { from, cause } = suspicion
    const instants = suspicion.instants(detector.lastHeardAt(from), now)
    const clients = clientsHeard(nic, this.snooper)
    this.#mirror.rest(now)
    stack.setQuiet(binding.address, true)
    const orderly = from !== NOBODY && from === vacancy.yieldedBy
    const blind = !this.complete
    const count = takeAll(this, world, from, orderly, now)
    this.snapshots.end()
    if (!orderly && this.#candidacy.buries(from)) this.#context.bury(from, now)
    this.recovery.handleClaimed(from, vacancy.yieldedBy)
    vacancy.end()
    this.#transfer.end()
    this.state = 'owner'
    // The clients go on sending to the last owner until they have heard of us: on a hub none of that need be lost.
    this.predecessor = from
    this.#context.handleSpeaker(this)
    stack.setQuiet(binding.address, false)
    suspicion.drop()
    this.#renewAt = now + timing.renewMs
    this.#context.act({ kind: 'renew-lease' })
    if (this.answersArp) announce(nic, binding, clients, now)
    const claim = { binding: binding.id, id, from, epoch: this.epoch, cause }
    for (const report of claimReports(claim, instants, count)) this.#report(report)
    this.carriage.handleClaimed(now, blind)
  }

  // Beyond all that were heard of: the user of a later one would not take us for the owner.
  #enterTerm(now: Millis): void {
    if (this.owned) doubtAll(this.binding, this.#context.world.stack, now)
    this.#term.enter()
    this.#context.declare(DeclarationKind.CLAIM, false, this)
  }

  // The address falls silent, and what we held we watch again.
  #stepDown(now: Millis): void {
    this.state = 'standby'
    this.#candidacy.suspicion.drop()
    this.predecessor = NOBODY
    this.#context.handleSpeaker(this)
    watchAll(this, this.#context.world.stack, now)
    this.#renewAt = NEVER
  }

  /** Gives the binding up in good order: for a shutdown. A peer claims it without waiting for our death. */
  yield(now: Millis): void {
    if (this.state !== 'owner') return
    this.#stepDown(now)
    this.owner = NOBODY
    this.#context.declare(DeclarationKind.YIELD, false, this)
    // Others go first: whoever yields does not want it back at once.
    this.#candidacy.vacancy.begin(now + 4 * this.#context.options.timing.patienceMs)
  }

  /**
   * Planned transfer (P24): falls silent and gives the binding to `to`, with every connection. The peer goes on where this node
   * stopped, or gives the binding back when it lacks anything. With `returns` active connections stay (P23).
   */
  handOver(to: NodeId, now: Millis, returns = false): void {
    if (this.state !== 'owner') return
    const { epoch } = this
    const named = returns ? this.recovery.begin(now) : 0
    this.#stepDown(now)
    this.owner = NOBODY
    const moved = this.#transfer.begin(to)
    const connections = returns ? named : moved
    const kind = returns ? DeclarationKind.RETURN : DeclarationKind.YIELD
    this.#context.handOver(this, to, connections, kind)
    this.#candidacy.vacancy.begin(now + giverRest(this.#context.options.timing))
    const event = returns ? 'owner-recovery' : 'handover'
    this.#report({ event, binding: this.binding.id, to, epoch, connections })
  }

  #renew(now: Millis): void {
    const recovered = this.recovery.recovered(now)
    if (recovered !== NOBODY) {
      this.handOver(recovered, now, true)
      return
    }
    this.#renewAt = now + this.#context.options.timing.renewMs
    if (this.strays) this.#announceAgain(now)
    this.strays = false
    this.#context.declare(DeclarationKind.RENEW, false, this)
  }

  #report(report: NodeReport): void {
    this.#context.act({ kind: 'report', report })
  }
}
