/**
 * Keyspace: keys with their values in a table of the checkpoint store, so that one transaction covers data and connections (A4).
 * Nothing is kept in memory: whoever takes over reads what the last owner wrote.
 *
 *   r                the reign: FLUSHALL begins another
 *   m REIGN KEY      type, expiry, version, and the string itself, or the collection's id with the list's ends, or a count
 *   e ID X           one element: X is a place in the list, a field of the hash, a member of the set; of a sorted set there are two
 *   x ID, y REIGN    what was removed, whose elements or keys are still there: `sweep` clears them away
 *
 * No removal takes longer than another: a command that keeps the loop busy for long would have the peers take the node for dead, one
 * after the other, as each is given the same command again.
 */
import type { StateTable } from '../../cluster/io/index.js'

export const Kind = { STRING: 1, LIST: 2, HASH: 3, SET: 4, ZSET: 5 } as const
export type Kind = (typeof Kind)[keyof typeof Kind]

const KIND_NAMES = ['none', 'string', 'list', 'hash', 'set', 'zset'] as const
const HEAD = 17
const NUMBERS = 24
/** Octets of a key at most: each may take two in the store. */
export const MAX_KEY = 700
const NOTHING = new Uint8Array(0)
// Places count from the middle, so that they are as long on both sides.
const MIDDLE = 2 ** 50

/** What a command cannot do: its message is the answer. */
export class CommandError extends Error {}

/** One key: what it is, and its string or its numbers. */
export interface Entry {
  readonly kind: Kind
  /** Milliseconds since 1970, or 0. */
  readonly expiresAt: number
  /** Changes with each write of the key. */
  readonly version: number
  /** The string; empty for others. */
  readonly text: string
  /** Of a collection: what its elements are named by; 0 for a string. */
  readonly id: number
  /** Of a list: the place of its first element, and one behind the last. Of others: 0 and the number of elements. */
  readonly from: number
  readonly to: number
}

export class Keyspace {
  readonly #table: StateTable<Uint8Array>
  readonly #now: () => number
  // Version of the last write.
  #version = 0
  /** False: something that was removed may not have been cleared away. */
  swept = false
  // Null: to be read again.
  #reign: number | null = null

  constructor(table: StateTable<Uint8Array>, now: () => number) {
    this.#table = table
    this.#now = now
  }

  get now(): number {
    return this.#now()
  }

  /** Another node may have written since: call it at the beginning of a transaction. */
  refresh(): void {
    this.#reign = null
  }

