/**
 * The many ways to call `connect` and `listen`, brought into one form as Node does it.
 */
import kernel, { type BlockList } from 'node:net'
import { invalidArgument, invalidValue, missingTarget, validPort } from './argument-errors.js'

/** One of the addresses that a look-up of all gives. */
export interface FoundAddress {
  readonly address: string
  readonly family: number
}

export type LookupCallback = (
  error: Error | null,
  address: string | readonly FoundAddress[],
  family?: number,
) => void

export interface LookupOptions {
  readonly family: number | undefined
  readonly hints: number
  readonly all?: boolean
}

export interface ConnectOptions {
  readonly port: number | string
  /** An IP address, or a name that `lookup` knows. */
  readonly host?: string | undefined
  readonly localAddress?: string | undefined
  readonly localPort?: number | undefined
  /** 4 or 6: only addresses of this family are looked for; 0: of both. */
  readonly family?: number | undefined
  readonly hints?: number | undefined
  readonly noDelay?: boolean | undefined
  readonly keepAlive?: boolean | undefined
  readonly keepAliveInitialDelay?: number | undefined
  /** Milliseconds without traffic until `timeout` is emitted; for `net.connect`, not for `socket.connect`. */
  readonly timeout?: number | undefined
  readonly blockList?: BlockList | undefined
  /** Finds the address of a name; this stack has no resolver of its own. `dns.lookup` fits. */
  readonly lookup?:
    | ((hostname: string, options: LookupOptions, callback: LookupCallback) => void)
    | undefined
  /** True: when a name has several addresses they are tried in turn. */
  readonly autoSelectFamily?: boolean | undefined
  /** Milliseconds until the next of them is tried; at least 10. */
  readonly autoSelectFamilyAttemptTimeout?: number | undefined
  /** The path of a Unix socket: the kernel's, for `net.connect` only. */
  readonly path?: string | null | undefined
}

export interface ListenOptions {
  readonly port?: number | string | null | undefined
  readonly host?: string | undefined
  readonly backlog?: number | undefined
  /** With host `::`: connections of IPv6 only. */
  readonly ipv6Only?: boolean | undefined
  /** With a host that is a virtual address: fails with EADDRINUSE unless this node is the owner of that address and port (P10). */
  readonly exclusive?: boolean | undefined
  readonly signal?: AbortSignal | undefined
  /** The path of a Unix socket, or the number of an open file: the kernel's. */
  readonly path?: string | undefined
  readonly fd?: number | undefined
}

export type Listener = () => void

interface Normal {
  readonly options: Record<string, unknown>
  readonly listener: Listener | undefined
}

type Normalizer = (args: readonly unknown[]) => readonly unknown[]

/** Node's own `net._normalizeArgs`: an array of options and listener, of a kind that `connect` takes for its arguments. */
export const normalizeArgs = (kernel as unknown as { _normalizeArgs: Normalizer })._normalizeArgs
const NORMALIZED = Object.getOwnPropertySymbols(normalizeArgs([]))[0] as symbol

/** `(options[, listener])`, `(port[, host][, ...][, listener])` or `(path[, listener])`; or what `normalizeArgs` made of them. */
function normalize(given: readonly unknown[]): Normal {
  const [list] = given
  const args = Array.isArray(list) && NORMALIZED in list ? list : given
  const [first, second] = args
  const last = args.at(-1)
  const listener = typeof last === 'function' ? (last as Listener) : undefined
  if (typeof first === 'object' && first !== null) {
    return { options: first as Record<string, unknown>, listener }
  }
  if (isPath(first)) return { options: { path: first }, listener }
  const options = { port: first, ...(typeof second === 'string' ? { host: second } : {}) }
  return { options: args.length === 0 ? {} : options, listener }
}

function isPath(value: unknown): value is string {
  return typeof value === 'string' && asNumber(value) === undefined
}

function asNumber(value: unknown): number | undefined {
  const number = Number(value)
  return number >= 0 ? number : undefined
}

/** The arguments of `connect`. Throws ERR_MISSING_ARGS, ERR_INVALID_ARG_TYPE and ERR_SOCKET_BAD_PORT. */
export function connectArguments<T extends ConnectOptions>(
  args: readonly unknown[],
): [T, Listener | undefined] {
  const { options, listener } = normalize(args)
  const { port, path } = options
  if (path) {
    if (typeof path !== 'string') throw invalidArgument('options.path', 'of type string', path)
  } else {
    if (port === undefined && (path === undefined || path === null)) throw missingTarget()
    if (typeof port !== 'number' && typeof port !== 'string') {
      throw invalidArgument('options.port', 'one of type number or string', port)
    }
    validPort(port)
  }
  return [options as unknown as T, listener]
}

/**
 * The arguments of `listen`: `(options[, listener])`, `([port[, host[, backlog]]][, listener])` or `(path[, backlog][,
 * listener])`. Throws ERR_INVALID_ARG_VALUE and ERR_SOCKET_BAD_PORT.
 */
export function listenArguments(args: readonly unknown[]): [ListenOptions, Listener | undefined] {
  const { options, listener } = normalize(args)
  const [first, second, third] = args
  const backlog = options.backlog || asNumber(second) || asNumber(third)
  const { fd, path } = options
  if (typeof fd === 'number' && fd >= 0) return [{ ...options, fd }, listener]
  const nowhere = args.length === 0 || typeof first === 'function'
  const free = nowhere || options.port === null || ('port' in options && options.port === undefined)
  const port = free ? 0 : options.port
  if (typeof port === 'number' || typeof port === 'string') {
    validPort(port, 'options.port')
    const rest = { port, backlog: backlog as number | undefined, path: undefined, fd: undefined }
    return [{ ...options, ...rest }, listener]
  }
  if (isPath(path)) {
    return [{ ...options, path, port: undefined, fd: undefined }, listener]
  }
  if ('port' in options || 'path' in options) throw invalidValue('options', options)
  throw invalidValue('options', options, 'must have the property "port" or "path"')
}
