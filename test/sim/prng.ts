/**
 * Prng: the only source of chance in a simulated world. One seed gives one sequence, and so one run.
 */
import type { Rng } from '../../stack/index.js'

export class Prng implements Rng {
  #state: number

  constructor(seed: number) {
    this.#state = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) | 0
  }

  u32(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    const a = this.#state
    let x = Math.imul(a ^ (a >>> 15), 1 | a)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return (x ^ (x >>> 14)) >>> 0
  }

  /** A number in [0, 1). */
  unit(): number {
    return this.u32() / 0x1_0000_0000
  }

  /** An integer in [0, n). */
  below(n: number): number {
    return Math.floor(this.unit() * n)
  }

  /** A number in [low, high). */
  between(low: number, high: number): number {
    return low + this.unit() * (high - low)
  }

  chance(p: number): boolean {
    return p > 0 && this.unit() < p
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T
  }
}

/** Octet `offset` of the endless text that belongs to `seed`. */
export function patternAt(seed: number, offset: number): number {
  let x = Math.imul((offset >>> 2) ^ seed, 0x9e3779b1)
  x ^= x >>> 15
  x = Math.imul(x, 0x85ebca77)
  return (x >>> ((offset & 3) << 3)) & 0xff
}

/** Fills `into[from, to)` with the text of `seed` from `offset` on. */
export function fillPattern(
  seed: number,
  offset: number,
  into: Uint8Array,
  from: number,
  to: number,
): void {
  for (let i = from; i < to; i++) into[i] = patternAt(seed, offset + i - from)
}

/** FNV-1a of `bytes`, continued from `hash`. */
export function fnv(hash: number, bytes: Uint8Array, from: number, to: number): number {
  for (let i = from; i < to; i++) hash = Math.imul(hash ^ (bytes[i] as number), 0x01000193)
  return hash
}

export const FNV_BASIS = 0x811c9dc5 | 0
