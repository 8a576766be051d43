/**
 * Hub: an Ethernet segment in memory. Every frame that one port sends reaches every other port, as on a bridge that has
 * been told to learn nothing.
 *
 * `transmit` only queues. Frames come out when somebody pulls them, by `Hub.deliver` or `HubPort.poll`, and never from
 * inside `transmit` or `flush`.
 */
import type { MacAddress } from '../wire/ethernet.js'
import {
  destinationOf,
  ETHERNET_HEADER_LENGTH,
  ETHERNET_TAG_LENGTH,
  isGroupMac,
} from '../wire/ethernet.js'
import { Frame, HEADROOM, MAX_FRAME_SIZE } from '../wire/frame.js'
import { type FrameSink, type LinkEndpoint, NO_OFFLOAD, type Offload } from './link-endpoint.js'

/** Frames that wait for one port at most, unless its options say otherwise. */
export const MAX_HUB_QUEUE = 1024

export const DEFAULT_MTU = 1500

export interface HubOptions {
  /** Octets of IP payload a frame may carry. */
  readonly mtu?: number
  /** Frames that wait for one port at most; later ones are dropped and counted. */
  readonly maxQueue?: number
  /** What the ports claim to do; with `tso` they carry super-frames. */
  readonly offload?: Offload
}

export class Hub {
  readonly mtu: number
  readonly maxQueue: number
  readonly offload: Offload
  /** The longest frame that passes. */
  readonly maxFrameLength: number
  /** Called by `flush` when frames wait: the moment to schedule `deliver`, never to call it. */
  onReadable: (() => void) | null = null
  #ports: readonly HubPort[] = []

  constructor(options: HubOptions = {}) {
    this.mtu = options.mtu ?? DEFAULT_MTU
    this.maxQueue = options.maxQueue ?? MAX_HUB_QUEUE
    this.offload = options.offload ?? NO_OFFLOAD
    const large = this.offload.tso || this.offload.uso
    this.maxFrameLength = large
      ? MAX_FRAME_SIZE
      : ETHERNET_HEADER_LENGTH + ETHERNET_TAG_LENGTH + this.mtu
  }

  get ports(): readonly HubPort[] {
    return this.#ports
  }

  /** True while frames wait for a port that has a sink. */
  get readable(): boolean {
    return this.#ports.some((port) => port.queued > 0 && port.attached)
  }

  addPort(mac: MacAddress): HubPort {
    const port = new HubPort(this, mac)
    this.#ports = [...this.#ports, port]
    return port
  }

  /**
   * Hands each port's waiting frames to its sink, and returns how many there were. Frames sent meanwhile wait for the
   * next call.
   */
  deliver(): number {
    // Marks are taken first, so that an answer sent by an early port does not reach a later one in the same call.
    const ports = this.#ports
    const counts = ports.map((port) => port.queued)
    let delivered = 0
    ports.forEach((port, i) => {
      delivered += port.poll(counts[i])
    })
    return delivered
  }

  /** Called by a port: copies `frame` into the queues of all the others. */
  broadcast(from: HubPort, frame: Frame): void {
    for (const port of this.#ports) {
      if (port !== from) port.enqueue(frame)
    }
  }

  /** Called by a port that is closed. */
  removePort(port: HubPort): void {
    this.#ports = this.#ports.filter((other) => other !== port)
  }
}

/** One attachment to a hub. Made by `Hub.addPort`. */
export class HubPort implements LinkEndpoint {
  readonly mac: MacAddress
  readonly #hub: Hub
  #queue: Frame[] = []
  /** Frames that were delivered, to be filled again. */
  readonly #free: Frame[] = []
  #sink: FrameSink | null = null
  #closed = false
  #delivering = false
  #filter: ReadonlySet<MacAddress> | null = null
  /** Frames from this port, and frames handed to its sink. */
  transmitted = 0
  received = 0
  /** Frames to stations that the filter leaves out. */
  filtered = 0
  /** Frames for this port that found its queue full. */
  drops = 0
  /** Frames of this port that no port can carry. */
  oversized = 0

  constructor(hub: Hub, mac: MacAddress) {
    this.#hub = hub
    this.mac = mac
  }

  get mtu(): number {
    return this.#hub.mtu
  }

  get offload(): Offload {
    return this.#hub.offload
  }

  get queued(): number {
    return this.#queue.length
  }

  get attached(): boolean {
    return this.#sink !== null
  }

  /**
   * Queues a copy of `frame` for every other port. False: it was too long for this segment. A port without room loses
   * its copy and counts that in `drops`; as on any segment, the sender does not learn of it.
   */
  transmit(frame: Frame): boolean {
    if (this.#closed) return false
    if (frame.length > this.#hub.maxFrameLength) {
      this.oversized++
      return false
    }
    this.transmitted++
    this.#hub.broadcast(this, frame)
    return true
  }

  flush(): void {
    if (this.#hub.onReadable !== null && this.#hub.readable) this.#hub.onReadable()
  }

  #passes(frame: Frame): boolean {
    if (this.#filter === null) return true
    const dst = destinationOf(frame)
    return isGroupMac(dst) || this.#filter.has(dst)
  }

  setFilter(macs: ReadonlySet<MacAddress> | null): void {
    this.#filter = macs
  }

  drain(): boolean {
    if (this.#delivering) return false
    this.poll()
    return this.#queue.length === 0
  }

  attach(sink: FrameSink): void {
    this.#sink = sink
  }

  close(): void {
    this.#closed = true
    this.#sink = null
    this.#queue = []
    this.#hub.removePort(this)
  }

  /** Called by the hub: takes a copy of `frame`, or counts it as dropped when the queue is full. */
  enqueue(frame: Frame): void {
    if (this.#queue.length >= this.#hub.maxQueue) {
      this.drops++
      return
    }
    const copy = this.#free.pop() ?? new Frame(HEADROOM + this.#hub.maxFrameLength)
    copy.copyFrom(frame)
    this.#queue.push(copy)
  }

  /** Hands at most `limit` waiting frames to the sink, then ends the batch; returns how many there were. */
  poll(limit: number = this.#queue.length): number {
    const sink = this.#sink
    if (sink === null || this.#delivering) return 0
    const batch = this.#queue.splice(0, limit)
    this.#delivering = true
    try {
      for (const frame of batch) {
        // The sink may close the port in the middle of a batch.
        if (this.#closed) break
        if (!this.#passes(frame)) {
          this.filtered++
          continue
        }
        this.received++
        sink.onFrame(frame)
      }
      if (batch.length > 0 && !this.#closed) sink.onBatchEnd()
    } finally {
      this.#delivering = false
      for (const frame of batch) this.#free.push(frame)
    }
    return batch.length
  }
}
