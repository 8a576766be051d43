// hot path: no allocation per frame
/**
 * TraceStream: one direction of a connection as a trace has it: its octets in order, and what can be said of how they came.
 *
 * A trace has no window and no acknowledgement to wait for: whatever octet was seen counts, and of an octet that was sent twice the
 * first copy counts, as an endpoint had it first. What has come in order goes to the sink at once, so that a stream of any length
 * passes through; behind a hole at most MAX_AHEAD octets are kept.
 */
import {
  add,
  diff,
  FIN,
  type Millis,
  type Segment,
  type Seq,
  StreamBuffer,
  SYN,
  ZERO,
} from '../stack/index.js'

/** Takes the octets of a stream, in order. `bytes` is borrowed. */
export type TextSink = (bytes: Uint8Array, from: number, to: number) => void

/** Octets that are kept behind a hole. */
const MAX_AHEAD = 16 * 1024 * 1024
/** What lies further from the stream's end than the largest window belongs to nobody. */
const MAX_DISTANCE = 2 ** 30
const PIECE = 65_536

/** What the SYN of one direction offered; -1 and false: not offered. */
export interface TraceOffers {
  readonly mss: number
  readonly windowScale: number
  readonly sackPermitted: boolean
  readonly timestamps: boolean
}

export class TraceStream {
  /** The offers of its SYN; null when that is not in the trace. */
  offers: TraceOffers | null = null
  /** Sequence number of its SYN, when `offers` is there. */
  isn: Seq = ZERO
  segments = 0
  /** Octets that came in order, from the SYN on, or from where the first segment in the trace stands. */
  octets = 0
  /** Segments with text of which no octet was new. */
  retransmissions = 0
  /** Segments with text that came behind a hole, or filled one. */
  outOfOrder = 0
  /** Octets that were not kept: beyond all limits, or of nobody's window. */
  refused = 0
  finSeen = false
  lastAt: Millis = 0
  readonly #sink: TextSink
  readonly #buffer = new StreamBuffer(MAX_AHEAD)
  // The sequence number of the octet at #buffer.contiguousEnd.
  #next: Seq = ZERO
  #started = false
  #piece: Uint8Array | null = null

  constructor(sink: TextSink) {
    this.#sink = sink
  }

  /** True when octets are missing between what came in order and the last octet seen. */
  get hasHole(): boolean {
    return this.#buffer.rangeCount > 0
  }

  /** The sequence number behind the octets that came in order. */
  get next(): Seq {
    return this.#next
  }

  /** Takes one segment of this direction. `seg` is borrowed. */
  observe(seg: Segment, now: Millis): void {
    this.segments++
    this.lastAt = now
    if (seg.has(SYN)) this.#takeSyn(seg)
    else if (!this.#started) this.#startAt(seg.seq)
    const length = seg.textEnd - seg.textStart
    if (length > 0) this.#takeText(seg, seg.has(SYN) ? add(seg.seq, 1) : seg.seq)
    if (seg.has(FIN)) this.finSeen = true
  }

  // allocates: once per connection
  #takeSyn(seg: Segment): void {
    if (this.offers !== null) return
    this.offers = {
      mss: seg.mss,
      windowScale: seg.windowScale,
      sackPermitted: seg.sackPermitted,
      timestamps: seg.hasTimestamps,
    }
    this.isn = seg.seq
    if (!this.#started) this.#startAt(add(seg.seq, 1))
  }

  #startAt(next: Seq): void {
    this.#started = true
    this.#next = next
  }

  #takeText(seg: Segment, at: Seq): void {
    const buffer = this.#buffer
    const distance = diff(at, this.#next)
    const length = seg.textEnd - seg.textStart
    const offset = buffer.contiguousEnd + distance
    const end = offset + length
    if (Math.abs(distance) > MAX_DISTANCE || end - buffer.start > MAX_AHEAD) {
      this.refused += length
    } else if (end <= buffer.contiguousEnd) {
      this.retransmissions++
    } else if (distance === 0 && buffer.rangeCount === 0) {
      this.#advance(length)
      this.#sink(seg.text, seg.textStart, seg.textEnd)
      buffer.restart(end)
    } else {
      this.#fill(seg, offset, end)
    }
  }

  // Puts what is new where it belongs, around what is there already.
  #fill(seg: Segment, offset: number, end: number): void {
    const buffer = this.#buffer
    const before = buffer.contiguousEnd
    let isNew = false
    let at = Math.max(offset, buffer.start)
    while (at < end) {
      const run = buffer.presentFrom(at, end)
      const length = Math.abs(run)
      if (run < 0) {
        const from = seg.textStart + (at - offset)
        if (!buffer.put(at, seg.text, from, from + length)) this.refused += length
        isNew = true
      }
      at += length
    }
    if (isNew) this.outOfOrder++
    else this.retransmissions++
    this.#advance(buffer.contiguousEnd - before)
    this.#deliver()
  }

  #advance(length: number): void {
    this.#next = add(this.#next, length)
    this.octets += length
  }

  #deliver(): void {
    const buffer = this.#buffer
    while (buffer.start < buffer.contiguousEnd) {
      const length = Math.min(buffer.contiguousEnd - buffer.start, PIECE)
      // allocates: once per stream with a hole
      this.#piece ??= new Uint8Array(PIECE)
      buffer.copyTo(buffer.start, length, this.#piece, 0)
      this.#sink(this.#piece, 0, length)
      buffer.trim(buffer.start + length)
    }
    if (buffer.rangeCount === 0) this.#piece = null
    buffer.compact()
  }
}
