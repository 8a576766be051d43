/**
 * Consent (D3): where a binding asks for a quorum, whoever is about to claim it asks the others first, and claims when more than half of
 * the set, itself counted, have noted the term that it is going to use. Heartbeats are no consent: they are as old as a lease, and a node
 * that was cut off in that lease would use a term that nobody hears of, and that others use again.
 *
 * Whoever consents has the term durably, and consents to nobody else before the one that it consented to has claimed, or can speak by that
 * claim no more. Any two majorities have a node in common: so no term is used twice, and no two nodes claim in each other's absence.
 *
 * A consent is good for one lease from when it was asked for, by the clock of the one that asked. It binds, by the clock of the one that
 * gave it, until a claim that was made at the end of that lease has been heard, if only by the renewal behind a cut, or has fallen silent for
 * want of a quorum; and for one lease more, for which the claimer may be stopped meanwhile.
 */
import type { Millis } from '../stack/index.js'
import type { NodeId } from './binding.js'
import { DeclarationKind, type OwnershipDeclaration } from './declaration.js'
import { NOBODY } from './node-options.js'
import type { Ownership } from './ownership.js'
import type { OwnershipContext } from './ownership-context.js'
import type { Quorum } from './quorum.js'
import { leaseOverAt, type Suspicion } from './suspicion.js'
import type { Term } from './term.js'

/** Who was asked and has not answered is asked again. */
const ASK_AGAIN_MS: Millis = 20

export class Consent {
  /** When `holds` may come to another result, unless something is heard before; 0: at any time. */
  retryAt: Millis = 0
  readonly #own: Ownership
  readonly #context: OwnershipContext
  readonly #quorum: Quorum
  readonly #suspicion: Suspicion
  readonly #term: Term
  // The term that the others were asked about, or 0; when they were first; and who has consented.
  #asked = 0
  #askedAt: Millis = 0
  readonly #given = new Set<NodeId>()
  // To whom this node has consented, in which term, and until when it consents to nobody else. An earlier life may have: NOBODY stands for whom it did.
  #to: NodeId = NOBODY
  #noted = 0
  #until: Millis = 0

  constructor(
    own: Ownership,
    context: OwnershipContext,
    quorum: Quorum,
    suspicion: Suspicion,
    term: Term,
  ) {
    this.#own = own
    this.#context = context
    this.#quorum = quorum
    this.#suspicion = suspicion
    this.#term = term
  }

  get #bindsMs(): Millis {
    const { leaseMs, renewMs } = this.#context.options.timing
    return leaseOverAt(0, leaseMs + Math.max(leaseMs, renewMs) + leaseMs)
  }

  /** What an earlier life consented to is not known. */
  start(now: Millis): void {
    this.#until = now + this.#bindsMs
  }

  /** True when this node may claim, in the next term; else it asks. */
  holds(now: Millis): boolean {
    if (this.#quorum.need <= 1) return true
    this.ask(now)
    return this.#asked > 0 && this.#given.size + 1 >= this.#quorum.need
  }

  /** Asks the others, unless they have been asked. */
  ask(now: Millis): void {
    if (this.#quorum.need <= 1) return
    if (this.#binds(now, this.#context.options.id)) {
      this.retryAt = this.#until
      return
    }
    const { leaseMs } = this.#context.options.timing
    const over = now >= this.#askedAt + leaseMs || this.#asked !== this.#term.next
    if (this.#asked > 0 && over) this.#withdraw()
    if (this.#asked > 0 && now < this.retryAt) return
    if (this.#asked === 0) {
      this.#asked = this.#term.next
      this.#askedAt = now
    }
    this.retryAt = now + ASK_AGAIN_MS
    if (this.#given.size + 1 >= this.#quorum.need) return
    const ahead = this.#asked - this.#own.epoch
    this.#context.declare(DeclarationKind.ASK, false, this.#own, { connections: ahead })
  }

  // What comes in answer is for nothing: the term is not used by this node any more.
  #withdraw(): void {
    this.#term.heard(this.#asked)
    this.end()
  }

  /** The binding has an owner, or this node lets another go first. */
  end(): void {
    this.#asked = 0
    this.#given.clear()
    this.retryAt = 0
  }

  /** `owner` has claimed in `epoch`. Whom else this node has consented to may not have heard of that, and claim as well. */
  settle(owner: NodeId, epoch: number): void {
    if (this.#asked > 0) this.#withdraw()
    if (owner !== this.#to || epoch < this.#noted) return
    this.#to = NOBODY
    this.#until = 0
  }

  #binds(now: Millis, node: NodeId): boolean {
    return now < this.#until && this.#to !== node
  }

  /** Takes an ASK or a CONSENT. */
  handle(d: OwnershipDeclaration, now: Millis): void {
    if (this.#quorum.need <= 1 || !this.#quorum.includes(d.node)) return
    if (d.kind === DeclarationKind.ASK) this.#handleAsk(d, now)
    else if (d.owner === NOBODY) this.#term.heard(d.epoch)
    else if (d.owner === this.#context.options.id && d.epoch === this.#asked) {
      this.#given.add(d.node)
      if (this.#given.size + 1 >= this.#quorum.need) this.retryAt = 0
    }
  }

  #handleAsk(d: OwnershipDeclaration, now: Millis): void {
    const { node } = d
    const epoch = d.epoch + d.connections
    const { id, timing } = this.#context.options
    const known = this.#own.owner !== NOBODY && this.#own.owner !== node
    if (this.#own.owned || this.#suspicion.claimed || (known && this.#own.epoch > d.epoch)) {
      // It has not heard of that.
      this.#own.answer = true
      return
    }
    if (this.#binds(now, node)) return
    // Of two that ask each other the smaller id goes on; this node's own wish lasts for a lease.
    if (this.#asked > 0 && now < this.#askedAt + timing.leaseMs && id < node) return
    // Its own term it does not burn before it knows that the other's is not that one, too: each would refuse what the other asks for, in
    // ever later terms.
    const withdrawn = this.#asked
    if (withdrawn > 0) this.end()
    const again = this.#to === node && epoch === this.#noted && epoch + 1 === this.#term.next
    if (epoch < this.#term.next && !again) {
      this.#term.heard(withdrawn)
      this.#context.declare(DeclarationKind.CONSENT, false, this.#own, {
        epoch: this.#term.next - 1,
        owner: NOBODY,
      })
      return
    }
    // Not on disk yet: it is asked for again.
    if (!this.#term.note(epoch)) {
      this.#term.heard(withdrawn)
      return
    }
    this.#to = node
    this.#noted = epoch
    this.#until = now + this.#bindsMs
    this.#context.declare(DeclarationKind.CONSENT, false, this.#own, { epoch, owner: node })
  }
}
