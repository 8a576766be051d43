/**
 * What a host says and hears by ICMP (RFC 792, RFC 1122 §3.2.2): echo replies, errors about datagrams it cannot
 * deliver, and the errors of others about its own.
 *
 * An error is never sent about an ICMP error, a broadcast or multicast, a fragment but the first, or a source that is
 * not one host; and never faster than the limiter allows (RFC 1812 §4.3.2.8). The IP header is the caller's to add.
 */
import type { Millis } from '../base/time.js'
import { isGroupMac, type MacAddress } from '../wire/ethernet.js'
import { type Frame, HEADROOM } from '../wire/frame.js'
import {
  emitIcmpv4,
  type IcmpMessage,
  IcmpType,
  isIcmpError,
  TimeExceededCode,
  UnreachableCode,
} from '../wire/icmpv4.js'
import type { IpAddress } from '../wire/ip-address.js'
import {
  IPV4_HEADER_LENGTH,
  IpProtocol,
  type Ipv4Address,
  type Ipv4Header,
  isUnicast,
  UNSPECIFIED,
} from '../wire/ipv4.js'

/** Errors a second in the long run, and at once. */
export const ICMP_ERRORS_PER_SECOND = 100
export const ICMP_ERROR_BURST = 20

/** An error's datagram stays within what every host must accept (RFC 1812 §4.3.2.3). */
const MAX_ERROR_DATAGRAM = 576
const MAX_QUOTE = MAX_ERROR_DATAGRAM - IPV4_HEADER_LENGTH - 8

/** A token bucket: `take` is true at most `perSecond` times a second in the long run, and `burst` times at once. */
export class TokenBucket {
  readonly #perSecond: number
  readonly #burst: number
  #tokens: number
  #filledAt: Millis = Number.NEGATIVE_INFINITY

  constructor(perSecond: number = ICMP_ERRORS_PER_SECOND, burst: number = ICMP_ERROR_BURST) {
    this.#perSecond = perSecond
    this.#burst = burst
    this.#tokens = burst
  }

