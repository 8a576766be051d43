// hot path: no allocation per frame
/**
 * Stack: joins links, IP, ICMP, UDP and TCP. Frames go in by `receive`, frames come out by `pollTransmit`, time goes in by
 * `handleTimeout`; in between nothing happens. It knows no clock, no promise and no callback but the NIC's snoop hook.
 */
import { DropCounters, DropReason } from './base/counters.js'
import { StackError } from './base/errors.js'
import type { Seq } from './base/seq.js'
import type { SipKey } from './base/siphash.js'
import type { Millis, Rng } from './base/time.js'
import { IpInput } from './ip-input.js'
import { IpOutput } from './net/ip-output.js'
import { Nic, type NicConfig } from './net/nic.js'
import { MAX_UDP_DATA, Udp, type UdpSocket } from './net/udp.js'
import { departureTo, UdpOutput } from './net/udp-output.js'
import type { CongestionAlgorithm } from './tcp/congestion/congestion-control.js'
import type { Connection } from './tcp/connection.js'
import type { EcnUse } from './tcp/handshake.js'
import type { TcpListener } from './tcp/listener.js'
import { DEFAULT_BACKLOG } from './tcp/listener.js'
import { TcpState } from './tcp/state.js'
import type { Tcb, TcbParts } from './tcp/tcb.js'
import { Tcp } from './tcp/tcp.js'
import type { ServiceScope } from './transport-input.js'
import { sealTransport } from './wire/checksum.js'
import { EthernetHeader, parseEthernet } from './wire/ethernet.js'
import { Frame } from './wire/frame.js'
import { type IpAddress, isMulticast, UNSPECIFIED } from './wire/ip-address.js'
import { IpProtocol } from './wire/ipv4.js'
import { emitTcp, Segment, TCP_CHECKSUM_OFFSET } from './wire/tcp.js'

export const DEFAULT_RECEIVE_LIMIT = 3 * 1024 * 1024
export const DEFAULT_SEND_LIMIT = 2 * 1024 * 1024
export const DEFAULT_MAX_CONNECTIONS = 200_000
/** Octets of text of a super-frame at most: the length of a datagram less the largest headers. */
export const MAX_SUPER_TEXT = 65_535 - 40 - 60

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
  readonly localAddress: IpAddress
  readonly localPort: number
  readonly remoteAddress: IpAddress
  readonly remotePort: number
}

export class Stack {
  readonly drops = new DropCounters()
  readonly tcp: Tcp
  readonly udp: Udp
  /** The NIC that the frame of the last successful `pollTransmit` leaves by. */
  txNic: Nic | null = null
  readonly #nics: Nic[] = []
  readonly #ipOut: IpOutput
  readonly #udpOut: UdpOutput
  readonly #input: IpInput
  readonly #ethernet = new EthernetHeader()
  readonly #out = new Segment()
  readonly #tx = new Frame()

  constructor(options: StackOptions) {
    this.#ipOut = new IpOutput(options.rng)
    this.#udpOut = new UdpOutput(this.#ipOut)
    this.udp = new Udp(options.rng)
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
    this.#input = new IpInput(this.tcp, this.udp, this.#ipOut, this.drops)
  }

  get nics(): readonly Nic[] {
    return this.#nics
  }

  addNic(config: NicConfig): Nic {
    const nic = new Nic(config, this.drops)
    this.#nics.push(nic)
    // Which NIC a segment leaves by is known when it is built already, so all of them must be able to cut it.
    // allocates: once per NIC
    const cuts = this.#nics.every((each) => each.offload.tso && each.offload.checksum)
    this.tcp.maxText = cuts ? MAX_SUPER_TEXT : 0
    return nic
  }

  /** Takes one frame from a link. `frame` is borrowed. */
  receive(nic: Nic, frame: Frame, now: Millis): void {
    const ethernet = this.#ethernet
    let reason: DropReason = parseEthernet(ethernet, frame)
    // Another VLAN is another network: its addresses may be the same as ours.
    if (reason === DropReason.NONE && !nic.takesTag(ethernet.tag)) {
      reason = DropReason.ETHERNET_OTHER_VLAN
    }
    if (reason === DropReason.NONE) {
      if (nic.snoop !== null) nic.snoop.onFrame(frame, ethernet, now)
      reason = this.#input.receive(nic, frame, ethernet, now)
    }
    if (reason !== DropReason.NONE) this.drops.count(reason)
  }

