/** Who answers for the virtual address, as far as the nodes' own words go, which may come in another order than they were said in. */
import type { NodeEvent } from './node-process.js'

export class KnownOwner {
  readonly #speaks: (id: number) => boolean
  #id: number | undefined
  #epoch = -1
  // Who claimed in that term, speaking or not.
  #claimed = -1

  /** `speaks` tells whether a node runs, and is not stopped. */
  constructor(speaks: (id: number) => boolean) {
    this.#speaks = speaks
  }

  /** The owner's id, while there is one. */
  get id(): number | undefined {
    return this.#id
  }

  /** Takes what `node` has said. */
  hear(node: number, event: NodeEvent): void {
    if (event.event === 'owner') this.#note(Number(event.id), Number(event.epoch))
    if (event.event !== 'standby' && event.event !== 'fenced') return
    this.lose(node)
    // Who yields names to whom: of two that claim in one term the greater id owns, whichever was heard first.
    if (event.yielded === true) this.#note(Number(event.owner), Number(event.epoch))
  }

  /** Node `id` speaks no more. */
  lose(id: number): void {
    if (this.#id === id) this.#id = undefined
  }

  #note(id: number, epoch: number): void {
    if (epoch < this.#epoch || (epoch === this.#epoch && id < this.#claimed)) return
    this.#epoch = epoch
    this.#claimed = id
    this.#id = this.#speaks(id) ? id : undefined
  }
}
