/**
 * StrictMessage: how an owner in strict mode learns what its peers have (D2): messages of the control channel.
 *
 *   TELL   a new owner to all: "tell me what you have"
 *   HAVE   a peer to the owner: "so much of these connections is here"
 *   SAID   the owner to a peer that lags: "this was said", one segment of either direction as on the wire
 *
 * Each has the term of ownership that it was made in, and a tag. One that is malformed is no message, never an exception.
 */
import { DropReason, emitTcp, Frame, HEADROOM, OPENING, parseTcp, Segment } from '../stack/index.js'
import type { Authenticator } from './authenticator.js'
import {
  decodeFlowKey,
  encodeFlowKey,
  FLOW_KEY_LENGTH,
  FLOW_LENGTH,
  type Flow,
  type FlowKey,
  flowAt,
  putFlow,
} from './flow-key.js'
import type { Direction } from './shadow.js'
import {
  TERM_HEADER_LENGTH as HEADER_LENGTH,
  isOffset,
  isTermMessage,
  openTermMessage,
  TermMessageEncoder,
  viewOf,
} from './term-message.js'

/** How much of one connection a peer has. */
export interface Having extends Flow {
  /** Stream offset of its RCV.NXT; OPENING: our SYN only. */
  readonly received: number
  /** Stream offset up to which it has the owner's output without a hole. */
  readonly sent: number
  /** It has the owner's FIN. */
  readonly fin: boolean
}

export type StrictMessage = { readonly binding: number; readonly epoch: number } & (
  | { readonly kind: 'tell' }
  | { readonly kind: 'have'; readonly flows: readonly Having[] }
  /** `seg` is the receiver's, but its text is borrowed. */
  | {
      readonly kind: 'said'
      readonly key: FlowKey
      readonly direction: Direction
      readonly seg: Segment
    }
)

/** Connections that one message tells of at most. */
export const MAX_FLOWS_TOLD = 1000

const MAGIC = 0x55535354
const Kind = { HAVE: 1, SAID: 2, TELL: 3 } as const
const OUTBOUND = 1
// Of one connection that is told of, behind which it is.
const RECEIVED_AT = FLOW_LENGTH
const SENT_AT = FLOW_LENGTH + 8
const FIN_AT = FLOW_LENGTH + 16
const HAVING_LENGTH = FLOW_LENGTH + 17
const SEGMENT_AT = HEADER_LENGTH + FLOW_KEY_LENGTH
// A header with all its options.
const MAX_HEADER = 60

/** True when `bytes` claim to be a message of this kind. */
export function isStrictMessage(bytes: Uint8Array): boolean {
  return isTermMessage(bytes, MAGIC)
}

/** Writes messages of one binding and term; each is the caller's. */
export class StrictEncoder {
  readonly #messages: TermMessageEncoder

  constructor(authenticator: Authenticator, binding: number, epoch: number) {
    this.#messages = new TermMessageEncoder(authenticator, MAGIC, binding, epoch)
  }

  tell(): Uint8Array {
    return this.#messages.seal(this.#messages.begin(Kind.TELL, 0, HEADER_LENGTH))
  }

  /** Of MAX_FLOWS_TOLD connections at most; of none, to say that this node will tell. */
  have(flows: readonly Having[]): Uint8Array {
    const bytes = this.#messages.begin(Kind.HAVE, 0, HEADER_LENGTH + flows.length * HAVING_LENGTH)
    const view = viewOf(bytes)
    for (const [index, having] of flows.entries()) {
      const at = HEADER_LENGTH + index * HAVING_LENGTH
      putFlow(bytes, at, having)
      view.setFloat64(at + RECEIVED_AT, having.received)
      view.setFloat64(at + SENT_AT, having.sent)
      view.setUint8(at + FIN_AT, Number(having.fin))
    }
    return this.#messages.seal(bytes)
  }

  /** `seg` with its text, which is copied. */
  said(key: FlowKey, direction: Direction, seg: Segment): Uint8Array {
    const frame = new Frame(HEADROOM + MAX_HEADER + seg.textLength)
    frame.reset()
    frame.bytes.set(seg.text.subarray(seg.textStart, seg.textEnd), HEADROOM)
    frame.end = HEADROOM + seg.textLength
    emitTcp(seg, frame)
    const flags = direction === 'outbound' ? OUTBOUND : 0
    const bytes = this.#messages.begin(Kind.SAID, flags, SEGMENT_AT + frame.length)
    bytes.set(encodeFlowKey(key), HEADER_LENGTH)
    bytes.set(frame.bytes.subarray(frame.start, frame.end), SEGMENT_AT)
    return this.#messages.seal(bytes)
  }
}

/** The message in `bytes`, or null. What it keeps of them is borrowed. */
export function decodeStrictMessage(
  bytes: Uint8Array,
  authenticator: Authenticator,
): StrictMessage | null {
  const opened = openTermMessage(bytes, MAGIC, authenticator)
  if (opened === null) return null
  const { kind, flags, binding, epoch, length } = opened
  if (kind === Kind.HAVE) {
    const flows = decodeFlows(bytes.subarray(HEADER_LENGTH, length), binding)
    return flows === null ? null : { binding, epoch, kind: 'have', flows }
  }
  if (kind === Kind.TELL) return length === HEADER_LENGTH ? { binding, epoch, kind: 'tell' } : null
  if (kind !== Kind.SAID || length < SEGMENT_AT) return null
  const key = decodeFlowKey(bytes.subarray(HEADER_LENGTH))
  const frame = new Frame(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length)
  const seg = new Segment()
  const reason = parseTcp(seg, frame, SEGMENT_AT, length)
  if (reason !== DropReason.NONE || key.binding !== binding) return null
  const direction = (flags & OUTBOUND) === 0 ? 'inbound' : 'outbound'
  return { binding, epoch, kind: 'said', key, direction, seg }
}

function decodeFlows(bytes: Uint8Array, binding: number): Having[] | null {
  const count = bytes.length / HAVING_LENGTH
  if (!Number.isInteger(count) || count > MAX_FLOWS_TOLD) return null
  const view = viewOf(bytes)
  const flows: Having[] = []
  for (let at = 0; at < bytes.length; at += HAVING_LENGTH) {
    const flow = flowAt(bytes, at)
    const received = view.getFloat64(at + RECEIVED_AT)
    const sent = view.getFloat64(at + SENT_AT)
    const known = received === OPENING || isOffset(received)
    if (!known || !isOffset(sent) || flow.key.binding !== binding) return null
    flows.push({ ...flow, received, sent, fin: view.getUint8(at + FIN_AT) !== 0 })
  }
  return flows
}
