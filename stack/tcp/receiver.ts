// hot path: no allocation per frame
/**
 * Receiver: which window to offer, and whether to acknowledge now or a little later. It reads the Tcb and decides; what it
 * decides is committed when the segment departs.
 */

import { add, type Seq } from '../base/seq.js'
import type { StreamBuffer } from '../base/stream-buffer.js'
import { type Millis, NEVER } from '../base/time.js'
import type { Segment } from '../wire/tcp.js'
import { Effect, type EffectSet } from './effects.js'
import type { Buffers, Tcb } from './tcb.js'

/** RFC 9293 §3.8.6.3 (MUST-58): less than 500 ms. */
export const DELAYED_ACK_MS = 40

/** Full segments acknowledged one by one at the start, while the peer's congestion window is small. */
const QUICK_ACKS = 16

export class Receiver {
  /** Octets of text the application may leave unread. */
  limit: number
  /** An acknowledgement is to leave at once. */
  ackNow = false
  /** When a delayed acknowledgement leaves. */
  ackAt: Millis = NEVER
  #unacked = 0
  #quickAcks = QUICK_ACKS
  // Stream offset of the latest text out of order, whose block goes first in SACK (RFC 2018 §4).
  #latestOutOfOrder = -1
  // Text that came twice, in stream offsets: the next ACK reports it (RFC 2883 §4); empty when there is none.
  #duplicateLeft = 0
  #duplicateRight = 0

  constructor(limit: number) {
    this.limit = limit
  }

  /** True when text that came twice is to be reported. */
  get duplicate(): boolean {
    return this.#duplicateRight > this.#duplicateLeft
  }

  /** Before a segment is folded: notes text of it that is here already, below RCV.NXT or behind a hole. */
  noteDuplicate(tcb: Tcb, buffers: Buffers, seg: Segment): void {
    if (!tcb.sackOk || seg.textEnd === seg.textStart) return
    const left = tcb.rcvNxtOffset + ((seg.seq - tcb.rcvNxt) | 0)
    const right = left + seg.textEnd - seg.textStart
    const { received } = buffers
    if (left < tcb.rcvNxtOffset) {
      this.#duplicateRight = Math.min(right, tcb.rcvNxtOffset)
    } else if (received.has(left, right)) {
      this.#duplicateRight = right
    } else return
    this.#duplicateLeft = left
  }

  /** Takes what the arrival of a segment asks for. */
  handleEffects(effects: EffectSet, tcb: Tcb, seg: Segment, now: Millis): void {
    if ((effects & Effect.ACK_NOW) !== 0) {
      this.ackNow = true
      if (seg.textLength > 0) {
        this.#latestOutOfOrder = tcb.rcvNxtOffset + ((seg.seq - tcb.rcvNxt) | 0)
      }
    }
    if ((effects & Effect.ACK_LATER) === 0) return
    // RFC 5681 §4.2: at least every second full-sized segment.
    this.#unacked += seg.textLength
    // More than one is enough to tell, as options take their part of a segment.
    if (this.#unacked > tcb.rcvMss || this.#quickAcks > 0) {
      this.ackNow = true
      if (this.#quickAcks > 0) this.#quickAcks--
    } else if (this.ackAt === NEVER) {
      this.ackAt = now + DELAYED_ACK_MS
    }
  }

  handleTimeout(now: Millis): void {
    if (now < this.ackAt) return
    this.ackAt = NEVER
    this.ackNow = true
  }

  /** An acknowledgement departs: nothing is owed any more. */
  acked(): void {
    this.ackNow = false
    this.ackAt = NEVER
    this.#unacked = 0
    this.#duplicateRight = this.#duplicateLeft
  }

  /**
   * The right edge to offer. It never goes back (SHLD-14), and it advances only by a worthwhile step, lest the peer be led
   * into silly windows (RFC 9293 §3.8.6.2.2, MUST-39).
   */
  rightEdge(tcb: Tcb, buffers: Buffers): Seq {
    const free = this.#free(tcb, buffers)
    const step = free - tcb.rcvWnd
    if (step < Math.min(this.limit / 2, tcb.rcvMss)) return tcb.rcvAdv
    return add(tcb.rcvNxt, free)
  }

  // Octets there is room for, as far as the window field can say it.
  #free(tcb: Tcb, buffers: Buffers): number {
    const held = buffers.received.contiguousEnd - buffers.received.start
    return Math.min(this.limit - held, 0xffff << tcb.rcvScale)
  }

  /** The window field for the edge that `rightEdge` gives. `shift` is 0 for a SYN. */
  windowField(tcb: Tcb, buffers: Buffers, shift: number): number {
    const window = (this.rightEdge(tcb, buffers) - tcb.rcvNxt) | 0
    // Rounded up, as rounding down would move the edge back.
    return Math.min((window + (1 << shift) - 1) >> shift, 0xffff)
  }

  /** True when the application has read so much that the peer should hear of the room. */
  wantsWindowUpdate(tcb: Tcb, buffers: Buffers): boolean {
    if (this.rightEdge(tcb, buffers) === tcb.rcvAdv) return false
    // With an open window an update is worth a segment only when it doubles or nearly so; a closed one must be opened.
    const free = this.#free(tcb, buffers)
    return tcb.rcvWnd < tcb.rcvMss || free - tcb.rcvWnd >= this.limit / 2
  }

  /**
   * Adds SACK blocks for what lies behind the first hole: the latest first (RFC 2018 §4); in front of them one for text that
   * came twice (RFC 2883 §4).
   */
  addSackBlocks(tcb: Tcb, received: StreamBuffer, seg: Segment): void {
    const room = seg.hasTimestamps ? 3 : 4
    const latest = this.#latestOutOfOrder
    if (this.duplicate) {
      const at = tcb.rcvNxtOffset
      seg.addSack(
        add(tcb.rcvNxt, this.#duplicateLeft - at),
        add(tcb.rcvNxt, this.#duplicateRight - at),
      )
    }
    let first = -1
    for (let i = 0; i < received.rangeCount; i++) {
      if (latest >= received.rangeLeft(i) && latest < received.rangeRight(i)) first = i
    }
    if (first >= 0) addBlock(tcb, received, seg, first)
    for (let i = received.rangeCount - 1; i >= 0 && seg.sackCount < room; i--) {
      if (i !== first) addBlock(tcb, received, seg, i)
    }
  }
}

function addBlock(tcb: Tcb, received: StreamBuffer, seg: Segment, index: number): void {
  seg.addSack(
    add(tcb.rcvNxt, received.rangeLeft(index) - tcb.rcvNxtOffset),
    add(tcb.rcvNxt, received.rangeRight(index) - tcb.rcvNxtOffset),
  )
}
