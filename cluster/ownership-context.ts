/**
 * OwnershipContext: what the bindings of one node share, as each Ownership sees it.
 */
import type { IpAddress, Millis } from '../stack/index.js'
import type { NodeId } from './binding.js'
import type { DeclarationKind } from './declaration.js'
import type { FailureDetector } from './failure-detector.js'
import type { Action } from './node-actions.js'
import type { NodeOptions, NodeWorld, PermanencySet } from './node-options.js'
import type { Ownership } from './ownership.js'
import type { Peers } from './peers.js'
import type { Snooper } from './snooper.js'

export type OwnershipState = 'standby' | 'claiming' | 'owner' | 'fenced'

/** What is known of the ownership of a binding, for whoever goes on with connections of it beside the owner. */
export interface CarriageTerm {
  readonly snooper: Snooper
  readonly epoch: number
  readonly owner: NodeId
  readonly state: string
  readonly set: PermanencySet
  readonly binding: { readonly id: number; readonly address: IpAddress }
}

/** What a declaration says other than of the owner and the term that its maker knows. */
export interface Declared {
  readonly epoch?: number
  readonly owner?: NodeId
  readonly connections?: number
}

export interface OwnershipContext {
  readonly options: NodeOptions
  readonly world: NodeWorld
  readonly peers: Peers
  readonly detector: FailureDetector
  /** Asks the world for something. */
  act(action: Action): void
  /** Declares on link and channels what `kind` says, of the owner and the term that are known, or of `what`. */
  declare(kind: DeclarationKind, solicit: boolean, of: Ownership, what?: Declared): void
  /** Tells `to`, by the link alone, that the binding with so many connections is its own now (P24): by a YIELD, or by `kind`. */
  handOver(of: Ownership, to: NodeId, connections: number, kind?: DeclarationKind): void
  /** Makes sure that `node` is silent; the answer comes by `handleFenced`. */
  silence(node: NodeId, now: Millis): void
  /** The node is dead: it is out of every line until it declares itself anew. */
  bury(node: NodeId, now: Millis): void
  /** `of` has begun or ceased to speak for its address, or for some of its connections. */
  handleSpeaker(of: Ownership): void
  /** Sets the state of the address of `of` by what this node speaks for. */
  setSpeaker(of: Ownership): void
  /** Opens the port of this node, which a peer may have shut, unless it owns something else than `of`: then that peer may mean it. */
  openPort(of: Ownership): void
  /** Another node has claimed what `of` owned, so it takes this one for dead, and may have fenced it. */
  handleOutclaimed(of: Ownership, now: Millis): void
}
