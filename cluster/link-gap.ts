/**
 * LinkGap: finds out that this node was cut off from the link for a while although the control channels went on (P4, D1). An owner says
 * each of its declarations on both; whoever heard some by the channel alone has missed what connections said, and who came up meanwhile.
 * It has to ask for both: two nodes that do not know of each other would take over at the same time.
 */
import type { NodeId } from './binding.js'
import { DeclarationKind, type OwnershipDeclaration } from './declaration.js'
import type { NodeReport } from './node-actions.js'
import type { Ownership } from './ownership.js'

/** Renewals that were not heard on the link before it counts: of one the copy may be lost, or still be under way. */
export const MISSED_RENEWALS = 3

export class LinkGap {
  // Renewals that only the channel brought, since the link brought the last one: of nodes that have a place among the peers.
  readonly #missed = new Map<NodeId, number>()

  /** Takes note of an authentic declaration. True: it came by the link, behind others that did not. */
  heard({ node, kind }: OwnershipDeclaration, onLink: boolean): boolean {
    if (kind !== DeclarationKind.RENEW) return false
    const missed = this.#missed.get(node) ?? 0
    this.#missed.set(node, onLink ? 0 : missed + 1)
    return onLink && missed >= MISSED_RENEWALS
  }
}

/** What was heard of the bindings of `owner` lacks what was said meanwhile, and nobody can tell of which connections. */
export function distrustOf(
  owner: NodeId,
  ownerships: readonly Ownership[],
  tell: (report: NodeReport) => void,
): void {
  for (const each of ownerships) {
    if (each.state !== 'standby' || each.owner !== owner) continue
    each.snooper.distrust()
    tell({ event: 'link-gap', binding: each.binding.id, owner })
  }
}
