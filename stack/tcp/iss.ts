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

/**
 * The ISS of the connection that a proxy opens for the client whose connection has these endpoints and initial numbers: all who have
 * heard the client's handshake know by it, from the SYN alone, which two connections belong together. It cannot be guessed; that it is
 * newer than an earlier one between the same endpoints its timestamp tells (RFC 6191).
 */
export function pairedSequenceNumber(
  secret: SipKey,
  localAddress: number,
  localPort: number,
  remoteAddress: number,
  remotePort: number,
  iss: Seq,
  irs: Seq,
): Seq {
  const ports = localPort * 0x10000 + remotePort
  return seq(sipHash(secret, localAddress, remoteAddress, ports | 0, iss, irs, 0x70616972))
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
