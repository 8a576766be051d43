/**
 * FailoverPolicy (P7, P26): who takes over. A policy is a pure function: the same knowledge gives the same successor on every node. What
 * it may know of a node beyond its id is the node's `Standing`, as its last declaration gave it to everybody, itself included.
 *
 * A policy of one's own: `namePolicy('mine', (binding, up, standingOf) => …)`, on each node and before the configuration is read, in
 * which it is then `"policy": "mine"`.
 */
import type { Binding, NodeId } from './binding.js'

/** What a node has declared of itself as a successor in one binding. */
export interface Standing {
  /** It knows of every connection of the binding, as far as it can tell. */
  readonly complete: boolean
  /** Connections of the binding that it could not take over. */
  readonly lacking: number
  /** Connections that it serves, of all its bindings. */
  readonly load: number
  /** Whom it would have take over, when it is the master (see {@link master}); 0: nobody in particular. */
  readonly designates: NodeId
}

/** Of a node that has declared nothing yet. */
export const NO_STANDING: Standing = { complete: false, lacking: 0, load: 0, designates: 0 }

/** Chooses the owner of `binding` among the nodes that are up; null when there is none. */
export type FailoverPolicy = (
  binding: Binding,
  up: Iterable<NodeId>,
  standingOf: (node: NodeId) => Standing,
) => NodeId | null

/** How a policy is declared: the number of its kind and its name with all that it depends on, which must be the same on each node. */
export interface PolicyTerms {
  readonly number: number
  readonly name: string
  /** It asks for standings: nodes renew them. */
  readonly weighs: boolean
  readonly master: NodeId
  /** By which the master designates. */
  readonly inner: FailoverPolicy | null
}

/** The numbers of policies in declarations. */
export const ConnectionPolicy = {
  SMALLEST_ID: 1,
  ORDERED: 2,
  MASTER: 3,
  ELECTION: 4,
  SPREAD: 5,
  OWN: 255,
} as const

/** Octets of a policy's name at most, in ASCII: it is declared. */
export const MAX_POLICY_NAME = 255

const terms = new WeakMap<FailoverPolicy, PolicyTerms>()
const byName = new Map<string, FailoverPolicy>()

function declareAs(
  policy: FailoverPolicy,
  number: number,
  name: string,
  weighs: boolean,
  designator: { readonly master: NodeId; readonly inner: FailoverPolicy } | null = null,
): FailoverPolicy {
  const cut = name.slice(0, MAX_POLICY_NAME)
  const { master: by = 0, inner = null } = designator ?? {}
  terms.set(policy, { number, name: cut, weighs, master: by, inner })
  return policy
}

/**
 * Gives a policy of one's own the name by which configurations choose it and nodes compare it. Parameters belong into the name: two
 * nodes with the same name must choose alike. Returns `policy`.
 */
export function namePolicy(name: string, policy: FailoverPolicy): FailoverPolicy {
  byName.set(name, policy)
  return declareAs(policy, ConnectionPolicy.OWN, name, true)
}

/** The policy with this name and without parameters, or undefined. */
export function policyNamed(name: string): FailoverPolicy | undefined {
  return byName.get(name)
}

export function policyNames(): string[] {
  return [...byName.keys()]
}

/** How `policy` is declared. One that was not named goes by the name of its function. */
export function termsOf(policy: FailoverPolicy): PolicyTerms {
  const known = terms.get(policy)
  if (known !== undefined) return known
  const { name } = policy
  return { number: ConnectionPolicy.OWN, name, weighs: true, master: 0, inner: null }
}

/** The default: the numerically smallest cluster-node id takes over. */
export const smallestId: FailoverPolicy = (_binding, up) => {
  let smallest: NodeId | null = null
  for (const id of up) if (smallest === null || id < smallest) smallest = id
  return smallest
}
declareAs(smallestId, ConnectionPolicy.SMALLEST_ID, 'smallest-id', false)
byName.set('smallest-id', smallestId)

/** The first of `order` that is up; those that it does not name come behind it, by id. A range of ports has an order by its binding. */
export function orderedList(order: readonly NodeId[]): FailoverPolicy {
  const choose: FailoverPolicy = (binding, up, standingOf) => {
    const living = [...up]
    return order.find((id) => living.includes(id)) ?? smallestId(binding, living, standingOf)
  }
  return declareAs(choose, ConnectionPolicy.ORDERED, `ordered ${order.join(',')}`, false)
}

// Negative when `a` goes before `b`.
type Order = (a: NodeId, b: NodeId) => number

function first(up: Iterable<NodeId>, order: Order): NodeId | null {
  let best: NodeId | null = null
  for (const id of up) if (best === null || order(id, best) < 0) best = id
  return best
}

/** Each votes by what it has declared to hold: completeness, then the lesser load, then the smaller id. */
export const election: FailoverPolicy = (_binding, up, standingOf) =>
  first(up, (a, b) => {
    const [one, other] = [standingOf(a), standingOf(b)]
    if (one.complete !== other.complete) return one.complete ? -1 : 1
    return one.lacking - other.lacking || one.load - other.load || a - b
  })
declareAs(election, ConnectionPolicy.ELECTION, 'election', true)
byName.set('election', election)

/**
 * Spreads bindings over the nodes (P26): the one that serves least, by powers of two; among equals each binding has an order of its
 * own, so that the bindings of one owner go to several peers.
 */
export const spread: FailoverPolicy = (binding, up, standingOf) => {
  const load = (id: NodeId): number => 32 - Math.clz32(standingOf(id).load)
  return first(up, (a, b) => load(a) - load(b) || weight(binding, b) - weight(binding, a) || a - b)
}
declareAs(spread, ConnectionPolicy.SPREAD, 'spread', true)
byName.set('spread', spread)

// Rendezvous hashing: where a node comes or goes no other changes its place.
function weight({ id }: Binding, node: NodeId): number {
  let h = Math.imul(id ^ 0x9e37_79b9, 0x85eb_ca6b) ^ node
  h = Math.imul(h ^ (h >>> 16), 0x7feb_352d)
  h = Math.imul(h ^ (h >>> 15), 0x846c_a68b)
  return (h ^ (h >>> 16)) >>> 0
}

/**
 * Node `by` decides: it declares whom it would have take over, chosen by `inner`, before anything happens. Where it has not, or has named
 * one that is gone, the smallest id takes over.
 */
export function master(by: NodeId, inner: FailoverPolicy = election): FailoverPolicy {
  const choose: FailoverPolicy = (binding, up, standingOf) => {
    const living = [...up]
    const { designates } = standingOf(by)
    return living.includes(designates) ? designates : smallestId(binding, living, standingOf)
  }
  const name = `master ${by} ${termsOf(inner).name}`
  return declareAs(choose, ConnectionPolicy.MASTER, name, true, { master: by, inner })
}
