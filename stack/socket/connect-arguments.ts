/**
 * The many ways to call `connect` and `listen`, brought into one form as Node does it.
 */
import type { BlockList } from 'node:net'
import { invalidArgument, validPort } from './errors.js'

export type LookupCallback = (error: Error | null, address: string, family?: number) => void

export interface ConnectOptions {
  readonly port: number | string
  /** A dotted IPv4 address, or a name that `lookup` knows. */
  readonly host?: string | undefined
  readonly localAddress?: string | undefined
  readonly localPort?: number | undefined
  readonly noDelay?: boolean | undefined
  readonly keepAlive?: boolean | undefined
  readonly keepAliveInitialDelay?: number | undefined
  /** Milliseconds without traffic until `timeout` is emitted. */
  readonly timeout?: number | undefined
  readonly blockList?: BlockList | undefined
  /** Finds the address of a name; this stack has no resolver of its own. `dns.lookup` fits. */
  readonly lookup?:
    | ((hostname: string, options: { family: 4 }, callback: LookupCallback) => void)
    | undefined
}

export interface ListenOptions {
  readonly port?: number | string | undefined
  readonly host?: string | undefined
  readonly backlog?: number | undefined
  readonly signal?: AbortSignal | undefined
}

export type Listener = () => void

/** `(options[, listener])` or `(port[, host][, listener])`. */
export function connectArguments<T extends ConnectOptions>(
  args: readonly unknown[],
): [T, Listener | undefined] {
  const listener = trailingListener(args)
  const [first, second] = args
  if (typeof first === 'object' && first !== null) {
    const options = first as T
    if ('path' in options && options.path) throw invalidArgument('path', 'absent', options.path)
    validPort(options.port)
    return [options, listener]
  }
  const options: ConnectOptions = {
    port: validPort(first),
    host: typeof second === 'string' ? second : undefined,
  }
  return [options as T, listener]
}

/** `(options[, listener])` or `([port[, host[, backlog]]][, listener])`. */
export function listenArguments(args: readonly unknown[]): [ListenOptions, Listener | undefined] {
  const listener = trailingListener(args)
  const [first, second, third] = args
  if (typeof first === 'object' && first !== null) {
    const options = first as ListenOptions
    if (options.port === undefined) throw invalidArgument('options', 'an object with "port"', first)
    return [options, listener]
  }
  const port = typeof first === 'number' || typeof first === 'string' ? first : 0
  if (typeof first === 'string') validPort(first, 'options.port')
  const host = typeof second === 'string' ? second : undefined
  const backlog =
    typeof second === 'number' ? second : typeof third === 'number' ? third : undefined
  return [{ port, host, backlog }, listener]
}

function trailingListener(args: readonly unknown[]): Listener | undefined {
  const last = args.at(-1)
  return typeof last === 'function' ? (last as Listener) : undefined
}
