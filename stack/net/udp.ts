/**
 * Udp: the sockets of a stack (RFC 768, RFC 1122 §4.1): which of them a datagram is for, what waits to be read, and what waits
 * to leave. Both queues are bounded in octets. It knows no NIC: where datagrams leave is decided when they do.
 *
 * Of the sockets on a port the one bound to the most wins: to the sender, then to the address; of equals the youngest.
 */
import { DropReason } from '../base/counters.js'
import { StackError } from '../base/errors.js'
import type { Rng } from '../base/time.js'
import type { Frame } from '../wire/frame.js'
import {
  formatIpAddress,
  type IpAddress,
  isIpv4,
  isMulticast,
  UNSPECIFIED,
} from '../wire/ip-address.js'
import { DEFAULT_TTL, IPV4_HEADER_LENGTH } from '../wire/ipv4.js'
import { UDP_HEADER_LENGTH, type UdpHeader } from '../wire/udp.js'

/** Octets of data in a datagram at most. */
export const MAX_UDP_DATA = 65_535 - IPV4_HEADER_LENGTH - UDP_HEADER_LENGTH
/** Octets that may wait in each direction of a socket, unless it says otherwise. */
export const DEFAULT_UDP_BUFFER = 1024 * 1024
/** What a waiting datagram costs besides its data: without it, empty ones would cost nothing. */
const DATAGRAM_COST = 256
// RFC 6056: the range of ephemeral ports.
const FIRST_EPHEMERAL = 32_768
const EPHEMERAL_COUNT = 28_232

/** Bits of `UdpSocket.events`. */
export const UdpEvent = { READABLE: 1, ERROR: 2 } as const

/** A datagram that arrived. The data is the reader's. */
export interface ReceivedDatagram {
  readonly data: Uint8Array
  readonly address: IpAddress
  readonly port: number
}

/** A datagram that waits to leave. */
export interface OutgoingDatagram {
  readonly socket: UdpSocket
  readonly data: Uint8Array
  readonly src: IpAddress
  readonly srcPort: number
  readonly dst: IpAddress
  readonly dstPort: number
  readonly ttl: number
}

/** What a socket on every address of the stack takes and sends: datagrams of one family, or of both. */
export type UdpFamily = 'IPv4' | 'IPv6' | 'both'

/** One socket. Made by `Udp.bind`, closed by `Udp.close`. */
export class UdpSocket {
  /** UNSPECIFIED: on every address of the stack. */
  readonly localAddress: IpAddress
  readonly localPort: number
  readonly reuseAddress: boolean
  readonly family: UdpFamily
  /** The only peer, or UNSPECIFIED and 0: anybody. */
  remoteAddress: IpAddress = UNSPECIFIED
  remotePort = 0
  /** May send to broadcast addresses. */
  broadcast = false
  ttl = DEFAULT_TTL
  /** Of datagrams to groups, which as a rule stay on the link (RFC 1112 §6.1). */
  multicastTtl = 1
  receiveLimit = DEFAULT_UDP_BUFFER
  sendLimit = DEFAULT_UDP_BUFFER
  /** Who hears the news, as with connections. */
  context: unknown = null
  /** UdpEvent bits, taken by whoever polled. */
  events = 0
  /** What the network said about datagrams to the only peer: a code such as ECONNREFUSED, or empty. */
  error = ''
  closed = false
  /** What waits to leave; the data only. */
  sendQueueOctets = 0
  sendQueueCount = 0
  /** True while it is in line to be polled. */
  queued = false
  #received: ReceivedDatagram[] = []
  #next = 0
  #cost = 0

  constructor(
    localAddress: IpAddress,
    localPort: number,
    reuseAddress: boolean,
    family: UdpFamily = 'both',
  ) {
    this.family = family
    this.localAddress = localAddress
    this.localPort = localPort
    this.reuseAddress = reuseAddress
  }

  get connected(): boolean {
    return this.remotePort !== 0
  }

  /** The datagram that arrived first, or null. */
  receive(): ReceivedDatagram | null {
    const datagram = this.#received[this.#next]
    if (datagram === undefined) return null
    this.#cost -= datagram.data.length + DATAGRAM_COST
    if (++this.#next === this.#received.length) {
      this.#received = []
      this.#next = 0
    }
    return datagram
  }

