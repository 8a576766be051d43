// hot path: no allocation per frame
/**
 * Tcp: all connections and listeners of a stack. Segments come in with the addresses they were sent between and go out with
 * those they are to be sent between; it knows no IP header, no link, no clock.
 */
import { type DropCounters, DropReason } from '../base/counters.js'
import { DeadlineHeap } from '../base/deadline-heap.js'
import { Pile } from '../base/pile.js'
import type { Seq } from '../base/seq.js'
import { type Millis, NEVER, type Rng } from '../base/time.js'
import type { Frame } from '../wire/frame.js'
import { ACK, RST, type Segment, SYN } from '../wire/tcp.js'
import { type Connection, ConnectionEvent } from './connection.js'
import { DEFAULT_HOP_LIMIT } from './connection-slots.js'
import { Demux } from './demux.js'
import { Effect } from './effects.js'
import { NetworkErrors } from './network-errors.js'
import { Openings, type TcpOptions } from './openings.js'
import { ResetQueue } from './reset-queue.js'
import { RestQueue } from './rest-queue.js'
import type { TcbParts } from './tcb.js'
import { TouchedQueue } from './touched-queue.js'

/** Segments of one connection in a row before the next connection has its turn; a super-frame counts as so many. */
const BURST = 16
const SUPER_FRAME_WEIGHT = 4

export class Tcp {
  readonly demux = new Demux()
  readonly drops: DropCounters
  readonly errors: NetworkErrors
  readonly openings: Openings
  /** Addresses between which the segment of the last successful `pollSegment` is to be sent. */
  outLocal = 0
  outRemote = 0
  /** Routers may cut that segment into fragments. */
  outFragmentable = false
  /** Its connection's timer has expired since the peer was heard: perhaps nobody passes it on. */
  outUnanswered = false
  outDscp = 0
  outHopLimit = DEFAULT_HOP_LIMIT
  /** Connections, as `hushedName` names them, that may still come to be adopted: what is said to them is not answered meanwhile. */
  readonly hushed = new Set<string>()
  readonly #heap = new DeadlineHeap<Connection>()
  readonly #resting = new RestQueue()
  readonly #touched = new TouchedQueue()
  readonly #ready = new Pile<Connection>()
  readonly #resets = new ResetQueue()
  // Connections of which others have not confirmed all (D2); some of them more than once.
  readonly #unconfirmed = new Pile<Connection>()
  #transmit: (Connection | null)[] = []
  #transmitHead = 0
  #transmitTail = 0
  #burst = 0

