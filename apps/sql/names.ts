/**
 * The names of prepared statements, which all clients share in the database's one session: each client's get a prefix of its own.
 * A statement is prepared again when the database does not have it any more, as behind a take-over.
 */
import { createHash } from 'node:crypto'
import type { PreparedStatement, SessionMemory } from './memory.js'
import { type StatementKind, splitStatements } from './statements.js'
import { BodyReader, encode, type Message, uint32 } from './wire.js'

/** Octets of a name that PostgreSQL tells apart, less a prefix. */
const MAX_NAME = 40

/** A client's messages up to Sync or Flush, as the database is to hear them. */
export interface Batch {
  readonly octets: Uint8Array
  /** Statements that the database lacks: Parse messages, to be sent before. */
  readonly missing: readonly { readonly name: string; readonly message: Uint8Array }[]
  /** The kinds of all statements that are executed, in order. */
  readonly kinds: readonly StatementKind[]
  /** The names that Parse messages give, in order. */
  readonly parsed: readonly string[]
}

/** What takes the place of a statement that is not served: it fails as one. */
export function refusal(what: string): string {
  return `SELECT understudy.refuse('${what.replace(/'/g, "''")}')`
}

export function insteadOf(kind: StatementKind): string | null {
  if (kind === 'listen') return refusal('LISTEN is not served: all clients share one session')
  if (kind === 'copy') return refusal('COPY FROM STDIN is served by itself, in a simple query')
  return null
}

/** Which statements are in the database now, for all clients. */
export class LiveStatements {
  readonly #names = new Set<string>()
  /** Whose the statement without a name is. */
  #unnamed: string | null = null

  has(prefix: string, name: string): boolean {
    return name === '' ? this.#unnamed === prefix : this.#names.has(nameFor(prefix, name))
  }

  set(prefix: string, name: string, live: boolean): void {
    if (name === '') this.#unnamed = live ? prefix : null
    else if (live) this.#names.add(nameFor(prefix, name))
    else this.#names.delete(nameFor(prefix, name))
  }

  /** A simple query has been run: it does away with the statement without a name. */
  forgetUnnamed(): void {
    this.#unnamed = null
  }

  clear(): void {
    this.#names.clear()
    this.#unnamed = null
  }
}

export function nameFor(prefix: string, name: string): string {
  if (name === '') return ''
  const short = Buffer.byteLength(name) <= MAX_NAME
  return prefix + (short ? name : createHash('sha1').update(name).digest('hex'))
}

/** One client's statements and portals. */
export class ClientStatements {
  readonly prefix: string
  readonly #live: LiveStatements
  readonly #statements: Map<string, PreparedStatement>
  /** Which statement a portal is of. */
  readonly #portals = new Map<string, string>()

  constructor(prefix: string, live: LiveStatements, known: SessionMemory['statements']) {
    this.prefix = prefix
    this.#live = live
    this.#statements = new Map(Object.entries(known))
  }

