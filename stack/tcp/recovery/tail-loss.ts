// hot path: no allocation per frame
/**
 * The probe timeout of tail loss probes (RFC 8985 §7.2): how long an acknowledgement is waited for before the last segment, or a new
 * one, asks for it.
 */
import { type Millis, NEVER } from '../../base/time.js'

/** Until there is a round-trip time. */
const UNKNOWN_TAIL_MS = 1000
/** Below it a peer's timers, not losses, would be probed: some keep the reports of several segments for a millisecond or two. */
const MIN_TAIL_MS = 4
/** TLP.max_ack_delay: how long a peer may keep the ACK of a single segment. */
const PEER_ACK_DELAY_MS = 200

/** PTO, for a flight of a `single` segment or of more; NEVER: none. `srttMs` is negative while it is not known. */
export function probeTimeoutMs(srttMs: Millis, single: boolean): Millis {
  // A round trip below what the clock can tell: two of them are no time, and the timer that has a floor is soon enough.
  if (srttMs === 0) return NEVER
  const patienceMs = srttMs < 0 ? UNKNOWN_TAIL_MS : Math.max(2 * srttMs, MIN_TAIL_MS)
  return single ? patienceMs + PEER_ACK_DELAY_MS : patienceMs
}
