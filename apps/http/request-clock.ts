/**
 * RequestClock: how long a client may take to say a request. node:http has limits for that (`headersTimeout`, `requestTimeout`), but keeps
 * them only for servers that listen themselves: here connections are given to them.
 */
import type { Server } from 'node:http'
import type { Socket } from '../../stack/socket/net.js'
import type { RequestTracker } from './request-tracker.js'

type Limits = Pick<Server, 'headersTimeout' | 'requestTimeout'>

export class RequestClock {
  readonly #socket: Socket
  readonly #tracker: RequestTracker
  readonly #limits: Limits
  // Of the request that is timed: where it began, and since when.
  #begun = -1
  #since = 0
  #timer: NodeJS.Timeout | null = null

  /** `tracker` is given each chunk of the connection before `look` is called. */
  constructor(socket: Socket, tracker: RequestTracker, limits: Limits) {
    this.#socket = socket
    this.#tracker = tracker
    this.#limits = limits
    socket.once('close', () => this.stop())
    // Whoever is new has a request. One that was taken over may still be reading an answer.
    if (socket.resumed === null) this.#start(0)
  }

  /** Input has come. */
  look(): void {
    const { begun } = this.#tracker
    if (begun === this.#begun) return
    if (begun < 0) this.stop()
    else this.#start(begun)
  }

  /** Nothing more is timed until the next `look`. */
  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    this.#begun = -1
  }

  #start(begun: number): void {
    this.stop()
    this.#begun = begun
    this.#since = performance.now()
    this.#wait()
  }

  // Until the next limit, if there is one.
  #wait(): void {
    const { headersTimeout, requestTimeout } = this.#limits
    const passed = performance.now() - this.#since
    const limits = this.#tracker.inHead ? [headersTimeout, requestTimeout] : [requestTimeout]
    const left = limits.filter((limit) => limit > 0).map((limit) => limit - passed)
    if (left.length === 0) {
      // A body without a limit; or a head, which is looked at again when it is whole.
      this.#timer = null
    } else if (Math.min(...left) <= 0) {
      this.#expire()
    } else {
      this.#timer = setTimeout(() => this.#wait(), Math.ceil(Math.min(...left))).unref()
    }
  }

  // As node:http does it: it answers 408, unless an answer has begun, and ends the connection.
  #expire(): void {
    this.stop()
    const error = Object.assign(new Error('the request did not come in time'), {
      code: 'ERR_HTTP_REQUEST_TIMEOUT',
    })
    if (!this.#socket.destroyed) this.#socket.emit('error', error)
  }
}
