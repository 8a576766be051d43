/**
 * The CheckpointStore that the nodes of a permanency set share: one LMDB directory, opened by several processes at once.
 *
 * Checkpoints and the applications' own tables lie in one LMDB environment, so that one transaction covers both (A2).
 * Reads see one snapshot per turn of the event loop; `refresh` takes a newer one. A node that was stopped inside a
 * transaction holds the write lock until it is killed: fence a suspect before writing here.
 */
import type { Database, Key, RootDatabase } from 'lmdb'
import { StackError } from '../../stack/index.js'
import { type Checkpoint, type CheckpointStore, MAX_UNSENT } from '../checkpoint.js'
import { encodeFlowKey, type FlowKey } from '../flow-key.js'
import { flowName } from '../mirror-queue.js'
import { MAX_STATE_KEY, type StateEncoding, type StateTable } from '../state-table.js'
import { decodeCheckpoint, encodeCheckpoint, inputOffsetOf } from './checkpoint-record.js'
import { claimDirectory, corrupt, openDatabase } from './store-directory.js'
import { StoreGate } from './store-gate.js'

export interface LmdbCheckpointStoreOptions {
  /** Shared by the nodes on this host; made when it is missing. */
  readonly path: string
  readonly cluster: string
  /**
   * True: each transaction is on the disk before it returns, and survives a power failure of the host. False: it
   * survives the death of any process, and costs microseconds. Default false.
   */
  readonly durable?: boolean
}

interface Queued {
  readonly binding: number
  readonly key: Uint8Array
  /** Null waits to remove. */
  readonly record: Buffer | null
}

const LAYOUT = 2
const MAP_SIZE = 64 * 1024 ** 3
const MAX_TABLES = 64
const TABLE = { encoding: 'binary', keyEncoding: 'binary' } as const

export class LmdbCheckpointStore implements CheckpointStore {
  readonly #path: string
  readonly #gate: StoreGate
  readonly #root: RootDatabase<Uint8Array, Key>
  readonly #checkpoints: Database<Uint8Array, Key>
  #queue = new Map<string, Queued>()
  // The term in which this node owns a binding, as far as it knows.
  readonly #terms = new Map<number, number>()
  #refused = 0
  #inTransaction = false
  #closed = false

  /** Throws StackError ERR_STORE_FOREIGN, ERR_STORE_CORRUPT or ERR_STORE_ACCESS, naming the path. */
  constructor(options: LmdbCheckpointStoreOptions) {
    const { path, cluster } = options
    this.#path = path
    claimDirectory(path, { store: 'checkpoints', layout: LAYOUT, cluster, node: null })
    this.#gate = new StoreGate(path)
    const open = () =>
      openDatabase(path, 'checkpoints.lmdb', {
        mapSize: MAP_SIZE,
        maxDbs: MAX_TABLES + 2,
        noSync: options.durable !== true,
        overlappingSync: false,
      })
    try {
      this.#root = this.#gate.opening(open)
    } catch (error) {
      this.#gate.close()
      throw error
    }
    this.#checkpoints = this.#openTable('checkpoints')
  }

