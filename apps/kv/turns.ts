/**
 * Turns: how long the requests of all clients together are carried out before the loop turns once. A node whose loop does not turn is taken
 * for dead, and its successor is given the same requests.
 */

/** In milliseconds. */
const TURN_MS = 20

export class Turns {
  #until = 0
  // In the order in which they go on: who has had no part of a turn comes first.
  #unserved: (() => void)[] = []
  #served: (() => void)[] = []

  /** True when the turn that is under way has lasted long enough. It begins now if there is none. */
  get over(): boolean {
    if (this.#until > 0) return performance.now() >= this.#until
    this.#until = performance.now() + TURN_MS
    setImmediate(() => this.#next())
    return false
  }

  /** `goOn` is called in a later turn; `served` tells whether something was done for it in this one. */
  defer(goOn: () => void, served: boolean): void {
    if (served) this.#served.push(goOn)
    else this.#unserved.push(goOn)
  }

  #next(): void {
    this.#until = 0
    const due = [...this.#unserved, ...this.#served]
    this.#unserved = []
    this.#served = []
    for (const goOn of due) goOn()
  }
}
