/**
 * The MirrorStore of a node, in LMDB, in a directory private to it.
 *
 *   mirror-*.lmdb   flows: flow key -> TcbRecord      text: flow key, side, 48-bit offset -> octets      (never synced)
 *   epochs.lmdb     binding -> epoch, synced before putEpochSync returns (P27); binding, 1 -> epoch and the last one set aside
 *
 * The mirror outlives the process, not the host: it is written without fsync, and thrown away when the host has booted
 * since. It is written in one transaction per flush; which chunks it holds is known in memory, so that dropping text
 * reads nothing.
 */
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Database, Key, RootDatabase } from 'lmdb'
import { StackError } from '../../stack/index.js'
import { decodeFlowKey, encodeFlowKey, FLOW_KEY_LENGTH, type FlowKey } from '../flow-key.js'
import {
  ChunkIndex,
  flowName,
  MAX_QUEUED_BYTES,
  MirrorQueue,
  type QueuedFlow,
} from '../mirror-queue.js'
import type { MirrorStore, StoredFlow, StoredText, TextSide } from '../mirror-store.js'
import {
  claimDirectory,
  corrupt,
  lockDirectory,
  openDatabase,
  syncDirectory,
} from './store-directory.js'

export interface LmdbMirrorStoreOptions {
  /** Private to the node; made when it is missing. */
  readonly path: string
  readonly cluster: string
  readonly node: number
}

export interface MirrorStats {
  /** Flows with a record, as last flushed. */
  readonly records: number
  /** Octets of text, as last flushed. */
  readonly textBytes: number
  /** Flows and octets that wait. */
  readonly queuedFlows: number
  readonly queuedBytes: number
  readonly flushes: number
  /** Flushes made because too much waited. */
  readonly forcedFlushes: number
  readonly lastFlushMs: number
}

interface StoredIndex {
  record: boolean
  readonly sent: ChunkIndex
  readonly received: ChunkIndex
}

const LAYOUT = 2
// A number, not a shift: 2 << 30 is negative. The file grows as it is written.
const MAP_SIZE = 16 * 1024 ** 3
const SIDE_CODE: Readonly<Record<TextSide, number>> = { sent: 1, received: 2 }
const TEXT_KEY_LENGTH = FLOW_KEY_LENGTH + 7
const TABLE = { encoding: 'binary', keyEncoding: 'binary' } as const

export class LmdbMirrorStore implements MirrorStore {
  readonly #path: string
  readonly #unlock: () => void
  readonly #root: RootDatabase<Uint8Array, Key>
  readonly #flows: Database<Uint8Array, Key>
  readonly #text: Database<Uint8Array, Key>
  readonly #epochRoot: RootDatabase<Uint8Array, Key>
  readonly #queue = new MirrorQueue()
  readonly #index = new Map<string, StoredIndex>()
  readonly #epochs = new Map<number, number>()
  readonly #reserved = new Map<number, number>()
  #records = 0
  #textBytes = 0
  #flushes = 0
  #forcedFlushes = 0
  #lastFlushMs = 0
  #closed = false

