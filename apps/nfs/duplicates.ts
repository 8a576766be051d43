/**
 * The cache of duplicate requests (RFC 1813 §4.5): what was answered to requests that must not be carried out twice, and the
 * intents of those that are under way. It lies in the store, so the next owner has it too. A request is known again by the
 * client's address, its length and a hash of its beginning, which has its xid: the client's port may be another one when it sends again.
 */
import { createHash } from 'node:crypto'
import type { DataStore } from '../data-store.js'
import { BoundedTable } from './bounded-table.js'
import type { Intents } from './journal.js'

/** Requests that are remembered. */
const MAX_REQUESTS = 4096
/** Octets of a request that are hashed: what follows in a longer one is data to write. */
const MAX_HASHED = 8192
/** Octets of an answer that is kept. */
const MAX_KEPT_ANSWER = 64 * 1024
/** A client does not send again after so long; it may use the xid for another request. */
const MAX_AGE_MS = 120_000

interface Remembered {
  readonly at: number
  readonly intents: Intents
  /** In latin1. */
  readonly answer: string | null
}

/** What is known of a request. */
export interface Known {
  readonly intents: Intents
  /** The answer that was given, or null when there is none yet. */
  readonly answer: Buffer | null
}

const UNKNOWN: Known = { intents: [], answer: null }

export class Duplicates {
  readonly #table: BoundedTable<Remembered>
  readonly #now: () => number

  constructor(store: DataStore, now: () => number) {
    this.#table = new BoundedTable(store.open('nfs-requests', 'json'), MAX_REQUESTS)
    this.#now = now
  }

  /** The name of the request `record`, which begins with its xid. */
  static keyOf(client: string, record: Uint8Array): string {
    const hash = createHash('sha1').update(record.subarray(0, MAX_HASHED)).digest('base64')
    return `${client} ${record.length} ${hash}`
  }

  get(key: string): Known {
    const found = this.#table.get(key)
    if (found === undefined || this.#now() - found.at > MAX_AGE_MS) return UNKNOWN
    const answer = found.answer === null ? null : Buffer.from(found.answer, 'latin1')
    return { intents: found.intents, answer }
  }

  /** Stores what was seen before a change. */
  intend(key: string, intents: Intents): void {
    this.#table.put(key, { at: this.#now(), intents, answer: null })
  }

  /** Stores the answer. One that is too long is not kept: such a request is carried out again by its intents. */
  answered(key: string, answer: Buffer): void {
    if (answer.length > MAX_KEPT_ANSWER) return
    this.#table.put(key, { at: this.#now(), intents: [], answer: answer.toString('latin1') })
  }
}
