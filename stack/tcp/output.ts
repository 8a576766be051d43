// hot path: no allocation per frame
/**
 * Output: where the next octet goes that the application writes, and where a segment's text comes from.
 *
 * As a rule that is the end of what waits to be sent. Behind a take-over the application starts from an earlier point and
 * regenerates: octets that the peer may already have are compared with what was overheard and not sent twice (P22), octets
 * that nobody here overheard fill their hole, and from the end on all is new.
 */
import type { Row } from '../base/row.js'
import type { StreamBuffer } from '../base/stream-buffer.js'
import { type Frame, HEADROOM } from '../wire/frame.js'

/** What an application did again behind a take-over. */
class Regeneration {
  verified = 0
  unverified = 0
  divergedAt = -1
  refilledFrom = -1
}

export class Output {
  /** Stream offset of the application's next octet. */
  offset = 0
  /** There was no room for all that the application wrote. */
  blocked = false
  readonly #sent: StreamBuffer
  // Null until something is regenerated or skipped.
  #again: Regeneration | null = null

  constructor(sent: StreamBuffer) {
    this.#sent = sent
  }

  /** Puts into `row` what cannot be told from the text: the application is at the end of it. */
  putInto(row: Row): void {
    row.putDouble(this.verified)
    row.putDouble(this.unverified)
  }

  /** The output that was put into `row`. */
  // allocates: behind an idle time
  static takeFrom(row: Row, sent: StreamBuffer): Output {
    const output = new Output(sent)
    output.offset = sent.end
    const verified = row.takeDouble()
    const unverified = row.takeDouble()
    if (verified + unverified > 0) {
      const again = output.#regeneration()
      again.verified = verified
      again.unverified = unverified
    }
    return output
  }

  /** Octets that were regenerated and found equal to what had been sent. */
  get verified(): number {
    return this.#again?.verified ?? 0
  }

  /** Octets that were regenerated or skipped and could not be compared, as they were acknowledged and gone. */
  get unverified(): number {
    return this.#again?.unverified ?? 0
  }

  /** Stream offset of the first regenerated octet that differs from what the peer was sent, or -1. */
  get divergedAt(): number {
    return this.#again?.divergedAt ?? -1
  }

  /** Offset from which a hole was filled by the last `write`, or -1. */
  get refilledFrom(): number {
    return this.#again?.refilledFrom ?? -1
  }

  /** True while the application repeats what has been sent before. */
  get regenerating(): boolean {
    return this.offset < this.#sent.end
  }

  /**
   * Takes `bytes[from, to)`, of which at most `room` octets may be new. Returns how many were taken; fewer than given when
   * there is no more room, or when the output diverged (`divergedAt`).
   */
  write(bytes: Uint8Array, from: number, to: number, room: number): number {
    const first = from
    if (this.#again !== null) this.#again.refilledFrom = -1
    while (from < to && this.regenerating) {
      const step = this.#regenerate(this.#regeneration(), bytes, from, to)
      if (this.divergedAt >= 0) return from - first
      from += step
    }
    const length = Math.min(to - from, room)
    if (length > 0 && this.#sent.put(this.offset, bytes, from, from + length)) {
      this.offset += length
      from += length
    }
    return from - first
  }

  /**
   * Makes [offset, offset + length) of the stream the text of the empty `frame`, which has its headroom. Of a super-frame a device
   * that gathers takes it from the send buffer itself; else it is copied.
   */
  fill(frame: Frame, offset: number, length: number): void {
    const sent = this.#sent
    const place = frame.gathers && frame.gsoSize > 0 ? sent.placeOf(offset, length) : -1
    if (place >= 0) {
      frame.refer(sent.memory, place, length)
      return
    }
    if (length > 0) sent.copyTo(offset, length, frame.bytes, HEADROOM)
    frame.end = HEADROOM + length
  }

  /** Counts `length` octets as produced that the stack has, or the peer has acknowledged. */
  skip(length: number): void {
    this.offset += length
    if (length > 0) this.#regeneration().unverified += length
  }

  #regeneration(): Regeneration {
    // allocates: once per connection that was taken over
    this.#again ??= new Regeneration()
    return this.#again
  }

  // Takes a run of octets below the end of what is kept. Returns its length.
  #regenerate(again: Regeneration, bytes: Uint8Array, from: number, to: number): number {
    const sent = this.#sent
    const limit = Math.min(sent.end, this.offset + (to - from))
    const present = sent.presentFrom(this.offset, limit)
    const length = Math.abs(present)
    if (present > 0) {
      const equal = sent.compare(this.offset, bytes, from, from + length)
      again.verified += equal
      if (equal < length) again.divergedAt = this.offset + equal
    } else if (this.offset < sent.start) {
      again.unverified += length
    } else {
      if (again.refilledFrom < 0) again.refilledFrom = this.offset
      sent.put(this.offset, bytes, from, from + length)
    }
    this.offset += length
    return length
  }
}