  #metaKey(key: string): string {
    if (key.length > MAX_KEY) throw new CommandError(`ERR a key has ${MAX_KEY} octets at most`)
    return `m${fixed(this.#currentReign)}${key}`
  }

  get #currentReign(): number {
    if (this.#reign === null) {
      const bytes = this.#table.get('r')
      this.#reign = bytes === undefined ? 0 : Number(Buffer.from(bytes).toString('latin1'))
    }
    return this.#reign
  }

  // Wall clock and count, so that it never repeats on another node.
  #fresh(): number {
    this.#version = Math.max(this.now * 1000, this.#version + 1)
    return this.#version
  }

  /** The key, unless it has expired; undefined when there is none. Throws WRONGTYPE when it is of another `kind`. */
  get(key: string, kind?: Kind): Entry | undefined {
    const bytes = this.#table.get(this.#metaKey(key))
    if (bytes === undefined) return undefined
    const entry = decode(bytes)
    if (entry.expiresAt > 0 && entry.expiresAt <= this.now) {
      this.remove(key, entry)
      return undefined
    }
    if (kind !== undefined && entry.kind !== kind) {
      throw new CommandError('WRONGTYPE Operation against a key holding the wrong kind of value')
    }
    return entry
  }

  /** Stores what is known of the key. A collection is one that was got, or is {@link begin}'s. */
  put(key: string, kind: Kind, change: Partial<Omit<Entry, 'kind' | 'version'>>): void {
    const { expiresAt = 0, text = '', id = 0, from = 0, to = 0 } = change
    const entry = { kind, expiresAt, version: this.#fresh(), text, id, from, to }
    this.#table.put(this.#metaKey(key), encode(entry))
  }

  /** A new collection without elements; it is there when it is `put`. */
  begin(kind: Kind): Entry {
    return { kind, expiresAt: 0, version: 0, text: '', id: this.#fresh(), from: 0, to: 0 }
  }

  /** Removes the key with its elements. True when there was one. */
  remove(key: string, known?: Entry): boolean {
    const entry = known ?? this.get(key)
    if (entry === undefined) return false
    this.#discard(entry)
    return this.#table.remove(this.#metaKey(key))
  }

  /** Gives the key another name, in the place of what that meant. */
  rename(from: string, entry: Entry, to: string): void {
    this.remove(to)
    this.put(to, entry.kind, entry)
    this.#table.remove(this.#metaKey(from))
  }

  #discard({ id }: Entry): void {
    if (id === 0) return
    this.#table.put(`x${fixed(id)}`, NOTHING)
    this.swept = false
  }

  element(of: Entry, name: string): string | undefined {
    const bytes = this.#table.get(elementKey(of, name))
    return bytes === undefined ? undefined : Buffer.from(bytes).toString('latin1')
  }

  putElement(of: Entry, name: string, value: string): void {
    this.#table.put(elementKey(of, name), Buffer.from(value, 'latin1'))
  }

  removeElement(of: Entry, name: string): boolean {
    return this.#table.remove(elementKey(of, name))
  }

  /** The elements of which the names begin with `start`, in their order: names with values. Do not write while iterating. */
  *elements(of: Entry, start = ''): Iterable<[name: string, value: string]> {
    const { length } = elementKey(of, '')
    for (const [name, value] of this.#table.entries(elementKey(of, start))) {
      yield [name.slice(length), Buffer.from(value).toString('latin1')]
    }
  }

  /** Keys that are there, in the order of the store. */
  *keys(): Iterable<string> {
    const { now } = this
    const prefix = this.#metaKey('')
    for (const [name, value] of this.#table.entries(prefix)) {
      const { expiresAt } = decode(value)
      if (expiresAt === 0 || expiresAt > now) yield name.slice(prefix.length)
    }
  }

  /** Removes all keys. */
  clear(): void {
    const reign = this.#currentReign
    this.#table.put(`y${fixed(reign)}`, NOTHING)
    this.swept = false
    this.#reign = reign + 1
    this.#table.put('r', Buffer.from(String(this.#reign), 'latin1'))
  }

  /** Clears away what was removed, up to `limit` entries; `swept` tells whether that was all. */
  sweep(limit: number): void {
    let left = limit
    for (const name of this.#first('y', 1)) {
      const metas = this.#first(`m${name.slice(1)}`, left)
      for (const meta of metas) {
        const bytes = this.#table.get(meta)
        if (bytes !== undefined) this.#discard(decode(bytes))
        this.#table.remove(meta)
      }
      if (metas.length < left) this.#table.remove(name)
      left -= metas.length
    }
    if (left === 0) return
    for (const name of this.#first('x', 1)) {
      const elements = this.#first(`e${name.slice(1)}`, left)
      for (const element of elements) this.#table.remove(element)
      if (elements.length < left) this.#table.remove(name)
      return
    }
    this.swept = true
  }

  #first(prefix: string, limit: number): string[] {
    const names: string[] = []
    for (const [name] of this.#table.entries(prefix)) {
      names.push(name)
      if (names.length >= limit) break
    }
    return names
  }
}

// Of one length, so that no number begins with another.
function fixed(number: number): string {
  return number.toString(36).padStart(12, '0')
}

/** The name of a place in a list. */
export function place(index: number): string {
  return String(MIDDLE + index)
}

export function kindName(entry: Entry | undefined): string {
  return KIND_NAMES[entry?.kind ?? 0] ?? 'none'
}

function elementKey(of: Entry, name: string): string {
  if (name.length > MAX_KEY) {
    throw new CommandError(`ERR a field or a member has ${MAX_KEY} octets at most`)
  }
  return `e${fixed(of.id)}${name}`
}

function encode(entry: Entry): Buffer {
  const text = Buffer.from(entry.text, 'latin1')
  const numbers = entry.kind === Kind.STRING ? 0 : NUMBERS
  const bytes = Buffer.alloc(HEAD + numbers + text.length)
  bytes.writeUInt8(entry.kind, 0)
  bytes.writeDoubleBE(entry.expiresAt, 1)
  bytes.writeDoubleBE(entry.version, 9)
  if (numbers > 0) {
    bytes.writeDoubleBE(entry.id, HEAD)
    bytes.writeDoubleBE(entry.from, HEAD + 8)
    bytes.writeDoubleBE(entry.to, HEAD + 16)
  } else {
    text.copy(bytes, HEAD)
  }
  return bytes
}

function decode(octets: Uint8Array): Entry {
  const bytes = Buffer.from(octets.buffer, octets.byteOffset, octets.length)
  const kind = bytes.readUInt8(0) as Kind
  const plain = kind === Kind.STRING
  return {
    kind,
    expiresAt: bytes.readDoubleBE(1),
    version: bytes.readDoubleBE(9),
    text: plain ? bytes.toString('latin1', HEAD) : '',
    id: plain ? 0 : bytes.readDoubleBE(HEAD),
    from: plain ? 0 : bytes.readDoubleBE(HEAD + 8),
    to: plain ? 0 : bytes.readDoubleBE(HEAD + 16),
  }
}
