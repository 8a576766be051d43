/**
 * Endpoint: what a socket is before it reads or writes: the two ends of its connection, its state, its idle timer and its hold on
 * the process.
 */
import { isIPv6 } from 'node:net'
import type { Duplex, DuplexOptions } from 'node:stream'
import type { Connection } from '../tcp/connection.js'
import { TcpState } from '../tcp/state.js'
import { checkFunction, validDuration } from './argument-errors.js'
import type { Listener } from './connect-arguments.js'
import { presentAddress, type StackHost } from './host.js'
import { is, Mark, mark, SocketMarks } from './socket-marks.js'

export type AddressFamily = 'IPv4' | 'IPv6'

export interface SocketAddress {
  readonly address: string
  readonly family: AddressFamily
  readonly port: number
}

/** The part of a socket that says between whom it is, and whether it keeps the process alive. */
export abstract class Endpoint extends SocketMarks {
  /** True from `connect` until the handshake is complete. */
  connecting = false
  /** Node's own code asks here for the kernel's socket: there is none. */
  declare _handle: unknown
  /** Milliseconds as given to `setTimeout`. */
  declare timeout: number | undefined
  protected readonly host: () => StackHost
  protected connection: Connection | null = null
  #peer: SocketAddress | null = null
  #timer: NodeJS.Timeout | null = null

  // What hardly any socket has is on the prototype until then.
  static {
    Endpoint.prototype._handle = null
    Endpoint.prototype.timeout = undefined
  }

  /** `target`: an object that becomes this socket, instead of a new one. */
  constructor(host: () => StackHost, options: DuplexOptions, target?: Duplex) {
    super(options, target)
    this.host = host
  }

  /** True until the handshake is complete, and when the socket is closed. */
  get pending(): boolean {
    return this.connection === null || this.connecting || this.destroyed
  }

  get readyState(): 'opening' | 'open' | 'readOnly' | 'writeOnly' | 'closed' {
    if (this.connecting) return 'opening'
    if (this.readable) return this.writable ? 'open' : 'readOnly'
    return this.writable ? 'writeOnly' : 'closed'
  }

  address(): SocketAddress | Record<string, never> {
    return this.#local() ?? {}
  }

  /** For Node's own code, and for programs as old as this name. */
  get _connecting(): boolean {
    return this.connecting
  }

  _getsockname(): SocketAddress | Record<string, never> {
    return this.#local() ?? {}
  }

  _getpeername(): SocketAddress | Record<string, never> {
    return this.#remote() ?? {}
  }

  get localAddress(): string | undefined {
    return this.#local()?.address
  }

  get localPort(): number | undefined {
    return this.#local()?.port
  }

  get localFamily(): AddressFamily | undefined {
    return this.#local()?.family
  }

  get remoteAddress(): string | undefined {
    return this.#remote()?.address
  }

  get remotePort(): number | undefined {
    return this.#remote()?.port
  }

  get remoteFamily(): AddressFamily | undefined {
    return this.#remote()?.family
  }

  #local(): SocketAddress | undefined {
    const { connection } = this
    if (connection === null || this.destroyed) return undefined
    return this.#present(connection.localAddress, connection.localPort)
  }

  // Whoever has asked while the connection was there is told afterwards, too.
  #remote(): SocketAddress | undefined {
    const { connection } = this
    if (connection === null || this.destroyed || this.connecting) return this.#peer ?? undefined
    this.#peer ??= this.#present(connection.remoteAddress, connection.remotePort)
    return this.#peer
  }

  #present(address: number, port: number): SocketAddress {
    const shown = mapAddress(
      presentAddress(this.host(), address as never),
      is(this, Mark.MAPS_ADDRESSES),
    )
    return { address: shown, family: familyOf(shown), port }
  }

  /** Forgets the last connection, before another one. */
  protected forget(): void {
    this.connection = null
    this.#peer = null
  }

  /** For Node's own code: traffic of a socket that wraps this one. */
  _unrefTimer(): void {
    this.refresh()
  }

  /** Emits `timeout` after so many milliseconds without traffic; 0 ends that. */
  setTimeout(milliseconds: number, listener?: Listener): this {
    if (this.destroyed) return this
    this.timeout = milliseconds
    const delay = validDuration(milliseconds, 'msecs')
    this.stopTimer()
    if (listener !== undefined) checkFunction(listener, 'callback')
    if (delay === 0) {
      if (listener !== undefined) this.removeListener('timeout', listener)
      return this
    }
    this.#timer = setTimeout(() => this._onTimeout(), delay).unref()
    if (listener !== undefined) this.once('timeout', listener)
    return this
  }

  _onTimeout(): void {
    this.emit('timeout')
  }

  /** Traffic: the idle time begins anew. */
  protected refresh(): void {
    this.#timer?.refresh()
  }

  protected stopTimer(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
  }

  /** Keeps the process alive while the socket has something under way, as it does from the start. */
  ref(): this {
    mark(this, Mark.UNREFED, false)
    this.#hold()
    return this
  }

  /** Lets the process end whatever the socket has under way. */
  unref(): this {
    mark(this, Mark.UNREFED, true)
    this.#hold()
    return this
  }

  /** True while the socket connects, reads, or has written what is not with the stack yet: then it keeps the process alive. */
  protected set active(active: boolean) {
    mark(this, Mark.ACTIVE, active)
    this.#hold()
  }

  #hold(): void {
    const wanted = is(this, Mark.ACTIVE) && !is(this, Mark.UNREFED)
    if (wanted === is(this, Mark.HOLDS_REF)) return
    mark(this, Mark.HOLDS_REF, wanted)
    if (wanted) this.host().ref?.()
    else this.host().unref?.()
  }
}

// Taken out of the stack while alive: another node owns it, and its buffers are no longer ours to change.
export function isMoved(connection: Connection): boolean {
  return connection.released && !connection.closed && connection.state !== TcpState.TIME_WAIT
}

/** `address` as a socket of IPv6 has it, when `mapped`. */
export function mapAddress(address: string, mapped: boolean): string {
  return mapped && !isIPv6(address) ? `::ffff:${address}` : address
}

export function familyOf(address: string): AddressFamily {
  return isIPv6(address) ? 'IPv6' : 'IPv4'
}
