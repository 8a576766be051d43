/**
 * setsockopt: the options the stack has, and those whose only value it has. Everything else is named as not offered, so
 * that a script which needs it counts as unsupported and not as passed.
 */
import {
  type Descriptor,
  DONE,
  failed,
  type IpFields,
  type Result,
  type Watching,
} from './descriptor.js'

/** The smallest SO_RCVBUF and SO_SNDBUF taken; smaller ones are rounded up, as Linux does. */
const MIN_BUFFER = 256
const MIN_MAXSEG = 88
const MAX_MAXSEG = 32_767
const MAX_KEEP_SECONDS = 32_767

/** An answer that a call is not offered, and why. */
export interface Unsupported {
  readonly unsupported: string
}

/** What can be chosen only until the stack has been heard of, which is at the first packet or connect. */
export interface StackSettings {
  /** Octets an application may leave unread. */
  receiveLimit: number
  /** TCP_MAXSEG, or null. */
  maxSegment: number | null
  /** True when a packet has come or a connection was opened. */
  settled: boolean
}

type Value = number | readonly [number, number]

/** Sets one option of `socket`. `value` is a number, or onoff and seconds for SO_LINGER. */
export function setSocketOption(
  socket: Descriptor,
  settings: StackSettings,
  name: string,
  value: Value,
): Result | Unsupported {
  if (name === 'SO_LINGER') return setLinger(socket, value)
  if (typeof value !== 'number') return failed('EINVAL')
  switch (name) {
    case 'TCP_NODELAY':
      socket.setNoDelay(value !== 0)
      return DONE
    case 'TCP_CORK':
    case 'TCP_NOPUSH':
      socket.cork(value !== 0)
      return DONE
    case 'SO_REUSEADDR':
      return DONE
    case 'SO_SNDBUF':
      socket.sendLimit = Math.max(value, MIN_BUFFER)
      return DONE
    case 'SO_RCVBUF':
      return setReceiveBuffer(socket, settings, Math.max(value, MIN_BUFFER))
    case 'SO_KEEPALIVE':
      return watch(socket, { keepAlive: value !== 0 })
    case 'TCP_KEEPIDLE':
      return watchSeconds(socket, 'idleMs', value)
    case 'TCP_KEEPINTVL':
      return watchSeconds(socket, 'intervalMs', value)
    case 'TCP_KEEPCNT':
      return value < 1 || value > 127 ? failed('EINVAL') : watch(socket, { count: value })
    case 'TCP_KEEPINIT':
      if (value < 1 || value > MAX_KEEP_SECONDS) return failed('EINVAL')
      socket.openingMs = value * 1000
      return DONE
    case 'TCP_USER_TIMEOUT':
      return value < 0 ? failed('EINVAL') : watch(socket, { userTimeoutMs: value })
    case 'IP_TOS':
      if (value < 0 || value > 255) return failed('EINVAL')
      return setIpFields(socket, { dscp: value >> 2 })
    case 'IP_TTL':
      if (value < 1 || value > 255) return failed('EINVAL')
      return setIpFields(socket, { hopLimit: value })
    case 'TCP_MAXSEG':
      return setMaxSegment(settings, value)
    default:
      return setFixed(name, value)
  }
}

// The value that the stack has anyway is no wish for more.
const FIXED = new Map([['SO_OOBINLINE', 1]])

function setFixed(name: string, value: number): Result | Unsupported {
  if (FIXED.get(name) === value) return DONE
  return { unsupported: `setsockopt ${name} ${value}` }
}

function setIpFields(socket: Descriptor, fields: IpFields): Result {
  socket.setIpFields(fields)
  return DONE
}

function watch(socket: Descriptor, settings: Watching): Result {
  socket.watch(settings)
  return DONE
}

function watchSeconds(socket: Descriptor, name: 'idleMs' | 'intervalMs', seconds: number): Result {
  if (seconds < 1 || seconds > MAX_KEEP_SECONDS) return failed('EINVAL')
  return watch(socket, { [name]: seconds * 1000 })
}

// With seconds, close waits in the background: calls never block here.
function setLinger(socket: Descriptor, value: Value): Result {
  if (typeof value === 'number') return failed('EINVAL')
  socket.resetsOnClose = value[0] !== 0 && value[1] === 0
  return DONE
}

/** The value that `name` stands for: of IP_TOS, what <netinet/ip.h> calls a code point (RFC 2474, 2597, 3246). Null: unknown. */
export function namedValue(option: string, name: string): number | null {
  if (option !== 'IP_TOS') return null
  if (name === 'IPTOS_DSCP_EF') return 0xb8
  const selector = /^IPTOS_DSCP_CS([0-7])$/.exec(name)
  if (selector !== null) return Number(selector[1]) << 5
  const assured = /^IPTOS_DSCP_AF([1-4])([1-3])$/.exec(name)
  if (assured === null) return null
  return (Number(assured[1]) << 5) | (Number(assured[2]) << 3)
}

// A buffer may shrink below what was promised: the promise is kept, and no more is given until there is room.
function setReceiveBuffer(
  socket: Descriptor,
  settings: StackSettings,
  octets: number,
): Result | Unsupported {
  const c = socket.connection
  if (c !== null) {
    c.receiver.limit = octets
    c.buffers.received.limit = Math.max(c.buffers.received.limit, 2 * octets)
    return DONE
  }
  if (settings.settled && settings.receiveLimit !== octets) {
    return { unsupported: 'SO_RCVBUF between the first packet and a connection' }
  }
  settings.receiveLimit = octets
  return DONE
}

function setMaxSegment(settings: StackSettings, octets: number): Result | Unsupported {
  if (octets < MIN_MAXSEG || octets > MAX_MAXSEG) return failed('EINVAL')
  if (settings.settled) return { unsupported: 'TCP_MAXSEG after the first packet' }
  settings.maxSegment = octets
  return DONE
}
