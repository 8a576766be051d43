// hot path: no allocation per frame
/**
 * Ip6Input: from an IPv6 packet that is for this host to the protocol it is for: fragments, ICMPv6 with Neighbor Discovery, UDP, TCP.
 * It answers by ICMPv6 what has come in vain, and sends nothing else. Its counterpart for IPv4 is IpInput.
 */
import { type DropCounters, DropReason } from './base/counters.js'
import type { Millis } from './base/time.js'
import { Reassembler } from './net/fragments.js'
import { QuotedDatagram } from './net/icmp.js'
import { Icmpv6Answers, MIN_IPV6_MTU } from './net/icmpv6-answers.js'
import type { IpOutput } from './net/ip-output.js'
import type { Nic } from './net/nic.js'
import type { Udp } from './net/udp.js'
import type { TransportInput } from './transport-input.js'
import type { EthernetHeader } from './wire/ethernet.js'
import type { Frame } from './wire/frame.js'
import { IcmpMessage } from './wire/icmpv4.js'
import {
  Icmpv6Type,
  isIcmpv6Error,
  NEIGHBOR_HOP_LIMIT,
  parseIcmpv6,
  Unreachable6Code,
} from './wire/icmpv6.js'
import { ipv6AddressAt, isMulticast, isUnicast, isUnspecified } from './wire/ip-address.js'
import { IpProtocol } from './wire/ipv4.js'
import { IPV6_HEADER_LENGTH, Ipv6Header, Problem, parseIpv6 } from './wire/ipv6.js'
import { parseUdp, UdpHeader } from './wire/udp.js'

/** TIME_EXCEEDED: the rest of a packet did not come (RFC 4443 §3.3). */
const REASSEMBLY_CODE = 1
/** Octets of the upper layer that an error must quote: ports and sequence number. */
const LEAST_QUOTE = IPV6_HEADER_LENGTH + 8

export class Ip6Input {
  readonly #udp: Udp
  readonly #transport: TransportInput
  readonly #answers: Icmpv6Answers
  readonly #fragments: Reassembler
  readonly #ip = new Ipv6Header()
  readonly #icmp = new IcmpMessage()
  readonly #quoted = new QuotedDatagram()
  readonly #datagram = new UdpHeader()

  constructor(udp: Udp, transport: TransportInput, ipOut: IpOutput, drops: DropCounters) {
    this.#udp = udp
    this.#transport = transport
    this.#answers = new Icmpv6Answers(ipOut, drops)
    this.#fragments = new Reassembler(drops)
  }

  /** Takes the packet behind the header `ethernet`. Returns NONE or why it was dropped. */
  receive(nic: Nic, frame: Frame, ethernet: EthernetHeader, now: Millis): DropReason {
    const ip = this.#ip
    const reason = parseIpv6(ip, frame.view, ethernet.payloadStart, ethernet.payloadEnd)
    if (reason !== DropReason.NONE) return reason
    const group = isMulticast(ip.dst)
    if (group ? !nic.isInGroup(ip.dst) : !nic.isAssigned(ip.dst)) return DropReason.IPV6_NOT_OURS
    // All else is for the node that answers for the address.
    const shared = !group && !nic.answersFor(ip.dst)
    if (shared && (ip.protocol !== IpProtocol.TCP || ip.problem !== Problem.NONE)) {
      return DropReason.IPV6_NOT_OURS
    }
    // RFC 4862 §5.4.2: who asks whether his address is taken has none yet.
    const probes = isUnspecified(ip.src) && ip.protocol === IpProtocol.ICMPV6
    if (!probes && (!isUnicast(ip.src) || nic.isAssigned(ip.src))) {
      return this.#receiveImpossible(nic, frame, ethernet, now)
    }
    if (ip.problem !== Problem.NONE) return this.#refuse(nic, frame, ethernet, now)
    if (!ip.isFragment) return this.#receivePayload(nic, frame, ethernet, now)
    if (!nic.takes(ethernet.dst)) return DropReason.IPV6_FRAGMENT
    const whole = this.#fragments.add(ip, frame, now)
    if (whole === null) return DropReason.NONE
    if (parseIpv6(ip, whole.view, whole.start, whole.end) !== DropReason.NONE || ip.isFragment) {
      return DropReason.IPV6_BAD_HEADER_CHAIN
    }
    if (ip.problem !== Problem.NONE) return this.#refuse(nic, whole, ethernet, now)
    return this.#receivePayload(nic, whole, ethernet, now)
  }

