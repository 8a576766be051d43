// hot path: no allocation per frame
/**
 * Connection: the active driver of one Tcb. Segments and timers come in, segments are pulled out, and the application reads
 * and writes octets. It decides; segmentArrives and segmentDeparts alone change the Tcb.
 *
 * A connection is made by an active open, by a listener for a SYN, or by adopting what a shadow has overheard; `release`
 * is the way back. It knows no IP, no clock and no callback: what happened is kept in `events` until somebody looks, and who may
 * have something to do is on the `touched` queue.
 */
import type { Seq } from '../base/seq.js'
import { type Millis, NEVER } from '../base/time.js'
import type { Frame } from '../wire/frame.js'
import { ACK, ECE, FIN, PSH, RST, type Segment } from '../wire/tcp.js'
import { Adoption, INPUT_LOST, keepPromise } from './adoption.js'
import { ConnectionEvent } from './connection-event.js'
import type { ConnectionOptions } from './connection-options.js'
import { ConnectionParts } from './connection-parts.js'
import { Effect, type EffectSet } from './effects.js'
import { fillSyn, stampTime } from './handshake.js'
import { Liveness, type LivenessSettings } from './liveness.js'
import { FIN_WAIT_2_MS, MAX_SYN_TIMEOUTS, MAX_TIMEOUTS, MSL_MS } from './patience.js'
import { segmentArrives } from './segment-arrives.js'
import { finDepartedUnseen, segmentDeparts } from './segment-departs.js'
import { isSynchronized, TcpState } from './state.js'
import { isHeld } from './strict.js'
import { deleteTcb, type TcbParts, timeWaitExpires } from './tcb.js'
import type { TouchedQueue } from './touched-queue.js'

export { ConnectionEvent } from './connection-event.js'
export type { ConnectionOptions } from './connection-options.js'

export class Connection extends ConnectionParts {
  // Null once the handshake is complete: then nothing more is to be settled.
  #options: ConnectionOptions | null
  readonly #sendLimit: number
  readonly #touched: TouchedQueue
  #detached = false
  #adoption: Adoption | null = null
  #liveness: Liveness | null = null

  constructor(parts: TcbParts, options: ConnectionOptions, touched: TouchedQueue) {
    super(parts, options)
    this.#options = options
    this.#sendLimit = options.sendLimit
    this.#touched = touched
  }

  /** Changes how the peer is watched while nothing is heard of it: keep-alive and user timeout. */
  // allocates: once per connection that asks for it
  watch(settings: LivenessSettings, now: Millis): void {
    this.#liveness ??= new Liveness(now)
    this.#liveness.set(settings, this.sender.waits(this.tcb), now)
    this.#touched.push(this)
  }

  /** Octets that can be read now. What came with the SYN of a simultaneous open waits for the handshake, other text to be confirmed. */
  get readable(): number {
    const { tcb, buffers, receiver } = this.parts
    if (tcb.state === TcpState.SYN_RECEIVED) return 0
    const { start, readable } = buffers.received
    return Math.min(readable, Math.max(receiver.confirmed - start, 0))
  }

