// hot path: no allocation per frame
/**
 * What is in flight, as ranges of the stream that were sent at about the same time and share the same marks. Loss detection
 * marks ranges as lost; whoever sends takes the lost ones first, and a range sent again is no longer lost.
 *
 * The table is bounded: neighbours that left within `resolutionMs` of each other are one range, and when it is full all the
 * same neighbours are joined. A range knows when its first and its last octet left; whatever is judged by it errs towards
 * patience. Private to an owner. All positions are stream offsets; ranges have no gaps between them.
 */
import { giveTable, NO_TABLE, takeTable } from '../../base/table-pool.js'
import type { Millis } from '../../base/time.js'
import type { Scoreboard } from './scoreboard.js'

export const MAX_SENT_RANGES = 256
const FEWEST_RANGES = 16

// What the table has of each range, beside one another.
const Column = { END: 0, FIRST_AT: 1, LAST_AT: 2, MARKS: 3 } as const
const WIDTH = 4

/** Bits of `mark`. */
export const Mark = {
  /** Taken as lost, and not sent again since. */
  LOST: 1,
  /** Sent more than once. */
  RESENT: 2,
  /** Sent by somebody else, or a SYN: nobody here knows when. */
  UNSEEN: 4,
} as const

export class SentRanges {
  /** Neighbours that left within this time are one range. */
  resolutionMs = 0
  /** Ranges. */
  count = 0
  #start = 0
  // A row for each range; none while nothing is in flight.
  #rows: Float64Array = NO_TABLE

  /** Where range `index` begins. */
  left(index: number): number {
    return index === 0 ? this.#start : this.right(index - 1)
  }

  right(index: number): number {
    return this.#rows[WIDTH * index + Column.END] as number
  }

  /** When the first octet of the range left, for the last time. */
  firstAt(index: number): Millis {
    return this.#rows[WIDTH * index + Column.FIRST_AT] as number
  }

  /** When the last octet of the range left. */
  lastAt(index: number): Millis {
    return this.#rows[WIDTH * index + Column.LAST_AT] as number
  }

  has(index: number, mark: number): boolean {
    return (this.#marks(index) & mark) !== 0
  }

  #marks(index: number): number {
    return this.#rows[WIDTH * index + Column.MARKS] as number
  }

  /** One behind the last octet known to have been sent. */
  get end(): number {
    const { count } = this
    return count === 0 ? this.#start : (this.#rows[WIDTH * (count - 1) + Column.END] as number)
  }

  /** The range that holds `offset`, or `count`. */
  indexOf(offset: number): number {
    let low = 0
    let high = this.count
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.right(middle) <= offset) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Everything below `una` is acknowledged. */
  trim(una: number): void {
    if (una <= this.#start) return
    const gone = this.indexOf(una)
    this.#start = una
    if (gone === 0) return
    this.#close(0, gone)
  }

  /** Notes that [from, to) was in flight, sent by whomever, unless it is known already. */
  cover(from: number, to: number, now: Millis): void {
    if (this.count === 0) this.#start = from
    if (to <= this.end) return
    this.#append(to, now, Mark.UNSEEN)
  }

  /** [from, to) leaves now, for the first time or again. */
  sent(from: number, to: number, now: Millis): void {
    if (this.count === 0) this.#start = from
    const { end } = this
    if (from > end) this.#append(from, now, Mark.UNSEEN)
    else if (from < end) this.#resend(from, Math.min(to, end), now)
    if (to > end) this.#append(to, now, 0)
  }

  #append(to: number, now: Millis, marks: number): void {
    const last = this.count - 1
    const same = last >= 0 && this.#marks(last) === marks && this.#near(last, now)
    if (same || (this.#isFull && !this.#makeRoom())) {
      this.#rows[WIDTH * (this.count - 1) + Column.END] = to
      this.#rows[WIDTH * (this.count - 1) + Column.LAST_AT] = now
      return
    }
    this.#put(this.count++, to, now, now, marks)
  }

  get #isFull(): boolean {
    return WIDTH * this.count >= this.#rows.length
  }

