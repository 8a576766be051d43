/**
 * The windows that all congestion controls share.
 */

/** RFC 6928: min(10 MSS, max(2 MSS, 14600)). */
export function initialWindow(mss: number): number {
  return Math.min(10 * mss, Math.max(2 * mss, 14_600))
}

/** No slow start threshold has been found yet. */
export const NO_THRESHOLD = 0x7fff_ffff