  /** Throws StackError ERR_STORE_FOREIGN, ERR_STORE_CORRUPT, ERR_STORE_LOCKED or ERR_STORE_ACCESS, naming the path. */
  constructor(options: LmdbMirrorStoreOptions) {
    const { path, cluster, node } = options
    this.#path = path
    claimDirectory(path, { store: 'mirror', layout: LAYOUT, cluster, node })
    this.#unlock = lockDirectory(path)
    try {
      this.#epochRoot = openDatabase(path, 'epochs.lmdb', {
        mapSize: 1024 ** 2,
        overlappingSync: false,
      })
      this.#readEpochs()
      this.#root = openMirror(path)
      this.#flows = this.#root.openDB({ name: 'flows', ...TABLE })
      this.#text = this.#root.openDB({ name: 'text', ...TABLE })
      this.#readIndex()
      syncDirectory(path)
    } catch (cause) {
      this.#unlock()
      throw cause instanceof StackError ? cause : corrupt(path, (cause as Error).message, cause)
    }
  }

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
    const end = binding === 0xffff ? {} : { end: bindingKey(binding + 1) }
    const range = { start: bindingKey(binding), ...end }
    for (const { key, value } of this.#flows.getRange(range)) {
      yield { key: decodeFlowKey(key as Uint8Array), record: value }
    }
  }

  *text(key: FlowKey, side: TextSide): Iterable<StoredText> {
    const stored = this.#index.get(flowName(key))
    if (stored === undefined) return
    const textKey = newTextKey(encodeFlowKey(key))
    for (const offset of stored[side].offsets()) {
      const bytes = this.#text.get(at(textKey, side, offset))
      if (bytes === undefined) {
        throw corrupt(this.#path, `text at ${offset} of a flow is missing`)
      }
      yield { offset, bytes }
    }
  }

  /** Takes as long as the disk's fsync. An epoch that is not the highest changes nothing. */
  putEpochSync(binding: number, epoch: number): void {
    if (epoch <= this.epoch(binding)) return
    const value = Buffer.alloc(8)
    value.writeDoubleBE(epoch)
    this.#guard(() => this.#epochRoot.putSync(bindingKey(binding), value))
    this.#epochs.set(binding, epoch)
  }

  reserveEpochs(binding: number, epoch: number, upTo: number): void {
    const known = Math.max(epoch, this.epoch(binding))
    const last = Math.max(upTo, this.reservedEpoch(binding))
    this.#epochs.set(binding, known)
    const value = Buffer.alloc(16)
    value.writeDoubleBE(known)
    value.writeDoubleBE(last, 8)
    // The disk's fsync takes milliseconds, which lmdb spends on another thread. Under a key of its own: what putEpochSync writes
    // meanwhile must not be overwritten.
    this.#epochRoot.put(reservedKey(binding), value).then(
      () => {
        if (last > this.reservedEpoch(binding)) this.#reserved.set(binding, last)
      },
      () => {
        // Nothing is set aside then: who needs an epoch writes it down at once, and is told there.
      },
    )
  }

  reservedEpoch(binding: number): number {
    return this.#reserved.get(binding) ?? 0
  }

  epoch(binding: number): number {
    return this.#epochs.get(binding) ?? 0
  }

  flush(): void {
    if (this.#queue.isEmpty) return
    const startedAt = performance.now()
    this.#guard(() =>
      this.#root.transactionSync(() => {
        for (const queued of this.#queue.flows()) this.#write(queued)
      }),
    )
    this.#queue.clear()
    this.#flushes++
    this.#lastFlushMs = performance.now() - startedAt
  }

  stats(): MirrorStats {
    return {
      records: this.#records,
      textBytes: this.#textBytes,
      queuedFlows: this.#queue.size,
      queuedBytes: this.#queue.bytes,
      flushes: this.#flushes,
      forcedFlushes: this.#forcedFlushes,
      lastFlushMs: this.#lastFlushMs,
    }
  }

  /** Flushes and gives the directory free. */
  close(): void {
    if (this.#closed) return
    this.flush()
    this.#closed = true
    void this.#root.close()
    void this.#epochRoot.close()
    this.#unlock()
  }

  #bound(): void {
    if (this.#queue.bytes <= MAX_QUEUED_BYTES) return
    this.#forcedFlushes++
    this.flush()
  }

  #guard(write: () => void): void {
    try {
      write()
    } catch (cause) {
      throw new StackError(
        'ERR_STORE_WRITE',
        `cannot write the store in ${this.#path}: ${(cause as Error).message}; is its disk full?`,
        { cause },
      )
    }
  }

  #write(queued: QueuedFlow): void {
    const flowKey = encodeFlowKey(queued.key)
    const textKey = newTextKey(flowKey)
    const stored = this.#index.get(queued.name) ?? newIndex()
    if (queued.removed) {
      if (stored.record) {
        this.#flows.removeSync(flowKey)
        this.#records--
        stored.record = false
      }
      this.#drop(stored, textKey, 'sent', Number.POSITIVE_INFINITY)
      this.#drop(stored, textKey, 'received', Number.POSITIVE_INFINITY)
    }
    if (queued.record !== null) {
      this.#flows.putSync(flowKey, queued.record)
      if (!stored.record) this.#records++
      stored.record = true
    }
    for (const side of ['sent', 'received'] as const) {
      if (queued[side].dropBefore > 0) this.#drop(stored, textKey, side, queued[side].dropBefore)
      for (const chunk of queued[side].chunks) {
        const grown = stored[side].insert(chunk.offset, chunk.end)
        if (grown < 0) continue
        this.#textBytes += grown
        this.#text.putSync(at(textKey, side, chunk.offset), chunk.bytes)
      }
    }
    const used = stored.record || stored.sent.count + stored.received.count > 0
    if (used) this.#index.set(queued.name, stored)
    else this.#index.delete(queued.name)
  }

  #drop(stored: StoredIndex, textKey: Buffer, side: TextSide, before: number): void {
    this.#textBytes -= stored[side].dropBelow(before, (offset) => {
      this.#text.removeSync(at(textKey, side, offset))
    })
  }

  #readEpochs(): void {
    for (const { key, value } of this.#epochRoot.getRange()) {
      const [record, name] = [Buffer.from(value), Buffer.from(key as Uint8Array)]
      const binding = name.readUInt16BE()
      this.#epochs.set(binding, Math.max(this.epoch(binding), record.readDoubleBE()))
      if (name.length > 2) this.#reserved.set(binding, record.readDoubleBE(8))
    }
  }

  #readIndex(): void {
    const indexOf = (key: Uint8Array): StoredIndex => {
      const name = flowName(decodeFlowKey(key))
      let stored = this.#index.get(name)
      if (stored === undefined) {
        stored = newIndex()
        this.#index.set(name, stored)
      }
      return stored
    }
    for (const key of this.#flows.getKeys()) {
      indexOf(key as Uint8Array).record = true
      this.#records++
    }
    for (const { key, value } of this.#text.getRange()) {
      const bytes = Buffer.from(key as Uint8Array)
      const side = bytes[FLOW_KEY_LENGTH] === SIDE_CODE.sent ? 'sent' : 'received'
      const offset = bytes.readUIntBE(FLOW_KEY_LENGTH + 1, 6)
      this.#textBytes += indexOf(bytes)[side].insert(offset, offset + value.length)
    }
  }
}