  take(now: Millis): boolean {
    const elapsed = Math.max(0, now - this.#filledAt)
    this.#filledAt = Math.max(now, this.#filledAt)
    this.#tokens = Math.min(this.#burst, this.#tokens + (elapsed * this.#perSecond) / 1000)
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }
}

/**
 * Writes the ICMP echo reply to the request `message` into the empty frame `out`. False when it is no echo request or
 * the data does not fit. The reply goes from the request's destination to its source (RFC 1122 §3.2.2.6).
 */
export function emitEchoReply(out: Frame, request: Frame, message: IcmpMessage): boolean {
  if (message.type !== IcmpType.ECHO_REQUEST || message.code !== 0) return false
  const length = message.payloadEnd - message.payloadStart
  if (HEADROOM + length > out.bytes.length) return false
  out.reset()
  out.bytes.set(request.bytes.subarray(message.payloadStart, message.payloadEnd), out.start)
  out.end = out.start + length
  emitIcmpv4(out, IcmpType.ECHO_REPLY, 0, message.rest)
  return true
}

/**
 * True when the rules of RFC 1122 §3.2.2 allow an error about the datagram `ip` in `frame`, which came to the Ethernet
 * address `linkDst`. Its destination must be one of our own addresses: the caller knows the subnets' broadcasts.
 */
export function mayReportError(ip: Ipv4Header, frame: Frame, linkDst: MacAddress): boolean {
  if (isGroupMac(linkDst) || !isUnicast(ip.src) || !isUnicast(ip.dst)) return false
  if (ip.fragmentOffset !== 0) return false
  if (ip.protocol !== IpProtocol.ICMP) return true
  // A message too short to have a type is taken for an error, to be on the safe side.
  return ip.payloadEnd > ip.payloadStart && !isIcmpError(frame.view.getUint8(ip.payloadStart))
}

/**
 * Writes an ICMP error that quotes the datagram `ip` of `frame` into the empty frame `out`; check `mayReportError` and
 * the limiter first. It goes from the datagram's destination to its source.
 */
export function emitIcmpError(
  out: Frame,
  frame: Frame,
  ip: Ipv4Header,
  type: number,
  code: number,
  rest = 0,
): void {
  const quoteEnd = Math.min(ip.payloadEnd, ip.headerStart + MAX_QUOTE)
  out.reset()
  out.bytes.set(frame.bytes.subarray(ip.headerStart, quoteEnd), out.start)
  out.end = out.start + (quoteEnd - ip.headerStart)
  emitIcmpv4(out, type, code, rest)
}

/** No such port (RFC 1122 §4.1.3.1). */
export function emitPortUnreachable(out: Frame, frame: Frame, ip: Ipv4Header): void {
  emitIcmpError(out, frame, ip, IcmpType.DESTINATION_UNREACHABLE, UnreachableCode.PORT)
}

/** No such protocol (RFC 1122 §3.2.2.1). */
export function emitProtocolUnreachable(out: Frame, frame: Frame, ip: Ipv4Header): void {
  emitIcmpError(out, frame, ip, IcmpType.DESTINATION_UNREACHABLE, UnreachableCode.PROTOCOL)
}

/** Reassembly took too long (RFC 1122 §3.3.2); `ip` is the header of the first fragment. */
export function emitReassemblyTimeExceeded(out: Frame, frame: Frame, ip: Ipv4Header): void {
  emitIcmpError(out, frame, ip, IcmpType.TIME_EXCEEDED, TimeExceededCode.REASSEMBLY)
}

/** The head of the datagram that an ICMP error quotes: borrowed until the next call that fills it. */
export class QuotedDatagram {
  /** The sender of the datagram, which should be ourselves. */
  src: IpAddress = UNSPECIFIED
  dst: IpAddress = UNSPECIFIED
  protocol = 0
  /** As in its header, not as quoted. */
  totalLength = 0
  /** The first eight octets of its payload, as TCP and UDP have them; `seq` is meaningful for TCP only. */
  srcPort = 0
  dstPort = 0
  seq = 0
}

/**
 * Decodes the datagram that the ICMP error `message` quotes. False when the message is no error or quotes too little to
 * find the connection; drop it then as malformed. The caller must check that `seq` lies in its send window before it
 * believes the error (RFC 5927 §4).
 */
export function parseQuotedDatagram(
  quoted: QuotedDatagram,
  view: DataView,
  message: IcmpMessage,
): boolean {
  if (!isIcmpError(message.type)) return false
  const start = message.payloadStart
  const available = message.payloadEnd - start
  if (available < IPV4_HEADER_LENGTH) return false
  const first = view.getUint8(start)
  const headerLength = (first & 0xf) << 2
  if (first >> 4 !== 4 || headerLength < IPV4_HEADER_LENGTH) return false
  if (available < headerLength + 8 || (view.getUint16(start + 6) & 0x1fff) !== 0) return false
  quoted.src = view.getInt32(start + 12) as Ipv4Address
  quoted.dst = view.getInt32(start + 16) as Ipv4Address
  quoted.protocol = view.getUint8(start + 9)
  quoted.totalLength = view.getUint16(start + 2)
  quoted.srcPort = view.getUint16(start + headerLength)
  quoted.dstPort = view.getUint16(start + headerLength + 2)
  quoted.seq = view.getInt32(start + headerLength + 4)
  return true
}

/** No link carries less (RFC 791 §3.2). */
export const MIN_MTU = 68

// RFC 1191 §7.1: the MTUs of links in use, for routers that do not say how long a datagram may be.
const PLATEAUS = [32_000, 17_914, 8166, 4352, 2002, 1492, 1006, 508, 296, MIN_MTU]

/** The next lower MTU that is likely behind a datagram of `totalLength` octets that was too long; 0 when there is none. */
export function plateauBelow(totalLength: number): number {
  return PLATEAUS.find((plateau) => plateau < totalLength) ?? 0
}
