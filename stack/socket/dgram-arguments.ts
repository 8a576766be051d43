/**
 * The many ways to call `bind`, `send` and `connect` of a UDP socket, brought into one form as Node's dgram does it.
 */
import { Buffer } from 'node:buffer'
import { invalidArgument, validPort } from './argument-errors.js'
import { coded } from './errors.js'

export type SendCallback = (error: Error | null, bytes?: number) => void

/** What `send` was asked for. Without a port: to the peer that the socket is connected to. */
export interface SendRequest {
  readonly data: Uint8Array
  readonly port: number
  readonly address: string | undefined
  readonly callback: SendCallback | undefined
}

export interface BindOptions {
  readonly port?: number | undefined
  readonly address?: string | undefined
  readonly exclusive?: boolean | undefined
  readonly fd?: number | undefined
}

/** `([port[, address]][, listener])` or `(options[, listener])`. */
export function bindArguments(args: readonly unknown[]): [BindOptions, (() => void) | undefined] {
  const listener = trailingFunction<() => void>(args)
  const [first, second] = args
  if (typeof first === 'object' && first !== null) {
    const options = first as BindOptions
    if (options.fd !== undefined) throw invalidArgument('options.fd', 'absent', options.fd)
    return [{ ...options, port: validPort(options.port ?? 0) }, listener]
  }
  const port = first === undefined || typeof first === 'function' ? 0 : validPort(first ?? 0)
  const address = typeof second === 'string' ? second : undefined
  return [{ port, address }, listener]
}

/** `(port[, address][, callback])`. Port 0 is nobody's. */
export function peerArguments(
  args: readonly unknown[],
): [number, string | undefined, ((error?: Error) => void) | undefined] {
  const [port, address] = args
  const callback = trailingFunction<(error?: Error) => void>(args)
  return [peerPort(port), addressOf(address), callback]
}

/**
 * `(msg[, offset, length][, port][, address][, callback])`; a connected socket takes no port and no address. `msg` is text,
 * octets, or a list of such.
 */
export function sendArguments(args: readonly unknown[], connected: boolean): SendRequest {
  const rest = args.filter((arg, i) => typeof arg !== 'function' || i === 0)
  const callback = trailingFunction<SendCallback>(args)
  const msg = args[0]
  // Where something follows the third argument, the second and the third are a range.
  const ranged = connected ? typeof rest[2] === 'number' : Boolean(rest[3]) || Boolean(rest[4])
  if (ranged) return rangedSend(msg, rest, connected, callback)
  const data = octetsOf(msg)
  if (connected) {
    if (rest[1] !== undefined && rest[1] !== null) throw alreadyConnected()
    return { data, port: 0, address: undefined, callback }
  }
  return { data, port: peerPort(rest[1]), address: addressOf(rest[2]), callback }
}

function rangedSend(
  msg: unknown,
  rest: readonly unknown[],
  connected: boolean,
  callback: SendCallback | undefined,
): SendRequest {
  if (Array.isArray(msg)) {
    throw invalidArgument('buffer', 'of type string or an instance of Buffer', msg)
  }
  const data = rangeOf(octetsOf(msg), rest[1], rest[2])
  if (!connected) {
    return { data, port: peerPort(rest[3]), address: addressOf(rest[4]), callback }
  }
  if (rest[3] !== undefined && rest[3] !== null) throw alreadyConnected()
  return { data, port: 0, address: undefined, callback }
}

function rangeOf(data: Uint8Array, offset: unknown, length: unknown): Uint8Array {
  const start = Number(offset) >>> 0
  const count = Number(length) >>> 0
  if (start > data.length) throw outOfBounds('offset')
  if (start + count > data.length) throw outOfBounds('length')
  return data.subarray(start, start + count)
}

function octetsOf(msg: unknown): Uint8Array {
  if (Array.isArray(msg)) return Buffer.concat(msg.map(octetsOf))
  if (typeof msg === 'string') return Buffer.from(msg)
  if (msg instanceof Uint8Array) return msg
  if (ArrayBuffer.isView(msg)) return new Uint8Array(msg.buffer, msg.byteOffset, msg.byteLength)
  throw invalidArgument(
    'buffer',
    'of type string or an instance of Buffer, TypedArray, or DataView',
    msg,
  )
}

function addressOf(address: unknown): string | undefined {
  if (address === undefined || address === null || address === '') return undefined
  if (typeof address === 'function') return undefined
  if (typeof address === 'string') return address
  throw invalidArgument('address', 'of type string', address)
}

function peerPort(port: unknown): number {
  const number = validPort(port)
  if (number > 0) return number
  throw coded(
    new RangeError('Port should be > 0 and < 65536. Received type number (0).'),
    'ERR_SOCKET_BAD_PORT',
  )
}

function trailingFunction<T>(args: readonly unknown[]): T | undefined {
  const last = args.at(-1)
  return args.length > 0 && typeof last === 'function' ? (last as T) : undefined
}

function outOfBounds(name: string): Error {
  return coded(new RangeError(`"${name}" is outside of buffer bounds`), 'ERR_BUFFER_OUT_OF_BOUNDS')
}

export function alreadyConnected(): Error {
  return coded(new Error('Already connected'), 'ERR_SOCKET_DGRAM_IS_CONNECTED')
}
