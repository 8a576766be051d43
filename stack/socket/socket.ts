/**
 * Socket: a connection as a Duplex, shaped as Node's net.Socket: its events, their order, its error codes, back-pressure
 * both ways. What the application does not read stays in the connection's buffer, so that the window closes; what the
 * connection has no room for stays in the stream.
 *
 * Beyond net it has stream offsets and checkpoints, with which an application on another node goes on (A2).
 */
import { addAbortSignal, Duplex } from 'node:stream'
import { StackError } from '../base/errors.js'
import { type Connection, ConnectionEvent } from '../tcp/connection.js'
import { type ConnectOptions, connectArguments, type Listener } from './connect-arguments.js'
import { Endpoint, isMoved } from './endpoint.js'
import {
  connectError,
  connectionMoved,
  endedByPeer,
  errnoError,
  invalidArgument,
  ipBlocked,
  lookupError,
  outputDiverged,
  socketClosed,
  socketClosedBeforeConnection,
  validPort,
} from './errors.js'
import { presentAddress, resolveHost, type StackHost } from './host.js'
import { type Chunk, Outgoing, type WriteCallback } from './outgoing.js'

/** Octets that one read takes from the connection at most. */
const READ_SIZE = 128 * 1024

export interface SocketOptions {
  readonly allowHalfOpen?: boolean | undefined
  /** The socket starts paused and reads nothing before `resume` or `read`. */
  readonly pauseOnCreate?: boolean | undefined
  readonly noDelay?: boolean | undefined
  readonly keepAlive?: boolean | undefined
  readonly keepAliveInitialDelay?: number | undefined
  readonly highWaterMark?: number | undefined
  readonly signal?: AbortSignal | undefined
}

export class Socket extends Endpoint {
  /** Milliseconds as given to `setTimeout`. */
  timeout: number | undefined = undefined
  /** A slot for servers that take the socket over, as node:http's does. */
  server: unknown = null
  readonly #outgoing = new Outgoing()
  #noDelay: boolean
  #wantsRead = false
  #inputEnded = false
  #bytesRead = 0
  #resetting = false
  #target = ''
  #timer: NodeJS.Timeout | null = null
  #onReleased: (() => void) | null = null

  /** `connection`, when given, becomes this socket's: an accepted one. */
  constructor(host: () => StackHost, options: SocketOptions = {}, connection?: Connection) {
    super(host, {
      allowHalfOpen: options.allowHalfOpen ?? false,
      emitClose: false,
      autoDestroy: true,
      ...(options.highWaterMark === undefined ? {} : { highWaterMark: options.highWaterMark }),
    })
    this.#noDelay = options.noDelay ?? false
    this.on('end', () => {
      if (!this.allowHalfOpen) this.write = refuseWrite
    })
    if (connection !== undefined) this.#take(connection)
    if (options.pauseOnCreate === true) this.pause()
    if (options.signal !== undefined) addAbortSignal(options.signal, this)
  }

  /** For servers: called once when the socket has let go of its connection. */
  set onReleased(listener: () => void) {
    this.#onReleased = listener
  }

  /** For servers: begins to read what has come, unless the socket is paused. */
  start(): void {
    if (!this.destroyed && !this.isPaused()) this.read(0)
  }

  /**
   * Opens a connection: `(port[, host][, listener])` or `(options[, listener])`. Failures are emitted as `error` with the
   * codes of net.
   */
  connect(...args: unknown[]): this {
    const [options, listener] = connectArguments(args)
    if (listener !== undefined) this.once('connect', listener)
    if (this.destroyed || this.connecting || this.connection !== null) {
      throw new StackError('EISCONN', 'a socket connects once: make a new one')
    }
    this.connecting = true
    if (options.noDelay !== undefined) this.#noDelay = options.noDelay
    if (options.timeout !== undefined) this.setTimeout(options.timeout)
    this.hold()
    this.#refresh()
    const name = options.host ?? 'localhost'
    const address = resolveHost(this.host(), name)
    if (address !== undefined) {
      this.#dial(options, address)
    } else if (options.lookup === undefined) {
      this.destroy(lookupError(name))
    } else {
      const onFound = (error: Error | null, found: string) => {
        this.#found(options, name, error, found)
      }
      options.lookup(name, { family: 4 }, onFound)
    }
    return this
  }

