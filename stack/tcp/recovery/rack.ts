// hot path: no allocation per frame
/**
 * RACK (RFC 8985 §6): text is lost when something sent sufficiently later has arrived. "Sufficiently" is the reordering
 * window: nothing while no reordering has been seen and three segments' worth of reports speak for loss, else a part of the
 * round trip that grows with every duplicate that the peer reports.
 *
 * It judges the ranges of a flight and keeps no segment itself. Only with SACK; private to an owner.
 */
import { type Millis, NEVER } from '../../base/time.js'
import { DUP_THRESH, type Scoreboard } from './scoreboard.js'
import { Mark, type SentRanges } from './sent-ranges.js'

/** The window's floor: the timers of a host are no finer, and a LAN reorders by more than a quarter of its round trip. */
const MIN_WINDOW_MS = 1
// RFC 8985 §6.2 step 1: min_RTT is that of the last five minutes.
const MIN_RTT_AGE_MS = 300_000
// RFC 8985 §6.2 step 4: recoveries without a reported duplicate until the window is small again.
const WINDOW_PERSISTS = 16
// Clocks are floating point: two sums of the same times may differ by as much.
const ROUNDING_MS = 0.001

export class Rack {
  /** Text was seen to arrive behind text sent later. */
  reordering = false
  /** Whether the last `detect` found something new. */
  found = false
  // RACK.segment: the latest sent of what has arrived; with its round trip.
  #sentAt: Millis = -1
  #end = -1
  #rttMs = 0
  #minRttMs = -1
  #minRttAt: Millis = 0
  #fack = -1
  #multiplier = 1
  #persists = 0
  #duplicateRound = -1

  /** The least round trip of late, of text that was sent once; negative before the first. */
  get minRttMs(): Millis {
    return this.#minRttMs
  }

  /**
   * Text that was sent at `sentAt` and ends at `end` has arrived. `resent`: it was sent more than once; `ambiguous`: the
   * ACK is known to answer an earlier transmission (§6.2 step 2).
   */
  delivered(sentAt: Millis, end: number, resent: boolean, ambiguous: boolean, now: Millis): void {
    const rttMs = now - sentAt
    if (!resent) {
      if (end < this.#fack) this.reordering = true
      if (rttMs < this.#minRttMs || this.#minRttMs < 0 || now - this.#minRttAt > MIN_RTT_AGE_MS) {
        this.#minRttMs = rttMs
        this.#minRttAt = now
      }
    }
    if (end > this.#fack) this.#fack = end
    if (resent && (ambiguous || rttMs < this.#minRttMs)) return
    if (sentAt < this.#sentAt || (sentAt === this.#sentAt && end <= this.#end)) return
    this.#sentAt = sentAt
    this.#end = end
    this.#rttMs = rttMs
  }

  /** The peer has reported a duplicate: the window was too small; it grows once in a round trip. */
  duplicate(una: number, nxt: number): void {
    this.#persists = WINDOW_PERSISTS
    if (una < this.#duplicateRound) return
    this.#duplicateRound = nxt
    this.#multiplier++
  }

  /** A recovery has ended. */
  recovered(): void {
    if (this.#persists > 0 && --this.#persists === 0) this.#multiplier = 1
  }

  /** The reordering window (§6.2 step 4). */
  windowMs(recovering: boolean, sackedLength: number, mss: number, srttMs: number): number {
    if (!this.reordering && (recovering || sackedLength > (DUP_THRESH - 1) * mss)) return 0
    const share = (this.#multiplier * Math.max(this.#minRttMs, 0)) / 4
    return Math.max(Math.min(share, srttMs), MIN_WINDOW_MS)
  }

  /**
   * Marks what is lost (§6.2 step 5). Returns when to look again, NEVER when nothing waits; `found` tells whether something
   * new was lost.
   */
  detect(ranges: SentRanges, scoreboard: Scoreboard, windowMs: number, now: Millis): Millis {
    this.found = false
    let wakeAt: Millis = NEVER
    const patienceMs = this.#rttMs + windowMs
    for (let i = 0; i < ranges.count; i++) {
      const lastAt = ranges.lastAt(i)
      if (lastAt > this.#sentAt || ranges.has(i, Mark.LOST)) continue
      // What was sent again within the same tick of the clock left behind it.
      if (lastAt === this.#sentAt && ranges.has(i, Mark.RESENT)) continue
      const left = ranges.left(i)
      // Of what left together, only what lies below has been overtaken.
      const right = lastAt === this.#sentAt ? Math.min(ranges.right(i), this.#end) : ranges.right(i)
      if (left >= right || scoreboard.skip(left) >= right) continue
      if (now - lastAt + ROUNDING_MS >= patienceMs) {
        if (ranges.markLost(left, right, false)) this.found = true
      } else {
        wakeAt = Math.min(wakeAt, lastAt + patienceMs)
      }
    }
    return wakeAt
  }
}
