/**
 * TcpListener: a passive open (RFC 9293 §3.10.1). It stays in LISTEN and makes a connection per SYN; connections whose
 * handshake is complete wait here to be accepted, and promoted ones with them (P9).
 */
import type { Millis } from '../base/time.js'
import type { Connection } from './connection.js'
import { DEFAULT_HOP_LIMIT } from './connection-slots.js'
import { COOKIE_PERIOD_MS } from './syn-cookies.js'

/** Connections that may wait: half open, or complete and not accepted. */
export const DEFAULT_BACKLOG = 511

/** How long behind the last SYN that found it full a backlog takes connections by cookies. */
export const OVERFLOW_MS: Millis = 2 * COOKIE_PERIOD_MS

/** A backlog of fewer is meant to the letter; of others so many times as many may be half open. */
const SMALL_BACKLOG = 128
const HALF_OPEN_FACTOR = 8

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
  /** DSCP and TTL that its connections begin with, their SYN included (MUST-48, MUST-49). */
  dscp = 0
  hopLimit = DEFAULT_HOP_LIMIT
  readonly #waiting: Connection[] = []
  readonly #halfOpenLimit: number
  #overflowedAt: Millis = Number.NEGATIVE_INFINITY

  constructor(address: number, port: number, backlog: number) {
    this.address = address
    this.port = port
    this.backlog = backlog
    // A handshake under way costs little, and under a flood the more there are the longer each may take.
    this.#halfOpenLimit = backlog < SMALL_BACKLOG ? backlog : HALF_OPEN_FACTOR * backlog
  }

  /** True when no further connection is taken, not even a complete one, until the application accepts some. */
  get full(): boolean {
    return this.#waiting.length >= this.backlog
  }

  /** True when no further SYN is kept. */
  get crowded(): boolean {
    return this.embryonic + this.#waiting.length >= this.#halfOpenLimit
  }

  get waiting(): number {
    return this.#waiting.length
  }

  /** A SYN was answered by a cookie. */
  overflow(now: Millis): void {
    this.#overflowedAt = now
  }

  /** True when an ACK of no connection may bring back a cookie: at other times none was given out (RFC 4987 §3.6). */
  takesCookies(now: Millis): boolean {
    return now - this.#overflowedAt < OVERFLOW_MS
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
