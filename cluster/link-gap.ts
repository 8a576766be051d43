/**
 * LinkGap: finds out that this node was cut off from the link for a while although the control channels went on (P4, D1). An owner says
 * each of its declarations on both; whoever heard some by the channel alone has missed what connections said, and who came up meanwhile.
 * It has to ask for both: two nodes that do not know of each other would take over at the same time.
 */
import type { Millis } from '../stack/index.js'
import type { NodeId } from './binding.js'
import { DeclarationKind, type OwnershipDeclaration } from './declaration.js'
import type { ClusterNode } from './node.js'
import type { NodeReport } from './node-actions.js'
import { NOBODY } from './node-options.js'
import type { Ownership } from './ownership.js'
import type { Notice } from './peers.js'

/** Renewals that were not heard on the link before it counts: of one the copy may be lost, or still be under way. */
export const MISSED_RENEWALS = 3

export class LinkGap {
  // Renewals that only the channel brought so far, by node and binding: of those that have a place among the peers.
  readonly #missed = new Map<number, number>()

  /**
   * Takes note of an authentic declaration, and of what it was to the peers. True: it came by the link, behind others that did not. Where
   * this node was merely busy the link's copies of those come as well, behind all that the channel brought. An owner that is `fenced`
   * will watch from the CLAIM on: it has to have heard that on the link.
   */
  heard(
    { node, binding, kind }: OwnershipDeclaration,
    onLink: boolean,
    notice: Notice,
    fenced = false,
  ): boolean {
    const claim = kind === DeclarationKind.CLAIM
    if ((kind !== DeclarationKind.RENEW && !claim) || notice === 'full') return false
    const key = node * 0x1_0000 + binding
    const before = this.#missed.get(key) ?? 0
    if (!onLink) {
      const news = notice === 'known' || notice === 'new'
      if (claim && fenced && news) this.#missed.set(key, MISSED_RENEWALS)
      else if (!claim && notice === 'known') this.#missed.set(key, before + 1)
      return false
    }
    const copy = notice === 'again' || notice === 'replayed'
    const missed = claim ? 0 : copy ? Math.max(before - 1, 0) : before
    this.#missed.set(key, notice === 'replayed' ? missed : 0)
    return notice !== 'replayed' && missed >= MISSED_RENEWALS
  }
}

/** The port of `node` was shut, and is open again: it has heard nothing meanwhile. */
export function handlePortOpened(node: Pick<ClusterNode, 'ownerships' | 'act'>, now: Millis): void {
  for (const each of node.ownerships) {
    if (each.owner === NOBODY) each.listen(now)
    distrustOf(each.owner, each, (report) => node.act({ kind: 'report', report }))
  }
}

/** What was heard of the binding lacks what `owner` said meanwhile, and nobody can tell of which connections. */
export function distrustOf(
  owner: NodeId,
  ownership: Ownership,
  tell: (report: NodeReport) => void,
): void {
  if (ownership.state !== 'standby' || ownership.owner !== owner) return
  ownership.snooper.distrust()
  tell({ event: 'link-gap', binding: ownership.binding.id, owner })
}
