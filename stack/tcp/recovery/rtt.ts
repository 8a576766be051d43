// hot path: no allocation per frame
/**
 * The retransmission time-out (RFC 6298): smoothed round-trip time, its variation, and the back-off.
 *
 * Deviation: where RFC 6298 (2.4) says that an RTO SHOULD be 1 s at least, it is 200 ms at least above the round-trip time,
 * as in the kernels of the clients: that is what a delayed acknowledgement takes, and on one link a second of waiting is a
 * hundred thousand round trips.
 */
import type { Row } from '../../base/row.js'
import type { Millis } from '../../base/time.js'

/** How much longer than the round trip is waited at least; see the deviation above. */
export const MIN_RTO_MS = 200
/** RFC 6298 (2.5): the ceiling, with back-off. */
export const MAX_RTO_MS = 60_000
/** RFC 6298 (2.1): until a sample has been taken. */
export const INITIAL_RTO_MS = 1000
/** RFC 6298 (5.7): when the handshake took more than one SYN, until a sample has been taken. */
export const FALLBACK_RTO_MS = 3000

// Microseconds of a millisecond.
const US = 1000

/**
 * One connection's estimate. It starts afresh at a take-over. Durations are kept as whole microseconds, as an object's fraction takes
 * memory of its own.
 */
export class RttEstimator {
  #srttUs = -1
  #rttvarUs = 0
  #baseRtoUs = INITIAL_RTO_MS * US
  #backoff = 0
  // The one segment being timed (Karn's algorithm: a retransmission ends the timing).
  #timedOffset = -1
  // Modulo 2^32.
  #timedAtUs = 0

  /** SRTT, or -1 before the first sample. */
  get srttMs(): number {
    return this.#srttUs < 0 ? -1 : this.#srttUs / US
  }

  get rttvarMs(): number {
    return this.#rttvarUs / US
  }

  /** The time-out with its back-off. */
  get rtoMs(): number {
    return Math.min((this.#baseRtoUs / US) * 2 ** this.#backoff, MAX_RTO_MS)
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
    this.#timedAtUs = (now * US) | 0
  }

  /** The handshake is complete. Without a sample of it the path may be slower than the first time-out. */
  settle(): void {
    if (this.#srttUs < 0) this.#baseRtoUs = FALLBACK_RTO_MS * US
  }

  /** A retransmission departs: what is being timed would be ambiguous. */
  discard(): void {
    this.#timedOffset = -1
  }

  /** Everything below stream offset `una` is acknowledged. */
  acked(una: number, now: Millis): void {
    if (this.#timedOffset < 0 || una < this.#timedOffset) return
    this.#timedOffset = -1
    const rttUs = (((now * US) | 0) - this.#timedAtUs) | 0
    // The clock cannot tell of more than half an hour, in which a segment has been sent again long since.
    if (rttUs >= 0) this.#sampleUs(rttUs)
  }

  /** Takes one round-trip time. */
  sample(rttMs: number): void {
    this.#sampleUs(Math.round(rttMs * US))
  }

  /** Puts the estimate into `row`, while nothing is being timed. */
  putInto(row: Row): void {
    row.putInt(this.#srttUs)
    row.putInt(this.#rttvarUs)
    row.putInt(this.#baseRtoUs)
    row.putInt(this.#backoff)
  }

  /** Takes over the estimate that was put into `row`. */
  takeFrom(row: Row): void {
    this.#srttUs = row.takeInt()
    this.#rttvarUs = row.takeInt()
    this.#baseRtoUs = row.takeInt()
    this.#backoff = row.takeInt()
  }

  #sampleUs(rttUs: number): void {
    if (this.#srttUs < 0) {
      this.#srttUs = rttUs
      this.#rttvarUs = rttUs >> 1
    } else {
      this.#rttvarUs += Math.round((Math.abs(this.#srttUs - rttUs) - this.#rttvarUs) / 4)
      this.#srttUs += Math.round((rttUs - this.#srttUs) / 8)
    }
    const rtoUs = this.#srttUs + Math.max(MIN_RTO_MS * US, 4 * this.#rttvarUs)
    this.#baseRtoUs = Math.min(rtoUs, MAX_RTO_MS * US)
  }
}
