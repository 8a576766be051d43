/**
 * Pseudo-random numbers from a seed, so that a failure names what brings it back.
 */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed | 0
  }

  u32(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let x = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return (x ^ (x >>> 14)) >>> 0
  }

  /** An integer in 0 .. n - 1. */
  below(n: number): number {
    return this.u32() % n
  }

  chance(p: number): boolean {
    return this.u32() / 0x1_0000_0000 < p
  }

  bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length)
    for (let i = 0; i < length; i++) bytes[i] = this.u32()
    return bytes
  }
}
