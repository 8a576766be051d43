/**
 * RestQueue: connections that have been at work, each to be asked a while later whether it rests: an idle one has no need of what an
 * active one knows. All wait equally long, so that the first to come is the first to be asked.
 */
import { type Millis, NEVER } from '../base/time.js'
import type { Connection } from './connection.js'

/** How long a connection is idle before it is asked, at least; twice as long at most. */
export const REST_MS: Millis = 2000
/** How many are asked in one go: many that were opened together would hold up the others. */
const ASKED_MOST = 1000

export class RestQueue {
  // When each is to be asked, in the order of these times.
  readonly #waiting = new Map<Connection, Millis>()
  // No later than the first of them.
  #firstAt: Millis = NEVER

  push(connection: Connection, now: Millis): void {
    if (connection.restless) {
      connection.stirred = true
      return
    }
    connection.restless = true
    connection.stirred = false
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
    let left = ASKED_MOST
    for (const [connection, at] of this.#waiting) {
      if (at > now || left-- === 0) {
        this.#firstAt = at
        return
      }
      this.remove(connection)
      if (connection.stirred || !connection.rest(now)) this.push(connection, now)
    }
    this.#firstAt = NEVER
  }
}