  /** Throws ERR_CHECKPOINT_SIZE when more than MAX_UNSENT octets are unsent. */
  put(key: FlowKey, checkpoint: Checkpoint): void {
    if (checkpoint.unsent.length > MAX_UNSENT) {
      throw new StackError(
        'ERR_CHECKPOINT_SIZE',
        `a checkpoint with ${checkpoint.unsent.length} unsent octets exceeds ${MAX_UNSENT}: write less ahead of the client`,
      )
    }
    this.#queue.set(flowName(key), {
      binding: key.binding,
      key: encodeFlowKey(key),
      record: encodeCheckpoint(checkpoint),
    })
  }

  get(key: FlowKey): Checkpoint | null {
    const record = this.#record(key)
    if (record === null) return null
    const checkpoint = decodeCheckpoint(record)
    if (checkpoint === null) throw corrupt(this.#path, 'a checkpoint is not readable')
    return checkpoint
  }

  inputOffset(key: FlowKey, iss: number, irs: number): number {
    if (this.#queue.size > 0) {
      const queued = this.#queue.get(flowName(key))
      if (queued !== undefined) {
        return queued.record === null ? -1 : inputOffsetOf(queued.record, iss, irs)
      }
    }
    const record = this.#checkpoints.getBinaryFast(encodeFlowKey(key))
    return record === undefined ? -1 : inputOffsetOf(record, iss, irs)
  }

  remove(key: FlowKey): void {
    this.#queue.set(flowName(key), {
      binding: key.binding,
      key: encodeFlowKey(key),
      record: null,
    })
  }

  get refused(): number {
    return this.#refused
  }

  claim(binding: number, epoch: number): void {
    this.refresh()
    this.#terms.set(binding, epoch)
    this.#gate.writing(() =>
      this.#root.transactionSync(() => {
        if (this.#claimed(binding) < epoch)
          this.#checkpoints.putSync(termKey(binding), doubleOctets(epoch))
      }),
    )
  }

  /** Resolves when the store can be written to; a node that was stopped in a transaction holds it for ever. */
  async probe(): Promise<void> {
    this.#gate.enter()
    try {
      await this.#checkpoints.put(PROBE_KEY, PROBE_KEY)
    } finally {
      if (!this.#closed) this.#gate.leave()
    }
  }

  /**
   * Runs `body`, which must be synchronous, and writes the queued checkpoints with what it wrote. When it throws, nothing
   * of it is written and its checkpoints are forgotten. Within a transaction it is part of that one.
   */
  transaction<T>(body: () => T): T {
    if (this.#inTransaction) return body()
    const queuedBefore = new Map(this.#queue)
    let result: T | undefined
    this.#inTransaction = true
    this.#gate.enter()
    try {
      // The callback returns nothing, because LMDB would wait for a promise and keep the transaction open.
      this.#root.transactionSync(() => {
        this.#refuseLesserTerms()
        result = body()
        refusePromise(result)
        this.#writeQueue()
      })
    } catch (error) {
      this.#queue = queuedBefore
      throw error
    } finally {
      this.#gate.leave()
      this.#inTransaction = false
    }
    this.#queue.clear()
    return result as T
  }

  /** A table of the application's own state, named by it. Throws ERR_STORE_TABLE for a name that cannot be one. */
  open<V = unknown>(name: string, encoding: StateEncoding = 'json'): StateTable<V> {
    if (!/^[\w.-]{1,64}$/.test(name)) {
      throw new StackError(
        'ERR_STORE_TABLE',
        `${name} is no name of a table: use letters, digits, ._-`,
      )
    }
    return new LmdbStateTable<V>(this.#openTable(`state/${name}`), encoding, this)
  }

  /** Lets this turn see what other processes have committed. */
  refresh(): void {
    if (!this.#inTransaction) this.#root.resetReadTxn()
  }

  flush(): void {
    if (this.#queue.size === 0 || this.#inTransaction) return
    try {
      this.transaction(() => undefined)
    } catch (error) {
      if ((error as StackError).code !== 'ERR_NOT_OWNER') throw error
      this.#refused += this.#queue.size
      this.#queue.clear()
    }
  }

  close(): void {
    if (this.#closed) return
    this.flush()
    this.#closed = true
    void this.#root.close()
    this.#gate.close()
  }

  #openTable(name: string): Database<Uint8Array, Key> {
    try {
      return this.#gate.writing(() => this.#root.openDB({ name, ...TABLE }))
    } catch (cause) {
      throw corrupt(this.#path, `table ${name}: ${(cause as Error).message}`, cause)
    }
  }

  #record(key: FlowKey): Uint8Array | null {
    const queued = this.#queue.get(flowName(key))
    if (queued !== undefined) return queued.record
    return this.#checkpoints.get(encodeFlowKey(key)) ?? null
  }

  // The greatest term in which any node has claimed the binding.
  #claimed(binding: number): number {
    const octets = this.#checkpoints.get(termKey(binding))
    return octets === undefined ? 0 : Buffer.from(octets).readDoubleBE(0)
  }

  #refuseLesserTerms(): void {
    for (const [binding, term] of this.#terms) {
      if (this.#claimed(binding) <= term) continue
      throw new StackError(
        'ERR_NOT_OWNER',
        `binding ${binding} was claimed by another node: what was to be stored belongs to a connection that has moved`,
      )
    }
  }

  #writeQueue(): void {
    for (const { key, record } of this.#queue.values()) {
      if (record === null) this.#checkpoints.removeSync(key)
      else this.#checkpoints.putSync(key, record)
    }
  }
}

// Shorter than the key of any flow.
function termKey(binding: number): Buffer {
  return Buffer.from([0x74, binding >> 8, binding & 0xff])
}

const PROBE_KEY = Buffer.from([0x70])

function doubleOctets(value: number): Buffer {
  const octets = Buffer.alloc(8)
  octets.writeDoubleBE(value)
  return octets
}

function refusePromise(result: unknown): void {
  if (typeof (result as { then?: unknown } | null | undefined)?.then !== 'function') return
  throw new StackError(
    'ERR_STORE_ASYNC',
    'the body of a transaction is asynchronous: await first, then write in one synchronous body',
  )
}

class LmdbStateTable<V> implements StateTable<V> {
  readonly #table: Database<Uint8Array, Key>
  readonly #octets: boolean
  readonly #store: LmdbCheckpointStore

  constructor(
    table: Database<Uint8Array, Key>,
    encoding: StateEncoding,
    store: LmdbCheckpointStore,
  ) {
    this.#table = table
    this.#octets = encoding === 'octets'
    this.#store = store
  }

  get(key: string): V | undefined {
    const bytes = this.#table.get(stateKey(key))
    return bytes === undefined ? undefined : this.#decode(bytes)
  }

  put(key: string, value: V): void {
    const octets = this.#octets ? (value as Uint8Array) : Buffer.from(JSON.stringify(value))
    this.#store.transaction(() => {
      this.#table.putSync(stateKey(key), octets)
    })
  }

  remove(key: string): boolean {
    return this.#store.transaction(() => this.#table.removeSync(stateKey(key)))
  }

  *entries(prefix = ''): Iterable<readonly [string, V]> {
    const start = Buffer.from(`k${prefix}`)
    for (const { key, value } of this.#table.getRange({ start })) {
      const bytes = key as Buffer
      if (!bytes.subarray(0, start.length).equals(start)) return
      yield [bytes.toString('utf8', 1), this.#decode(value)]
    }
  }

  #decode(bytes: Uint8Array): V {
    return this.#octets ? (bytes as V) : (JSON.parse(Buffer.from(bytes).toString()) as V)
  }
}

// A letter goes before each key, since LMDB has no empty ones.
function stateKey(key: string): Buffer {
  const bytes = Buffer.from(`k${key}`)
  if (bytes.length <= MAX_STATE_KEY + 1) return bytes
  throw new StackError(
    'ERR_STORE_KEY',
    `a key of ${bytes.length - 1} octets exceeds ${MAX_STATE_KEY}: store a hash of it`,
  )
}
