// hot path: no allocation per frame
/**
 * Ip6Input: from an IPv6 packet that is for this host to the protocol it is for: fragments, ICMPv6 with Neighbor Discovery, UDP, TCP.
 * It answers by ICMPv6 what has come in vain, and sends nothing else. Its counterpart for IPv4 is IpInput.
 */
import { type DropCounters, DropReason } from './base/counters.js'
import type { Seq } from './base/seq.js'
import type { Millis } from './base/time.js'
import { Reassembler } from './net/fragments.js'
import { Icmpv6Answers, MIN_IPV6_MTU } from './net/icmpv6-answers.js'
import type { IpOutput } from './net/ip-output.js'
import type { Nic } from './net/nic.js'
import type { Udp } from './net/udp.js'
import type { Tcp } from './tcp/tcp.js'
import { verifyTransport } from './wire/checksum.js'
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
import { DEFAULT_MSS_IPV6, parseTcp, Segment, TCP_HEADER_LENGTH } from './wire/tcp.js'
import { parseUdp, UdpHeader } from './wire/udp.js'

/** TIME_EXCEEDED: the rest of a packet did not come (RFC 4443 §3.3). */
const REASSEMBLY_CODE = 1
/** Octets of the upper layer that an error must quote: ports and sequence number. */
const LEAST_QUOTE = IPV6_HEADER_LENGTH + 8

export class Ip6Input {
  readonly #tcp: Tcp
  readonly #udp: Udp
  readonly #answers: Icmpv6Answers
  readonly #fragments: Reassembler
  readonly #quiet: ReadonlySet<number>
  readonly #ip = new Ipv6Header()
  readonly #icmp = new IcmpMessage()
  readonly #datagram = new UdpHeader()
  readonly #segment = new Segment()

  constructor(
    tcp: Tcp,
    udp: Udp,
    ipOut: IpOutput,
    quiet: ReadonlySet<number>,
    drops: DropCounters,
  ) {
    this.#tcp = tcp
    this.#udp = udp
    this.#quiet = quiet
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
    if (ip.protocol === IpProtocol.TCP) return this.#receiveTcp(nic, frame, ethernet, now)
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

  #receiveTcp(nic: Nic, frame: Frame, ethernet: EthernetHeader, now: Millis): DropReason {
    const { dst, src, ecn, payloadStart, payloadEnd } = this.#ip
    // RFC 9293 §3.9.2.3 (MUST-57): a segment to a group of hosts is dropped in silence.
    if (!nic.takes(ethernet.dst) || isMulticast(dst)) return DropReason.TCP_NOT_UNICAST
    const reason = parseTcp(this.#segment, frame, payloadStart, payloadEnd)
    if (reason !== DropReason.NONE) return reason
    this.#segment.ecn = ecn
    this.#segment.defaultMss = DEFAULT_MSS_IPV6
    if (!verifyTransport(frame, payloadStart, payloadEnd, src, dst, IpProtocol.TCP)) {
      return DropReason.TCP_BAD_CHECKSUM
    }
    this.#tcp.openings.linkMss = nic.linkMss(dst)
    const quiet = ethernet.dst !== nic.mac || this.#quiet.has(dst)
    this.#tcp.receive(this.#segment, dst, src, now, quiet)
    return DropReason.NONE
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

  // What #icmp says about a packet of ours, which it quotes. We send no extension headers in front of TCP.
  #receiveError(view: DataView, now: Millis): DropReason {
    const { type, code, rest, payloadStart: at, payloadEnd } = this.#icmp
    if (payloadEnd - at < LEAST_QUOTE || view.getUint8(at) >> 4 !== 6) {
      return DropReason.ICMP_MALFORMED
    }
    const protocol = view.getUint8(at + 6)
    const src = ipv6AddressAt(view, at + 8)
    const dst = ipv6AddressAt(view, at + 24)
    const srcPort = view.getUint16(at + IPV6_HEADER_LENGTH)
    const dstPort = view.getUint16(at + IPV6_HEADER_LENGTH + 2)
    const seq = view.getInt32(at + IPV6_HEADER_LENGTH + 4) as Seq
    const { errors } = this.#tcp
    if (type === Icmpv6Type.PACKET_TOO_BIG) {
      if (protocol !== IpProtocol.TCP) return DropReason.NONE
      // RFC 8201 §4: less than every link carries counts as that, and what fitted is no news.
      const mtu = Math.max(rest >>> 0, MIN_IPV6_MTU)
      if (mtu >= IPV6_HEADER_LENGTH + view.getUint16(at + 4)) return DropReason.ICMP_REFUSED
      const mss = mtu - IPV6_HEADER_LENGTH - TCP_HEADER_LENGTH
      const believed = errors.handlePathMss(src, srcPort, dst, dstPort, seq, mss, now)
      return believed ? DropReason.NONE : DropReason.ICMP_REFUSED
    }
    const error = errorOf(type, code)
    if (error === '') return DropReason.NONE
    if (protocol === IpProtocol.TCP) {
      const believed = errors.handleUnreachable(src, srcPort, dst, dstPort, seq, error)
      return believed ? DropReason.NONE : DropReason.ICMP_REFUSED
    }
    if (protocol === IpProtocol.UDP) this.#udp.handleUnreachable(src, srcPort, dst, dstPort, error)
    return DropReason.NONE
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

// What an error says about a connection that is being opened, or to a UDP socket with one peer; empty: nothing.
function errorOf(type: number, code: number): string {
  if (type === Icmpv6Type.PARAMETER_PROBLEM) {
    return code === Problem.NEXT_HEADER ? 'ECONNREFUSED' : ''
  }
  if (type !== Icmpv6Type.DESTINATION_UNREACHABLE) return ''
  if (code === Unreachable6Code.PORT) return 'ECONNREFUSED'
  return code === Unreachable6Code.NO_ROUTE ? 'ENETUNREACH' : 'EHOSTUNREACH'
}
