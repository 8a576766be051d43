/**
 * LinkGap: finds out that this node was cut off from the link for a while although the control channels went on (P4). An owner declares
 * itself every `renewMs`; whoever missed some of that on the link missed those who came up meanwhile, too, and has to ask who is
 * there: two nodes that do not know of each other would take over at the same time.
 */
import type { Millis } from '../stack/index.js'
import type { NodeId } from './binding.js'
import { DeclarationKind, type OwnershipDeclaration } from './declaration.js'

/** Renewals that are missed before it counts: one may be lost, and an owner may be late. */
export const MISSED_RENEWALS = 3

export class LinkGap {
  readonly #renewMs: Millis
  // When a node's declaration was last heard on the link: of nodes that have a place among the peers.
  readonly #heardAt = new Map<NodeId, Millis>()

  constructor(renewMs: Millis) {
    this.#renewMs = renewMs
  }

  /** Takes note of an authentic declaration that came by the link. True: others are to be asked for theirs. */
  heard({ node, kind }: OwnershipDeclaration, now: Millis): boolean {
    const before = this.#heardAt.get(node)
    this.#heardAt.set(node, now)
    if (kind !== DeclarationKind.RENEW || before === undefined) return false
    return now - before > MISSED_RENEWALS * this.#renewMs
  }
}
