/**
 * CaptureFile: a node's own capture on disk (O2). What a batch brought is handed to the kernel before the next one, so that a
 * killed node's capture ends with its last frames.
 */
import * as fs from 'node:fs'
import { type CaptureSink, StackError } from '../../stack/index.js'

const BUFFERED = 256 * 1024

export class CaptureFile implements CaptureSink {
  readonly #fd: number
  readonly #buffer = new Uint8Array(BUFFERED)
  #length = 0
  #closed = false

  /** Throws ERR_CONFIG when the file cannot be written. */
  constructor(path: string) {
    try {
      // A node that starts again adds a section to what its earlier life recorded.
      this.#fd = fs.openSync(path, 'a', 0o600)
    } catch (error) {
      throw new StackError(
        'ERR_CONFIG',
        `record: the file ${path} cannot be written (${(error as Error).message}); choose one that this user may write`,
      )
    }
  }

  write(bytes: Uint8Array): void {
    if (this.#length + bytes.length > BUFFERED) this.sync()
    this.#buffer.set(bytes, this.#length)
    this.#length += bytes.length
  }

  sync(): void {
    for (let at = 0; at < this.#length; ) {
      at += fs.writeSync(this.#fd, this.#buffer, at, this.#length - at)
    }
    this.#length = 0
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.sync()
    fs.closeSync(this.#fd)
  }
}
