/**
 * What a ClusterNode is made with: who it is, what it may own, how long it waits, and what it needs from outside.
 */
import type { AddressMacs, Millis, Nic, Stack } from '../stack/index.js'
import type { Authenticator } from './authenticator.js'
import type { Binding, NodeId } from './binding.js'
import type { CheckpointStore } from './checkpoint.js'
import { DoubtfulData, type FenceTarget } from './declaration.js'
import type { FailoverPolicy } from './failover-policy.js'
import type { MirrorStore } from './mirror-store.js'

/** In the place of a node's id: there is none. */
export const NOBODY: NodeId = 0

/** Spans of time; the relations between them keep two nodes from speaking at once. */
export interface NodeTiming {
  /** How long a node listens after its start before it may claim. */
  readonly bootMs: Millis
  /** Between two renewals of a declaration. */
  readonly renewMs: Millis
  /** A node that was stopped for so long has lost its lease. At most `silenceMs`. */
  readonly leaseMs: Millis
  /** The same for a stuck event loop. At most `stuckMs`. */
  readonly turnLeaseMs: Millis
  readonly silenceMs: Millis
  readonly stuckMs: Millis
  /** How long the next in line waits for the one before it. */
  readonly patienceMs: Millis
}

export const DEFAULT_TIMING: NodeTiming = {
  bootMs: 300,
  renewMs: 200,
  leaseMs: 80,
  turnLeaseMs: 800,
  silenceMs: 120,
  stuckMs: 1000,
  patienceMs: 400,
}

/** Strict mode (D2): input is acknowledged when so many peers have it, and all others that are in line. */
export interface StrictTerms {
  readonly peers: number
  /** With fewer peers: nothing is acknowledged (`hold`), or the owner goes on with those that are there, and says so. */
  readonly alone: 'hold' | 'go-on'
}

/** The nodes that may own a binding, and how they agree on which one does (P2, P7). */
export interface PermanencySet {
  readonly binding: Binding
  readonly policy: FailoverPolicy
  /** The nodes that may own it; absent: all that declare it. */
  readonly members?: readonly NodeId[]
  /** What is done with input of which the application's reading is unknown (P21): delivered again, unless told otherwise. */
  readonly doubtful?: DoubtfulData
  /**
   * What happens when the node that the policy prefers is back and another owns the binding (P23): it stays there until that one fails
   * or hands over, as when this is absent; or address and new connections return, and those that are active end where they are.
   */
  readonly recovery?: 'stay' | 'return'
  /** Absent: no acknowledgement waits for a peer. */
  readonly strict?: StrictTerms
  /**
   * The address has bindings beside this one, which other nodes may own (P25): its ARP, or neighbour discovery, is answered by whoever owns
   * this binding, or the one of which this is `here`. Absent: it has no other.
   */
  readonly arp?: 'here' | 'elsewhere'
  /** Ethernet addresses that the address has to itself (P12); absent: those of its owner's NIC. */
  readonly macs?: AddressMacs
  /** Bindings of the same address of whose sets this node is not (P2, P25): what is for their ports is others' business. */
  readonly beside?: readonly Binding[]
  /** How many `members`, itself counted, a node must hear to own (D3); more than half of them. Absent: none. */
  readonly quorum?: number
}

export function doubtfulDataOf({ doubtful }: PermanencySet): DoubtfulData {
  return doubtful ?? DoubtfulData.DELIVER
}

const GO_ON = 0x80

/** The strict terms as declarations have them: the number of peers, and whether the owner goes on with fewer; 0: not strict. */
export function strictCode({ strict }: PermanencySet): number {
  return strict === undefined ? 0 : strict.peers | (strict.alone === 'go-on' ? GO_ON : 0)
}

/** The same in words. */
export function strictName(code: number): string {
  if (code === 0) return 'off'
  return `${code & ~GO_ON}${(code & GO_ON) === 0 ? '' : ' go-on'}`
}

export interface NodeOptions {
  readonly id: NodeId
  /** When this process started, in ms since the Unix epoch. */
  readonly incarnation: number
  readonly cluster: string
  /** The bindings that this node may own; their ids and their ports differ. */
  readonly sets: readonly PermanencySet[]
  readonly controlAddress: number
  readonly controlPort: number
  readonly heartbeatPort: number
  readonly fence: FenceTarget
  readonly application: string
  readonly timing: NodeTiming
}

/** What a node needs from outside. */
export interface NodeWorld {
  readonly stack: Stack
  readonly nic: Nic
  readonly mirrorStore: MirrorStore
  readonly checkpoints: CheckpointStore
  readonly authenticator: Authenticator
}
