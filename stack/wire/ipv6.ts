// hot path: no allocation per frame
/**
 * The IPv6 header with its extension headers (RFC 8200): who sent what to whom, and where the text of the upper layer lies.
 * Fragments are told apart and not put together here; what a host must not take is found, and judged elsewhere.
 *
 * An address becomes one number (ip-address.ts), so that what is written for IPv4 holds for both.
 */
import { DropReason } from '../base/counters.js'
import type { Frame } from './frame.js'
import {
  IPV6_ADDRESS_LENGTH,
  type IpAddress,
  ipv6AddressAt,
  NO_ROOM,
  putIpAddress,
} from './ip-address.js'
import { DEFAULT_TTL, MORE_FRAGMENTS, UNSPECIFIED } from './ipv4.js'

export const IPV6_HEADER_LENGTH = 40

/** Extension headers in a row at most: a longer chain serves nobody but to hide what stands behind it. */
const MAX_EXTENSIONS = 8
const ADDRESSES = 8
export const FRAGMENT_HEADER_LENGTH = 8

/** Values of Next Header that are extension headers. */
const Extension = {
  HOP_BY_HOP: 0,
  ROUTING: 43,
  FRAGMENT: 44,
  AUTHENTICATION: 51,
  DESTINATION: 60,
} as const
/** Next Header: nothing follows (RFC 8200 §4.7). */
const NO_NEXT_HEADER = 59
const PAD1 = 0

/** Codes of ICMPv6's parameter problem (RFC 4443 §3.4), as {@link Ipv6Header.problem} has them. */
export const Problem = { NONE: -1, FIELD: 0, NEXT_HEADER: 1, OPTION: 2, SILENT: 3 } as const
export type Problem = (typeof Problem)[keyof typeof Problem]

/** A decoded IPv6 header. Instances are reused: borrowed until the next call that fills them. */
export class Ipv6Header {
  src: IpAddress = UNSPECIFIED
  dst: IpAddress = UNSPECIFIED
  /** Next Header of the last extension header: the upper layer. */
  protocol = 0
  hopLimit = 0
  /** Explicit congestion notification (RFC 3168). */
  ecn = 0
  /** True of a piece of a datagram; a fragment header in front of a whole one (RFC 6946) does not count. */
  isFragment = false
  /** Of a fragment; flags and offset in octets as IPv4 has them. */
  ident = 0
  flags = 0
  fragmentOffset = 0
  /** Why a host may not take the packet: an option or a route that it must know and does not; else NONE. */
  problem: Problem = Problem.NONE
  /** Where the octet is that makes the problem, counted from the start of the packet. */
  problemAt = 0
  headerStart = 0
  /** Of the part in front of all extension headers. */
  readonly headerLength = IPV6_HEADER_LENGTH
  /** The payload of the upper layer is `[payloadStart, payloadEnd)` of the buffer that was parsed, without padding. */
  payloadStart = 0
  payloadEnd = 0
}

/** Decodes the IPv6 packet in `view[start, end)`, padding allowed behind it, into `ip`. */
export function parseIpv6(ip: Ipv6Header, view: DataView, start: number, end: number): DropReason {
  if (end - start < IPV6_HEADER_LENGTH) return DropReason.IPV6_TRUNCATED
  const first = view.getUint32(start)
  if (first >>> 28 !== 6) return DropReason.IPV6_BAD_VERSION
  const length = view.getUint16(start + 4)
  ip.headerStart = start
  ip.ecn = (first >>> 20) & 3
  ip.hopLimit = view.getUint8(start + 7)
  ip.isFragment = false
  ip.problem = Problem.NONE
  // 0 is what devices leave in a super-frame that is longer than the field can say (RFC 2675).
  ip.payloadEnd = length === 0 ? end : start + IPV6_HEADER_LENGTH + length
  if (ip.payloadEnd > end) return DropReason.IPV6_TRUNCATED
  const reason = skipExtensions(ip, view, view.getUint8(start + 6), start + IPV6_HEADER_LENGTH)
  if (reason !== DropReason.NONE) return reason
  ip.src = ipv6AddressAt(view, start + ADDRESSES)
  ip.dst = ipv6AddressAt(view, start + ADDRESSES + IPV6_ADDRESS_LENGTH)
  return ip.src === NO_ROOM || ip.dst === NO_ROOM ? DropReason.IPV6_ADDRESS_LIMIT : DropReason.NONE
}

function skipExtensions(ip: Ipv6Header, view: DataView, next: number, start: number): DropReason {
  let at = start
  let protocol = next
  // Where the field is that names `protocol`.
  let namedAt = ip.headerStart + 6
  for (let count = 0; isExtension(protocol); count++) {
    if (count >= MAX_EXTENSIONS || at + 8 > ip.payloadEnd) return DropReason.IPV6_BAD_HEADER_CHAIN
    const length = lengthOf(protocol, view.getUint8(at + 1))
    if (at + length > ip.payloadEnd) return DropReason.IPV6_BAD_HEADER_CHAIN
    if (protocol === Extension.FRAGMENT) takeFragment(ip, view, at)
    else if (ip.problem === Problem.NONE) judge(ip, view, protocol, at, length, namedAt)
    protocol = view.getUint8(at)
    namedAt = at
    at += length
    // Behind the header of a later fragment stands text.
    if (ip.isFragment) break
  }
  ip.protocol = protocol
  ip.payloadStart = protocol === NO_NEXT_HEADER ? ip.payloadEnd : at
  return DropReason.NONE
}

