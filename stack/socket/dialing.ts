/**
 * DialingSocket: a socket that opens connections, one after the other if the application wants that.
 */
import type { Connection } from '../tcp/connection.js'
import { checkType, invalidValue, outOfRange } from './argument-errors.js'
import { type ConnectOptions, connectArguments, type Listener } from './connect-arguments.js'
import { Dial, type Dialer } from './dial.js'
import { Endpoint, isMoved } from './endpoint.js'
import { connectError } from './errors.js'
import { is, Mark, mark } from './socket-marks.js'

/** The part of a socket that gets it a connection. */
export abstract class DialingSocket extends Endpoint {
  /** The name that was connected to; Node's own code looks here. */
  declare _host: string | null
  /** Of the peer's silence before it is probed; 0: as long as the stack waits by default. */
  protected keepAliveDelayMs = 0
  /** The TOS octet of what is sent, without the ECN field. */
  protected typeOfService = 0
  protected dial: Dial | null = null

  static {
    DialingSocket.prototype._host = null
  }

  /** A destroyed socket is to connect again: nothing of its last connection stays. */
  protected abstract revive(): void
  /** What keeps the process alive may have changed. */
  protected abstract keepAwake(): void

  /**
   * Opens a connection: `(port[, host][, listener])` or `(options[, listener])`. Failures are emitted as `error` with the
   * codes of net. A socket that is closed can connect again.
   */
  connect(...args: unknown[]): this {
    const [options, listener] = connectArguments(args)
    if (options.path) throw invalidValue('options.path', options.path, 'needs net.connect')
    if (this.destroyed) this.revive()
    if (this.connecting || this.connection !== null) return this.#connectAgain(options, listener)
    const dial = new Dial(this.#dialer(), this.host(), options)
    if (listener !== undefined) this.once('connect', listener)
    if (options.noDelay !== undefined) mark(this, Mark.NO_DELAY, options.noDelay)
    this.keepAsOptions(options)
    this.dial = dial
    this._host = dial.name
    this.refresh()
    this.connecting = true
    this.keepAwake()
    try {
      dial.start()
    } catch (error) {
      // Nothing will come of it that the process should wait for.
      this.active = false
      throw error
    }
    return this
  }

  #connectAgain(options: ConnectOptions, listener: Listener | undefined): this {
    if (listener !== undefined) this.once('connect', listener)
    const code = this.connecting ? 'EALREADY' : 'EISCONN'
    const local = `${this.localAddress}:${this.localPort}`
    this.destroy(connectError(code, options.host ?? 'localhost', Number(options.port), local))
    return this
  }

  #dialer(): Dialer {
    const isConnecting = () => this.connecting
    return {
      get connecting() {
        return isConnecting()
      },
      emit: (event: string, ...args: unknown[]) => this.emit(event, ...args),
      destroy: (error: Error) => this.destroy(error),
      take: (connection: Connection) => this.adopt(connection),
      abandon: () => this.#abandon(),
      refresh: () => this.refresh(),
      keepAwake: () => this.keepAwake(),
    }
  }

  /** Turns Nagle's algorithm off, or on again. */
  setNoDelay(noDelay = true): this {
    mark(this, Mark.NO_DELAY, noDelay)
    if (this.connection === null || isMoved(this.connection)) return this
    this.connection.setNoDelay(noDelay)
    this.host().kick()
    return this
  }

  /** Probes the peer when the connection has been idle for `initialDelay` milliseconds (default: two hours), or no more. */
  setKeepAlive(enable = false, initialDelay = 0): this {
    mark(this, Mark.KEEP_ALIVE, enable === true)
    // As with Node: whole seconds, and 0 leaves the delay as it is.
    const idleMs = Math.trunc(Number(initialDelay) / 1000) * 1000
    if (idleMs > 0) this.keepAliveDelayMs = idleMs
    const { connection } = this
    if (connection !== null && !isMoved(connection)) this.watchPeer(connection)
    return this
  }

  /** Sets the TOS octet of what is sent from now on: DSCP in its upper six bits; the lower two are the stack's (RFC 3168). */
  setTypeOfService(tos: number): this {
    checkType(tos, 'number', 'tos')
    if (!Number.isInteger(tos) || tos < 0 || tos > 255) {
      throw outOfRange('tos', '>= 0 && <= 255', tos)
    }
    this.typeOfService = tos & 0xfc
    if (this.connection !== null) this.connection.dscp = this.typeOfService >> 2
    return this
  }

  getTypeOfService(): number {
    return this.typeOfService
  }

  protected adopt(connection: Connection): void {
    this.connection = connection
    connection.context = this
    connection.sender.noDelay = is(this, Mark.NO_DELAY)
    connection.dscp = this.typeOfService >> 2
    if (is(this, Mark.KEEP_ALIVE)) this.watchPeer(connection)
  }

  protected keepAsOptions(options: {
    keepAlive?: boolean | undefined
    keepAliveInitialDelay?: number | undefined
  }): void {
    if (options.keepAlive !== undefined) mark(this, Mark.KEEP_ALIVE, Boolean(options.keepAlive))
    const { keepAliveInitialDelay = 0 } = options
    if (keepAliveInitialDelay >= 1000) {
      this.keepAliveDelayMs = Math.trunc(keepAliveInitialDelay / 1000) * 1000
    }
  }

  /** Tells the connection whether to probe a silent peer, and when. */
  protected watchPeer(connection: Connection): void {
    const delay = this.keepAliveDelayMs > 0 ? { idleMs: this.keepAliveDelayMs } : {}
    connection.watch({ keepAlive: is(this, Mark.KEEP_ALIVE), ...delay }, this.host().now())
    this.host().kick()
  }

  #abandon(): void {
    const connection = this.connection
    this.forget()
    if (connection === null) return
    connection.context = null
    connection.abort()
    this.host().kick()
  }

  /** `address:port` of the attempts of a connect whose name had several addresses. */
  get autoSelectFamilyAttemptedAddresses(): string[] | undefined {
    return this.dial?.attempted
  }
}