  /** Called by Udp: keeps a datagram to be read. False: too much waits already. */
  offer(datagram: ReceivedDatagram): boolean {
    const cost = datagram.data.length + DATAGRAM_COST
    if (this.#cost > 0 && this.#cost + cost > this.receiveLimit) return false
    this.#cost += cost
    this.#received.push(datagram)
    return true
  }
}

export class Udp {
  readonly #rng: Rng
  readonly #ports = new Map<number, UdpSocket[]>()
  #ready: UdpSocket[] = []
  #outgoing: OutgoingDatagram[] = []
  #nextOutgoing = 0

  constructor(rng: Rng) {
    this.#rng = rng
  }

  /** Binds a socket; port 0 asks for an ephemeral one. Throws EADDRINUSE unless all on that port may share it. */
  bind(
    address: IpAddress,
    port: number,
    reuseAddress = false,
    family: UdpFamily = 'both',
  ): UdpSocket {
    const number = port === 0 ? this.#ephemeralPort(address, family) : port
    if (this.#isTaken(address, number, reuseAddress, family)) {
      throw new StackError(
        'EADDRINUSE',
        `UDP port ${number} is in use: close the socket that is bound to it, or choose another port`,
      )
    }
    const socket = new UdpSocket(address, number, reuseAddress, family)
    const others = this.#ports.get(number)
    if (others === undefined) this.#ports.set(number, [socket])
    else others.push(socket)
    return socket
  }

  /** What waits to leave leaves nonetheless; what waits to be read is lost. */
  close(socket: UdpSocket): void {
    socket.closed = true
    const sockets = this.#ports.get(socket.localPort)?.filter((other) => other !== socket) ?? []
    if (sockets.length > 0) this.#ports.set(socket.localPort, sockets)
    else this.#ports.delete(socket.localPort)
  }

