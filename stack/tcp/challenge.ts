// hot path: no allocation per frame
/**
 * ChallengeBudget: how many challenge ACKs one connection may send (RFC 5961 §7), as a bucket of tokens: a burst, and two a
 * second in the long run. It is per connection, so that nobody can learn of one from the silence of another.
 */
import type { Millis } from '../base/time.js'

export const CHALLENGE_BURST = 10
export const CHALLENGE_EVERY_MS: Millis = 500

export class ChallengeBudget {
  #tokens = CHALLENGE_BURST
  #filledAt: Millis = 0

  /** True when it is as if none had ever left. */
  isFull(now: Millis): boolean {
    return this.#tokens + Math.floor((now - this.#filledAt) / CHALLENGE_EVERY_MS) >= CHALLENGE_BURST
  }

  /** True when another challenge may leave at `now`; it is counted. */
  take(now: Millis): boolean {
    const earned = Math.floor((now - this.#filledAt) / CHALLENGE_EVERY_MS)
    if (earned > 0) {
      this.#tokens = Math.min(this.#tokens + earned, CHALLENGE_BURST)
      this.#filledAt = now
    }
    if (this.#tokens === 0) return false
    this.#tokens--
    return true
  }
}
