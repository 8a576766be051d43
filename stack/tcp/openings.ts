// hot path: no allocation per frame
/**
 * Openings: how connections come to be: by a SYN to a listener (RFC 9293 §3.10.7.2), by an ACK that brings back a cookie, by an active
 * open (§3.10.1), by adopting what a shadow overheard. Here are the listeners, and the way from a handshake to `accept`.
 */
import { type DropCounters, DropReason } from '../base/counters.js'
import { StackError } from '../base/errors.js'
import { add, type Seq, ZERO } from '../base/seq.js'
import type { SipKey } from '../base/siphash.js'
import type { Millis, Rng } from '../base/time.js'
import { RST, type Segment } from '../wire/tcp.js'
import type { CongestionAlgorithm } from './congestion/congestion-control.js'
import { Connection, type ConnectionOptions } from './connection.js'
import type { Demux } from './demux.js'
import { Effect } from './effects.js'
import type { EcnUse } from './handshake.js'
import { initialSequenceNumber, initialTimestampOffset, pairedSequenceNumber } from './iss.js'
import { DEFAULT_BACKLOG, TcpListener } from './listener.js'
import type { PathTable } from './path-table.js'
import { isSynchronized, TcpState } from './state.js'
import { beginStrict } from './strict.js'
import { SynCookies } from './syn-cookies.js'
import { newBuffers, openPassive, Tcb, type TcbParts } from './tcb.js'
import type { TouchedQueue } from './touched-queue.js'

/** RFC 6056: the range of ephemeral ports. */
export const EPHEMERAL_PORTS = { first: 32_768, last: 60_999 } as const

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

export class Openings {
  /** Octets of text per segment on the link that a SYN came from; set by the stack before `Tcp.receive`. */
  linkMss = 1460
  /** Octets of input that a connection still has when its application has read them: `StreamBuffer.keep`. */
  keptInput = 0
  /** True for a local endpoint of which nothing is acknowledged before others have it (D2). */
  isStrict: (local: number, localPort: number) => boolean = () => false
  readonly cookies: SynCookies
  readonly #options: TcpOptions
  readonly #rng: Rng
  readonly #drops: DropCounters
  readonly #demux: Demux
  readonly #touched: TouchedQueue
  readonly #paths: PathTable
  readonly #accepting: TcpListener[] = []
  // Promoted connections whose endpoint has no listener yet.
  readonly #unclaimed: Connection[] = []

  constructor(
    options: TcpOptions,
    rng: Rng,
    drops: DropCounters,
    demux: Demux,
    touched: TouchedQueue,
    paths: PathTable,
  ) {
    this.#options = options
    this.#rng = rng
    this.#drops = drops
    this.#demux = demux
    this.#touched = touched
    this.#paths = paths
    this.cookies = new SynCookies(options, options.secret)
  }

