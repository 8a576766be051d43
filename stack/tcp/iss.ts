/**
 * Initial sequence numbers (RFC 6528, RFC 9293 §3.4.1): a clock of 4 microseconds plus a keyed hash of the endpoints.
 *
 * All nodes of a cluster share the secret and their clocks keep pace, so that a new connection behind a take-over gets a
 * number above those the last owner gave to the same endpoints.
 */
import { type Seq, seq } from '../base/seq.js'
import { type SipKey, sipHash } from '../base/siphash.js'
import type { Millis } from '../base/time.js'

/** The ISS for a connection between these endpoints at `now` (MUST-8, SHLD-1). */
export function initialSequenceNumber(
  secret: SipKey,
  localAddress: number,
  localPort: number,
  remoteAddress: number,
  remotePort: number,
  now: Millis,
): Seq {
  const hash = sipHash(secret, localAddress, localPort, remoteAddress, remotePort, 0x69737373, 0)
  return seq(Math.floor(now * 250) + hash)
}

/** Where TSval of a connection between these endpoints starts (RFC 7323 §5.4). */
export function initialTimestampOffset(
  secret: SipKey,
  localAddress: number,
  localPort: number,
  remoteAddress: number,
  remotePort: number,
): number {
  return sipHash(secret, localAddress, localPort, remoteAddress, remotePort, 0x74737373, 0)
}
