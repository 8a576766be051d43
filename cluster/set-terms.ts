/**
 * What the nodes of a permanency set must agree on, each by its own configuration: where another one's declaration differs from ours.
 */
import { isSameBinding } from './binding.js'
import { ArpPolicy, DoubtfulData, type OwnershipDeclaration } from './declaration.js'
import { termsOf } from './failover-policy.js'
import type { NodeReport } from './node-actions.js'
import { doubtfulDataOf, type PermanencySet, strictCode, strictName } from './node-options.js'

/** One difference, with both sides in words. */
export interface Difference {
  readonly what: 'binding' | 'set' | 'policy' | 'doubtful' | 'strict' | 'recovery' | 'arp'
  readonly ours: string
  readonly theirs: string
}

/** Where `d`, a declaration by the number of this set's binding, differs. Of other addresses or ports no more is said. */
export function differencesOf(set: PermanencySet, d: OwnershipDeclaration): Difference[] {
  if (!isSameBinding(set.binding, d)) return [{ what: 'binding', ours: '', theirs: '' }]
  const found: Difference[] = []
  const { members } = set
  if (members !== undefined && !members.includes(d.node)) {
    found.push({ what: 'set', ours: members.join(','), theirs: String(d.node) })
  }
  const { number, name } = termsOf(set.policy)
  if (number !== d.connectionPolicy || name !== d.policy) {
    found.push({ what: 'policy', ours: name, theirs: d.policy })
  }
  const doubtful = doubtfulDataOf(set)
  if (doubtful !== d.doubtfulData) {
    found.push({ what: 'doubtful', ours: nameOf(doubtful), theirs: nameOf(d.doubtfulData) })
  }
  const strict = strictCode(set)
  if (strict !== d.strict) {
    found.push({ what: 'strict', ours: strictName(strict), theirs: strictName(d.strict) })
  }
  const arp = set.arp === 'elsewhere' ? ArpPolicy.ELSEWHERE : ArpPolicy.OWNER
  if (arp !== d.arpPolicy)
    found.push({ what: 'arp', ours: arpName(arp), theirs: arpName(d.arpPolicy) })
  const recovery = set.recovery === 'return'
  if (recovery !== d.recovery) {
    found.push({ what: 'recovery', ours: recoveryName(recovery), theirs: recoveryName(d.recovery) })
  }
  return found
}

/** What was found of each node and binding, so that it is told once. */
export class TermsCheck {
  // In which incarnation the terms of a node and a binding were compared with ours.
  readonly #compared = new Map<string, number>()

  /** Compares `d`, and tells each difference once. False: the node means another binding by this number, or is not of its set. */
  agree(set: PermanencySet, d: OwnershipDeclaration, tell: (report: NodeReport) => void): boolean {
    const { node, binding, incarnation } = d
    const key = `${node} ${binding}`
    const differences = differencesOf(set, d)
    if (this.#compared.get(key) !== incarnation) {
      this.#compared.set(key, incarnation)
      for (const { what, ours, theirs } of differences) {
        if (what === 'binding') tell({ event: 'binding-mismatch', node, binding })
        else tell({ event: 'terms-mismatch', node, binding, what, ours, theirs })
      }
    }
    return !differences.some(({ what }) => what === 'binding' || what === 'set')
  }
}

function recoveryName(returns: boolean): string {
  return returns ? 'return' : 'stay'
}

function arpName(policy: number): string {
  return policy === ArpPolicy.ELSEWHERE ? 'elsewhere' : 'here'
}

function nameOf(doubtful: number): string {
  return doubtful === DoubtfulData.DROP ? 'drop' : 'deliver'
}
