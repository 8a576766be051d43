/**
 * A table in the store of which only the newest entries stay: what is put in beyond the limit makes the oldest go.
 */
import type { StateTable } from '../../cluster/io/index.js'

interface Kept<V> {
  /** Its place in the order in which entries were made. */
  readonly turn: number
  readonly value: V
}

const ENTRY = 'e/'
const ORDER = 'o/'
const COUNTERS = 'counters'

interface Counters {
  /** The turn of the next entry. */
  readonly next: number
  /** The turn of the oldest entry that may still be there. */
  readonly oldest: number
  readonly count: number
}

export class BoundedTable<V> {
  readonly #table: StateTable
  readonly #limit: number

  /** Keeps `limit` entries in `table`, which is nobody else's. */
  constructor(table: StateTable, limit: number) {
    this.#table = table
    this.#limit = limit
  }

  get size(): number {
    return this.#counters().count
  }

  get(key: string): V | undefined {
    return (this.#table.get(ENTRY + key) as Kept<V> | undefined)?.value
  }

  /** A new entry is the newest; one that is there keeps its place. Inside a transaction. */
  put(key: string, value: V): void {
    const before = this.#table.get(ENTRY + key) as Kept<V> | undefined
    if (before !== undefined) {
      this.#table.put(ENTRY + key, { turn: before.turn, value })
      return
    }
    const { next, oldest, count } = this.#counters()
    this.#table.put(ENTRY + key, { turn: next, value })
    this.#table.put(ORDER + next, key)
    this.#table.put(COUNTERS, { next: next + 1, oldest, count: count + 1 })
    if (count + 1 > this.#limit) this.#evict()
  }

  /** True when there was something to remove. Inside a transaction. */
  remove(key: string): boolean {
    const entry = this.#table.get(ENTRY + key) as Kept<V> | undefined
    if (entry === undefined) return false
    this.#table.remove(ENTRY + key)
    this.#table.remove(ORDER + entry.turn)
    const counters = this.#counters()
    this.#table.put(COUNTERS, { ...counters, count: counters.count - 1 })
    return true
  }

  /** All keys. Do not write while iterating. */
  *keys(): Iterable<string> {
    for (const [key] of this.#table.entries(ENTRY)) yield key.slice(ENTRY.length)
  }

  #counters(): Counters {
    return (this.#table.get(COUNTERS) as Counters | undefined) ?? { next: 0, oldest: 0, count: 0 }
  }

  // Turns of entries that were removed meanwhile are passed over.
  #evict(): void {
    const { next, oldest, count } = this.#counters()
    let turn = oldest
    while (turn < next) {
      const key = this.#table.get(ORDER + turn) as string | undefined
      turn++
      if (key === undefined) continue
      this.#table.remove(ORDER + (turn - 1))
      this.#table.remove(ENTRY + key)
      break
    }
    this.#table.put(COUNTERS, { next, oldest: turn, count: count - 1 })
  }
}
