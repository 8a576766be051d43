// hot path: no allocation per frame
/**
 * Stack: joins links, IP, ICMP and TCP. Frames go in by `receive`, frames come out by `pollTransmit`, time goes in by
 * `handleTimeout`; in between nothing happens. It knows no clock, no promise and no callback but the NIC's snoop hook.
 */
import { DropCounters, DropReason } from './base/counters.js'
import { StackError } from './base/errors.js'
import type { Seq } from './base/seq.js'
import type { SipKey } from './base/siphash.js'
import type { Millis, Rng } from './base/time.js'
import {
  emitEchoReply,
  emitPortUnreachable,
  emitProtocolUnreachable,
  mayReportError,
  parseQuotedDatagram,
  QuotedDatagram,
  TokenBucket,
} from './net/icmp.js'
import { Destination, destinationKind, Ipv4Output, receiveIpv4 } from './net/ipv4.js'
import { Nic, type NicConfig } from './net/nic.js'
import type { CongestionAlgorithm } from './tcp/congestion/congestion-control.js'
import type { Connection, EcnUse } from './tcp/connection.js'
import type { TcpListener } from './tcp/listener.js'
import { DEFAULT_BACKLOG } from './tcp/listener.js'
import type { TcbParts } from './tcp/tcb.js'
import { Tcp } from './tcp/tcp.js'
import { sealTransport, verifyTransport } from './wire/checksum.js'
import { BROADCAST_MAC, EthernetHeader, EtherType, parseEthernet } from './wire/ethernet.js'
import { Frame } from './wire/frame.js'
import { IcmpMessage, IcmpType, isIcmpError, parseIcmpv4, UnreachableCode } from './wire/icmpv4.js'
import { IpProtocol, type Ipv4Address, Ipv4Header, isUnicast } from './wire/ipv4.js'
import { emitTcp, parseTcp, Segment, TCP_CHECKSUM_OFFSET } from './wire/tcp.js'

export const DEFAULT_RECEIVE_LIMIT = 1024 * 1024
export const DEFAULT_SEND_LIMIT = 2 * 1024 * 1024
export const DEFAULT_MAX_CONNECTIONS = 200_000

/** What a stack is made with. */
export interface StackOptions {
  readonly rng: Rng
  /** Key of RFC 6528's hash, 128 bits, the same on all nodes of a cluster. */
  readonly secret: SipKey
  /** Octets an application may leave unread, per connection. */
  readonly receiveLimit?: number
  /** Octets that may wait to be acknowledged, per connection. */
  readonly sendLimit?: number
  readonly maxConnections?: number
  /** CUBIC (RFC 9438) unless told otherwise. */
  readonly congestion?: CongestionAlgorithm
  /** Explicit congestion notification (RFC 3168): agreed to when a peer offers it, unless told otherwise. */
  readonly ecn?: EcnUse
}

/** Both ends of a connection, local first. */
export interface Endpoints {
  readonly localAddress: Ipv4Address
  readonly localPort: number
  readonly remoteAddress: Ipv4Address
  readonly remotePort: number
}

export class Stack {
  readonly drops = new DropCounters()
  readonly tcp: Tcp
  /** The NIC that the frame of the last successful `pollTransmit` leaves by. */
  txNic: Nic | null = null
  readonly #nics: Nic[] = []
  readonly #ipOut: Ipv4Output
  readonly #icmpBudget = new TokenBucket()
  readonly #ethernet = new EthernetHeader()
  readonly #ip = new Ipv4Header()
  readonly #icmp = new IcmpMessage()
  readonly #quoted = new QuotedDatagram()
  readonly #in = new Segment()
  readonly #out = new Segment()
  readonly #tx = new Frame()
  readonly #quiet = new Set<number>()

