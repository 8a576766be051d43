// hot path: no allocation per frame
/** HeldFrames: datagrams that wait for the Ethernet address of their next hop, as copies, a bounded number of them. */
import type { Frame } from '../wire/frame.js'
import { type IpAddress, ipv6AddressAt, UNSPECIFIED } from '../wire/ip-address.js'
import { FrameQueue } from './frame-queue.js'

export class HeldFrames {
  /** The next hop of the frame that was taken last. */
  hop: IpAddress = UNSPECIFIED
  /** Its source. */
  src: IpAddress = UNSPECIFIED
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
    const frame = this.#frames.take() as Frame
    this.src = sourceOf(frame)
    return frame
  }

  /** Nothing waits any more. */
  clear(): void {
    this.#hops.length = 0
    this.#frames.clear()
  }
}

// Of a datagram that begins at the start of the frame.
function sourceOf({ view, start }: Frame): IpAddress {
  if (view.getUint8(start) >> 4 === 6) return ipv6AddressAt(view, start + 8)
  return view.getInt32(start + 12) as IpAddress
}
