/**
 * The options of a socket, checked as Node checks them.
 */
import type { DuplexOptions } from 'node:stream'
import { checkType, invalidValue } from './argument-errors.js'
import type { OnRead } from './on-read.js'

export interface SocketOptions {
  readonly allowHalfOpen?: boolean | undefined
  /** The socket starts paused and reads nothing before `resume` or `read`. */
  readonly pauseOnCreate?: boolean | undefined
  readonly noDelay?: boolean | undefined
  readonly keepAlive?: boolean | undefined
  readonly keepAliveInitialDelay?: number | undefined
  readonly highWaterMark?: number | undefined
  readonly readableHighWaterMark?: number | undefined
  readonly writableHighWaterMark?: number | undefined
  readonly readable?: boolean | undefined
  readonly writable?: boolean | undefined
  readonly signal?: AbortSignal | undefined
  /** What comes goes into a buffer of the application and is told by a callback, instead of by `data`. */
  readonly onread?: OnRead | undefined
}

/** What the stream below a socket is made with. */
export function streamOptions(options: SocketOptions): DuplexOptions {
  const { highWaterMark, readableHighWaterMark, writableHighWaterMark, readable, writable } =
    options
  return {
    allowHalfOpen: Boolean(options.allowHalfOpen),
    emitClose: false,
    autoDestroy: true,
    ...(highWaterMark === undefined ? {} : { highWaterMark }),
    ...(readableHighWaterMark === undefined ? {} : { readableHighWaterMark }),
    ...(writableHighWaterMark === undefined ? {} : { writableHighWaterMark }),
    ...(readable === undefined ? {} : { readable }),
    ...(writable === undefined ? {} : { writable }),
  }
}

/** Throws ERR_INVALID_ARG_VALUE and ERR_INVALID_ARG_TYPE. */
export function checkOptions(options: SocketOptions): void {
  const unsupported = ['objectMode', 'readableObjectMode', 'writableObjectMode'] as const
  for (const name of unsupported) {
    const value = (options as Record<string, unknown>)[name]
    if (value) throw invalidValue(`options.${name}`, value, 'is not supported')
  }
  const { keepAliveInitialDelay } = options
  if (keepAliveInitialDelay !== undefined) {
    checkType(keepAliveInitialDelay, 'number', 'options.keepAliveInitialDelay')
  }
}
