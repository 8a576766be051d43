/**
 * Outgoing: one write that is under way. The connection copies what it has room for of its chunks; the rest stays here, and the
 * stream above is held back, until the peer has acknowledged enough.
 */
import type { Connection } from '../tcp/connection.js'

export type WriteCallback = (error?: Error | null) => void

/** As `Writable._writev` gives them. */
export interface Chunk {
  readonly chunk: Uint8Array
}

const NO_CHUNKS: readonly Chunk[] = []

export class Outgoing {
  /** Octets that the connection has taken. */
  taken = 0
  #chunk: Uint8Array | null
  #from = 0
  // Those behind the first.
  readonly #chunks: readonly Chunk[]
  #next = 1
  readonly #callback: WriteCallback

  /** Of one chunk; or of many `chunks`, of which it is the first. */
  constructor(chunk: Uint8Array, callback: WriteCallback, chunks: readonly Chunk[] = NO_CHUNKS) {
    this.#chunk = chunk
    this.#chunks = chunks
    this.#callback = callback
  }

  /** Gives the connection what it has room for. True: it has taken all, and `finish` is due. */
  pour(connection: Connection): boolean {
    while (this.#chunk !== null) {
      const chunk = this.#chunk
      const length = connection.write(chunk, this.#from, chunk.length)
      this.#from += length
      this.taken += length
      if (this.#from < chunk.length) return false
      this.#chunk = this.#chunks[this.#next++]?.chunk ?? null
      this.#from = 0
    }
    return true
  }

  /** Ends the write, with an error or without. */
  finish(error: Error | null): void {
    this.#callback(error)
  }

  /** What the connection has not taken yet. */
  rest(): Uint8Array[] {
    if (this.#chunk === null) return []
    const later = this.#chunks.slice(this.#next).map((entry) => entry.chunk)
    return [this.#chunk.subarray(this.#from), ...later]
  }
}
