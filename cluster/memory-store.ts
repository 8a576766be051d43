/**
 * MirrorStore and CheckpointStore in memory, for the simulator and for tests. They keep the promises of the real ones and
 * no more: `crash()` loses what was queued and keeps what was flushed, and epochs are there at once. Several nodes may be
 * given the same MemoryCheckpointStorage, as they share one directory.
 */
import { assert, StackError } from '../stack/index.js'
import { type Checkpoint, type CheckpointStore, MAX_UNSENT } from './checkpoint.js'
import type { FlowKey } from './flow-key.js'
import {
  ChunkIndex,
  flowName,
  MAX_QUEUED_BYTES,
  MirrorQueue,
  type QueuedFlow,
} from './mirror-queue.js'
import type { MirrorStore, StoredFlow, StoredText, TextSide } from './mirror-store.js'
import type { StateTable } from './state-table.js'

interface MemorySide {
  readonly index: ChunkIndex
  readonly chunks: Map<number, Uint8Array>
}

interface MemoryFlow {
  readonly key: FlowKey
  record: Uint8Array | null
  readonly sent: MemorySide
  readonly received: MemorySide
}

/** A mirror in memory; `crash` loses what was not flushed. */
export class MemoryMirrorStore implements MirrorStore {
  readonly #queue = new MirrorQueue()
  readonly #flows = new Map<string, MemoryFlow>()
  readonly #epochs = new Map<number, number>()
  readonly #reserved = new Map<number, number>()

  putTcb(key: FlowKey, record: Uint8Array): void {
    this.#queue.putTcb(key, record)
    this.#bound()
  }

  putText(key: FlowKey, side: TextSide, offset: number, bytes: Uint8Array): void {
    this.#queue.putText(key, side, offset, bytes)
    this.#bound()
  }

  dropText(key: FlowKey, side: TextSide, before: number): void {
    this.#queue.dropText(key, side, before)
  }

  removeFlow(key: FlowKey): void {
    this.#queue.removeFlow(key)
  }

  *flows(binding: number): Iterable<StoredFlow> {
    for (const { key, record } of this.#flows.values()) {
      if (key.binding === binding && record !== null) yield { key, record: record.slice() }
    }
  }

  *text(key: FlowKey, side: TextSide): Iterable<StoredText> {
    const stored = this.#flows.get(flowName(key))?.[side]
    if (stored === undefined) return
    for (const offset of stored.index.offsets()) {
      const bytes = stored.chunks.get(offset)
      assert(bytes !== undefined, 'each chunk in the index is kept')
      yield { offset, bytes: bytes.slice() }
    }
  }

  putEpochSync(binding: number, epoch: number): void {
    if (epoch > this.epoch(binding)) this.#epochs.set(binding, epoch)
  }

  epoch(binding: number): number {
    return this.#epochs.get(binding) ?? 0
  }

  reserveEpochs(binding: number, epoch: number, upTo: number): void {
    this.putEpochSync(binding, epoch)
    if (upTo > this.reservedEpoch(binding)) this.#reserved.set(binding, upTo)
  }

  reservedEpoch(binding: number): number {
    return this.#reserved.get(binding) ?? 0
  }

  flush(): void {
    for (const queued of this.#queue.flows()) this.#write(queued)
    this.#queue.clear()
  }

  /** The process dies: what was queued is lost. The object is then what the next process finds. */
  crash(): void {
    this.#queue.clear()
  }

  close(): void {
    this.flush()
  }

  #bound(): void {
    if (this.#queue.bytes > MAX_QUEUED_BYTES) this.flush()
  }

  #write(queued: QueuedFlow): void {
    if (queued.removed) this.#flows.delete(queued.name)
    const flow = this.#flows.get(queued.name) ?? newFlow(queued.key)
    if (queued.record !== null) flow.record = queued.record.slice()
    for (const side of ['sent', 'received'] as const) {
      const { index, chunks } = flow[side]
      index.dropBelow(queued[side].dropBefore, (offset) => chunks.delete(offset))
      for (const chunk of queued[side].chunks) {
        if (index.insert(chunk.offset, chunk.end) >= 0) {
          chunks.set(chunk.offset, chunk.bytes.slice())
        }
      }
    }
    const used = flow.record !== null || flow.sent.index.count + flow.received.index.count > 0
    if (used) this.#flows.set(queued.name, flow)
    else this.#flows.delete(queued.name)
  }
}

function newFlow(key: FlowKey): MemoryFlow {
  const sent = { index: new ChunkIndex(), chunks: new Map() }
  const received = { index: new ChunkIndex(), chunks: new Map() }
  return { key, record: null, sent, received }
}

/** What the nodes of a permanency set share: give the same one to the store of each. */
export class MemoryCheckpointStorage {
  readonly checkpoints = new Map<string, Checkpoint>()
  readonly tables = new Map<string, Map<string, unknown>>()
  /** The greatest term in which a binding was claimed. */
  readonly terms = new Map<number, number>()
}