function lengthOf(extension: number, field: number): number {
  if (extension === Extension.FRAGMENT) return FRAGMENT_HEADER_LENGTH
  return extension === Extension.AUTHENTICATION ? 4 * (field + 2) : 8 * (field + 1)
}

function takeFragment(ip: Ipv6Header, view: DataView, at: number): void {
  const field = view.getUint16(at + 2)
  ip.fragmentOffset = field & 0xfff8
  ip.flags = (field & 1) !== 0 ? MORE_FRAGMENTS : 0
  ip.ident = view.getInt32(at + 4)
  // Offset and the flag for more: both 0 in a datagram that was not cut.
  ip.isFragment = ip.fragmentOffset !== 0 || ip.flags !== 0
}

// RFC 8200 §4.1: hop-by-hop options come first or not at all; §4.2: what an option that nobody knows wants; §4.4: a route with hops
// left would make a router of us.
function judge(
  ip: Ipv6Header,
  view: DataView,
  extension: number,
  at: number,
  length: number,
  namedAt: number,
): void {
  if (extension === Extension.HOP_BY_HOP && namedAt !== ip.headerStart + 6) {
    setProblem(ip, Problem.NEXT_HEADER, namedAt)
  } else if (extension === Extension.ROUTING && view.getUint8(at + 3) !== 0) {
    setProblem(ip, Problem.FIELD, at + 2)
  } else if (extension === Extension.HOP_BY_HOP || extension === Extension.DESTINATION) {
    judgeOptions(ip, view, at + 2, at + length)
  }
}

function judgeOptions(ip: Ipv6Header, view: DataView, from: number, end: number): void {
  for (let at = from; at < end; ) {
    const type = view.getUint8(at)
    if (type === PAD1) {
      at++
      continue
    }
    const behind = at + 1 < end ? at + 2 + view.getUint8(at + 1) : end + 1
    if (behind > end) {
      setProblem(ip, Problem.FIELD, at)
      return
    }
    // The two highest bits: 00 skip it, 01 drop in silence, 10 tell the sender, 11 the same unless many were meant.
    if (type >= 0x40 && ip.problem === Problem.NONE) {
      const many = view.getUint8(ip.headerStart + ADDRESSES + IPV6_ADDRESS_LENGTH) === 0xff
      const silent = type < 0x80 || (type >= 0xc0 && many)
      setProblem(ip, silent ? Problem.SILENT : Problem.OPTION, at)
    }
    at = behind
  }
}

function setProblem(ip: Ipv6Header, problem: Problem, at: number): void {
  ip.problem = problem
  ip.problemAt = at - ip.headerStart
}

function isExtension(protocol: number): boolean {
  return (
    protocol === Extension.HOP_BY_HOP ||
    protocol === Extension.ROUTING ||
    protocol === Extension.FRAGMENT ||
    protocol === Extension.AUTHENTICATION ||
    protocol === Extension.DESTINATION
  )
}

/**
 * Writes a header in front of `frame.start` and lowers it; the payload is what lies between `frame.start` and `frame.end`.
 * `trafficClass` is DSCP and ECN field. The flow label is 0: none is assigned (RFC 6437 §3).
 */
export function emitIpv6(
  frame: Frame,
  src: IpAddress,
  dst: IpAddress,
  protocol: number,
  trafficClass = 0,
  hopLimit: number = DEFAULT_TTL,
): void {
  const start = frame.start - IPV6_HEADER_LENGTH
  const view = frame.view
  view.setUint32(start, (6 << 28) | (trafficClass << 20))
  view.setUint16(start + 4, frame.end - frame.start)
  view.setUint16(start + 6, (protocol << 8) | hopLimit)
  putIpAddress(view, start + ADDRESSES, src)
  putIpAddress(view, start + ADDRESSES + IPV6_ADDRESS_LENGTH, dst)
  frame.start = start
}

/** Writes a fragment header (RFC 8200 §4.5) in front of `frame.start` and lowers it. `offset` is in octets. */
export function emitFragmentHeader(
  frame: Frame,
  protocol: number,
  offset: number,
  more: boolean,
  ident: number,
): void {
  const start = frame.start - FRAGMENT_HEADER_LENGTH
  frame.view.setUint16(start, protocol << 8)
  frame.view.setUint16(start + 2, offset | (more ? 1 : 0))
  frame.view.setInt32(start + 4, ident)
  frame.start = start
}

/** Value of Next Header for fragments. */
export const FRAGMENT_PROTOCOL = Extension.FRAGMENT
