// hot path: no allocation per frame
/**
 * DeadlineHeap: which of many objects has the next deadline. An object without a deadline is not in the heap and costs
 * nothing; moving a deadline costs O(log n) of those that have one.
 */
import { assert } from './assert.js'
import { type Millis, NEVER } from './time.js'

/** What the heap keeps in each of its items; only the heap writes it. */
export interface DeadlineItem {
  deadline: Millis
  /** Index in the heap, or -1. */
  heapIndex: number
}

export class DeadlineHeap<T extends DeadlineItem> {
  readonly #items: T[] = []

  get size(): number {
    return this.#items.length
  }

  /** The item with the earliest deadline. */
  peek(): T | undefined {
    return this.#items[0]
  }

  nextDeadline(): Millis {
    const first = this.#items[0]
    return first === undefined ? NEVER : first.deadline
  }

  /** Sets the item's deadline; NEVER takes it out. */
  set(item: T, deadline: Millis): void {
    if (item.deadline === deadline) return
    item.deadline = deadline
    if (deadline === NEVER) {
      if (item.heapIndex >= 0) this.#remove(item)
      return
    }
    if (item.heapIndex < 0) {
      item.heapIndex = this.#items.length
      this.#items.push(item)
    }
    this.#down(this.#up(item.heapIndex))
  }

  #remove(item: T): void {
    const index = item.heapIndex
    const last = this.#items.pop()
    item.heapIndex = -1
    if (last === item || last === undefined) return
    this.#items[index] = last
    last.heapIndex = index
    this.#down(this.#up(index))
  }

  #at(index: number): T {
    const item = this.#items[index]
    assert(item !== undefined, 'heap index is within the heap')
    return item
  }

  #swap(a: number, b: number): void {
    const first = this.#at(a)
    const second = this.#at(b)
    this.#items[a] = second
    this.#items[b] = first
    second.heapIndex = a
    first.heapIndex = b
  }

  #up(index: number): number {
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (this.#at(parent).deadline <= this.#at(index).deadline) break
      this.#swap(parent, index)
      index = parent
    }
    return index
  }

  #down(index: number): number {
    for (;;) {
      let least = index
      for (let child = 2 * index + 1; child <= 2 * index + 2; child++) {
        if (child < this.#items.length && this.#at(child).deadline < this.#at(least).deadline) {
          least = child
        }
      }
      if (least === index) return index
      this.#swap(index, least)
      index = least
    }
  }
}
