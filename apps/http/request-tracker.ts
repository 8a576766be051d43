/**
 * RequestTracker: where in the input stream each HTTP/1.1 request begins and its body starts (RFC 9112). node:http does not tell,
 * and a checkpoint needs to know. It reads the same octets as the parser of node:http and trusts it to refuse what is malformed.
 */

/** Octets of a request's head at most; node:http refuses longer ones. */
const MAX_HEAD_LENGTH = 64 * 1024

const CR = 13
const LF = 10

/** Where a request lies in the input. Offsets are stream offsets. */
export interface RequestPlace {
  /** The head as it came, request line and fields with the empty line behind them. */
  readonly head: string
  /** Where the body begins. */
  readonly bodyOffset: number
  /** Octets of the body, or -1 when it is chunked. */
  readonly bodyLength: number
  /** Behind the body; -1 until a chunked one has come whole. */
  end: number
}

/** Where in a chunked body the next octet is (RFC 9112 §7.1). */
const Chunked = { NONE: 0, SIZE: 1, DATA: 2, TRAILER: 3 } as const
type Chunked = (typeof Chunked)[keyof typeof Chunked]

/** Octets of a line with a chunk's size at most. */
const MAX_SIZE_LINE = 1024

export class RequestTracker {
  readonly #places: RequestPlace[] = []
  #offset: number
  #head: Buffer[] = []
  #headLength = 0
  // How much of CR LF CR LF the head ends with.
  #matched = 0
  #bodyLeft = 0
  #lost = false
  #chunked: Chunked = Chunked.NONE
  #line = ''
  #place: RequestPlace | null = null

  /** `offset`: stream offset of the first octet that will be given. */
  constructor(offset: number) {
    this.#offset = offset
  }

  /** The offset behind the last octet that came. */
  get offset(): number {
    return this.#offset
  }

  /** Where the request that has not come in whole began; -1 between requests, and when the input can no longer be followed. */
  get begun(): number {
    if (this.#lost) return -1
    if (this.#headLength > 0) return this.#offset - this.#headLength
    const body = this.#bodyLeft > 0 || this.#chunked !== Chunked.NONE
    return body && this.#place !== null ? this.#place.bodyOffset - this.#place.head.length : -1
  }

  /** True until the head of that request is whole, and between requests. */
  get inHead(): boolean {
    return this.#bodyLeft === 0 && this.#chunked === Chunked.NONE
  }

  /** The oldest request not taken yet; undefined when the input can no longer be followed. */
  take(): RequestPlace | undefined {
    return this.#places.shift()
  }

  /** Takes the next octets of the input. */
  feed(chunk: Buffer): void {
    let at = 0
    while (at < chunk.length && !this.#lost) {
      if (this.#bodyLeft > 0) {
        const skipped = Math.min(this.#bodyLeft, chunk.length - at)
        this.#bodyLeft -= skipped
        this.#offset += skipped
        at += skipped
      } else if (this.#chunked !== Chunked.NONE) {
        at = this.#feedChunkLine(chunk, at)
      } else {
        at = this.#feedHead(chunk, at)
      }
    }
  }

  #feedHead(chunk: Buffer, from: number): number {
    let at = from
    // Empty lines in front of a request line are ignored (RFC 9112 §2.2).
    while (this.#headLength === 0 && at < chunk.length && (chunk[at] === CR || chunk[at] === LF)) {
      at++
      this.#offset++
    }
    const first = at
    while (at < chunk.length && this.#matched < 4) {
      const wanted = this.#matched % 2 === 0 ? CR : LF
      this.#matched = chunk[at] === wanted ? this.#matched + 1 : chunk[at] === CR ? 1 : 0
      at++
    }
    this.#head.push(chunk.subarray(first, at))
    this.#headLength += at - first
    this.#offset += at - first
    if (this.#headLength > MAX_HEAD_LENGTH) this.#lost = true
    if (this.#matched === 4) this.#finishHead()
    return at
  }

  #finishHead(): void {
    const head = Buffer.concat(this.#head).toString('latin1')
    this.#head = []
    this.#headLength = 0
    this.#matched = 0
    const chunked = /^transfer-encoding:.*chunked/im.test(head)
    const length = Number(/^content-length:[ \t]*(\d+)/im.exec(head)?.[1] ?? 0)
    this.#chunked = chunked ? Chunked.SIZE : Chunked.NONE
    this.#bodyLeft = chunked ? 0 : length
    this.#place = {
      head,
      bodyOffset: this.#offset,
      bodyLength: chunked ? -1 : length,
      end: chunked ? -1 : this.#offset + length,
    }
    this.#places.push(this.#place)
  }

  // One line of a chunked body: a size, what is behind a chunk's data, or a field of the trailer.
  #feedChunkLine(chunk: Buffer, from: number): number {
    const newline = chunk.indexOf(LF, from)
    const end = newline < 0 ? chunk.length : newline + 1
    this.#line += chunk.toString('latin1', from, end)
    this.#offset += end - from
    if (this.#line.length > (this.#chunked === Chunked.SIZE ? MAX_SIZE_LINE : MAX_HEAD_LENGTH)) {
      this.#lost = true
    }
    if (newline >= 0) this.#finishChunkLine()
    return end
  }

  #finishChunkLine(): void {
    const line = this.#line.trim()
    this.#line = ''
    switch (this.#chunked) {
      case Chunked.SIZE: {
        const size = /^[0-9a-f]{1,12}(?=$|[ \t]*;)/i.exec(line)?.[0]
        if (size === undefined) {
          this.#lost = true
          return
        }
        this.#bodyLeft = Number.parseInt(size, 16)
        this.#chunked = this.#bodyLeft === 0 ? Chunked.TRAILER : Chunked.DATA
        return
      }
      case Chunked.DATA:
        this.#chunked = Chunked.SIZE
        return
      case Chunked.TRAILER:
        if (line !== '') return
        this.#chunked = Chunked.NONE
        if (this.#place !== null) this.#place.end = this.#offset
    }
  }
}
