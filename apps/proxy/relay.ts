/**
 * Relay: one client's connection and the server's one behind it: what one receives the other sends, octet for octet (A7). Octets are
 * never kept here, but always in one of the two connections, so that whoever takes both over has them all.
 *
 * Half-close, reset and back-pressure pass through: an end is passed on behind the last octet, a reset at once, and a window closes
 * when the other side does not take what came.
 */
import { type Connection, ConnectionEvent, type Millis, pour, TcpState } from '../../stack/index.js'

const NOTHING = new Uint8Array(0)

export class Relay {
  readonly client: Connection
  readonly server: Connection
  readonly startedAt: Millis
  /** When octets last went by. */
  activeAt: Millis
  /** Nothing is left to do: both sides have ended, or one has failed, or both have moved to another node. */
  over = false
  /** Why the server could not be reached, or broke off: a code, or empty. */
  error = ''
  readonly #header: Uint8Array
  // Kept, as a connection that was reset has no state any more that would tell.
  #opened: boolean

  /** `header` goes to the server before the client's first octet. */
  constructor(client: Connection, server: Connection, now: Millis, header: Uint8Array = NOTHING) {
    this.#header = header
    this.client = client
    this.server = server
    client.partner = server
    server.partner = client
    // Whether to wait for more is for the two ends to decide, and they have.
    client.sender.noDelay = true
    server.sender.noDelay = true
    this.startedAt = now
    this.activeAt = now
    this.#opened = server.state >= TcpState.ESTABLISHED
  }

  /** True while the server has not answered, as far as `handle` was told. */
  get opening(): boolean {
    return !this.#opened
  }

  /** Takes the news of `leg`: bits of ConnectionEvent. */
  handle(leg: Connection, events: number, now: Millis): void {
    if (this.over) return
    if (this.server.state >= TcpState.ESTABLISHED) this.#opened = true
    if (isMoved(this.client) || isMoved(this.server)) {
      this.over = true
      return
    }
    if ((events & ConnectionEvent.CLOSED) !== 0 && !endedWell(leg)) {
      if (leg === this.server) this.error = leg.error || 'ECONNRESET'
      this.abort()
      return
    }
    this.pump(now)
  }

  /** Passes on what can be. */
  pump(now: Millis): void {
    if (this.over || this.opening || !this.#introduce()) return
    this.#pass(this.client, this.server, now)
    this.#pass(this.server, this.client, now)
    this.over = isPassed(this.client, this.server) && isPassed(this.server, this.client)
  }

  // Behind a take-over what is left of the header is said: it begins with the output, whose offset tells how far that has come.
  #introduce(): boolean {
    const { server } = this
    const length = this.#header.length
    if (server.released || server.closed || server.output.offset >= length) return true
    server.write(this.#header, server.output.offset, length)
    return server.output.offset >= length
  }

  #pass(from: Connection, to: Connection, now: Millis): void {
    if (to.released || to.closed) return
    if (from.readable > 0 && pour(from, to) > 0) this.activeAt = now
    if (from.inputEnded && !to.sender.finQueued) to.shutdown()
  }

  /** Ends both sides with a reset. */
  abort(): void {
    this.over = true
    for (const leg of [this.client, this.server]) if (!leg.released && !leg.closed) leg.abort()
  }
}

/** All that `from` will ever say is with `to`. */
function isPassed(from: Connection, to: Connection): boolean {
  return from.inputEnded && (to.sender.finQueued || to.closed)
}

/** Both sides have ended, and been acknowledged. */
function endedWell({ tcb, error }: Connection): boolean {
  return error === '' && tcb.finReceived && tcb.finAcked
}

// Another node owns it, and what it holds is no longer ours to change.
function isMoved(leg: Connection): boolean {
  return leg.released && !leg.closed && leg.state !== TcpState.TIME_WAIT
}