  /** Octets that can be written now as new data. */
  get writable(): number {
    const { tcb, buffers } = this.parts
    const { sent } = buffers
    // Behind a take-over acknowledged text is kept for comparison; it takes no room from new text.
    const waiting = sent.end - Math.max(sent.start, tcb.ackedOffset)
    return Math.max(this.#sendLimit - waiting, 0)
  }

  /** Stream offset of the next octet the application reads. */
  get inputOffset(): number {
    return this.buffers.received.start
  }

  /** True when the peer has ended its side and all of it has been read. */
  get inputEnded(): boolean {
    const { finReceived, rcvNxtOffset } = this.tcb
    return finReceived && this.readable === 0 && this.receiver.confirmed >= rcvNxtOffset
  }

  /** Active open: a SYN leaves at the next poll. */
  open(): void {
    this.sender.synDue = true
    this.touch()
  }

  override touch(): void {
    this.#touched.push(this)
  }

  /**
   * Promotion: makes an overheard Tcb live; what is private to an owner starts afresh. One segment leaves at once, but in TIME-WAIT: the
   * first one outstanding, or an ACK, as behind an `orderly` end of the last owner (P24). The offsets say where the application goes on.
   */
  adopt(inputOffset: number, outputOffset: number, now: Millis, orderly = false): void {
    const { tcb, buffers, sender, receiver, output } = this.parts
    this.#options = sender.settleMss(tcb, this.#options, now)
    keepPromise(tcb, buffers.received, inputOffset, receiver.limit)
    buffers.received.trim(inputOffset)
    output.offset = outputOffset
    sender.finQueued = tcb.sndFinSent !== 0
    this.#adoption = new Adoption(tcb, now)
    if (isSynchronized(tcb.state)) {
      receiver.ackNow = tcb.state !== TcpState.TIME_WAIT
      sender.adopt(tcb, buffers.sent, orderly, now)
      this.events |= ConnectionEvent.CONNECTED
      if (this.readable > 0) this.events |= ConnectionEvent.READABLE
      if (tcb.finReceived) this.events |= ConnectionEvent.ENDED
    } else sender.synDue = true
    if (tcb.state === TcpState.TIME_WAIT) sender.timeWaitAt = now + 2 * MSL_MS
    this.#touched.push(this)
  }

  /** Another node may have owned the connection for a while: if it went on there, it ends here. */
  doubt(now: Millis): void {
    this.#adoption = new Adoption(this.tcb, now, true)
    this.#touched.push(this)
  }

  /** Demotion: gives Tcb and buffers away. This object is dead afterwards. */
  // allocates: once per demotion
  release(): TcbParts {
    this.#touched.push(this)
    this.sender.rstDue = 0
    this.#detached = true
    return { tcb: this.tcb, buffers: this.buffers }
  }

  /** Takes one segment from the peer. `seg` is borrowed. The effects are returned for the demultiplexer. */
  receive(seg: Segment, now: Millis): EffectSet {
    const { tcb, buffers, sender, receiver } = this.parts
    this.#adoption?.takeProof(tcb, seg, now)
    const unaBefore = tcb.sndUnaOffset
    receiver.noteRepeated(tcb, buffers.received, seg)
    let effects = segmentArrives(tcb, buffers, seg, now)
    this.#touched.push(this)
    this.#liveness?.heard((effects & Effect.ACKED) !== 0, sender.waits(tcb), now)
    if ((effects & Effect.RESET) !== 0) {
      const refused = unaBefore < 0 && tcb.sndNxtOffset === 0
      this.#end(this.#adoption?.lost ?? (refused ? 'ECONNREFUSED' : 'ECONNRESET'))
      return effects
    }
    if ((effects & Effect.ESTABLISHED) !== 0) {
      this.#options = sender.settleMss(tcb, this.#options, now)
      this.events |= ConnectionEvent.CONNECTED
    }
    const acked = (effects & Effect.ACKED) !== 0
    const dropped = (effects & Effect.DROPPED) !== 0
    const tells = (effects & (Effect.DUP_ACK | Effect.WINDOW)) !== 0 || seg.sackCount > 0
    if (acked || (tells && !dropped)) sender.handleAck(tcb, seg, effects, unaBefore, now)
    if (acked) this.#handleAcked()
    if (this.#adoption?.provesLoss(tcb, seg, dropped, now) === true) this.#lose()
    else if (this.#adoption?.refuses(tcb, seg, dropped) === true) effects |= Effect.REPLY_RST
    if ((effects & Effect.CHALLENGE) !== 0) receiver.challenge(now)
    if ((effects & Effect.SYN_AGAIN) !== 0 || !tcb.synSent) sender.synDue = true
    receiver.handleEffects(effects, tcb, seg, now)
    if ((effects & Effect.TEXT) !== 0) {
      // RFC 1122 §4.2.2.13. What nobody will read is not acknowledged.
      if (this.#detached) this.#reset(RST)
      else if (this.readable > 0) this.events |= ConnectionEvent.READABLE
    }
    if ((effects & Effect.PEER_FIN) !== 0) this.events |= ConnectionEvent.ENDED
    if ((effects & Effect.TIME_WAIT) !== 0) sender.timeWaitAt = now + 2 * MSL_MS
    if (tcb.state === TcpState.FIN_WAIT_2 && this.#detached && sender.timeWaitAt === NEVER) {
      sender.timeWaitAt = now + FIN_WAIT_2_MS
    }
    if ((effects & Effect.CLOSED) !== 0) this.#end('')
    return effects
  }

  #handleAcked(): void {
    const { tcb, buffers, output } = this.parts
    this.softError = ''
    buffers.sent.trim(tcb.ackedOffset)
    if (output.blocked && this.writable >= this.#sendLimit / 4) {
      output.blocked = false
      this.events |= ConnectionEvent.WRITABLE
    }
  }

  /**
   * Fills `seg` and the text of `frame` with the next segment to send and commits it. False: there is none. With a `maxText`
   * above the MSS the segment may be as long: `frame.gsoSize` then says how long the device is to cut the pieces.
   */
  pollSegment(seg: Segment, frame: Frame, now: Millis, maxText = 0): boolean {
    const { tcb, buffers, sender, receiver, output } = this.parts
    seg.clear()
    frame.reset()
    seg.srcPort = this.localPort
    seg.dstPort = this.remotePort
    if (sender.rstDue !== 0) return this.#departRst(seg, now)
    if (receiver.confirmed < 0 && isHeld(tcb, receiver.confirmed)) return false
    if (sender.synDue) return this.#departSyn(seg, now)
    if (!isSynchronized(tcb.state)) {
      // RFC 9293 §3.10.7.4 first: in SYN-RECEIVED, too, an unacceptable segment is answered <SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>.
      const answers = tcb.state === TcpState.SYN_RECEIVED && tcb.synSent && receiver.ackNow
      return answers && this.#departAck(seg, frame, now)
    }
    // Out of order text is reported by a segment without text: only that counts as a duplicate ACK (RFC 5681 §2).
    if (receiver.ackNow && receiver.hasSackBlocks(buffers.received))
      return this.#departAck(seg, frame, now)
    const nxtBefore = tcb.sndNxtOffset
    if (sender.next(tcb, buffers, Math.max(maxText, sender.mss), now)) {
      const plan = sender.plan
      if (plan.length > sender.mss) frame.gsoSize = sender.mss
      // A FIN alone may stand behind text that nobody here has: the application regenerates it.
      output.fill(frame, plan.offset, plan.length)
      seg.seq = ((tcb.sndNxt + (plan.offset - nxtBefore)) | 0) as Seq
      seg.flags = (plan.fin ? FIN : 0) | (plan.push && plan.length > 0 ? PSH : 0)
      if (tcb.ecnOk) sender.markEcn(tcb, seg)
      this.#depart(seg, frame, now)
      sender.departed(tcb, nxtBefore, now)
      this.#liveness?.waits(now)
      return true
    }
    const owes = receiver.ackNow || this.#liveness?.probeDue === true
    if (!owes && !receiver.wantsWindowUpdate(tcb, buffers)) return false
    return this.#departAck(seg, frame, now)
  }

  #departAck(seg: Segment, frame: Frame, now: Millis): boolean {
    const { tcb, buffers, receiver } = this.parts
    seg.seq = this.#adoption?.takeSeq(tcb) ?? this.#liveness?.takeSeq(tcb) ?? tcb.sndNxt
    if (tcb.sackOk && receiver.hasSackBlocks(buffers.received)) {
      stampTime(seg, tcb, now)
      receiver.addSackBlocks(tcb, buffers.received, seg)
    }
    this.#depart(seg, frame, now)
    return true
  }

  // Completes a segment of a synchronized connection and commits it.
  #depart(seg: Segment, frame: Frame, now: Millis): void {
    const { tcb, buffers, receiver } = this.parts
    seg.flags |= tcb.ecnOk && tcb.ecnEcho !== 0 ? ACK | ECE : ACK
    seg.ack = receiver.ackNumber(tcb)
    seg.wnd = receiver.windowField(tcb, buffers, tcb.rcvScale)
    stampTime(seg, tcb, now)
    seg.text = frame.bytes
    seg.textStart = frame.start
    seg.textEnd = frame.end
    segmentDeparts(tcb, buffers, seg, now)
    receiver.acked(seg.textLength)
  }

  // RFC 9293 §3.10.5 ABORT: <SEQ=SND.NXT><CTL=RST>.
  #departRst(seg: Segment, now: Millis): boolean {
    const { tcb, buffers, sender } = this.parts
    seg.seq = tcb.sndNxt
    seg.ack = tcb.rcvNxt
    seg.flags = sender.rstDue
    sender.rstDue = 0
    segmentDeparts(tcb, buffers, seg, now)
    return true
  }

