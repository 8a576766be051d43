// hot path: no allocation per frame
/**
 * The memory of stream buffers: rings that are lent out while something is kept in them and given back when nothing is. An idle
 * connection so has none, and a busy one gets memory that the processor's caches still know.
 *
 * Sizes are powers of two. Small rings are pieces of slabs, as a typed array of its own takes more than what such a ring keeps; a
 * slab all of whose pieces are back is let go of. Of larger ones some stay here for the next who needs one.
 */

/** The smallest ring. */
export const SMALLEST_RING = 64
/** Rings up to this size are pieces of slabs. */
const LARGEST_PIECE = 1024
const SLAB_SIZE = 16 * 1024
/** Octets of larger rings that wait here at most. */
const MAX_WAITING = 32 * 1024 * 1024

/** `size` octets of `memory` from `start` on; they are not cleared. */
export class Ring {
  readonly memory: Buffer
  readonly start: number
  readonly size: number
  /** What it is a piece of, or null. */
  readonly slab: Slab | null
  /** The next one that waits to be lent out. */
  next: Ring | null = null

  constructor(memory: Buffer, start: number, size: number, slab: Slab | null) {
    this.memory = memory
    this.start = start
    this.size = size
    this.slab = slab
  }
}

/** No memory at all. */
export const NO_RING = new Ring(Buffer.alloc(0), 0, 0, null)

class Slab {
  readonly #memory = Buffer.allocUnsafeSlow(SLAB_SIZE)
  readonly #size: number
  #waiting: Ring | null = null
  #lent = 0
  // Octets that have been lent out before.
  #cut = 0
  /** Its place among the slabs that have pieces left, or -1. */
  index = -1

  constructor(size: number) {
    this.#size = size
  }

  get full(): boolean {
    return this.#lent * this.#size === SLAB_SIZE
  }

  get unused(): boolean {
    return this.#lent === 0
  }

  take(): Ring {
    this.#lent++
    const ring = this.#waiting
    if (ring === null) return this.#cutOff()
    this.#waiting = ring.next
    ring.next = null
    return ring
  }

  #cutOff(): Ring {
    const at = this.#cut
    this.#cut += this.#size
    // allocates: once per piece
    return new Ring(this.#memory, at, this.#size, this)
  }

  give(ring: Ring): void {
    ring.next = this.#waiting
    this.#waiting = ring
    this.#lent--
  }
}

/** Rings of one size that are pieces. */
class Pieces {
  readonly #size: number
  // Those with pieces left.
  readonly #open: Slab[] = []

  constructor(size: number) {
    this.#size = size
  }

  take(): Ring {
    // allocates: once per slab
    if (this.#open.length === 0) this.#put(new Slab(this.#size))
    const slab = this.#open[this.#open.length - 1] as Slab
    const ring = slab.take()
    if (slab.full) this.#remove(slab)
    return ring
  }

  give(ring: Ring, slab: Slab): void {
    slab.give(ring)
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
const waiting: (Ring | null)[] = new Array(32).fill(null)
let waitingOctets = 0

/** A ring of `size` octets, a power of two, for the caller until it gives it back. */
export function takeRing(size: number): Ring {
  if (size <= LARGEST_PIECE) return (pieces[classOf(size)] as Pieces).take()
  const ring = waiting[classOf(size)] as Ring | null
  // allocates: as much as is kept at the same time, or once per connection
  if (ring === null) return new Ring(Buffer.allocUnsafeSlow(size), 0, size, null)
  waiting[classOf(size)] = ring.next
  ring.next = null
  waitingOctets -= size
  return ring
}

/** Gives a ring back. Whoever has it must not look at it any more. */
export function giveRing(ring: Ring): void {
  const { slab, size } = ring
  if (slab !== null) {
    ;(pieces[classOf(size)] as Pieces).give(ring, slab)
    return
  }
  if (size === 0 || waitingOctets + size > MAX_WAITING) return
  ring.next = waiting[classOf(size)] as Ring | null
  waiting[classOf(size)] = ring
  waitingOctets += size
}

// 0 for the smallest ring, one more for each that is twice as large.
function classOf(size: number): number {
  return 31 - Math.clz32(size / SMALLEST_RING)
}
