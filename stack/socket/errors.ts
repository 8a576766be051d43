/**
 * Errors with the codes, fields and words of Node's net, so that programs which look at them work unchanged. Where Node has
 * no such case, an error is a StackError and says what to do.
 */
import { getSystemErrorMap } from 'node:util'
import { StackError } from '../base/errors.js'

/** An error of a system call, as Node shapes it. */
export interface SocketError extends Error {
  code: string
  errno?: number
  syscall?: string
  address?: string
  port?: number
}

interface SystemErrorName {
  readonly errno: number
  readonly text: string
}

const byCode = new Map<string, SystemErrorName>()

function systemError(code: string): SystemErrorName | undefined {
  if (byCode.size === 0) {
    for (const [errno, [name, text]] of getSystemErrorMap()) byCode.set(name, { errno, text })
  }
  return byCode.get(code)
}

function shaped(message: string, code: string, syscall: string): SocketError {
  const error = stackless(message) as SocketError
  const known = systemError(code)
  if (known !== undefined) error.errno = known.errno
  error.code = code
  error.syscall = syscall
  return error
}

// An event of the network has no caller whose stack would tell anything, and gathering one costs more than the connection.
function stackless(message: string): Error {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0
  const error = new Error(message)
  Error.stackTraceLimit = stackTraceLimit
  return error
}

/** `read ECONNRESET` and its like. */
export function errnoError(code: string, syscall: string): SocketError {
  return shaped(`${syscall} ${code}`, code, syscall)
}

/** `connect ECONNREFUSED 10.0.0.2:81` and its like. */
export function connectError(code: string, address: string, port: number, local = ''): SocketError {
  const details = local === '' ? '' : ` - Local (${local})`
  const error = shaped(`connect ${code} ${hostPort(address, port)}${details}`, code, 'connect')
  error.address = address
  error.port = port
  return error
}

/** `bind EADDRNOTAVAIL 10.9.9.9:80` and its like, for the local end of a connection. */
export function bindError(code: string, address: string, port: number): SocketError {
  return datagramError('bind', code, address, port)
}

/** What Node throws when every address of a name has failed: the errors of all attempts, and the code of the first. */
export function allAttemptsFailed(errors: readonly Error[]): SocketError {
  const error = new AggregateError(errors) as AggregateError & SocketError
  error.code = (errors[0] as SocketError).code
  return error
}

/** `listen EADDRINUSE: address already in use 10.0.0.2:80` and its like. */
export function listenError(code: string, address: string, port: number): SocketError {
  const text = systemError(code)?.text ?? 'unknown error'
  const error = shaped(`listen ${code}: ${text} ${hostPort(address, port)}`, code, 'listen')
  error.address = address
  error.port = port
  return error
}

/** `bind EADDRINUSE 10.0.0.2:53`, `send EMSGSIZE 10.0.0.2:53` and their like, of UDP. */
export function datagramError(
  syscall: 'bind' | 'send' | 'connect',
  code: string,
  address: string,
  port: number,
): SocketError {
  const error = shaped(`${syscall} ${code} ${hostPort(address, port)}`, code, syscall)
  error.address = address
  error.port = port
  return error
}

/** `getaddrinfo ENOTFOUND name`: this stack looks up no names by itself. */
export function lookupError(hostname: string): SocketError {
  const error = new Error(`getaddrinfo ENOTFOUND ${hostname}`) as SocketError & { hostname: string }
  error.code = 'ENOTFOUND'
  error.syscall = 'getaddrinfo'
  error.hostname = hostname
  return error
}

/** What Node says of a write behind the peer's FIN when half-open connections are not allowed. */
export function endedByPeer(): SocketError {
  return coded(new Error('This socket has been ended by the other party'), 'EPIPE')
}

export function socketClosed(): SocketError {
  return coded(new Error('Socket is closed'), 'ERR_SOCKET_CLOSED')
}

export function socketClosedBeforeConnection(): SocketError {
  return coded(
    new Error('Socket closed before the connection was established'),
    'ERR_SOCKET_CLOSED_BEFORE_CONNECTION',
  )
}

export function serverNotRunning(): SocketError {
  return coded(new Error('Server is not running.'), 'ERR_SERVER_NOT_RUNNING')
}

export function serverAlreadyListening(): SocketError {
  const text = 'Listen method has been called more than once without closing.'
  return coded(new Error(text), 'ERR_SERVER_ALREADY_LISTEN')
}

export function ipBlocked(address: string): SocketError {
  return coded(new Error(`IP(${address}) is blocked by net.BlockList`), 'ERR_IP_BLOCKED')
}

/** The connection lives on, but on another node. Its stack would tell nothing, and streams have it made for each of them. */
export function connectionMoved(): StackError {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0
  const error = new StackError(
    'ERR_CONNECTION_MOVED',
    'another node owns this connection now: leave it alone, that node goes on from the last checkpoint',
  )
  Error.stackTraceLimit = stackTraceLimit
  return error
}

/** A regenerated octet differs from the one that the peer was sent. */
export function outputDiverged(offset: number): StackError {
  return new StackError(
    'ERR_OUTPUT_DIVERGED',
    `the octet at offset ${offset} differs from what the peer was sent before the take-over: what is written from a checkpoint on must be the same on every node`,
  )
}

export function coded(error: Error, code: string): SocketError {
  return Object.assign(error, { code })
}

function hostPort(address: string, port: number): string {
  return port > 0 ? `${address}:${port}` : address
}
