/**
 * Outgoing: the chunks of one write that is under way. The connection copies what it has room for; the rest stays here, and
 * the stream above is held back, until the peer has acknowledged enough.
 */
import type { Connection } from '../tcp/connection.js'

export type WriteCallback = (error?: Error | null) => void

/** As `Writable._writev` gives them. */
export interface Chunk {
  readonly chunk: Uint8Array
}

const NO_CHUNKS: readonly Chunk[] = []

export class Outgoing {
  /** Octets of this write that the connection has taken. */
  taken = 0
  /** Octets of all writes that the connection has taken. */
  total = 0
  #chunk: Uint8Array | null = null
  #from = 0
  #chunks: readonly Chunk[] = NO_CHUNKS
  #next = 0
  #callback: WriteCallback | null = null

  /** True while a write is under way. */
  get active(): boolean {
    return this.#callback !== null
  }

  /** Begins a write of one chunk. */
  begin(chunk: Uint8Array, callback: WriteCallback): void {
    this.#chunk = chunk
    this.#from = 0
    this.#callback = callback
  }

  /** Begins a write of many. */
  beginAll(chunks: readonly Chunk[], callback: WriteCallback): void {
    this.#chunks = chunks
    this.#next = 1
    this.begin((chunks[0] as Chunk).chunk, callback)
  }

  /** Gives the connection what it has room for. True: it has taken all, and `finish` is due. */
  pour(connection: Connection): boolean {
    while (this.#chunk !== null) {
      const chunk = this.#chunk
      const length = connection.write(chunk, this.#from, chunk.length)
      this.#from += length
      this.taken += length
      this.total += length
      if (this.#from < chunk.length) return false
      this.#chunk = this.#chunks[this.#next++]?.chunk ?? null
      this.#from = 0
    }
    return true
  }

  /** Ends the write, with an error or without. */
  finish(error: Error | null): void {
    const callback = this.#callback
    this.#chunk = null
    this.#chunks = NO_CHUNKS
    this.#next = 0
    this.#callback = null
    this.taken = 0
    if (callback !== null) callback(error)
  }

  /** What the connection has not taken yet. */
  rest(): Uint8Array[] {
    if (this.#chunk === null) return []
    const later = this.#chunks.slice(this.#next).map((entry) => entry.chunk)
    return [this.#chunk.subarray(this.#from), ...later]
  }
}
