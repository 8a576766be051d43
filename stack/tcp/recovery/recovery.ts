// hot path: no allocation per frame
/**
 * Recovery: what of the flight is lost, what is sent again and when, and what that does to the congestion window. With SACK
 * loss is found by RACK-TLP (RFC 8985) and RFC 6675, without by RFC 6582 (NewReno); fast recovery is paced by RFC 9937, and
 * after a time-out there is slow start by RFC 5681.
 *
 * It reads the Tcb and writes it never; all of its state is private to an owner and starts afresh at a take-over. Loss
 * detection marks ranges of the flight, `nextLost` hands them out. All positions are stream offsets.
 */
import { type Millis, NEVER } from '../../base/time.js'
import { ECE, type Segment } from '../../wire/tcp.js'
import {
  type CongestionAlgorithm,
  type CongestionControl,
  newCongestionControl,
} from '../congestion/congestion-control.js'
import { initialWindow, NO_THRESHOLD } from '../congestion/window.js'
import { Effect, type EffectSet } from '../effects.js'
import { type Buffers, type Tcb, timestampAt } from '../tcb.js'
import { ProportionalRateReduction } from './prr.js'
import { Rack } from './rack.js'
import { MAX_RTO_MS, type RttEstimator } from './rtt.js'
import { DUP_THRESH, Scoreboard } from './scoreboard.js'
import { Mark, SentRanges } from './sent-ranges.js'
import { SpuriousRetransmission } from './spurious.js'

/** How the sender is doing. */
export const SenderMode = {
  /** Nothing is known to be lost. */
  OPEN: 0,
  /** Fast recovery: loss found by acknowledgements. */
  RECOVERY: 1,
  /** The timer expired, or the connection was just taken over: all of the flight is to be sent again. */
  LOSS: 2,
} as const
export type SenderMode = (typeof SenderMode)[keyof typeof SenderMode]

/** What is to be sent next: the stream offset and length of the text, and whether FIN goes with it. */
export interface SendPlan {
  offset: number
  length: number
  fin: boolean
  push: boolean
}

export class Recovery {
  readonly scoreboard = new Scoreboard()
  readonly ranges = new SentRanges()
  congestion: CongestionControl
  mode: SenderMode = SenderMode.OPEN
  /** Reductions of the window that were undone, as nothing had been lost. */
  undone = 0
  /** The window was reduced since the peer was last told of it (RFC 3168 §6.1.2). */
  reduced = false
  /** When the reordering window of something in flight ends (RFC 8985 §6.3). */
  wakeAt: Millis = NEVER
  /** When a tail loss probe leaves (RFC 8985 §7). */
  tailAt: Millis = NEVER
  /** A tail loss probe is to leave. */
  tailDue = false
  /** Where the last segment of new text ends that was short of an MSS. */
  shortEnd = -1
  /** When text or FIN last left. */
  lastSentAt: Millis = 0
  readonly #algorithm: CongestionAlgorithm
  readonly #rtt: RttEstimator
  readonly #prr = new ProportionalRateReduction()
  readonly #rack = new Rack()
  readonly #spurious = new SpuriousRetransmission()
  #mss: number
  #dupAcks = 0
  #duplicates = 0
  #recoveryPoint = -1
  // The next retransmission leaves whatever the congestion window says (RFC 6675 §5 step 4.3).
  #force = false
  // What was in flight at the last reduction: its marks ask for no other (RFC 3168 §6.1.2).
  #reducedTo = -1
  // TLP.end_seq and TLP.is_retrans (RFC 8985 §7.1); -1 when no tail loss probe is in flight.
  #probeEnd = -1
  #probeAgain = false

  /** `mss`: octets of text per segment. */
  constructor(algorithm: CongestionAlgorithm, rtt: RttEstimator, mss: number) {
    this.#algorithm = algorithm
    this.#rtt = rtt
    this.#mss = mss
    this.congestion = newCongestionControl(algorithm, mss)
  }

