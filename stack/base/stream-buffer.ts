// hot path: no allocation per frame
/**
 * StreamBuffer: the octets of one direction of a connection, addressed by their offset in the stream.
 *
 *      start            contiguousEnd        ranges[0]        ranges[1]      end
 *        |--- present ------|..... hole .....|--present--|....|--present--|
 *
 * Data lands in place, whatever its order, in a ring that grows by doubling up to a limit and is given back as soon as nothing
 * is kept; only the intervals are kept beside it. The receive side of an owner and of a shadow, what an owner has to send, and what a shadow retains of what
 * the owner sent are all this one thing. Offsets are 64-bit stream positions held in doubles, never sequence numbers.
 */
import { assert } from './assert.js'
import { giveRing, NO_SLAB, type Slab, SMALLEST_RING, slabWith } from './ring-pool.js'
import type { Row } from './row.js'
import { giveTable, NO_TABLE, takeTable } from './table-pool.js'

/** Intervals behind the first hole that are kept; further ones are refused until the holes fill. */
export const MAX_RANGES = 64

export class StreamBuffer {
  /** Offset of the lowest octet kept. */
  start = 0
  /** Every octet in [start, contiguousEnd) is present. */
  contiguousEnd = 0
  /** Largest span `end - start` that may be kept, in octets. */
  limit: number
  #keep = 0
  // Every octet in [floor, start) is still in its place; `start` while nothing is kept below it.
  #floor = 0
  // The ring is `#slab.size` octets of its memory from `#place` on.
  #slab: Slab = NO_SLAB
  #place = 0
  // How large the next one is to be.
  #nextSize = SMALLEST_RING
  // The offset of the octet in place 0. It moves while nothing is kept, so that what comes and goes in turn stays in the same
  // few places, which the processor's caches know: a copy to memory it does not know takes four times as long.
  #base = 0
  #rangeCount = 0
  // Left and right offsets of the present intervals behind the first hole, ascending, never adjacent.
  #ranges: Float64Array = NO_TABLE

  constructor(limit: number) {
    this.limit = limit
  }

