// hot path: no allocation per frame
/**
 * NeighborWord: what a host on the link says of itself, by ARP (RFC 826) or Neighbor Discovery (RFC 4861): where it is, and whom it asks
 * for.
 */
import { DropReason } from '../base/counters.js'
import { ArpOperation, ArpPacket, parseArp } from '../wire/arp.js'
import type { EthernetHeader, MacAddress } from '../wire/ethernet.js'
import type { Frame } from '../wire/frame.js'
import type { IcmpMessage } from '../wire/icmpv4.js'
import { Icmpv6Type, NeighborMessage, parseNeighborMessage } from '../wire/icmpv6.js'
import { type IpAddress, UNSPECIFIED } from '../wire/ip-address.js'

/** Made once; filled by each word, and valid until the next. */
export class NeighborWord {
  /** Who speaks; UNSPECIFIED of one that has no address yet. */
  sender: IpAddress = UNSPECIFIED
  mac: MacAddress = 0
  /** Whom it is about. */
  target: IpAddress = UNSPECIFIED
  /** It asks where the target is. */
  asks = false
  readonly #arp = new ArpPacket()
  readonly #message = new NeighborMessage()

  /** Takes an ARP packet. Returns NONE, or why it is none. */
  readArp(frame: Frame, { payloadStart, payloadEnd }: EthernetHeader): DropReason {
    const arp = this.#arp
    const reason = parseArp(arp, frame.view, payloadStart, payloadEnd)
    if (reason !== DropReason.NONE) return reason
    this.sender = arp.senderIp
    this.mac = arp.senderMac
    this.target = arp.targetIp
    this.asks = arp.operation === ArpOperation.REQUEST
    return DropReason.NONE
  }

  /** Takes the solicitation or advertisement `icmp`, sent by `src`, likewise (RFC 4861 §7.2.3, §7.2.5). */
  readMessage(frame: Frame, icmp: IcmpMessage, src: IpAddress, from: MacAddress): DropReason {
    const message = this.#message
    const reason = parseNeighborMessage(message, icmp, frame.view)
    if (reason !== DropReason.NONE) return reason
    this.asks = icmp.type === Icmpv6Type.NEIGHBOR_SOLICITATION
    this.target = message.target
    // An advertisement speaks of its target, whoever sends it.
    this.sender = this.asks ? src : message.target
    this.mac = message.linkAddress === 0 ? from : message.linkAddress
    return DropReason.NONE
  }
}
