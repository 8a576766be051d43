/**
 * Candidacy: when a node that stands by is to act, and what it does then: claim where nobody owns, silence an owner that is suspected, or
 * wait: for its turn in the policy's line, for a fence or the end of a lease, for a quorum.
 */
import { type Millis, NEVER } from '../stack/index.js'
import type { NodeId } from './binding.js'
import { Consent } from './consent.js'
import { DeclarationKind, type OwnershipDeclaration } from './declaration.js'
import type { HandOver } from './hand-over.js'
import { NOBODY } from './node-options.js'
import type { Ownership } from './ownership.js'
import type { OwnershipContext } from './ownership-context.js'
import { Quorum } from './quorum.js'
import { CROSSING_MS, Suspicion } from './suspicion.js'
import type { Term } from './term.js'
import { Vacancy } from './vacancy.js'

export class Candidacy {
  readonly suspicion: Suspicion
  readonly vacancy = new Vacancy()
  readonly quorum: Quorum
  readonly consent: Consent
  readonly #term: Ownership
  readonly #context: OwnershipContext
  readonly #transfer: HandOver
  // Another candidate goes first; until when this node lets it.
  #defers = false
  #deferUntil: Millis = 0
  // The port was opened in the turn before this one.
  #opened = false
  // When a node that hears too few asks again who is there.
  #seekAt: Millis = 0
  // The life in which the owner said that it owns; 0: others have said so.
  #ownerLife = 0
  // An owner that has started again: what it owned it owned in an earlier life.
  #ended: NodeId = NOBODY

  constructor(term: Ownership, context: OwnershipContext, transfer: HandOver, epochs: Term) {
    const { detector, options } = context
    this.#term = term
    this.#context = context
    this.#transfer = transfer
    this.quorum = new Quorum(options.id, term.set, detector, options.timing.leaseMs)
    this.suspicion = new Suspicion(detector, options.timing, this.quorum.need > 1)
    this.consent = new Consent(term, context, this.quorum, this.suspicion, epochs)
  }

  /** The owner that this node knows of has ended: it is there again, in another life. */
  get ownerEnded(): boolean {
    return this.#ended !== NOBODY && this.#ended === this.#term.owner
  }

  /** True when `node`, from which this node claims, is dead: not when it is there again. */
  buries(node: NodeId): boolean {
    return node !== NOBODY && node !== this.#ended
  }

