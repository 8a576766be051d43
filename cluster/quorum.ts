/**
 * Quorum (D3): whether this node hears so many nodes of a permanency set, itself counted, that no others can be as many. Without that it
 * claims nothing, and what it owns falls silent before anybody else can have waited long enough to claim it: of a cluster that is cut
 * apart one side serves, at most.
 *
 * A node counts as heard for one lease from its last heartbeat on. What else it says does not count: that may have waited in a queue while
 * this node was held up, and is older than it seems. Who hears us is not known: a cut in one direction only is taken for none.
 */
import { type Millis, NEVER } from '../stack/index.js'
import type { NodeId } from './binding.js'
import type { FailureDetector } from './failure-detector.js'
import { NOBODY, type PermanencySet } from './node-options.js'

/** How long a node that lacks its quorum waits before it looks again. */
const RETRY_MS: Millis = 20

export class Quorum {
  /** Nodes that are to be heard, this one counted; 1: no quorum is asked for. */
  readonly need: number
  /** When a node that lacked its quorum looks again. */
  retryAt: Millis = 0
  readonly #others: readonly NodeId[]
  readonly #detector: FailureDetector
  readonly #leaseMs: Millis
  // When each of the others was heard, the latest first.
  readonly #heardAt: Millis[] = []

  constructor(
    self: NodeId,
    { quorum, members }: PermanencySet,
    detector: FailureDetector,
    leaseMs: Millis,
  ) {
    this.need = quorum ?? 1
    this.#others = (members ?? []).filter((id) => id !== self)
    this.#detector = detector
    this.#leaseMs = leaseMs
  }

  /** Nodes of the set that are heard, this one counted; `except` is not, which is taken for dead. */
  heard(now: Millis, except: NodeId = NOBODY): number {
    let count = 1
    for (const id of this.#others) {
      if (id !== except && now < this.#detector.lastBeatAt(id) + this.#leaseMs) count++
    }
    return count
  }

  /** True for another node of the set. */
  includes(node: NodeId): boolean {
    return this.#others.includes(node)
  }

  /** True when enough are heard, or none need be. */
  holds(now: Millis, except: NodeId = NOBODY): boolean {
    if (this.need <= 1) return true
    const holds = this.heard(now, except) >= this.need
    this.retryAt = holds ? 0 : now + RETRY_MS
    return holds
  }

  /** When the quorum is lost unless somebody is heard. */
  endsAt(): Millis {
    if (this.need <= 1) return NEVER
    const heardAt = this.#heardAt
    heardAt.length = 0
    for (const id of this.#others) heardAt.push(this.#detector.lastBeatAt(id))
    heardAt.sort((a, b) => b - a)
    return (heardAt[this.need - 2] ?? 0) + this.#leaseMs
  }
}
