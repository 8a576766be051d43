// hot path: no allocation per frame
/**
 * Solicitation: what a host says to its neighbours about addresses, of either family: questions, answers, announcements. For IPv4
 * these are ARP packets (RFC 826, RFC 5227 §2.3), for IPv6 solicitations and advertisements (RFC 4861).
 *
 * All write into an empty frame, up to the header that follows Ethernet's, and tell where it goes; `solicitationType` tells the rest.
 */
import { ArpOperation, emitArp } from '../wire/arp.js'
import { BROADCAST_MAC, EtherType, type MacAddress } from '../wire/ethernet.js'
import type { Frame } from '../wire/frame.js'
import {
  AdvertisementFlag,
  emitNeighborMessage,
  Icmpv6Type,
  NEIGHBOR_HOP_LIMIT,
} from '../wire/icmpv6.js'
import {
  holdAddress,
  type IpAddress,
  ipv6Address,
  isIpv4,
  isUnspecified,
  lowWord,
  solicitedNode,
} from '../wire/ip-address.js'
import { IpProtocol, type Ipv4Address } from '../wire/ipv4.js'
import { emitIpv6 } from '../wire/ipv6.js'
import { UNRESOLVED } from './neighbor.js'

// RFC 1112 §6.4: the low 23 bits of the group go into this address; RFC 2464 §7: the low 32 into that one.
const MULTICAST_MAC: MacAddress = 0x0100_5e00_0000
const MULTICAST_MAC_IPV6: MacAddress = 0x3333_0000_0000

/** All hosts of the link. */
export const ALL_NODES = ipv6Address(0xff02_0000 | 0, 0, 0, 1)
holdAddress(ALL_NODES)

/** EtherType of IP packets between addresses of this family. */
export function etherTypeOf(address: IpAddress): number {
  return isIpv4(address) ? EtherType.IPV4 : EtherType.IPV6
}

/** The EtherType of what this file writes about an address of this family. */
export function solicitationType(address: IpAddress): number {
  return isIpv4(address) ? EtherType.ARP : EtherType.IPV6
}

/** The Ethernet address of a multicast group. */
export function groupMac(group: IpAddress): MacAddress {
  if (isIpv4(group)) return MULTICAST_MAC + (group & 0x7f_ffff)
  return MULTICAST_MAC_IPV6 + (lowWord(group) >>> 0)
}

/** True for the Ethernet address of some group of IPv6. */
export function isIpv6GroupMac(mac: MacAddress): boolean {
  return mac >= MULTICAST_MAC_IPV6 && mac <= MULTICAST_MAC_IPV6 + 0xffff_ffff
}

/**
 * Asks for `target`, from `source`, which is at `mac`. An IPv6 neighbour that was at `knownMac` is asked alone. Returns where the frame
 * is to go.
 */
export function emitQuestion(
  frame: Frame,
  mac: MacAddress,
  source: IpAddress,
  target: IpAddress,
  knownMac: MacAddress,
): MacAddress {
  const known = knownMac !== UNRESOLVED
  if (isIpv4(source)) {
    emitArp(frame, ArpOperation.REQUEST, mac, source, 0, target as Ipv4Address)
    return known ? knownMac : BROADCAST_MAC
  }
  const dst = known ? target : solicitedNode(target)
  emitNeighborMessage(frame, Icmpv6Type.NEIGHBOR_SOLICITATION, 0, target, mac, source, dst)
  emitIpv6(frame, source, dst, IpProtocol.ICMPV6, 0, NEIGHBOR_HOP_LIMIT)
  return known ? knownMac : groupMac(dst)
}

/** Tells `asker`, which is at `askerMac`, that `own` is at `mac`. Returns where the frame is to go. */
export function emitAnswer(
  frame: Frame,
  mac: MacAddress,
  own: IpAddress,
  askerMac: MacAddress,
  asker: IpAddress,
): MacAddress {
  if (isIpv4(own)) {
    emitArp(frame, ArpOperation.REPLY, mac, own, askerMac, asker as Ipv4Address)
    return askerMac
  }
  // RFC 4861 §7.2.4: who asks without an address of its own is told with all others.
  if (isUnspecified(asker)) return emitAnnouncement(frame, mac, own)
  advertise(frame, AdvertisementFlag.SOLICITED | AdvertisementFlag.OVERRIDE, own, mac, asker)
  return askerMac
}

/**
 * Tells all that `own` is at `mac`. For IPv4 in the form of a request, because caches that were updated a moment ago ignore replies;
 * for IPv6 an unsolicited advertisement with the override flag (RFC 4861 §7.2.6). Returns where the frame is to go.
 */
export function emitAnnouncement(frame: Frame, mac: MacAddress, own: IpAddress): MacAddress {
  if (isIpv4(own)) {
    emitArp(frame, ArpOperation.REQUEST, mac, own, 0, own)
    return BROADCAST_MAC
  }
  advertise(frame, AdvertisementFlag.OVERRIDE, own, mac, ALL_NODES)
  return groupMac(ALL_NODES)
}

function advertise(
  frame: Frame,
  flags: number,
  own: IpAddress,
  mac: MacAddress,
  dst: IpAddress,
): void {
  emitNeighborMessage(frame, Icmpv6Type.NEIGHBOR_ADVERTISEMENT, flags, own, mac, own, dst)
  emitIpv6(frame, own, dst, IpProtocol.ICMPV6, 0, NEIGHBOR_HOP_LIMIT)
}
