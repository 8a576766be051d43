/**
 * MirrorStore: where a node mirrors its shadows, and where it keeps the epochs it must never use twice (P27).
 *
 * It is write-behind: everything but the epoch is queued and written by `flush`, once per turn at most and in one
 * transaction; nothing on the way of a frame waits for it. Keys are a flow's; text is kept by stream offset.
 */
import type { FlowKey } from './flow-key.js'

/** Which text of a flow: what the owner sent, or what it received. */
export type TextSide = 'sent' | 'received'

/** A flow as it lies in the store. */
export interface StoredFlow {
  readonly key: FlowKey
  /** A TcbRecord: see tcb-record.ts. Owned by the caller. */
  readonly record: Uint8Array
}

/** A run of text as it lies in the store. */
export interface StoredText {
  readonly offset: number
  readonly bytes: Uint8Array
}

/** One node's mirror. All calls but `putEpochSync` and `flush` return at once. */
export interface MirrorStore {
  /** Queues the state of a flow; the last one of a turn is written. `record` is copied. */
  putTcb(key: FlowKey, record: Uint8Array): void
  /** Queues text that starts at stream offset `offset`. `bytes` is copied. */
  putText(key: FlowKey, side: TextSide, offset: number, bytes: Uint8Array): void
  /** Queues the removal of text that lies wholly below stream offset `before`. */
  dropText(key: FlowKey, side: TextSide, before: number): void
  /** Queues the removal of a flow with its text. */
  removeFlow(key: FlowKey): void
  /** The flows of a binding, as last flushed. */
  flows(binding: number): Iterable<StoredFlow>
  /** The text of a flow in ascending order, as last flushed. */
  text(key: FlowKey, side: TextSide): Iterable<StoredText>
  /** Durable when it returns: an epoch must never be used again. */
  putEpochSync(binding: number, epoch: number): void
  /** The highest epoch ever stored for the binding; 0 when there is none. */
  epoch(binding: number): number
  /**
   * Notes `epoch` as putEpochSync does, and sets those up to `upTo` aside, which this node may use; durable later. Returns at once.
   */
  reserveEpochs(binding: number, epoch: number, upTo: number): void
  /** The last epoch that is set aside for this node, durably; 0 when there is none. Also a later life of the node must not use them again. */
  reservedEpoch(binding: number): number
  /** Writes what was queued, in one transaction. */
  flush(): void
  close(): void
}
