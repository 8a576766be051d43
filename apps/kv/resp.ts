/**
 * RESP, the protocol of Redis: requests of a client taken apart, answers put together. Octets are kept as strings of latin1,
 * one character an octet, so that any of them may be in a key or a value.
 */

/** Octets of one argument, and so of a value, at most. */
export const MAX_BULK = 1024 * 1024
/** Octets of one request at most: as long as it is not whole, no checkpoint is behind it, and peers keep its input. */
export const MAX_REQUEST = 8 * 1024 * 1024
const MAX_ARGUMENTS = 64 * 1024
const MAX_INLINE = 64 * 1024

const NOTHING = Buffer.alloc(0)

/** What a client sent is no request: it is told, and the connection ends. */
export class ProtocolError extends Error {}

/**
 * Takes requests out of what a connection brings, whatever pieces it comes in. Each octet is looked at once, but for those of an argument or
 * a line that is not whole.
 */
export class RequestReader {
  #bytes: Buffer = NOTHING
  // Memory of its own, of which `#bytes` is a part; null while that is a chunk as it came.
  #own: Buffer | null = null
  #at = 0
  // Of a request that is not whole: its arguments so far, how many are still to come, and the octets that those so far took.
  #words: string[] = []
  #missing = 0
  #taken = 0

  /** Octets that have come and belong to no complete request yet. */
  get waiting(): number {
    return this.#taken + this.#bytes.length - this.#at
  }

  push(chunk: Buffer): void {
    const rest = this.#bytes.length - this.#at
    if (rest === 0) {
      this.#bytes = chunk
      this.#own = null
    } else {
      const length = rest + chunk.length
      let own = this.#own
      if (own === null || own.length < length) own = Buffer.allocUnsafe(2 * length)
      this.#bytes.copy(own, 0, this.#at)
      chunk.copy(own, rest)
      this.#own = own
      this.#bytes = own.subarray(0, length)
    }
    this.#at = 0
  }

  /** The next request, its name first, or null until there is more. An empty line is an empty request. */
  next(): string[] | null {
    if (this.#missing > 0) return this.#more()
    if (this.#at >= this.#bytes.length) return null
    return this.#bytes[this.#at] === 0x2a ? this.#begin() : this.#nextInline()
  }

  #line(from: number): number {
    const end = this.#bytes.indexOf('\r\n', from, 'latin1')
    if (end < 0 && this.#bytes.length - from > MAX_INLINE) {
      throw new ProtocolError('too big inline request')
    }
    return end
  }

  #length(from: number, end: number, limit: number, what: string): number {
    const text = this.#bytes.toString('latin1', from, end)
    const length = /^-?\d{1,10}$/.test(text) ? Number(text) : Number.NaN
    if (!(length <= limit)) throw new ProtocolError(`invalid ${what} length`)
    return length
  }

  #begin(): string[] | null {
    const end = this.#line(this.#at)
    if (end < 0) return null
    const count = this.#length(this.#at + 1, end, MAX_ARGUMENTS, 'multibulk')
    this.#taken = end + 2 - this.#at
    this.#at = end + 2
    this.#words = []
    this.#missing = Math.max(count, 0)
    return this.#more()
  }

  #more(): string[] | null {
    for (; this.#missing > 0; this.#missing--) {
      const end = this.#line(this.#at)
      if (end < 0) return null
      if (this.#bytes[this.#at] !== 0x24) {
        const found = String.fromCharCode(this.#bytes[this.#at] ?? 0)
        throw new ProtocolError(`expected '$', got '${found}'`)
      }
      const length = this.#length(this.#at + 1, end, MAX_BULK, 'bulk')
      if (length < 0) throw new ProtocolError('invalid bulk length')
      const next = end + 2 + length + 2
      if (this.#taken + next - this.#at > MAX_REQUEST) throw new ProtocolError('too big request')
      if (next > this.#bytes.length) return null
      this.#words.push(this.#bytes.toString('latin1', end + 2, end + 2 + length))
      this.#taken += next - this.#at
      this.#at = next
    }
    this.#taken = 0
    return this.#words
  }

  #nextInline(): string[] | null {
    const end = this.#bytes.indexOf(0x0a, this.#at)
    if (end < 0) {
      if (this.waiting > MAX_INLINE) throw new ProtocolError('too big inline request')
      return null
    }
    const text = this.#bytes.toString('latin1', this.#at, end)
    this.#at = end + 1
    return text.split(/\s+/).filter((word) => word !== '')
  }
}

export const OK = '+OK\r\n'

export function simple(text: string): string {
  return `+${text}\r\n`
}

export function failure(text: string): string {
  return `-${text.replace(/[\r\n]+/g, ' ')}\r\n`
}

export function integer(value: number): string {
  return `:${value}\r\n`
}

export function bulk(value: string): string {
  return `$${value.length}\r\n${value}\r\n`
}

export function array(items: readonly string[]): string {
  return `*${items.length}\r\n${items.join('')}`
}

/** Answers whose form depends on the version of the protocol that the client speaks. */
export class Dialect {
  /** 2, or 3 behind HELLO 3. */
  version: 2 | 3 = 2

  get nil(): string {
    return this.version === 3 ? '_\r\n' : '$-1\r\n'
  }

  get nilArray(): string {
    return this.version === 3 ? '_\r\n' : '*-1\r\n'
  }

  bulkOrNil(value: string | undefined): string {
    return value === undefined ? this.nil : bulk(value)
  }

  /** A number with a fraction, as text. */
  double(text: string): string {
    return this.version === 3 ? `,${text}\r\n` : bulk(text)
  }

  /** Keys and values in turn. */
  map(items: readonly string[]): string {
    return this.version === 3 ? `%${items.length / 2}\r\n${items.join('')}` : array(items)
  }

  set(items: readonly string[]): string {
    return this.version === 3 ? `~${items.length}\r\n${items.join('')}` : array(items)
  }

  push(items: readonly string[]): string {
    return this.version === 3 ? `>${items.length}\r\n${items.join('')}` : array(items)
  }
}
