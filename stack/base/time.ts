/**
 * Time as the core sees it: a parameter, never a call. Every input of the stack and of the cluster carries `now`, and
 * each object answers one question, `nextDeadline()`; so the same code runs on a TAP and in the simulator.
 */

/**
 * Milliseconds on a clock that never goes back; fractions are allowed. Node's clocks here count from the Unix epoch at
 * process start, so that the clocks of two nodes agree to within their hosts' time synchronisation.
 */
export type Millis = number

/** A deadline that never comes. */
export const NEVER: Millis = Number.POSITIVE_INFINITY

/** Source of time for the drivers in io/ and for the simulator. The core never holds one. */
export interface Clock {
  now(): Millis
}

/** Source of random numbers: cryptographic in io/, seeded in the simulator. */
export interface Rng {
  /** A uniform integer in 0 .. 2^32 - 1. */
  u32(): number
}
