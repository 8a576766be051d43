// hot path: no allocation per frame
/**
 * The SACK scoreboard of a sender (RFC 2018, RFC 6675): which octets above SND.UNA the peer has reported. It is advisory: a
 * take-over starts with an empty one. Offsets are stream offsets.
 */
import { giveTable, NO_TABLE, takeTable } from '../../base/table-pool.js'

/** Intervals kept; a report that needs more is ignored, which costs a retransmission and nothing else. */
export const MAX_SACKED_RANGES = 64

/** RFC 6675 §2: DupThresh. */
export const DUP_THRESH = 3

/** What the peer has reported, as intervals in ascending order that do not touch. */
export class Scoreboard {
  #edges: Float64Array = NO_TABLE
  #count = 0
  /** Octets reported. */
  sackedLength = 0

  get count(): number {
    return this.#count
  }

  /** One behind the highest octet reported, or -1. */
  get highest(): number {
    return this.#count === 0 ? -1 : (this.#edges[2 * this.#count - 1] as number)
  }

  clear(): void {
    this.#count = 0
    this.sackedLength = 0
    giveTable(this.#edges)
    this.#edges = NO_TABLE
  }

  /** Notes that [left, right) has arrived at the peer. True when that is news. */
  add(left: number, right: number): boolean {
    if (this.#edges === NO_TABLE) this.#edges = takeTable(2 * MAX_SACKED_RANGES)
    const edges = this.#edges
    let first = 0
    while (first < this.#count && (edges[2 * first + 1] as number) < left) first++
    let last = first
    let covered = 0
    while (last < this.#count && (edges[2 * last] as number) <= right) {
      const l = edges[2 * last] as number
      const r = edges[2 * last + 1] as number
      if (l <= left && r >= right) return false
      if (l < left) left = l
      if (r > right) right = r
      covered += r - l
      last++
    }
    if (last === first && this.#count >= MAX_SACKED_RANGES) return false
    edges.copyWithin(2 * first + 2, 2 * last, 2 * this.#count)
    edges[2 * first] = left
    edges[2 * first + 1] = right
    this.#count += 1 - (last - first)
    this.sackedLength += right - left - covered
    return true
  }

  /** Forgets what lies below `una`, which is acknowledged now. */
  trim(una: number): void {
    const edges = this.#edges
    let gone = 0
    while (gone < this.#count && (edges[2 * gone + 1] as number) <= una) {
      this.sackedLength -= (edges[2 * gone + 1] as number) - (edges[2 * gone] as number)
      gone++
    }
    if (gone === this.#count) {
      this.clear()
      return
    }
    if (gone > 0) {
      edges.copyWithin(0, 2 * gone, 2 * this.#count)
      this.#count -= gone
    }
    if (this.#count > 0 && (edges[0] as number) < una) {
      this.sackedLength -= una - (edges[0] as number)
      edges[0] = una
    }
  }

  /** The first octet at or above `offset` that is not reported. */
  skip(offset: number): number {
    for (let i = 0; i < this.#count; i++) {
      if (offset < (this.#edges[2 * i] as number)) return offset
      if (offset < (this.#edges[2 * i + 1] as number)) return this.#edges[2 * i + 1] as number
    }
    return offset
  }

  /** Where the unreported octets from `offset` on end: the next reported one, or `limit`. */
  holeEnd(offset: number, limit: number): number {
    for (let i = 0; i < this.#count; i++) {
      const left = this.#edges[2 * i] as number
      if (left > offset) return Math.min(left, limit)
    }
    return limit
  }

  /** One behind the highest octet below `nxt` that is not reported. */
  lastHoleEnd(nxt: number): number {
    return this.highest === nxt ? (this.#edges[2 * this.#count - 2] as number) : nxt
  }

  /** One behind the highest octet reported below `offset`, or -1. */
  reportedBelow(offset: number): number {
    for (let i = this.#count - 1; i >= 0; i--) {
      const right = this.#edges[2 * i + 1] as number
      if (right <= offset) return right
    }
    return -1
  }

  /** How many octets of [from, to) are not reported. */
  unsacked(from: number, to: number): number {
    if (to <= from) return 0
    let length = to - from
    for (let i = 0; i < this.#count; i++) {
      const left = Math.max(this.#edges[2 * i] as number, from)
      const right = Math.min(this.#edges[2 * i + 1] as number, to)
      if (right > left) length -= right - left
    }
    return length
  }

  /**
   * RFC 6675 §4 IsLost(): unreported octets below this offset are taken as lost, because three reported intervals, or more
   * than two segments of reported octets, lie above. -1 when there is no such evidence.
   */
  lostEdge(mss: number): number {
    let octets = 0
    for (let i = this.#count - 1; i >= 0; i--) {
      octets += (this.#edges[2 * i + 1] as number) - (this.#edges[2 * i] as number)
      if (octets > (DUP_THRESH - 1) * mss || this.#count - i >= DUP_THRESH) {
        return this.#edges[2 * i] as number
      }
    }
    return -1
  }
}
