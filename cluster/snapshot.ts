/**
 * Snapshot: what an owner tells a node that came up late of the connections that it holds (P27): messages of the control channel.
 *
 *   REQUEST   "tell me of the binding", from the start or on from where the last page ended
 *   FLOW      one connection: its Tcb as a record, and where its text begins
 *   TEXT      a run of its text, as many as there are
 *   INSTALL   that was all of it
 *   PAGE      the end of a page; more follow on request, so that nothing piles up in the channel
 *
 * Each has the term of ownership that it was made in, and a tag. One that is malformed is no message, never an exception.
 */
import type { Authenticator } from './authenticator.js'
import { decodeFlowKey, encodeFlowKey, FLOW_KEY_LENGTH, type FlowKey } from './flow-key.js'
import type { TextSide } from './mirror-store.js'
import { decodeTcbRecord, TCB_RECORD_LENGTH, type TcbRecord } from './tcb-record.js'
import {
  TERM_HEADER_LENGTH as HEADER_LENGTH,
  isOffset,
  isTermMessage,
  openTermMessage,
  TermMessageEncoder,
  viewOf,
} from './term-message.js'

export type SnapshotMessage = {
  readonly binding: number
  readonly epoch: number
  /** The number of the request from the start that this belongs to: what is left of an earlier answer is none of a later one. */
  readonly round: number
} & (
  | { readonly kind: 'request'; readonly fromStart: boolean }
  | {
      readonly kind: 'flow'
      readonly key: FlowKey
      readonly opener: boolean
      readonly record: TcbRecord
      /** Stream offsets from which on there is text. */
      readonly received: number
      readonly sent: number
    }
  /** `bytes` is borrowed. */
  | {
      readonly kind: 'text'
      readonly side: TextSide
      readonly offset: number
      readonly bytes: Uint8Array
    }
  | { readonly kind: 'install' }
  /** The last page may tell that connections were left out: they are to be asked for again. */
  | { readonly kind: 'page'; readonly more: boolean; readonly lacks: boolean }
)

/** Numbers of requests that there are, before the first is used again. */
const ROUNDS = 64

/** The number of the request behind the one with `round`. */
export function nextRound(round: number): number {
  return (round + 1) % ROUNDS
}

/** A flow as it is to be encoded: its record has been encoded already. */
export interface OutgoingFlow {
  readonly key: FlowKey
  readonly opener: boolean
  readonly record: Uint8Array
  readonly received: number
  readonly sent: number
}

const MAGIC = 0x5553534e
const Kind = { REQUEST: 1, FLOW: 2, TEXT: 3, INSTALL: 4, PAGE: 5 } as const
const FLAG = 1
const LACKS = 2
// Above these the number of the request.
const ROUND_SHIFT = 2
const RECORD_AT = HEADER_LENGTH + FLOW_KEY_LENGTH + 16
const TEXT_AT = HEADER_LENGTH + 8

/** True when `bytes` claim to be a message of this kind. */
export function isSnapshotMessage(bytes: Uint8Array): boolean {
  return isTermMessage(bytes, MAGIC)
}

/** Writes messages of one binding, term and round; each is the caller's. */
export class SnapshotEncoder {
  readonly #messages: TermMessageEncoder
  readonly #round: number

  constructor(authenticator: Authenticator, binding: number, epoch: number, round: number) {
    this.#round = round << ROUND_SHIFT
    this.#messages = new TermMessageEncoder(authenticator, MAGIC, binding, epoch)
  }

  request(fromStart: boolean): Uint8Array {
    return this.#messages.seal(this.#begin(Kind.REQUEST, fromStart ? FLAG : 0, HEADER_LENGTH))
  }

  flow({ key, opener, record, received, sent }: OutgoingFlow): Uint8Array {
    const bytes = this.#begin(Kind.FLOW, opener ? FLAG : 0, RECORD_AT + TCB_RECORD_LENGTH)
    const view = viewOf(bytes)
    bytes.set(encodeFlowKey(key), HEADER_LENGTH)
    view.setFloat64(HEADER_LENGTH + FLOW_KEY_LENGTH, received)
    view.setFloat64(HEADER_LENGTH + FLOW_KEY_LENGTH + 8, sent)
    bytes.set(record, RECORD_AT)
    return this.#messages.seal(bytes)
  }

  /** A message with room for `length` octets of text, which `fill` writes from the given index on. */
  text(
    side: TextSide,
    offset: number,
    length: number,
    fill: (into: Uint8Array, at: number) => void,
  ): Uint8Array {
    const bytes = this.#begin(Kind.TEXT, side === 'sent' ? FLAG : 0, TEXT_AT + length)
    viewOf(bytes).setFloat64(HEADER_LENGTH, offset)
    fill(bytes, TEXT_AT)
    return this.#messages.seal(bytes)
  }

  install(): Uint8Array {
    return this.#messages.seal(this.#begin(Kind.INSTALL, 0, HEADER_LENGTH))
  }

  page(more: boolean, lacks: boolean): Uint8Array {
    const flags = (more ? FLAG : 0) | (lacks ? LACKS : 0)
    return this.#messages.seal(this.#begin(Kind.PAGE, flags, HEADER_LENGTH))
  }

  #begin(kind: number, flags: number, length: number): Uint8Array {
    return this.#messages.begin(kind, flags | this.#round, length)
  }
}

/** The message in `bytes`, or null. What it keeps of them is borrowed. */
export function decodeSnapshotMessage(
  bytes: Uint8Array,
  authenticator: Authenticator,
): SnapshotMessage | null {
  const opened = openTermMessage(bytes, MAGIC, authenticator)
  if (opened === null) return null
  const { kind, flags, binding, epoch, length } = opened
  const flag = (flags & FLAG) !== 0
  const head = { binding, epoch, round: flags >> ROUND_SHIFT }
  switch (kind) {
    case Kind.REQUEST:
      return { ...head, kind: 'request', fromStart: flag }
    case Kind.FLOW: {
      const flow = decodeFlow(bytes.subarray(0, length))
      return flow === null ? null : { ...head, kind: 'flow', opener: flag, ...flow }
    }
    case Kind.TEXT: {
      const offset = length < TEXT_AT ? -1 : viewOf(bytes).getFloat64(HEADER_LENGTH)
      if (!isOffset(offset)) return null
      const text = bytes.subarray(TEXT_AT, length)
      return { ...head, kind: 'text', side: flag ? 'sent' : 'received', offset, bytes: text }
    }
    case Kind.INSTALL:
      return { ...head, kind: 'install' }
    case Kind.PAGE:
      return { ...head, kind: 'page', more: flag, lacks: (flags & LACKS) !== 0 }
    default:
      return null
  }
}

function decodeFlow(bytes: Uint8Array) {
  if (bytes.length !== RECORD_AT + TCB_RECORD_LENGTH) return null
  const view = viewOf(bytes)
  const key = decodeFlowKey(bytes.subarray(HEADER_LENGTH))
  const received = view.getFloat64(HEADER_LENGTH + FLOW_KEY_LENGTH)
  const sent = view.getFloat64(HEADER_LENGTH + FLOW_KEY_LENGTH + 8)
  const record = decodeTcbRecord(bytes.subarray(RECORD_AT))
  return record === null || !isOffset(received) || !isOffset(sent)
    ? null
    : { key, record, received, sent }
}
