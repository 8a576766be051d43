/**
 * MirrorQueue: what a mirror store was told since its last flush, one entry per flow, and ChunkIndex: which text it holds.
 *
 * Every MirrorStore shares both, so that the store of the simulator coalesces, drops and loses as the real one does:
 * runs of text that follow each other become one chunk, a flow's record is its last, and text that is dropped before
 * it was written is never written.
 */
import { isIpv4 } from '../stack/index.js'
import type { FlowKey } from './flow-key.js'
import type { TextSide } from './mirror-store.js'

/** Octets of a chunk of text at most; a longer run is cut. */
export const MAX_CHUNK = 64 * 1024

/** Queued octets beyond which a store flushes by itself. */
export const MAX_QUEUED_BYTES = 8 * 1024 * 1024

const SMALLEST_CHUNK = 2048

/** A run of text that waits to be written. */
export class QueuedChunk {
  readonly offset: number
  length = 0
  #bytes: Uint8Array

  constructor(offset: number, capacity: number) {
    this.offset = offset
    this.#bytes = new Uint8Array(capacity)
  }

  get end(): number {
    return this.offset + this.length
  }

  /** The octets. Borrowed. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.length)
  }

  append(bytes: Uint8Array): void {
    const length = this.length + bytes.length
    if (length > this.#bytes.length) {
      const larger = new Uint8Array(Math.min(MAX_CHUNK, Math.max(length, 2 * this.#bytes.length)))
      larger.set(this.bytes)
      this.#bytes = larger
    }
    this.#bytes.set(bytes, this.length)
    this.length = length
  }
}

/** What waits for one side of a flow. */
export interface QueuedSide {
  chunks: QueuedChunk[]
  /** Stored text wholly below this offset goes before the chunks are written. */
  dropBefore: number
}

/** What waits for one flow: removal first, then drops, then the record and the chunks. */
export interface QueuedFlow {
  readonly key: FlowKey
  readonly name: string
  removed: boolean
  record: Uint8Array | null
  readonly sent: QueuedSide
  readonly received: QueuedSide
}

/** A short string that names a flow: the key of maps in memory. */
export function flowName(key: FlowKey): string {
  return String.fromCharCode(
    key.binding,
    isIpv4(key.localAddress) ? 4 : 6,
    key.localAddress & 0xffff,
    key.localAddress >>> 16,
    key.localPort,
    key.remoteAddress & 0xffff,
    key.remoteAddress >>> 16,
    key.remotePort,
  )
}

/** What waits to be written, coalesced by flow. It copies what it is given. */
export class MirrorQueue {
  /** Octets that wait, records and text. */
  bytes = 0
  #flows = new Map<string, QueuedFlow>()

  get isEmpty(): boolean {
    return this.#flows.size === 0
  }

  get size(): number {
    return this.#flows.size
  }

  /** The flows with something to write, in the order in which they were first touched. */
  flows(): Iterable<QueuedFlow> {
    return this.#flows.values()
  }

  clear(): void {
    this.#flows.clear()
    this.bytes = 0
  }

  putTcb(key: FlowKey, record: Uint8Array): void {
    const flow = this.#flow(key)
    this.bytes += record.length - (flow.record?.length ?? 0)
    if (flow.record?.length === record.length) flow.record.set(record)
    else flow.record = record.slice()
  }

  putText(key: FlowKey, side: TextSide, offset: number, bytes: Uint8Array): void {
    const { chunks } = this.#flow(key)[side]
    for (let from = 0; from < bytes.length; ) {
      let chunk = chunks.at(-1)
      if (chunk === undefined || chunk.end !== offset + from || chunk.length >= MAX_CHUNK) {
        const capacity = Math.min(MAX_CHUNK, Math.max(SMALLEST_CHUNK, bytes.length - from))
        chunk = new QueuedChunk(offset + from, capacity)
        chunks.push(chunk)
      }
      const run = Math.min(bytes.length - from, MAX_CHUNK - chunk.length)
      chunk.append(bytes.subarray(from, from + run))
      from += run
    }
    this.bytes += bytes.length
  }

  dropText(key: FlowKey, side: TextSide, before: number): void {
    const queued = this.#flow(key)[side]
    if (before <= queued.dropBefore) return
    queued.dropBefore = before
    queued.chunks = queued.chunks.filter((chunk) => this.#keeps(chunk, before))
  }

  removeFlow(key: FlowKey): void {
    const flow = this.#flow(key)
    flow.removed = true
    this.bytes -= flow.record?.length ?? 0
    flow.record = null
    for (const side of [flow.sent, flow.received]) {
      side.chunks = side.chunks.filter((chunk) => this.#keeps(chunk, Number.POSITIVE_INFINITY))
      side.dropBefore = 0
    }
  }

  #keeps(chunk: QueuedChunk, before: number): boolean {
    if (chunk.end > before) return true
    this.bytes -= chunk.length
    return false
  }

  #flow(key: FlowKey): QueuedFlow {
    const name = flowName(key)
    let flow = this.#flows.get(name)
    if (flow === undefined) {
      const sent = { chunks: [], dropBefore: 0 }
      const received = { chunks: [], dropBefore: 0 }
      flow = { key, name, removed: false, record: null, sent, received }
      this.#flows.set(name, flow)
    }
    return flow
  }
}

/** The extents of the chunks that a store holds of one side of a flow, in ascending order of their offsets. */
export class ChunkIndex {
  readonly #offsets: number[] = []
  readonly #ends: number[] = []

  get count(): number {
    return this.#offsets.length
  }

  offsets(): readonly number[] {
    return this.#offsets
  }

  /**
   * Notes [offset, end). Returns how many octets the store grows by; -1 when a chunk at `offset` reaches as far already:
   * a stream's octets never change, so there is nothing to write.
   */
  insert(offset: number, end: number): number {
    let at = this.#offsets.length
    while (at > 0 && (this.#offsets[at - 1] as number) >= offset) at--
    if (this.#offsets[at] !== offset) {
      this.#offsets.splice(at, 0, offset)
      this.#ends.splice(at, 0, end)
      return end - offset
    }
    const grown = end - (this.#ends[at] as number)
    if (grown <= 0) return -1
    this.#ends[at] = end
    return grown
  }

  /** Forgets the chunks wholly below `before`, telling `dropped` of each. Returns how many octets they held. */
  dropBelow(before: number, dropped: (offset: number) => void): number {
    let octets = 0
    let kept = 0
    let at = 0
    for (; at < this.#offsets.length && (this.#offsets[at] as number) < before; at++) {
      const offset = this.#offsets[at] as number
      const end = this.#ends[at] as number
      if (end > before) {
        this.#offsets[kept] = offset
        this.#ends[kept] = end
        kept++
      } else {
        octets += end - offset
        dropped(offset)
      }
    }
    this.#offsets.splice(kept, at - kept)
    this.#ends.splice(kept, at - kept)
    return octets
  }
}
