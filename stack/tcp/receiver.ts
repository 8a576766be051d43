// hot path: no allocation per frame
/**
 * Receiver: which window to offer, and whether to acknowledge now or a little later. It reads the Tcb and decides; what it
 * decides is committed when the segment departs.
 */

import type { Row } from '../base/row.js'
import { add, max, type Seq } from '../base/seq.js'
import type { StreamBuffer } from '../base/stream-buffer.js'
import { type Millis, NEVER } from '../base/time.js'
import { type Segment, SYN } from '../wire/tcp.js'
import { ChallengeBudget } from './challenge.js'
import { Effect, type EffectSet } from './effects.js'
import { type Hold, NO_CLAMP } from './strict.js'
import type { Buffers, Tcb } from './tcb.js'

/** RFC 9293 §3.8.6.3 (MUST-58): less than 500 ms. */
export const DELAYED_ACK_MS = 40
/**
 * The same where text comes one way only. No text of ours will carry the acknowledgement, so only a second segment is waited for; and
 * behind a lost acknowledgement the peer's probe is a single one, on whose answer all depends.
 */
export const ONE_WAY_ACK_MS = 2

/** Blocks that are remembered as reported: one more than a segment has room for, as the next segment may join two. */
const REPORTED_BLOCKS = 5

/** Full segments acknowledged one by one at the start, while the peer's congestion window is small. */
const QUICK_ACKS = 16

/** Segments with text that came since text of ours left, behind which it is the peer who talks. */
const ONE_WAY = 16

/** Segments with text behind one out of order or repeated, for which the path is taken to lose some. */
const WARY = 1024

export class Receiver {
  /** Octets of text the application may leave unread. */
  limit: number
  /** An acknowledgement is to leave at once. */
  ackNow = false
  /** When a delayed acknowledgement leaves. */
  ackAt: Millis = NEVER
  /** Of a strict connection (D2): what its acknowledgements wait for; null: they wait for nobody. */
  hold: Hold | null = null
  #unacked = 0
  #quickAcks = QUICK_ACKS
  // Stream offsets of text that came out of order, one for each block that was reported of late, the latest first; -1 where there is none.
  #reported: Float64Array | null = null
  // Stream offsets of text that came again and is still to be reported (RFC 2883); equal when there is none.
  #againFrom = 0
  #againTo = 0
  // Segments with text since text of ours left, no more than ONE_WAY.
  #oneWay = 0
  // Segments with text that may still come until the path is trusted again.
  #wary = 0
  // Segments with text since the last acknowledgement, and RCV.NXT before the last of them, as a stream offset.
  #arrivals = 0
  #before = 0
  #challenges: ChallengeBudget | null = null

  constructor(limit: number) {
    this.limit = limit
  }