  // Nobody else has our address; but he who believes so and asks or tells is heard, as a claim to it.
  #receiveImpossible(nic: Nic, frame: Frame, ethernet: EthernetHeader, now: Millis): DropReason {
    const ip = this.#ip
    const claims = nic.isAssigned(ip.src) && ip.protocol === IpProtocol.ICMPV6 && !ip.isFragment
    if (!claims || ethernet.src === nic.mac) return DropReason.IPV6_BAD_SOURCE
    const reason = this.#receiveIcmp(nic, frame, ethernet, true, now)
    return reason === DropReason.NONE ? DropReason.IPV6_BAD_SOURCE : reason
  }

  // What a host must know and this one does not (RFC 8200 §4).
  #refuse(nic: Nic, frame: Frame, ethernet: EthernetHeader, now: Millis): DropReason {
    const { problem, problemAt } = this.#ip
    if (problem !== Problem.SILENT) {
      const type = Icmpv6Type.PARAMETER_PROBLEM
      this.#answers.report(nic, this.#ip, frame, ethernet.dst, type, problem, problemAt, now)
    }
    return DropReason.IPV6_REFUSED_HEADER
  }

  // `ethernet` is the header of the last frame of the packet in #ip.
  #receivePayload(nic: Nic, frame: Frame, ethernet: EthernetHeader, now: Millis): DropReason {
    const ip = this.#ip
    if (ip.protocol === IpProtocol.TCP) {
      return this.#transport.receiveTcp(nic, frame, ip, ethernet, now)
    }
    if (ip.protocol === IpProtocol.UDP) return this.#receiveUdp(nic, frame, ethernet, now)
    if (ip.protocol === IpProtocol.ICMPV6) {
      return this.#receiveIcmp(nic, frame, ethernet, false, now)
    }
    if (ip.payloadStart === ip.payloadEnd) return DropReason.IPV6_UNKNOWN_PROTOCOL
    const type = Icmpv6Type.PARAMETER_PROBLEM
    // Points at the field that names the protocol: in the header when there are no extensions, which is what people send.
    const at = ip.payloadStart === ip.headerStart + IPV6_HEADER_LENGTH ? 6 : IPV6_HEADER_LENGTH
    this.#answers.report(nic, ip, frame, ethernet.dst, type, Problem.NEXT_HEADER, at, now)
    return DropReason.IPV6_UNKNOWN_PROTOCOL
  }

  #receiveUdp(nic: Nic, frame: Frame, ethernet: EthernetHeader, now: Millis): DropReason {
    const ip = this.#ip
    const header = this.#datagram
    let reason = parseUdp(header, frame, ip.payloadStart, ip.payloadEnd, ip.src, ip.dst)
    if (reason !== DropReason.NONE) return reason
    // RFC 8200 §8.1: no header of IPv6 has a checksum, so a datagram must.
    if (header.checksum === 0) return DropReason.UDP_BAD_CHECKSUM
    const group = isMulticast(ip.dst)
    reason = this.#udp.receive(header, frame, ip.src, ip.dst, group)
    if (reason === DropReason.UDP_NO_PORT && !group) {
      const type = Icmpv6Type.DESTINATION_UNREACHABLE
      this.#answers.report(nic, ip, frame, ethernet.dst, type, Unreachable6Code.PORT, 0, now)
    }
    return reason
  }

  // With `claimsOnly` the sender uses an address of ours, and is heard as far as that goes.
  #receiveIcmp(
    nic: Nic,
    frame: Frame,
    ethernet: EthernetHeader,
    claimsOnly: boolean,
    now: Millis,
  ): DropReason {
    const { src, dst, hopLimit, payloadStart, payloadEnd } = this.#ip
    const icmp = this.#icmp
    const reason = parseIcmpv6(icmp, frame, payloadStart, payloadEnd, src, dst)
    if (reason !== DropReason.NONE) return reason
    const { type } = icmp
    if (type === Icmpv6Type.NEIGHBOR_SOLICITATION || type === Icmpv6Type.NEIGHBOR_ADVERTISEMENT) {
      if (hopLimit !== NEIGHBOR_HOP_LIMIT) return DropReason.ICMP_REFUSED
      return nic.receiveNeighbor(frame, icmp, src, ethernet, now)
    }
    if (claimsOnly || isUnspecified(src)) return DropReason.IPV6_BAD_SOURCE
    if (type === Icmpv6Type.ECHO_REQUEST) {
      if (isMulticast(dst)) return DropReason.ICMP_REFUSED
      this.#answers.answerEcho(nic, this.#ip, frame, icmp, now)
    } else if (isIcmpv6Error(type)) {
      return this.#receiveError(frame.view, now)
    }
    return DropReason.NONE
  }

  // What #icmp says about a packet of ours, which it quotes.
  #receiveError(view: DataView, now: Millis): DropReason {
    const { type, code, rest } = this.#icmp
    const quoted = this.#quoted
    if (!parseQuotedPacket(quoted, view, this.#icmp)) return DropReason.ICMP_MALFORMED
    if (type === Icmpv6Type.PACKET_TOO_BIG) {
      // RFC 8201 §4: less than every link carries counts as that.
      const mtu = Math.max(rest >>> 0, MIN_IPV6_MTU)
      return this.#transport.handlePathMtu(quoted, mtu, MIN_IPV6_MTU, now)
    }
    return this.#transport.handleUnreachable(quoted, errorOf(type, code))
  }

  /** Ends what has waited too long for the rest of its packet (RFC 8200 §4.5). */
  handleTimeout(nics: readonly Nic[], now: Millis): void {
    for (let f = this.#fragments.expire(now); f !== null; f = this.#fragments.expire(now)) {
      const ip = this.#ip
      if (parseIpv6(ip, f.view, f.start, f.end) !== DropReason.NONE) continue
      // allocates: once per report
      const nic = nics.find((own) => own.isAssigned(ip.dst))
      if (nic === undefined) continue
      const type = Icmpv6Type.TIME_EXCEEDED
      this.#answers.report(nic, ip, f, nic.mac, type, REASSEMBLY_CODE, 0, now)
    }
  }

  nextDeadline(): Millis {
    return this.#fragments.nextDeadline()
  }
}

