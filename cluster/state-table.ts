/**
 * StateTable: where an application keeps state of its own in the checkpoint store, so that one transaction covers its
 * state and its checkpoints (A2). Seen by every node of the permanency set once the transaction has ended.
 */

/** Octets of a key in UTF-8 at most: what the store's index can hold. */
export const MAX_STATE_KEY = 1900

/** One application's table in the store, by name. Values are JSON, or octets as they are. */
export interface StateTable<V = unknown> {
  /** The value at `key`, or undefined. Inside a transaction it sees what the transaction wrote. */
  get(key: string): V | undefined
  /** Stores a JSON value (or octets, in a table of octets). Outside of a transaction it is one by itself. */
  put(key: string, value: V): void
  /** True when there was something to remove. */
  remove(key: string): boolean
  /** Entries whose key begins with `prefix`, in the order of their keys' octets. Do not write while iterating. */
  entries(prefix?: string): Iterable<readonly [key: string, value: V]>
}

/** How the values of a table are stored. */
export type StateEncoding = 'json' | 'octets'