  /** One behind the highest octet present. */
  get end(): number {
    const count = this.#rangeCount
    return count === 0 ? this.contiguousEnd : (this.#ranges[2 * count - 1] as number)
  }

  /** Octets from `start` on that are present without a hole. */
  get readable(): number {
    return this.contiguousEnd - this.start
  }

  /** How many intervals lie behind the first hole. */
  get rangeCount(): number {
    return this.#rangeCount
  }

  rangeLeft(index: number): number {
    return this.#ranges[2 * index] as number
  }

  rangeRight(index: number): number {
    return this.#ranges[2 * index + 1] as number
  }

  /** Offset of the lowest octet that is still there, let go of or not. */
  get floor(): number {
    return this.#keep > 0 ? this.#floor : this.start
  }

  /** Octets below `start` that stay readable by `copyTo` although they have been let go of: for peers that missed them (D1). */
  get keep(): number {
    return this.#keep
  }

  // What lay below while nothing was kept may have been written over, and is not there any more.
  set keep(octets: number) {
    const lowest = this.#keep === 0 ? this.start : this.start - octets
    this.#floor = Math.max(this.#floor, lowest)
    this.#keep = octets
  }

  /** Takes back what was let go of and is still there, and keeps nothing below it from now on. */
  regain(): void {
    this.start = this.floor
    this.#keep = 0
  }

  /** Octets of memory held. */
  get size(): number {
    return this.#slab.size
  }

  /** The memory that octets are kept in, which others may share. It is another one when the buffer has grown or was empty. */
  get memory(): Uint8Array {
    return this.#slab.memory
  }

  /** Where in `memory` the `length` octets from `offset` on lie, or -1 when they do not lie in one piece. They must be present. */
  placeOf(offset: number, length: number): number {
    const { size } = this.#slab
    const index = (offset - this.#base) & (size - 1)
    return index + length <= size ? this.#place + index : -1
  }

  /** How many octets from `offset` on are present and lie in one piece of `memory`. */
  runFrom(offset: number): number {
    if (offset < this.start || offset >= this.contiguousEnd) return 0
    const { size } = this.#slab
    return Math.min(this.contiguousEnd - offset, size - ((offset - this.#base) & (size - 1)))
  }

  /** Starts an empty buffer at `offset`, forgetting all that was kept. */
  restart(offset: number): void {
    this.start = offset
    this.#floor = offset
    this.contiguousEnd = offset
    this.#rangeCount = 0
    this.#giveBack()
  }

  /** True when every octet of [from, to) is present. */
  has(from: number, to: number): boolean {
    if (from < this.start) return false
    if (to <= this.contiguousEnd) return true
    if (from < this.contiguousEnd) return false
    for (let i = 0; i < this.#rangeCount; i++) {
      if (from >= this.rangeLeft(i) && to <= this.rangeRight(i)) return true
    }
    return false
  }

  /**
   * From `offset` on, how many octets up to `to` are present without a hole; negative: minus the octets that are absent.
   * 0 only when `offset >= to`.
   */
  presentFrom(offset: number, to: number): number {
    if (offset >= to) return 0
    if (offset < this.start) return offset - Math.min(to, this.start)
    if (offset < this.contiguousEnd) return Math.min(to, this.contiguousEnd) - offset
    for (let i = 0; i < this.#rangeCount; i++) {
      const left = this.rangeLeft(i)
      if (offset < left) return offset - Math.min(to, left)
      if (offset < this.rangeRight(i)) return Math.min(to, this.rangeRight(i)) - offset
    }
    return offset - to
  }

  /**
   * Stores `bytes[from, to)` at `offset`, copying them. What lies below `start` is left out; octets already present are
   * written again, which changes nothing as a stream's octets never change. False, with nothing stored, when the span
   * would exceed the limit or there is no room for another interval.
   */
  put(offset: number, bytes: Uint8Array, from: number, to: number): boolean {
    if (offset < this.start) {
      from += this.start - offset
      offset = this.start
    }
    if (from >= to) return true
    const end = offset + (to - from)
    if (end - this.start > this.limit) return false
    const floor = this.floor
    if (floor === this.contiguousEnd && this.#rangeCount === 0) this.#base = floor
    if (!this.#insert(offset, end)) return false
    this.#reserve(end - floor, floor)
    this.#copyIn(offset, bytes, from, to)
    return true
  }

  /** Copies [offset, offset + length), all of it present, to `target` at `at`. */
  copyTo(offset: number, length: number, target: Uint8Array, at: number): void {
    assert(offset >= this.floor && offset + length <= this.end, 'octets to copy are kept')
    const { memory, size } = this.#slab
    const place = this.#place
    let index = (offset - this.#base) & (size - 1)
    for (let left = length; left > 0; ) {
      const run = Math.min(left, size - index)
      copyBytes(target, at, memory, place + index, run)
      at += run
      left -= run
      index = 0
    }
  }

  /**
   * Compares `bytes[from, to)` with the octets kept at `offset`, all of them present. Returns how many are equal before
   * the first difference.
   */
  compare(offset: number, bytes: Uint8Array, from: number, to: number): number {
    assert(offset >= this.start && offset + (to - from) <= this.end, 'octets to compare are kept')
    const { memory, size } = this.#slab
    const place = this.#place
    const first = offset - this.#base - from
    for (let i = from; i < to; i++) {
      if (memory[place + ((first + i) & (size - 1))] !== bytes[i]) return i - from
    }
    return to - from
  }

  /** Forgets every octet below `offset`, present or not. */
  trim(offset: number): void {
    if (offset <= this.start) return
    // Behind a hole nothing is kept that reaches up to `start`.
    this.#floor = offset > this.contiguousEnd ? offset : Math.max(this.floor, offset - this.#keep)
    this.start = offset
    if (offset > this.contiguousEnd) this.contiguousEnd = offset
    if (this.#rangeCount > 0) this.#absorb()
    if (this.floor === this.end) this.#giveBack()
  }

  /** When nothing is kept from `start` on, lets go of what is below it, too. */
  compact(): void {
    if (this.end !== this.start) return
    this.#floor = this.start
    this.#giveBack()
  }

  /** True when nothing is kept, and no memory held. */
  get empty(): boolean {
    return this.#slab === NO_SLAB && this.#rangeCount === 0
  }

  /** Puts an empty buffer into `row`. */
  putInto(row: Row): void {
    row.putDouble(this.start)
    row.putDouble(this.limit)
    row.putInt(this.#keep)
    row.putInt(this.#nextSize)
  }

  /** The empty buffer that was put into `row`. */
  // allocates: behind an idle time
  static takeFrom(row: Row): StreamBuffer {
    const start = row.takeDouble()
    const buffer = new StreamBuffer(row.takeDouble())
    buffer.restart(start)
    buffer.#keep = row.takeInt()
    buffer.#nextSize = row.takeInt()
    return buffer
  }

  // Nothing is kept.
  #giveBack(): void {
    const slab = this.#slab
    if (slab === NO_SLAB) return
    // Who used less than half of it is content with half the next time.
    const few = this.contiguousEnd - this.#base <= slab.size / 2
    this.#nextSize = few ? Math.max(slab.size / 2, SMALLEST_RING) : slab.size
    giveRing(slab, this.#place)
    this.#slab = NO_SLAB
    this.#dropRanges()
  }

  #dropRanges(): void {
    this.#rangeCount = 0
    if (this.#ranges === NO_TABLE) return
    giveTable(this.#ranges)
    this.#ranges = NO_TABLE
  }

  // Adds [left, right) to what is present. False when a new interval finds no room.
  #insert(left: number, right: number): boolean {
    if (left <= this.contiguousEnd) {
      if (right > this.contiguousEnd) {
        this.contiguousEnd = right
        if (this.#rangeCount > 0) this.#absorb()
      }
      return true
    }
    let first = 0
    while (first < this.#rangeCount && this.rangeRight(first) < left) first++
    let last = first
    while (last < this.#rangeCount && this.rangeLeft(last) <= right) {
      if (this.rangeLeft(last) < left) left = this.rangeLeft(last)
      if (this.rangeRight(last) > right) right = this.rangeRight(last)
      last++
    }
    if (last === first && this.#rangeCount >= MAX_RANGES) return false
    if (this.#ranges === NO_TABLE) this.#ranges = takeTable(2 * MAX_RANGES)
    this.#ranges.copyWithin(2 * first + 2, 2 * last, 2 * this.#rangeCount)
    this.#ranges[2 * first] = left
    this.#ranges[2 * first + 1] = right
    this.#rangeCount += 1 - (last - first)
    return true
  }

  // Joins the intervals that the contiguous part has reached.
  #absorb(): void {
    let reached = 0
    while (reached < this.#rangeCount && this.rangeLeft(reached) <= this.contiguousEnd) {
      if (this.rangeRight(reached) > this.contiguousEnd) {
        this.contiguousEnd = this.rangeRight(reached)
      }
      reached++
    }
    if (reached === this.#rangeCount) {
      this.#dropRanges()
      return
    }
    if (reached === 0) return
    this.#ranges.copyWithin(0, 2 * reached, 2 * this.#rangeCount)
    this.#rangeCount -= reached
  }

  // Room for `span` octets from `floor` on, where the first of those lies that stay.
  #reserve(span: number, floor: number): void {
    const old = this.#slab
    if (span <= old.size) return
    let size = old === NO_SLAB ? this.#nextSize : old.size
    while (size < span) size *= 2
    const slab = slabWith(size)
    const place = slab.take()
    // Each octet keeps its place modulo the ring's size, so only the runs between the wraps of the old ring move.
    const stop = old === NO_SLAB ? floor : Math.min(this.end, floor + old.size)
    for (let at = floor; at < stop; ) {
      const index = (at - this.#base) & (old.size - 1)
      const target = (at - this.#base) & (size - 1)
      const run = Math.min(stop - at, old.size - index, size - target)
      copyBytes(slab.memory, place + target, old.memory, this.#place + index, run)
      at += run
    }
    giveRing(old, this.#place)
    this.#slab = slab
    this.#place = place
  }

  #copyIn(offset: number, bytes: Uint8Array, from: number, to: number): void {
    const { memory, size } = this.#slab
    const place = this.#place
    let index = (offset - this.#base) & (size - 1)
    while (from < to) {
      const run = Math.min(to - from, size - index)
      copyBytes(memory, place + index, bytes, from, run)
      from += run
      index = 0
    }
  }
}

// A native copy costs about 40 ns and a view to set up, so short runs are copied by hand. For long ones there is nothing better
// in the language: a loop over words takes ten times as long for a segment as the view and its collection.
function copyBytes(
  target: Uint8Array,
  at: number,
  source: Uint8Array,
  from: number,
  length: number,
): void {
  if (length < 64) {
    for (let i = 0; i < length; i++) target[at + i] = source[from + i] as number
  } else {
    // allocates: one view, which dies young
    target.set(source.subarray(from, from + length), at)
  }
}
