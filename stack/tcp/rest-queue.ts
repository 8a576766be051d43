/**
 * RestQueue: senders that have been at work, each to be asked a while later whether it rests: an idle connection has no need of what
 * an active one knows of its flight. All wait equally long, so that the first to come is the first to be asked.
 */
import { type Millis, NEVER } from '../base/time.js'
import type { Connection } from './connection.js'

/** How long after its first segment a sender is asked, and after that as often as it has been at work. */
export const REST_MS: Millis = 2000

export class RestQueue {
  // When each is to be asked, in the order of these times.
  readonly #waiting = new Map<Connection, Millis>()
  // No later than the first of them.
  #firstAt: Millis = NEVER

  push(connection: Connection, now: Millis): void {
    if (connection.restless) return
    connection.restless = true
    // allocates: once per REST_MS and connection
    this.#waiting.set(connection, now + REST_MS)
    if (this.#firstAt === NEVER) this.#firstAt = now + REST_MS
  }

  /** The connection leaves the stack. */
  remove(connection: Connection): void {
    if (!connection.restless) return
    connection.restless = false
    this.#waiting.delete(connection)
    if (this.#waiting.size === 0) this.#firstAt = NEVER
  }

  nextDeadline(): Millis {
    return this.#firstAt
  }

  handleTimeout(now: Millis): void {
    if (now < this.#firstAt) return
    for (const [connection, at] of this.#waiting) {
      if (at > now) {
        this.#firstAt = at
        return
      }
      this.remove(connection)
      if (!connection.sender.rest(connection.tcb, now)) this.push(connection, now)
    }
    this.#firstAt = NEVER
  }
}
