/**
 * The cluster: who owns what, who listens, and how a connection changes hands.
 */
export type { Authenticator } from './authenticator.js'
export { type Binding, bindingCovers, type NodeId, parseBinding } from './binding.js'
export { BindingTable } from './binding-table.js'
export { type Checkpoint, type CheckpointStore, MAX_UNSENT } from './checkpoint.js'
export {
  decodeDeclaration,
  encodeDeclaration,
  type FenceTarget,
  type OwnershipDeclaration,
} from './declaration.js'
export {
  election,
  type FailoverPolicy,
  master,
  namePolicy,
  orderedList,
  type Standing,
  smallestId,
  spread,
} from './failover-policy.js'
export { type Cause, FailureDetector } from './failure-detector.js'
export { decodeFlowKey, encodeFlowKey, type FlowKey } from './flow-key.js'
export type { MirrorStore } from './mirror-store.js'
export {
  type Action,
  ClusterNode,
  DEFAULT_TIMING,
  type NodeOptions,
  type NodeReport,
  type NodeTiming,
  type NodeWorld,
  type OwnershipState,
  type PermanencySet,
} from './node.js'
export { Ownership } from './ownership.js'
export type { ProxyTarget } from './pairs.js'
export { type ProxiedEnds, type ProxyHeader, proxyHeader } from './proxy-header.js'
export type { GivenUp, Resumption } from './resume-point.js'
export { type Direction, Shadow, type Verdict } from './shadow.js'
export { ShadowTable } from './shadow-table.js'
export { Snooper } from './snooper.js'
export type { StateEncoding, StateTable } from './state-table.js'
export { Wiretap } from './wiretap.js'
