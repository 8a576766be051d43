// hot path: no allocation per frame
/**
 * The ICMP header for IPv6 (RFC 4443), and the two messages of Neighbor Discovery (RFC 4861 §4.3, §4.4) by which neighbours are
 * found. Decoded headers are the same IcmpMessage as those of IPv4.
 */
import { DropReason } from '../base/counters.js'
import { getUint48, setUint48 } from './bytes.js'
import { internetChecksum, pseudoHeaderSum, verifyTransport } from './checksum.js'
import { isUnicastMac, type MacAddress } from './ethernet.js'
import type { Frame } from './frame.js'
import { ICMP_HEADER_LENGTH, type IcmpMessage } from './icmpv4.js'
import {
  IPV6_ADDRESS_LENGTH,
  type IpAddress,
  ipv6AddressAt,
  isMulticast,
  putIpAddress,
} from './ip-address.js'
import { IpProtocol, UNSPECIFIED } from './ipv4.js'

export const Icmpv6Type = {
  DESTINATION_UNREACHABLE: 1,
  PACKET_TOO_BIG: 2,
  TIME_EXCEEDED: 3,
  PARAMETER_PROBLEM: 4,
  ECHO_REQUEST: 128,
  ECHO_REPLY: 129,
  LISTENER_QUERY: 130,
  NEIGHBOR_SOLICITATION: 135,
  NEIGHBOR_ADVERTISEMENT: 136,
  LISTENER_REPORT: 143,
} as const

/** Codes of DESTINATION_UNREACHABLE. */
export const Unreachable6Code = {
  NO_ROUTE: 0,
  PROHIBITED: 1,
  BEYOND_SCOPE: 2,
  ADDRESS: 3,
  PORT: 4,
} as const

/** Flags of an advertisement, in its first octet (RFC 4861 §4.4). */
export const AdvertisementFlag = { SOLICITED: 0x40, OVERRIDE: 0x20 } as const

/** Messages of Neighbor Discovery come from the link: no router passes them on (RFC 4861 §7.1). */
export const NEIGHBOR_HOP_LIMIT = 255

const OPTION_SOURCE_LINK_ADDRESS = 1
const OPTION_TARGET_LINK_ADDRESS = 2
const LINK_OPTION_LENGTH = 8

/** True for messages that report an error (RFC 4443 §2.1). */
export function isIcmpv6Error(type: number): boolean {
  return type < 128
}

/** Decodes the message in `frame.bytes[start, end)` into `message`, with its checksum verified against both addresses. */
export function parseIcmpv6(
  message: IcmpMessage,
  frame: Frame,
  start: number,
  end: number,
  src: number,
  dst: number,
): DropReason {
  if (end - start < ICMP_HEADER_LENGTH) return DropReason.ICMP_MALFORMED
  if (!verifyTransport(frame, start, end, src, dst, IpProtocol.ICMPV6)) {
    return DropReason.ICMP_BAD_CHECKSUM
  }
  message.read(frame.view, start, end)
  return DropReason.NONE
}

/** Writes a header with its checksum in front of the data at `frame.start` and lowers that. */
export function emitIcmpv6(
  frame: Frame,
  type: number,
  code: number,
  rest: number,
  src: IpAddress,
  dst: IpAddress,
): void {
  const start = frame.start - ICMP_HEADER_LENGTH
  const { view, end } = frame
  view.setUint16(start, (type << 8) | code)
  view.setUint16(start + 2, 0)
  view.setInt32(start + 4, rest)
  const pseudo = pseudoHeaderSum(src, dst, IpProtocol.ICMPV6, end - start)
  view.setUint16(start + 2, internetChecksum(view, start, end, pseudo))
  frame.start = start
}

/** A decoded solicitation or advertisement. Instances are reused: borrowed until the next call that fills them. */
export class NeighborMessage {
  /** Who is asked for, or tells where it is. */
  target: IpAddress = UNSPECIFIED
  /** The sender's link address in a solicitation, the target's in an advertisement; 0: it does not say. */
  linkAddress: MacAddress = 0
}

/** Decodes the rest of the solicitation or advertisement `message` (RFC 4861 §7.1). */
export function parseNeighborMessage(
  out: NeighborMessage,
  message: IcmpMessage,
  view: DataView,
): DropReason {
  const { payloadStart, payloadEnd, type } = message
  let at = payloadStart + IPV6_ADDRESS_LENGTH
  if (message.code !== 0 || at > payloadEnd) return DropReason.ICMP_MALFORMED
  out.target = ipv6AddressAt(view, payloadStart)
  out.linkAddress = 0
  if (isMulticast(out.target)) return DropReason.ICMP_MALFORMED
  const wanted =
    type === Icmpv6Type.NEIGHBOR_SOLICITATION
      ? OPTION_SOURCE_LINK_ADDRESS
      : OPTION_TARGET_LINK_ADDRESS
  while (at < payloadEnd) {
    const length = at + 2 <= payloadEnd ? 8 * view.getUint8(at + 1) : 0
    if (length === 0 || at + length > payloadEnd) return DropReason.ICMP_MALFORMED
    if (view.getUint8(at) === wanted && length === LINK_OPTION_LENGTH) {
      out.linkAddress = getUint48(view, at + 2)
      if (!isUnicastMac(out.linkAddress)) return DropReason.ICMP_MALFORMED
    }
    at += length
  }
  return DropReason.NONE
}

/** Writes a solicitation for `target`, or an advertisement of it, that says `mac`; `flags` are those of an advertisement. */
export function emitNeighborMessage(
  frame: Frame,
  type: number,
  flags: number,
  target: IpAddress,
  mac: MacAddress,
  src: IpAddress,
  dst: IpAddress,
): void {
  const { view, start } = frame
  const at = start + IPV6_ADDRESS_LENGTH
  const solicits = type === Icmpv6Type.NEIGHBOR_SOLICITATION
  putIpAddress(view, start, target)
  view.setUint8(at, solicits ? OPTION_SOURCE_LINK_ADDRESS : OPTION_TARGET_LINK_ADDRESS)
  view.setUint8(at + 1, 1)
  setUint48(view, at + 2, mac)
  frame.end = at + LINK_OPTION_LENGTH
  emitIcmpv6(frame, type, 0, flags << 24, src, dst)
}
