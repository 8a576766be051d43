/**
 * Descriptor: one socket as a program sees it: system calls that never block, with the results and the errno of a
 * non-blocking socket on Linux, on the stack's connections and listeners. Reading is explicit: what nobody reads stays in
 * the receive buffer and closes the window.
 *
 * It sends nothing by itself; whoever calls lets the stack have its turn afterwards.
 */
import {
  type Connection,
  type IpAddress,
  StackError,
  type TcpListener,
  TcpState,
} from '../../stack/index.js'
import type { RawLink } from './raw-link.js'

/** What a call gives back: as in C, and beside it the name of errno, the octets read, or the pending error. */
export interface Result {
  readonly ret: number
  readonly errno?: string
  /** Octets read, in hexadecimal. */
  readonly data?: string
  /** SO_ERROR. */
  readonly error?: string
}

/** How the peer is watched: keep-alive and user timeout. */
export type Watching = Parameters<Connection['watch']>[0]

/** Fields of the IP header that an application chooses; what is left out is the stack's choice. */
export interface IpFields {
  readonly dscp?: number
  readonly hopLimit?: number
}

const NOTHING = new Uint8Array(0)
/** The address of a socket that listens on all of them. */
const UNSPECIFIED = 0 as IpAddress

export const DONE: Result = { ret: 0 }

export function failed(errno: string): Result {
  return { ret: -1, errno }
}

export class Descriptor {
  connection: Connection | null = null
  listener: TcpListener | null = null
  #noDelay = false
  #corked = false
  #watching: Watching = {}
  #backlog = 0
  #ipFields: IpFields = {}
  // Of the link, as of the last call.
  #now = 0
  /** TCP_KEEPINIT: how long an active open may last; 0: as long as its SYN is sent again anyway. */
  openingMs = 0
  /** SO_LINGER with 0 seconds: close resets. */
  resetsOnClose = false
  /** Octets that may wait to be acknowledged; null: as many as the stack takes. */
  sendLimit: number | null = null
  localAddress: IpAddress | null = null
  localPort = 0
  #errorTaken = false
  #connectReported = false
  #inputShut = false

