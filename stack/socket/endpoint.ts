/**
 * Endpoint: what a socket is before it reads or writes: the two ends of its connection, its state, its hold on the process.
 */
import { Duplex, type DuplexOptions } from 'node:stream'
import type { Connection } from '../tcp/connection.js'
import { TcpState } from '../tcp/state.js'
import { presentAddress, type StackHost } from './host.js'

export interface SocketAddress {
  readonly address: string
  readonly family: 'IPv4'
  readonly port: number
}

/** The part of a socket that says between whom it is, and whether it keeps the process alive. */
export abstract class Endpoint extends Duplex {
  /** True from `connect` until the handshake is complete. */
  connecting = false
  protected readonly host: () => StackHost
  protected connection: Connection | null = null
  #refed = true
  #holdsRef = false

  constructor(host: () => StackHost, options: DuplexOptions) {
    super(options)
    this.host = host
  }

  /** True until the handshake is complete. */
  get pending(): boolean {
    return this.connection === null || this.connecting
  }

  get readyState(): 'opening' | 'open' | 'readOnly' | 'writeOnly' | 'closed' {
    if (this.connecting) return 'opening'
    if (this.pending || this.destroyed) return 'closed'
    if (this.readable) return this.writable ? 'open' : 'readOnly'
    return this.writable ? 'writeOnly' : 'closed'
  }

  address(): SocketAddress | Record<string, never> {
    const { localAddress, localPort } = this
    if (localAddress === undefined || localPort === undefined) return {}
    return { address: localAddress, family: 'IPv4', port: localPort }
  }

  get localAddress(): string | undefined {
    return this.#present(this.connection?.localAddress)
  }

  get localPort(): number | undefined {
    return this.connection?.localPort
  }

  get localFamily(): 'IPv4' | undefined {
    return this.connection === null ? undefined : 'IPv4'
  }

  get remoteAddress(): string | undefined {
    return this.pending ? undefined : this.#present(this.connection?.remoteAddress)
  }

  get remotePort(): number | undefined {
    return this.pending ? undefined : this.connection?.remotePort
  }

  get remoteFamily(): 'IPv4' | undefined {
    return this.pending ? undefined : 'IPv4'
  }

  #present(address: number | undefined): string | undefined {
    return address === undefined ? undefined : presentAddress(this.host(), address as never)
  }

  /** Keeps the process alive while the socket is open, as it does from the start. */
  ref(): this {
    this.#refed = true
    if (this.connection !== null || this.connecting) this.hold()
    return this
  }

  /** Lets the process end although the socket is open. */
  unref(): this {
    this.#refed = false
    this.letGo()
    return this
  }

  protected hold(): void {
    if (this.#holdsRef || !this.#refed || this.destroyed) return
    this.#holdsRef = true
    this.host().ref?.()
  }

  protected letGo(): void {
    if (!this.#holdsRef) return
    this.#holdsRef = false
    this.host().unref?.()
  }
}

// Taken out of the stack while alive: another node owns it, and its buffers are no longer ours to change.
export function isMoved(connection: Connection): boolean {
  return connection.released && !connection.closed && connection.state !== TcpState.TIME_WAIT
}
