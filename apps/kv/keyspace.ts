/**
 * Keyspace: keys with their values in a table of the checkpoint store, so that one transaction covers data and connections (A4).
 * Nothing is kept in memory: whoever takes over reads what the last owner wrote.
 *
 *   m KEY            type, expiry, version, and the string itself, or the list's ends, or a count
 *   e LEN : KEY X    one element: X is a place in the list, a field of the hash, a member of the set
 */
import type { StateTable } from '../../cluster/io/index.js'

export const Kind = { STRING: 1, LIST: 2, HASH: 3, SET: 4 } as const
export type Kind = (typeof Kind)[keyof typeof Kind]

const KIND_NAMES = ['none', 'string', 'list', 'hash', 'set'] as const
const HEAD = 17
/** Octets of a key at most: each may take two in the store. */
export const MAX_KEY = 700
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
  /** Of a list: the place of its first element, and one behind the last. Of others: 0 and the number of elements. */
  readonly from: number
  readonly to: number
}

export class Keyspace {
  readonly #table: StateTable<Uint8Array>
  readonly #now: () => number
  // Version of the last write; wall clock and count, so that it never repeats on another node.
  #version = 0

  constructor(table: StateTable<Uint8Array>, now: () => number) {
    this.#table = table
    this.#now = now
  }

  get now(): number {
    return this.#now()
  }

  /** The key, unless it has expired; undefined when there is none. Throws WRONGTYPE when it is of another `kind`. */
  get(key: string, kind?: Kind): Entry | undefined {
    const bytes = this.#table.get(metaKey(key))
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

  put(key: string, kind: Kind, change: Partial<Omit<Entry, 'kind' | 'version'>>): void {
    const { expiresAt = 0, text = '', from = 0, to = 0 } = change
    this.#version = Math.max(this.now * 1000, this.#version + 1)
    const entry = { kind, expiresAt, version: this.#version, text, from, to }
    this.#table.put(metaKey(key), encode(entry))
  }

  /** Removes the key with its elements. True when there was one. */
  remove(key: string, known?: Entry): boolean {
    const entry = known ?? this.get(key)
    if (entry === undefined) return false
    if (entry.kind !== Kind.STRING) {
      const prefix = elementKey(key, '')
      for (const name of [...this.#names(prefix)]) this.#table.remove(name)
    }
    return this.#table.remove(metaKey(key))
  }

  *#names(prefix: string): Iterable<string> {
    for (const [name] of this.#table.entries(prefix)) yield name
  }

  element(key: string, name: string): string | undefined {
    const bytes = this.#table.get(elementKey(key, name))
    return bytes === undefined ? undefined : Buffer.from(bytes).toString('latin1')
  }

  putElement(key: string, name: string, value: string): void {
    this.#table.put(elementKey(key, name), Buffer.from(value, 'latin1'))
  }

  removeElement(key: string, name: string): boolean {
    return this.#table.remove(elementKey(key, name))
  }

  /** All elements of a hash or a set: names with values. */
  elements(key: string): [name: string, value: string][] {
    const prefix = elementKey(key, '')
    return [...this.#table.entries(prefix)].map(([name, value]) => [
      name.slice(prefix.length),
      Buffer.from(value).toString('latin1'),
    ])
  }

  /** Keys that are there, in the order of the store. */
  *keys(): Iterable<string> {
    const { now } = this
    for (const [name, value] of this.#table.entries('m')) {
      const { expiresAt } = decode(value)
      if (expiresAt === 0 || expiresAt > now) yield name.slice(1)
    }
  }

  clear(): void {
    for (const name of [...this.#names('')]) this.#table.remove(name)
  }
}

/** The name of a place in a list. */
export function place(index: number): string {
  return String(MIDDLE + index)
}

export function kindName(entry: Entry | undefined): string {
  return KIND_NAMES[entry?.kind ?? 0] ?? 'none'
}

function metaKey(key: string): string {
  if (key.length > MAX_KEY) throw new CommandError(`ERR a key has ${MAX_KEY} octets at most`)
  return `m${key}`
}

function elementKey(key: string, name: string): string {
  if (key.length + name.length > MAX_KEY) {
    throw new CommandError(`ERR a key and its field or member have ${MAX_KEY} octets at most`)
  }
  return `e${key.length}:${key}${name}`
}

function encode(entry: Entry): Buffer {
  const text = Buffer.from(entry.text, 'latin1')
  const numbers = entry.kind === Kind.STRING ? 0 : 16
  const bytes = Buffer.alloc(HEAD + numbers + text.length)
  bytes.writeUInt8(entry.kind, 0)
  bytes.writeDoubleBE(entry.expiresAt, 1)
  bytes.writeDoubleBE(entry.version, 9)
  if (numbers > 0) {
    bytes.writeDoubleBE(entry.from, HEAD)
    bytes.writeDoubleBE(entry.to, HEAD + 8)
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
    from: plain ? 0 : bytes.readDoubleBE(HEAD),
    to: plain ? 0 : bytes.readDoubleBE(HEAD + 8),
  }
}
