/**
 * Server: a passive open as an EventEmitter, shaped as Node's net.Server. Connections that were promoted on this node come
 * first, with what their application left behind in `socket.resumed`.
 */
import { captureRejectionSymbol, type EventEmitter } from 'node:events'
import type { BlockList, Server as KernelServer } from 'node:net'
import { getDefaultHighWaterMark } from 'node:stream'
import { StackError } from '../base/errors.js'
import type { Connection } from '../tcp/connection.js'
import { DEFAULT_BACKLOG, type TcpListener } from '../tcp/listener.js'
import { type IpAddress, UNSPECIFIED } from '../wire/ip-address.js'
import { checkSignal, checkType, invalidArgument, validPort } from './argument-errors.js'
import { type ListenOptions, listenArguments } from './connect-arguments.js'
import { type AddressFamily, familyOf, mapAddress, type SocketAddress } from './endpoint.js'
import { listenError, lookupError, serverAlreadyListening, serverNotRunning } from './errors.js'
import { type ListenAddress, presentAddress, resolveListen, type StackHost } from './host.js'
import { listenInKernel } from './kernel.js'
import type { OnRead } from './on-read.js'
import { EmitterOrigin } from './origin.js'
import type { Socket, SocketOptions } from './socket.js'
import { Mark, mark } from './socket-marks.js'

// RFC 6056: the range of ports given to who asks for none in particular.
const FIRST_PORT = 32_768
const PORT_COUNT = 28_232

export interface ServerOptions {
  readonly allowHalfOpen?: boolean | undefined
  /** Sockets are handed over paused, and nothing is read from them yet. */
  readonly pauseOnConnect?: boolean | undefined
  readonly noDelay?: boolean | undefined
  readonly keepAlive?: boolean | undefined
  readonly keepAliveInitialDelay?: number | undefined
  readonly highWaterMark?: number | undefined
  readonly blockList?: BlockList | undefined
  /** Input of each socket is given in a buffer of the application's, as with the option of a client's socket. */
  readonly onread?: OnRead | undefined
}

export type ConnectionListener = (socket: Socket) => void

/** What a `drop` event tells of a connection that was turned away. */
export interface DropArgument {
  readonly localAddress: string
  readonly localPort: number
  readonly localFamily: AddressFamily
  readonly remoteAddress: string
  readonly remotePort: number
  readonly remoteFamily: AddressFamily
}

/** Makes the socket of a connection that a server has accepted. */
export type SocketMaker = (options: SocketOptions, connection: Connection) => Socket

// Up to Node 20 a `maxConnections` of 0 sets no limit.
const ZERO_IS_A_LIMIT = Number.parseInt(process.versions.node, 10) > 20

export class Server extends EmitterOrigin {
  /** Connections at once, beyond which new ones are closed and `drop` is emitted. */
  maxConnections: number | undefined = undefined
  /** Connections that have not ended. */
  _connections = 0
  /** Node's own code asks here for the kernel's socket: there is none. */
  _handle: unknown = null
  /** What sockets are made with; may be changed. */
  allowHalfOpen: boolean
  pauseOnConnect: boolean
  noDelay: boolean
  keepAlive: boolean
  keepAliveInitialDelay: number
  highWaterMark: number
  /** Node's own code knows a server by this: family, address and port as they were asked for. */
  _connectionKey: string | undefined = undefined
  readonly #host: () => StackHost
  readonly #makeSocket: SocketMaker
  readonly #options: ServerOptions
  #listener: TcpListener | null = null
  #at: ListenAddress | null = null
  #kernel: KernelServer | null = null
  #refed = true
  #holdsRef = false
  #closing = false

