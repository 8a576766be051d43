// hot path: no allocation per frame
/**
 * IpInput: from a frame that is for this host to the protocol it is for: ARP, IPv6, fragments, ICMP, UDP, TCP. It answers by ICMP what
 * has come in vain, and sends nothing else.
 */
import { type DropCounters, DropReason } from './base/counters.js'
import type { Millis } from './base/time.js'
import { Ip6Input } from './ip6-input.js'
import { Reassembler } from './net/fragments.js'
import { MIN_MTU, parseQuotedDatagram, plateauBelow, QuotedDatagram } from './net/icmp.js'
import { IcmpAnswers } from './net/icmp-answers.js'
import type { IpOutput } from './net/ip-output.js'
import { Destination, destinationKind, receiveIpv4 } from './net/ipv4.js'
import type { Nic } from './net/nic.js'
import { isIpv6GroupMac } from './net/solicitation.js'
import type { Udp } from './net/udp.js'
import type { Tcp } from './tcp/tcp.js'
import { type ServiceScope, TransportInput } from './transport-input.js'
import { BROADCAST_MAC, type EthernetHeader, EtherType } from './wire/ethernet.js'
import type { Frame } from './wire/frame.js'
import {
  IcmpMessage,
  IcmpType,
  isIcmpError,
  parseIcmpv4,
  TimeExceededCode,
  UnreachableCode,
} from './wire/icmpv4.js'
import type { IpAddress } from './wire/ip-address.js'
import { IpProtocol, Ipv4Header, parseIpv4 } from './wire/ipv4.js'
import { parseUdp, UdpHeader } from './wire/udp.js'

export class IpInput {
  readonly #udp: Udp
  readonly #transport: TransportInput
  readonly #answers: IcmpAnswers
  readonly #fragments: Reassembler
  readonly #ip = new Ipv4Header()
  readonly #icmp = new IcmpMessage()
  readonly #quoted = new QuotedDatagram()
  readonly #datagram = new UdpHeader()
  readonly #ip6: Ip6Input

  constructor(tcp: Tcp, udp: Udp, ipOut: IpOutput, drops: DropCounters) {
    this.#transport = new TransportInput(tcp, udp)
    this.#udp = udp
    this.#answers = new IcmpAnswers(ipOut, drops)
    this.#fragments = new Reassembler(drops)
    this.#ip6 = new Ip6Input(udp, this.#transport, ipOut, drops)
  }

  /** Takes the payload of the frame whose header is `ethernet`. Returns NONE or why it was dropped. */
  receive(nic: Nic, frame: Frame, ethernet: EthernetHeader, now: Millis): DropReason {
    const { dst, etherType } = ethernet
    if (!nic.takes(dst) && dst !== BROADCAST_MAC) {
      const group = etherType === EtherType.IPV6 && isIpv6GroupMac(dst)
      if (etherType === EtherType.ARP) nic.overhearArp(frame, ethernet, now)
      if (!group) return DropReason.ETHERNET_OTHER_MAC
    }
    if (etherType === EtherType.IPV4) return this.#receiveIpv4(nic, frame, ethernet, now)
    if (etherType === EtherType.IPV6) return this.#ip6.receive(nic, frame, ethernet, now)
    if (etherType === EtherType.ARP) return nic.receiveArp(frame, ethernet, now)
    return etherType === EtherType.EXPERIMENTAL ? DropReason.NONE : DropReason.ETHERNET_UNKNOWN_TYPE
  }

