/**
 * RecordingLink: a link that records what passes in both directions, as a capture that other programs read (O2).
 */
import type { Clock } from '../base/time.js'
import type { MacAddress } from '../wire/ethernet.js'
import { ChecksumState, Frame } from '../wire/frame.js'
import type { FrameSink, LinkEndpoint, Offload } from './link-endpoint.js'
import { type CaptureInterfaceInfo, captureFrame, captureHeader } from './pcapng.js'
import { completeChecksum } from './software-checksum.js'

/** Remarks that wait for a frame to stand beside. */
const MAX_REMARKS = 64

/** Where a capture goes. */
export interface CaptureSink {
  /** Takes the next bytes of the capture: its head, then one block a frame. They are the receiver's. */
  write(bytes: Uint8Array): void
  /** Behind each batch: what was written should be safe from now on. */
  sync(): void
  close(): void
}

/** Checksums left to the device are completed in the record, not in the frame. */
export class RecordingLink implements LinkEndpoint, FrameSink {
  /** Frames received so far. */
  received = 0
  readonly #inner: LinkEndpoint
  readonly #clock: Clock
  readonly #capture: CaptureSink
  readonly #scratch = new Frame()
  #sink: FrameSink | null = null
  #remarks: string[] = []

  constructor(inner: LinkEndpoint, clock: Clock, info: CaptureInterfaceInfo, capture: CaptureSink) {
    this.#inner = inner
    this.#clock = clock
    this.#capture = capture
    capture.write(captureHeader(info))
  }

  get mac(): MacAddress {
    return this.#inner.mac
  }

  get mtu(): number {
    return this.#inner.mtu
  }

  get offload(): Offload {
    return this.#inner.offload
  }

  /** Puts a comment on the next frame that is recorded. */
  remark(comment: string): void {
    if (this.#remarks.length < MAX_REMARKS) this.#remarks.push(comment)
  }

  transmit(frame: Frame): boolean {
    const taken = this.#inner.transmit(frame)
    // A frame that the device refused was never on the wire.
    if (taken) this.#record(frame)
    return taken
  }

  flush(): void {
    this.#inner.flush()
    this.#capture.sync()
  }

  drain(): boolean {
    return this.#inner.drain()
  }

  /** What is filtered out is not recorded either. */
  setFilter(macs: ReadonlySet<MacAddress> | null): void {
    this.#inner.setFilter?.(macs)
  }

  attach(sink: FrameSink): void {
    this.#sink = sink
    this.#inner.attach(this)
  }

  close(): void {
    this.#sink = null
    this.#inner.close()
    this.#capture.close()
  }

  onFrame(frame: Frame): void {
    this.received++
    this.#record(frame)
    this.#sink?.onFrame(frame)
  }

  onBatchEnd(): void {
    this.#capture.sync()
    this.#sink?.onBatchEnd()
  }

  #record(frame: Frame): void {
    let recorded = frame
    if (frame.checksum === ChecksumState.PARTIAL) {
      this.#scratch.copyFrom(frame)
      completeChecksum(this.#scratch)
      recorded = this.#scratch
    }
    const { bytes, start, end } = recorded
    this.#capture.write(captureFrame(bytes, start, end, this.#clock.now(), this.#remarks))
    if (this.#remarks.length > 0) this.#remarks = []
  }
}
