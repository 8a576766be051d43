/**
 * Record marking (RFC 5531 §11): a stream is cut into records, and each record into fragments with four octets before them:
 * the highest bit tells the last fragment, the others its length.
 */
import { Chunks } from '../chunks.js'

/** Octets of one record with the marks of its fragments at most: a WRITE of 1 MiB and what stands around it. */
export const MAX_RECORD = 1024 * 1024 + 64 * 1024

const LAST = 0x8000_0000
const MARK = 4

/** A record that is too long: its end cannot be waited for, and so the connection has no sense any more. */
export class RecordError extends Error {}

/** Takes records out of what a connection brings, whatever pieces it comes in. Each mark is looked at once. */
export class RecordReader {
  readonly #chunks = new Chunks()
  // Of the first record: what has come of it, its octets with their marks, and of its fragment how many there are to be.
  #parts = new Chunks()
  #taken = 0
  #missing = -1
  #last = false
  #record: Buffer | null = null

  /** Octets that have come and belong to no record that was dropped. */
  get waiting(): number {
    return this.#taken + this.#chunks.length
  }

  push(chunk: Buffer): void {
    this.#chunks.push(chunk)
  }

  /** The first record that was not dropped, or null until it is whole. Throws RecordError. */
  peek(): Buffer | null {
    while (this.#record === null) {
      if (this.#missing < 0 && !this.#begin()) return null
      if (this.#chunks.length < this.#missing) return null
      this.#finish()
    }
    return this.#record
  }

  /** Goes on to the next record; `peek` has shown the first. */
  drop(): void {
    this.#record = null
    this.#parts = new Chunks()
    this.#taken = 0
  }

  // A fragment's mark. False until it is there.
  #begin(): boolean {
    if (this.#chunks.length < MARK) return false
    const mark = this.#chunks.take(MARK).readUInt32BE()
    const length = mark & ~LAST
    this.#taken += MARK
    if (this.#taken + length > MAX_RECORD) {
      throw new RecordError(`a record of more than ${MAX_RECORD} octets`)
    }
    this.#missing = length
    this.#last = mark >= LAST
    return true
  }

  // A fragment that is whole.
  #finish(): void {
    const length = this.#missing
    if (length > 0) this.#parts.push(this.#chunks.take(length))
    this.#taken += length
    this.#missing = -1
    if (this.#last) this.#record = this.#parts.peek(this.#parts.length)
  }
}
