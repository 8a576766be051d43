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
import type { Listener } from './connect-arguments.js'
import { DialingSocket } from './dialing.js'
import { isMoved } from './endpoint.js'
import {
  connectionMoved,
  endedByPeer,
  errnoError,
  outputDiverged,
  socketClosed,
  socketClosedBeforeConnection,
} from './errors.js'
import type { StackHost } from './host.js'
import { OnReadSink } from './on-read.js'
import { type Chunk, Outgoing, type WriteCallback } from './outgoing.js'
import { is, Mark, mark } from './socket-marks.js'
import { checkOptions, type SocketOptions, streamOptions } from './socket-options.js'

export type { SocketOptions } from './socket-options.js'

/** What a socket needs of its server. */
export interface CountingServer {
  _connections: number
  _emitCloseIfDrained?(): void
}

/** Octets that one read takes from the connection at most. */
const READ_SIZE = 128 * 1024

export class Socket extends DialingSocket {
  /** The server that accepted the socket; a slot for those that take it over, as node:http's does. */
  server: unknown = null
  /** A slot of Node's own code: a socket that wraps this one. */
  declare _parent: unknown
  // Null while nothing is written.
  #outgoing: Outgoing | null = null
  // Octets of all writes that the connection has taken.
  #bytesTaken = 0
  #rest: NodeJS.Immediate | null = null
  readonly #onRead: OnReadSink | null
  #bytesRead = 0
  /** The server that has accepted this connection; Node's own code looks here. */
  _server: CountingServer | null = null

  static {
    Socket.prototype._parent = null
  }

  /** `connection`, when given, becomes this socket's: an accepted one. `target`: an object that becomes this socket. */
  constructor(
    host: () => StackHost,
    options: SocketOptions = {},
    connection?: Connection,
    target?: Duplex,
  ) {
    checkOptions(options)
    super(host, streamOptions(options), target)
    mark(this, Mark.NO_DELAY, options.noDelay ?? false)
    this.keepAsOptions(options)
    this.#onRead = OnReadSink.of(options.onread)
    this.on('end', endWrites)
    if (connection !== undefined) this.adopt(connection)
    if (options.pauseOnCreate === true) this.pause()
    if (options.signal) addAbortSignal(options.signal, this)
  }

  /** For servers: takes up `events` that came before the socket, and begins to read if it `reads`. */
  begin(events: number, reads: boolean): void {
    if (this.destroyed) return
    if (reads) this.read(0)
    this.handleReady(events)
  }

  // A destroyed stream begins anew, as nothing of the last connection is left in it.
  protected override revive(): void {
    const stream = this as unknown as { _undestroy(): void }
    stream._undestroy()
    this.forget()
    mark(this, Mark.INPUT_ENDED, false)
    mark(this, Mark.WANTS_READ, false)
    mark(this, Mark.RESETTING, false)
    this.#bytesRead = 0
    this.#bytesTaken = 0
    if (Object.hasOwn(this, 'write')) Reflect.deleteProperty(this, 'write')
  }

  // A socket keeps the process alive while it opens, listens for input or has output to give, and not otherwise.
  protected override keepAwake(): void {
    const { connection, connecting, destroyed } = this
    // Whoever looks a name up for it keeps the process alive himself, or has his reasons.
    const opens = connecting && this.dial?.waits !== true
    const reads = is(this, Mark.WANTS_READ) && !is(this, Mark.INPUT_ENDED) && connection !== null
    this.active = !destroyed && (opens || reads || this.#outgoing !== null)
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
    this.dial?.stop()
    this.refresh()
    this.emit('connect')
    this.emit('ready')
    if (this.readable && !this.isPaused()) this.read(0)
    this.#pour()
    this.keepAwake()
  }

  // The connection is gone. True when the socket is, too.
  #end(connection: Connection): boolean {
    if (isMoved(connection)) this.destroy(connectionMoved())
    else if (this.connecting) this.dial?.failed(connection.error)
    else if (connection.error !== '') this.destroy(this.#errorOf(connection))
    // Behind an orderly close what has come can still be read.
    else if (!connection.tcb.finReceived) this.destroy()
    return this.destroyed || this.connection !== connection
  }

  #errorOf(connection: Connection): Error {
    const { error, output } = connection
    if (error === 'ERR_OUTPUT_DIVERGED') return outputDiverged(output.divergedAt)
    return errnoError(error, 'read')
  }

  override _read(): void {
    mark(this, Mark.WANTS_READ, true)
    this.keepAwake()
    const { connection } = this
    if (connection === null || this.connecting || is(this, Mark.PULLING)) return
    if (connection.readable === 0 && !connection.inputEnded) return
    // As with the kernel nothing comes while it is asked for: streams tell that apart.
    mark(this, Mark.PULLING, true)
    process.nextTick(() => {
      mark(this, Mark.PULLING, false)
      if (!this.destroyed) this.#pull()
    })
  }

