/**
 * How long a connection waits for a peer that says nothing: the time-outs of RFC 9293 that are a choice.
 */
import type { Millis } from '../base/time.js'

/** Maximum segment lifetime; TIME-WAIT lasts twice as long (RFC 9293 §3.4.2). */
export const MSL_MS: Millis = 30_000
/** How long an orphan waits for the peer's FIN. */
export const FIN_WAIT_2_MS: Millis = 60_000
/** Time-outs in a row before a SYN is given up: about five minutes (MUST-23 asks for three). */
export const MAX_SYN_TIMEOUTS = 8
/** Time-outs in a row before text is given up: about fifteen minutes (SHLD-11 asks for 100 s). */
export const MAX_TIMEOUTS = 15
