// hot path: no allocation per frame
/**
 * Sender: what to send next, if anything. It reads the Tcb and the buffers and writes neither; what it decides is committed
 * by segmentDeparts. Here are new text, FIN, Nagle's algorithm, zero windows and the timers (RFC 9293 §3.8, RFC 6298); what
 * was lost and how much may be in flight is Recovery's. All positions are stream offsets.
 */
import type { Row } from '../base/row.js'
import type { StreamBuffer } from '../base/stream-buffer.js'
import { type Millis, NEVER } from '../base/time.js'
import { CWR, DEFAULT_MSS, Ecn, type Segment } from '../wire/tcp.js'
import {
  type CongestionAlgorithm,
  type CongestionControl,
  inherit,
} from './congestion/congestion-control.js'
import type { ConnectionOptions } from './connection-options.js'
import { Effect, type EffectSet } from './effects.js'
import { BLACK_HOLE_TIMEOUTS, effectiveMss, PathMss } from './path-mss.js'
import { Recovery, SenderMode, type SendPlan } from './recovery/recovery.js'
import { RttEstimator } from './recovery/rtt.js'
import type { Scoreboard } from './recovery/scoreboard.js'
import { probeTimeoutMs } from './recovery/tail-loss.js'
import { isSynchronized } from './state.js'
import type { Buffers, Tcb } from './tcb.js'

// All senders have this one: what is decided is carried out before another is asked.
const PLAN: SendPlan = { offset: 0, length: 0, fin: false, push: false }

// What is due at one that rests.
const RESTING = { wakeAt: NEVER, tailAt: NEVER }

export class Sender {
  readonly rtt = new RttEstimator()
  /** Our SYN is to leave. */
  synDue = false
  /** Our SYN has been committed, and has not left. */
  synHeld = false
  /** The flags of a reset that is to leave, or 0. */
  rstDue = 0
  /** The application has ended its side: FIN goes behind the last octet. */
  finQueued = false
  /** Nagle's algorithm is off. */
  noDelay = false
  /** The application has more to write: less than a full segment waits, but not for ever (TCP_CORK, MSG_MORE). */
  corked = false
  /** When the retransmission timer expires. */
  rtoAt: Millis = NEVER
  /** When a zero window is probed. */
  persistAt: Millis = NEVER
  /** When TIME-WAIT ends, or FIN-WAIT-2 where the application is gone. */
  timeWaitAt: Millis = NEVER
  /** Time-outs in a row without an acknowledgement. */
  timeouts = 0
  /** Segments sent again. */
  retransmissions = 0
  /** What the path carries, where that is less than the link does. */
  path: PathMss | null = null
  // Made when there is something to send, and let go of behind an idle time.
  #recovery: Recovery | null = null
  readonly #algorithm: CongestionAlgorithm
  #probe = false
  #synLost = false
  // A probe of a zero window is in flight; its octet may have been refused.
  #probed = false
  // The refused octet of a probe is sent again as part of a full segment, not alone.
  #beyondProbe = false
  #mss = DEFAULT_MSS
  #linkMss = DEFAULT_MSS

  constructor(algorithm: CongestionAlgorithm) {
    this.#algorithm = algorithm
  }

  /** The decision of the last `next` that returned true. Reused. */
  get plan(): SendPlan {
    return PLAN
  }

  get recovery(): Recovery {
    // allocates: once per connection, and behind an idle time
    this.#recovery ??= new Recovery(this.#algorithm, this.rtt, this.#mss)
    return this.#recovery
  }

  /** True while there is something that `rest` may let go of. */
  get awake(): boolean {
    return this.#recovery !== null
  }

  /**
   * Lets go of what is known of the flight and of the path's congestion, if nothing has been sent for so long that the next text
   * finds the restart window anyway (RFC 5681 §4.1). False: not yet.
   */
  rest(tcb: Tcb, now: Millis): boolean {
    const recovery = this.#recovery
    if (recovery === null) return true
    if (tcb.flightSize > 0 || now - recovery.lastSentAt <= this.rtt.rtoMs) return false
    if (recovery.isFresh(tcb)) this.#recovery = null
    return true
  }

