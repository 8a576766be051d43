/**
 * FailoverPolicy (P7): who takes over. A policy is a pure function: the same knowledge gives the same successor on every node.
 */
import type { Binding, NodeId } from './binding.js'

/** Chooses the owner of `binding` among the nodes that are up; null when there is none. */
export type FailoverPolicy = (binding: Binding, up: Iterable<NodeId>) => NodeId | null

/** The default: the numerically smallest cluster-node id takes over. */
export const smallestId: FailoverPolicy = (_binding, up) => {
  let smallest: NodeId | null = null
  for (const id of up) {
    if (smallest === null || id < smallest) smallest = id
  }
  return smallest
}
