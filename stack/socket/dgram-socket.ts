/**
 * DgramSocket: a UDP socket for applications, shaped as Node's dgram.Socket: to bind, to send, to hear messages and errors.
 */
import { Buffer } from 'node:buffer'
import { isIPv4, isIPv6 } from 'node:net'
import { StackError } from '../base/errors.js'
import {
  DEFAULT_UDP_BUFFER,
  isOfFamily,
  UdpEvent,
  type UdpFamily,
  type UdpSocket,
} from '../net/udp.js'
import { type IpAddress, UNSPECIFIED } from '../wire/ip-address.js'
import type { LookupCallback } from './connect-arguments.js'
import {
  alreadyConnected,
  type BindOptions,
  bindArguments,
  peerArguments,
  type SendCallback,
  type SendRequest,
  sendArguments,
} from './dgram-arguments.js'
import { DgramSettings, DgramState } from './dgram-settings.js'
import type { AddressFamily, SocketAddress } from './endpoint.js'
import { coded, datagramError, errnoError, lookupError } from './errors.js'
import { presentAddress, resolveHost, type StackHost } from './host.js'

/** Who sent a datagram, and how many octets of data it has. */
export interface RemoteInfo {
  readonly address: string
  readonly family: AddressFamily
  readonly port: number
  readonly size: number
}

export type MessageListener = (msg: Buffer, rinfo: RemoteInfo) => void

export interface DgramOptions {
  readonly type: 'udp4' | 'udp6'
  /** Of `udp6`: datagrams of IPv4 are left to others. Otherwise they come and go with addresses like `::ffff:10.0.0.1`. Default false. */
  readonly ipv6Only?: boolean | undefined
  /** Sockets that all say so may share a port. */
  readonly reuseAddr?: boolean | undefined
  /** Octets that may wait to be read. */
  readonly recvBufferSize?: number | undefined
  /** Octets that may wait to be sent. */
  readonly sendBufferSize?: number | undefined
  readonly signal?: AbortSignal | undefined
  /** Finds the address of a name; this stack has no resolver of its own. `dns.lookup` fits. */
  readonly lookup?:
    | ((hostname: string, options: { family: 4 | 6 }, callback: LookupCallback) => void)
    | undefined
}

// How IPv6 writes an address of IPv4.
const MAPPED = '::ffff:'

type Resolved = (address: IpAddress) => void

/** A UDP socket. Events: `listening`, `message`, `connect`, `error`, `close`. */
export class DgramSocket extends DgramSettings {
  readonly type: 'udp4' | 'udp6'
  readonly #host: () => StackHost
  readonly #options: DgramOptions
  #connecting = false
  // What was asked for before the socket was bound.
  #waiting: (() => void)[] = []
  #refed = true
  #holdsRef = false

  constructor(host: () => StackHost, options: DgramOptions, listener?: MessageListener) {
    super()
    this.#host = host
    this.#options = options
    this.type = options.type
    if (listener !== undefined) this.on('message', listener)
    const { signal } = options
    if (signal === undefined) return
    const abort = (): void => {
      if (this.state !== DgramState.CLOSED) this.close()
    }
    if (signal.aborted) process.nextTick(abort)
    else signal.addEventListener('abort', abort, { once: true })
  }

  /**
   * Binds it: `([port[, address]][, listener])` or `(options[, listener])`. Port 0 takes a free one; without an address it is
   * every address of the stack. `listening` is emitted when it succeeds, else `error`.
   */
  bind(...args: unknown[]): this {
    this.checkRunning()
    if (this.state !== DgramState.UNBOUND) {
      throw coded(new Error('Socket is already bound'), 'ERR_SOCKET_ALREADY_BOUND')
    }
    const [options, listener] = bindArguments(args)
    if (listener !== undefined) {
      const forget = (): void => void this.removeListener('listening', listener)
      this.once('listening', listener)
      this.once('error', forget)
      this.once('listening', () => this.removeListener('error', forget))
    }
    this.#bind(options)
    return this
  }