  constructor(options: TcpOptions, rng: Rng, drops: DropCounters) {
    this.drops = drops
    this.errors = new NetworkErrors(this.demux, this.#touched)
    const { demux, errors } = this
    this.openings = new Openings(options, rng, drops, demux, this.#touched, errors.paths)
  }

  /** Demotion: takes the connection out of the stack. Its application is told that it is closed here. */
  release(connection: Connection): TcbParts {
    this.openings.leaveBacklog(connection)
    this.demux.remove(connection)
    this.#takeOffTimers(connection)
    this.openings.forget(connection)
    connection.released = true
    connection.events |= ConnectionEvent.CLOSED
    return connection.release()
  }

  /** Takes one segment sent from `remote` to `local`. With `quiet` nothing is answered that belongs to no connection. */
  receive(seg: Segment, local: number, remote: number, now: Millis, quiet: boolean): void {
    const connection = this.demux.find(local, seg.dstPort, remote, seg.srcPort)
    if (connection !== undefined && isOver(connection)) {
      this.#forget(connection)
    } else if (connection !== undefined) {
      const effects = connection.receive(seg, now)
      if ((effects & Effect.REOPEN) === 0) {
        if ((effects & Effect.REPLY_RST) !== 0) this.#replyRst(seg, local, remote)
        if ((effects & Effect.PAWS) !== 0) this.drops.count(DropReason.TCP_PAWS)
        else if ((effects & Effect.DROPPED) !== 0) this.drops.count(DropReason.TCP_UNACCEPTABLE)
        this.openings.handleHandshake(connection, effects)
        return
      }
      this.#forget(connection)
    }
    if (quiet || (this.hushed.size > 0 && this.#isHushed(seg, local, remote))) {
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
      if (!seg.has(SYN) && this.openings.openByCookie(listener, seg, local, remote, now)) return
      this.drops.count(DropReason.TCP_NO_CONNECTION)
      this.#replyRst(seg, local, remote)
      return
    }
    if (!seg.has(SYN)) {
      this.drops.count(DropReason.TCP_BAD_FLAGS)
      return
    }
    this.openings.openPassive(listener, seg, local, remote, now)
  }

  // allocates: only while a connection waits to be adopted
  #isHushed(seg: Segment, local: number, remote: number): boolean {
    return this.hushed.has(hushedName(local, seg.dstPort, remote, seg.srcPort))
  }

  /** Octets of text of a segment that the device cuts; 0 when it cuts none. Set by the stack. */
  maxText = 0

  /** A connection with news in `events`, or null. The caller takes the bits. */
  pollReady(): Connection | null {
    this.#settle()
    return this.#ready.pop() ?? null
  }

  /** A connection in strict mode that was touched and has something that others have not confirmed (D2), or null. */
  pollUnconfirmed(): Connection | null {
    this.#settle()
    return this.#unconfirmed.pop() ?? null
  }

  /** Fills `seg` and `frame` with the next segment to send; its addresses are in `outLocal` and `outRemote`. */
  pollSegment(seg: Segment, frame: Frame, now: Millis): boolean {
    this.#settle()
    if (this.#resets.poll(seg)) {
      return this.#leavesPlain(frame, this.#resets.local, this.#resets.remote)
    }
    const { cookies } = this.openings
    if (cookies.poll(seg, now)) {
      return this.#leavesPlain(frame, cookies.local, cookies.remote)
    }
    while (this.#transmitHead < this.#transmitTail) {
      const connection = this.#transmit[this.#transmitHead] as Connection
      if (!connection.released && connection.pollSegment(seg, frame, now, this.maxText)) {
        this.outLocal = connection.localAddress
        this.outRemote = connection.remoteAddress
        this.outFragmentable = connection.sender.path?.fragmentable === true
        this.outUnanswered = connection.sender.timeouts > 0
        this.outDscp = connection.dscp
        this.outHopLimit = connection.hopLimit
        this.#burst += frame.gsoSize > 0 ? SUPER_FRAME_WEIGHT : 1
        if (this.#burst >= BURST) this.#rotate(connection)
        return true
      }
      this.#burst = 0
      this.#transmit[this.#transmitHead++] = null
      connection.transmitQueued = false
      this.#afterTurn(connection, now)
    }
    this.#transmitHead = 0
    this.#transmitTail = 0
    return false
  }

  // What belongs to no connection: it has no text and asks for nothing special.
  #leavesPlain(frame: Frame, local: number, remote: number): true {
    frame.reset()
    this.outLocal = local
    this.outRemote = remote
    this.outFragmentable = false
    this.outUnanswered = false
    this.outDscp = 0
    this.outHopLimit = DEFAULT_HOP_LIMIT
    return true
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
      if (isUnconfirmed(item)) this.#unconfirmed.push(item)
      this.#heap.set(item, item.nextDeadline())
      if (item.transmitQueued) continue
      item.transmitQueued = true
      this.#transmit[this.#transmitTail++] = item
    }
  }

  #afterTurn(connection: Connection, now: Millis): void {
    if (connection.released) return
    if (connection.closed) {
      this.#forget(connection)
      return
    }
    this.#heap.set(connection, connection.nextDeadline())
    if (!connection.rests) this.#resting.push(connection, now)
  }

  #forget(connection: Connection): void {
    this.openings.leaveBacklog(connection)
    connection.released = true
    this.demux.remove(connection)
    this.#takeOffTimers(connection)
  }

  #takeOffTimers(connection: Connection): void {
    this.#heap.set(connection, NEVER)
    this.#resting.remove(connection)
  }

  handleTimeout(now: Millis): void {
    this.#settle()
    this.#resting.handleTimeout(now)
    for (let first = this.#heap.peek(); first !== undefined; first = this.#heap.peek()) {
      if (this.#heap.nextDeadline() > now) return
      first.handleTimeout(now)
      this.#heap.set(first, first.nextDeadline())
    }
  }

  nextDeadline(): Millis {
    this.#settle()
    return Math.min(this.#heap.nextDeadline(), this.#resting.nextDeadline())
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
}

// Reset by a segment of the same turn: the peer may use its port again at once. Who is still to send the first SYN is not over.
function isOver(connection: Connection): boolean {
  return connection.closed && (connection.tcb.synSent || !connection.opener)
}

// In strict mode (D2): others have not said yet that they have all its input, or our FIN.
function isUnconfirmed(connection: Connection): boolean {
  // Who waits for others does not rest.
  if (connection.rests) return false
  const { hold } = connection.receiver
  if (hold === null) return false
  const { tcb } = connection
  if (hold.confirmed < tcb.rcvNxtOffset) return true
  return tcb.sndFinSent !== 0 && hold.outputHeld < tcb.sndNxtOffset
}

/** Names a connection in `Tcp.hushed`. */
export function hushedName(
  local: number,
  localPort: number,
  remote: number,
  remotePort: number,
): string {
  // allocates: only while a connection waits to be adopted
  return `${local} ${localPort} ${remote} ${remotePort}`
}
