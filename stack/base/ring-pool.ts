// hot path: no allocation per frame
/**
 * The memory of stream buffers: rings that are lent out while something is kept in them and given back when nothing is. An idle
 * connection so has none, and a busy one gets memory that the processor's caches still know.
 *
 * Sizes are powers of two. Small rings are pieces of a slab, as a typed array of its own takes more than what such a ring keeps, and
 * so does an object: a ring is known by its slab and its place there. A slab all of whose rings are back is let go of. A larger ring
 * has a slab to itself, and of these some stay here for the next who needs one.
 */

/** The smallest ring. */
export const SMALLEST_RING = 16
/** Rings up to this size share a slab. */
const LARGEST_PIECE = 1024
const SLAB_SIZE = 16 * 1024
/** Octets of larger rings that wait here at most. */
const MAX_WAITING = 32 * 1024 * 1024
const NO_CHAIN = new Uint16Array(0)

/** Memory for rings of one size. A ring is the `size` octets of `memory` from its place on; they are not cleared. */
export class Slab {
  readonly memory: Buffer
  /** Octets of each ring. */
  readonly size: number
  /** The next one that waits to be lent out, of those with a single ring. */
  next: Slab | null = null
  /** Its place among the slabs that have rings left, or -1. */
  index = -1
  // Behind each ring that has come back: which other one had come back before it.
  readonly #chain: Uint16Array
  // The number of the ring that came back last, or -1.
  #last = -1
  #lent = 0
  // Octets that have been lent out before.
  #cut = 0

  constructor(octets: number, size: number) {
    this.memory = Buffer.allocUnsafeSlow(octets)
    this.size = size
    this.#chain = octets === size ? NO_CHAIN : new Uint16Array(octets / size)
  }

  /** True when it shares its memory among many. */
  get shared(): boolean {
    return this.#chain !== NO_CHAIN
  }

  get full(): boolean {
    return this.#lent * this.size === this.memory.length
  }

  get unused(): boolean {
    return this.#lent === 0
  }

  /** The place of a ring, for the caller until it gives it back by `giveRing`. The slab must not be full. */
  take(): number {
    if (!this.shared) return 0
    this.#lent++
    const number = this.#last
    if (number >= 0) {
      this.#last = (this.#chain[number] as number) - 1
      return number * this.size
    }
    const place = this.#cut
    this.#cut += this.size
    return place
  }

  /** Takes the ring at `place` back. */
  give(place: number): void {
    this.#lent--
    const number = place / this.size
    this.#chain[number] = this.#last + 1
    this.#last = number
  }
}

/** No memory at all. */
export const NO_SLAB = new Slab(0, 0)

/** Rings of one size that are pieces. */
class Pieces {
  readonly #size: number
  // Those with pieces left.
  readonly #open: Slab[] = []

  constructor(size: number) {
    this.#size = size
  }

  /** A slab that is not full. */
  open(): Slab {
    const slab = this.#open[this.#open.length - 1]
    if (slab !== undefined && !slab.full) return slab
    if (slab !== undefined) {
      this.#remove(slab)
      return this.open()
    }
    // allocates: once per slab
    const fresh = new Slab(SLAB_SIZE, this.#size)
    this.#put(fresh)
    return fresh
  }

  give(slab: Slab, place: number): void {
    slab.give(place)
    if (slab.index < 0) this.#put(slab)
    else if (slab.unused && this.#open.length > 1) this.#remove(slab)
  }

  #put(slab: Slab): void {
    slab.index = this.#open.length
    this.#open.push(slab)
  }

  #remove(slab: Slab): void {
    const last = this.#open.pop() as Slab
    if (last !== slab) {
      last.index = slab.index
      this.#open[slab.index] = last
    }
    slab.index = -1
  }
}

const pieces: Pieces[] = []
for (let size = SMALLEST_RING; size <= LARGEST_PIECE; size *= 2) pieces.push(new Pieces(size))
// By the logarithm of their size.
const waiting: (Slab | null)[] = new Array(32).fill(null)
let waitingOctets = 0

/** A slab with a ring of `size` octets, a power of two, for the caller to take. */
export function slabWith(size: number): Slab {
  if (size <= LARGEST_PIECE) return (pieces[classOf(size)] as Pieces).open()
  const slab = waiting[classOf(size)] as Slab | null
  // allocates: as much as is kept at the same time, or once per connection
  if (slab === null) return new Slab(size, size)
  waiting[classOf(size)] = slab.next
  slab.next = null
  waitingOctets -= size
  return slab
}

/** Gives the ring at `place` of `slab` back. Whoever has it must not look at it any more. */
export function giveRing(slab: Slab, place: number): void {
  const { size } = slab
  if (slab.shared) {
    ;(pieces[classOf(size)] as Pieces).give(slab, place)
    return
  }
  if (size === 0 || waitingOctets + size > MAX_WAITING) return
  slab.next = waiting[classOf(size)] as Slab | null
  waiting[classOf(size)] = slab
  waitingOctets += size
}

// 0 for the smallest ring, one more for each that is twice as large.
function classOf(size: number): number {
  return 31 - Math.clz32(size / SMALLEST_RING)
}
