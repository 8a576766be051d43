/**
 * Record marking (RFC 5531 §11): a stream is cut into records, and each record into fragments with four octets before them:
 * the highest bit tells the last fragment, the others its length.
 */

/** Octets of one record with the marks of its fragments at most: a WRITE of 1 MiB and what stands around it. */
export const MAX_RECORD = 1024 * 1024 + 64 * 1024

const LAST = 0x8000_0000
const MARK = 4

/** A record that is too long: its end cannot be waited for, and so the connection has no sense any more. */
export class RecordError extends Error {}

/** Takes records out of what a connection brings, whatever pieces it comes in. */
export class RecordReader {
  #chunks: Buffer[] = []
  #waiting = 0
  // The first record, when it is whole, and how many octets it takes with its marks.
  #record: Buffer | null = null
  #taken = 0
  // How many octets must have come before it makes sense to look again.
  #needed = MARK

  /** Octets that have come and belong to no record that was dropped. */
  get waiting(): number {
    return this.#waiting
  }

  push(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#waiting += chunk.length
  }

  /** The first record that was not dropped, or null until it is whole. Throws RecordError. */
  peek(): Buffer | null {
    if (this.#record === null && this.#waiting >= this.#needed) this.#assemble()
    return this.#record
  }

  /** Goes on to the next record; `peek` has shown the first. */
  drop(): void {
    const rest = this.#joined().subarray(this.#taken)
    this.#chunks = rest.length === 0 ? [] : [rest]
    this.#waiting = rest.length
    this.#record = null
    this.#taken = 0
    this.#needed = MARK
  }

  #joined(): Buffer {
    if (this.#chunks.length !== 1) this.#chunks = [Buffer.concat(this.#chunks)]
    return this.#chunks[0] as Buffer
  }

  #assemble(): void {
    const bytes = this.#joined()
    const parts: Buffer[] = []
    let at = 0
    while (at + MARK <= bytes.length) {
      const mark = bytes.readUInt32BE(at)
      const end = at + MARK + (mark & ~LAST)
      if (end > MAX_RECORD) throw new RecordError(`a record of more than ${MAX_RECORD} octets`)
      this.#needed = end
      if (end > bytes.length) return
      parts.push(bytes.subarray(at + MARK, end))
      at = end
      if (mark >= LAST) {
        this.#record = parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts)
        this.#taken = at
        return
      }
    }
    if (at + MARK > MAX_RECORD) throw new RecordError(`a record of more than ${MAX_RECORD} octets`)
    this.#needed = at + MARK
  }
}
