// hot path: no allocation per frame
/**
 * The retransmission time-out (RFC 6298): smoothed round-trip time, its variation, and the back-off.
 *
 * Deviation: where RFC 6298 (2.4) says that an RTO SHOULD be 1 s at least, it is 200 ms at least above the round-trip time,
 * as in the kernels of the clients: that is what a delayed acknowledgement takes, and on one link a second of waiting is a
 * hundred thousand round trips.
 */
import type { Millis } from '../../base/time.js'

/** How much longer than the round trip is waited at least; see the deviation above. */
export const MIN_RTO_MS = 200
/** RFC 6298 (2.5): the ceiling, with back-off. */
export const MAX_RTO_MS = 60_000
/** RFC 6298 (2.1): until a sample has been taken. */
export const INITIAL_RTO_MS = 1000
/** RFC 6298 (5.7): when the handshake took more than one SYN, until a sample has been taken. */
export const FALLBACK_RTO_MS = 3000

/** One connection's estimate. It starts afresh at a take-over. */
export class RttEstimator {
  /** SRTT, or -1 before the first sample. */
  srttMs = -1
  rttvarMs = 0
  #baseRtoMs = INITIAL_RTO_MS
  #backoff = 0
  // The one segment being timed (Karn's algorithm: a retransmission ends the timing).
  #timedOffset = -1
  #timedAt: Millis = 0

  /** The time-out with its back-off. */
  get rtoMs(): number {
    return Math.min(this.#baseRtoMs * 2 ** this.#backoff, MAX_RTO_MS)
  }

  /** RFC 6298 (5.5): the timer expired. */
  backOff(): void {
    if (this.#backoff < 16) this.#backoff++
    this.#timedOffset = -1
  }

  /** New data was acknowledged: the back-off ends. */
  resetBackoff(): void {
    this.#backoff = 0
  }

  /** New text up to stream offset `end` departs: time it unless another is being timed. */
  start(end: number, now: Millis): void {
    if (this.#timedOffset >= 0) return
    this.#timedOffset = end
    this.#timedAt = now
  }

  /** The handshake is complete. Without a sample of it the path may be slower than the first time-out. */
  settle(): void {
    if (this.srttMs < 0) this.#baseRtoMs = FALLBACK_RTO_MS
  }

  /** A retransmission departs: what is being timed would be ambiguous. */
  discard(): void {
    this.#timedOffset = -1
  }

  /** Everything below stream offset `una` is acknowledged. */
  acked(una: number, now: Millis): void {
    if (this.#timedOffset < 0 || una < this.#timedOffset) return
    this.#timedOffset = -1
    this.sample(now - this.#timedAt)
  }

  /** Takes one round-trip time. */
  sample(rttMs: number): void {
    if (this.srttMs < 0) {
      this.srttMs = rttMs
      this.rttvarMs = rttMs / 2
    } else {
      this.rttvarMs += (Math.abs(this.srttMs - rttMs) - this.rttvarMs) / 4
      this.srttMs += (rttMs - this.srttMs) / 8
    }
    const rto = this.srttMs + Math.max(MIN_RTO_MS, 4 * this.rttvarMs)
    this.#baseRtoMs = Math.min(rto, MAX_RTO_MS)
  }
}