  #found(options: ConnectOptions, name: string, error: Error | null, found: string): void {
    this.emit('lookup', error, found, 4, name)
    if (this.destroyed) return
    const address = error === null ? resolveHost(this.host(), found) : undefined
    if (address !== undefined) this.#dial(options, address)
    else this.destroy(error ?? lookupError(name))
  }

  #dial(options: ConnectOptions, address: number): void {
    const host = this.host()
    const port = validPort(options.port)
    this.#target = presentAddress(host, address as never)
    try {
      const { localAddress, localPort = 0 } = options
      const local = localAddress === undefined ? null : resolveHost(host, localAddress)
      if (local === undefined) throw new StackError('EADDRNOTAVAIL', 'no address of this stack')
      if (options.blockList?.check(this.#target) === true) throw ipBlocked(this.#target)
      this.#take(host.stack.connect(address as never, port, host.now(), local, localPort))
      host.kick()
    } catch (error) {
      if (!(error instanceof StackError)) this.destroy(error as Error)
      else this.destroy(connectError(error.code, this.#target, port))
    }
  }

  #take(connection: Connection): void {
    this.connection = connection
    connection.context = this
    connection.sender.noDelay = this.#noDelay
    this.hold()
  }

  /** Called by the event loop with bits of ConnectionEvent. */
  handleReady(events: number): void {
    const connection = this.connection
    if (connection === null || this.destroyed) return
    if ((events & ConnectionEvent.CLOSED) !== 0 && this.#end(connection)) return
    if ((events & ConnectionEvent.CONNECTED) !== 0 && this.connecting) this.#connected()
    if ((events & ConnectionEvent.WRITABLE) !== 0) this.#pour()
    if ((events & (ConnectionEvent.READABLE | ConnectionEvent.ENDED)) !== 0) this.#pull()
  }

  #connected(): void {
    this.connecting = false
    this.#refresh()
    this.emit('connect')
    this.emit('ready')
    this.start()
    this.#pour()
  }

  // The connection is gone. True when the socket is, too.
  #end(connection: Connection): boolean {
    if (isMoved(connection)) this.destroy(connectionMoved())
    else if (connection.error !== '') this.destroy(this.#errorOf(connection))
    // Behind an orderly close what has come can still be read.
    else if (!connection.tcb.finReceived) this.destroy()
    return this.destroyed
  }

  #errorOf(connection: Connection): Error {
    const { error, output } = connection
    if (this.connecting) return connectError(error, this.#target, connection.remotePort)
    if (error === 'ERR_OUTPUT_DIVERGED') return outputDiverged(output.divergedAt)
    return errnoError(error, 'read')
  }

  override _read(): void {
    this.#wantsRead = true
    if (!this.connecting) this.#pull()
  }

  // Hands on what the connection has, a chunk at a time, until the application has enough.
  #pull(): void {
    const connection = this.connection
    if (connection === null || isMoved(connection)) return
    while (this.#wantsRead && connection.readable > 0) {
      const chunk = Buffer.allocUnsafe(Math.min(connection.readable, READ_SIZE))
      connection.read(chunk, 0, chunk.length)
      this.#bytesRead += chunk.length
      this.host().kick()
      this.#refresh()
      this.#wantsRead = false
      // A listener may have asked for more meanwhile.
      if (this.push(chunk)) this.#wantsRead = true
      if (this.destroyed) return
    }
    if (connection.inputEnded && !this.#inputEnded) {
      this.#inputEnded = true
      this.push(null)
      // Nobody may be listening for data; the end is to be seen all the same.
      this.read(0)
    }
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, callback: WriteCallback): void {
    if (this.pending && !this.connecting) {
      callback(socketClosed())
      return
    }
    this.#outgoing.begin(chunk, callback)
    this.#pour()
  }

  override _writev(chunks: readonly Chunk[], callback: WriteCallback): void {
    this.#outgoing.beginAll(chunks, callback)
    this.#pour()
  }

  #pour(): void {
    if (this.connecting || !this.#outgoing.active) return
    const connection = this.connection
    if (connection === null || isMoved(connection)) return
    if (connection.closed) {
      this.#outgoing.finish(errnoError('EPIPE', 'write'))
      return
    }
    const before = this.#outgoing.taken
    const done = this.#outgoing.pour(connection)
    if (done || this.#outgoing.taken > before) {
      this.#refresh()
      this.host().kick()
    }
    if (done) this.#outgoing.finish(null)
  }

  override _final(callback: WriteCallback): void {
    if (this.connecting) {
      this.once('connect', () => this._final(callback))
      return
    }
    const connection = this.connection
    if (connection !== null && !isMoved(connection)) {
      connection.shutdown()
      this.host().kick()
    }
    callback()
  }

  override _destroy(error: Error | null, callback: WriteCallback): void {
    const opening = this.connecting
    this.connecting = false
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    const connection = this.connection
    if (connection !== null && !isMoved(connection)) {
      if (this.#resetting) connection.abort()
      else connection.detach(this.host().now())
      this.host().kick()
    }
    if (connection !== null) connection.context = null
    this.#outgoing.finish(error ?? (opening ? socketClosedBeforeConnection() : socketClosed()))
    callback(error)
    process.nextTick(() => {
      this.letGo()
      this.emit('close', error !== null)
      this.#onReleased?.()
    })
  }

  /** Ends the writable side and destroys the socket when all has been handed to the stack. */
  destroySoon(): void {
    if (this.writable) this.end()
    if (this.writableFinished) this.destroy()
    else this.once('finish', () => this.destroy())
  }

  /** Sends a RST and destroys the socket. */
  resetAndDestroy(): this {
    if (this.connecting) {
      this.once('connect', () => this.resetAndDestroy())
    } else if (this.connection === null || this.destroyed) {
      this.destroy(socketClosed())
    } else {
      this.#resetting = true
      this.destroy()
    }
    return this
  }

  /** Emits `timeout` after so many milliseconds without traffic; 0 ends that. */
  setTimeout(milliseconds: number, listener?: Listener): this {
    if (this.destroyed) return this
    if (typeof milliseconds !== 'number' || !(milliseconds >= 0)) {
      throw invalidArgument('msecs', 'a number of 0 or more', milliseconds)
    }
    this.timeout = milliseconds
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    if (milliseconds === 0) {
      if (listener !== undefined) this.removeListener('timeout', listener)
      return this
    }
    const delay = Math.min(milliseconds, 2 ** 31 - 1)
    this.#timer = setTimeout(() => this.emit('timeout'), delay).unref()
    if (listener !== undefined) this.once('timeout', listener)
    return this
  }

  #refresh(): void {
    this.#timer?.refresh()
  }

  /** Turns Nagle's algorithm off, or on again. */
  setNoDelay(noDelay = true): this {
    this.#noDelay = noDelay
    if (this.connection === null || isMoved(this.connection)) return this
    this.connection.sender.noDelay = noDelay
    this.host().kick()
    return this
  }

  /** Accepted for the sake of programs that call it. This stack sends no keep-alive probes. */
  setKeepAlive(_enable = false, _initialDelay = 0): this {
    return this
  }

  /** Octets received and handed to the stream. */
  get bytesRead(): number {
    return this.#bytesRead
  }

  /** Octets written, those that wait in the stream too. */
  get bytesWritten(): number {
    return this.#outgoing.total + this.writableLength - this.#outgoing.taken
  }

  get bufferSize(): number {
    return this.writableLength
  }

  /** What the application left in its last checkpoint on another node; null for a connection that began here. */
  get resumed(): unknown {
    return this.connection?.resumption ?? null
  }

  /** Stream offset behind the last octet that the application has taken out of this socket. */
  get inputOffset(): number {
    return (this.connection?.inputOffset ?? 0) - this.readableLength
  }

  /** Stream offset behind the last octet that the application has written to this socket. */
  get outputOffset(): number {
    const pending = this.writableLength - this.#outgoing.taken
    return (this.connection?.output.offset ?? 0) + pending
  }

  /**
   * Behind a take-over: counts `length` octets as produced without giving them, because the stack has them or the peer
   * has acknowledged them. Before anything is written.
   */
  skip(length: number): void {
    if (this.connection === null || isMoved(this.connection)) throw socketClosed()
    this.connection.output.skip(length)
  }

  /**
   * Stores how far the application has come, with `state`, any JSON value: on another node it starts from there (see
   * `resumed`). `input`: octets before this offset are consumed, by default all that were taken out of this socket.
   * `output`: octets before this offset are produced, by default all that were written. Throws ERR_NO_CHECKPOINT_STORE.
   */
  commit(state: unknown = null, offsets: { input?: number; output?: number } = {}): void {
    const store = this.host().checkpoints
    if (store === undefined) {
      throw new StackError(
        'ERR_NO_CHECKPOINT_STORE',
        'this network keeps no checkpoints: make it with a host that has `checkpoints`, as a cluster node has',
      )
    }
    if (this.connection === null || isMoved(this.connection)) throw socketClosed()
    const { input = this.inputOffset, output = this.outputOffset } = offsets
    store.commit(this.connection, state, input, output, this.#held())
  }

  // What was written and the connection has not taken.
  #held(): Uint8Array[] {
    if (this.writableLength === 0) return []
    const state = (this as unknown as { _writableState: { getBuffer(): Chunk[] } })._writableState
    return [...this.#outgoing.rest(), ...state.getBuffer().map((entry) => entry.chunk)]
  }
}

function refuseWrite(this: Duplex, ...args: unknown[]): boolean {
  if (!this.writableEnded) return Reflect.apply(Duplex.prototype.write, this, args) as boolean
  const error = endedByPeer()
  const callback = args.at(-1)
  if (typeof callback === 'function') process.nextTick(callback as Listener, error)
  this.destroy(error)
  return false
}
