/**
 * World: virtual time, the heap of things to come, and one source of chance. Nothing in a simulation happens but by an event
 * of this heap, in the order of (time, order of scheduling); so a seed determines a run.
 */
import type { Millis } from '../../stack/index.js'
import { Prng } from './prng.js'
import { Trace } from './trace.js'

/** A run with more steps than this has lost its way. */
export const MAX_STEPS = 1_000_000

interface Event {
  readonly at: Millis
  readonly order: number
  readonly run: () => void
}

export class World {
  readonly seed: number
  readonly random: Prng
  readonly trace: Trace
  now: Millis = 1000
  steps = 0
  /** What broke a law, in words. */
  readonly violations: string[] = []
  /** Called behind each event. */
  afterStep: () => void = () => {}
  readonly #heap: Event[] = []
  #order = 0

  constructor(seed: number, keepTrace = false) {
    this.seed = seed
    this.random = new Prng(seed)
    this.trace = new Trace(keepTrace)
  }

  note(text: string): void {
    this.trace.note(this.now, text)
  }

  violate(text: string): void {
    this.note(`VIOLATION ${text}`)
    if (this.violations.length < 20) this.violations.push(`${this.now.toFixed(3)}: ${text}`)
  }

  after(delay: Millis, run: () => void): void {
    this.at(this.now + Math.max(delay, 0), run)
  }

  at(at: Millis, run: () => void): void {
    const heap = this.#heap
    const event = { at: Math.max(at, this.now), order: this.#order++, run }
    let i = heap.length
    heap.push(event)
    while (i > 0) {
      const parent = (i - 1) >> 1
      const above = heap[parent] as Event
      if (!before(event, above)) break
      heap[i] = above
      i = parent
    }
    heap[i] = event
  }

  /** Lets the next thing happen. False: there is none. */
  step(): boolean {
    const event = this.#pop()
    if (event === undefined) return false
    this.steps++
    this.now = event.at
    event.run()
    this.afterStep()
    return true
  }

  /** Steps until `done`, a violation, or the time `limit`. */
  run(done: () => boolean, limit: Millis): void {
    while (!done() && this.now < limit && this.violations.length === 0) {
      if (this.steps >= MAX_STEPS) {
        this.violate(`progress: more than ${MAX_STEPS} steps`)
        return
      }
      if (!this.step()) return
    }
  }

  #pop(): Event | undefined {
    const heap = this.#heap
    const first = heap[0]
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return first
    let i = 0
    for (;;) {
      let child = 2 * i + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && before(heap[child + 1] as Event, heap[child] as Event)) child++
      if (!before(heap[child] as Event, last)) break
      heap[i] = heap[child] as Event
      i = child
    }
    heap[i] = last
    return first
  }
}

function before(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}
