// hot path: no allocation per frame
/**
 * Tcp: all connections and listeners of a stack. Segments come in with the addresses they were sent between and go out with
 * those they are to be sent between; it knows no IP header, no link, no clock.
 */

import { type DropCounters, DropReason } from '../base/counters.js'
import { DeadlineHeap } from '../base/deadline-heap.js'
import { StackError } from '../base/errors.js'
import { Pile } from '../base/pile.js'
import type { Seq } from '../base/seq.js'
import type { SipKey } from '../base/siphash.js'
import type { Millis, Rng } from '../base/time.js'
import type { Frame } from '../wire/frame.js'
import { ACK, FIN, RST, type Segment, SYN } from '../wire/tcp.js'
import type { CongestionAlgorithm } from './congestion/congestion-control.js'
import { Connection, ConnectionEvent, type ConnectionOptions } from './connection.js'
import { Demux } from './demux.js'
import { Effect } from './effects.js'
import type { EcnUse } from './handshake.js'
import { initialSequenceNumber, initialTimestampOffset } from './iss.js'
import { DEFAULT_BACKLOG, TcpListener } from './listener.js'
import { NetworkErrors } from './network-errors.js'
import { ResetQueue } from './reset-queue.js'
import { TcpState } from './state.js'
import { newBuffers, openPassive, Tcb, type TcbParts } from './tcb.js'
import { TouchedQueue } from './touched-queue.js'

/** Segments of one connection in a row before the next connection has its turn; a super-frame counts as so many. */
const BURST = 16
const SUPER_FRAME_WEIGHT = 4
// RFC 6056: the range of ephemeral ports.
const FIRST_EPHEMERAL = 32_768
const EPHEMERAL_COUNT = 28_232

/** Limits and secrets of a Tcp. */
export interface TcpOptions {
  /** Octets an application may leave unread, per connection. */
  readonly receiveLimit: number
  /** Octets that may wait to be acknowledged, per connection. */
  readonly sendLimit: number
  readonly maxConnections: number
  readonly congestion: CongestionAlgorithm
  readonly ecn: EcnUse
  /** Shared by all nodes of a cluster. */
  readonly secret: SipKey
}

export class Tcp {
  readonly demux = new Demux()
  readonly drops: DropCounters
  readonly errors: NetworkErrors
  /** Addresses between which the segment of the last successful `pollSegment` is to be sent. */
  outLocal = 0
  outRemote = 0
  /** Routers may cut that segment into fragments. */
  outFragmentable = false
  readonly #options: TcpOptions
  readonly #rng: Rng
  readonly #heap = new DeadlineHeap<Connection>()
  readonly #touched = new TouchedQueue()
  readonly #ready = new Pile<Connection>()
  readonly #accepting: TcpListener[] = []
  readonly #unclaimed: Connection[] = []
  readonly #resets = new ResetQueue()
  #transmit: (Connection | null)[] = []
  #transmitHead = 0
  #transmitTail = 0
  #burst = 0

