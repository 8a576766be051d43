/** Turns: the one session of the database goes from client to client, and stays with one as long as its transaction is open. */
import type { Failure } from './wire.js'

/** Clients that may wait at once. */
export const MAX_WAITING = 1000

/** A client waited in vain. */
export class TurnRefused extends Error {
  readonly failure: Failure
  constructor(failure: Failure) {
    super(failure.message)
    this.failure = failure
  }
}

interface Waiting {
  readonly client: object
  readonly go: () => void
  readonly refuse: (error: Error) => void
  readonly timer: NodeJS.Timeout
}

export class Turns {
  readonly #waitMs: number
  readonly #waiting: Waiting[] = []
  #holder: object | null = null
  #open = false

  /** `waitMs`: how long a client waits for its turn at most. */
  constructor(waitMs: number) {
    this.#waitMs = waitMs
  }

  get holder(): object | null {
    return this.#holder
  }

  get waiting(): number {
    return this.#waiting.length
  }

  /** Turns are given while the database is open. */
  set open(open: boolean) {
    this.#open = open
    if (!open) this.#holder = null
    this.#next()
  }

  /**
   * Resolves when it is the client's turn; at once, when it has it. `first`: before all others, as what it asks for was begun before.
   * Rejects with TurnRefused.
   */
  async take(client: object, first: boolean): Promise<void> {
    if (this.#holder === client) return
    if (this.#waiting.length >= MAX_WAITING) {
      throw new TurnRefused({
        code: '53300',
        message: `${MAX_WAITING} clients wait for the database already`,
      })
    }
    await new Promise<void>((go, refuse) => {
      const timer = setTimeout(() => {
        this.leave(client)
        const message = `the database was busy with other clients' transactions for ${this.#waitMs} ms`
        refuse(new TurnRefused({ code: '55P03', message }))
      }, this.#waitMs)
      const waiting = { client, go, refuse, timer }
      if (first) this.#waiting.unshift(waiting)
      else this.#waiting.push(waiting)
      this.#next()
    })
  }

  /** The client's turn is over. */
  end(client: object): void {
    if (this.#holder !== client) return
    this.#holder = null
    this.#next()
  }

  /** The client waits no more; it is told `error`, if any. */
  leave(client: object, error?: Error): void {
    const at = this.#waiting.findIndex((waiting) => waiting.client === client)
    const [waiting] = at < 0 ? [] : this.#waiting.splice(at, 1)
    if (waiting === undefined) return
    clearTimeout(waiting.timer)
    if (error !== undefined) waiting.refuse(error)
  }

  #next(): void {
    if (!this.#open || this.#holder !== null) return
    const waiting = this.#waiting.shift()
    if (waiting === undefined) return
    clearTimeout(waiting.timer)
    this.#holder = waiting.client
    waiting.go()
  }
}
