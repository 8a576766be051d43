/**
 * Cryptographic random numbers, drawn from the system a pool at a time.
 */
import { randomFillSync } from 'node:crypto'
import type { Rng } from '../base/time.js'

const POOL_SIZE = 256

export class SystemRng implements Rng {
  readonly #pool = new Uint32Array(POOL_SIZE)
  #next = POOL_SIZE

  u32(): number {
    if (this.#next === POOL_SIZE) {
      randomFillSync(this.#pool)
      this.#next = 0
    }
    const value = this.#pool[this.#next] as number
    // A number that was given away must not be found in memory later.
    this.#pool[this.#next++] = 0
    return value
  }
}