  constructor(options: StackOptions) {
    this.#ipOut = new Ipv4Output(options.rng)
    this.tcp = new Tcp(
      {
        receiveLimit: options.receiveLimit ?? DEFAULT_RECEIVE_LIMIT,
        sendLimit: options.sendLimit ?? DEFAULT_SEND_LIMIT,
        maxConnections: options.maxConnections ?? DEFAULT_MAX_CONNECTIONS,
        congestion: options.congestion ?? 'cubic',
        ecn: options.ecn ?? 'accept',
        secret: options.secret,
      },
      options.rng,
      this.drops,
    )
  }

  get nics(): readonly Nic[] {
    return this.#nics
  }

  addNic(config: NicConfig): Nic {
    const nic = new Nic(config, this.drops)
    this.#nics.push(nic)
    return nic
  }

  /** Takes one frame from a link. `frame` is borrowed. */
  receive(nic: Nic, frame: Frame, now: Millis): void {
    const ethernet = this.#ethernet
    let reason: DropReason = parseEthernet(ethernet, frame)
    if (reason === DropReason.NONE) {
      if (nic.snoop !== null) nic.snoop.onFrame(frame, ethernet, now)
      reason = this.#receiveLocal(nic, frame, ethernet, now)
    }
    if (reason !== DropReason.NONE) this.drops.count(reason)
  }