  /** Passive open. Promoted connections that wait for this endpoint are the first to be accepted (P9). */
  // allocates: once per listener
  listen(address: number, port: number, backlog: number = DEFAULT_BACKLOG): TcpListener {
    if (this.#demux.listenerAt(address, port) !== null) {
      throw new StackError(
        'EADDRINUSE',
        `port ${port} is in use: close the server that listens on it, or choose another port`,
      )
    }
    const listener = new TcpListener(address, port, backlog)
    this.#demux.addListener(listener)
    for (let i = this.#unclaimed.length - 1; i >= 0; i--) {
      const connection = this.#unclaimed[i] as Connection
      if (this.#demux.findListener(connection.localAddress, connection.localPort) !== listener)
        continue
      this.#unclaimed.splice(i, 1)
      this.#claim(listener, connection)
    }
    return listener
  }

  /** Ends a passive open. Connections that nobody accepted are reset, as the peers would wait in vain. */
  closeListener(listener: TcpListener): void {
    listener.closed = true
    this.#demux.removeListener(listener)
    for (let next = listener.accept(); next !== null; next = listener.accept()) next.abort()
  }

  /** Active open: the SYN leaves at the next poll. `localPort` 0 asks for an ephemeral one, `iss` null for the usual ISS. */
  // allocates: once per connection
  connect(
    local: number,
    localPort: number,
    remote: number,
    remotePort: number,
    linkMss: number,
    now: Millis,
    iss: Seq | null = null,
  ): Connection {
    if (this.#demux.size >= this.#options.maxConnections) {
      throw new StackError('ENOBUFS', `more than ${this.#options.maxConnections} connections`)
    }
    const port = localPort === 0 ? this.#ephemeralPort(local, remote, remotePort) : localPort
    if (this.#demux.find(local, port, remote, remotePort) !== undefined) {
      throw new StackError('EADDRINUSE', `local port ${port} already has a connection to this peer`)
    }
    const usual = this.#connectionOptions(local, port, remote, remotePort, linkMss, now)
    const options = iss === null ? usual : { ...usual, iss }
    const connection = this.#make(local, port, remote, remotePort, options)
    connection.opener = true
    connection.open()
    return connection
  }

  /** The ISS that pairs a connection with the client's one between these endpoints: {@link pairedSequenceNumber}. */
  pairedIss(local: number, localPort: number, remote: number, remotePort: number, tcb: Tcb): Seq {
    const { secret } = this.#options
    return pairedSequenceNumber(secret, local, localPort, remote, remotePort, tcb.iss, tcb.irs)
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
    orderly = false,
  ): Connection {
    const options = isSynchronized(parts.tcb.state)
      ? this.#settledOptions(remote, linkMss, now)
      : this.#connectionOptions(local, localPort, remote, remotePort, linkMss, now)
    parts.buffers.received.keep = this.keptInput
    const connection = new Connection(parts, options, this.#touched)
    this.#place(connection, local, localPort, remote, remotePort)
    connection.resumption = resumption
    if (this.isStrict(local, localPort)) beginStrict(connection)
    connection.adopt(inputOffset, outputOffset, now, orderly)
    const listener = this.#demux.findListener(local, localPort)
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

  /** A SYN has come to `listener`. */
  openPassive(
    listener: TcpListener,
    seg: Segment,
    local: number,
    remote: number,
    now: Millis,
  ): void {
    if (listener.full || listener.crowded) {
      const answered = !listener.full && this.cookies.answer(seg, local, remote, this.linkMss)
      if (answered) listener.overflow(now)
      else this.#drops.count(DropReason.TCP_BACKLOG_FULL)
      return
    }
    if (this.#demux.size >= this.#options.maxConnections) {
      this.#drops.count(DropReason.TCP_CONNECTION_LIMIT)
      return
    }
    const options = this.#connectionOptions(
      local,
      seg.dstPort,
      remote,
      seg.srcPort,
      this.linkMss,
      now,
    )
    const connection = this.#make(local, seg.dstPort, remote, seg.srcPort, options)
    this.#begin(connection, listener)
    connection.receive(seg, now)
  }

  #begin(connection: Connection, listener: TcpListener): void {
    openPassive(connection.tcb)
    connection.dscp = listener.dscp
    connection.hopLimit = listener.hopLimit
    connection.listener = listener
    listener.embryonic++
  }

  /** An ACK of no connection has come to `listener`. True when it brought back a cookie: the handshake happens now. */
  openByCookie(
    listener: TcpListener,
    seg: Segment,
    local: number,
    remote: number,
    now: Millis,
  ): boolean {
    const syn = listener.takesCookies(now) ? this.cookies.recall(seg, local, remote, now) : null
    if (syn === null) return false
    if (listener.full || this.#demux.size >= this.#options.maxConnections) {
      this.#drops.count(DropReason.TCP_BACKLOG_FULL)
      return true
    }
    const { tsOffset } = this.cookies
    const iss = add(seg.ack, -1)
    const own = this.#settledOptions(remote, this.linkMss, now)
    // allocates: once per connection
    const connection = this.#make(local, seg.dstPort, remote, seg.srcPort, {
      ...own,
      iss,
      tsOffset,
    })
    this.#begin(connection, listener)
    this.cookies.opened++
    connection.receive(syn, now)
    connection.commitSyn(syn, now)
    this.handleHandshake(connection, connection.receive(seg, now))
    return true
  }

  /** A passive connection leaves the backlog when its handshake completes, or when it fails before. */
  handleHandshake(connection: Connection, effects: number): void {
    const listener = connection.listener as TcpListener | null
    if (listener === null || (effects & (Effect.ESTABLISHED | Effect.RESET)) === 0) return
    connection.listener = null
    if (listener.embryonic > 0) listener.embryonic--
    if ((effects & Effect.RESET) !== 0) return
    // The answer of a port without a listener (§3.10.7.1), as the connection has never been anybody's.
    if (listener.closed) connection.abort(RST)
    else this.#offer(listener, connection)
  }

  #offer(listener: TcpListener, connection: Connection): void {
    listener.enqueue(connection)
    this.#accepting.push(listener)
  }

  /** A listener, once for each connection that it has to accept, or null. */
  pollAccept(): TcpListener | null {
    return this.#accepting.shift() ?? null
  }

  /** The connection stands on no backlog any more. */
  leaveBacklog(connection: Connection): void {
    const listener = connection.listener as TcpListener | null
    if (listener !== null && listener.embryonic > 0) listener.embryonic--
    connection.listener = null
  }

  /** The connection leaves the stack: it waits for no listener any more. */
  forget(connection: Connection): void {
    const waiting = this.#unclaimed.indexOf(connection)
    if (waiting >= 0) this.#unclaimed.splice(waiting, 1)
  }

  // allocates: once per connection
  #make(
    local: number,
    localPort: number,
    remote: number,
    remotePort: number,
    options: ConnectionOptions,
  ): Connection {
    const buffers = newBuffers(2 * options.receiveLimit, 2 * options.sendLimit)
    buffers.received.keep = this.keptInput
    const connection = new Connection({ tcb: new Tcb(), buffers }, options, this.#touched)
    this.#place(connection, local, localPort, remote, remotePort)
    if (this.isStrict(local, localPort)) beginStrict(connection)
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
    this.#demux.add(c)
  }

  #connectionOptions(
    local: number,
    localPort: number,
    remote: number,
    remotePort: number,
    linkMss: number,
    now: Millis,
  ): ConnectionOptions {
    const { secret } = this.#options
    const options = this.#settledOptions(remote, linkMss, now)
    options.iss = initialSequenceNumber(secret, local, localPort, remote, remotePort, now)
    options.tsOffset = initialTimestampOffset(secret, local, localPort, remote, remotePort)
    return options
  }

  // Of a connection whose numbers are settled: to compute new ones takes half of the time of its promotion.
  #settledOptions(
    remote: number,
    linkMss: number,
    now: Millis,
  ): ConnectionOptions & { iss: Seq; tsOffset: number } {
    const { receiveLimit, sendLimit, congestion, ecn } = this.#options
    const pathMss = this.#paths.mssTo(remote, now)
    // allocates: once per connection
    return {
      linkMss,
      pathMss,
      receiveLimit,
      sendLimit,
      congestion,
      ecn,
      iss: ZERO,
      tsOffset: 0,
    }
  }

  // RFC 6056 §3.3.1, random: tries the whole range once from a random start.
  #ephemeralPort(local: number, remote: number, remotePort: number): number {
    const { first, last } = EPHEMERAL_PORTS
    const count = last - first + 1
    const start = this.#rng.u32() % count
    for (let i = 0; i < count; i++) {
      const port = first + ((start + i) % count)
      if (this.#demux.find(local, port, remote, remotePort) !== undefined) continue
      if (this.#demux.findListener(local, port) === null) return port
    }
    throw new StackError('EADDRNOTAVAIL', 'no ephemeral port is free towards this peer')
  }
}
