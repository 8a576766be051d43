/**
 * Initial sequence numbers (RFC 6528, RFC 9293 §3.4.1): a clock of 4 microseconds plus a keyed hash of the endpoints.
 *
 * All nodes of a cluster share the secret and their clocks keep pace, so that a new connection behind a take-over gets a
 * number above those the last owner gave to the same endpoints.
 */
import { type Seq, seq } from '../base/seq.js'
import { type SipKey, sipHash } from '../base/siphash.js'
import type { Millis } from '../base/time.js'
import { type IpAddress, ipv6Words, isIpv4 } from '../wire/ip-address.js'

/**
 * A word that stands for `address` in a keyed hash: the same on all nodes, which number IPv6 addresses each in its own way. Of IPv4
 * it is the address.
 */
export function addressWord(secret: SipKey, address: number): number {
  if (isIpv4(address as IpAddress)) return address
  // allocates: once per hash
  const [a, b, c, d] = ipv6Words(address as IpAddress)
  return sipHash(secret, a, b, c, d, 0x61646472, 0)
}

/** The ISS for a connection between these endpoints at `now` (MUST-8, SHLD-1). */
export function initialSequenceNumber(
  secret: SipKey,
  localAddress: number,
  localPort: number,
  remoteAddress: number,
  remotePort: number,
  now: Millis,
): Seq {
  const local = addressWord(secret, localAddress)
  const remote = addressWord(secret, remoteAddress)
  const hash = sipHash(secret, local, localPort, remote, remotePort, 0x69737373, 0)
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
  const local = addressWord(secret, localAddress)
  const remote = addressWord(secret, remoteAddress)
  return seq(sipHash(secret, local, remote, ports | 0, iss, irs, 0x70616972))
}

/** Where TSval of a connection between these endpoints starts (RFC 7323 §5.4). */
export function initialTimestampOffset(
  secret: SipKey,
  localAddress: number,
  localPort: number,
  remoteAddress: number,
  remotePort: number,
): number {
  const local = addressWord(secret, localAddress)
  const remote = addressWord(secret, remoteAddress)
  return sipHash(secret, local, localPort, remote, remotePort, 0x74737373, 0)
}