  #receiveIpv4(nic: Nic, frame: Frame, ethernet: EthernetHeader, now: Millis): DropReason {
    const ip = this.#ip
    const reason = receiveIpv4(ip, frame, ethernet.payloadStart, ethernet.payloadEnd)
    if (reason !== DropReason.NONE) return reason
    let own = nic.addressOf(ip.dst)
    const shared = own?.state === 'shared' && ip.protocol === IpProtocol.TCP
    if (own === undefined || (own.state !== 'assigned' && !shared)) {
      // Nothing but UDP may be sent to all hosts of a subnet.
      own = ip.protocol === IpProtocol.UDP ? nic.broadcastOf(ip.dst) : undefined
      if (own === undefined) return DropReason.IPV4_NOT_OURS
    }
    // RFC 1122 §3.2.1.3: nobody else has our address, and nobody is a broadcast address.
    if (
      ip.src === own.address ||
      destinationKind(ip.src, own.address, own.prefix) !== Destination.OTHER
    ) {
      return DropReason.IPV4_BAD_SOURCE
    }
    if (!ip.isFragment) return this.#receivePayload(nic, frame, ethernet, now)
    // RFC 1122 §3.3.6: one host is not spoken to by a broadcast of the link.
    if (!nic.takes(ethernet.dst) && ip.dst === own.address) return DropReason.IP_FRAGMENT
    const whole = this.#fragments.add(ip, frame, now)
    if (whole === null) return DropReason.NONE
    parseIpv4(ip, whole.view, whole.start, whole.end)
    return this.#receivePayload(nic, whole, ethernet, now)
  }

  // The payload of the datagram in #ip; `ethernet` is the header of its last frame.
  #receivePayload(nic: Nic, frame: Frame, ethernet: EthernetHeader, now: Millis): DropReason {
    const ip = this.#ip
    if (ip.protocol === IpProtocol.TCP) {
      return this.#transport.receiveTcp(nic, frame, ip, ethernet, now)
    }
    if (ip.protocol === IpProtocol.UDP) return this.#receiveUdp(nic, frame, ethernet, now)
    if (ip.protocol === IpProtocol.ICMP) return this.#receiveIcmp(nic, frame, now)
    this.#unreachable(nic, frame, ethernet, UnreachableCode.PROTOCOL, now)
    return DropReason.IPV4_UNKNOWN_PROTOCOL
  }

  #receiveUdp(nic: Nic, frame: Frame, ethernet: EthernetHeader, now: Millis): DropReason {
    const ip = this.#ip
    const header = this.#datagram
    let reason = parseUdp(header, frame, ip.payloadStart, ip.payloadEnd, ip.src, ip.dst)
    if (reason !== DropReason.NONE) return reason
    reason = this.#udp.receive(header, frame, ip.src, ip.dst, !nic.isAssigned(ip.dst))
    if (reason === DropReason.UDP_NO_PORT && nic.isAssigned(ip.dst)) {
      this.#unreachable(nic, frame, ethernet, UnreachableCode.PORT, now)
    }
    return reason
  }

  #receiveIcmp(nic: Nic, frame: Frame, now: Millis): DropReason {
    const ip = this.#ip
    const icmp = this.#icmp
    const reason = parseIcmpv4(icmp, frame.view, ip.payloadStart, ip.payloadEnd)
    if (reason !== DropReason.NONE) return reason
    if (icmp.type === IcmpType.ECHO_REQUEST) {
      this.#answers.answerEcho(nic, ip, frame, icmp, now)
      return DropReason.NONE
    }
    if (!isIcmpError(icmp.type)) return DropReason.NONE
    const quoted = this.#quoted
    if (!parseQuotedDatagram(quoted, frame.view, icmp)) return DropReason.ICMP_MALFORMED
    if (isFragmentationNeeded(icmp)) return this.#receivePathMtu(now)
    return this.#transport.handleUnreachable(quoted, errorOf(icmp.type, icmp.code))
  }

  // RFC 1191 §4: the datagram that #icmp quotes was longer than a link on its way.
  #receivePathMtu(now: Millis): DropReason {
    const mtu = this.#icmp.nextHopMtu || plateauBelow(this.#quoted.totalLength)
    return this.#transport.handlePathMtu(this.#quoted, mtu, MIN_MTU, now)
  }

  // Tells the sender of the datagram in #ip that it has come in vain.
  #unreachable(nic: Nic, frame: Frame, ethernet: EthernetHeader, code: number, now: Millis): void {
    const type = IcmpType.DESTINATION_UNREACHABLE
    this.#answers.report(nic, this.#ip, frame, ethernet.dst, type, code, now)
  }

  /** Ends what has waited too long for the rest of its datagram. */
  handleTimeout(nics: readonly Nic[], now: Millis): void {
    for (let f = this.#fragments.expire(now); f !== null; f = this.#fragments.expire(now)) {
      this.#reportTimeExceeded(nics, f, now)
    }
    this.#ip6.handleTimeout(nics, now)
  }

  nextDeadline(): Millis {
    return Math.min(this.#fragments.nextDeadline(), this.#ip6.nextDeadline())
  }

  /** Which of the connections of its addresses this host serves; null: all. */
  set scope(scope: ServiceScope | null) {
    this.#transport.scope = scope
  }

  /** While quiet, segments to `address` that belong to no connection are absorbed, never answered by RST. */
  setQuiet(address: IpAddress, quiet: boolean): void {
    this.#transport.setQuiet(address, quiet)
  }

  // RFC 1122 §3.3.2: told to the sender when the first fragment, by which it knows what was lost, has arrived.
  #reportTimeExceeded(nics: readonly Nic[], first: Frame, now: Millis): void {
    const ip = this.#ip
    if (parseIpv4(ip, first.view, first.start, first.end) !== DropReason.NONE) return
    // allocates: once per report
    const nic = nics.find((own) => own.isAssigned(ip.dst))
    if (nic === undefined) return
    const type = IcmpType.TIME_EXCEEDED
    this.#answers.report(nic, ip, first, nic.mac, type, TimeExceededCode.REASSEMBLY, now)
  }
}

function isFragmentationNeeded(icmp: IcmpMessage): boolean {
  const { type, code } = icmp
  return type === IcmpType.DESTINATION_UNREACHABLE && code === UnreachableCode.FRAGMENTATION_NEEDED
}

// What an error says about a connection that is being opened, or to a UDP socket with one peer; empty: nothing. A datagram whose
// hops ran out is as good as one to a host that is unreachable (RFC 9293 §3.9.2.2).
function errorOf(type: number, code: number): string {
  if (type === IcmpType.TIME_EXCEEDED) {
    return code === TimeExceededCode.IN_TRANSIT ? 'EHOSTUNREACH' : ''
  }
  if (type !== IcmpType.DESTINATION_UNREACHABLE) return ''
  if (code === UnreachableCode.PORT || code === UnreachableCode.PROTOCOL) return 'ECONNREFUSED'
  return code === UnreachableCode.NETWORK ? 'ENETUNREACH' : 'EHOSTUNREACH'
}