  constructor(options: TcpOptions, rng: Rng, drops: DropCounters) {
    this.#options = options
    this.#rng = rng
    this.drops = drops
    this.errors = new NetworkErrors(this.demux, this.#touched)
  }

  /** Passive open. Promoted connections that wait for this endpoint are the first to be accepted (P9). */
  // allocates: once per listener
  listen(address: number, port: number, backlog: number = DEFAULT_BACKLOG): TcpListener {
    if (this.demux.listenerAt(address, port) !== null) {
      throw new StackError(
        'EADDRINUSE',
        `port ${port} is in use: close the server that listens on it, or choose another port`,
      )
    }
    const listener = new TcpListener(address, port, backlog)
    this.demux.addListener(listener)
    for (let i = this.#unclaimed.length - 1; i >= 0; i--) {
      const connection = this.#unclaimed[i] as Connection
      if (this.demux.findListener(connection.localAddress, connection.localPort) !== listener)
        continue
      this.#unclaimed.splice(i, 1)
      this.#claim(listener, connection)
    }
    return listener
  }

  /** Ends a passive open. Connections that nobody accepted are reset, as the peers would wait in vain. */
  closeListener(listener: TcpListener): void {
    listener.closed = true
    this.demux.removeListener(listener)
    for (let next = listener.accept(); next !== null; next = listener.accept()) next.abort()
  }

  /** Active open: the SYN leaves at the next poll. `localPort` 0 asks for an ephemeral one. */
  // allocates: once per connection
  connect(
    local: number,
    localPort: number,
    remote: number,
    remotePort: number,
    linkMss: number,
    now: Millis,
  ): Connection {
    if (this.demux.size >= this.#options.maxConnections) {
      throw new StackError('ENOBUFS', `more than ${this.#options.maxConnections} connections`)
    }
    const port = localPort === 0 ? this.#ephemeralPort(local, remote, remotePort) : localPort
    if (this.demux.find(local, port, remote, remotePort) !== undefined) {
      throw new StackError('EADDRINUSE', `local port ${port} already has a connection to this peer`)
    }
    const connection = this.#make(local, port, remote, remotePort, linkMss, now)
    connection.open()
    return connection
  }

  /**
   * Promotion: makes what a shadow overheard a live connection. It goes to the listener of its endpoint, or waits for one;
   * segments are acknowledged and sent again meanwhile, as promotion never waits for the application. Without a `resumption`
   * no application is needed any more, and only the protocol is finished.
   */
  adopt(
    parts: TcbParts,
    local: number,
    localPort: number,
    remote: number,
    remotePort: number,
    linkMss: number,
    now: Millis,
    inputOffset: number,
    outputOffset: number,
    resumption: unknown,
  ): Connection {
    const options = this.#connectionOptions(local, localPort, remote, remotePort, linkMss, now)
    const connection = new Connection(parts, options, this.#touched)
    this.#place(connection, local, localPort, remote, remotePort)
    connection.resumption = resumption
    connection.adopt(inputOffset, outputOffset, now)
    const listener = this.demux.findListener(local, localPort)
    if (resumption === null) connection.orphan(now)
    else if (listener === null) this.#unclaimed.push(connection)
    else this.#claim(listener, connection)
    return connection
  }

  // A promoted connection has found its listener: it is accepted at once, or when its handshake is complete.
  #claim(listener: TcpListener, connection: Connection): void {
    if (connection.released) return
    if (connection.state >= TcpState.ESTABLISHED) {
      this.#offer(listener, connection)
      return
    }
    connection.listener = listener
    listener.embryonic++
  }

  /** Demotion: takes the connection out of the stack. Its application is told that it is closed here. */
  release(connection: Connection): TcbParts {
    this.#leaveBacklog(connection)
    this.demux.remove(connection)
    this.#heap.set(connection, Number.POSITIVE_INFINITY)
    const waiting = this.#unclaimed.indexOf(connection)
    if (waiting >= 0) this.#unclaimed.splice(waiting, 1)
    connection.released = true
    connection.events |= ConnectionEvent.CLOSED
    return connection.release()
  }

  /** Takes one segment sent from `remote` to `local`. With `quiet` nothing is answered that belongs to no connection. */
  receive(seg: Segment, local: number, remote: number, now: Millis, quiet: boolean): void {
    let connection = this.demux.find(local, seg.dstPort, remote, seg.srcPort)
    if (connection !== undefined) {
      const effects = connection.receive(seg, now)
      if ((effects & Effect.REOPEN) === 0) {
        if ((effects & Effect.REPLY_RST) !== 0) this.#replyRst(seg, local, remote)
        if ((effects & Effect.DROPPED) !== 0) this.drops.count(DropReason.TCP_UNACCEPTABLE)
        this.#handleHandshake(connection, effects)
        return
      }
      this.#forget(connection)
    }
    if (quiet) {
      this.drops.count(DropReason.TCP_QUIET)
      return
    }
    const listener = this.demux.findListener(local, seg.dstPort)
    if (listener === null) {
      this.drops.count(DropReason.TCP_NO_CONNECTION)
      if (!seg.has(RST)) this.#replyRst(seg, local, remote)
      return
    }
    // RFC 9293 §3.10.7.2: first RST, second ACK, third SYN.
    if (seg.has(RST)) {
      this.drops.count(DropReason.TCP_NO_CONNECTION)
      return
    }
    if (seg.has(ACK)) {
      this.drops.count(DropReason.TCP_NO_CONNECTION)
      this.#replyRst(seg, local, remote)
      return
    }
    if (!seg.has(SYN) || seg.has(FIN)) {
      this.drops.count(DropReason.TCP_BAD_FLAGS)
      return
    }
    connection = this.#openPassive(listener, seg, local, remote, now)
  }

  #openPassive(
    listener: TcpListener,
    seg: Segment,
    local: number,
    remote: number,
    now: Millis,
  ): Connection | undefined {
    if (listener.full) {
      this.drops.count(DropReason.TCP_BACKLOG_FULL)
      const oldest = listener.giveWay(now)
      if (oldest === null) return undefined
      this.#leaveBacklog(oldest)
      oldest.fail('')
    }
    if (this.demux.size >= this.#options.maxConnections) {
      this.drops.count(DropReason.TCP_CONNECTION_LIMIT)
      return undefined
    }
    const connection = this.#make(local, seg.dstPort, remote, seg.srcPort, this.linkMss, now)
    openPassive(connection.tcb)
    connection.listener = listener
    listener.begin(connection, now)
    connection.receive(seg, now)
    return connection
  }

