/**
 * Succession (P7): how many nodes go before this one when the binding's owner is gone. A node that came up behind the owner's
 * last word has overheard nothing that it could go on with: it is not in line. Nor is one that came up behind the oldest connection
 * that this node could save; and who knows of connections that it could not itself lets all others go before it (P20). Neither is this node ahead of anybody while it
 * knows of the owner from others only.
 */
import type { Millis } from '../stack/index.js'
import type { NodeId } from './binding.js'
import type { OwnershipDeclaration } from './declaration.js'
import { NO_STANDING, type Standing, termsOf } from './failover-policy.js'
import { NOBODY, type PermanencySet } from './node-options.js'
import type { Peers } from './peers.js'
import type { Coverage, Snooper } from './snooper.js'

// Parts of a turn.
const PASSING = 0.25
const LACKING = 0.5
const ALWAYS = Number.NEGATIVE_INFINITY

const EVERYTHING: Coverage = { oldestAt: Number.POSITIVE_INFINITY, lacks: false }

export class Succession {
  readonly #id: NodeId
  readonly #set: PermanencySet
  readonly #peers: Peers
  // Who has declared the binding, in which incarnation, and how it stands: of this node, what the others were told.
  readonly #members = new Map<
    NodeId,
    { readonly incarnation: number; readonly standing: Standing }
  >()
  readonly #met = new Map<NodeId, { readonly incarnation: number; readonly at: Millis }>()
  #ownerSpokeAt: Millis = Number.NEGATIVE_INFINITY
  #hearsay = false

  constructor(id: NodeId, set: PermanencySet, peers: Peers) {
    this.#id = id
    this.#set = set
    this.#peers = peers
  }

  /** A node has declared the binding: it is of its permanency set (P2). */
  declared(node: NodeId, incarnation: number, standing: Standing): void {
    this.#members.set(node, { incarnation, standing })
  }

  /** How this node stands now, with `load` connections; it is to be declared. `owner` is the binding's. */
  stand(incarnation: number, owner: NodeId, snooper: Snooper, load: number): Standing {
    const { weighs } = termsOf(this.#set.policy)
    const lacking = weighs ? snooper.lacking() : 0
    const { complete } = snooper.joining
    const standing = { complete, lacking, load, designates: this.designation(owner) }
    this.declared(this.#id, incarnation, standing)
    return standing
  }

  /** How a node stands, by its last declaration. */
  readonly standingOf = (node: NodeId): Standing => this.#members.get(node)?.standing ?? NO_STANDING

  /** The nodes of the binding's set that are up, in ascending order, this one among them. */
  get up(): NodeId[] {
    return this.#peers.upWith(this.#id).filter((node) => node === this.#id || this.#isMember(node))
  }

  /** The same without this node. */
  get others(): NodeId[] {
    return this.up.filter((node) => node !== this.#id)
  }

  #isMember(node: NodeId): boolean {
    return this.#members.get(node)?.incarnation === this.#peers.get(node)?.incarnation
  }

  /** Takes the standing of a node from its declaration. */
  handleDeclaration(d: OwnershipDeclaration): void {
    const { complete, lacking, load, designates } = d
    this.declared(d.node, d.incarnation, { complete, lacking, load, designates })
    if (complete) this.completed(d.node)
  }

  /** Whom the policy names in this node's place; NOBODY when it is alone. */
  next(): NodeId {
    return this.choose(this.others) ?? NOBODY
  }

  /** Whom the policy chooses among `nodes`, or null. */
  choose(nodes: Iterable<NodeId>): NodeId | null {
    return this.#set.policy(this.#set.binding, nodes, this.standingOf)
  }

  /** Whom this node, if it is the policy's master, would have take over from `owner`; 0: nobody. */
  designation(owner: NodeId): NodeId {
    const { master, inner } = termsOf(this.#set.policy)
    if (inner === null || master !== this.#id) return 0
    const others = this.up.filter((node) => node !== owner)
    return inner(this.#set.binding, others, this.standingOf) ?? 0
  }

  /**
   * A node has declared itself. Only a new process has overheard nothing; one that was merely silent counts itself in line,
   * and must be counted by the others alike. Returns whether it was known as another process.
   */
  met(node: NodeId, incarnation: number, now: Millis): boolean {
    const known = this.#met.get(node)
    if (known?.incarnation === incarnation) return false
    this.#met.set(node, { incarnation, at: now })
    return known !== undefined
  }

  /** A node knows of every connection: it is as if it had always been there (P27). */
  completed(node: NodeId): void {
    const met = this.#met.get(node)
    if (met !== undefined && met.at !== ALWAYS) this.#met.set(node, { ...met, at: ALWAYS })
  }

  /** The owner itself has declared that it owns the binding. */
  ownerSpoke(now: Millis): void {
    this.#ownerSpokeAt = now
    this.#hearsay = false
  }

  /** Another node has named the owner, which has not been heard here. */
  ownerNamed(): void {
    this.#hearsay = true
  }

  /**
   * How many turns this node waits. `owner` is the one that is gone; 0: the binding has none. `coverage` is what this node has
   * overheard of its connections. Fractions keep apart who does not judge alike: two that act at the same time would silence
   * each other.
   */
  rank(owner: NodeId, yieldedBy: NodeId, { oldestAt, lacks }: Coverage = EVERYTHING): number {
    const inLine = this.up.filter((node) => {
      if (node === owner || node === yieldedBy) return false
      return node === this.#id || owner === 0 || this.#wasThere(node)
    })
    if (owner !== 0 && this.#hearsay) return inLine.length - 1
    let left = inLine.filter(
      (node) => node === this.#id || owner === 0 || this.#metAt(node) <= oldestAt,
    )
    // Whom this node passes over may not know that it came too late.
    let rank = left.length < inLine.length ? PASSING : 0
    if (owner !== 0 && lacks && left.length > 1) rank += left.length - LACKING
    for (; left.length > 0; rank++) {
      const next = this.choose(left)
      if (next === this.#id || next === null) break
      left = left.filter((node) => node !== next)
    }
    return rank
  }

  // Up before the owner was heard for the last time.
  #wasThere(node: NodeId): boolean {
    return this.#metAt(node) < this.#ownerSpokeAt
  }

  #metAt(node: NodeId): Millis {
    return this.#met.get(node)?.at ?? 0
  }
}
