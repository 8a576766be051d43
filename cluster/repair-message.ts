/**
 * RepairMessage: how nodes bring each other text that one of them missed (D1): messages of the control channel.
 *
 *   ASK     "these ranges of this connection are missing here"
 *   TEXT    a run of it, with the peer's FIN behind it when that was missed, too
 *   NONE    "nor are they here"
 *   REPORT  how many connections of the binding its maker could take over, and how many it could not
 *
 * Each has the term of ownership that it was made in, and a tag; those about a connection have its ISS and IRS, which tell it from an
 * earlier one between the same endpoints. One that is malformed is no message, never an exception.
 */
import type { Authenticator } from './authenticator.js'
import { FLOW_LENGTH, type Flow, flowAt, putFlow } from './flow-key.js'
import type { TextSide } from './mirror-store.js'
import {
  TERM_HEADER_LENGTH as HEADER_LENGTH,
  isOffset,
  isTermMessage,
  openTermMessage,
  TermMessageEncoder,
  viewOf,
} from './term-message.js'

/** Octets of one direction, by stream offset. The place behind the last octet of text is the FIN's. */
export interface Range {
  readonly side: TextSide
  readonly from: number
  readonly to: number
}

export type RepairMessage = { readonly binding: number; readonly epoch: number } & (
  | ({ readonly kind: 'ask'; readonly ranges: readonly Range[] } & Flow)
  /** `bytes` is borrowed. */
  | ({
      readonly kind: 'text'
      readonly side: TextSide
      readonly offset: number
      readonly bytes: Uint8Array
      readonly fin: boolean
    } & Flow)
  | ({ readonly kind: 'none' } & Flow)
  | { readonly kind: 'report'; readonly ready: number; readonly lacking: number }
)

/** Ranges of one request at most; what lies behind them is asked for later. */
export const MAX_RANGES_ASKED = 16
/** Octets of one run of text at most. */
export const MAX_RUN = 64 * 1024

const MAGIC = 0x55535250
const BODY_AT = HEADER_LENGTH + FLOW_LENGTH
const RANGE_LENGTH = 20
const Kind = { ASK: 1, TEXT: 2, NONE: 3, REPORT: 4 } as const
const SENT = 1
const FIN = 2

/** True when `bytes` claim to be a message of this kind. */
export function isRepairMessage(bytes: Uint8Array): boolean {
  return isTermMessage(bytes, MAGIC)
}

/** Writes messages of one binding and term; each is the caller's. */
export class RepairEncoder {
  readonly #messages: TermMessageEncoder

  constructor(authenticator: Authenticator, binding: number, epoch: number) {
    this.#messages = new TermMessageEncoder(authenticator, MAGIC, binding, epoch)
  }

  ask(flow: Flow, ranges: readonly Range[]): Uint8Array {
    const bytes = this.#begin(Kind.ASK, 0, BODY_AT + ranges.length * RANGE_LENGTH, flow)
    const view = viewOf(bytes)
    for (const [index, { side, from, to }] of ranges.entries()) {
      const at = BODY_AT + index * RANGE_LENGTH
      view.setUint32(at, side === 'sent' ? SENT : 0)
      view.setFloat64(at + 4, from)
      view.setFloat64(at + 12, to)
    }
    return this.#messages.seal(bytes)
  }

  /** `fill` writes the `length` octets of text from the given index on. */
  text(
    flow: Flow,
    run: { readonly side: TextSide; readonly offset: number; readonly fin: boolean },
    length: number,
    fill: (into: Uint8Array, at: number) => void,
  ): Uint8Array {
    const flags = (run.side === 'sent' ? SENT : 0) | (run.fin ? FIN : 0)
    const bytes = this.#begin(Kind.TEXT, flags, BODY_AT + 8 + length, flow)
    viewOf(bytes).setFloat64(BODY_AT, run.offset)
    if (length > 0) fill(bytes, BODY_AT + 8)
    return this.#messages.seal(bytes)
  }

  none(flow: Flow): Uint8Array {
    return this.#messages.seal(this.#begin(Kind.NONE, 0, BODY_AT, flow))
  }

  report(ready: number, lacking: number): Uint8Array {
    const bytes = this.#messages.begin(Kind.REPORT, 0, HEADER_LENGTH + 8)
    const view = viewOf(bytes)
    view.setUint32(HEADER_LENGTH, ready)
    view.setUint32(HEADER_LENGTH + 4, lacking)
    return this.#messages.seal(bytes)
  }

  #begin(kind: number, flags: number, length: number, flow: Flow): Uint8Array {
    const bytes = this.#messages.begin(kind, flags, length)
    putFlow(bytes, HEADER_LENGTH, flow)
    return bytes
  }
}

/** The message in `bytes`, or null. What it keeps of them is borrowed. */
export function decodeRepairMessage(
  bytes: Uint8Array,
  authenticator: Authenticator,
): RepairMessage | null {
  const opened = openTermMessage(bytes, MAGIC, authenticator)
  if (opened === null) return null
  const { kind, flags, binding, epoch, length } = opened
  const view = viewOf(bytes)
  const head = { binding, epoch }
  if (kind === Kind.REPORT) {
    if (length !== HEADER_LENGTH + 8) return null
    const ready = view.getUint32(HEADER_LENGTH)
    return { ...head, kind: 'report', ready, lacking: view.getUint32(HEADER_LENGTH + 4) }
  }
  if (length < BODY_AT) return null
  const flow = flowAt(bytes, HEADER_LENGTH)
  if (flow.key.binding !== head.binding) return null
  if (kind === Kind.NONE) return length === BODY_AT ? { ...head, ...flow, kind: 'none' } : null
  if (kind === Kind.ASK) {
    const ranges = decodeRanges(bytes.subarray(BODY_AT, length))
    return ranges === null ? null : { ...head, ...flow, kind: 'ask', ranges }
  }
  if (kind !== Kind.TEXT || length < BODY_AT + 8) return null
  const offset = view.getFloat64(BODY_AT)
  const text = bytes.subarray(BODY_AT + 8, length)
  if (!isOffset(offset) || text.length > MAX_RUN) return null
  const side = (flags & SENT) === 0 ? 'received' : 'sent'
  return { ...head, ...flow, kind: 'text', side, offset, bytes: text, fin: (flags & FIN) !== 0 }
}

function decodeRanges(bytes: Uint8Array): Range[] | null {
  const count = bytes.length / RANGE_LENGTH
  if (!Number.isInteger(count) || count === 0 || count > MAX_RANGES_ASKED) return null
  const view = viewOf(bytes)
  const ranges: Range[] = []
  for (let at = 0; at < bytes.length; at += RANGE_LENGTH) {
    const side = view.getUint32(at) === SENT ? 'sent' : 'received'
    const from = view.getFloat64(at + 4)
    const to = view.getFloat64(at + 12)
    if (!isOffset(from) || !isOffset(to) || from >= to) return null
    ranges.push({ side, from, to })
  }
  return ranges
}
