// hot path: no allocation per frame
/**
 * DeadlineHeap: which of many objects has the next deadline. An object without a deadline is not in the heap and costs
 * nothing; moving a deadline costs O(log n) of those that have one.
 */
import { assert } from './assert.js'
import { type Millis, NEVER } from './time.js'

/** What the heap keeps in each of its items; only the heap writes it. */
export interface DeadlineItem {
  /** Index in the heap, or -1. */
  heapIndex: number
}

export class DeadlineHeap<T extends DeadlineItem> {
  readonly #items: T[] = []
  // Of the item at the same index. Here, as a field with a fraction takes memory of its own in each item, in the heap or not.
  readonly #deadlines: Millis[] = []

  get size(): number {
    return this.#items.length
  }

  /** The item with the earliest deadline. */
  peek(): T | undefined {
    return this.#items[0]
  }

  nextDeadline(): Millis {
    return this.#deadlines[0] ?? NEVER
  }

  /** Sets the item's deadline; NEVER takes it out. */
  set(item: T, deadline: Millis): void {
    if (item.heapIndex < 0) {
      if (deadline === NEVER) return
      item.heapIndex = this.#items.length
      this.#items.push(item)
      this.#deadlines.push(deadline)
    } else if (deadline === NEVER) {
      this.#remove(item)
      return
    } else if (this.#deadlineAt(item.heapIndex) === deadline) {
      return
    } else {
      this.#deadlines[item.heapIndex] = deadline
    }
    this.#down(this.#up(item.heapIndex))
  }

  #remove(item: T): void {
    const index = item.heapIndex
    const last = this.#items.pop()
    const deadline = this.#deadlines.pop()
    item.heapIndex = -1
    if (last === item || last === undefined || deadline === undefined) return
    this.#put(index, last, deadline)
    this.#down(this.#up(index))
  }

  #at(index: number): T {
    const item = this.#items[index]
    assert(item !== undefined, 'heap index is within the heap')
    return item
  }

  #deadlineAt(index: number): Millis {
    return this.#deadlines[index] as Millis
  }

  #put(index: number, item: T, deadline: Millis): void {
    this.#items[index] = item
    this.#deadlines[index] = deadline
    item.heapIndex = index
  }

  #swap(a: number, b: number): void {
    const first = this.#at(a)
    const firstAt = this.#deadlineAt(a)
    this.#put(a, this.#at(b), this.#deadlineAt(b))
    this.#put(b, first, firstAt)
  }

  #up(index: number): number {
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (this.#deadlineAt(parent) <= this.#deadlineAt(index)) break
      this.#swap(parent, index)
      index = parent
    }
    return index
  }

  #down(index: number): number {
    const count = this.#deadlines.length
    for (;;) {
      let least = index
      for (let child = 2 * index + 1; child <= 2 * index + 2 && child < count; child++) {
        if (this.#deadlineAt(child) < this.#deadlineAt(least)) least = child
      }
      if (least === index) return index
      this.#swap(index, least)
      index = least
    }
  }
}
