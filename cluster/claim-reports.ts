/**
 * ClaimReports: what a node tells of a claim of its own.
 */
import type { NodeId } from './binding.js'
import type { ClaimCause, ClaimInstants, NodeReport } from './node-actions.js'
import { NOBODY } from './node-options.js'
import type { PromotionCount } from './takeover.js'

/** Who claimed what from whom. */
export interface Claim {
  readonly binding: number
  readonly id: NodeId
  /** The last owner, or NOBODY. */
  readonly from: NodeId
  readonly epoch: number
  readonly cause: ClaimCause
}

/** The reports of a claim, in their order. */
export function claimReports(
  { binding, id, from, epoch, cause }: Claim,
  instants: ClaimInstants,
  count: PromotionCount,
): NodeReport[] {
  const last = from === NOBODY ? null : from
  const reports: NodeReport[] = [{ event: 'owner', binding, id, epoch, from: last, cause }]
  // Without a last owner too: what we watched, or owned until our lease ran out, may have been given up (D5).
  if (from !== NOBODY || count.connections > 0) {
    reports.push({ event: 'takeover', binding, from, to: id, epoch, cause, ...instants, ...count })
  }
  return reports
}
