// hot path: no allocation per frame
/**
 * Pile: last in, first out, in memory that stays. An array that is emptied by `pop` gives its memory back and takes new
 * with the next `push`, which for a list that fills and empties in each turn is an allocation per turn.
 */

/** A stack of items that never gives its memory back. */
export class Pile<T> {
  readonly #items: (T | undefined)[] = []
  #count = 0

  get size(): number {
    return this.#count
  }

  push(item: T): void {
    this.#items[this.#count++] = item
  }

  pop(): T | undefined {
    if (this.#count === 0) return undefined
    const item = this.#items[--this.#count]
    this.#items[this.#count] = undefined
    return item
  }
}
