/**
 * PathMss: what the path to a peer lets through when that is less than the link does (T7): told by ICMP (RFC 1191), or
 * found out because full segments vanish while short ones arrive (a black hole: RFC 2923 §2.1, RFC 4821 §7.7).
 *
 * It is made for a connection that needs it. All sizes are octets of text with options, as in the MSS option.
 */
import { type Millis, NEVER } from '../base/time.js'
import type { Tcb } from './tcb.js'

/** How long a path is believed to be narrow before full segments are tried again (RFC 1191 §6.3). */
export const PATH_AGE_MS: Millis = 600_000
/** Time-outs in a row from which on a black hole is suspected. */
export const BLACK_HOLE_TIMEOUTS = 4

/** What is tried behind so many time-outs: the shorter, the less likely is a black hole, and the more an outage. */
const BLACK_HOLE_STEPS = [
  { timeouts: BLACK_HOLE_TIMEOUTS, mss: 1024 },
  { timeouts: 6, mss: 512 },
  { timeouts: 8, mss: 216 },
] as const

/**
 * What ICMP may lower the limit to. Narrower paths are hardly ever real, and whoever forges the message could make us send a
 * header per octet; for those that are, routers cut what we send.
 */
export const LEAST_PATH_MSS = 512

export class PathMss {
  /** The most that a segment may carry on this path, with options. */
  limit = Number.POSITIVE_INFINITY
  /** Even the least segment is too long for this path: routers must be allowed to cut it. */
  fragmentable = false
  /** When full segments are tried again. */
  raiseAt: Millis = NEVER
  // While a black hole is suspected: the number of time-outs at the last step, and the limit before the first.
  #triedAt = 0
  #before = Number.POSITIVE_INFINITY

  /** A router has said that no more than `mss` fits. True when that is news. */
  lower(mss: number, now: Millis): boolean {
    this.fragmentable = mss < LEAST_PATH_MSS
    const limit = Math.max(mss, LEAST_PATH_MSS)
    if (limit >= this.limit) return false
    this.limit = limit
    this.raiseAt = now + PATH_AGE_MS
    this.#triedAt = 0
    return true
  }

  /**
   * The timer has expired `timeouts` times in a row with `flightSize` octets under way in segments that carry `mss`. True when
   * the limit was lowered.
   */
  handleTimeout(timeouts: number, flightSize: number, mss: number, now: Millis): boolean {
    const longest = Math.min(mss, flightSize)
    const next = BLACK_HOLE_STEPS.find((step) => timeouts >= step.timeouts && longest > step.mss)
    if (next === undefined) return false
    if (this.#triedAt === 0) this.#before = this.limit
    this.limit = next.mss
    this.raiseAt = now + PATH_AGE_MS
    this.#triedAt = timeouts
    return true
  }

  /**
   * The peer answers again, behind `timeouts` time-outs. If it was the shorter segment that came through, the suspicion is
   * confirmed; else the path was just broken for a while, and is as wide as before. True when the limit was raised.
   */
  handleAnswer(timeouts: number): boolean {
    if (this.#triedAt === 0) return false
    const confirmed = timeouts === this.#triedAt
    this.#triedAt = 0
    if (confirmed) return false
    this.limit = this.#before
    if (this.limit === Number.POSITIVE_INFINITY) this.raiseAt = NEVER
    return true
  }

  /** Full segments may be tried again. */
  raise(): void {
    this.limit = Number.POSITIVE_INFINITY
    this.fragmentable = false
    this.raiseAt = NEVER
    this.#triedAt = 0
  }
}

/** Eff.snd.MSS (RFC 9293 §3.7.1): octets of text per segment, with the timestamps option taken off. */
export function effectiveMss(tcb: Tcb, linkMss: number): number {
  const mss = Math.min(tcb.sndMss, linkMss)
  return tcb.tsOk ? mss - 12 : mss
}
