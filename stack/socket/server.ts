/**
 * Server: a passive open as an EventEmitter, shaped as Node's net.Server. Connections that were promoted on this node come
 * first, with what their application left behind in `socket.resumed`.
 */
import { EventEmitter } from 'node:events'
import type { BlockList } from 'node:net'
import { StackError } from '../base/errors.js'
import type { Connection } from '../tcp/connection.js'
import { DEFAULT_BACKLOG, type TcpListener } from '../tcp/listener.js'
import { type IpAddress, UNSPECIFIED } from '../wire/ip-address.js'
import { type ListenOptions, listenArguments } from './connect-arguments.js'
import type { SocketAddress } from './endpoint.js'
import {
  listenError,
  lookupError,
  serverAlreadyListening,
  serverNotRunning,
  validPort,
} from './errors.js'
import { presentAddress, resolveHost, type StackHost } from './host.js'
import { Socket } from './socket.js'

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
}

export type ConnectionListener = (socket: Socket) => void

/** What a `drop` event tells of a connection that was turned away. */
export interface DropArgument {
  readonly localAddress: string
  readonly localPort: number
  readonly localFamily: 'IPv4'
  readonly remoteAddress: string
  readonly remotePort: number
  readonly remoteFamily: 'IPv4'
}

export class Server extends EventEmitter {
  /** Connections at once, beyond which new ones are closed and `drop` is emitted. */
  maxConnections: number | undefined = undefined
  readonly #host: () => StackHost
  readonly #options: ServerOptions
  #listener: TcpListener | null = null
  #connections = 0
  #refed = true
  #holdsRef = false
  #closing = false

  constructor(
    host: () => StackHost,
    options: ServerOptions | ConnectionListener = {},
    connectionListener?: ConnectionListener,
  ) {
    super()
    this.#host = host
    this.#options = typeof options === 'function' ? {} : options
    const onConnection = typeof options === 'function' ? options : connectionListener
    if (onConnection !== undefined) this.on('connection', onConnection)
  }

  get listening(): boolean {
    return this.#listener !== null
  }

  /**
   * Listens: `([port[, host[, backlog]]][, listener])` or `(options[, listener])`. Without a host on every address of the
   * stack; port 0 takes a free one. Failures are emitted as `error`, and `listening` when it succeeds.
   */
  listen(...args: unknown[]): this {
    const [options, listener] = listenArguments(args)
    if (this.#listener !== null) throw serverAlreadyListening()
    if (listener !== undefined) this.once('listening', listener)
    const port = validPort(options.port, 'options.port')
    if (options.signal?.aborted === true) {
      process.nextTick(() => this.close())
      return this
    }
    this.#closing = false
    const error = this.#bind(options, port)
    if (error !== null) {
      process.nextTick(() => this.emit('error', error))
      return this
    }
    options.signal?.addEventListener('abort', () => this.close(), { once: true })
    process.nextTick(() => {
      if (this.#listener !== null) this.emit('listening')
    })
    return this
  }

  #bind(options: ListenOptions, port: number): Error | null {
    const host = this.#host()
    const name = options.host ?? ''
    const address = resolveHost(host, name)
    if (address === undefined) return lookupError(name)
    const shown = presentAddress(host, address)
    if (address !== UNSPECIFIED && !host.stack.nics.some((nic) => nic.addressOf(address))) {
      return listenError('EADDRNOTAVAIL', shown, port)
    }
    try {
      this.#listener = this.#open(host, address, port, options.backlog || DEFAULT_BACKLOG)
    } catch (error) {
      if (error instanceof StackError) return listenError(error.code, shown, port)
      throw error
    }
    this.#listener.context = this
    this.#hold()
    host.kick()
    return null
  }

  #open(host: StackHost, address: IpAddress, port: number, backlog: number): TcpListener {
    if (port !== 0) return host.stack.listen(address, port, backlog)
    const start = Math.floor(Math.random() * PORT_COUNT)
    for (let i = 0; i < PORT_COUNT; i++) {
      const free = FIRST_PORT + ((start + i) % PORT_COUNT)
      if (host.stack.tcp.demux.findListener(address, free) !== null) continue
      return host.stack.listen(address, free, backlog)
    }
    throw new StackError('EADDRINUSE', 'every port has a server')
  }

  /** Called by the event loop when there are connections to accept. */
  handleReady(_events: number): void {
    for (let c = this.#listener?.accept() ?? null; c !== null; ) {
      this.#accept(c)
      c = this.#listener?.accept() ?? null
    }
  }

  #accept(connection: Connection): void {
    const { maxConnections } = this
    const full = maxConnections !== undefined && this.#connections >= maxConnections
    if (full || this.#isBlocked(connection)) {
      connection.detach(this.#host().now())
      if (full) this.emit('drop', this.#describe(connection))
      return
    }
    const { pauseOnConnect, ...options } = this.#options
    const socket = new Socket(this.#host, { ...options, pauseOnCreate: pauseOnConnect }, connection)
    this.#connections++
    socket.onReleased = () => {
      this.#connections--
      this.#settle()
    }
    const events = connection.events
    connection.events = 0
    this.emit('connection', socket)
    socket.start()
    // What happened before there was a socket to hear of it.
    socket.handleReady(events)
  }

  #isBlocked(connection: Connection): boolean {
    const { blockList } = this.#options
    if (blockList === undefined) return false
    return blockList.check(presentAddress(this.#host(), connection.remoteAddress as IpAddress))
  }

  #describe(connection: Connection): DropArgument {
    const host = this.#host()
    return {
      localAddress: presentAddress(host, connection.localAddress as IpAddress),
      localPort: connection.localPort,
      localFamily: 'IPv4',
      remoteAddress: presentAddress(host, connection.remoteAddress as IpAddress),
      remotePort: connection.remotePort,
      remoteFamily: 'IPv4',
    }
  }

  /** Accepts no more. `close` is emitted when the connections it accepted have ended, too. */
  close(callback?: (error?: Error) => void): this {
    if (callback !== undefined) {
      if (this.#listener === null) this.once('close', () => callback(serverNotRunning()))
      else this.once('close', () => callback())
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

  #settle(): void {
    if (!this.#closing || this.#connections > 0 || this.#listener !== null) return
    this.#closing = false
    process.nextTick(() => this.emit('close'))
  }

  /** Where it listens; null before and after. */
  address(): SocketAddress | null {
    const listener = this.#listener
    if (listener === null) return null
    const address = presentAddress(this.#host(), listener.address as IpAddress)
    return { address, family: 'IPv4', port: listener.port }
  }

  getConnections(callback: (error: Error | null, count: number) => void): this {
    process.nextTick(callback, null, this.#connections)
    return this
  }

  /** Keeps the process alive while it listens, as it does from the start. */
  ref(): this {
    this.#refed = true
    if (this.#listener !== null) this.#hold()
    return this
  }

  /** Lets the process end although it listens. */
  unref(): this {
    this.#refed = false
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

  /** Closes it, and waits until it is closed. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#listener === null) return
    await new Promise<void>((resolve, reject) => {
      this.close((error) => (error === undefined ? resolve() : reject(error)))
    })
  }
}