  #bind(options: BindOptions): void {
    this.state = DgramState.BINDING
    const fail = (error: Error): void => {
      this.state = DgramState.UNBOUND
      this.#waiting = []
      this.emit('error', error)
    }
    // Who binds to every address means this stack's, whatever its names make of it as a peer.
    const name = options.address === this.#everywhere ? '' : (options.address ?? '')
    this.#resolve(name, fail, (address) => {
      const host = this.#host()
      const port = options.port ?? 0
      const shown = presentAddress(host, address)
      if (address !== UNSPECIFIED && !host.stack.nics.some((nic) => nic.addressOf(address))) {
        fail(datagramError('bind', 'EADDRNOTAVAIL', shown, port))
        return
      }
      try {
        const { reuseAddr } = this.#options
        this.socket = host.stack.udp.bind(address, port, reuseAddr === true, this.#family)
      } catch (error) {
        if (!(error instanceof StackError)) throw error
        fail(datagramError('bind', error.code, shown, port))
        return
      }
      this.#start(this.socket)
    })
  }

  #start(socket: UdpSocket): void {
    const { recvBufferSize, sendBufferSize } = this.#options
    socket.context = this
    socket.receiveLimit = recvBufferSize ?? DEFAULT_UDP_BUFFER
    socket.sendLimit = sendBufferSize ?? DEFAULT_UDP_BUFFER
    this.state = DgramState.BOUND
    this.#hold()
    this.emit('listening')
    for (const act of this.#waiting.splice(0)) act()
  }

  /** Sends a datagram: `(msg[, offset, length][, port][, address][, callback])`. An unbound socket is bound first. */
  send(...args: unknown[]): void {
    this.checkRunning()
    const request = sendArguments(args, this.socket?.connected === true)
    this.#whenBound(() => this.#send(request))
  }

  #send(request: SendRequest): void {
    const { callback } = request
    const fail = (error: Error): void => this.#tell(error, callback)
    const socket = this.socket
    if (socket === null) return
    if (request.port === 0) {
      if (socket.connected) {
        this.#transmit(socket, request, socket.remoteAddress, socket.remotePort)
      } else fail(notConnected())
      return
    }
    this.#resolve(request.address ?? this.#itself, fail, (address) => {
      this.#transmit(socket, request, address, request.port)
    })
  }

  #transmit(socket: UdpSocket, request: SendRequest, address: IpAddress, port: number): void {
    const { data, callback } = request
    if (socket.closed) return
    const host = this.#host()
    if (!isOfFamily(address, this.#family)) {
      this.#tell(datagramError('send', 'EINVAL', presentAddress(host, address), port), callback)
      return
    }
    try {
      host.stack.sendDatagram(socket, data, address, port)
    } catch (error) {
      if (!(error instanceof StackError)) throw error
      this.#tell(datagramError('send', error.code, presentAddress(host, address), port), callback)
      return
    }
    host.kick()
    if (callback !== undefined) process.nextTick(callback, null, data.length)
  }

  #tell(error: Error, callback: SendCallback | undefined): void {
    if (callback !== undefined) process.nextTick(callback, error)
    else process.nextTick(() => this.emit('error', error))
  }

  /** From now on datagrams go to this peer, and come from it only: `(port[, address][, callback])`. */
  connect(...args: unknown[]): void {
    this.checkRunning()
    const [port, name, callback] = peerArguments(args)
    if (this.#connecting || this.socket?.connected === true) throw alreadyConnected()
    this.#connecting = true
    const fail = (error: Error): void => {
      this.#connecting = false
      if (callback !== undefined) process.nextTick(callback, error)
      else process.nextTick(() => this.emit('error', error))
    }
    this.#whenBound(() => {
      this.#resolve(name ?? this.#itself, fail, (address) => {
        if (!this.#connecting || this.socket === null) return
        if (!isOfFamily(address, this.#family)) {
          fail(datagramError('connect', 'EINVAL', presentAddress(this.#host(), address), port))
          return
        }
        this.#connecting = false
        this.socket.remoteAddress = address
        this.socket.remotePort = port
        if (callback !== undefined) this.once('connect', callback)
        process.nextTick(() => this.emit('connect'))
      })
    })
  }

  disconnect(): void {
    this.checkRunning()
    if (this.socket?.connected !== true) throw notConnected()
    this.socket.remoteAddress = UNSPECIFIED
    this.socket.remotePort = 0
  }

  /** Called by the event loop when there are datagrams or an error. */
  handleReady(events: number): void {
    const socket = this.socket
    if (socket === null) return
    if ((events & UdpEvent.ERROR) !== 0 && socket.error !== '') {
      const code = socket.error
      socket.error = ''
      this.emit('error', errnoError(code, 'recvmsg'))
    }
    // A listener may close the socket in the middle.
    while (!socket.closed) {
      const datagram = socket.receive()
      if (datagram === null) return
      const { data, port } = datagram
      const from = this.#present(datagram.address, port)
      const msg = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
      this.emit('message', msg, { ...from, size: data.length })
    }
  }

  /** Where it is bound. Throws EBADF before. */
  address(): SocketAddress {
    const socket = this.bound('getsockname')
    return this.#present(socket.localAddress, socket.localPort)
  }

  /** The peer it is connected to. */
  remoteAddress(): SocketAddress {
    this.checkRunning()
    const socket = this.socket
    if (socket?.connected !== true) throw notConnected()
    return this.#present(socket.remoteAddress, socket.remotePort)
  }

  /** Sends what waits, hears nothing more. */
  close(callback?: () => void): this {
    if (callback !== undefined) this.on('close', callback)
    this.checkRunning()
    this.state = DgramState.CLOSED
    this.#waiting = []
    if (this.socket !== null) this.#host().stack.udp.close(this.socket)
    this.#letGo()
    process.nextTick(() => this.emit('close'))
    return this
  }

  /** Keeps the process alive while it is bound, as it does from the start. */
  ref(): this {
    this.#refed = true
    if (this.state === DgramState.BOUND) this.#hold()
    return this
  }

  /** Lets the process end although it is bound. */
  unref(): this {
    this.#refed = false
    this.#letGo()
    return this
  }

  /** Closes it, and waits until it is closed. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.state === DgramState.CLOSED) return
    await new Promise<void>((resolve) => this.close(resolve))
  }

  get #everywhere(): string {
    return this.type === 'udp6' ? '::' : '0.0.0.0'
  }

  // The peer of who names none.
  get #itself(): string {
    return this.type === 'udp6' ? '::1' : '127.0.0.1'
  }

  get #family(): UdpFamily {
    if (this.type === 'udp4') return 'IPv4'
    return this.#options.ipv6Only === true ? 'IPv6' : 'both'
  }

  // As an application sees it that has asked for one family.
  #present(address: IpAddress, port: number): SocketAddress {
    if (address === UNSPECIFIED) {
      return { address: this.#everywhere, family: this.type === 'udp6' ? 'IPv6' : 'IPv4', port }
    }
    const shown = presentAddress(this.#host(), address)
    if (this.type === 'udp4') return { address: shown, family: 'IPv4', port }
    return { address: isIPv6(shown) ? shown : `${MAPPED}${shown}`, family: 'IPv6', port }
  }

  #whenBound(act: () => void): void {
    if (this.state === DgramState.BOUND) {
      act()
      return
    }
    this.#waiting.push(act)
    if (this.state === DgramState.UNBOUND) this.#bind({})
  }

  // Finds the address of a name; what comes of it comes later, as an application expects it.
  #resolve(name: string, fail: (error: Error) => void, then: Resolved): void {
    const open = (act: () => void): void => {
      if (this.state !== DgramState.CLOSED) act()
    }
    const plain = this.#family === 'both' ? unmapped(name) : name
    const address = resolveHost(this.#host(), plain)
    if (address !== undefined) {
      if (this.state === DgramState.BOUND) then(address)
      else process.nextTick(() => open(() => then(address)))
      return
    }
    const { lookup } = this.#options
    if (lookup === undefined) {
      process.nextTick(() => open(() => fail(lookupError(name))))
      return
    }
    lookup(name, { family: this.type === 'udp6' ? 6 : 4 }, (error, found) => {
      const resolved = error === null ? resolveHost(this.#host(), String(found)) : undefined
      if (resolved !== undefined) open(() => then(resolved))
      else open(() => fail(error ?? lookupError(name)))
    })
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
}

// The address of IPv4 that an address of IPv6 stands for (RFC 4291 §2.5.5.2).
function unmapped(name: string): string {
  const rest = name.toLowerCase().startsWith(MAPPED) ? name.slice(MAPPED.length) : ''
  return isIPv4(rest) ? rest : name
}

function notConnected(): Error {
  return coded(new Error('Not connected'), 'ERR_SOCKET_DGRAM_NOT_CONNECTED')
}