  /** The socket of an accepted connection, with the options of its listener. */
  static accepted(connection: Connection, parent: Descriptor): Descriptor {
    const child = new Descriptor()
    child.connection = connection
    child.#connectReported = true
    child.#noDelay = parent.#noDelay
    child.#corked = parent.#corked
    child.resetsOnClose = parent.resetsOnClose
    child.sendLimit = parent.sendLimit
    child.localAddress = parent.localAddress
    child.localPort = parent.localPort
    connection.sender.noDelay = parent.#noDelay
    connection.sender.corked = parent.#corked
    child.#now = parent.#now
    child.watch(parent.#watching)
    return child
  }

  bind(address: IpAddress | null, port: number): Result {
    if (this.localPort !== 0 || this.connection !== null || this.listener !== null) {
      return failed('EINVAL')
    }
    this.localAddress = address
    this.localPort = port
    return DONE
  }

  listen(link: RawLink, backlog: number): Result {
    if (this.listener !== null) return DONE
    if (this.connection !== null) return failed('EINVAL')
    // As on Linux, one connection more than the backlog may wait.
    this.#backlog = Math.max(backlog, 0) + 1
    try {
      this.#listenOn(link)
      return DONE
    } catch (error) {
      return failed(codeOf(error))
    }
  }

  /** The stack was made anew: goes on listening on it. */
  listenOn(link: RawLink): void {
    if (this.listener !== null) this.#listenOn(link)
  }

  #listenOn(link: RawLink): void {
    const address = this.localAddress ?? UNSPECIFIED
    this.listener = link.stack.listen(address, this.localPort, this.#backlog)
    Object.assign(this.listener, this.#ipFields)
  }

  /** IP_TOS and IP_TTL: from now on, of a listener's connections from their SYN on. */
  setIpFields(fields: IpFields): void {
    this.#ipFields = { ...this.#ipFields, ...fields }
    if (this.listener !== null) Object.assign(this.listener, fields)
    if (this.connection !== null) Object.assign(this.connection, fields)
  }

  connect(link: RawLink, address: IpAddress, port: number): Result {
    if (this.listener !== null) return failed('EISCONN')
    if (this.connection !== null) return this.#connectAgain(this.connection)
    try {
      const c = link.stack.connect(address, port, link.now, this.localAddress, this.localPort)
      c.sender.noDelay = this.#noDelay
      c.sender.corked = this.#corked
      Object.assign(c, this.#ipFields)
      this.connection = c
      this.#now = link.now
      this.watch(this.#watching)
      if (this.openingMs > 0) c.watch({ userTimeoutMs: this.openingMs }, link.now)
      this.localPort = c.localPort
      this.#errorTaken = false
      return failed('EINPROGRESS')
    } catch (error) {
      return failed(codeOf(error))
    }
  }

  #connectAgain(c: Connection): Result {
    if (isOpening(c)) return failed('EALREADY')
    if (this.#connectReported) return failed('EISCONN')
    if (!c.closed || this.#pendingError() === '') {
      this.#connectReported = true
      return DONE
    }
    const errno = this.#takeError()
    this.connection = null
    return failed(errno)
  }

  read(length: number, peek: boolean): Result {
    const c = this.connection
    if (c === null) return failed('ENOTCONN')
    const ready = Math.min(c.readable, length)
    if (ready > 0) {
      const bytes = Buffer.alloc(ready)
      if (peek) c.buffers.received.copyTo(c.inputOffset, ready, bytes, 0)
      else c.read(bytes, 0, ready)
      return { ret: ready, data: bytes.toString('hex') }
    }
    if (length === 0 || c.tcb.finReceived) return DONE
    if (this.#pendingError() !== '') return failed(this.#takeError())
    if (c.closed || this.#inputShut) return DONE
    return failed('EAGAIN')
  }

  /** SO_KEEPALIVE, TCP_KEEPIDLE and its like, TCP_USER_TIMEOUT: for this connection, and those that a listener accepts. */
  watch(settings: Watching): void {
    this.#watching = { ...this.#watching, ...settings }
    if (Object.keys(this.#watching).length > 0) this.connection?.watch(this.#watching, this.#now)
  }

  /** TCP_NODELAY. What waits leaves even where it is corked, as on Linux; the next write is corked again. */
  setNoDelay(on: boolean): void {
    this.#noDelay = on
    const c = this.connection
    if (c === null) return
    if (on) c.sender.corked = false
    c.setNoDelay(on)
  }

  /** Before every call: when the handshake is over, its limit is none any more. Nothing can have waited for an ACK since then. */
  endOpening(): void {
    const c = this.connection
    if (this.openingMs === 0 || c === null || isOpening(c)) return
    this.openingMs = 0
    c.watch({ userTimeoutMs: this.#watching.userTimeoutMs ?? 0 }, this.#now)
  }

  /** TCP_CORK: less than a full segment waits until it is taken off. */
  cork(on: boolean): void {
    this.#corked = on
    const c = this.connection
    if (c === null) return
    c.sender.corked = on
    c.write(NOTHING, 0, 0)
  }

  /** With `more` (MSG_MORE) the last of it waits for the next write, as if corked. */
  write(bytes: Uint8Array, more: boolean): Result {
    const c = this.connection
    if (c === null) return failed('EPIPE')
    if (this.#pendingError() !== '') return failed(this.#takeError())
    if (c.closed || c.sender.finQueued) return failed('EPIPE')
    if (isOpening(c)) return failed('EAGAIN')
    if (bytes.length === 0) return DONE
    const { sent } = c.buffers
    const limit = this.sendLimit ?? Number.POSITIVE_INFINITY
    const room = Math.min(c.writable, limit - (sent.end - sent.start), bytes.length)
    if (room <= 0) return failed('EAGAIN')
    c.sender.corked = more || this.#corked
    return { ret: c.write(bytes, 0, room) }
  }

  /** SHUT_RD, SHUT_WR, or both. */
  shutdown(link: RawLink, input: boolean, output: boolean): Result {
    const c = this.connection
    if (c === null) {
      if (this.listener === null) return failed('ENOTCONN')
      if (input) this.#stopListening(link)
      return DONE
    }
    if (c.closed || c.state === TcpState.TIME_WAIT) return failed('ENOTCONN')
    if (input) this.#inputShut = true
    if (c.state === TcpState.SYN_SENT) c.abort()
    else if (output) c.shutdown()
    return DONE
  }

  close(link: RawLink): Result {
    this.#stopListening(link)
    if (this.resetsOnClose) this.connection?.abort()
    else this.connection?.detach(link.now)
    return DONE
  }

  /** SO_ERROR: the pending error, which is none afterwards. */
  error(): Result {
    return { ret: 0, error: this.#takeError() || '0' }
  }

  #stopListening(link: RawLink): void {
    if (this.listener === null) return
    link.stack.closeListener(this.listener)
    this.listener = null
  }

  // A reset behind the peer's FIN can only mean that what we send is not wanted any more: EPIPE.
  #pendingError(): string {
    const c = this.connection
    if (c === null || this.#errorTaken) return ''
    return c.error === 'ECONNRESET' && c.tcb.finReceived ? 'EPIPE' : c.error
  }

  #takeError(): string {
    const errno = this.#pendingError()
    if (errno !== '') this.#errorTaken = true
    return errno
  }
}

// An active open whose handshake is under way; before its SYN has left, the state is still CLOSED.
function isOpening(c: Connection): boolean {
  const unsent = c.closed && !c.tcb.synSent && c.error === ''
  return unsent || c.state === TcpState.SYN_SENT || c.state === TcpState.SYN_RECEIVED
}

function codeOf(error: unknown): string {
  if (error instanceof StackError) return error.code
  throw error
}
