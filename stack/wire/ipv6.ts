// hot path: no allocation per frame
/**
 * The IPv6 header with its extension headers (RFC 8200), as far as one who listens needs it: who sent what to whom, and where
 * the text of the upper layer lies. Fragments are told apart and not put together here.
 *
 * An address becomes one number (ip-address.ts), so that what is written for IPv4 holds for both.
 */
import { DropReason } from '../base/counters.js'
import { combine, sumOf, verifyChecksum } from './checksum.js'
import { ChecksumState, type Frame } from './frame.js'
import { type IpAddress, ipv6AddressAt, NO_ROOM } from './ip-address.js'
import { UNSPECIFIED } from './ipv4.js'

export const IPV6_HEADER_LENGTH = 40

/** Extension headers in a row at most: a longer chain serves nobody but to hide what stands behind it. */
const MAX_EXTENSIONS = 8
const ADDRESSES = 8
const ADDRESS_LENGTH = 16

/** Values of Next Header that are extension headers. */
const Extension = {
  HOP_BY_HOP: 0,
  ROUTING: 43,
  FRAGMENT: 44,
  AUTHENTICATION: 51,
  DESTINATION: 60,
} as const

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
  headerStart = 0
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
  // 0 is what devices leave in a super-frame that is longer than the field can say (RFC 2675).
  ip.payloadEnd = length === 0 ? end : start + IPV6_HEADER_LENGTH + length
  if (ip.payloadEnd > end) return DropReason.IPV6_TRUNCATED
  const reason = skipExtensions(ip, view, view.getUint8(start + 6), start + IPV6_HEADER_LENGTH)
  if (reason !== DropReason.NONE) return reason
  ip.src = ipv6AddressAt(view, start + ADDRESSES)
  ip.dst = ipv6AddressAt(view, start + ADDRESSES + ADDRESS_LENGTH)
  return ip.src === NO_ROOM || ip.dst === NO_ROOM ? DropReason.IPV6_ADDRESS_LIMIT : DropReason.NONE
}

function skipExtensions(ip: Ipv6Header, view: DataView, next: number, start: number): DropReason {
  let at = start
  let protocol = next
  for (let count = 0; isExtension(protocol); count++) {
    if (count >= MAX_EXTENSIONS || at + 8 > ip.payloadEnd) return DropReason.IPV6_BAD_HEADER_CHAIN
    const units = view.getUint8(at + 1)
    let length = 8 * (units + 1)
    if (protocol === Extension.FRAGMENT) {
      length = 8
      // Offset and the flag for more: both 0 in a datagram that was not cut.
      if ((view.getUint16(at + 2) & 0xfff9) !== 0) ip.isFragment = true
    } else if (protocol === Extension.AUTHENTICATION) {
      length = 4 * (units + 2)
    }
    protocol = view.getUint8(at)
    at += length
    if (at > ip.payloadEnd) return DropReason.IPV6_BAD_HEADER_CHAIN
    // Behind the header of a later fragment stands text.
    if (ip.isFragment) break
  }
  ip.protocol = protocol
  ip.payloadStart = at
  return DropReason.NONE
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
 * True when the checksum of the segment that `ip` carries is good with the pseudo-header of RFC 8200 §8.1, or the device vouches
 * for it.
 */
export function verifyTransport6(frame: Frame, ip: Ipv6Header): boolean {
  if (frame.checksum !== ChecksumState.NONE) return true
  const { payloadStart, payloadEnd } = ip
  const at = ip.headerStart + ADDRESSES
  const addresses = sumOf(frame.view, at, at + 2 * ADDRESS_LENGTH)
  const length = payloadEnd - payloadStart
  const pseudo = combine(combine(addresses, (length & 0xffff) + (length >>> 16)), ip.protocol)
  return verifyChecksum(frame.view, payloadStart, payloadEnd, pseudo)
}
