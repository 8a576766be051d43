/**
 * FrameTracker: where in the input each WebSocket frame ends (RFC 6455 §5.2). `ws` does not tell, and a checkpoint needs to know. It reads
 * the same octets as `ws` and trusts it to refuse what is malformed.
 */

/** Opcodes from here on are those of control frames. */
const FIRST_CONTROL = 8
const FIN = 0x80
const MASK = 0x80
const LENGTH_16 = 126
const LENGTH_64 = 127
/** Octets of a client's frame header at most. */
const MAX_HEADER = 14

export class FrameTracker {
  readonly #ends: { readonly control: boolean; readonly end: number }[] = []
  readonly #header = Buffer.alloc(MAX_HEADER)
  #offset: number
  #have = 0
  #left = 0
  #open: { readonly control: boolean; readonly last: boolean } | null = null

  /** `offset`: stream offset of the first octet that will be given. */
  constructor(offset: number) {
    this.#offset = offset
  }

  /** Takes the next octets of the input. */
  feed(chunk: Buffer): void {
    let at = 0
    while (at < chunk.length || (this.#open !== null && this.#left === 0)) {
      if (this.#open !== null) {
        const taken = Math.min(this.#left, chunk.length - at)
        this.#left -= taken
        this.#offset += taken
        at += taken
        if (this.#left > 0) return
        this.#finish(this.#open)
        this.#open = null
      } else {
        this.#header[this.#have++] = chunk[at++] as number
        this.#offset++
        this.#begin()
      }
    }
  }

  #begin(): void {
    const header = this.#header
    if (this.#have < 2) return
    const short = (header[1] as number) & ~MASK
    const extended = short === LENGTH_16 ? 2 : short === LENGTH_64 ? 8 : 0
    const mask = ((header[1] as number) & MASK) === 0 ? 0 : 4
    if (this.#have < 2 + extended + mask) return
    this.#left =
      extended === 0
        ? short
        : extended === 2
          ? header.readUInt16BE(2)
          : Number(header.readBigUInt64BE(2))
    const first = header[0] as number
    this.#open = { control: (first & 0x0f) >= FIRST_CONTROL, last: (first & FIN) !== 0 }
    this.#have = 0
  }

  #finish({ control, last }: { control: boolean; last: boolean }): void {
    if (last) this.#ends.push({ control, end: this.#offset })
  }

  /** The offset behind the oldest message, or behind the oldest control frame, that was not taken yet, and forgets those before it. */
  take(kind: 'message' | 'control'): number | undefined {
    for (;;) {
      const next = this.#ends.shift()
      if (next === undefined || next.control === (kind === 'control')) return next?.end
    }
  }
}
