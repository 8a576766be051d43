// hot path: no allocation per frame
/**
 * TransportInput: what the inputs of both families of IP hand on to TCP and UDP in the same way: segments, and what ICMP says of
 * those that we have sent.
 */
import { DropReason } from './base/counters.js'
import type { Seq } from './base/seq.js'
import type { Millis } from './base/time.js'
import type { QuotedDatagram } from './net/icmp.js'
import { ipHeaderLength } from './net/ip-output.js'
import type { Nic } from './net/nic.js'
import type { Udp } from './net/udp.js'
import type { Tcp } from './tcp/tcp.js'
import { verifyTransport } from './wire/checksum.js'
import type { EthernetHeader, MacAddress } from './wire/ethernet.js'
import type { Frame } from './wire/frame.js'
import { type IpAddress, isUnicast } from './wire/ip-address.js'
import { IpProtocol } from './wire/ipv4.js'
import { parseSegment, Segment, type SegmentCarrier, TCP_HEADER_LENGTH } from './wire/tcp.js'

/** Which of the connections of its addresses a host serves; those that it does not are another's, and never refused. */
export interface ServiceScope {
  /** True when what is sent to this endpoint, in a frame to `mac`, is to be answered here although it belongs to no connection. */
  serves(
    local: IpAddress,
    localPort: number,
    remote: IpAddress,
    remotePort: number,
    mac: MacAddress,
  ): boolean
}

export class TransportInput {
  /** Null: all that is sent to this host is for it. */
  scope: ServiceScope | null = null
  readonly #tcp: Tcp
  readonly #udp: Udp
  readonly #segment = new Segment()
  readonly #quiet = new Set<number>()

  constructor(tcp: Tcp, udp: Udp) {
    this.#tcp = tcp
    this.#udp = udp
  }

  /** While quiet, segments to `address` that belong to no connection are absorbed, never answered by RST. */
  setQuiet(address: IpAddress, quiet: boolean): void {
    if (quiet) this.#quiet.add(address)
    else this.#quiet.delete(address)
  }

  /** Takes the segment in the datagram `ip`, whose last frame has the header `ethernet`. Returns NONE or why it was dropped. */
  receiveTcp(
    nic: Nic,
    frame: Frame,
    ip: SegmentCarrier,
    ethernet: EthernetHeader,
    now: Millis,
  ): DropReason {
    const { src, dst, payloadStart, payloadEnd } = ip
    // RFC 9293 §3.9.2.3 (MUST-57): a segment to a group of hosts is dropped in silence.
    if (!nic.takes(ethernet.dst) || !isUnicast(dst)) return DropReason.TCP_NOT_UNICAST
    const reason = parseSegment(this.#segment, frame, ip)
    if (reason !== DropReason.NONE) return reason
    if (!verifyTransport(frame, payloadStart, payloadEnd, src, dst, IpProtocol.TCP)) {
      return DropReason.TCP_BAD_CHECKSUM
    }
    this.#tcp.openings.linkMss = nic.linkMss(dst)
    // What was meant for another is taken where a connection knows it, and never refused: the other may be the true owner.
    const { srcPort, dstPort } = this.#segment
    const serves =
      this.scope === null
        ? ethernet.dst === nic.mac
        : this.scope.serves(dst, dstPort, src, srcPort, ethernet.dst)
    const quiet = !serves || this.#quiet.has(dst)
    this.#tcp.receive(this.#segment, dst, src, now, quiet)
    return DropReason.NONE
  }

  /** The peer of the datagram that was `quoted` cannot be reached; `error` says how, empty: nothing that anybody must know. */
  handleUnreachable(quoted: QuotedDatagram, error: string): DropReason {
    if (error === '') return DropReason.NONE
    const { src, srcPort, dst, dstPort, protocol } = quoted
    if (protocol === IpProtocol.TCP) {
      const at = quoted.seq as Seq
      const believed = this.#tcp.errors.handleUnreachable(src, srcPort, dst, dstPort, at, error)
      return believed ? DropReason.NONE : DropReason.ICMP_REFUSED
    }
    if (protocol === IpProtocol.UDP) this.#udp.handleUnreachable(src, srcPort, dst, dstPort, error)
    return DropReason.NONE
  }

  /**
   * The datagram that was `quoted` was longer than the `mtu` of a link on its way, which carries no less than `least`. UDP leaves
   * cutting to routers, or to its sender.
   */
  handlePathMtu(quoted: QuotedDatagram, mtu: number, least: number, now: Millis): DropReason {
    const { src, srcPort, dst, dstPort, seq, protocol, totalLength } = quoted
    if (protocol !== IpProtocol.TCP) return DropReason.NONE
    // What fitted is no news.
    if (mtu < least || mtu >= totalLength) return DropReason.ICMP_REFUSED
    const mss = mtu - ipHeaderLength(src) - TCP_HEADER_LENGTH
    return this.#tcp.errors.handlePathMss(src, srcPort, dst, dstPort, seq as Seq, mss, now)
      ? DropReason.NONE
      : DropReason.ICMP_REFUSED
  }
}