// False when the message quotes too little to find the connection. We send no extension headers in front of TCP.
function parseQuotedPacket(quoted: QuotedDatagram, view: DataView, message: IcmpMessage): boolean {
  const { payloadStart: at, payloadEnd } = message
  if (payloadEnd - at < LEAST_QUOTE || view.getUint8(at) >> 4 !== 6) return false
  const payload = at + IPV6_HEADER_LENGTH
  quoted.src = ipv6AddressAt(view, at + 8)
  quoted.dst = ipv6AddressAt(view, at + 24)
  quoted.protocol = view.getUint8(at + 6)
  quoted.totalLength = IPV6_HEADER_LENGTH + view.getUint16(at + 4)
  quoted.srcPort = view.getUint16(payload)
  quoted.dstPort = view.getUint16(payload + 2)
  quoted.seq = view.getInt32(payload + 4)
  return true
}

// What an error says about a connection that is being opened, or to a UDP socket with one peer; empty: nothing.
function errorOf(type: number, code: number): string {
  if (type === Icmpv6Type.PARAMETER_PROBLEM) {
    return code === Problem.NEXT_HEADER ? 'ECONNREFUSED' : ''
  }
  if (type === Icmpv6Type.TIME_EXCEEDED) return code === REASSEMBLY_CODE ? '' : 'EHOSTUNREACH'
  if (type !== Icmpv6Type.DESTINATION_UNREACHABLE) return ''
  if (code === Unreachable6Code.PORT) return 'ECONNREFUSED'
  return code === Unreachable6Code.NO_ROUTE ? 'ENETUNREACH' : 'EHOSTUNREACH'
}