  /** True when a row holds all that is to be remembered: nothing is owed, and nothing out of the ordinary has come. */
  mayRest(now: Millis): boolean {
    if (this.ackNow || this.ackAt !== NEVER || this.hold !== null) return false
    if (this.#againFrom < this.#againTo) return false
    return this.#challenges === null || this.#challenges.isFull(now)
  }

  /** Puts into `row` what is to be remembered of one that may rest. */
  putInto(row: Row): void {
    row.putDouble(this.limit)
    row.putInt(this.#quickAcks)
    row.putInt(this.#oneWay)
    row.putInt(this.#wary)
  }

  /** The receiver that was put into `row`. */
  // allocates: behind an idle time
  static takeFrom(row: Row): Receiver {
    const receiver = new Receiver(row.takeDouble())
    receiver.#quickAcks = row.takeInt()
    receiver.#oneWay = row.takeInt()
    receiver.#wary = row.takeInt()
    return receiver
  }

  /** How much of the connection the peers have, by which SEG.ACK is bounded: see `strict.ts`. NO_CLAMP where that does not matter. */
  get confirmed(): number {
    return this.hold === null ? NO_CLAMP : this.hold.confirmed
  }

  /** Takes what the arrival of a segment asks for. */
  handleEffects(effects: EffectSet, tcb: Tcb, seg: Segment, now: Millis): void {
    const waits = this.confirmed < tcb.rcvNxtOffset
    if (seg.textLength > 0) this.#noteText(effects, tcb, seg)
    if ((effects & Effect.ACK_NOW) !== 0) {
      // What is in order is acknowledged once it is confirmed: the last acknowledgement once more would tell of a loss.
      const late = waits && (effects & (Effect.TEXT | Effect.PEER_FIN)) !== 0
      if (late && this.hold !== null) this.hold.urgent = true
      else this.ackNow = true
      if (seg.textLength > 0) this.#noteOutOfOrder(tcb.rcvNxtOffset, (seg.seq - tcb.rcvNxt) | 0)
    }
    if ((effects & Effect.ACK_LATER) !== 0 && !waits) this.#owe(seg.textLength, tcb, now)
  }

  // Text has come that begins `ahead` of RCV.NXT, if it did: its block is the first to be reported.
  #noteOutOfOrder(rcvNxtOffset: number, ahead: number): void {
    if (ahead <= 0) return
    // allocates: once per connection that text reaches out of order
    this.#reported ??= new Float64Array(REPORTED_BLOCKS).fill(-1)
    this.#reported.copyWithin(1, 0)
    this.#reported[0] = rcvNxtOffset + ahead
  }

  #noteText(effects: EffectSet, tcb: Tcb, seg: Segment): void {
    const inOrder = (effects & Effect.TEXT) !== 0
    // A super-frame is several segments, of which the last may be short.
    const size = tcb.tsOk ? tcb.rcvMss - 12 : tcb.rcvMss
    const several = seg.textLength > size
    const last = several ? seg.textLength % size || size : seg.textLength
    this.#before = Math.max(tcb.rcvNxtOffset - (inOrder ? last : 0), 0)
    this.#arrivals += several ? 2 : 1
    if (this.#oneWay < ONE_WAY) this.#oneWay++
    if (!inOrder) this.#wary = WARY
    else if (this.#wary > 0) this.#wary--
  }

  // Where one acknowledgement tells of many segments and may be lost, all that is in flight hangs on it: it leaves in two, one for
  // all segments but the last. RFC 5681 §4.2 would have many more of them.
  get #splits(): boolean {
    if (this.#arrivals < 2 || this.#wary === 0) return false
    return this.#oneWay >= ONE_WAY && this.confirmed === NO_CLAMP
  }

  /** `confirmed` has moved on: what it lets be acknowledged is owed as if it had arrived now. */
  handleConfirmed(tcb: Tcb, now: Millis): void {
    const { hold } = this
    const length = (this.ackNumber(tcb) - tcb.lastAckSent) | 0
    if (hold === null || length <= 0) return
    if (hold.urgent) this.ackNow = true
    else this.#owe(length, tcb, now)
    hold.urgent = hold.urgent && hold.confirmed < tcb.rcvNxtOffset
  }

  // In-order text of so many octets is to be acknowledged, now or a little later.
  #owe(length: number, tcb: Tcb, now: Millis): void {
    // RFC 5681 §4.2: at least every second full-sized segment.
    this.#unacked += length
    const quick = this.#quickAcks > 0 && length > 0
    // More than one is enough to tell, as options take their part of a segment.
    if (this.#unacked > tcb.rcvMss || quick) {
      this.ackNow = true
      if (quick) this.#quickAcks--
    } else if (this.ackAt === NEVER) {
      this.ackAt = now + (this.#oneWay < ONE_WAY ? DELAYED_ACK_MS : ONE_WAY_ACK_MS)
    }
  }

  /**
   * Before a segment is folded: notes the first piece of its text that has come before, to be reported once (D-SACK,
   * RFC 2883 §4).
   */
  noteRepeated(tcb: Tcb, received: StreamBuffer, seg: Segment): void {
    if (seg.seq === tcb.rcvNxt && received.rangeCount === 0) return
    if (seg.textLength === 0 || !tcb.sackOk || seg.has(SYN)) return
    const from = tcb.rcvNxtOffset + ((seg.seq - tcb.rcvNxt) | 0)
    const to = from + seg.textLength
    if (from < received.contiguousEnd) {
      // What was not acknowledged comes again by rights, and above SEG.ACK a block says something else.
      if (this.confirmed < received.contiguousEnd) return
      this.#againFrom = from
      this.#againTo = Math.min(to, received.contiguousEnd)
      return
    }
    for (let i = 0; i < received.rangeCount; i++) {
      if (received.rangeRight(i) <= from) continue
      this.#againFrom = Math.max(from, received.rangeLeft(i))
      this.#againTo = Math.min(to, received.rangeRight(i))
      return
    }
  }

  /** SEG.ACK: RCV.NXT, or as much of it as is confirmed, or is told of by the first acknowledgement of two. */
  ackNumber(tcb: Tcb): Seq {
    const ahead = tcb.rcvNxtOffset - (this.#splits ? this.#before : this.confirmed)
    return ahead > 0 ? max(tcb.lastAckSent, add(tcb.rcvNxt, -ahead)) : tcb.rcvNxt
  }

  /** True when SACK blocks are to go with the next acknowledgement. */
  hasSackBlocks(received: StreamBuffer): boolean {
    return received.rangeCount > 0 || this.#againFrom < this.#againTo
  }

  /** Behind a promotion: says nothing if the last owner has been heard to acknowledge all that came. */
  rest(tcb: Tcb): void {
    if (tcb.lastAckSent === tcb.rcvNxt) this.ackNow = false
  }

  /** A challenge ACK is asked for (RFC 5961): it leaves at once, if the budget lets it. */
  challenge(now: Millis): void {
    // allocates: once per connection that is attacked
    this.#challenges ??= new ChallengeBudget()
    if (this.#challenges.take(now)) this.ackNow = true
  }

  handleTimeout(now: Millis): void {
    if (now < this.ackAt) return
    this.ackAt = NEVER
    this.ackNow = true
  }

  /** An acknowledgement departs, with `textLength` octets of ours: nothing is owed any more, but the second one of two. */
  acked(textLength: number): void {
    if (textLength > 0) this.#oneWay = 0
    this.ackNow = this.#splits
    this.ackAt = NEVER
    this.#unacked = 0
    this.#arrivals = 0
    this.#againTo = this.#againFrom
  }

  /**
   * The right edge to offer. It never goes back (SHLD-14), and it advances only by a worthwhile step, lest the peer be led
   * into silly windows (RFC 9293 §3.8.6.2.2, MUST-39).
   */
  rightEdge(tcb: Tcb, buffers: Buffers): Seq {
    const free = this.#free(tcb, buffers)
    // Behind the peer's FIN no window is silly any more.
    if (tcb.finReceived) return add(tcb.rcvNxt, Math.max(free, tcb.rcvWnd))
    const step = free - tcb.rcvWnd
    if (step < Math.min(this.limit / 2, tcb.rcvMss)) return tcb.rcvAdv
    return add(tcb.rcvNxt, free)
  }

  // Octets there is room for, as far as the window field can say it: it counts from SEG.ACK.
  #free(tcb: Tcb, buffers: Buffers): number {
    const sayable = (0xffff << tcb.rcvScale) - ((tcb.rcvNxt - this.ackNumber(tcb)) | 0)
    return Math.min(this.limit - buffers.received.readable, sayable)
  }

  /** The window field for the edge that `rightEdge` gives. `shift` is 0 for a SYN. */
  windowField(tcb: Tcb, buffers: Buffers, shift: number): number {
    const window = (this.rightEdge(tcb, buffers) - this.ackNumber(tcb)) | 0
    // Rounded up, as rounding down would move the edge back.
    return Math.min((window + (1 << shift) - 1) >> shift, 0xffff)
  }

  /** True when the application has read so much that the peer should hear of the room. */
  wantsWindowUpdate(tcb: Tcb, buffers: Buffers): boolean {
    if (tcb.finReceived || this.rightEdge(tcb, buffers) === tcb.rcvAdv) return false
    // With an open window an update is worth a segment only when it doubles or nearly so; a closed one must be opened. Half of
    // what can be said, that is: without window scaling no step would ever be half of a large buffer.
    const step = this.#free(tcb, buffers) - tcb.rcvWnd
    const most = Math.min(this.limit, 0xffff << tcb.rcvScale)
    return tcb.rcvWnd < tcb.rcvMss || step >= most / 2 - tcb.rcvMss
  }

  /**
   * Adds SACK blocks: what came again (RFC 2883 §4), then what lies behind the first hole. The block of the latest segment goes first, and
   * behind it those that were reported before it, so that each is told by several acknowledgements in a row (RFC 2018 §4).
   */
  addSackBlocks(tcb: Tcb, received: StreamBuffer, seg: Segment): void {
    const room = seg.hasTimestamps ? 3 : 4
    if (this.#againFrom < this.#againTo) addBlock(tcb, seg, this.#againFrom, this.#againTo)
    const reported = this.#tidyReported(received)
    for (let i = 0; i < reported && seg.sackCount < room; i++) {
      addRange(tcb, received, seg, rangeAt(received, this.#reported?.[i] as number))
    }
    for (let i = received.rangeCount - 1; i >= 0 && seg.sackCount < room; i--) {
      if (!this.#wasReported(received, i, reported)) addRange(tcb, received, seg, i)
    }
  }

  // Of blocks that have joined one is left, of those that were filled none. Returns how many are remembered.
  #tidyReported(received: StreamBuffer): number {
    const offsets = this.#reported
    if (offsets === null) return 0
    let kept = 0
    for (let i = 0; i < REPORTED_BLOCKS; i++) {
      const offset = offsets[i] as number
      const range = offset < 0 ? -1 : rangeAt(received, offset)
      if (range >= 0 && !this.#wasReported(received, range, kept)) offsets[kept++] = offset
    }
    offsets.fill(-1, kept)
    return kept
  }

  // True when one of the first `count` blocks that are remembered is this range.
  #wasReported(received: StreamBuffer, range: number, count: number): boolean {
    for (let i = 0; i < count; i++) {
      if (rangeAt(received, this.#reported?.[i] as number) === range) return true
    }
    return false
  }
}

// The range that holds the octet at `offset`, or -1.
function rangeAt(received: StreamBuffer, offset: number): number {
  for (let i = 0; i < received.rangeCount; i++) {
    if (offset >= received.rangeLeft(i) && offset < received.rangeRight(i)) return i
  }
  return -1
}

function addRange(tcb: Tcb, received: StreamBuffer, seg: Segment, index: number): void {
  addBlock(tcb, seg, received.rangeLeft(index), received.rangeRight(index))
}

function addBlock(tcb: Tcb, seg: Segment, from: number, to: number): void {
  const { rcvNxt, rcvNxtOffset } = tcb
  seg.addSack(add(rcvNxt, from - rcvNxtOffset), add(rcvNxt, to - rcvNxtOffset))
}