  #receiveLocal(nic: Nic, frame: Frame, ethernet: EthernetHeader, now: Millis): DropReason {
    if (ethernet.dst !== nic.mac && ethernet.dst !== BROADCAST_MAC) {
      return DropReason.ETHERNET_OTHER_MAC
    }
    // A priority tag names no VLAN; other tags belong to links that are not this one.
    if (ethernet.tag > 0 && (ethernet.tag & 0xfff) !== 0) return DropReason.ETHERNET_OTHER_MAC
    if (ethernet.etherType === EtherType.ARP) return nic.receiveArp(frame, ethernet, now)
    if (ethernet.etherType === EtherType.IPV4) return this.#receiveIpv4(nic, frame, ethernet, now)
    return ethernet.etherType === EtherType.EXPERIMENTAL
      ? DropReason.NONE
      : DropReason.ETHERNET_UNKNOWN_TYPE
  }

  #receiveIpv4(nic: Nic, frame: Frame, ethernet: EthernetHeader, now: Millis): DropReason {
    const ip = this.#ip
    const reason = receiveIpv4(ip, frame, ethernet.payloadStart, ethernet.payloadEnd)
    if (reason !== DropReason.NONE) return reason
    const own = nic.addressOf(ip.dst)
    if (own === undefined || own.state !== 'assigned') return DropReason.IPV4_NOT_OURS
    // RFC 1122 §3.2.1.3: nobody else has our address, and nobody is a broadcast address.
    if (
      ip.src === ip.dst ||
      destinationKind(ip.src, own.address, own.prefix) !== Destination.OTHER
    ) {
      return DropReason.IPV4_BAD_SOURCE
    }
    if (ip.isFragment) return DropReason.IPV4_FRAGMENT
    if (ip.protocol === IpProtocol.TCP) return this.#receiveTcp(nic, frame, ethernet, now)
    if (ip.protocol === IpProtocol.ICMP) return this.#receiveIcmp(nic, frame, now)
    this.#report(nic, frame, ethernet, now, ip.protocol === IpProtocol.UDP)
    return ip.protocol === IpProtocol.UDP
      ? DropReason.UDP_NO_PORT
      : DropReason.IPV4_UNKNOWN_PROTOCOL
  }

  #receiveTcp(nic: Nic, frame: Frame, ethernet: EthernetHeader, now: Millis): DropReason {
    const ip = this.#ip
    // RFC 9293 §3.9.2.3 (MUST-57): a segment to a group of hosts is dropped in silence.
    if (ethernet.dst !== nic.mac || !isUnicast(ip.dst)) return DropReason.TCP_NOT_UNICAST
    const reason = parseTcp(this.#in, frame, ip.payloadStart, ip.payloadEnd)
    if (reason !== DropReason.NONE) return reason
    this.#in.ecn = ip.ecn
    if (!verifyTransport(frame, ip.payloadStart, ip.payloadEnd, ip.src, ip.dst, IpProtocol.TCP)) {
      return DropReason.TCP_BAD_CHECKSUM
    }
    this.tcp.linkMss = nic.linkMss
    this.tcp.receive(this.#in, ip.dst, ip.src, now, this.#quiet.has(ip.dst))
    return DropReason.NONE
  }

  #receiveIcmp(nic: Nic, frame: Frame, now: Millis): DropReason {
    const ip = this.#ip
    const icmp = this.#icmp
    const reason = parseIcmpv4(icmp, frame.view, ip.payloadStart, ip.payloadEnd)
    if (reason !== DropReason.NONE) return reason
    if (icmp.type === IcmpType.ECHO_REQUEST) {
      const out = nic.newDatagram()
      if (out === null) return DropReason.NONE
      if (!emitEchoReply(out, frame, icmp)) nic.cancelDatagram()
      else this.#queue(nic, out, ip.dst, ip.src, now)
      return DropReason.NONE
    }
    if (!isIcmpError(icmp.type)) return DropReason.NONE
    const quoted = this.#quoted
    if (!parseQuotedDatagram(quoted, frame.view, icmp)) return DropReason.ICMP_MALFORMED
    if (icmp.type === IcmpType.DESTINATION_UNREACHABLE && quoted.protocol === IpProtocol.TCP) {
      const error = openError(icmp.code)
      if (error === '') return DropReason.NONE
      const { src, srcPort, dst, dstPort } = quoted
      this.tcp.handleUnreachable(src, srcPort, dst, dstPort, quoted.seq as Seq, error)
    }
    return DropReason.NONE
  }

  // ICMP unreachable about the datagram that was just parsed, within the rules of RFC 1122 §3.2.2 and the budget.
  #report(nic: Nic, frame: Frame, ethernet: EthernetHeader, now: Millis, port: boolean): void {
    const ip = this.#ip
    if (!mayReportError(ip, frame, ethernet.dst)) return
    if (!this.#icmpBudget.take(now)) {
      this.drops.count(DropReason.ICMP_RATE_LIMITED)
      return
    }
    const out = nic.newDatagram()
    if (out === null) return
    if (port) emitPortUnreachable(out, frame, ip)
    else emitProtocolUnreachable(out, frame, ip)
    this.#queue(nic, out, ip.dst, ip.src, now)
  }

  #queue(nic: Nic, frame: Frame, src: Ipv4Address, dst: Ipv4Address, now: Millis): void {
    this.#ipOut.emit(frame, src, dst, IpProtocol.ICMP)
    nic.queueDatagram(frame, src, dst, now)
  }

  /**
   * The next frame to send, borrowed until the next call, or null. It leaves by `txNic`. A frame that must wait for its
   * neighbour's address is kept by the NIC and comes later.
   */
  pollTransmit(now: Millis): Frame | null {
    // The segments of TCP may have asked for a neighbour, so the NICs have their say before and after.
    return this.#pollNics(now) ?? this.#pollTcp(now) ?? this.#pollNics(now)
  }

  #pollNics(now: Millis): Frame | null {
    for (let i = 0; i < this.#nics.length; i++) {
      const nic = this.#nics[i] as Nic
      const frame = nic.poll(now)
      if (frame !== null) {
        this.txNic = nic
        return frame
      }
    }
    return null
  }

  #pollTcp(now: Millis): Frame | null {
    const tx = this.#tx
    const seg = this.#out
    while (this.tcp.pollSegment(seg, tx, now)) {
      const src = this.tcp.outLocal as Ipv4Address
      const dst = this.tcp.outRemote as Ipv4Address
      const nic = this.#nicFor(src)
      if (nic === null) {
        this.drops.count(DropReason.EGRESS_NOT_ASSIGNED)
        continue
      }
      emitTcp(seg, tx)
      sealTransport(tx, src, dst, IpProtocol.TCP, TCP_CHECKSUM_OFFSET, nic.checksumOffload)
      this.#ipOut.emit(tx, src, dst, IpProtocol.TCP, seg.ecn)
      if (!nic.egress(tx, src, dst, now)) continue
      this.txNic = nic
      return tx
    }
    return null
  }

  // The NIC that has the address; it leaves the stack only where it is assigned.
  #nicFor(address: Ipv4Address): Nic | null {
    for (let i = 0; i < this.#nics.length; i++) {
      const nic = this.#nics[i] as Nic
      if (nic.isAssigned(address)) return nic
    }
    return null
  }

  /** Acts on every timer that is due. */
  handleTimeout(now: Millis): void {
    this.tcp.handleTimeout(now)
  }

  /** When `handleTimeout` or `pollTransmit` has something to do; NEVER when only input can change anything. */
  nextDeadline(): Millis {
    let earliest = this.tcp.nextDeadline()
    for (let i = 0; i < this.#nics.length; i++) {
      earliest = Math.min(earliest, (this.#nics[i] as Nic).nextDeadline())
    }
    return earliest
  }

  /** A connection with news in its `events`, or null. */
  pollReady(): Connection | null {
    return this.tcp.pollReady()
  }

  /** A listener with connections to accept, or null. */
  pollAccept(): TcpListener | null {
    return this.tcp.pollAccept()
  }

  /** Passive open on `address`, or on any address of the stack when it is 0. Throws EADDRINUSE. */
  listen(address: Ipv4Address, port: number, backlog: number = DEFAULT_BACKLOG): TcpListener {
    return this.tcp.listen(address, port, backlog)
  }

  closeListener(listener: TcpListener): void {
    this.tcp.closeListener(listener)
  }

  /** Active open. Without `localAddress` the first assigned address with a route to the peer is taken. */
  connect(
    remoteAddress: Ipv4Address,
    remotePort: number,
    now: Millis,
    localAddress: Ipv4Address | null = null,
    localPort = 0,
  ): Connection {
    for (const nic of this.#nics) {
      for (const own of nic.addresses()) {
        if (own.state !== 'assigned') continue
        if (localAddress !== null && own.address !== localAddress) continue
        if (nic.routes.nextHop(remoteAddress) === 0) continue
        return this.tcp.connect(own.address, localPort, remoteAddress, remotePort, nic.linkMss, now)
      }
    }
    throw new StackError('ENETUNREACH', 'no assigned address has a route to the peer')
  }

  /** Promotion of what a shadow overheard: see {@link Tcp.adopt}. */
  adopt(
    parts: TcbParts,
    nic: Nic,
    ends: Endpoints,
    now: Millis,
    inputOffset: number,
    outputOffset: number,
    resumption: unknown,
  ): Connection {
    const { localAddress, localPort, remoteAddress, remotePort } = ends
    return this.tcp.adopt(
      parts,
      localAddress,
      localPort,
      remoteAddress,
      remotePort,
      nic.linkMss,
      now,
      inputOffset,
      outputOffset,
      resumption,
    )
  }

  /** Demotion: takes a connection out of the stack and gives its Tcb and buffers to the caller. */
  release(connection: Connection): TcbParts {
    return this.tcp.release(connection)
  }

  /** Sends <SEQ=seq><CTL=RST> to the remote end, without a connection: the end of one that cannot be saved (S2). */
  reset(ends: Endpoints, seq: Seq): void {
    this.tcp.sendReset(ends.localAddress, ends.localPort, ends.remoteAddress, ends.remotePort, seq)
  }

  /** While quiet, segments to `address` that belong to no connection are absorbed, never answered by RST. */
  setQuiet(address: Ipv4Address, quiet: boolean): void {
    if (quiet) this.#quiet.add(address)
    else this.#quiet.delete(address)
  }
}

// What ICMP unreachable says about a connection that is being opened; empty when it says nothing against it.
function openError(code: number): string {
  if (code === UnreachableCode.FRAGMENTATION_NEEDED) return ''
  if (code === UnreachableCode.PORT || code === UnreachableCode.PROTOCOL) return 'ECONNREFUSED'
  return code === UnreachableCode.NETWORK ? 'ENETUNREACH' : 'EHOSTUNREACH'
}
