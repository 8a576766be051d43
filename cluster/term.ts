/**
 * Term: the epoch of a binding that this node knows of, and the highest that it has heard of (D3). A term is never used twice: it is
 * durable before a word is said in it. As a claim has no time to wait for a disk, the next ones are set aside beforehand.
 */
import type { CheckpointStore } from './checkpoint.js'
import type { MirrorStore } from './mirror-store.js'

/** So many terms are set aside at a time. */
const AHEAD = 16

export class Term {
  /** The term of the owner that is known, or of the last one; 0: there was none. */
  epoch = 0
  #highest = 0
  readonly #binding: number
  readonly #mirror: MirrorStore
  readonly #checkpoints: CheckpointStore

  constructor(binding: number, mirror: MirrorStore, checkpoints: CheckpointStore) {
    this.#binding = binding
    this.#mirror = mirror
    this.#checkpoints = checkpoints
  }

  /** Goes on from what an earlier life knew: those who know of no later term must hear of this one, lest they use it again. */
  restore(): void {
    this.epoch = this.#mirror.epoch(this.#binding)
    this.#highest = Math.max(this.epoch, this.#mirror.reservedEpoch(this.#binding))
    this.#reserve()
  }

  /** A declaration named `epoch`, whoever owns in it. */
  heard(epoch: number): void {
    if (epoch > this.#highest) this.#highest = epoch
  }

  /** Another owns in `epoch`, and a restart of this node is to know of it. */
  follow(epoch: number): void {
    this.epoch = epoch
    this.heard(epoch)
    this.#reserve()
  }

  /** The term in which this node would own: beyond all that were heard of. */
  get next(): number {
    return Math.max(this.#highest, this.epoch) + 1
  }

  /** Another may use `epoch`: a later life of this node is not to use it again. False: that is not durable yet, and will be soon. */
  note(epoch: number): boolean {
    if (epoch > this.#mirror.reservedEpoch(this.#binding)) {
      this.#mirror.reserveEpochs(this.#binding, this.epoch, epoch + AHEAD)
      if (epoch > this.#mirror.reservedEpoch(this.#binding)) return false
    }
    this.heard(epoch)
    return true
  }

  /** This node is to own. */
  enter(): void {
    this.epoch = this.next
    this.#highest = this.epoch
    if (this.epoch > this.#mirror.reservedEpoch(this.#binding)) {
      this.#mirror.putEpochSync(this.#binding, this.epoch)
    }
    this.#checkpoints.claim(this.#binding, this.epoch)
    this.#reserve()
  }

  #reserve(): void {
    this.#mirror.reserveEpochs(this.#binding, this.epoch, this.#highest + AHEAD)
  }
}