  /** Octets of text per segment on the link that a SYN came from; set by the stack before `receive`. */
  linkMss = 1460

  /** Octets of text of a segment that the device cuts; 0 when it cuts none. Set by the stack. */
  maxText = 0

  // A passive connection leaves the backlog when its handshake completes, or when it fails before.
  #handleHandshake(connection: Connection, effects: number): void {
    const listener = connection.listener as TcpListener | null
    if (listener === null || (effects & (Effect.ESTABLISHED | Effect.RESET)) === 0) return
    connection.listener = null
    if (listener.embryonic > 0) listener.embryonic--
    if ((effects & Effect.RESET) !== 0) return
    if (listener.closed) connection.abort()
    else this.#offer(listener, connection)
  }

  #offer(listener: TcpListener, connection: Connection): void {
    listener.enqueue(connection)
    this.#accepting.push(listener)
  }

  /** A listener that has a connection to accept, or null: accept all it has. */
  pollAccept(): TcpListener | null {
    return this.#accepting.shift() ?? null
  }

  /** A connection with news in `events`, or null. The caller takes the bits. */
  pollReady(): Connection | null {
    this.#settle()
    return this.#ready.pop() ?? null
  }

  /** Fills `seg` and `frame` with the next segment to send; its addresses are in `outLocal` and `outRemote`. */
  pollSegment(seg: Segment, frame: Frame, now: Millis): boolean {
    this.#settle()
    if (this.#resets.poll(seg)) {
      frame.reset()
      this.outLocal = this.#resets.local
      this.outRemote = this.#resets.remote
      this.outFragmentable = false
      return true
    }
    while (this.#transmitHead < this.#transmitTail) {
      const connection = this.#transmit[this.#transmitHead] as Connection
      if (!connection.released && connection.pollSegment(seg, frame, now, this.maxText)) {
        this.outLocal = connection.localAddress
        this.outRemote = connection.remoteAddress
        this.outFragmentable = connection.sender.path?.fragmentable === true
        this.#burst += frame.gsoSize > 0 ? SUPER_FRAME_WEIGHT : 1
        if (this.#burst >= BURST) this.#rotate(connection)
        return true
      }
      this.#burst = 0
      this.#transmit[this.#transmitHead++] = null
      connection.transmitQueued = false
      this.#afterTurn(connection)
    }
    this.#transmitHead = 0
    this.#transmitTail = 0
    return false
  }

  #rotate(connection: Connection): void {
    this.#burst = 0
    this.#transmit[this.#transmitHead++] = null
    this.#transmit[this.#transmitTail++] = connection
    if (this.#transmitHead < 1024) return
    this.#transmit = this.#transmit.slice(this.#transmitHead, this.#transmitTail)
    this.#transmitTail = this.#transmit.length
    this.#transmitHead = 0
  }

  // What was touched since the last call: new deadlines, news for the application, a place in the line to transmit.
  #settle(): void {
    for (let item = this.#touched.pop(); item !== undefined; item = this.#touched.pop()) {
      if (item.events !== 0) this.#ready.push(item)
      if (item.released) continue
      this.#heap.set(item, item.nextDeadline())
      if (item.transmitQueued) continue
      item.transmitQueued = true
      this.#transmit[this.#transmitTail++] = item
    }
  }

  #afterTurn(connection: Connection): void {
    if (connection.released) return
    if (connection.closed) this.#forget(connection)
    else this.#heap.set(connection, connection.nextDeadline())
  }

  #leaveBacklog(connection: Connection): void {
    const listener = connection.listener as TcpListener | null
    if (listener !== null && listener.embryonic > 0) listener.embryonic--
    connection.listener = null
  }

  #forget(connection: Connection): void {
    this.#leaveBacklog(connection)
    connection.released = true
    this.demux.remove(connection)
    this.#heap.set(connection, Number.POSITIVE_INFINITY)
  }

  handleTimeout(now: Millis): void {
    this.#settle()
    for (let first = this.#heap.peek(); first !== undefined; first = this.#heap.peek()) {
      if (first.deadline > now) return
      first.handleTimeout(now)
      this.#heap.set(first, first.nextDeadline())
    }
  }

  nextDeadline(): Millis {
    this.#settle()
    return this.#heap.nextDeadline()
  }

  /** Queues <SEQ=seq><CTL=RST>. Dropped and counted when too many wait. */
  sendReset(local: number, localPort: number, remote: number, remotePort: number, seq: Seq): void {
    if (!this.#resets.add(local, localPort, remote, remotePort, seq)) {
      this.drops.count(DropReason.TCP_CHALLENGE_RATE_LIMITED)
    }
  }

  #replyRst(seg: Segment, local: number, remote: number): void {
    if (!this.#resets.addReply(seg, local, remote)) {
      this.drops.count(DropReason.TCP_CHALLENGE_RATE_LIMITED)
    }
  }

  // allocates: once per connection
  #make(
    local: number,
    localPort: number,
    remote: number,
    remotePort: number,
    linkMss: number,
    now: Millis,
  ): Connection {
    const options = this.#connectionOptions(local, localPort, remote, remotePort, linkMss, now)
    const buffers = newBuffers(2 * options.receiveLimit, 2 * options.sendLimit)
    const connection = new Connection({ tcb: new Tcb(), buffers }, options, this.#touched)
    this.#place(connection, local, localPort, remote, remotePort)
    return connection
  }

  #place(
    c: Connection,
    local: number,
    localPort: number,
    remote: number,
    remotePort: number,
  ): void {
    c.localAddress = local
    c.localPort = localPort
    c.remoteAddress = remote
    c.remotePort = remotePort
    this.demux.add(c)
  }

  #connectionOptions(
    local: number,
    localPort: number,
    remote: number,
    remotePort: number,
    linkMss: number,
    now: Millis,
  ): ConnectionOptions {
    const { receiveLimit, sendLimit, congestion, ecn, secret } = this.#options
    // allocates: once per connection
    return {
      linkMss,
      pathMss: this.errors.paths.mssTo(remote, now),
      receiveLimit,
      sendLimit,
      congestion,
      ecn,
      iss: initialSequenceNumber(secret, local, localPort, remote, remotePort, now),
      tsOffset: initialTimestampOffset(secret, local, localPort, remote, remotePort),
    }
  }

  // RFC 6056 §3.3.1, random: tries the whole range once from a random start.
  #ephemeralPort(local: number, remote: number, remotePort: number): number {
    const start = this.#rng.u32() % EPHEMERAL_COUNT
    for (let i = 0; i < EPHEMERAL_COUNT; i++) {
      const port = FIRST_EPHEMERAL + ((start + i) % EPHEMERAL_COUNT)
      if (this.demux.find(local, port, remote, remotePort) !== undefined) continue
      if (this.demux.findListener(local, port) === null) return port
    }
    throw new StackError('EADDRNOTAVAIL', 'no ephemeral port is free towards this peer')
  }
}