  get known(): SessionMemory['statements'] {
    return Object.fromEntries(this.#statements)
  }

  /** DEALLOCATE ALL, for this client. */
  clear(): void {
    this.#statements.clear()
  }

  /** A simple query does away with the statement without a name. True when there was one. */
  forgetUnnamed(): boolean {
    return this.#statements.delete('')
  }

  /** A message that closes a statement in the database. */
  closeOf(name: string): Uint8Array {
    return encode('C', Buffer.from('S'), nameFor(this.prefix, name))
  }

  /** All that this client has in the database, closed; and what it knows forgotten. */
  closeAll(): Uint8Array {
    const closes: Uint8Array[] = []
    for (const name of this.#statements.keys()) {
      if (this.#live.has(this.prefix, name)) closes.push(this.closeOf(name))
      this.#live.set(this.prefix, name, false)
    }
    return Buffer.concat(closes)
  }

  /** What the database is to hear in place of `messages`. Nothing is remembered yet of what they prepare. */
  translate(messages: readonly Message[]): Batch {
    const octets: Uint8Array[] = []
    const missing = new Map<string, Uint8Array>()
    const fresh = new Map<string, PreparedStatement>()
    const kinds: StatementKind[] = []
    const parsed: string[] = []
    const need = (name: string): string => {
      const known = this.#statements.get(name)
      if (known !== undefined && !fresh.has(name) && !this.#live.has(this.prefix, name)) {
        missing.set(name, parseMessage(nameFor(this.prefix, name), known))
      }
      return nameFor(this.prefix, name)
    }
    for (const { kind, body } of messages) {
      const reader = new BodyReader(body)
      if (kind === 'P') {
        const name = reader.text()
        const statement = readStatement(reader)
        if (name !== '') need(name)
        octets.push(parseMessage(nameFor(this.prefix, name), statement))
        fresh.set(name, statement)
        parsed.push(name)
      } else if (kind === 'B') {
        const portal = reader.text()
        const name = reader.text()
        this.#portals.set(portal, name)
        octets.push(encode('B', portal, need(name), reader.rest))
      } else if (kind === 'D' || kind === 'C') {
        const what = reader.octet()
        const name = reader.text()
        octets.push(encode(kind, Buffer.from(what), what === 'S' ? need(name) : name))
      } else {
        if (kind === 'E') {
          const of = this.#portals.get(reader.text()) ?? ''
          const query = (fresh.get(of) ?? this.#statements.get(of))?.query ?? ''
          kinds.push(splitStatements(query)[0]?.kind ?? 'other')
        }
        octets.push(encode(kind, body))
      }
    }
    const list = [...missing].map(([name, message]) => ({ name, message }))
    return { octets: Buffer.concat(octets), missing: list, kinds, parsed }
  }

  /** What came of `messages`: the first `parses` of their Parse messages and `closes` of their Close messages went well. */
  learn(messages: readonly Message[], parses: number, closes: number): boolean {
    let changed = false
    let parsesLeft = parses
    let closesLeft = closes
    for (const { kind, body } of messages) {
      const reader = new BodyReader(body)
      if (kind === 'P' && parsesLeft-- > 0) {
        const name = reader.text()
        this.#statements.set(name, readStatement(reader))
        this.#live.set(this.prefix, name, true)
        changed = true
      } else if (kind === 'C' && closesLeft-- > 0 && reader.octet() === 'S') {
        const name = reader.text()
        this.#live.set(this.prefix, name, false)
        if (this.#statements.delete(name)) changed = true
      }
    }
    return changed
  }
}

function readStatement(reader: BodyReader): PreparedStatement {
  const query = reader.text()
  const types = Array.from({ length: reader.uint16() }, () => reader.int32())
  return { query, types }
}

function parseMessage(name: string, { query, types }: PreparedStatement): Uint8Array {
  const kind = splitStatements(query)[0]?.kind ?? 'other'
  const count = Buffer.alloc(2)
  count.writeUInt16BE(types.length)
  return encode('P', name, insteadOf(kind) ?? query, count, uint32(...types))
}

/** Checks that a message of the extended protocol has the form it must. Throws SqlProtocolError. */
export function checkMessage({ kind, body }: Message): void {
  const reader = new BodyReader(body)
  switch (kind) {
    case 'P':
      reader.text()
      reader.text()
      reader.skip(4 * reader.uint16())
      break
    case 'B':
      reader.text()
      reader.text()
      reader.skip(2 * reader.uint16())
      for (let values = reader.uint16(); values > 0; values--) skipValue(reader)
      reader.skip(2 * reader.uint16())
      break
    case 'D':
    case 'C':
      reader.octet()
      reader.text()
      break
    case 'E':
      reader.text()
      reader.int32()
      break
    case 'Q':
      reader.text()
      break
    case 'S':
    case 'H':
      break
    default:
      return
  }
  reader.end()
}

// -1 is NULL.
function skipValue(reader: BodyReader): void {
  const length = reader.int32()
  reader.skip(length === -1 ? 0 : length)
}