  /**
   * `node` has started again. If it was the owner nobody need be silenced, and no lease need run out; nor is its new life waited for,
   * which knows nothing of what the old one served. In which life it owns others cannot tell.
   */
  handleRestart(node: NodeId, incarnation: number, now: Millis): void {
    const { owner } = this.#term
    if (node !== owner || this.#ownerLife === 0 || incarnation <= this.#ownerLife) return
    this.#ended = node
    if (this.#term.state === 'claiming') this.suspicion.ended(now)
  }

  /** When `decide` may come to another result, unless something is heard before. */
  nextDeadline(): Millis {
    const { listenUntil, since } = this.vacancy
    if (listenUntil > 0) return listenUntil
    const doubt = this.#term.owner === NOBODY ? since : this.suspicion.since
    if (doubt === 0) return this.ownerEnded ? 0 : this.#context.detector.nextDeadline()
    return Math.max(this.#patienceEnds(doubt), this.quorum.retryAt, this.consent.retryAt)
  }

  /** When `pursue` may come to another result, unless something is heard before. */
  get pursueAt(): Millis {
    return Math.max(this.suspicion.claimAt, this.#deferUntil, this.consent.retryAt)
  }

  /**
   * Another node is about to claim. Nodes that do not agree on who is up, or who lacks what, may each be the first in its own line: of two
   * whose words have crossed the smaller id goes on and says so again, and whoever has said nothing yet lets the other go first.
   */
  handleCandidate(d: OwnershipDeclaration, now: Millis): void {
    const { options } = this.#context
    if (this.#term.state === 'claiming' && d.node > options.id) {
      if (this.suspicion.claimed || this.#defers) return
      this.#context.declare(DeclarationKind.CANDIDATE, false, this.#term)
      return
    }
    this.#defers = true
    this.#deferUntil = now + options.timing.patienceMs
  }

  // Nobody goes first any more, as far as was heard.
  #sayCandidate(): void {
    this.#defers = false
    this.#deferUntil = 0
    this.#context.declare(DeclarationKind.CANDIDATE, false, this.#term)
  }

  /** `owner` owns, as `d` says. */
  heardOwner(owner: NodeId, d: OwnershipDeclaration): void {
    this.#ownerLife = d.node === owner ? d.incarnation : 0
    this.#ended = NOBODY
  }

  /** `owner` owns in `epoch`. */
  end(owner: NodeId, epoch: number): void {
    this.suspicion.drop()
    this.consent.settle(owner, epoch)
    this.#transfer.end()
    this.vacancy.end()
    this.#defers = false
    this.#deferUntil = 0
  }

  // When it is this node's turn to act, after those before it in the policy's line had theirs.
  #patienceEnds(since: Millis): Millis {
    if (this.#transfer.accepted) return 0
    const { owner, succession } = this.#term
    const { patienceMs } = this.#context.options.timing
    const coverage = this.suspicion.holds ? this.suspicion.coverage : undefined
    const rank = succession.rank(owner, this.vacancy.yieldedBy, coverage)
    return Math.max(since + rank * patienceMs, this.#deferUntil)
  }

  /** What this node does now, which stands by, and does not listen any more. */
  decide(now: Millis): 'claim' | 'fence' | 'wait' {
    const listened = this.vacancy.listenUntil > 0
    this.vacancy.listenUntil = 0
    const opened = this.#opened
    this.#opened = false
    if (this.#term.owner !== NOBODY) return this.#doubt(now)
    if (this.vacancy.since === NEVER) this.vacancy.begin(now)
    if (listened) this.#open()
    if (listened || now < this.#patienceEnds(this.vacancy.since)) return 'wait'
    if (!this.#mayAct(now) || !this.consent.holds(now)) return 'wait'
    const given = this.#transfer.accepted || this.vacancy.yieldedBy !== NOBODY
    if (!given && !opened) {
      this.#open()
      return 'wait'
    }
    this.suspicion.cause = given ? 'yield' : 'boot'
    return 'claim'
  }

  // A port that was shut let nothing in, not even word of who owns: then this node is to listen again. Else it acts in its next turn.
  #open(): void {
    this.#opened = true
    this.#context.openPort(this.#term)
  }

  #doubt(now: Millis): 'fence' | 'wait' {
    const { owner, binding, snooper } = this.#term
    const { suspicion } = this
    const cause = this.ownerEnded ? 'eof' : this.#context.detector.suspects(owner, now)
    if (cause === null) {
      suspicion.end()
      return 'wait'
    }
    if (!suspicion.holds) {
      suspicion.begin(snooper.coverage(), now)
      const report = { event: 'suspect', node: owner, cause, binding: binding.id } as const
      this.#context.act({ kind: 'report', report })
    }
    if (now < this.#patienceEnds(suspicion.since) || !this.#mayAct(now)) return 'wait'
    suspicion.fence(cause, now)
    if (this.ownerEnded) suspicion.ended(now)
    this.#sayCandidate()
    // By the time of the fence's answer theirs may be there.
    this.consent.ask(now)
    return 'fence'
  }

  // Whoever lacked a quorum has been on the wrong side of a cut: what was claimed on the other is to be heard first.
  #mayAct(now: Millis): boolean {
    const lacked = this.quorum.retryAt > 0
    if (!this.quorum.holds(now, this.ownerEnded ? NOBODY : this.#term.owner)) {
      this.#seek(now)
      return false
    }
    if (!lacked) return true
    this.#term.listen(now)
    this.#context.declare(DeclarationKind.PRESENT, true, this.#term)
    return false
  }

  // Who started behind a cut was not heard when it said so, and knows nobody: two of them would wait for each other for ever.
  #seek(now: Millis): void {
    if (now < this.#seekAt) return
    this.#seekAt = now + this.#context.options.timing.renewMs
    this.#context.declare(DeclarationKind.PRESENT, true, this.#term)
  }

  /** The same while the suspected owner is being silenced. */
  pursue(now: Millis): 'claim' | 'stand-by' | 'wait' {
    if (now < this.#deferUntil) return 'wait'
    if (this.#defers) {
      // The other has not claimed in time. It may not have come to it yet: then it says so.
      this.#sayCandidate()
      this.#deferUntil = now + CROSSING_MS
      return 'wait'
    }
    const verdict = this.suspicion.verdict(this.#term.owner, now)
    if (verdict === 'wait') return 'wait'
    if (verdict === 'claim' && this.#mayAct(now)) return this.consent.holds(now) ? 'claim' : 'wait'
    this.suspicion.drop()
    return 'stand-by'
  }
}