  /** `target`: an object that becomes this server, instead of a new one. */
  constructor(
    host: () => StackHost,
    makeSocket: SocketMaker,
    options?: ServerOptions | ConnectionListener | null,
    connectionListener?: ConnectionListener,
    target?: EventEmitter,
  ) {
    super(target)
    this.#host = host
    this.#makeSocket = makeSocket
    this.#options = serverOptions(options)
    this.allowHalfOpen = Boolean(this.#options.allowHalfOpen)
    this.pauseOnConnect = Boolean(this.#options.pauseOnConnect)
    this.noDelay = Boolean(this.#options.noDelay)
    this.keepAlive = Boolean(this.#options.keepAlive)
    this.keepAliveInitialDelay = Math.trunc((this.#options.keepAliveInitialDelay ?? 0) / 1000)
    this.highWaterMark = this.#options.highWaterMark ?? getDefaultHighWaterMark(false)
    const onConnection = typeof options === 'function' ? options : connectionListener
    if (typeof onConnection === 'function') this.on('connection', onConnection)
  }

  get listening(): boolean {
    return this.#listener !== null || this.#kernel?.listening === true
  }

  /**
   * Listens: `([port[, host[, backlog]]][, listener])` or `(options[, listener])`. Without a host on every address of the
   * stack; port 0 takes a free one. On a standby it listens all the same, and gets its connections with the binding; with
   * `exclusive` and the binding's address it fails with EADDRINUSE while another node owns that (P10). With a `path` or an `fd` it is the kernel that listens. Failures are emitted as `error`, and `listening` when it succeeds.
   */
  listen(...args: unknown[]): this {
    if (this.#listener !== null || this.#kernel !== null) throw serverAlreadyListening()
    const [options, listener] = listenArguments(args)
    const { signal } = options
    if (signal !== undefined) checkSignal(signal, 'options.signal')
    if (listener !== undefined) this.once('listening', listener)
    if (signal?.aborted === true) process.nextTick(() => this.close())
    else if (signal !== undefined) this.#closeOn(signal)
    if (options.path !== undefined || options.fd !== undefined) {
      this.#kernel = listenInKernel(this, this.#options, options)
      this.#kernel.once('error', () => {
        this.#kernel = null
      })
      return this
    }
    const error = this.#bind(options, validPort(options.port, 'options.port'))
    process.nextTick(() => {
      if (error !== null) this.emit('error', error)
      else if (this.#listener !== null) this.emit('listening')
    })
    return this
  }

  #closeOn(signal: AbortSignal): void {
    const onAbort = (): void => {
      this.close()
    }
    signal.addEventListener('abort', onAbort, { once: true })
    this.once('close', () => signal.removeEventListener('abort', onAbort))
  }

  #bind(options: ListenOptions, port: number): Error | null {
    const host = this.#host()
    const name = options.host ?? ''
    this.#at = resolveListen(host, name, options.ipv6Only === true) ?? null
    if (this.#at === null) return lookupError(name)
    const { address, shown } = this.#at
    this._connectionKey = `${familyOf(shown) === 'IPv6' ? 6 : 4}:${shown}:${port}`
    if (address !== UNSPECIFIED && !host.stack.nics.some((nic) => nic.addressOf(address))) {
      return listenError('EADDRNOTAVAIL', shown, port)
    }
    try {
      this.#listener = this.#open(host, address, port, options)
    } catch (error) {
      if (error instanceof StackError) return listenError(error.code, shown, port)
      throw error
    }
    this.#listener.context = this
    this.#hold()
    host.kick()
    return null
  }

  // Throws EADDRINUSE.
  #open(host: StackHost, address: IpAddress, port: number, options: ListenOptions): TcpListener {
    const { exclusive } = options
    const backlog = options.backlog || DEFAULT_BACKLOG
    // Every address at once is nobody's: such a listener is attached to the virtual one with the binding (P9).
    const isForeign = (at: number): boolean =>
      Boolean(exclusive) && address !== UNSPECIFIED && host.isOwnedElsewhere?.(address, at) === true
    if (port !== 0) {
      if (isForeign(port)) throw new StackError('EADDRINUSE', 'another node owns the binding')
      return host.stack.listen(address, port, backlog)
    }
    const start = Math.floor(Math.random() * PORT_COUNT)
    for (let i = 0; i < PORT_COUNT; i++) {
      const free = FIRST_PORT + ((start + i) % PORT_COUNT)
      if (host.stack.tcp.demux.findListener(address, free) !== null || isForeign(free)) continue
      return host.stack.listen(address, free, backlog)
    }
    throw new StackError('EADDRINUSE', 'every port has a server')
  }

  /** Called by the event loop for each connection that there is to accept. */
  handleReady(_events: number): void {
    const connection = this.#listener?.accept() ?? null
    if (connection !== null) this.#accept(connection)
  }

  #accept(connection: Connection): void {
    const { maxConnections } = this
    const limited = ZERO_IS_A_LIMIT ? typeof maxConnections === 'number' : Boolean(maxConnections)
    const full = limited && this._connections >= (maxConnections as number)
    if (full || this.#isBlocked(connection)) {
      const dropped = this.#describe(connection)
      connection.detach(this.#host().now())
      if (full) this.emit('drop', dropped)
      return
    }
    const socket = this.#makeSocket(this.#socketOptions(), connection)
    this._connections++
    socket.server = this
    socket._server = this
    mark(socket, Mark.MAPS_ADDRESSES, this.#at?.mapped === true)
    const events = connection.events
    connection.events = 0
    this.emit('connection', socket)
    // Input comes behind this tick, when listeners are there to hear of it, and so does what happened before.
    process.nextTick(() => socket.begin(events, !this.pauseOnConnect))
  }

  #socketOptions(): SocketOptions {
    const { allowHalfOpen, pauseOnConnect } = this
    const { noDelay, keepAlive, keepAliveInitialDelay, highWaterMark, onread } = this.#options
    return {
      onread,
      allowHalfOpen,
      pauseOnCreate: pauseOnConnect,
      noDelay,
      keepAlive,
      keepAliveInitialDelay,
      highWaterMark,
    }
  }

  #isBlocked(connection: Connection): boolean {
    const { blockList } = this.#options
    if (blockList === undefined) return false
    return blockList.check(presentAddress(this.#host(), connection.remoteAddress as IpAddress))
  }

  #describe(connection: Connection): DropArgument {
    const host = this.#host()
    const mapped = this.#at?.mapped === true
    const show = (address: number) => mapAddress(presentAddress(host, address as IpAddress), mapped)
    const localAddress = show(connection.localAddress)
    const remoteAddress = show(connection.remoteAddress)
    return {
      localAddress,
      localPort: connection.localPort,
      localFamily: familyOf(localAddress),
      remoteAddress,
      remotePort: connection.remotePort,
      remoteFamily: familyOf(remoteAddress),
    }
  }

  /** Accepts no more. `close` is emitted when the connections it accepted have ended, too. */
  close(callback?: (error?: Error) => void): this {
    if (typeof callback === 'function') {
      if (!this.listening) this.once('close', () => callback(serverNotRunning()))
      else this.once('close', callback)
    }
    if (this.#kernel !== null) {
      this.#kernel.close()
      this.#kernel = null
      return this
    }
    if (this.#listener !== null) {
      this.#host().stack.closeListener(this.#listener)
      this.#listener = null
      this.#letGo()
      this.#host().kick()
    }
    this.#closing = true
    this.#settle()
    return this
  }

  /** For sockets: one of its connections has ended. */
  _emitCloseIfDrained(): void {
    this.#settle()
  }

  #settle(): void {
    if (!this.#closing || this._connections > 0 || this.#listener !== null) return
    this.#closing = false
    process.nextTick(() => this.emit('close'))
  }

  /** Where it listens; null before and after. With a path of the kernel's: that path, a string, as with Node. */
  address(): SocketAddress | null {
    if (this.#kernel !== null) return this.#kernel.address() as SocketAddress | null
    const listener = this.#listener
    if (listener === null) return null
    const address = this.#at?.shown ?? presentAddress(this.#host(), listener.address as IpAddress)
    return { address, family: familyOf(address), port: listener.port }
  }

  getConnections(callback: (error: Error | null, count: number) => void): this {
    if (this.#kernel !== null) this.#kernel.getConnections(callback)
    else process.nextTick(callback, null, this._connections)
    return this
  }

  /** Keeps the process alive while it listens, as it does from the start. */
  ref(): this {
    this.#refed = true
    this.#kernel?.ref()
    if (this.#listener !== null) this.#hold()
    return this
  }

  /** Lets the process end although it listens. */
  unref(): this {
    this.#refed = false
    this.#kernel?.unref()
    this.#letGo()
    return this
  }

  #hold(): void {
    if (this.#holdsRef || !this.#refed) return
    this.#holdsRef = true
    this.#host().ref?.()
  }

  #letGo(): void {
    if (!this.#holdsRef) return
    this.#holdsRef = false
    this.#host().unref?.()
  }

  /** A promise that a listener returned was rejected. */
  override [captureRejectionSymbol](error: Error, event: string, socket?: Socket): void {
    if (event === 'connection') socket?.destroy(error)
    else this.emit('error', error)
  }

  /** Closes it, and waits until it is closed. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.listening) return
    await new Promise<void>((resolve, reject) => {
      this.close((error) => (error === undefined ? resolve() : reject(error)))
    })
  }
}

function serverOptions(options: unknown): ServerOptions {
  if (typeof options === 'function' || options === undefined || options === null) return {}
  if (typeof options !== 'object') throw invalidArgument('options', 'of type object', options)
  const { keepAliveInitialDelay } = options as ServerOptions
  if (keepAliveInitialDelay !== undefined) {
    checkType(keepAliveInitialDelay, 'number', 'options.keepAliveInitialDelay')
  }
  return { ...options }
}
