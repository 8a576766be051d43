// hot path: no allocation per frame
/**
 * From a captured frame of any common link type to its network layer: Ethernet with tags and labels, Linux "cooked" captures,
 * raw IP, loopback, PPP. For captures that others made; a NIC of ours speaks Ethernet alone.
 */
import { EtherType } from './ethernet.js'

/** LINKTYPE values (tcpdump.org/linktypes.html) that can be read. */
export const LinkType = {
  NULL: 0,
  ETHERNET: 1,
  PPP: 9,
  /** DLT_RAW as some systems wrote it. */
  RAW_BSD: 12,
  RAW_OPENBSD: 14,
  PPP_HDLC: 50,
  RAW: 101,
  LOOP: 108,
  LINUX_SLL: 113,
  IPV4: 228,
  IPV6: 229,
  LINUX_SLL2: 276,
} as const

/** Where the network layer of a frame lies. The instance is reused. */
export class NetworkLayer {
  /** EtherType.IPV4, EtherType.IPV6, ARP or another EtherType; 0 when there is none. */
  etherType = 0
  /** Its octets are `[start, end)`, padding included. */
  start = 0
  end = 0
}

const MPLS_UNICAST = 0x8847
const MPLS_MULTICAST = 0x8848
const PPPOE_SESSION = 0x8864
const OLD_SERVICE_VLAN = 0x9100
const MAX_TAGS = 8
const ETHERNET_ADDRESSES = 12
const MIN_ETHER_TYPE = 0x0600
const LLC_SNAP = 0xaaaa
const PPP_ADDRESS_CONTROL = 0xff03
const PPP_IPV4 = 0x0021
const PPP_IPV6 = 0x0057

/** Fills `layer` for the frame `view[start, end)`. False when its network layer cannot be found. */
export function findNetworkLayer(
  layer: NetworkLayer,
  linkType: number,
  view: DataView,
  start: number,
  end: number,
): boolean {
  layer.end = end
  switch (linkType) {
    case LinkType.ETHERNET:
      return findByEtherType(layer, view, start + ETHERNET_ADDRESSES)
    case LinkType.LINUX_SLL:
      return findByEtherType(layer, view, start + 14)
    case LinkType.LINUX_SLL2:
      if (end - start < 20) return false
      return enter(layer, view, view.getUint16(start), start + 20)
    case LinkType.RAW:
    case LinkType.RAW_BSD:
    case LinkType.RAW_OPENBSD:
    case LinkType.IPV4:
    case LinkType.IPV6:
      return findByVersion(layer, view, start)
    case LinkType.NULL:
    case LinkType.LOOP:
      // The address family's number differs between systems; the version of IP does not.
      return findByVersion(layer, view, start + 4)
    case LinkType.PPP:
    case LinkType.PPP_HDLC:
      return findInPpp(layer, view, start)
    default:
      return false
  }
}

function findByEtherType(layer: NetworkLayer, view: DataView, at: number): boolean {
  if (at + 2 > layer.end) return false
  return enter(layer, view, view.getUint16(at), at + 2)
}

// Steps over whatever stands between the link's header and IP.
function enter(layer: NetworkLayer, view: DataView, first: number, start: number): boolean {
  let etherType = first
  let at = start
  for (let depth = 0; depth < MAX_TAGS; depth++) {
    const isTag =
      etherType === EtherType.VLAN ||
      etherType === EtherType.SERVICE_VLAN ||
      etherType === OLD_SERVICE_VLAN
    if (isTag) {
      if (at + 4 > layer.end) return false
      etherType = view.getUint16(at + 2)
      at += 4
    } else if (etherType === MPLS_UNICAST || etherType === MPLS_MULTICAST) {
      return findUnderLabels(layer, view, at)
    } else if (etherType === PPPOE_SESSION) {
      return findInPpp(layer, view, at + 6)
    } else if (etherType < MIN_ETHER_TYPE) {
      // IEEE 802.3 with LLC and SNAP (RFC 1042): the field was a length.
      if (at + 8 > layer.end || view.getUint16(at) !== LLC_SNAP) return false
      etherType = view.getUint16(at + 6)
      at += 8
    } else {
      layer.etherType = etherType
      layer.start = at
      return true
    }
  }
  return false
}

function findUnderLabels(layer: NetworkLayer, view: DataView, start: number): boolean {
  let at = start
  for (;;) {
    if (at + 4 > layer.end) return false
    const isLast = (view.getUint8(at + 2) & 1) !== 0
    at += 4
    if (isLast) break
  }
  if (findByVersion(layer, view, at)) return true
  // A pseudowire of Ethernet (RFC 4448), with its control word.
  return findByEtherType(layer, view, at + 4 + ETHERNET_ADDRESSES)
}

function findInPpp(layer: NetworkLayer, view: DataView, start: number): boolean {
  let at = start
  if (at + 4 > layer.end) return false
  if (view.getUint16(at) === PPP_ADDRESS_CONTROL) at += 2
  const protocol = view.getUint16(at)
  if (protocol !== PPP_IPV4 && protocol !== PPP_IPV6) return false
  return findByVersion(layer, view, at + 2)
}

function findByVersion(layer: NetworkLayer, view: DataView, at: number): boolean {
  if (at >= layer.end) return false
  const version = view.getUint8(at) >> 4
  if (version !== 4 && version !== 6) return false
  layer.etherType = version === 4 ? EtherType.IPV4 : EtherType.IPV6
  layer.start = at
  return true
}
