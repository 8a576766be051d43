/**
 * RecoveryMessage: the owner recovery directive (P23): which connections of a binding go on with others when the binding returns to its
 * recovered owner. A message of the control channel in pages; each has the term of ownership that ends with it, and a tag. One that is
 * malformed is no message, never an exception.
 */
import type { Authenticator } from './authenticator.js'
import type { NodeId } from './binding.js'
import { decodeFlowKey, encodeFlowKey, FLOW_KEY_LENGTH, type FlowKey } from './flow-key.js'
import {
  TERM_HEADER_LENGTH as HEADER_LENGTH,
  isTermMessage,
  openTermMessage,
  TermMessageEncoder,
  viewOf,
} from './term-message.js'

/** A connection, and who serves it. */
export interface ActiveFlow {
  readonly key: FlowKey
  readonly node: NodeId
}

/** One page of a directive. */
export interface RecoveryMessage {
  readonly binding: number
  readonly epoch: number
  /** The place of this page, from 0. */
  readonly page: number
  readonly flows: readonly ActiveFlow[]
}

/** Connections that one page names at most. */
export const MAX_FLOWS_NAMED = 1000
/** Connections that a directive names at most: a binding with more stays where it is. */
export const MAX_ACTIVE_FLOWS = 64 * MAX_FLOWS_NAMED

const MAGIC = 0x55534f52
const ACTIVE = 1
const FLOWS_AT = HEADER_LENGTH + 4
const FLOW_LENGTH = FLOW_KEY_LENGTH + 4

/** True when `bytes` claim to be a message of this kind. */
export function isRecoveryMessage(bytes: Uint8Array): boolean {
  return isTermMessage(bytes, MAGIC)
}

/** The directive that names `flows`, in pages: at least one. Each is the caller's. */
export function encodeRecoveryMessages(
  flows: readonly ActiveFlow[],
  binding: number,
  epoch: number,
  authenticator: Authenticator,
): Uint8Array[] {
  const encoder = new TermMessageEncoder(authenticator, MAGIC, binding, epoch)
  const pages: Uint8Array[] = []
  do {
    const first = pages.length * MAX_FLOWS_NAMED
    const named = flows.slice(first, first + MAX_FLOWS_NAMED)
    const bytes = encoder.begin(ACTIVE, 0, FLOWS_AT + named.length * FLOW_LENGTH)
    const view = viewOf(bytes)
    view.setUint32(HEADER_LENGTH, pages.length)
    for (const [i, { key, node }] of named.entries()) {
      const at = FLOWS_AT + i * FLOW_LENGTH
      bytes.set(encodeFlowKey(key), at)
      view.setUint32(at + FLOW_KEY_LENGTH, node)
    }
    pages.push(encoder.seal(bytes))
  } while (pages.length * MAX_FLOWS_NAMED < flows.length)
  return pages
}

/** The message in `bytes`, or null. */
export function decodeRecoveryMessage(
  bytes: Uint8Array,
  authenticator: Authenticator,
): RecoveryMessage | null {
  const head = openTermMessage(bytes, MAGIC, authenticator)
  if (head === null || head.kind !== ACTIVE || head.length < FLOWS_AT) return null
  const { binding, epoch, length } = head
  const count = (length - FLOWS_AT) / FLOW_LENGTH
  if (!Number.isInteger(count) || count > MAX_FLOWS_NAMED) return null
  if (!Number.isSafeInteger(epoch) || epoch < 0) return null
  const view = viewOf(bytes)
  const page = view.getUint32(HEADER_LENGTH)
  if ((page + 1) * MAX_FLOWS_NAMED > MAX_ACTIVE_FLOWS) return null
  const flows: ActiveFlow[] = []
  for (let at = FLOWS_AT; at < length; at += FLOW_LENGTH) {
    const key = decodeFlowKey(bytes.subarray(at))
    const node = view.getUint32(at + FLOW_KEY_LENGTH)
    if (key.binding !== binding || node === 0) return null
    flows.push({ key, node })
  }
  return { binding, epoch, page, flows }
}