// Without fsync, a host that went down may have left anything behind: the mirror of another boot is of no use anyway.
function openMirror(path: string): RootDatabase<Uint8Array, Key> {
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
  const options = { mapSize: MAP_SIZE, maxDbs: 4, noSync: true }
  const name = `mirror-${boot}.lmdb`
  for (const old of oldMirrors(path, name)) rmSync(join(path, old), { force: true })
  return openDatabase(path, name, options)
}

function oldMirrors(path: string, name: string): string[] {
  return readdirSync(path).filter((file) => file.startsWith('mirror-') && !file.startsWith(name))
}

function newIndex(): StoredIndex {
  return { record: false, sent: new ChunkIndex(), received: new ChunkIndex() }
}

function bindingKey(binding: number): Buffer {
  const key = Buffer.alloc(2)
  key.writeUInt16BE(binding)
  return key
}

function reservedKey(binding: number): Buffer {
  return Buffer.concat([bindingKey(binding), Buffer.of(1)])
}

function newTextKey(flowKey: Uint8Array): Buffer {
  const key = Buffer.alloc(TEXT_KEY_LENGTH)
  key.set(flowKey)
  return key
}

/** `textKey` with side and offset filled in; the database copies it. */
function at(textKey: Buffer, side: TextSide, offset: number): Buffer {
  textKey[FLOW_KEY_LENGTH] = SIDE_CODE[side]
  textKey.writeUIntBE(offset, FLOW_KEY_LENGTH + 1, 6)
  return textKey
}
