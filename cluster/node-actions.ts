/**
 * What a ClusterNode asks of the world, and what it tells: plain data, pulled by whoever drives the node.
 */
import type { Millis } from '../stack/index.js'
import type { NodeId } from './binding.js'
import type { FenceTarget } from './declaration.js'
import type { Cause } from './failure-detector.js'
import type { GivenUp } from './resume-point.js'
import type { StrictState } from './strict-mode.js'
import type { PromotionCount } from './takeover.js'

/** Why a node claimed: a failure, its boot with nobody there, or that the owner yielded. */
export type ClaimCause = Cause | 'boot' | 'yield'

export type Action =
  /** Make sure that `node` is silent, and say so by `handleFenced`. */
  | { readonly kind: 'fence'; readonly node: NodeId; readonly target: FenceTarget }
  /** Open our own port again, which a peer may have shut. */
  | { readonly kind: 'unfence' }
  /** A node is there: keep a control channel to it and exchange heartbeats. */
  | {
      readonly kind: 'meet'
      readonly node: NodeId
      readonly controlAddress: number
      readonly controlPort: number
      readonly heartbeatPort: number
    }
  /** Send a message on every control channel. `bytes` is the receiver's. */
  | { readonly kind: 'send'; readonly bytes: Uint8Array }
  /** Send a message to one node. `bytes` is the receiver's. */
  | { readonly kind: 'tell'; readonly node: NodeId; readonly bytes: Uint8Array }
  /** This node may speak from now on: its lease begins anew. */
  | { readonly kind: 'renew-lease' }
  | { readonly kind: 'report'; readonly report: NodeReport }

/** How long the steps of a claim took. */
export interface ClaimInstants {
  /** From the last sign of life of the owner to the suspicion. */
  readonly silentMs: Millis
  /** From the suspicion to the fence's answer. */
  readonly fencedMs: Millis
  /** From the suspicion to the claim. */
  readonly ms: Millis
}

/** What happened, for logs and metrics. */
export type NodeReport =
  | { readonly event: 'peer'; readonly node: NodeId }
  /** This node was cut off from the link for a while, or its port was shut: it asks for all connections anew. */
  | { readonly event: 'link-gap'; readonly binding: number; readonly owner: NodeId }
  | { readonly event: 'peer-down'; readonly node: NodeId; readonly cause: Cause }
  | { readonly event: 'duplicate-id' }
  /** The owner could not go on with this connection, and `node` does (P20). */
  | {
      readonly event: 'flow-passed'
      readonly binding: number
      readonly localPort: number
      readonly remote: string
      readonly node: NodeId
    }
  /** Strict mode (D2): so many peers confirm what this node acknowledges, of those that its terms want. */
  | {
      readonly event: 'strict'
      readonly binding: number
      readonly epoch: number
      readonly state: StrictState
      readonly confirming: number
      readonly peers: number
    }
  /** This node goes on with a connection that the owner, `node`, could not. */
  | {
      readonly event: 'flow-carried'
      readonly binding: number
      readonly localPort: number
      readonly remote: string
      readonly node: NodeId
    }
  /** Nobody could go on with this connection: its client has been reset. */
  | {
      readonly event: 'flow-lost'
      readonly binding: number
      readonly localPort: number
      readonly remote: string
      readonly reason: GivenUp
    }
  /** Another node means other addresses or ports by the number of this binding: one of the two is configured wrongly. */
  | { readonly event: 'binding-mismatch'; readonly node: NodeId; readonly binding: number }
  /** Another node has other terms for this binding: another fail-over policy, say. One of the two is configured wrongly. */
  | {
      readonly event: 'terms-mismatch'
      readonly node: NodeId
      readonly binding: number
      readonly what: 'set' | 'policy' | 'doubtful' | 'strict' | 'recovery' | 'arp'
      readonly ours: string
      readonly theirs: string
    }
  | {
      readonly event: 'suspect'
      readonly node: NodeId
      readonly cause: Cause
      readonly binding: number
    }
  | {
      readonly event: 'standby'
      readonly binding: number
      readonly owner: NodeId
      readonly epoch: number
      /** True when this node owned the binding until now. */
      readonly yielded: boolean
    }
  /** Planned transfer (P24): this node has given the binding to `to` with its connections, and speaks for it no more. */
  | {
      readonly event: 'handover'
      readonly binding: number
      readonly to: NodeId
      readonly epoch: number
      readonly connections: number
    }
  /** Owner recovery (P23): this node has returned the binding to `to`; the connections that are active stay, here and elsewhere. */
  | {
      readonly event: 'owner-recovery'
      readonly binding: number
      readonly to: NodeId
      readonly epoch: number
      readonly connections: number
    }
  /** The binding was to go to `to`, which could not have gone on with every connection: it stays. */
  | {
      readonly event: 'handover-refused'
      readonly binding: number
      readonly to: NodeId
      readonly epoch: number
    }
  /** `node` could not be silenced before its address is taken (D3): its lease must run out. */
  | { readonly event: 'fence-failed'; readonly node: NodeId; readonly reason: string }
  /** Of the set no more than `heard` nodes are heard, this one counted, where `quorum` are to be (D3): it falls silent. */
  | {
      readonly event: 'quorum-lost'
      readonly binding: number
      readonly heard: number
      readonly quorum: number
    }
  | { readonly event: 'fenced'; readonly binding: number; readonly epoch: number }
  /** The node has been told of the connections that began before it was there, and can take over any (P27). */
  | {
      readonly event: 'joined'
      readonly binding: number
      readonly owner: NodeId
      readonly connections: number
    }
  | {
      readonly event: 'owner'
      readonly binding: number
      readonly id: NodeId
      readonly epoch: number
      readonly from: NodeId | null
      readonly cause: ClaimCause
    }
  /** Of the connections of the last take-over these lacked something, and were promoted or given up a little later (D1). */
  | ({
      readonly event: 'repaired'
      readonly binding: number
      readonly epoch: number
    } & PromotionCount)
  | ({
      readonly event: 'takeover'
      readonly binding: number
      readonly from: NodeId
      readonly to: NodeId
      readonly epoch: number
      readonly cause: ClaimCause
    } & ClaimInstants &
      PromotionCount)
