/**
 * Where an application goes on in a connection that was taken over: from its checkpoint, or from the very start when all input
 * is still there. The rest cannot be resumed, and the reason has a name (D5).
 */
import { arrivedUnseen, diff } from '../stack/index.js'
import type { Checkpoint } from './checkpoint.js'
import { DoubtfulData } from './declaration.js'
import type { Shadow } from './shadow.js'

/** Why a connection was given up. */
export type GivenUp =
  | 'gap'
  | 'untracked'
  | 'no-checkpoint'
  | 'input-lost'
  | 'output-lost'
  | 'no-partner'
  | 'partner-lost'

/** What the application finds as `socket.resumed` (A1, A2). Offsets are stream offsets. */
export interface Resumption {
  /** Input from here on is delivered, again or for the first time. */
  readonly input: number
  /** Output from here on is to be produced; up to `sent` it may be skipped, or is compared and not sent twice. */
  readonly output: number
  /** Below this offset the stack has every octet that the peer may still ask for. */
  readonly sent: number
  /** What the application stored with its checkpoint; null when it made none. */
  readonly state: unknown
  /**
   * Input that the peer was told had arrived, and of which nobody knows whether the application read it (P21): offsets, the second one
   * behind its end. It is delivered again, unless the binding's declaration says that it is dropped: then `input` lies behind it.
   */
  readonly doubtful: { readonly from: number; readonly to: number }
}

/** How a connection is resumed; `resumption` is null when no application is needed any more. */
export interface ResumePoint {
  readonly input: number
  readonly output: number
  readonly resumption: Resumption | null
}

/** All that we will ever send has departed, and is acknowledged or kept. */
export function isOutputFinished(shadow: Shadow): boolean {
  const { tcb, buffers } = shadow
  if (tcb.sndFinSent === 0) return false
  return tcb.finAcked || buffers.sent.contiguousEnd >= tcb.sndNxtOffset - 1
}

/** The point from which `shadow` can be resumed, or why it cannot. Unsent output of the checkpoint is put in its place. */
export function resumePoint(
  shadow: Shadow,
  checkpoint: Checkpoint | null,
  doubtful: DoubtfulData = DoubtfulData.DELIVER,
): ResumePoint | GivenUp {
  const { tcb, buffers } = shadow
  const valid = checkpoint !== null && checkpoint.iss === tcb.iss && checkpoint.irs === tcb.irs
  // What the application has consumed arrived at the owner, whether it was heard here or not.
  if (valid && shadow.verdict !== 'untracked') arrivedUnseen(tcb, buffers, checkpoint.input)
  const verdict = shadow.verdict
  if (verdict !== 'ready') return verdict
  const { received, sent } = buffers
  // What is acknowledged is kept for comparison (P22), unless a hole in it would hide what lies behind.
  if (sent.contiguousEnd < tcb.ackedOffset) sent.trim(tcb.ackedOffset)
  const finished = isOutputFinished(shadow)
  const onlyProtocol = { input: received.contiguousEnd, output: sent.end, resumption: null }
  if (finished && tcb.finReceived) return onlyProtocol
  if (!valid) {
    if (doubtful === DoubtfulData.DROP && !finished)
      return dropped(shadow, 0, sent.contiguousEnd, null)
    if (received.start === 0) return pointAt(shadow, 0, 0, null)
    return finished ? onlyProtocol : 'no-checkpoint'
  }
  const { input, output, unsent, state } = checkpoint
  if (input < received.start || input > received.contiguousEnd) return 'input-lost'
  sent.put(output - unsent.length, unsent, 0, unsent.length)
  if (output > sent.contiguousEnd) return 'output-lost'
  return doubtful === DoubtfulData.DROP
    ? dropped(shadow, input, output, state)
    : pointAt(shadow, input, output, state)
}

// Behind what is doubtful from `from` on.
function dropped(shadow: Shadow, from: number, output: number, state: unknown): ResumePoint {
  const to = Math.max(acknowledgedEnd(shadow), from)
  return pointAt(shadow, to, output, state, from)
}

function pointAt(
  shadow: Shadow,
  input: number,
  output: number,
  state: unknown,
  from = input,
): ResumePoint {
  const sent = Math.max(shadow.buffers.sent.contiguousEnd, output)
  const doubtful = { from, to: Math.max(acknowledgedEnd(shadow), from) }
  return { input, output, resumption: { input, output, sent, state, doubtful } }
}

// Stream offset behind the input that the peer was told had arrived.
function acknowledgedEnd({ tcb, buffers }: Shadow): number {
  const unacknowledged = Math.max(diff(tcb.rcvNxt, tcb.lastAckSent), 0)
  return Math.min(tcb.rcvNxtOffset - unacknowledged, buffers.received.contiguousEnd)
}
