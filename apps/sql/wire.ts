/**
 * The messages of PostgreSQL's protocol 3.0: an octet that names the kind, a length that counts itself, a body. What a client sends
 * is checked here before the database hears of it, because the database ends at what it cannot read.
 */
import { isUtf8 } from 'node:buffer'
import { StackError } from '../../stack/index.js'
import { Chunks } from '../chunks.js'

/** Octets of one message, and of all that a client sends before it waits for an answer. The node keeps input for a peer no longer. */
export const MAX_MESSAGE = 8 * 1024 * 1024
/** Octets of the first message, which has no kind. */
const MAX_STARTUP = 10_000
const HEADER = 5

/** One message; `kind` is its letter, and '' for the first of a connection. */
export interface Message {
  readonly kind: string
  readonly body: Uint8Array
}

/** The transaction as ReadyForQuery tells it: idle, in a block, in a block that failed. */
export type TransactionStatus = 'I' | 'T' | 'E'

/** A client did not keep to the protocol: it is told `code`, a SQLSTATE, and dropped. */
export class SqlProtocolError extends StackError {
  readonly sqlState: string
  constructor(message: string, sqlState = '08P01') {
    super('ERR_SQL_PROTOCOL', message)
    this.sqlState = sqlState
  }
}

/** Cuts a stream into messages. */
export class MessageReader {
  readonly #chunks = new Chunks()
  readonly #kinds: string
  readonly #longest: number
  #first: boolean

  /** `first`: the next message is a connection's first. `kinds`: the letters that may come, or '' for any. */
  constructor(first: boolean, kinds = '', longest = MAX_MESSAGE) {
    this.#first = first
    this.#kinds = kinds
    this.#longest = longest
  }

  /** Octets that have come and belong to no message yet that was handed out. */
  get waiting(): number {
    return this.#chunks.length
  }

  push(chunk: Uint8Array): void {
    this.#chunks.push(chunk)
  }

  /** The next message has no kind, as the one before was answered with N. */
  expectFirst(): void {
    this.#first = true
  }

  /** The next whole message, or null. Throws SqlProtocolError at a length or kind that cannot be. */
  next(): Message | null {
    const header = this.#first ? HEADER - 1 : HEADER
    if (this.waiting < header) return null
    const head = this.#chunks.peek(header)
    const kind = this.#first ? '' : String.fromCharCode(head[0] ?? 0)
    const length = head.readUInt32BE(header - 4)
    if (kind !== '' && this.#kinds !== '' && !this.#kinds.includes(kind)) {
      throw new SqlProtocolError(`invalid frontend message type ${head[0]}`)
    }
    if (length < 4 || length > (this.#first ? MAX_STARTUP : this.#longest)) {
      throw new SqlProtocolError(`invalid message length ${length}`)
    }
    const whole = header - 4 + length
    if (this.waiting < whole) return null
    const octets = this.#chunks.take(whole)
    this.#first = false
    return { kind, body: octets.subarray(header) }
  }
}

/** A message as it goes over the wire. */
export function encode(kind: string, ...parts: readonly (string | Uint8Array)[]): Buffer {
  const body = Buffer.concat(parts.map((part) => (typeof part === 'string' ? text(part) : part)))
  const message = Buffer.allocUnsafe(HEADER + body.length)
  message.write(kind, 0, 'latin1')
  message.writeUInt32BE(body.length + 4, 1)
  body.copy(message, HEADER)
  return message
}

/** A text as the protocol has it: UTF-8 with a zero behind it. */
export function text(value: string): Buffer {
  return Buffer.from(`${value}\0`)
}

export function encodeQuery(sql: string): Buffer {
  return encode('Q', sql)
}

export function readyForQuery(status: TransactionStatus): Buffer {
  return encode('Z', Buffer.from(status))
}

export function parameterStatus(name: string, value: string): Buffer {
  return encode('S', name, value)
}

export function uint32(...values: readonly number[]): Buffer {
  const octets = Buffer.alloc(4 * values.length)
  for (const [i, value] of values.entries()) octets.writeUInt32BE(value >>> 0, 4 * i)
  return octets
}

/** What a client is told of a failure. `code` is its SQLSTATE. */
export interface Failure {
  readonly code: string
  readonly message: string
  readonly hint?: string
  /** The connection ends with it. */
  readonly fatal?: boolean
}

export function errorResponse({ code, message, hint, fatal }: Failure): Buffer {
  const severity = fatal === true ? 'FATAL' : 'ERROR'
  const fields = [`S${severity}`, `V${severity}`, `C${code}`, `M${message}`]
  if (hint !== undefined) fields.push(`H${hint}`)
  return encode('E', ...fields, Buffer.from([0]))
}

/** The SQLSTATE in the body of an ErrorResponse. */
export function sqlStateOf(body: Uint8Array): string {
  const fields = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString().split('\0')
  return fields.find((field) => field.startsWith('C'))?.slice(1) ?? 'XX000'
}

/** Reads what is in a body. Throws SqlProtocolError behind its end. */
export class BodyReader {
  readonly #body: Buffer
  #at = 0

  constructor(body: Uint8Array) {
    this.#body = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  }

  get rest(): Buffer {
    return this.#body.subarray(this.#at)
  }

  text(): string {
    const end = this.#body.indexOf(0, this.#at)
    if (end < 0) throw new SqlProtocolError('invalid string in message')
    const octets = this.#body.subarray(this.#at, end)
    this.#at = end + 1
    if (!isUtf8(octets)) {
      throw new SqlProtocolError('invalid byte sequence for encoding "UTF8"', '22021')
    }
    return octets.toString()
  }

  octet(): string {
    return String.fromCharCode(this.#take(1)[0] ?? 0)
  }

  uint16(): number {
    return this.#take(2).readUInt16BE()
  }

  int32(): number {
    return this.#take(4).readInt32BE()
  }

  skip(length: number): void {
    this.#take(length)
  }

  end(): void {
    if (this.#at !== this.#body.length) throw new SqlProtocolError('invalid message format')
  }

  #take(length: number): Buffer {
    if (length < 0 || this.#at + length > this.#body.length) {
      throw new SqlProtocolError('insufficient data left in message')
    }
    this.#at += length
    return this.#body.subarray(this.#at - length, this.#at)
  }
}

/** The columns of a DataRow as texts; null for NULL. */
export function columnsOf(body: Uint8Array): (string | null)[] {
  const reader = new BodyReader(body)
  const count = reader.uint16()
  const columns: (string | null)[] = []
  for (let i = 0; i < count; i++) {
    const length = reader.int32()
    if (length < 0) {
      columns.push(null)
      continue
    }
    columns.push(reader.rest.toString('utf8', 0, length))
    reader.skip(length)
  }
  return columns
}