  /**
   * The next frame to send, borrowed until the next call, or null. It leaves by `txNic`. A frame that must wait for its
   * neighbour's address is kept by the NIC and comes later. `lent` is a frame of the device, at least as large as the MTU
   * and, with segmentation offload, as a super-frame: a segment of TCP is built in it, so that nobody copies it again.
   */
  pollTransmit(now: Millis, lent: Frame | null = null): Frame | null {
    // What leaves may have asked for a neighbour, so the NICs have their say before and after.
    return (
      this.#pollNics(now) ??
      this.#pollTcp(now, lent ?? this.#tx) ??
      this.#pollUdp(now) ??
      this.#pollNics(now)
    )
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

  #pollTcp(now: Millis, tx: Frame): Frame | null {
    const seg = this.#out
    while (this.tcp.pollSegment(seg, tx, now)) {
      const src = this.tcp.outLocal as IpAddress
      const dst = this.tcp.outRemote as IpAddress
      const nic = this.#nicFor(src)
      if (nic === null) {
        this.drops.count(DropReason.EGRESS_NOT_ASSIGNED)
        continue
      }
      emitTcp(seg, tx)
      sealTransport(tx, src, dst, IpProtocol.TCP, TCP_CHECKSUM_OFFSET, nic.offload.checksum)
      this.#emitIp(tx, src, dst, seg.ecn)
      if (this.tcp.outUnanswered) nic.hops.doubt(dst, now)
      if (!nic.egress(tx, src, dst, now)) continue
      this.txNic = nic
      return tx
    }
    return null
  }

