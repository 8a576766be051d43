/**
 * FlowMessage: what nodes tell each other of single connections of a binding, over the control channel.
 *
 *   TAKE      the fail-over directive (P20): "go on with this one, which I cannot save"
 *   CARRIED   "this one is served by me, whoever owns the binding": the answer to TAKE, to all
 *   REFUSED   "I cannot go on with it either", or "not any more"
 *   ENDED     "it is over": its endpoints are the owner's again
 *   FORSAKEN  "I served this one until you outclaimed me, and you do not": its ISS is SND.NXT, for a reset
 *
 * Each has the term of ownership that it was made in, and a tag. One that is malformed is no message, never an exception.
 */
import type { Authenticator } from './authenticator.js'
import { FLOW_LENGTH, type Flow, flowAt, putFlow } from './flow-key.js'

export const FlowMessageKind = { TAKE: 1, CARRIED: 2, REFUSED: 3, ENDED: 4, FORSAKEN: 5 } as const
export type FlowMessageKind = (typeof FlowMessageKind)[keyof typeof FlowMessageKind]

/** The binding of its key is that of the message; ISS and IRS are those that the sender knows, 0 when it does not. */
export interface FlowMessage extends Flow {
  readonly kind: FlowMessageKind
  readonly epoch: number
}

const MAGIC = 0x5553464c
const FLOW_AT = 14
const LENGTH = FLOW_AT + FLOW_LENGTH

/** True when `bytes` claim to be a message of this kind. */
export function isFlowMessage(bytes: Uint8Array): boolean {
  return bytes.length >= LENGTH && viewOf(bytes).getUint32(0) === MAGIC
}

/** Encodes a message with its tag; the result is the caller's. */
export function encodeFlowMessage(m: FlowMessage, authenticator: Authenticator): Uint8Array {
  const bytes = new Uint8Array(LENGTH + authenticator.tagLength)
  const view = viewOf(bytes)
  view.setUint32(0, MAGIC)
  view.setUint8(4, m.kind)
  view.setFloat64(6, m.epoch)
  putFlow(bytes, FLOW_AT, m)
  authenticator.sign(bytes.subarray(0, LENGTH), bytes, LENGTH)
  return bytes
}

/** The message in `bytes`, or null. */
export function decodeFlowMessage(
  bytes: Uint8Array,
  authenticator: Authenticator,
): FlowMessage | null {
  if (bytes.length !== LENGTH + authenticator.tagLength || !isFlowMessage(bytes)) return null
  if (!authenticator.verify(bytes.subarray(0, LENGTH), bytes.subarray(LENGTH))) return null
  const view = viewOf(bytes)
  const kind = view.getUint8(4) as FlowMessageKind
  const epoch = view.getFloat64(6)
  if (kind < FlowMessageKind.TAKE || kind > FlowMessageKind.FORSAKEN) return null
  if (!Number.isSafeInteger(epoch) || epoch < 0) return null
  return { kind, epoch, ...flowAt(bytes, FLOW_AT) }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
}
