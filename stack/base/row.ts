// hot path: no allocation per frame
/**
 * Row: numbers that are put down one behind the other in a piece of a slab, and taken up again in the same order. It is how an
 * object is kept while nobody needs it: four octets a number instead of eight, and no object at all. Whoever puts and whoever takes
 * agree on the order, as a record's encoder and decoder do.
 */
import { assert } from './assert.js'
import type { Slab } from './ring-pool.js'

/** Octets of the piece: sixty-four integers. */
export const ROW_SIZE = 256

export class Row {
  #memory: Buffer = Buffer.alloc(0)
  #at = 0
  #end = 0

  /** Begins at the piece of `slab` at `place`. */
  begin(slab: Slab, place: number): this {
    this.#memory = slab.memory
    this.#at = place
    this.#end = place + slab.size
    return this
  }

  /** Puts down an integer of 32 bits. */
  putInt(value: number): void {
    this.#at = this.#memory.writeInt32LE(value, this.#at)
    assert(this.#at <= this.#end, 'a row has room for what is put into it')
  }

  /** Puts down any number. */
  putDouble(value: number): void {
    this.#at = this.#memory.writeDoubleLE(value, this.#at)
    assert(this.#at <= this.#end, 'a row has room for what is put into it')
  }

  /** Puts down what is true or not. */
  putFlag(value: boolean): void {
    this.putInt(value ? 1 : 0)
  }

  /** Takes up what `putInt` has put down. */
  takeInt(): number {
    const value = this.#memory.readInt32LE(this.#at)
    this.#at += 4
    return value
  }

  /** Takes up what `putFlag` has put down. */
  takeFlag(): boolean {
    return this.takeInt() !== 0
  }

  /** Takes up what `putDouble` has put down. */
  takeDouble(): number {
    const value = this.#memory.readDoubleLE(this.#at)
    this.#at += 8
    // The engine keeps a whole number in its field, and makes an object for any other.
    const whole = value | 0
    return whole === value ? whole : value
  }
}
