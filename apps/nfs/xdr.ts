/**
 * XDR (RFC 4506): values of a message taken apart and put together. Octets that mean text are strings of latin1, one character
 * an octet, so that any name of a file goes through unchanged.
 */

/** What came is no value of the wanted type: it ends too early, is longer than allowed, or is no boolean. */
export class XdrError extends Error {}

/** Takes values out of `bytes`, in order. Every method throws XdrError. */
export class XdrReader {
  readonly bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.bytes = bytes
  }

  /** Octets that have not been read. */
  get left(): number {
    return this.bytes.length - this.#at
  }

  u32(): number {
    const at = this.#take(4)
    return this.bytes.readUInt32BE(at)
  }

  i32(): number {
    return this.u32() | 0
  }

  u64(): bigint {
    const at = this.#take(8)
    return this.bytes.readBigUInt64BE(at)
  }

  bool(): boolean {
    const value = this.u32()
    if (value > 1) throw new XdrError(`${value} is no boolean`)
    return value === 1
  }

  /** `length` octets as they lie in the message: no copy. */
  fixed(length: number): Buffer {
    const at = this.#take(length + padding(length))
    return this.bytes.subarray(at, at + length)
  }

  /** Octets with their length before them: no copy. */
  opaque(limit: number): Buffer {
    const length = this.u32()
    if (length > limit) throw new XdrError(`${length} octets where ${limit} are allowed`)
    return this.fixed(length)
  }

  text(limit: number): string {
    return this.opaque(limit).toString('latin1')
  }

  /** A reader of an opaque's octets. */
  nested(limit: number): XdrReader {
    return new XdrReader(this.opaque(limit))
  }

  /** A counted array of at most `limit` items. */
  list<T>(limit: number, item: () => T): T[] {
    const count = this.u32()
    if (count > limit) throw new XdrError(`${count} items where ${limit} are allowed`)
    return Array.from({ length: count }, item)
  }

  #take(length: number): number {
    const at = this.#at
    if (length > this.bytes.length - at) throw new XdrError('the message ends too early')
    this.#at = at + length
    return at
  }
}

function padding(length: number): number {
  return (4 - (length & 3)) & 3
}

const FIRST_CAPACITY = 512

/** Puts a message together in one buffer that grows. */
export class XdrWriter {
  #bytes = Buffer.allocUnsafe(FIRST_CAPACITY)
  #length = 0

  /** Octets written so far. */
  get length(): number {
    return this.#length
  }

  /** What was written; valid until more is. */
  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length)
  }

  /** Forgets what was written behind the first `length` octets. */
  truncate(length: number): void {
    this.#length = length
  }

  u32(value: number): this {
    const at = this.#grow(4)
    this.#bytes.writeUInt32BE(value >>> 0, at)
    return this
  }

  u64(value: bigint): this {
    const at = this.#grow(8)
    this.#bytes.writeBigUInt64BE(BigInt.asUintN(64, value), at)
    return this
  }

  bool(value: boolean): this {
    return this.u32(value ? 1 : 0)
  }

  fixed(octets: Uint8Array): this {
    const at = this.#grow(octets.length + padding(octets.length))
    this.#bytes.set(octets, at)
    this.#bytes.fill(0, at + octets.length, this.#length)
    return this
  }

  opaque(octets: Uint8Array): this {
    return this.u32(octets.length).fixed(octets)
  }

  text(value: string): this {
    return this.opaque(Buffer.from(value, 'latin1'))
  }

  /** An opaque of at most `limit` octets that `fill` writes in place; it returns how many it wrote. */
  fill(limit: number, fill: (octets: Buffer) => number): number {
    const start = this.#grow(4 + limit + 3)
    const length = fill(this.#bytes.subarray(start + 4, start + 4 + limit))
    this.#bytes.writeUInt32BE(length, start)
    const end = start + 4 + length
    this.#length = end + padding(length)
    this.#bytes.fill(0, end, this.#length)
    return length
  }

  /** Writes `value` over the four octets at `at`. */
  patch(at: number, value: number): void {
    this.#bytes.writeUInt32BE(value >>> 0, at)
  }

  #grow(length: number): number {
    const at = this.#length
    const needed = at + length
    if (needed > this.#bytes.length) {
      const bytes = Buffer.allocUnsafe(Math.max(needed, this.#bytes.length * 2))
      this.#bytes.copy(bytes, 0, 0, at)
      this.#bytes = bytes
    }
    this.#length = needed
    return at
  }
}