  /**
   * Queues a copy of `data` to be sent from `src`. Throws EMSGSIZE when no datagram can be so long and ENOBUFS when too much
   * waits already.
   */
  send(socket: UdpSocket, data: Uint8Array, src: IpAddress, dst: IpAddress, port: number): void {
    if (data.length > MAX_UDP_DATA) {
      const text = `${data.length} octets are too many for a datagram: send at most ${MAX_UDP_DATA}`
      throw new StackError('EMSGSIZE', text)
    }
    const waiting = socket.sendQueueOctets + socket.sendQueueCount * DATAGRAM_COST
    if (waiting > 0 && waiting + data.length + DATAGRAM_COST > socket.sendLimit) {
      const text = `${socket.sendQueueOctets} octets wait to be sent already: send fewer at a time`
      throw new StackError('ENOBUFS', text)
    }
    socket.sendQueueOctets += data.length
    socket.sendQueueCount++
    this.#outgoing.push({
      socket,
      data: data.slice(),
      src,
      srcPort: socket.localPort,
      dst,
      dstPort: port,
      ttl: isMulticast(dst) ? socket.multicastTtl : socket.ttl,
    })
  }

  /** The next datagram to leave, or null. */
  pollOutgoing(): OutgoingDatagram | null {
    const next = this.#outgoing[this.#nextOutgoing]
    if (next === undefined) return null
    if (++this.#nextOutgoing === this.#outgoing.length) {
      this.#outgoing = []
      this.#nextOutgoing = 0
    }
    next.socket.sendQueueOctets -= next.data.length
    next.socket.sendQueueCount--
    return next
  }

  /** Takes the datagram `header` of `frame`, whose data is copied; `group`: it was sent to many hosts. */
  receive(
    header: UdpHeader,
    frame: Frame,
    src: IpAddress,
    dst: IpAddress,
    group: boolean,
  ): DropReason {
    if (!this.#ports.has(header.dstPort)) return DropReason.UDP_NO_PORT
    const data = frame.bytes.slice(header.payloadStart, header.payloadEnd)
    return this.deliver(data, src, header.srcPort, dst, header.dstPort, group)
  }

  /** Gives `data` to the socket it is for, or to all when it was sent to many hosts. It is not copied. */
  deliver(
    data: Uint8Array,
    src: IpAddress,
    srcPort: number,
    dst: IpAddress,
    dstPort: number,
    group: boolean,
  ): DropReason {
    let best: UdpSocket | null = null
    let bestRank = 0
    let reason: DropReason = DropReason.UDP_NO_PORT
    for (const socket of this.#ports.get(dstPort) ?? []) {
      const rank = rankOf(socket, src, srcPort, dst, group)
      if (rank === 0) continue
      if (group) reason = this.#offer(socket, { data: data.slice(), address: src, port: srcPort })
      if (rank < bestRank) continue
      best = socket
      bestRank = rank
    }
    if (group || best === null) return reason
    return this.#offer(best, { data, address: src, port: srcPort })
  }

  #offer(socket: UdpSocket, datagram: ReceivedDatagram): DropReason {
    if (!socket.offer(datagram)) return DropReason.UDP_QUEUE_FULL
    this.#touch(socket, UdpEvent.READABLE)
    return DropReason.NONE
  }

  /** An ICMP error about a datagram of ours: the connected socket that sent it is told. */
  handleUnreachable(
    src: IpAddress,
    srcPort: number,
    dst: IpAddress,
    dstPort: number,
    error: string,
  ): void {
    for (const socket of this.#ports.get(srcPort) ?? []) {
      if (socket.remoteAddress !== dst || socket.remotePort !== dstPort) continue
      if (socket.localAddress !== UNSPECIFIED && socket.localAddress !== src) continue
      socket.error = error
      this.#touch(socket, UdpEvent.ERROR)
    }
  }

  /** A neighbour was given up: sockets whose only peer is reached by way of it are told. */
  handleLostNeighbor(isBehind: (peer: IpAddress) => boolean): void {
    for (const sockets of this.#ports.values()) {
      for (const socket of sockets) {
        if (!socket.connected || !isBehind(socket.remoteAddress)) continue
        socket.error = 'EHOSTUNREACH'
        this.#touch(socket, UdpEvent.ERROR)
      }
    }
  }

  /** A socket with news in its `events`, or null. */
  pollReady(): UdpSocket | null {
    const socket = this.#ready.shift()
    if (socket === undefined) return null
    socket.queued = false
    return socket
  }

  #touch(socket: UdpSocket, event: number): void {
    socket.events |= event
    if (socket.queued) return
    socket.queued = true
    this.#ready.push(socket)
  }

  #isTaken(address: IpAddress, port: number, reuseAddress: boolean, family: UdpFamily): boolean {
    const sockets = this.#ports.get(port) ?? []
    return sockets.some(
      (other) =>
        overlaps(other.localAddress, other.family, address, family) &&
        !(reuseAddress && other.reuseAddress),
    )
  }

  // RFC 6056 §3.3.1, random: tries the whole range once from a random start.
  #ephemeralPort(address: IpAddress, family: UdpFamily): number {
    const start = this.#rng.u32() % EPHEMERAL_COUNT
    for (let i = 0; i < EPHEMERAL_COUNT; i++) {
      const port = FIRST_EPHEMERAL + ((start + i) % EPHEMERAL_COUNT)
      if (!this.#isTaken(address, port, false, family)) return port
    }
    const where = address === UNSPECIFIED ? 'this stack' : formatIpAddress(address)
    throw new StackError('EADDRINUSE', `every ephemeral UDP port of ${where} is in use`)
  }
}

/** True when datagrams to `address` are of the family. */
export function isOfFamily(address: IpAddress, family: UdpFamily): boolean {
  return family === 'both' || (family === 'IPv4') === isIpv4(address)
}

// True when some datagram could be for either of two places.
function overlaps(a: IpAddress, ofA: UdpFamily, b: IpAddress, ofB: UdpFamily): boolean {
  if (a !== UNSPECIFIED && b !== UNSPECIFIED) return a === b
  if (a !== UNSPECIFIED) return isOfFamily(a, ofB)
  if (b !== UNSPECIFIED) return isOfFamily(b, ofA)
  return ofA === ofB || ofA === 'both' || ofB === 'both'
}

// How well the socket fits the datagram; 0: it is not for this socket. A datagram to a group has no address of ours.
function rankOf(
  socket: UdpSocket,
  src: IpAddress,
  srcPort: number,
  dst: IpAddress,
  group: boolean,
): number {
  if (socket.connected && (socket.remoteAddress !== src || socket.remotePort !== srcPort)) return 0
  if (socket.localAddress === UNSPECIFIED) {
    if (!isOfFamily(dst, socket.family)) return 0
    return socket.connected ? 2 : 1
  }
  if (group || socket.localAddress !== dst) return 0
  return socket.connected ? 4 : 3
}
