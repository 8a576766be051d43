// hot path: no allocation per frame
/**
 * The Ethernet II header (RFC 894) with at most one 802.1Q tag, and Ethernet addresses as integers.
 *
 * A tag is skipped and kept as a field; which tags are welcome is the NIC's business. Frames that carry a length in
 * place of a type (802.3, spanning tree) are of an unknown type here.
 */
import { DropReason } from '../base/counters.js'
import { StackError } from '../base/errors.js'
import { getUint48, setUint48 } from './bytes.js'
import type { Frame } from './frame.js'

/** A 48-bit Ethernet address as an integer in 0 .. 2^48 - 1. */
export type MacAddress = number

export const BROADCAST_MAC: MacAddress = 0xffff_ffff_ffff

export const EtherType = {
  IPV4: 0x0800,
  ARP: 0x0806,
  /** 802.1Q customer tag. */
  VLAN: 0x8100,
  IPV6: 0x86dd,
  /** 802.1ad service tag. */
  SERVICE_VLAN: 0x88a8,
  /** IEEE local experimental EtherType 1. */
  EXPERIMENTAL: 0x88b5,
} as const

/** No 802.1Q tag in the frame. */
export const NO_TAG = -1

export const ETHERNET_HEADER_LENGTH = 14
export const ETHERNET_TAG_LENGTH = 4

/** Below this the field is the length of an 802.3 frame. */
const MIN_ETHER_TYPE = 0x0600
const GROUP_BIT = 0x0100_0000_0000
const MAC_PATTERN = /^[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5}$/i

/** A decoded Ethernet header. Instances are reused: borrowed until the next call that fills them. */
export class EthernetHeader {
  dst: MacAddress = 0
  src: MacAddress = 0
  etherType = 0
  /** Tag control information of the 802.1Q tag, or NO_TAG. */
  tag = NO_TAG
  /** What follows the header is `frame.bytes[payloadStart, payloadEnd)`, padding included. */
  payloadStart = 0
  payloadEnd = 0
}

/** Decodes the header at `frame.start` into `header`. Returns NONE or the reason to drop the frame. */
export function parseEthernet(header: EthernetHeader, frame: Frame): DropReason {
  const start = frame.start
  const end = frame.end
  if (end - start < ETHERNET_HEADER_LENGTH) return DropReason.ETHERNET_TRUNCATED
  const view = frame.view
  let payloadStart = start + ETHERNET_HEADER_LENGTH
  let etherType = view.getUint16(start + 12)
  let tag = NO_TAG
  if (etherType === EtherType.VLAN || etherType === EtherType.SERVICE_VLAN) {
    if (end - payloadStart < ETHERNET_TAG_LENGTH) return DropReason.ETHERNET_TRUNCATED
    tag = view.getUint16(payloadStart)
    etherType = view.getUint16(payloadStart + 2)
    payloadStart += ETHERNET_TAG_LENGTH
  }
  header.dst = getUint48(view, start)
  header.src = getUint48(view, start + 6)
  header.etherType = etherType
  header.tag = tag
  header.payloadStart = payloadStart
  header.payloadEnd = end
  return etherType < MIN_ETHER_TYPE ? DropReason.ETHERNET_UNKNOWN_TYPE : DropReason.NONE
}

/** Writes an Ethernet header, with the 802.1Q tag `tag` if there is one, in front of `frame.start` and lowers it. */
export function emitEthernet(
  frame: Frame,
  dst: MacAddress,
  src: MacAddress,
  etherType: number,
  tag: number = NO_TAG,
): void {
  const view = frame.view
  let start = frame.start
  if (tag !== NO_TAG) {
    start -= ETHERNET_TAG_LENGTH
    view.setUint16(start, tag)
    view.setUint16(start + 2, etherType)
  }
  start -= ETHERNET_HEADER_LENGTH
  setUint48(view, start, dst)
  setUint48(view, start + 6, src)
  view.setUint16(start + 12, tag === NO_TAG ? etherType : EtherType.VLAN)
  frame.start = start
}

/** The tag of VLAN `vlan`, or NO_TAG without one. Throws ERR_INVALID_VLAN. */
export function checkedVlan(vlan: number | undefined): number {
  if (vlan === undefined) return NO_TAG
  if (Number.isInteger(vlan) && vlan >= 1 && vlan <= 4094) return vlan
  // allocates: the text of an error in the caller's settings
  throw new StackError('ERR_INVALID_VLAN', `vlan: ${vlan} is no VLAN; give a number from 1 to 4094`)
}

/** The station or the group that a frame is for. */
export function destinationOf({ view, start }: Frame): MacAddress {
  return view.getUint16(start) * 2 ** 32 + view.getUint32(start + 2)
}

/** Addresses as they stand in frames, six octets each. */
// allocates: once per change of a filter
export function macOctets(macs: Iterable<MacAddress>): Uint8Array {
  const list = [...macs]
  const view = new DataView(new ArrayBuffer(6 * list.length))
  for (const [i, mac] of list.entries()) {
    view.setUint16(6 * i, Math.floor(mac / 2 ** 32))
    view.setUint32(6 * i + 2, mac % 2 ** 32)
  }
  return new Uint8Array(view.buffer)
}

/** True for group addresses: multicast and broadcast. */
export function isGroupMac(mac: MacAddress): boolean {
  return Math.floor(mac / GROUP_BIT) % 2 === 1
}

/** True for an address that one station can have: neither a group nor zero. */
export function isUnicastMac(mac: MacAddress): boolean {
  return mac !== 0 && !isGroupMac(mac)
}

/** `02:00:00:00:00:0a` or `02-00-...` as an integer; `field` names the setting in the error ERR_INVALID_ADDRESS. */
export function parseMacAddress(text: string, field = 'mac'): MacAddress {
  if (!MAC_PATTERN.test(text)) {
    throw new StackError(
      'ERR_INVALID_ADDRESS',
      // allocates: the text of an error in the caller's settings
      `${field}: '${text}' is not an Ethernet address; write six pairs of hexadecimal digits, as 02:00:00:00:00:0a`,
    )
  }
  return Number.parseInt(text.replace(/[:-]/g, ''), 16)
}

/** The address as six pairs of hexadecimal digits with colons. */
export function formatMacAddress(mac: MacAddress): string {
  const digits = mac.toString(16).padStart(12, '0')
  return digits.replace(/..(?!$)/g, '$&:')
}
