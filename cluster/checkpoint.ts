/**
 * Checkpoints: how far an application has come in a connection, stored by it in one transaction with its own state (A2), so
 * that another node goes on from there. The store is shared by all nodes of the permanency set.
 *
 *   input     octets before this stream offset have been consumed; those behind it are delivered again
 *   output    octets before this stream offset have been produced; the application regenerates from here
 *   unsent    produced octets that had not left the node when the checkpoint was made: they end at `output`
 *   state     whatever the application wants back
 */
import type { FlowKey } from './flow-key.js'
import type { StateEncoding, StateTable } from './state-table.js'

/** How far an application has come in one connection. Offsets are stream offsets. */
export interface Checkpoint {
  readonly input: number
  readonly output: number
  readonly unsent: Uint8Array
  /** Any JSON value. */
  readonly state: unknown
  /** ISS and IRS of the connection: they tell it from an earlier one between the same endpoints. */
  readonly iss: number
  readonly irs: number
}

/** Octets of unsent output that a checkpoint may carry. */
export const MAX_UNSENT = 4 * 1024 * 1024

/** Keeps checkpoints for all nodes of the permanency set. What is queued is written by `flush` or by a transaction. */
export interface CheckpointStore {
  /** Queues a checkpoint in place of the flow's last one; it is written by `flush`. */
  put(key: FlowKey, checkpoint: Checkpoint): void
  /** The flow's checkpoint, queued or written, or null. */
  get(key: FlowKey): Checkpoint | null
  /** Like `get`, but the input offset only: -1 when there is none. Cheap enough for each flow and turn. */
  inputOffset(key: FlowKey, iss: number, irs: number): number
  remove(key: FlowKey): void
  /**
   * Takes what other nodes have written into account, and then the binding's checkpoints over, for the term `epoch`: from now on
   * the store refuses those of lesser terms, so that an owner that was stopped and wakes up overwrites nothing (D3).
   */
  claim(binding: number, epoch: number): void
  /** Checkpoints that were refused, as another node has claimed their binding. */
  readonly refused: number
  /**
   * Runs `body` in the transaction that writes the queued checkpoints too: the application's state and the checkpoints are
   * there both or neither. Throws ERR_NOT_OWNER, and writes nothing, when another node has claimed a binding of this one.
   */
  transaction<T>(body: () => T): T
  /** A table of the application's own state, by name. */
  open<V = unknown>(name: string, encoding?: StateEncoding): StateTable<V>
  /** Writes what is queued: before any octet leaves that the checkpoint counts as produced. */
  flush(): void
  close(): void
}
