/**
 * Replay (A1): an unmodified server of node:http outlives its node without a checkpoint of its own, as long as it is deterministic: the
 * same requests on a connection, in the same order, get the same octets. The input from the first request that is not answered in whole
 * is given to the next node's server again, and of what it answers the stack sends what the client does not have yet. What is in flight
 * is compared; a difference ends the connection (P22).
 *
 * Of what node:http adds by itself only the Date differs from run to run: it is decided here, and kept with the connection.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from '../../stack/socket/net.js'
import { RequestClock } from './request-clock.js'
import { type RequestPlace, RequestTracker } from './request-tracker.js'

/** What a checkpoint holds: the dates of the answers that are not given in whole. */
interface Kept {
  readonly dates: readonly string[]
}

/**
 * What gives connections to `server`, which may be anything that listens to `request` events, or a handler's. Give the function to
 * `createServer` of a node's net, with `allowHalfOpen`. A request of more octets than a shadow keeps since
 * the last checkpoint (12 MiB, its body included) is answered, and does not survive.
 */
export function replayed(server: Server): (socket: Socket) => void {
  const sessions = new WeakMap<object, ReplaySession>()
  // Before the handler can say anything.
  server.prependListener('request', (req: IncomingMessage, res: ServerResponse) => {
    sessions.get(req.socket)?.begin(res)
  })
  // From here on it is another protocol's, and its server's own to checkpoint.
  server.prependListener('upgrade', (req: IncomingMessage) => sessions.get(req.socket)?.leave())
  return (socket) => {
    sessions.set(socket, new ReplaySession(socket, server))
    server.emit('connection', socket)
  }
}

/** A request that is not answered in whole. */
interface Open {
  readonly place: RequestPlace
  readonly date: string
  answered: boolean
}

class ReplaySession {
  readonly #socket: Socket
  readonly #tracker: RequestTracker
  readonly #clock: RequestClock
  /** Dates that the node before us had decided on. */
  readonly #dates: string[]
  #open: Open[] = []
  /** Where the first open request begins, and its answer. */
  #input: number
  #output: number
  #lost = false

  constructor(socket: Socket, server: Server) {
    this.#socket = socket
    // As node:http does with connections that it accepts itself: head and body are two writes.
    socket.setNoDelay()
    const resumed = socket.resumed as { input: number; output: number; state: Kept | null } | null
    this.#input = resumed?.input ?? socket.inputOffset
    this.#output = resumed?.output ?? socket.outputOffset
    this.#dates = [...(resumed?.state?.dates ?? [])]
    this.#tracker = new RequestTracker(this.#input)
    this.#clock = new RequestClock(socket, this.#tracker, server)
    socket.prependListener('data', this.#hear)
  }

  readonly #hear = (chunk: Buffer): void => {
    this.#tracker.feed(chunk)
    this.#clock.look()
    this.#settle()
  }

  leave(): void {
    this.#socket.removeListener('data', this.#hear)
    this.#clock.stop()
    this.#lost = true
  }

  begin(res: ServerResponse): void {
    const place = this.#tracker.take()
    if (place === undefined) {
      // Octets that node:http understands and the tracker does not: the connection lives as long as its node.
      this.#lost = true
      return
    }
    const date = this.#dates.shift() ?? new Date().toUTCString()
    const open: Open = { place, date, answered: false }
    this.#open.push(open)
    res.setHeader('Date', date)
    // Ahead of node:http's own listener, which begins with the next answer.
    res.prependListener('finish', () => {
      open.answered = true
      this.#settle()
    })
    this.#commit()
  }

  // Goes on behind requests that have come in whole and are answered.
  #settle(): void {
    const [first] = this.#open
    if (first === undefined || !first.answered || first.place.end < 0) return
    if (first.place.end > this.#tracker.offset) return
    this.#open.shift()
    this.#input = first.place.end
    this.#output = this.#socket.outputOffset
    this.#commit()
  }

  #commit(): void {
    if (this.#lost || this.#socket.destroyed) return
    const state: Kept = { dates: this.#open.map(({ date }) => date) }
    try {
      this.#socket.commit(state, { input: this.#input, output: this.#output })
    } catch (error) {
      // An answer may be finished when its connection has ended or moved already: nobody goes on with that.
      if ((error as NodeJS.ErrnoException).code !== 'ERR_SOCKET_CLOSED') throw error
      this.#lost = true
    }
  }
}