  #emitIp(tx: Frame, src: IpAddress, dst: IpAddress, ecn: number): void {
    const { outDscp, outHopLimit, outFragmentable } = this.tcp
    const trafficClass = (outDscp << 2) | ecn
    this.#ipOut.emit(tx, src, dst, IpProtocol.TCP, trafficClass, outHopLimit, outFragmentable)
  }

  #pollUdp(now: Millis): Frame | null {
    for (let next = this.udp.pollOutgoing(); next !== null; next = this.udp.pollOutgoing()) {
      const nic = this.#nicFor(next.src)
      if (nic === null) {
        this.drops.count(DropReason.EGRESS_NOT_ASSIGNED)
        continue
      }
      if (this.#udpOut.depart(next, nic, this.#tx, now)) {
        this.txNic = nic
        return this.#tx
      }
      // Fragments leave before the next datagram is cut, so that one always finds the queue empty.
      const queued = this.#pollNics(now)
      if (queued !== null) return queued
    }
    return null
  }

  // The NIC that has the address; it leaves the stack only where it is assigned.
  #nicFor(address: IpAddress): Nic | null {
    for (let i = 0; i < this.#nics.length; i++) {
      const nic = this.#nics[i] as Nic
      if (nic.isAssigned(address)) return nic
    }
    return null
  }

  /** Acts on every timer that is due. */
  handleTimeout(now: Millis): void {
    for (let i = 0; i < this.#nics.length; i++) this.#failNeighbors(this.#nics[i] as Nic, now)
    this.#input.handleTimeout(this.#nics, now)
    this.tcp.handleTimeout(now)
  }

  // RFC 1122 §2.4: a connection that is being opened by way of a neighbour that does not exist has nothing to wait for.
  #failNeighbors(nic: Nic, now: Millis): void {
    for (let hop = nic.pollFailure(now); hop !== UNSPECIFIED; hop = nic.pollFailure(now)) {
      for (const connection of this.tcp.demux.connections()) {
        if (connection.state !== TcpState.SYN_SENT) continue
        if (!nic.isAssigned(connection.localAddress as IpAddress)) continue
        if (nic.routes.nextHop(connection.remoteAddress as IpAddress) !== hop) continue
        connection.fail('EHOSTUNREACH')
      }
      const lost = hop
      // allocates: once per neighbour that is given up
      this.udp.handleLostNeighbor((peer) => nic.routes.nextHop(peer) === lost)
    }
  }

  /** When `handleTimeout` or `pollTransmit` has something to do; NEVER when only input can change anything. */
  nextDeadline(): Millis {
    let earliest = Math.min(this.tcp.nextDeadline(), this.#input.nextDeadline())
    for (let i = 0; i < this.#nics.length; i++) {
      earliest = Math.min(earliest, (this.#nics[i] as Nic).nextDeadline())
    }
    return earliest
  }

  /** A connection with news in its `events`, or null. */
  pollReady(): Connection | null {
    return this.tcp.pollReady()
  }

  /** A UDP socket with news in its `events`, or null. */
  pollDatagrams(): UdpSocket | null {
    return this.udp.pollReady()
  }

  /** A listener with connections to accept, or null. */
  pollAccept(): TcpListener | null {
    return this.tcp.openings.pollAccept()
  }

  /** Passive open on `address`, or on any address of the stack when it is 0. Throws EADDRINUSE. */
  listen(address: IpAddress, port: number, backlog: number = DEFAULT_BACKLOG): TcpListener {
    return this.tcp.openings.listen(address, port, backlog)
  }

  closeListener(listener: TcpListener): void {
    this.tcp.openings.closeListener(listener)
  }

  /**
   * Active open. Without `localAddress` the first assigned address with a route to the peer is taken. `iss` marks one of a pair: see
   * {@link pairedIss}.
   */
  connect(
    remoteAddress: IpAddress,
    remotePort: number,
    now: Millis,
    localAddress: IpAddress | null = null,
    localPort = 0,
    iss: Seq | null = null,
  ): Connection {
    const from = departureTo(this.#nics, remoteAddress, localAddress)
    // RFC 9293 §3.9.2.3 (MUST-57): a connection has one host at each end.
    if (from === null || from.nic.isGroup(remoteAddress)) {
      throw new StackError('ENETUNREACH', 'no assigned address has a route to the peer')
    }
    const { nic, address } = from
    return this.tcp.openings.connect(
      address,
      localPort,
      remoteAddress,
      remotePort,
      nic.linkMss(address),
      now,
      iss,
    )
  }

  /** The ISS that pairs a connection with the client's one, which has these ends and this Tcb. */
  pairedIss(ends: Endpoints, tcb: Tcb): Seq {
    const { localAddress, localPort, remoteAddress, remotePort } = ends
    return this.tcp.openings.pairedIss(localAddress, localPort, remoteAddress, remotePort, tcb)
  }

  /**
   * Sends `data`, which is copied, from a socket of `udp`. A datagram for one of our own addresses is delivered at once. Throws
   * EMSGSIZE, ENETUNREACH, ENOBUFS, and EACCES for a broadcast by a socket that may not.
   */
  sendDatagram(socket: UdpSocket, data: Uint8Array, address: IpAddress, port: number): void {
    const local = socket.localAddress === UNSPECIFIED ? null : socket.localAddress
    const own = this.#nicFor(address)
    if (own !== null && data.length <= MAX_UDP_DATA) {
      const src = local ?? address
      const reason = this.udp.deliver(data.slice(), src, socket.localPort, address, port, false)
      if (reason !== DropReason.NONE) this.drops.count(reason)
      if (reason !== DropReason.UDP_NO_PORT) return
      this.udp.handleUnreachable(src, socket.localPort, address, port, 'ECONNREFUSED')
      return
    }
    const from = departureTo(this.#nics, address, local)
    if (from === null) {
      throw new StackError('ENETUNREACH', 'no assigned address has a route to the peer')
    }
    if (!socket.broadcast && from.nic.isGroup(address) && !isMulticast(address)) {
      throw new StackError('EACCES', 'allow broadcasts on this socket first')
    }
    this.udp.send(socket, data, from.address, address, port)
  }

  /** Promotion of what a shadow overheard: see {@link Openings.adopt}. */
  adopt(
    parts: TcbParts,
    nic: Nic,
    ends: Endpoints,
    now: Millis,
    inputOffset: number,
    outputOffset: number,
    resumption: unknown,
    orderly = false,
  ): Connection {
    const { localAddress, localPort, remoteAddress, remotePort } = ends
    return this.tcp.openings.adopt(
      parts,
      localAddress,
      localPort,
      remoteAddress,
      remotePort,
      nic.linkMss(localAddress),
      now,
      inputOffset,
      outputOffset,
      resumption,
      orderly,
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

  /** Which of the connections of its addresses this host serves; null, as at first: all. */
  setScope(scope: ServiceScope | null): void {
    this.#input.scope = scope
  }

  /** While quiet, segments to `address` that belong to no connection are absorbed, never answered by RST. */
  setQuiet(address: IpAddress, quiet: boolean): void {
    this.#input.setQuiet(address, quiet)
  }
}
