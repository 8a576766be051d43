/**
 * StreamDigest: the SHA-256 of a stream that passes, and where asked for the stream itself in a file.
 */
import { createHash, type Hash } from 'node:crypto'
import { writeSync } from 'node:fs'

const PIECE = 32 * 1024

export class StreamDigest {
  readonly #fd: number | null
  // Made with the first octet: most connections of a large trace are short.
  #hash: Hash | null = null
  #piece: Uint8Array | null = null
  #length = 0

  constructor(fd: number | null = null) {
    this.#fd = fd
  }

  /** Takes the next octets, `bytes[from, to)`, which are borrowed. */
  take(bytes: Uint8Array, from: number, to: number): void {
    const length = to - from
    this.#hash ??= createHash('sha256')
    if (length >= PIECE / 4) {
      this.#flush()
      this.#put(bytes.subarray(from, to))
      return
    }
    this.#piece ??= new Uint8Array(PIECE)
    if (this.#length + length > PIECE) this.#flush()
    this.#piece.set(bytes.subarray(from, to), this.#length)
    this.#length += length
  }

  /** The digest of all that came, in hexadecimal digits; the last use. */
  finish(): string {
    this.#flush()
    this.#piece = null
    return (this.#hash ?? createHash('sha256')).digest('hex')
  }

  #flush(): void {
    if (this.#length === 0 || this.#piece === null) return
    this.#put(this.#piece.subarray(0, this.#length))
    this.#length = 0
  }

  #put(bytes: Uint8Array): void {
    this.#hash?.update(bytes)
    if (this.#fd === null) return
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at)
  }
}
