/**
 * What the database says to several messages that were given to it at once: its own housekeeping and a client's statement. Each
 * part ends with ReadyForQuery; of each is known whether the client is to see it.
 */
import { columnsOf, encode, MessageReader, sqlStateOf, type TransactionStatus } from './wire.js'

/** Octets of an answer that are held back until it is certain what becomes of it. */
export const MAX_HELD = 256 * 1024

/** One part of what the database is told at once. */
export interface Part {
  readonly octets: Uint8Array
  /** The client sees what the database says to it. */
  readonly shown: boolean
}

/** What the database said to one part. */
export interface Said {
  /** SQLSTATE of the first error, or null. */
  error: string | null
  /** The errors and notices, as messages. */
  messages: Buffer[]
  /** What commands say of themselves when they are complete. */
  readonly tags: string[]
  /** Rows, of a part that is not shown. */
  readonly rows: (string | null)[][]
  parses: number
  closes: number
}

/** What the client is to see: held back up to MAX_HELD octets, then given to `give` bit by bit. */
export class HeldAnswer {
  readonly #give: (octets: Uint8Array) => void
  #parts: Uint8Array[] = []
  #length = 0
  /** Something has been given. */
  given = false

  constructor(give: (octets: Uint8Array) => void) {
    this.#give = give
  }

  /** The last message stays here always: what a command says in the end may have to be taken back. */
  add(message: Uint8Array): void {
    if (this.#length + message.length > MAX_HELD) this.#flush()
    this.#parts.push(message)
    this.#length += message.length
  }

  /** Takes back that the last command was complete, as its transaction could not be committed. */
  dropComplete(): void {
    const last = this.#parts.at(-1)
    if (last === undefined || last[0] !== 0x43) return
    this.#parts.pop()
    this.#length -= last.length
  }

  /** Takes everything back that is still held. */
  clear(): void {
    this.#parts = []
    this.#length = 0
  }

  /** What has not been given. */
  take(): Uint8Array {
    const octets = Buffer.concat(this.#parts)
    this.clear()
    return octets
  }

  /** The same, without taking it. */
  get held(): Uint8Array {
    return Buffer.concat(this.#parts)
  }

  #flush(): void {
    if (this.#length === 0) return
    this.given = true
    this.#give(this.take())
  }
}

/** Reads what the database says to `parts`, and hands on what the client is to see. */
export class OutputReader {
  readonly said: Said[]
  status: TransactionStatus = 'I'
  readonly #parts: readonly Part[]
  readonly #answer: HeldAnswer
  readonly #copies: boolean
  readonly #reader = new MessageReader(false, '', 2 ** 31)
  #at = 0

  /** `copies`: the client knows already that its data are awaited. */
  constructor(parts: readonly Part[], answer: HeldAnswer, copies = false) {
    this.#parts = parts
    this.#answer = answer
    this.#copies = copies
    this.said = parts.map(() => ({
      error: null,
      messages: [],
      tags: [],
      rows: [],
      parses: 0,
      closes: 0,
    }))
  }

  /** At least one part has come to its end: `status` is that of the transaction. */
  get ended(): boolean {
    return this.#at > 0
  }

  /** `chunk` is borrowed: the database writes its next words there. */
  feed(chunk: Uint8Array): void {
    this.#reader.push(Buffer.from(chunk))
    for (let m = this.#reader.next(); m !== null; m = this.#reader.next())
      this.#take(m.kind, m.body)
  }

  #take(kind: string, body: Uint8Array): void {
    const said = this.said[this.#at]
    if (said === undefined) return
    switch (kind) {
      case 'Z':
        this.status = String.fromCharCode(body[0] ?? 0) as TransactionStatus
        this.#at++
        return
      // Notifications would come to whoever is served just then.
      case 'A':
        return
      case 'E':
        said.error ??= sqlStateOf(body)
        said.messages.push(encode(kind, body))
        break
      case 'C':
        said.tags.push(Buffer.from(body).toString('latin1', 0, body.length - 1))
        break
      case '1':
        said.parses++
        break
      case '3':
        said.closes++
        break
      case 'D':
        if (this.#parts[this.#at]?.shown !== true) said.rows.push(columnsOf(body))
        break
    }
    if (this.#parts[this.#at]?.shown !== true || (kind === 'G' && this.#copies)) return
    this.#answer.add(whole(body))
  }
}

// The body lies in its message, behind kind and length.
function whole(body: Uint8Array): Uint8Array {
  return new Uint8Array(body.buffer, body.byteOffset - 5, body.byteLength + 5)
}