  override pause(): this {
    if (this.#onRead !== null && !this.connecting) mark(this, Mark.WANTS_READ, false)
    return super.pause()
  }

  override resume(): this {
    this.#readAgain()
    return super.resume()
  }

  override read(size?: number): unknown {
    this.#readAgain()
    return super.read(size)
  }

  // With `onread` nothing waits in the stream that could ask for more.
  #readAgain(): void {
    if (this.#onRead === null || this.connecting || is(this, Mark.WANTS_READ)) return
    if (this.connection !== null && !this.destroyed) this._read()
  }

  // Hands on what the connection has, a chunk at a time, until the application has enough.
  #pull(): void {
    const connection = this.connection
    if (connection === null || isMoved(connection)) return
    while (is(this, Mark.WANTS_READ) && connection.readable > 0) {
      if (this.#onRead !== null) {
        // The callback may have paused the socket.
        if (!this.#lend(connection, this.#onRead)) mark(this, Mark.WANTS_READ, false)
        if (this.destroyed) return
        continue
      }
      const chunk = Buffer.allocUnsafe(Math.min(connection.readable, READ_SIZE))
      connection.read(chunk, 0, chunk.length)
      this.#bytesRead += chunk.length
      this.host().kick()
      this.refresh()
      mark(this, Mark.WANTS_READ, false)
      // A listener may have asked for more meanwhile; one that throws leaves reading as it was.
      let more = true
      try {
        more = this.push(chunk)
      } finally {
        if (more) mark(this, Mark.WANTS_READ, true)
      }
      if (this.destroyed) return
    }
    if (connection.inputEnded && !is(this, Mark.INPUT_ENDED)) {
      mark(this, Mark.INPUT_ENDED, true)
      this.push(null)
      // Nobody may be listening for data; the end is to be seen all the same.
      this.read(0)
      this.keepAwake()
    }
  }

  #lend(connection: Connection, sink: OnReadSink): boolean {
    const { buffer } = sink
    const length = connection.read(buffer, 0, Math.min(buffer.length, connection.readable))
    this.#bytesRead += length
    this.host().kick()
    this.refresh()
    return sink.give(this, length)
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, callback: WriteCallback): void {
    this.#send(new Outgoing(chunk, callback))
  }

  override _writev(chunks: readonly Chunk[], callback: WriteCallback): void {
    this.#send(new Outgoing((chunks[0] as Chunk).chunk, callback, chunks))
  }

  // A write waits for the connection in the line of the listeners of `connect`, as with Node.
  #send(outgoing: Outgoing): void {
    if (this.connecting) {
      const onClose = (): void => outgoing.finish(socketClosedBeforeConnection())
      this.once('close', onClose)
      this.once('connect', () => {
        this.off('close', onClose)
        this.#take(outgoing)
      })
    } else if (this.pending) {
      outgoing.finish(socketClosed())
    } else {
      this.#take(outgoing)
    }
  }

  #take(outgoing: Outgoing): void {
    this.#outgoing = outgoing
    this.#pour()
    this.keepAwake()
  }

  #pour(): void {
    const { connection } = this
    const outgoing = this.#outgoing
    if (this.connecting || outgoing === null || this.#rest !== null) return
    if (connection === null || isMoved(connection)) return
    if (connection.closed) {
      this.#finish(errnoError('EPIPE', 'write'))
      return
    }
    const before = outgoing.taken
    const done = outgoing.pour(connection)
    this.#bytesTaken += outgoing.taken - before
    if (done || outgoing.taken > before) {
      this.refresh()
      this.host().kick()
    }
    if (!done) return
    // What is only repeated costs no time on the wire, and would keep the loop from turning until it has caught up.
    if (connection.output.regenerating) this.#rest = setImmediate(() => this.#poured())
    else this.#poured()
  }

  #poured(): void {
    this.#rest = null
    this.#finish(null)
    this.keepAwake()
  }

  #finish(error: Error | null): void {
    const outgoing = this.#outgoing
    this.#outgoing = null
    outgoing?.finish(error)
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
      // As with the kernel the end is not told within the call.
      process.nextTick(callback)
      return
    }
    callback()
  }

  override _destroy(error: Error | null, callback: WriteCallback): void {
    const { connection } = this
    const opened = connection !== null || this.connecting
    this.connecting = false
    this.dial?.stop()
    this.stopTimer()
    if (connection !== null && !isMoved(connection)) {
      if (is(this, Mark.RESETTING)) connection.abort()
      else connection.detach(this.host().now())
      this.host().kick()
    }
    if (connection !== null) connection.context = null
    if (this.#rest !== null) clearImmediate(this.#rest)
    this.#rest = null
    if (this.#outgoing !== null) this.#finish(error ?? socketClosed())
    callback(error)
    this.keepAwake()
    if (this._server) {
      this._server._connections--
      this._server._emitCloseIfDrained?.()
    }
    // The kernel's sockets are closed at the end of a turn of the event loop, behind what is due before.
    if (opened) setImmediate(() => this.emit('close', error !== null))
    else process.nextTick(() => this.emit('close'))
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
      mark(this, Mark.RESETTING, true)
      this.destroy()
    }
    return this
  }

  /** Octets received and handed to the stream. */
  get bytesRead(): number {
    return this.#bytesRead
  }

  /** Octets written, those that wait in the stream too. */
  get bytesWritten(): number | undefined {
    // The prototype is asked, too.
    if (!(#outgoing in this)) return undefined
    return this.#bytesTaken + this.#pending
  }

  // Octets written that the connection has not taken.
  get #pending(): number {
    return this.writableLength - (this.#outgoing?.taken ?? 0)
  }

  get bufferSize(): number | undefined {
    const exists = this.connection !== null || this.connecting
    return exists && !this.destroyed ? this.writableLength : undefined
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
    return (this.connection?.output.offset ?? 0) + this.#pending
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
    return [...(this.#outgoing?.rest() ?? []), ...state.getBuffer().map((entry) => entry.chunk)]
  }
}

// One function for all sockets, as each has it for as long as it is there.
function endWrites(this: Socket): void {
  if (!this.allowHalfOpen) this.write = refuseWrite
}

function refuseWrite(this: Duplex, ...args: unknown[]): boolean {
  if (!this.writableEnded) return Reflect.apply(Duplex.prototype.write, this, args) as boolean
  const error = endedByPeer()
  const callback = args.at(-1)
  if (typeof callback === 'function') process.nextTick(callback as Listener, error)
  this.destroy(error)
  return false
}
