/**
 * PermanentProxy: a port of the virtual address whose connections are led to a server that knows nothing of it (A7). Both connections of a pair
 * leave from the virtual address and are overheard, so that another node goes on with both; neither end has to help.
 *
 * It works on the connections themselves, without sockets and timers of its own: a driver tells it what happened.
 */

import { type ProxiedEnds, type ProxyHeader, proxyHeader } from '../../cluster/index.js'
import {
  type Connection,
  type IpAddress,
  type Millis,
  NEVER,
  type Stack,
  StackError,
  type TcpListener,
} from '../../stack/index.js'
import { Relay } from './relay.js'

/** What a proxy needs of the world. */
export interface ProxyHost {
  readonly stack: Stack
  now(): Millis
}

export interface ProxyOptions {
  /** Where clients connect to; the unspecified address stands for all that the node owns. */
  readonly address: IpAddress
  readonly port: number
  /** The server. */
  readonly toAddress: IpAddress
  readonly toPort: number
  /** Clients at once; further ones are reset. */
  readonly maxConnections: number
  /** How long the server may take to answer a SYN. */
  readonly connectMs: Millis
  /** How long nothing may go by, in either direction, before both sides are reset; 0: for ever. */
  readonly idleMs: Millis
  /** How long nothing is heard of a side before it is asked whether it is there; 0: it is never asked. */
  readonly keepAliveMs: Millis
  /** What tells the server whose connection it is, before the client's first octet; null: nothing does. */
  readonly header: ProxyHeader | null
}

export const DEFAULT_PROXY_OPTIONS = {
  maxConnections: 10_000,
  connectMs: 10_000,
  idleMs: 0,
  keepAliveMs: 60_000,
  header: null,
} as const

/** What happened. */
export type ProxyReport =
  /** A client could not be led to the server; told once, until one can be again. */
  { readonly event: 'server-down'; readonly code: string } | { readonly event: 'server-up' }

const SWEEP_MS: Millis = 250

function endsOf({ localAddress, localPort, remoteAddress, remotePort }: Connection): ProxiedEnds {
  const ends = { localPort, remotePort, localAddress: localAddress as IpAddress }
  return { ...ends, remoteAddress: remoteAddress as IpAddress }
}

export class PermanentProxy {
  readonly options: ProxyOptions
  /** Clients that were led to the server, turned away for want of room, and those that it did not answer. */
  readonly stats = { accepted: 0, resumed: 0, refused: 0, failed: 0, idled: 0 }
  readonly #host: ProxyHost
  readonly #report: (report: ProxyReport) => void
  readonly #relays = new Set<Relay>()
  readonly #listener: TcpListener
  #sweepAt: Millis = NEVER
  #down = false

  /** Listens at once. Throws EADDRINUSE. */
  constructor(host: ProxyHost, options: ProxyOptions, report: (report: ProxyReport) => void) {
    this.#host = host
    this.options = options
    this.#report = report
    this.#listener = host.stack.listen(options.address, options.port)
    this.#listener.context = this
  }

  /** Clients that are being served. */
  get size(): number {
    return this.#relays.size
  }

  /** There is a connection to accept. */
  handleReady(_events: number): void {
    const connection = this.#listener.accept()
    if (connection !== null) this.#accept(connection, this.#host.now())
  }

  #accept(client: Connection, now: Millis): void {
    if (client.partner !== null) {
      this.stats.resumed++
      this.#lead(client, client.partner as Connection, now)
      return
    }
    if (this.#relays.size >= this.options.maxConnections) {
      this.stats.refused++
      client.abort()
      return
    }
    this.stats.accepted++
    try {
      this.#lead(client, this.#connect(client, now), now)
    } catch (error) {
      if (!(error instanceof StackError)) throw error
      client.abort()
      this.#fail(error.code)
    }
  }

  // The server's connection carries in its ISS whose it is, and so tells those who take over.
  #connect(client: Connection, now: Millis): Connection {
    const { toAddress, toPort } = this.options
    const { stack } = this.#host
    const ends = endsOf(client)
    const iss = stack.pairedIss(ends, client.tcb)
    return stack.connect(toAddress, toPort, now, ends.localAddress, 0, iss)
  }

  #lead(client: Connection, server: Connection, now: Millis): void {
    const { keepAliveMs, header } = this.options
    const said = header === null ? undefined : proxyHeader(header, endsOf(client))
    const relay = new Relay(client, server, now, said)
    this.#relays.add(relay)
    for (const leg of [relay.client, relay.server]) {
      leg.context = { handleReady: (events: number) => this.#handle(relay, leg, events) }
      if (keepAliveMs > 0) leg.watch({ keepAlive: true, idleMs: keepAliveMs }, now)
    }
    if (this.#sweepAt === NEVER) this.#sweepAt = now + SWEEP_MS
    relay.pump(now)
    this.#settle(relay)
  }

  #handle(relay: Relay, leg: Connection, events: number): void {
    const { opening } = relay
    relay.handle(leg, events, this.#host.now())
    if (opening && relay.error !== '') this.#fail(relay.error)
    else if (opening && !relay.opening && this.#down) {
      this.#down = false
      this.#report({ event: 'server-up' })
    }
    this.#settle(relay)
  }

  #settle(relay: Relay): void {
    if (!relay.over) return
    this.#relays.delete(relay)
    relay.client.context = null
    relay.server.context = null
  }

  #fail(code: string): void {
    this.stats.failed++
    if (this.#down) return
    this.#down = true
    this.#report({ event: 'server-down', code })
  }

  nextDeadline(): Millis {
    return this.#sweepAt
  }

  /** Ends what has been idle, or unanswered, for too long. */
  handleTimeout(now: Millis): void {
    if (now < this.#sweepAt) return
    const { idleMs, connectMs } = this.options
    for (const relay of this.#relays) {
      if (relay.opening) {
        if (now - relay.startedAt < connectMs) continue
        relay.abort()
        this.#fail('ETIMEDOUT')
      } else {
        if (idleMs === 0 || now - relay.activeAt < idleMs) continue
        relay.abort()
        this.stats.idled++
      }
      this.#settle(relay)
    }
    this.#sweepAt = this.#relays.size > 0 ? now + SWEEP_MS : NEVER
  }

  /** Takes no further clients; those that are served go on. */
  close(): void {
    this.#host.stack.closeListener(this.#listener)
  }
}
