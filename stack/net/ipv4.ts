// hot path: no allocation per frame
/**
 * IPv4 as a host sees it (RFC 1122 §3.2.1): which datagrams may come in.
 *
 * Which addresses are ours is the NIC's knowledge; here are only the questions to ask about one of them.
 */
import { DropReason } from '../base/counters.js'
import type { Frame } from '../wire/frame.js'
import type { IpAddress } from '../wire/ip-address.js'
import { type Ipv4Header, isBroadcast, isMulticast, isUnicast, parseIpv4 } from '../wire/ipv4.js'

/** How a destination looks from one of our addresses. */
export const Destination = { OTHER: 0, OURS: 1, BROADCAST: 2, MULTICAST: 3 } as const
export type Destination = (typeof Destination)[keyof typeof Destination]

/**
 * Decodes and validates the datagram in `frame.bytes[start, end)`: parseIpv4, and a source that can be one host
 * (RFC 1122 §3.2.1.3). Broadcast addresses of subnets are checked with `isOwnBroadcast`.
 */
export function receiveIpv4(
  header: Ipv4Header,
  frame: Frame,
  start: number,
  end: number,
): DropReason {
  const reason = parseIpv4(header, frame.view, start, end)
  if (reason !== DropReason.NONE) return reason
  return isUnicast(header.src) ? DropReason.NONE : DropReason.IPV4_BAD_SOURCE
}

/** What the destination `dst` is to the host that has the address `local` with a prefix of `prefix` bits. */
export function destinationKind(dst: IpAddress, local: IpAddress, prefix: number): Destination {
  if (dst === local) return Destination.OURS
  if (isMulticast(dst)) return Destination.MULTICAST
  return isBroadcast(dst, local, prefix) ? Destination.BROADCAST : Destination.OTHER
}

/** True when `address` is a broadcast address of the subnet of `local`: never a source, never a TCP peer. */
export function isOwnBroadcast(address: IpAddress, local: IpAddress, prefix: number): boolean {
  return isBroadcast(address, local, prefix)
}
