// hot path: no allocation per frame
/**
 * IPv4 as a host sees it (RFC 1122 §3.2.1): which datagrams may come in, and the header of those that go out.
 *
 * Which addresses are ours is the NIC's knowledge; here are only the questions to ask about one of them.
 */
import { DropReason } from '../base/counters.js'
import type { Rng } from '../base/time.js'
import type { Frame } from '../wire/frame.js'
import type { IpAddress } from '../wire/ip-address.js'
import {
  DEFAULT_TTL,
  DONT_FRAGMENT,
  emitIpv4,
  type Ipv4Address,
  type Ipv4Header,
  isBroadcast,
  isMulticast,
  isUnicast,
  parseIpv4,
} from '../wire/ipv4.js'

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

/**
 * Writes the headers of what leaves. Every datagram, a retransmission too, gets the next Identification (RFC 6864 §4.1), and
 * none may be fragmented (RFC 1191) but those that say so.
 */
export class Ipv4Output {
  #ident: number

  constructor(rng: Rng) {
    this.#ident = rng.u32() & 0xffff
  }

  /**
   * Prepends the header to what lies between `frame.start` and `frame.end`. `trafficClass` is DSCP and ECN field; with `cut`,
   * routers may fragment it.
   */
  emit(
    frame: Frame,
    src: Ipv4Address,
    dst: Ipv4Address,
    protocol: number,
    trafficClass = 0,
    ttl: number = DEFAULT_TTL,
    cut = false,
  ): void {
    const flags = cut ? 0 : DONT_FRAGMENT
    emitIpv4(frame, src, dst, protocol, this.nextIdent(), ttl, flags, trafficClass)
  }

  /** The same for a datagram that a router may cut into fragments. */
  emitFragmentable(
    frame: Frame,
    src: Ipv4Address,
    dst: Ipv4Address,
    protocol: number,
    ttl: number,
  ): void {
    emitIpv4(frame, src, dst, protocol, this.nextIdent(), ttl, 0)
  }

  /** The next Identification, which the fragments of one datagram share. */
  nextIdent(): number {
    this.#ident = (this.#ident + 1) & 0xffff
    return this.#ident
  }
}
