// hot path: no allocation per frame
/**
 * FrameQueue: a bounded first-in first-out queue of frames that are copied in. Its frames are made on first use and then
 * used again for ever.
 */
import { Frame } from '../wire/frame.js'

export class FrameQueue {
  readonly #frames: Frame[] = []
  readonly #limit: number
  readonly #frameSize: number
  #head = 0
  #length = 0

  /** `limit` frames at most, each of `frameSize` octets with its headroom. */
  constructor(limit: number, frameSize: number) {
    this.#limit = limit
    this.#frameSize = frameSize
  }

  get length(): number {
    return this.#length
  }

  /** Frames that can be added now. */
  get room(): number {
    return this.#limit - this.#length
  }

  /** An empty frame at the end of the queue for the caller to fill, or null when the queue is full. */
  add(): Frame | null {
    if (this.#length >= this.#limit) return null
    const index = (this.#head + this.#length) % (this.#limit + 1)
    this.#length++
    const frame = this.#frames[index] ?? this.#grow(index)
    frame.reset()
    return frame
  }

  /** Takes back the frame that `add` gave last. */
  cancel(): void {
    this.#length--
  }

  /**
   * The oldest frame, or null when there is none. It is borrowed until the next `take`: an `add` in between gets another, as
   * the ring has one place more than its limit.
   */
  take(): Frame | null {
    if (this.#length === 0) return null
    const frame = this.#frames[this.#head] as Frame
    this.#head = (this.#head + 1) % (this.#limit + 1)
    this.#length--
    return frame
  }

  clear(): void {
    this.#head = 0
    this.#length = 0
  }

  #grow(index: number): Frame {
    // allocates: once per place in the queue
    const frame = new Frame(this.#frameSize)
    this.#frames[index] = frame
    return frame
  }
}
