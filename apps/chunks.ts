/** Octets that a connection has brought and that are not used up yet. */

/** Smaller chunks are put together: each by itself would hold many times its size in memory. */
const SMALL = 1024
const BLOCK = 4096

const NOTHING = Buffer.alloc(0)

/** A queue of octets. However small the pieces are in which they come, they take a few times their number, and what was given out stays as it is. */
export class Chunks {
  readonly #list: Uint8Array[] = []
  #length = 0
  // Where small chunks go: the last of the list ends at `#used` of it. Null when the last one is as it came.
  #block: Buffer | null = null
  #used = 0

  /** Octets in the queue. */
  get length(): number {
    return this.#length
  }

  push(chunk: Uint8Array): void {
    this.#length += chunk.length
    if (chunk.length >= SMALL || this.#list.length === 0) {
      this.#list.push(chunk)
      this.#block = null
    } else {
      this.#append(chunk)
    }
  }

  /** The first `length` octets in one piece, or all when there are fewer. */
  peek(length: number): Buffer {
    const [first = NOTHING] = this.#list
    if (first.length >= length) return viewOf(first, length)
    let count = 0
    for (let have = 0; have < length; count++) have += this.#list[count]?.length ?? length
    if (count >= this.#list.length) this.#block = null
    const joined = Buffer.concat(this.#list.slice(0, count))
    this.#list.splice(0, count, joined)
    return viewOf(joined, Math.min(length, joined.length))
  }

  /** Takes the first `length` octets away. */
  drop(length: number): void {
    this.#length -= length
    let left = length
    for (;;) {
      const [first] = this.#list
      if (first === undefined || left < first.length) break
      left -= first.length
      this.#list.shift()
    }
    if (left > 0) this.#list[0] = (this.#list[0] as Uint8Array).subarray(left)
    if (this.#list.length === 0) this.#block = null
  }

  /** The first `length` octets in one piece, taken away. */
  take(length: number): Buffer {
    const octets = this.peek(length)
    this.drop(length)
    return octets
  }

  #append(chunk: Uint8Array): void {
    let last: Uint8Array = NOTHING
    if (this.#block !== null && this.#used + chunk.length <= BLOCK) {
      last = this.#list.pop() as Uint8Array
    } else {
      this.#block = Buffer.allocUnsafeSlow(BLOCK)
      this.#used = 0
    }
    this.#block.set(chunk, this.#used)
    const start = this.#used - last.length
    this.#used += chunk.length
    this.#list.push(this.#block.subarray(start, this.#used))
  }
}

function viewOf(octets: Uint8Array, length: number): Buffer {
  return Buffer.from(octets.buffer, octets.byteOffset, length)
}