/** One node's view of checkpoints in memory that several nodes share. */
export class MemoryCheckpointStore implements CheckpointStore {
  readonly #storage: MemoryCheckpointStorage
  // A null waits to remove.
  #queue = new Map<string, Checkpoint | null>()
  // What the running transaction wrote to tables; null outside of one.
  #writes: Map<string, Map<string, unknown>> | null = null

  readonly #terms = new Map<number, number>()
  #refused = 0

  constructor(storage: MemoryCheckpointStorage = new MemoryCheckpointStorage()) {
    this.#storage = storage
  }

  get refused(): number {
    return this.#refused
  }

  claim(binding: number, epoch: number): void {
    this.#terms.set(binding, epoch)
    const { terms } = this.#storage
    terms.set(binding, Math.max(terms.get(binding) ?? 0, epoch))
  }

  put(key: FlowKey, checkpoint: Checkpoint): void {
    assert(checkpoint.unsent.length <= MAX_UNSENT, 'unsent output of a checkpoint is bounded')
    const state = structuredClone(checkpoint.state)
    this.#queue.set(flowName(key), { ...checkpoint, state, unsent: checkpoint.unsent.slice() })
  }

  get(key: FlowKey): Checkpoint | null {
    const name = flowName(key)
    const queued = this.#queue.get(name)
    if (queued !== undefined) return queued
    return this.#storage.checkpoints.get(name) ?? null
  }

  inputOffset(key: FlowKey, iss: number, irs: number): number {
    const found = this.get(key)
    return found !== null && found.iss === iss && found.irs === irs ? found.input : -1
  }

  remove(key: FlowKey): void {
    this.#queue.set(flowName(key), null)
  }

  transaction<T>(body: () => T): T {
    if (this.#writes !== null) return body()
    const queuedBefore = new Map(this.#queue)
    this.#refuseLesserTerms()
    this.#writes = new Map()
    try {
      const result = body()
      this.#commit(this.#writes)
      return result
    } catch (error) {
      this.#queue = queuedBefore
      throw error
    } finally {
      this.#writes = null
    }
  }

  /** A table of the application's own state; see StateTable. */
  open<V = unknown>(name: string): StateTable<V> {
    let table = this.#storage.tables.get(name)
    if (table === undefined) {
      table = new Map()
      this.#storage.tables.set(name, table)
    }
    return new MemoryTable<V>(table, this, () => this.#written(name))
  }

  refresh(): void {}

  flush(): void {
    if (this.#writes !== null || this.#queue.size === 0) return
    try {
      this.#refuseLesserTerms()
      this.#commit(new Map())
    } catch (error) {
      if (!(error instanceof StackError)) throw error
      this.#refused += this.#queue.size
      this.#queue.clear()
    }
  }

  #refuseLesserTerms(): void {
    for (const [binding, term] of this.#terms) {
      if ((this.#storage.terms.get(binding) ?? 0) <= term) continue
      throw new StackError('ERR_NOT_OWNER', `binding ${binding} was claimed by another node`)
    }
  }

  /** The process dies: what was queued is lost. */
  crash(): void {
    this.#queue.clear()
  }

  close(): void {
    this.flush()
  }

  #written(name: string): Map<string, unknown> | null {
    if (this.#writes === null) return null
    let written = this.#writes.get(name)
    if (written === undefined) {
      written = new Map()
      this.#writes.set(name, written)
    }
    return written
  }

  #commit(writes: ReadonlyMap<string, ReadonlyMap<string, unknown>>): void {
    for (const [name, checkpoint] of this.#queue) {
      if (checkpoint === null) this.#storage.checkpoints.delete(name)
      else this.#storage.checkpoints.set(name, checkpoint)
    }
    this.#queue.clear()
    for (const [name, written] of writes) {
      const table = this.#storage.tables.get(name)
      assert(table !== undefined, 'a written table was opened')
      for (const [key, value] of written) {
        if (value === undefined) table.delete(key)
        else table.set(key, value)
      }
    }
  }
}

class MemoryTable<V> implements StateTable<V> {
  readonly #table: Map<string, unknown>
  readonly #store: MemoryCheckpointStore
  readonly #written: () => Map<string, unknown> | null

  constructor(
    table: Map<string, unknown>,
    store: MemoryCheckpointStore,
    written: () => Map<string, unknown> | null,
  ) {
    this.#table = table
    this.#store = store
    this.#written = written
  }

  get(key: string): V | undefined {
    const written = this.#written()
    const value = written?.has(key) ? written.get(key) : this.#table.get(key)
    return structuredClone(value) as V | undefined
  }

  put(key: string, value: V): void {
    this.#store.transaction(() => this.#written()?.set(key, structuredClone(value)))
  }

  remove(key: string): boolean {
    const present = this.get(key) !== undefined
    this.#store.transaction(() => this.#written()?.set(key, undefined))
    return present
  }

  *entries(prefix = ''): Iterable<readonly [string, V]> {
    const keys = new Set([...this.#table.keys(), ...(this.#written()?.keys() ?? [])])
    for (const key of [...keys].sort()) {
      const value = key.startsWith(prefix) ? this.get(key) : undefined
      if (value !== undefined) yield [key, value]
    }
  }
}
