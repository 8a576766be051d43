// hot path: no allocation per frame
/**
 * TouchedQueue: which connections somebody should look at, each at most once. It is how a connection is heard without a
 * callback upward.
 */
import { Pile } from '../base/pile.js'
import type { Connection } from './connection.js'

/** Connections that may have something to send, a new deadline, or news for the application. */
export class TouchedQueue {
  readonly #items = new Pile<Connection>()

  push(connection: Connection): void {
    if (connection.queued) return
    connection.queued = true
    this.#items.push(connection)
  }

  pop(): Connection | undefined {
    const connection = this.#items.pop()
    if (connection !== undefined) connection.queued = false
    return connection
  }
}
