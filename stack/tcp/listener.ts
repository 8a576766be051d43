/**
 * TcpListener: a passive open (RFC 9293 §3.10.1). It stays in LISTEN and makes a connection per SYN; connections whose
 * handshake is complete wait here to be accepted, and promoted ones with them (P9).
 */
import type { Connection } from './connection.js'

/** Connections that may wait: half open, or complete and not accepted. */
export const DEFAULT_BACKLOG = 511

export class TcpListener {
  /** 0: any address of the stack. */
  readonly address: number
  readonly port: number
  readonly backlog: number
  /** Handshakes under way. */
  embryonic = 0
  /** A slot for the layer above; the stack never looks into it. */
  context: unknown = null
  closed = false
  readonly #waiting: Connection[] = []

  constructor(address: number, port: number, backlog: number) {
    this.address = address
    this.port = port
    this.backlog = backlog
  }

  /** True when no further SYN is taken. */
  get full(): boolean {
    return this.embryonic + this.#waiting.length >= this.backlog
  }

  get waiting(): number {
    return this.#waiting.length
  }

  /** Puts a complete connection at the end of the line. */
  enqueue(connection: Connection): void {
    this.#waiting.push(connection)
  }

  /** The connection that has waited longest, or null. From now on it is the caller's. */
  accept(): Connection | null {
    return this.#waiting.shift() ?? null
  }
}
