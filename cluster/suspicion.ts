/**
 * Suspicion: from the first doubt that the owner lives over the instant from which it is certain that it speaks no more (D3) to the
 * claim.
 */
import { type Millis, NEVER } from '../stack/index.js'
import type { NodeId } from './binding.js'
import type { FailureDetector } from './failure-detector.js'
import type { ClaimCause, ClaimInstants } from './node-actions.js'
import { NOBODY, type NodeTiming } from './node-options.js'
import type { Coverage } from './snooper.js'

// Between the end of another's lease and our first word.
const LEASE_MARGIN_MS = 10
/** So long behind a candidate's word what crossed it has been heard: more than two declarations take, one behind the other. */
export const CROSSING_MS: Millis = 10

export class Suspicion {
  /** When the owner came to be suspected; 0: it is not. */
  since: Millis = 0
  /** Why this node claims, or claimed last. */
  cause: ClaimCause = 'boot'
  /** What could be taken over when the owner was suspected. */
  coverage: Coverage | undefined
  /** The fence has been asked for, and has not been answered. */
  fencing = false
  /** When the binding may be claimed. */
  claimAt: Millis = NEVER
  /** The claim has been declared, and nothing taken over yet. */
  claimed = false
  /** From whom this node claims. */
  from: NodeId = NOBODY
  // When the fence around the owner stood, or could not be confirmed.
  #fencedAt: Millis = 0
  // Whether a fence says that the owner speaks no more, or nothing but the end of its lease; null: the fence is not answered.
  #confirmed: boolean | null = null
  // When this node said that it is about to claim.
  #saidAt: Millis = 0
  readonly #detector: FailureDetector
  readonly #timing: NodeTiming
  // For how long who is not heard may speak.
  readonly #speakMs: Millis

  /**
   * `quorate`: an owner behind a cut speaks until its quorum has run out, and if it was stopped in that instant, until its own lease has:
   * before it looks again it may have heard the others again.
   */
  constructor(detector: FailureDetector, timing: NodeTiming, quorate: boolean) {
    this.#detector = detector
    this.#timing = timing
    this.#speakMs = quorate ? 2 * timing.leaseMs : timing.leaseMs
  }

  get holds(): boolean {
    return this.since > 0
  }

  /** The fence is on its way, or stands: this node goes through with it, as behind it nobody would hear the owner. */
  get binds(): boolean {
    return this.fencing || this.#confirmed === true
  }

  begin(coverage: Coverage, now: Millis): void {
    this.since = now
    this.coverage = coverage
  }

  /** The owner lives. */
  end(): void {
    this.since = 0
  }

  /** Nothing is to be claimed, or all has been. */
  drop(): void {
    this.end()
    this.claimAt = NEVER
    this.fencing = false
    this.#confirmed = null
    this.claimed = false
    this.from = NOBODY
  }

  /** The claim is declared. */
  claim(from: NodeId, now: Millis): void {
    this.claimAt = now
    this.fencing = false
    this.claimed = true
    this.from = from
  }

  /** The owner is to be silenced, whose failure showed by `cause`, and the others are told. */
  fence(cause: ClaimCause, now: Millis): void {
    this.cause = cause
    this.#confirmed = null
    this.#saidAt = now
    this.claimAt = NEVER
    this.fencing = true
  }

  /** The fence around `node` stands, or could not be confirmed: then its lease must run out first. */
  fenced(node: NodeId, confirmed: boolean, now: Millis): void {
    this.fencing = false
    this.#fencedAt = now
    this.#confirmed = confirmed
    this.claimAt = confirmed
      ? now
      : Math.max(now, this.#leaseOverAt(node), this.#saidAt + CROSSING_MS)
  }

  /** The owner has started again: the life in which it owned is over. No fence took time, so another candidate's word may be under way. */
  ended(now: Millis): void {
    this.fencing = false
    this.#fencedAt = now
    this.#confirmed = true
    this.claimAt = Math.max(now, this.#saidAt + CROSSING_MS)
  }

  /**
   * What is to be done about `node`, the owner. Without a fence that stands nobody claims while it shows life, since what is heard of
   * it renews its lease. It lives where nothing speaks against it any more: its channel ended, and there is one again.
   */
  verdict(node: NodeId, now: Millis): 'claim' | 'lives' | 'wait' {
    if (this.fencing || now < this.claimAt) return 'wait'
    if (this.#confirmed === true) return 'claim'
    this.claimAt = Math.max(this.claimAt, this.#leaseOverAt(node))
    if (now >= this.claimAt) return 'claim'
    return this.#detector.suspects(node, now) === null ? 'lives' : 'wait'
  }

  #leaseOverAt(node: NodeId): Millis {
    const { turnLeaseMs } = this.#timing
    return this.cause === 'stuck'
      ? leaseOverAt(this.#detector.lastTurnedAt(node), turnLeaseMs)
      : leaseOverAt(this.#detector.lastHeardAt(node), this.#speakMs)
  }

  /** How long the steps of a claim took that is made now; the last owner was last heard at `heardAt`. */
  instants(heardAt: Millis, now: Millis): ClaimInstants {
    const since = this.holds ? this.since : now
    // One that has started again has been heard since.
    const silentMs = this.holds ? Math.max(since - heardAt, 0) : 0
    const fencedMs = this.#fencedAt > since ? this.#fencedAt - since : 0
    return { silentMs, fencedMs, ms: now - since }
  }
}

/** When nothing can be heard any more of a node whose lease of `leaseMs` was renewed last at `signAt`. */
export function leaseOverAt(signAt: Millis, leaseMs: Millis): Millis {
  return signAt + leaseMs + LEASE_MARGIN_MS
}
