// hot path: no allocation per frame
/**
 * ARP for IPv4 over Ethernet (RFC 826; announcements RFC 5227 §2.3).
 *
 * Only requests and replies with 6-octet and 4-octet addresses pass. A sender that claims a group address or zero as
 * its hardware address is malformed, as nobody may be taught such a mapping (RFC 1812 §3.3.2).
 */
import { DropReason } from '../base/counters.js'
import { getUint48, setUint48 } from './bytes.js'
import { EtherType, isUnicastMac, type MacAddress } from './ethernet.js'
import type { Frame } from './frame.js'
import { type Ipv4Address, UNSPECIFIED } from './ipv4.js'

export const ArpOperation = { REQUEST: 1, REPLY: 2 } as const
export type ArpOperation = (typeof ArpOperation)[keyof typeof ArpOperation]

export const ARP_LENGTH = 28

const HARDWARE_ETHERNET = 1

/** A decoded ARP packet. Instances are reused: borrowed until the next call that fills them. */
export class ArpPacket {
  /** ar$op: an ArpOperation. */
  operation = 0
  /** ar$sha */
  senderMac: MacAddress = 0
  /** ar$spa; UNSPECIFIED in a probe (RFC 5227 §2.1.1). */
  senderIp: Ipv4Address = UNSPECIFIED
  /** ar$tha */
  targetMac: MacAddress = 0
  /** ar$tpa */
  targetIp: Ipv4Address = UNSPECIFIED

  /** True when the sender speaks about itself to everybody: an ARP announcement. */
  get gratuitous(): boolean {
    return this.senderIp === this.targetIp
  }
}

/** Decodes the packet in `view[start, end)` into `packet`; padding behind it is ignored. */
export function parseArp(
  packet: ArpPacket,
  view: DataView,
  start: number,
  end: number,
): DropReason {
  if (end - start < ARP_LENGTH) return DropReason.ARP_MALFORMED
  if (view.getUint16(start) !== HARDWARE_ETHERNET) return DropReason.ARP_MALFORMED
  if (view.getUint16(start + 2) !== EtherType.IPV4) return DropReason.ARP_MALFORMED
  if (view.getUint16(start + 4) !== 0x0604) return DropReason.ARP_MALFORMED
  const operation = view.getUint16(start + 6)
  if (operation !== ArpOperation.REQUEST && operation !== ArpOperation.REPLY) {
    return DropReason.ARP_MALFORMED
  }
  const senderMac = getUint48(view, start + 8)
  if (!isUnicastMac(senderMac)) return DropReason.ARP_MALFORMED
  packet.operation = operation
  packet.senderMac = senderMac
  packet.senderIp = view.getInt32(start + 14) as Ipv4Address
  packet.targetMac = getUint48(view, start + 18)
  packet.targetIp = view.getInt32(start + 24) as Ipv4Address
  return DropReason.NONE
}

/** Writes an ARP packet in front of `frame.start` and lowers it. */
export function emitArp(
  frame: Frame,
  operation: ArpOperation,
  senderMac: MacAddress,
  senderIp: Ipv4Address,
  targetMac: MacAddress,
  targetIp: Ipv4Address,
): void {
  const start = frame.start - ARP_LENGTH
  const view = frame.view
  view.setUint16(start, HARDWARE_ETHERNET)
  view.setUint16(start + 2, EtherType.IPV4)
  view.setUint16(start + 4, 0x0604)
  view.setUint16(start + 6, operation)
  setUint48(view, start + 8, senderMac)
  view.setInt32(start + 14, senderIp)
  setUint48(view, start + 18, targetMac)
  view.setInt32(start + 24, targetIp)
  frame.start = start
}