  /**
   * Commits our SYN and fills `seg` with it, but it does not leave: it left nobody knows how long ago (a cookie), or is `held` until `open`.
   */
  commitSyn(seg: Segment, now: Millis, held = false): void {
    const { sender } = this
    if (!sender.synDue) return
    seg.clear()
    this.#departSyn(seg, now)
    sender.synHeld = held
    sender.rtt.discard()
    this.touch()
  }

  // Our SYN: alone for an active open, with ACK once the peer's SYN is here.
  #departSyn(seg: Segment, now: Millis): boolean {
    const { tcb, buffers, sender, receiver } = this.parts
    sender.synDue = false
    if (isSynchronized(tcb.state) || this.#options === null) return false
    const repeated = tcb.synSent && !sender.synHeld
    sender.synHeld = false
    fillSyn(seg, tcb, this.#options, now)
    segmentDeparts(tcb, buffers, seg, now)
    receiver.acked(0)
    // Karn's algorithm: the answer to a repeated SYN does not tell which one it answers.
    this.#liveness?.waits(now)
    if (repeated) sender.rtt.discard()
    else sender.rtt.start(0, now)
    sender.rtoAt = now + sender.rtt.rtoMs
    return true
  }

  nextDeadline(): Millis {
    if (this.closed) return NEVER
    const { tcb, sender, receiver } = this.parts
    // All that is left is to be reset, in this turn.
    if (sender.rstDue !== 0) return NEVER
    const own = Math.min(sender.nextDeadline(), receiver.ackAt)
    if (this.#adoption === null && this.#liveness === null) return own
    const watchedUntil = this.#liveness?.deadline(tcb) ?? NEVER
    return Math.min(own, this.#adoption?.deadline ?? NEVER, watchedUntil)
  }

  // It cannot be gone on with, and its peer must not wait for ever.
  #lose(): void {
    this.error = INPUT_LOST
    this.abort()
  }

  override rest(now: Millis): boolean {
    if (this.#adoption?.isOver(now) === true) this.#adoption = null
    return super.rest(now)
  }

  /** Acts on what is due. */
  handleTimeout(now: Millis): void {
    const { tcb, sender, receiver } = this.parts
    this.#touched.push(this)
    receiver.handleTimeout(now)
    if (now >= sender.timeWaitAt) {
      sender.timeWaitAt = NEVER
      if (tcb.state === TcpState.TIME_WAIT) timeWaitExpires(tcb)
      else deleteTcb(tcb)
      this.#end('')
      return
    }
    if (this.#adoption?.handleTimeout(tcb, receiver, now) === true) return void this.#lose()
    const opening = tcb.state === TcpState.SYN_SENT || tcb.state === TcpState.SYN_RECEIVED
    const over = sender.handleTimeout(tcb, now, this.#mostTimeouts(opening))
    const lost = !over && this.#liveness?.handleTimeout(tcb, now) === true
    if (over || (lost && sender.waits(tcb))) {
      this.fail(this.softError || 'ETIMEDOUT')
    } else if (lost) {
      // Probes found no answer. A peer that hears us all the same is told, and so are the peers that only listen.
      this.error ||= this.softError || 'ETIMEDOUT'
      this.abort()
    } else if (opening && sender.rtoAt === NEVER) {
      sender.synDue = true
      // One that is held waits no longer than one that is lost.
      sender.rtoAt = now + sender.rtt.rtoMs
    }
  }

  /** Turns Nagle's algorithm off (MUST-17), or on again. Off, it lets go of what it has held back. */
  setNoDelay(on: boolean): void {
    this.sender.noDelay = on
    if (on) this.touch()
  }

  // MUST-21: R2 is the application's where it has chosen, be it longer than ours.
  #mostTimeouts(opening: boolean): number {
    if (this.#liveness !== null && this.#liveness.userTimeoutMs > 0) return Number.POSITIVE_INFINITY
    return opening ? MAX_SYN_TIMEOUTS : MAX_TIMEOUTS
  }

  /** Takes octets to send, copying them. Returns how many were taken: fewer than given when the buffer is full. */
  write(bytes: Uint8Array, from: number, to: number): number {
    const { sender, output } = this.parts
    if (sender.finQueued && !output.regenerating) return 0
    const taken = output.write(bytes, from, to, this.writable)
    if (output.divergedAt >= 0) {
      this.error = 'ERR_OUTPUT_DIVERGED'
      this.abort()
      return taken
    }
    if (output.refilledFrom >= 0) sender.recovery.refilled(output.refilledFrom)
    if (taken < to - from) output.blocked = true
    this.#touched.push(this)
    return taken
  }

  /** Copies what can be read to `into[from, to)`. Returns how many octets. */
  read(into: Uint8Array, from: number, to: number): number {
    const length = Math.min(this.readable, to - from)
    if (length === 0) return 0
    const { received } = this.buffers
    received.copyTo(received.start, length, into, from)
    this.consume(length)
    return length
  }

  /** Lets go of `length` octets that have been read. */
  consume(length: number): void {
    const { tcb, buffers, receiver } = this.parts
    buffers.received.trim(buffers.received.start + length)
    if (receiver.wantsWindowUpdate(tcb, buffers)) this.#touched.push(this)
  }

  /** Ends our side: FIN follows the last octet written (RFC 9293 §3.10.4). Reading goes on. */
  shutdown(): void {
    this.sender.finQueued = true
    if (finDepartedUnseen(this.tcb, this.output.offset)) this.#end('')
    this.touch()
  }

  /**
   * The application is gone. Unread input is answered by a reset, so that the peer learns of the loss (RFC 2525 §2.17); so
   * is text that comes later.
   */
  detach(now: Millis): void {
    if (this.closed && !this.sender.synDue) return
    this.#detached = true
    if (this.tcb.state !== TcpState.SYN_RECEIVED && this.buffers.received.readable > 0) {
      this.#reset(RST | ACK)
      return
    }
    if (this.tcb.state < TcpState.SYN_RECEIVED) {
      this.abort()
      return
    }
    this.shutdown()
    if (this.tcb.state === TcpState.FIN_WAIT_2) this.sender.timeWaitAt = now + FIN_WAIT_2_MS
  }

  /** No application will attach: both sides have said all they will. */
  orphan(now: Millis): void {
    this.#detached = true
    if (this.tcb.state === TcpState.FIN_WAIT_2) this.sender.timeWaitAt = now + FIN_WAIT_2_MS
  }

  /** Resets the connection, or forgets it where both sides have ended (RFC 9293 §3.10.5). The RST leaves at the next poll. */
  abort(flags: number = RST | ACK): void {
    if (this.tcb.state >= TcpState.CLOSING) deleteTcb(this.tcb)
    else if (this.closed && !this.sender.synDue) return
    this.#reset(flags)
  }

  #reset(flags: number): void {
    if (this.#adoption?.catchUp(this.tcb) === true) this.error ||= INPUT_LOST
    if (this.tcb.synSent && this.tcb.state > TcpState.SYN_SENT) this.sender.rstDue = flags
    else deleteTcb(this.tcb)
    this.sender.synDue = false
    this.#detached = true
    this.events |= ConnectionEvent.CLOSED
    this.#touched.push(this)
  }

  /** Ends the connection without a word on the wire: the network has said that the peer cannot be reached. */
  fail(error: string): void {
    deleteTcb(this.tcb)
    this.#end(error)
  }

  #end(error: string): void {
    if (this.error === '') this.error = error
    this.sender.stop()
    this.receiver.ackAt = NEVER
    this.events |= ConnectionEvent.CLOSED
    this.#touched.push(this)
  }
}
