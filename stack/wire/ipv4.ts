// hot path: no allocation per frame
/**
 * The IPv4 header (RFC 791) and IPv4 addresses as signed 32-bit integers.
 *
 * Parsing accepts options and ignores them (RFC 1122 §3.2.1.8) and cuts off what Ethernet padded. Fragments pass:
 * what to do with them is decided above. Nothing here knows which addresses are ours.
 */
import { DropReason } from '../base/counters.js'
import { StackError } from '../base/errors.js'
import { internetChecksum, sumOf } from './checksum.js'
import type { Frame } from './frame.js'
import type { IpAddress } from './ip-address.js'

/** An IPv4 address as a signed 32-bit integer, 10.0.0.1 being 0x0a000001. */
export type Ipv4Address = IpAddress & { readonly __ipv4: unique symbol }

export const UNSPECIFIED = 0 as Ipv4Address
export const LIMITED_BROADCAST = -1 as Ipv4Address

export const IpProtocol = { ICMP: 1, TCP: 6, UDP: 17, ICMPV6: 58 } as const

export const IPV4_HEADER_LENGTH = 20
export const DEFAULT_TTL = 64

/** Flags as `Ipv4Header.flags` has them. */
export const DONT_FRAGMENT = 2
export const MORE_FRAGMENTS = 1

const OCTET = /^(?:0|[1-9]\d{0,2})$/

/** A decoded IPv4 header. Instances are reused: borrowed until the next call that fills them. */
export class Ipv4Header {
  src: Ipv4Address = UNSPECIFIED
  dst: Ipv4Address = UNSPECIFIED
  protocol = 0
  ttl = 0
  ident = 0
  /** The three flag bits: DONT_FRAGMENT, MORE_FRAGMENTS. */
  flags = 0
  /** In octets. */
  fragmentOffset = 0
  /** In octets, options included. */
  headerLength = 0
  /** Header and payload, in octets. */
  totalLength = 0
  /** Differentiated services code point (RFC 2474). */
  dscp = 0
  /** Explicit congestion notification (RFC 3168). */
  ecn = 0
  headerStart = 0
  /** The payload is `[payloadStart, payloadEnd)` of the buffer that was parsed, without padding. */
  payloadStart = 0
  payloadEnd = 0

  get isFragment(): boolean {
    return this.fragmentOffset !== 0 || (this.flags & MORE_FRAGMENTS) !== 0
  }
}

/**
 * Decodes the header in `view[start, end)` into `header`, with its checksum verified. Returns NONE or the reason to
 * drop the packet; then `header` is in part old. With `captured`, what a host leaves to its device and records without is
 * forgiven: the checksum, and the length of a super-frame, which is 0.
 */
export function parseIpv4(
  header: Ipv4Header,
  view: DataView,
  start: number,
  end: number,
  captured = false,
): DropReason {
  if (end - start < IPV4_HEADER_LENGTH) return DropReason.IPV4_TRUNCATED
  const first = view.getUint16(start)
  if (first >> 12 !== 4) return DropReason.IPV4_BAD_VERSION
  const headerLength = (first >> 6) & 0x3c
  if (headerLength < IPV4_HEADER_LENGTH) return DropReason.IPV4_BAD_HEADER_LENGTH
  if (start + headerLength > end) return DropReason.IPV4_TRUNCATED
  let totalLength = view.getUint16(start + 2)
  if (captured && totalLength === 0) totalLength = end - start
  if (totalLength < headerLength) return DropReason.IPV4_BAD_TOTAL_LENGTH
  if (start + totalLength > end) return DropReason.IPV4_TRUNCATED
  if (!captured && sumOf(view, start, start + headerLength) !== 0xffff) {
    return DropReason.IPV4_BAD_CHECKSUM
  }
  const ttl = view.getUint8(start + 8)
  // RFC 791 §3.1: "If this field contains the value zero, then the datagram must be destroyed."
  if (ttl === 0) return DropReason.IPV4_TTL_ZERO
  const fragment = view.getUint16(start + 6)
  header.src = view.getInt32(start + 12) as Ipv4Address
  header.dst = view.getInt32(start + 16) as Ipv4Address
  header.protocol = view.getUint8(start + 9)
  header.ttl = ttl
  header.ident = view.getUint16(start + 4)
  header.flags = fragment >> 13
  header.fragmentOffset = (fragment & 0x1fff) << 3
  header.headerLength = headerLength
  header.totalLength = totalLength
  header.dscp = (first >> 2) & 0x3f
  header.ecn = first & 3
  header.headerStart = start
  header.payloadStart = start + headerLength
  header.payloadEnd = start + totalLength
  return DropReason.NONE
}

