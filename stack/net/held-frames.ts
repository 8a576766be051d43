// hot path: no allocation per frame
/** HeldFrames: datagrams that wait for the Ethernet address of their next hop, as copies, a bounded number of them. */
import type { Frame } from '../wire/frame.js'
import { type IpAddress, UNSPECIFIED } from '../wire/ip-address.js'
import { FrameQueue } from './frame-queue.js'

export class HeldFrames {
  /** The next hop of the frame that was taken last. */
  hop: IpAddress = UNSPECIFIED
  readonly #frames: FrameQueue
  readonly #hops: IpAddress[] = []

  constructor(limit: number, frameSize: number) {
    this.#frames = new FrameQueue(limit, frameSize)
  }

  get length(): number {
    return this.#hops.length
  }

  /** Copies `frame`. False: there is no room for it; whoever sent it sends it again, and by then the address is known. */
  add(frame: Frame, hop: IpAddress): boolean {
    // A super-frame does not fit.
    const held = this.#frames.fits(frame) ? this.#frames.add() : null
    if (held === null) return false
    held.copyFrom(frame)
    this.#hops.push(hop)
    return true
  }

  /** The frame that has waited longest, borrowed until the next `take`. */
  take(): Frame {
    this.hop = this.#hops.shift() as IpAddress
    return this.#frames.take() as Frame
  }
}
