/**
 * TcpListener: a passive open (RFC 9293 §3.10.1). It stays in LISTEN and makes a connection per SYN; connections whose
 * handshake is complete wait here to be accepted, and promoted ones with them (P9).
 */
import type { Millis } from '../base/time.js'
import type { Connection } from './connection.js'

/** Connections that may wait: half open, or complete and not accepted. */
export const DEFAULT_BACKLOG = 511

/**
 * A handshake has so long to itself. Behind it, on a full backlog, the oldest one makes way for a new SYN: under a flood of SYNs
 * that nobody will complete (RFC 4987 §3.2), the handshakes of clients on this link, which take less, still come through.
 */
export const HANDSHAKE_GRACE_MS: Millis = 3

/** A backlog of fewer is meant to the letter; of others so many times as many may be half open. */
const SMALL_BACKLOG = 128
const HALF_OPEN_FACTOR = 8

interface Handshake {
  readonly connection: Connection
  readonly since: Millis
}

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
  readonly #halfOpenLimit: number
  // In the order of their SYNs; those that are over are passed over. What lies before the head is forgotten.
  #handshakes: Handshake[] = []
  #head = 0

  constructor(address: number, port: number, backlog: number) {
    this.address = address
    this.port = port
    this.backlog = backlog
    // A handshake under way costs little, and under a flood the more there are the longer each may take.
    this.#halfOpenLimit = backlog < SMALL_BACKLOG ? backlog : HALF_OPEN_FACTOR * backlog
  }

  /** True when no further SYN is taken. */
  get full(): boolean {
    const waiting = this.#waiting.length
    return waiting >= this.backlog || this.embryonic + waiting >= this.#halfOpenLimit
  }

  get waiting(): number {
    return this.#waiting.length
  }

  /** A handshake begins. */
  begin(connection: Connection, now: Millis): void {
    this.embryonic++
    // allocates: once per connection
    this.#handshakes.push({ connection, since: now })
    if (this.#head < 1024 && this.#head * 2 < this.#handshakes.length) return
    this.#handshakes = this.#handshakes.slice(this.#head)
    this.#head = 0
  }

  /** The handshake that makes way for another, or null when none is old enough. It is out of the line then. */
  giveWay(now: Millis): Connection | null {
    this.#passEnded()
    const oldest = this.#handshakes[this.#head]
    if (oldest === undefined || now - oldest.since < HANDSHAKE_GRACE_MS) return null
    this.#head++
    return oldest.connection
  }

  #passEnded(): void {
    while (this.#handshakes[this.#head]?.connection.listener !== this) {
      if (this.#head >= this.#handshakes.length) return
      this.#head++
    }
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
