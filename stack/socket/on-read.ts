/**
 * OnReadSink: input given in a buffer of the application's, by a callback, instead of as chunks of a stream.
 */

/** As Node's option `onread` has it. `callback` gets the count of octets; when it returns false, reading stops. */
export interface OnRead {
  readonly buffer: Uint8Array | (() => Uint8Array)
  readonly callback: (
    this: unknown,
    bytesWritten: number,
    buffer: Uint8Array,
  ) => boolean | undefined
}

export class OnReadSink {
  readonly #callback: OnRead['callback']
  readonly #next: (() => Uint8Array) | null
  #buffer: Uint8Array

  private constructor({ buffer, callback }: OnRead) {
    this.#callback = callback
    this.#next = typeof buffer === 'function' ? buffer : null
    this.#buffer = typeof buffer === 'function' ? buffer() : buffer
  }

  /** Null when `option` is not what it should be, as with Node. */
  static of(option: OnRead | undefined): OnReadSink | null {
    if (typeof option !== 'object' || option === null) return null
    const { buffer, callback } = option
    if (typeof callback !== 'function') return null
    return buffer instanceof Uint8Array || typeof buffer === 'function'
      ? new OnReadSink(option)
      : null
  }

  /** The buffer to fill. */
  get buffer(): Uint8Array {
    return this.#buffer
  }

  /** Hands over `length` octets in the buffer, to a callback of `socket`. False: no more for now. */
  give(socket: unknown, length: number): boolean {
    if (this.#callback.call(socket, length, this.#buffer) === false) return false
    if (this.#next !== null) this.#buffer = this.#next()
    return true
  }
}