  #near(index: number, now: Millis): boolean {
    return now - this.firstAt(index) <= this.resolutionMs
  }

  #resend(from: number, to: number, now: Millis): void {
    this.#split(from)
    this.#split(to)
    const first = this.indexOf(from)
    const last = this.indexOf(to - 1)
    for (let i = first; i <= last; i++) this.#put(i, this.right(i), now, now, Mark.RESENT)
    this.#close(first, last)
    if (first === 0 || this.#marks(first - 1) !== Mark.RESENT || !this.#near(first - 1, now)) return
    if (this.lastAt(first - 1) > now) return
    this.#rows[WIDTH * first + Column.FIRST_AT] = this.firstAt(first - 1)
    this.#close(first - 1, first)
  }

  /** Takes [from, to) as lost, without what was sent again when `onceSent`. True when something new is lost. */
  markLost(from: number, to: number, onceSent: boolean): boolean {
    if (to <= from || this.count === 0) return false
    this.#split(from)
    this.#split(to)
    let news = false
    for (let i = this.indexOf(from); i < this.count && this.left(i) < to; i++) {
      const marks = this.#marks(i)
      if ((marks & Mark.LOST) !== 0 || (onceSent && (marks & Mark.RESENT) !== 0)) continue
      this.#rows[WIDTH * i + Column.MARKS] = marks | Mark.LOST
      news = true
    }
    return news
  }

  /** Takes [from, to) as not lost. */
  clearLost(from: number, to: number): void {
    if (to <= from || this.count === 0) return
    this.#split(from)
    this.#split(to)
    for (let i = this.indexOf(from); i < this.count && this.left(i) < to; i++) {
      this.#rows[WIDTH * i + Column.MARKS] = this.#marks(i) & ~Mark.LOST
    }
  }

  /** The first octet that is lost and not reported by the peer, or -1. */
  firstLost(scoreboard: Scoreboard): number {
    for (let i = 0; i < this.count; i++) {
      if (!this.has(i, Mark.LOST)) continue
      const offset = scoreboard.skip(this.left(i))
      if (offset < this.right(i)) return offset
    }
    return -1
  }

  /** Where the lost octets from `offset` on end. */
  lostEnd(offset: number): number {
    let i = this.indexOf(offset)
    while (i < this.count && this.has(i, Mark.LOST)) i++
    return i === 0 ? this.#start : this.right(i - 1)
  }

  /** Octets that are lost and not reported. */
  lostLength(scoreboard: Scoreboard): number {
    let length = 0
    for (let i = 0; i < this.count; i++) {
      if (this.has(i, Mark.LOST)) length += scoreboard.unsacked(this.left(i), this.right(i))
    }
    return length
  }

  // Makes `at` an edge between two ranges. A table too full for it stays as it is.
  #split(at: number): void {
    if (at <= this.#start || at >= this.end) return
    let index = this.indexOf(at)
    if (this.left(index) === at) return
    if (this.#isFull) {
      if (!this.#makeRoom()) return
      index = this.indexOf(at)
    }
    this.#rows.copyWithin(WIDTH * (index + 1), WIDTH * index, WIDTH * this.count)
    this.#rows[WIDTH * index + Column.END] = at
    this.count++
  }

  // Takes ranges [from, to) out of the table; what follows begins where they began.
  #close(from: number, to: number): void {
    if (to <= from) return
    const { count } = this
    this.count -= to - from
    if (this.count > 0) {
      this.#rows.copyWithin(WIDTH * from, WIDTH * to, WIDTH * count)
      return
    }
    giveTable(this.#rows)
    this.#rows = NO_TABLE
  }

  #put(index: number, end: number, firstAt: Millis, lastAt: Millis, marks: number): void {
    const rows = this.#rows
    const at = WIDTH * index
    rows[at + Column.END] = end
    rows[at + Column.FIRST_AT] = firstAt
    rows[at + Column.LAST_AT] = lastAt
    rows[at + Column.MARKS] = marks
  }

  // A larger table while it may grow, then one with every second edge between equals taken out. False when none are equal.
  #makeRoom(): boolean {
    const rows = this.#rows
    if (rows.length < WIDTH * MAX_SENT_RANGES) {
      this.#rows = takeTable(Math.max(2 * rows.length, WIDTH * FEWEST_RANGES))
      this.#rows.set(rows)
      giveTable(rows)
      return true
    }
    const before = this.count
    for (let i = this.count - 2; i >= 0; i -= 2) {
      const marks = this.#marks(i)
      if (marks !== this.#marks(i + 1)) continue
      const firstAt = Math.min(this.firstAt(i), this.firstAt(i + 1))
      const lastAt = Math.max(this.lastAt(i), this.lastAt(i + 1))
      this.#put(i + 1, this.right(i + 1), firstAt, lastAt, marks)
      this.#close(i, i + 1)
    }
    return this.count < before
  }
}
