/**
 * Retention: which text a shadow keeps, for how long, and on whose word.
 *
 *   sent      what the peer has not acknowledged, and one window below it, so that regenerated output can be compared (P17, P22)
 *   received  from the application's checkpoint on; without one, all from the start while that is little, so that an
 *             application can be given its whole input again; beyond that the latest (P17: more than one window)
 */
import type { Shadow } from './shadow.js'

/** Octets of acknowledged output that are kept at most, for comparison. */
export const MAX_ACKED_KEPT = 1024 * 1024
/** Octets of input that are kept at least for an application that has made no checkpoint. */
export const MAX_REPLAYED = 1024 * 1024
/** Input is kept back to the checkpoint up to this limit: an application should make one more often. */
export const MAX_SINCE_CHECKPOINT = 12 * 1024 * 1024

// What a shadow keeps before it is looked at between two writes of the mirror, and how much more comes until it is looked at again. In
// the 20 ms between them a fast link brings more than a shadow may keep; and what stays in the processor's caches is written faster.
const LOOK_AT = 2 * Math.max(MAX_REPLAYED, MAX_ACKED_KEPT)
const LOOK_EVERY = 256 * 1024

/** No checkpoint has been made for the flow. */
export const NO_CHECKPOINT = -1

/** Lets go of what nobody will ask for any more. `checkpoint` is the input offset of the last one, or NO_CHECKPOINT. */
export function purge(shadow: Shadow, checkpoint: number): void {
  const { tcb, buffers } = shadow
  buffers.sent.trim(tcb.ackedOffset - Math.min(tcb.sndWnd, MAX_ACKED_KEPT))
  const received = buffers.received
  const end = received.contiguousEnd
  if (checkpoint === NO_CHECKPOINT) {
    if (end > 2 * MAX_REPLAYED) received.trim(end - MAX_REPLAYED)
    return
  }
  received.trim(Math.max(Math.min(checkpoint, end), end - MAX_SINCE_CHECKPOINT))
}

/** True when a segment of `length` octets has made a shadow keep so much that it is to be purged before the mirror's turn comes. */
export function isFilling({ buffers: { received, sent } }: Shadow, length: number): boolean {
  if (received.readable > LOOK_AT && received.contiguousEnd % LOOK_EVERY < length) return true
  return sent.readable > LOOK_AT && sent.contiguousEnd % LOOK_EVERY < length
}
