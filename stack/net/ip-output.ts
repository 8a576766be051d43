// hot path: no allocation per frame
/**
 * IpOutput: the IP header of what leaves, of the family of its addresses. Every IPv4 datagram, a retransmission too, gets the next
 * Identification (RFC 6864 §4.1), and no router may fragment it (RFC 1191) but those that say so; of IPv6 none ever may.
 */
import type { Rng } from '../base/time.js'
import type { Frame } from '../wire/frame.js'
import { type IpAddress, isIpv4 } from '../wire/ip-address.js'
import {
  DEFAULT_TTL,
  DONT_FRAGMENT,
  emitIpv4,
  IPV4_HEADER_LENGTH,
  type Ipv4Address,
} from '../wire/ipv4.js'
import { emitIpv6, IPV6_HEADER_LENGTH } from '../wire/ipv6.js'

export class IpOutput {
  #ident: number

  constructor(rng: Rng) {
    this.#ident = rng.u32() & 0xffff
  }

  /**
   * Prepends the header to what lies between `frame.start` and `frame.end`. `trafficClass` is DSCP and ECN field; with `cut`,
   * routers may fragment it where the family allows.
   */
  emit(
    frame: Frame,
    src: IpAddress,
    dst: IpAddress,
    protocol: number,
    trafficClass = 0,
    hopLimit: number = DEFAULT_TTL,
    cut = false,
  ): void {
    if (!isIpv4(src)) {
      emitIpv6(frame, src, dst, protocol, trafficClass, hopLimit)
      return
    }
    const flags = cut ? 0 : DONT_FRAGMENT
    const to = dst as Ipv4Address
    emitIpv4(frame, src, to, protocol, this.nextIdent(), hopLimit, flags, trafficClass)
  }

  /** The next Identification, which the fragments of one datagram share. */
  nextIdent(): number {
    this.#ident = (this.#ident + 1) & 0xffff
    return this.#ident
  }
}

/** Octets of the header that `emit` writes for an address of this family. */
export function ipHeaderLength(address: IpAddress): number {
  return isIpv4(address) ? IPV4_HEADER_LENGTH : IPV6_HEADER_LENGTH
}