  /** True when a row holds all that is to be remembered: nothing is due, and neither losses nor the path have taught it anything. */
  get mayRest(): boolean {
    if (this.#recovery !== null || this.path !== null) return false
    if (this.finQueued || this.synDue || this.rstDue !== 0) return false
    return this.rtoAt === NEVER && this.persistAt === NEVER && this.timeWaitAt === NEVER
  }

  /** Puts into `row` what is to be remembered of one that may rest. */
  putInto(row: Row): void {
    row.putFlag(this.#algorithm === 'reno')
    row.putFlag(this.noDelay)
    row.putFlag(this.corked)
    row.putInt(this.#mss)
    row.putInt(this.#linkMss)
    row.putInt(this.retransmissions)
    this.rtt.putInto(row)
  }

  /** The sender that was put into `row`. */
  // allocates: behind an idle time
  static takeFrom(row: Row): Sender {
    const sender = new Sender(row.takeFlag() ? 'reno' : 'cubic')
    sender.noDelay = row.takeFlag()
    sender.corked = row.takeFlag()
    sender.#mss = row.takeInt()
    sender.#linkMss = row.takeInt()
    sender.retransmissions = row.takeInt()
    sender.rtt.takeFrom(row)
    return sender
  }

  get congestion(): CongestionControl {
    return this.recovery.congestion
  }

  get scoreboard(): Scoreboard {
    return this.recovery.scoreboard
  }

  /**
   * Settles the octets of text per segment, options taken off, once both SYNs are known. Returns `options` as long as our SYN may have to
   * leave again, then null.
   */
  settleMss(tcb: Tcb, options: ConnectionOptions | null, now: Millis): ConnectionOptions | null {
    if (options === null) return null
    const { linkMss, pathMss } = options
    this.#linkMss = linkMss
    if (pathMss < linkMss) {
      // allocates: once per connection that needs it
      this.path = new PathMss()
      this.path.lower(pathMss, now)
    }
    this.#mss = effectiveMss(tcb, Math.min(linkMss, this.path?.limit ?? linkMss))
    this.#recovery?.setMss(this.#mss)
    // RFC 5681 §3.1: one segment to start with.
    if (this.#synLost) this.congestion.startSmall()
    return isSynchronized(tcb.state) ? null : options
  }

  get mss(): number {
    return this.#mss
  }

  /**
   * No more than `mss` octets, options included, fit into a segment on this path, says a message that quotes a segment in
   * flight. What is in flight was too long: it leaves again in shorter segments, and that is no congestion (RFC 1191 §6.4).
   */
  handlePathMss(tcb: Tcb, mss: number, now: Millis): void {
    // allocates: once per connection that needs it
    this.path ??= new PathMss()
    if (!this.path.lower(mss, now) || !this.#fitToPath(tcb)) return
    this.recovery.resend(tcb, tcb.sndNxtOffset, now)
    this.rtoAt = now + this.rtt.rtoMs
    this.recovery.tailAt = NEVER
  }

  /**
   * The connection is promoted. What is in flight and was heard was on the link, and is on its way to the peer: it has the usual time to be
   * acknowledged, and is what the path has been carrying. Unless its last owner ended in an `orderly` way the first segment leaves again
   * at once, whose answer tells what has arrived; and all of it does, where some was not heard.
   */
  adopt(tcb: Tcb, sent: StreamBuffer, orderly: boolean, now: Millis): void {
    const { flightSize, sndUnaOffset, sndNxtOffset, sndFinSent } = tcb
    const heard = sent.start <= sndUnaOffset && sent.contiguousEnd >= sndNxtOffset - sndFinSent
    if (flightSize === 0 || !(orderly || heard)) {
      this.recovery.resend(tcb, tcb.sndNxtOffset, now)
      this.congestion.restart()
      return
    }
    if (orderly) this.recovery.awaitAll(tcb, now)
    else this.recovery.resend(tcb, Math.min(sndUnaOffset + this.#mss, sndNxtOffset), now)
    inherit(this.congestion, flightSize)
    this.rtoAt = now + this.rtt.rtoMs
    this.#armTail(tcb, now)
  }

  // True when segments have become shorter.
  #fitToPath(tcb: Tcb): boolean {
    const before = this.#mss
    this.#mss = effectiveMss(tcb, Math.min(this.#linkMss, this.path?.limit ?? this.#linkMss))
    if (this.#mss !== before) this.#recovery?.changeMss(this.#mss)
    return this.#mss < before
  }

  /** True while the peer owes an acknowledgement or room in its window. */
  waits(tcb: Tcb): boolean {
    return tcb.flightSize > 0 || this.persistAt !== NEVER
  }

  nextDeadline(): Millis {
    const at = Math.min(this.rtoAt, this.persistAt, this.timeWaitAt)
    if (this.path === null && this.#recovery === null) return at
    const { wakeAt, tailAt } = this.#recovery ?? RESTING
    return Math.min(at, wakeAt, tailAt, this.path === null ? NEVER : this.path.raiseAt)
  }

  /** The connection has ended: nothing is due any more. */
  stop(): void {
    this.synDue = false
    this.rtoAt = NEVER
    this.persistAt = NEVER
    this.timeWaitAt = NEVER
  }

  /** Takes an acceptable segment's acknowledgement; `unaBefore` is the stream offset of SND.UNA before it. */
  handleAck(tcb: Tcb, seg: Segment, effects: EffectSet, unaBefore: number, now: Millis): void {
    const acked = tcb.sndUnaOffset - unaBefore
    if (acked > 0) {
      this.rtt.acked(tcb.sndUnaOffset, now)
      if (unaBefore < 0) this.rtt.settle()
      this.rtt.resetBackoff()
      if (this.path?.handleAnswer(this.timeouts) === true) this.#fitToPath(tcb)
      this.timeouts = 0
    }
    this.recovery.handleAck(tcb, seg, effects, acked, now)
    // RFC 6298 (5.2), (5.3)
    if (acked > 0) this.rtoAt = tcb.flightSize === 0 ? NEVER : now + this.rtt.rtoMs
    if ((effects & Effect.WINDOW) !== 0 && tcb.sndWnd > 0) this.#handleOpenWindow(tcb, acked, now)
    if (tcb.sndWnd === 0) this.timeouts = 0
    this.#armTail(tcb, now)
  }

  // A window that opens is no time to wait for a timer that the probes have backed off to a minute.
  #handleOpenWindow(tcb: Tcb, acked: number, now: Millis): void {
    this.persistAt = NEVER
    if (!this.#probed) return
    this.#probed = false
    if (acked > 0 || tcb.flightSize === 0) return
    this.rtt.resetBackoff()
    this.recovery.resend(tcb, tcb.sndNxtOffset, now)
    this.#beyondProbe = true
    this.rtoAt = now + this.rtt.rtoMs
  }

  /** Acts on the timers that are due. True when the peer has not answered for too long. */
  handleTimeout(tcb: Tcb, now: Millis, maxTimeouts: number): boolean {
    if (now >= this.persistAt) {
      this.persistAt = NEVER
      this.#probe = true
    }
    if (this.#recovery !== null) this.#handleRecoveryTimeout(this.#recovery, tcb, now)
    if (this.path !== null && now >= this.path.raiseAt) {
      this.path.raise()
      this.#fitToPath(tcb)
    }
    if (now < this.rtoAt) return false
    this.rtoAt = NEVER
    if (this.#recovery !== null) this.#recovery.tailAt = NEVER
    if (tcb.flightSize === 0) return false
    this.timeouts++
    if (tcb.sndUnaOffset < 0) this.#synLost = true
    if (this.timeouts > maxTimeouts) return true
    if (this.timeouts >= BLACK_HOLE_TIMEOUTS) this.#suspectBlackHole(tcb, now)
    this.rtt.backOff()
    this.recovery.handleTimeout(tcb, this.timeouts === 1, now)
    return false
  }

  #handleRecoveryTimeout(recovery: Recovery, tcb: Tcb, now: Millis): void {
    if (now >= recovery.wakeAt) recovery.wake(tcb, now)
    if (now < recovery.tailAt) return
    recovery.tailAt = NEVER
    if (tcb.flightSize === 0 || !recovery.mayProbe) return
    recovery.tailDue = true
    this.rtoAt = now + this.rtt.rtoMs
  }

  // The same text again and again without an answer, but never in a shorter segment. A closed window is no black hole.
  #suspectBlackHole(tcb: Tcb, now: Millis): void {
    if (tcb.sndUnaOffset < 0 || tcb.sndWnd === 0) return
    // allocates: once per connection that needs it
    this.path ??= new PathMss()
    if (this.path.handleTimeout(this.timeouts, tcb.flightSize, this.#mss, now)) this.#fitToPath(tcb)
  }

  /**
   * Decides what text or FIN to send next. True: `plan` holds it. `maxLength`, at least an MSS, bounds its text; text of more
   * than an MSS is to be cut on the way and counts as the segments that come of it: as many as the windows have room for,
   * none but the last of them short.
   */
  next(tcb: Tcb, buffers: Buffers, maxLength: number, now: Millis): boolean {
    // One that rests has nothing in flight.
    const recovery = this.#recovery
    if (recovery !== null && tcb.flightSize > 0) {
      const edge = this.#beyondProbe ? this.#newTextEdge(tcb, buffers) : -1
      if (recovery.nextLost(tcb, buffers, maxLength, edge, PLAN)) return true
    }
    // A probe is one segment.
    const one = Math.min(maxLength, this.#mss)
    if (recovery?.tailDue === true && this.#nextTail(tcb, buffers, one, now)) return true
    return this.#nextNew(tcb, buffers, maxLength, now, false)
  }

  // RFC 8985 §7.3: new text whatever the congestion window, else the last segment again.
  #nextTail(tcb: Tcb, buffers: Buffers, maxLength: number, now: Millis): boolean {
    this.recovery.tailDue = false
    const nxt = tcb.sndNxtOffset
    const { plan, recovery } = this
    if (tcb.flightSize === 0 || !recovery.mayProbe) return false
    if (this.#nextNew(tcb, buffers, maxLength, now, true)) {
      // Nothing follows until it is answered, and a peer that is told so need not wait for a second segment.
      plan.push = plan.length > 0
      recovery.probed(nxt + plan.length + (plan.fin ? 1 : 0), false)
      return true
    }
    if (!recovery.planTail(tcb, buffers, maxLength, plan)) return false
    recovery.probed(plan.offset + plan.length + (plan.fin ? 1 : 0), true)
    return true
  }

  // A tail loss probe comes before the retransmission timer, which a probe starts anew.
  #armTail(tcb: Tcb, now: Millis): void {
    const { recovery } = this
    recovery.tailAt = NEVER
    if (!tcb.sackOk || tcb.flightSize === 0 || this.timeouts > 0) return
    // What probes a closed window has a clock of its own.
    if (tcb.sndWnd === 0) return
    if (!recovery.mayProbe || this.rtoAt === NEVER) return
    const patienceMs = probeTimeoutMs(this.rtt.srttMs, tcb.flightSize <= this.#mss)
    if (patienceMs !== NEVER) recovery.tailAt = Math.min(now + patienceMs, this.rtoAt)
  }

  // How far a segment may reach that begins with a probe's octet: over new text, but not into a FIN or beyond the window.
  #newTextEdge(tcb: Tcb, buffers: Buffers): number {
    if (tcb.sndFinSent !== 0) return tcb.sndNxtOffset - 1
    const inWindow = Math.min(buffers.sent.contiguousEnd, tcb.sndUnaOffset + tcb.sndWnd)
    return Math.max(inWindow, tcb.sndNxtOffset)
  }

  #nextNew(tcb: Tcb, buffers: Buffers, maxLength: number, now: Millis, tail: boolean): boolean {
    if (tcb.sndFinSent !== 0) return false
    const nxt = tcb.sndNxtOffset
    const unsent = buffers.sent.contiguousEnd - nxt
    if (unsent < 0 || (unsent === 0 && !this.finQueued)) return false
    if (tcb.flightSize === 0 && now - this.recovery.lastSentAt > this.rtt.rtoMs) {
      this.congestion.restart()
    }
    let usable = tcb.sndWnd - tcb.flightSize
    if (this.#probe && usable <= 0) {
      usable = 1
      this.#probed = true
    }
    let length = Math.min(unsent, maxLength, Math.max(usable, 0))
    if (length > this.#mss) length = this.#wholeSegments(tcb, length, unsent)
    const fin = this.finQueued && length === unsent && usable > length
    if (length === 0 && !fin) {
      this.#armPersist(tcb, now)
      return false
    }
    const room = this.congestion.cwnd - this.recovery.pipe(tcb)
    if (!this.#probe && !tail && room < Math.min(length, this.#mss)) {
      if (tcb.flightSize > 0) return false
    }
    if (!fin && !this.#worthSending(tcb, length, unsent)) {
      this.#armPersist(tcb, now)
      return false
    }
    const plan = this.plan
    plan.offset = nxt
    plan.length = length
    plan.fin = fin && length === unsent
    plan.push = length === unsent
    return true
  }

  // What of `length`, which is more than an MSS, the congestion window and Nagle's algorithm let leave in one piece.
  #wholeSegments(tcb: Tcb, length: number, unsent: number): number {
    const mss = this.#mss
    const room = this.#probe ? mss : this.congestion.cwnd - this.recovery.pipe(tcb)
    if (room < length) return Math.max(room - (room % mss), mss)
    return length === unsent && this.#mayEndShort(tcb) ? length : length - (length % mss)
  }

  // Nagle's algorithm and the sender's side of silly window avoidance (RFC 9293 §3.7.4, §3.8.6.2.1; MUST-38).
  #worthSending(tcb: Tcb, length: number, unsent: number): boolean {
    if (this.#probe || length >= this.#mss) return true
    if (length === unsent && this.#mayEndShort(tcb)) return true
    return !this.corked && length >= tcb.sndWndMax / 2
  }

  // A short segment waits only for another short one (RFC 9293 §A.3): behind full ones it would wait for a delayed ACK.
  #mayEndShort(tcb: Tcb): boolean {
    if (this.finQueued) return true
    return !this.corked && (this.noDelay || this.recovery.shortEnd <= tcb.sndUnaOffset)
  }

  // Text waits, nothing is in flight, and the window is too small: without a probe both sides could wait for ever (MUST-36).
  #armPersist(tcb: Tcb, now: Millis): void {
    if (tcb.flightSize > 0 || this.persistAt !== NEVER) return
    this.persistAt = now + this.rtt.rtoMs
  }

  /**
   * Marks a segment of a connection with ECN that carries `plan`: new text is ECN-capable, what is sent again and what
   * probes a window is not (RFC 3168 §6.1.5, §6.1.6), and the first new text behind a reduction says so (§6.1.2).
   */
  markEcn(tcb: Tcb, seg: Segment): void {
    if (this.plan.offset < tcb.sndNxtOffset || this.plan.length === 0 || this.#probe) return
    seg.ecn = Ecn.ECT_0
    if (!this.recovery.reduced) return
    this.recovery.reduced = false
    seg.flags |= CWR
  }

  /** Notes that `plan` has departed. `nxtBefore` is the stream offset of SND.NXT before it. */
  departed(tcb: Tcb, nxtBefore: number, now: Millis): void {
    const plan = this.plan
    const end = plan.offset + plan.length + (plan.fin ? 1 : 0)
    this.#probe = false
    const again = plan.offset < nxtBefore
    this.recovery.departed(tcb, plan.offset, end, again, now)
    if (again) {
      this.retransmissions++
      this.#beyondProbe = false
      this.rtt.discard()
      // What fast recovery sends again from SND.UNA on has the time of what is sent first: on a path of more than the floor of
      // the time-out, the timer of the segment that was lost would expire before the answer can be here.
      if (plan.offset === tcb.sndUnaOffset && this.recovery.mode === SenderMode.RECOVERY) {
        this.rtoAt = now + this.rtt.rtoMs
      }
    } else {
      this.rtt.start(end, now)
    }
    // RFC 6298 (5.1)
    if (this.rtoAt === NEVER && tcb.flightSize > 0) this.rtoAt = now + this.rtt.rtoMs
    this.persistAt = NEVER
    this.#armTail(tcb, now)
  }
}