/**
 * Writes a header without options in front of `frame.start` and lowers it; the payload is what lies between
 * `frame.start` and `frame.end`. `flags` and `fragmentOffset` as in Ipv4Header.
 */
export function emitIpv4(
  frame: Frame,
  src: Ipv4Address,
  dst: Ipv4Address,
  protocol: number,
  ident: number,
  ttl: number = DEFAULT_TTL,
  flags: number = DONT_FRAGMENT,
  trafficClass = 0,
  fragmentOffset = 0,
): void {
  const start = frame.start - IPV4_HEADER_LENGTH
  const view = frame.view
  view.setUint16(start, 0x4500 | trafficClass)
  view.setUint16(start + 2, frame.end - start)
  view.setUint16(start + 4, ident)
  view.setUint16(start + 6, (flags << 13) | (fragmentOffset >> 3))
  view.setUint16(start + 8, (ttl << 8) | protocol)
  view.setUint16(start + 10, 0)
  view.setInt32(start + 12, src)
  view.setInt32(start + 16, dst)
  view.setUint16(start + 10, internetChecksum(view, start, start + IPV4_HEADER_LENGTH))
  frame.start = start
}

/** `10.77.0.100` as an address; `field` names the setting in the error ERR_INVALID_ADDRESS. */
export function parseIpv4Address(text: string, field = 'address'): Ipv4Address {
  const octets = text.split('.')
  let address = 0
  for (const octet of octets) {
    const value = OCTET.test(octet) ? Number(octet) : 256
    if (octets.length !== 4 || value > 255) {
      throw new StackError(
        'ERR_INVALID_ADDRESS',
        // allocates: the text of an error in the caller's settings
        `${field}: '${text}' is not an IPv4 address; write four numbers from 0 to 255, as 10.77.0.100`,
      )
    }
    address = (address << 8) | value
  }
  return address as Ipv4Address
}

/** The address in dotted decimals. */
export function formatIpv4Address(address: Ipv4Address): string {
  // allocates: text for people
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`
}

/** True for 224.0.0.0/4. */
export function isMulticast(address: IpAddress): boolean {
  return address >>> 28 === 0xe
}

/** True for 127.0.0.0/8. */
export function isLoopback(address: IpAddress): boolean {
  return address >>> 24 === 127
}

/** True for 240.0.0.0/4, the limited broadcast address included. */
export function isReserved(address: Ipv4Address): boolean {
  return address >>> 28 === 0xf
}

/** True for addresses that one host can have on a link: not in 0/8, 127/8, nor above 223. */
export function isUnicast(address: IpAddress): boolean {
  const first = address >>> 24
  return first !== 0 && first !== 127 && first < 224
}

/** The mask of a prefix of `prefix` bits, 0 .. 32. */
export function prefixMask(prefix: number): number {
  return prefix === 0 ? 0 : -1 << (32 - prefix)
}

/** True when both addresses share their first `prefix` bits. */
export function inPrefix(a: IpAddress, b: IpAddress, prefix: number): boolean {
  return ((a ^ b) & prefixMask(prefix)) === 0
}

/** The broadcast address of `address`'s subnet; prefixes of 31 and 32 bits have none (RFC 3021) and give the limited one. */
export function directedBroadcast(address: IpAddress, prefix: number): Ipv4Address {
  return prefix >= 31 ? LIMITED_BROADCAST : ((address | ~prefixMask(prefix)) as Ipv4Address)
}

/** True for the limited broadcast address and that of `local`'s subnet. */
export function isBroadcast(address: IpAddress, local: IpAddress, prefix: number): boolean {
  return address === LIMITED_BROADCAST || address === directedBroadcast(local, prefix)
}
