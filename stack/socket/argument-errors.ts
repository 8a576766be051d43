/**
 * Errors for arguments, with the codes and words of Node, and the checks that throw them.
 */
import { inspect } from 'node:util'
import { coded, type SocketError } from './errors.js'

/** Characters of a value that an error shows. */
const MAX_SHOWN = 28
const MAX_SHOWN_WHOLE = 128

/** `The "name" argument must be expected. Received ...`; a name with a dot is a property. */
export function invalidArgument(name: string, expected: string, value: unknown): SocketError {
  const kind = name.includes('.') ? 'property' : 'argument'
  const text = `The "${name}" ${kind} must be ${expected}. Received ${describe(value)}`
  return coded(new TypeError(text), 'ERR_INVALID_ARG_TYPE')
}

/** `The argument 'name' reason. Received ...`. */
export function invalidValue(name: string, value: unknown, reason = 'is invalid'): SocketError {
  const kind = name.includes('.') ? 'property' : 'argument'
  const whole = inspect(value)
  const shown = whole.length > MAX_SHOWN_WHOLE ? `${whole.slice(0, MAX_SHOWN_WHOLE)}...` : whole
  const text = `The ${kind} '${name}' ${reason}. Received ${shown}`
  return coded(new TypeError(text), 'ERR_INVALID_ARG_VALUE')
}

export function outOfRange(name: string, range: string, value: unknown): SocketError {
  const text = `The value of "${name}" is out of range. It must be ${range}. Received ${inspect(value)}`
  return coded(new RangeError(text), 'ERR_OUT_OF_RANGE')
}

/** What `connect` says when it is not told where to. */
export function missingTarget(): SocketError {
  const text = 'The "options" or "port" or "path" argument must be specified'
  return coded(new TypeError(text), 'ERR_MISSING_ARGS')
}

export function invalidIpAddress(address: unknown): SocketError {
  return coded(new TypeError(`Invalid IP address: ${address}`), 'ERR_INVALID_IP_ADDRESS')
}

/** A look-up has given neither 4 nor 6. */
export function invalidAddressFamily(
  family: unknown,
  host: unknown,
  port: unknown,
): SocketError & { host: unknown } {
  const text = `Invalid address family: ${family} ${host}:${port}`
  const error = coded(new RangeError(text), 'ERR_INVALID_ADDRESS_FAMILY')
  return Object.assign(error, { host, port: port as number })
}

/** A whole port number from 0 to 65535 out of a number or a numeric string. Throws ERR_SOCKET_BAD_PORT. */
export function validPort(value: unknown, name = 'Port'): number {
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value
  if (typeof number === 'number' && Number.isInteger(number) && number >= 0 && number <= 65_535) {
    return number
  }
  const text = `${name} should be >= 0 and < 65536. Received ${describe(value)}.`
  throw coded(new RangeError(text), 'ERR_SOCKET_BAD_PORT')
}

/** Milliseconds of a timer. Throws ERR_INVALID_ARG_TYPE and ERR_OUT_OF_RANGE; a longer one than timers take is cut. */
export function validDuration(value: unknown, name: string): number {
  checkType(value, 'number', name)
  if (!((value as number) >= 0 && Number.isFinite(value))) {
    throw outOfRange(name, 'a non-negative finite number', value)
  }
  const longest = 2 ** 31 - 1
  if ((value as number) <= longest) return value as number
  const text = `${value} does not fit into a 32-bit signed integer.\nTimer duration was truncated to ${longest}.`
  process.emitWarning(text, 'TimeoutOverflowWarning')
  return longest
}

/** Throws ERR_INVALID_ARG_TYPE when `value` is of another type. */
export function checkType(
  value: unknown,
  type: 'number' | 'boolean' | 'string',
  name: string,
): void {
  if (typeof value !== type) throw invalidArgument(name, `of type ${type}`, value)
}

/** Throws ERR_INVALID_ARG_TYPE when `value` is no function. */
export function checkFunction(value: unknown, name: string): void {
  if (typeof value !== 'function') throw invalidArgument(name, 'of type function', value)
}

/** Throws ERR_INVALID_ARG_TYPE when `value` is no AbortSignal. */
export function checkSignal(value: unknown, name: string): void {
  if (typeof value === 'object' && value !== null && 'aborted' in value) return
  throw invalidArgument(name, 'an instance of AbortSignal', value)
}

/** A value as Node's errors show it. */
export function describe(value: unknown): string {
  if (value === undefined || value === null) return String(value)
  if (typeof value === 'function') return `function ${value.name}`
  if (typeof value === 'object') {
    const name = value.constructor?.name
    return name === undefined ? inspect(value, { depth: -1 }) : `an instance of ${name}`
  }
  const whole = inspect(value)
  const shown = whole.length > MAX_SHOWN ? `${whole.slice(0, MAX_SHOWN - 3)}...` : whole
  return `type ${typeof value} (${shown})`
}