  /**
   * True when a new one would do as well behind an idle time (RFC 5681 §4.1): nothing is in flight, and no loss, mark or reordering has
   * taught it anything that is to be remembered. What was undone was nothing.
   */
  isFresh(tcb: Tcb): boolean {
    if (this.mode !== SenderMode.OPEN || this.ranges.count > 0) return false
    if (this.#rack.reordering || (tcb.ecnOk && this.reduced)) return false
    const { cwnd, ssthresh } = this.congestion
    return ssthresh === NO_THRESHOLD && cwnd >= initialWindow(this.#mss)
  }

  /** Settles the octets of text per segment; the congestion window starts afresh. */
  setMss(mss: number): void {
    this.#mss = mss
    this.congestion = newCongestionControl(this.#algorithm, mss)
  }

  /** Segments are shorter or longer from now on; the congestion window, which counts octets, stays. */
  changeMss(mss: number): void {
    this.#mss = mss
    this.congestion.changeMss(mss)
  }

  /** What is in flight below `end` is to be sent again from SND.UNA, at once; of the rest nothing is known to be lost. */
  resend(tcb: Tcb, end: number, now: Millis): void {
    if (tcb.flightSize === 0) return
    this.awaitAll(tcb, now)
    this.mode = SenderMode.LOSS
    this.#probeEnd = -1
    this.wakeAt = NEVER
    this.#recoveryPoint = end
    this.#force = true
    this.ranges.markLost(tcb.sndUnaOffset, end, false)
  }

  /** Nothing of the flight is known to be lost, though others sent it. */
  awaitAll(tcb: Tcb, now: Millis): void {
    this.lastSentAt = now
    this.ranges.cover(tcb.sndUnaOffset, tcb.sndNxtOffset, now)
  }

  /** Text that was absent in [from, ...) has been regenerated: it may be sent again. */
  refilled(from: number): void {
    if (this.mode !== SenderMode.OPEN) this.ranges.markLost(from, this.#recoveryPoint, false)
    this.#force = true
  }

  /** Takes an acceptable segment's acknowledgement; `acked` octets are news. */
  handleAck(tcb: Tcb, seg: Segment, effects: EffectSet, acked: number, now: Millis): void {
    const una = tcb.sndUnaOffset
    const nxt = tcb.sndNxtOffset
    // A timestamp that was echoed late makes the mean huge for a while: all in flight would have left at one time.
    this.ranges.resolutionMs = Math.max(Math.min(this.#rtt.srttMs, this.#rack.minRttMs), 0) / 16
    this.ranges.cover(una - acked, nxt, now)
    const duplicates = this.#duplicates
    let delivered = acked > 0 ? this.#deliver(tcb, seg, una - acked, una, now) : 0
    if (tcb.sackOk && seg.sackCount > 0) delivered += this.#takeSack(tcb, seg, una, nxt, now)
    if (acked > 0) {
      if (!tcb.sackOk) delivered = Math.max(acked - this.#dupAcks * this.#mss, 0)
      if (this.#spurious.acked(seg.tsEcr, seg.hasTimestamps)) this.#undo(tcb, seg, now)
      this.#handleNewAck(tcb, una, acked, now)
    } else if ((effects & Effect.DUP_ACK) !== 0) {
      this.#dupAcks++
      if (!tcb.sackOk) delivered = this.#mss
    }
    if (this.#probeEnd >= 0) this.#judgeProbe(tcb, una, acked, this.#duplicates > duplicates, now)
    if (tcb.ecnOk && seg.has(ECE)) this.#takeCongestion(tcb, una, acked, now)
    const lost = this.#detectLoss(tcb, una, now)
    if (this.mode !== SenderMode.RECOVERY) return
    this.#pace(tcb, delivered, acked > 0 && !lost)
  }

  // In fast recovery the window is what is under way and what may leave for this ACK.
  #pace(tcb: Tcb, delivered: number, safe: boolean): void {
    const pipe = this.pipe(tcb)
    const { ssthresh } = this.congestion
    const allowance = this.#prr.allowance(delivered, pipe, ssthresh, this.#mss, safe)
    this.congestion.cwnd = pipe + allowance
  }

  // Returns how many octets are reported for the first time.
  #takeSack(tcb: Tcb, seg: Segment, una: number, nxt: number, now: Millis): number {
    const before = this.scoreboard.sackedLength
    for (let i = 0; i < seg.sackCount; i++) {
      const left = nxt + (((seg.sackEdges[2 * i] as number) - tcb.sndNxt) | 0)
      const right = nxt + (((seg.sackEdges[2 * i + 1] as number) - tcb.sndNxt) | 0)
      if (i === 0 && left < right) this.#takeDuplicate(tcb, seg, left, right, una, now)
      if (left < una || right > nxt || left >= right) continue
      this.#deliver(tcb, seg, left, right, now)
      this.scoreboard.add(left, right)
    }
    return this.scoreboard.sackedLength - before
  }

  // [from, to) has arrived; what of it was reported before is no news. Returns how many octets are.
  #deliver(tcb: Tcb, seg: Segment, from: number, to: number, now: Millis): number {
    let octets = 0
    for (let at = this.scoreboard.skip(from); at < to; at = this.scoreboard.skip(at)) {
      const end = this.scoreboard.holeEnd(at, to)
      octets += end - at
      if (tcb.sackOk) this.#deliverPiece(tcb, seg, at, end, now)
      at = end
    }
    return octets
  }

  #deliverPiece(tcb: Tcb, seg: Segment, from: number, to: number, now: Millis): void {
    const { ranges } = this
    for (let i = ranges.indexOf(from); i < ranges.count && ranges.left(i) < to; i++) {
      if (ranges.has(i, Mark.UNSEEN)) continue
      const sentAt = ranges.firstAt(i)
      const resent = ranges.has(i, Mark.RESENT)
      const echoed = (seg.tsEcr - tcb.tsOffset - Math.floor(sentAt)) | 0
      const ambiguous = resent && seg.hasTimestamps && echoed < 0
      this.#rack.delivered(sentAt, Math.min(ranges.right(i), to), resent, ambiguous, now)
    }
  }

  // RFC 2883 §4: a first block below the ACK, or within the second block, reports a duplicate. One that is older than what
  // can have been in flight is none of ours.
  #takeDuplicate(
    tcb: Tcb,
    seg: Segment,
    left: number,
    right: number,
    una: number,
    now: Millis,
  ): void {
    const within =
      seg.sackCount > 1 &&
      (((seg.sackEdges[0] as number) - (seg.sackEdges[2] as number)) | 0) >= 0 &&
      (((seg.sackEdges[3] as number) - (seg.sackEdges[1] as number)) | 0) >= 0
    if ((right > una && !within) || right - left > tcb.sndWndMax) return
    this.#duplicates++
    this.#rack.duplicate(una, tcb.sndNxtOffset)
    if (this.#spurious.duplicate(right - left)) this.#undo(tcb, seg, now)
  }

  // Nothing had been lost: RFC 4015 §3.2 to §3.4. The round trip that was longer than the timer is measured, lest it expire
  // again.
  #undo(tcb: Tcb, seg: Segment, now: Millis): void {
    this.undone++
    this.congestion.undo()
    if (seg.hasTimestamps && this.mode === SenderMode.LOSS) {
      const rttMs = (timestampAt(tcb, now) - seg.tsEcr) | 0
      if (rttMs > 0 && rttMs < MAX_RTO_MS) this.#rtt.sample(rttMs)
    }
    if (this.mode === SenderMode.OPEN) return
    if (this.mode === SenderMode.RECOVERY) this.#rack.reordering = true
    this.mode = SenderMode.OPEN
    this.#force = false
    this.ranges.clearLost(tcb.sndUnaOffset, tcb.sndNxtOffset)
  }

  #handleNewAck(tcb: Tcb, una: number, acked: number, now: Millis): void {
    this.#dupAcks = 0
    this.scoreboard.trim(una)
    this.ranges.trim(una)
    if (this.mode === SenderMode.OPEN) {
      this.#widen(tcb, acked, now)
    } else if (una >= this.#recoveryPoint) {
      if (this.mode === SenderMode.RECOVERY) this.congestion.handleRecovered()
      else this.#widen(tcb, acked, now)
      this.mode = SenderMode.OPEN
      this.#force = false
      this.#rack.recovered()
    } else if (this.mode === SenderMode.LOSS) {
      this.#widen(tcb, acked, now)
    } else if (!tcb.sackOk) {
      // RFC 6582 §3.2 step 4: a partial acknowledgement shows the next loss.
      this.ranges.markLost(una, una + this.#mss, false)
      this.#force = true
    }
  }

  // RFC 3168 §6.1.2: a mark is as good as a loss, without anything to send again, and counts once in a round trip.
  #takeCongestion(tcb: Tcb, una: number, acked: number, now: Millis): void {
    if (this.mode !== SenderMode.OPEN || una < this.#reducedTo) return
    this.congestion.handleLoss(tcb.flightSize + acked, now)
    // What follows has a reason that no duplicate takes away.
    this.#spurious.begin()
    this.#noteReduction(tcb)
  }

  #noteReduction(tcb: Tcb): void {
    this.reduced = true
    this.#reducedTo = tcb.sndNxtOffset
  }

  // RFC 7661 §4.2: a window that is not in use is not validated, and must not grow.
  #widen(tcb: Tcb, acked: number, now: Millis): void {
    if (2 * (tcb.flightSize + acked) < this.congestion.cwnd) return
    this.congestion.handleAck(acked, now, this.#rtt.srttMs)
  }

  #detectLoss(tcb: Tcb, una: number, now: Millis): boolean {
    this.wakeAt = NEVER
    if (tcb.flightSize === 0) return false
    const lost = tcb.sackOk ? this.#detectBySack(una, now) : this.#detectByDupAcks(una)
    if (lost && this.mode === SenderMode.OPEN) this.#enterRecovery(tcb, now)
    return lost
  }

  #detectBySack(una: number, now: Millis): boolean {
    const { ranges, scoreboard } = this
    const rack = this.#rack
    const recovering = this.mode !== SenderMode.OPEN
    let lost = false
    // RFC 8985 §6.2 step 4: while there is no reordering, counting finds loss without a wait.
    if (!rack.reordering && this.mode !== SenderMode.LOSS) {
      const edge = scoreboard.lostEdge(this.#mss)
      if (edge > una) lost = ranges.markLost(una, edge, true)
      else if (!recovering && this.#dupAcks >= DUP_THRESH && una >= this.#recoveryPoint) {
        lost = ranges.markLost(una, una + this.#mss, true)
      }
    }
    const { sackedLength } = scoreboard
    const windowMs = rack.windowMs(recovering, sackedLength, this.#mss, this.#rtt.srttMs)
    this.wakeAt = rack.detect(ranges, scoreboard, windowMs, now)
    return rack.found || lost
  }

  #detectByDupAcks(una: number): boolean {
    // RFC 6582 §3.2 step 2: data sent before the last recovery's end proves nothing new.
    if (this.#dupAcks < DUP_THRESH || una < this.#recoveryPoint) return false
    if (this.mode !== SenderMode.OPEN) return false
    this.ranges.markLost(una, una + this.#mss, true)
    return true
  }

  /** The time of `wakeAt` has come: what has not arrived by now is lost. */
  wake(tcb: Tcb, now: Millis): void {
    const before = this.mode
    this.#detectLoss(tcb, tcb.sndUnaOffset, now)
    // Nothing was delivered, so recovery begins with its one retransmission.
    if (before !== this.mode && this.mode === SenderMode.RECOVERY) this.#pace(tcb, 0, false)
  }

  /** True when a tail loss probe is of use: nothing is known to be lost, and none is in flight (RFC 8985 §7.2). */
  get mayProbe(): boolean {
    return this.mode === SenderMode.OPEN && this.#probeEnd < 0 && this.wakeAt === NEVER
  }

  /** A tail loss probe leaves that ends at `end`; `again` when it was in flight before. */
  probed(end: number, again: boolean): void {
    this.#probeEnd = end
    this.#probeAgain = again
  }

  // RFC 8985 §7.4.2: a probe that repaired the loss of the tail must not hide that there was one.
  #judgeProbe(tcb: Tcb, una: number, acked: number, duplicate: boolean, now: Millis): void {
    const answered = una >= this.#probeEnd
    if (!answered && !duplicate) return
    if (this.#probeAgain && !duplicate && una === this.#probeEnd && acked > 0) return
    if (this.#probeAgain && una > this.#probeEnd && !duplicate) {
      this.congestion.handleLoss(tcb.flightSize + acked, now)
    }
    this.#probeEnd = -1
  }

  #enterRecovery(tcb: Tcb, now: Millis): void {
    this.mode = SenderMode.RECOVERY
    this.#probeEnd = -1
    this.#recoveryPoint = tcb.sndNxtOffset
    this.#force = true
    this.#prr.start(tcb.flightSize)
    this.#spurious.begin()
    this.congestion.handleLoss(tcb.flightSize, now)
    this.#noteReduction(tcb)
  }

  /** The retransmission timer expired; `first` is false for a repeated time-out of the same data. */
  handleTimeout(tcb: Tcb, first: boolean, now: Millis): void {
    // A closed window is not congestion.
    if (tcb.sndWnd > 0) {
      if (first) this.#spurious.begin()
      this.congestion.handleTimeout(tcb.flightSize, first, now)
      this.#noteReduction(tcb)
    }
    // RFC 2018 §8: after a time-out the reports are no longer trusted.
    this.scoreboard.clear()
    this.#dupAcks = 0
    this.resend(tcb, tcb.sndNxtOffset, now)
  }

  // RFC 6675 §4 SetPipe(): octets believed to be under way. RFC 3042: each duplicate ACK tells of a segment that is not.
  pipe(tcb: Tcb): number {
    const left = tcb.sackOk ? this.scoreboard.sackedLength : this.#dupAcks * this.#mss
    const lost = this.mode === SenderMode.OPEN ? 0 : this.ranges.lostLength(this.scoreboard)
    return Math.max(tcb.flightSize - left - lost, 0)
  }

  /** Plans what is lost and may be sent again now: no further than it is lost, or than `edge` unless that is -1. */
  nextLost(tcb: Tcb, buffers: Buffers, maxLength: number, edge: number, plan: SendPlan): boolean {
    if (this.mode === SenderMode.OPEN) return false
    const nxt = tcb.sndNxtOffset
    for (;;) {
      const offset = this.ranges.firstLost(this.scoreboard)
      if (offset < 0 || offset >= nxt) return false
      if (!this.#force && this.pipe(tcb) + this.#mss > this.congestion.cwnd) return false
      const end = edge < 0 ? this.ranges.lostEnd(offset) : edge
      const hole = this.scoreboard.holeEnd(offset, end)
      const most = maxLength > this.#mss ? this.#wholeSegments(tcb, offset, maxLength) : maxLength
      const absent = this.#planAgain(tcb, buffers, offset, Math.min(offset + most, hole), plan)
      if (absent === 0) return true
      // Text that this node never had: the application regenerates it, or the peer has it already.
      this.ranges.clearLost(offset, offset + absent)
    }
  }

  // How many octets from `offset` on may be sent again in one piece: an MSS, or as many whole ones as the windows let.
  #wholeSegments(tcb: Tcb, offset: number, maxLength: number): number {
    const room = Math.min(
      maxLength,
      this.congestion.cwnd - this.pipe(tcb),
      tcb.sndUnaOffset + tcb.sndWnd - offset,
    )
    return Math.max(room - (room % this.#mss), this.#mss)
  }

  /** Plans the last octets in flight that are not reported. */
  planTail(tcb: Tcb, buffers: Buffers, maxLength: number, plan: SendPlan): boolean {
    const end = this.scoreboard.lastHoleEnd(tcb.sndNxtOffset)
    const { ranges } = this
    // What left by itself is sent again by itself: a FIN, or less than a full segment.
    const alone = ranges.count > 0 && end === tcb.sndNxtOffset ? ranges.left(ranges.count - 1) : 0
    const below = Math.max(this.scoreboard.reportedBelow(end), tcb.sndUnaOffset)
    const from = Math.max(end - maxLength, below, alone)
    if (from >= end) return false
    return this.#planAgain(tcb, buffers, from, end, plan) === 0
  }

  // Plans [from, to) of the flight, FIN with it when it reaches that far. Returns how many octets are absent, 0 when planned.
  #planAgain(tcb: Tcb, buffers: Buffers, from: number, to: number, plan: SendPlan): number {
    const nxt = tcb.sndNxtOffset
    const textEnd = tcb.sndFinSent !== 0 ? nxt - 1 : Math.max(nxt, to)
    const limit = Math.min(to, textEnd)
    let length = 0
    if (from < limit) {
      length = buffers.sent.presentFrom(from, limit)
      if (length < 0) return -length
    }
    plan.offset = from
    plan.length = length
    plan.fin = tcb.sndFinSent !== 0 && from + length === textEnd
    plan.push = true
    return 0
  }

  /** [from, to) leaves; `again` when it was in flight before. */
  departed(tcb: Tcb, from: number, to: number, again: boolean, now: Millis): void {
    this.lastSentAt = now
    this.ranges.sent(from, to, now)
    this.#prr.sent(to - from)
    if (!again && (to - from) % this.#mss !== 0) this.shortEnd = to
    if (!again) return
    this.#force = false
    this.#spurious.resent(to - from, timestampAt(tcb, now), tcb.tsOk)
  }
}
