/**
 * The edge between the stack and whatever carries frames: a TAP device, the in-memory hub, the simulator's bridge.
 *
 * Outputs are pulled, never pushed: `transmit` is called by the driver after `receive` has returned, and a link never
 * calls its sink from inside `transmit`.
 */
import type { MacAddress } from '../wire/ethernet.js'
import type { Frame } from '../wire/frame.js'

export type { MacAddress } from '../wire/ethernet.js'

/** What a device takes over from the stack, in the direction out of the stack. */
export interface Offload {
  /** It completes TCP and UDP checksums. */
  readonly checksum: boolean
  /** It cuts TCP super-frames into segments. */
  readonly tso: boolean
  /** It cuts UDP super-frames into datagrams. */
  readonly uso: boolean
}

export const NO_OFFLOAD: Offload = { checksum: false, tso: false, uso: false }

/** Receives frames from a link. */
export interface FrameSink {
  /** `frame` is borrowed: valid until this call returns. */
  onFrame(frame: Frame): void
  /** Called once behind each batch of frames: the moment to send what they caused. */
  onBatchEnd(): void
}

/** One attachment to an Ethernet segment. */
export interface LinkEndpoint {
  /** The address that frames from this attachment carry when nothing else is asked for. */
  readonly mac: MacAddress
  /** Octets of IP payload a frame may carry. */
  readonly mtu: number
  readonly offload: Offload
  /**
   * Lends the frame that the next `transmit` sends without a copy, empty, with all its headroom. It is to be built and given
   * to `transmit` before anything else is, or left alone. Absent where nothing is gained by it.
   */
  txFrame?(): Frame
  /** Queues `frame` for sending; the link copies it before it returns. False: the queue was full, the frame is dropped. */
  transmit(frame: Frame): boolean
  /** Sends what `transmit` queued. */
  flush(): void
  /**
   * Gives the sink what waits to be received, before the event loop would, and ends its batch. True: nothing waits any more; false: more may.
   * Not for a sink that is given a batch.
   */
  drain(): boolean
  /**
   * Receives only frames to these stations and to groups from now on (P12); null: to all, as from the start. Absent where it is of no use:
   * frames to others may come all the same.
   */
  setFilter?(macs: ReadonlySet<MacAddress> | null): void
  /** Directs each received frame to `sink`. One sink at a time. */
  attach(sink: FrameSink): void
  close(): void
}
