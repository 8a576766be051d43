// hot path: no allocation per frame
/**
 * Strict mode (D2): a connection of which nothing is acknowledged, and nothing given to the application, before others have it. Here
 * is what the endpoint knows of that: one number for how much of the connection they have, as the cluster says it.
 *
 *   UNKNOWN    nothing: neither SYN, ACK nor text leaves
 *   OPENING    our SYN, which may leave: the peer's is not here yet
 *   0 and on   the handshake, and the input up to this stream offset, a FIN counted
 *
 * None of it is in the Tcb: a shadow learns from the wire what was acknowledged. What was taken and is not acknowledged may be reported
 * by SACK all the same: a sender keeps what is only reported (RFC 2018 §8).
 */
import type { Millis } from '../base/time.js'
import type { Connection } from './connection.js'
import { ConnectionEvent } from './connection-event.js'
import { isSynchronized, TcpState } from './state.js'
import type { Tcb } from './tcb.js'

/** No acknowledgement waits for anybody. */
export const NO_CLAMP = Number.POSITIVE_INFINITY
export const UNKNOWN = -2
export const OPENING = -1

/** What a strict connection waits for: others have none of this. */
export class Hold {
  /** UNKNOWN, OPENING, or the stream offset up to which the peers have the input, by which SEG.ACK is bounded. Never goes back. */
  confirmed = UNKNOWN
  /** What is confirmed next is to be acknowledged at once: it filled a hole, or has the FIN. */
  urgent = false
  /** Stream offset up to which others have heard the output. */
  outputHeld = 0
  /** A slot for whoever confirms what others have; the stack never looks into it. */
  confirmations: unknown = null
}

/** How much of the connection others must have for all of it to be acknowledged. */
export function levelOf(tcb: Tcb): number {
  if (!tcb.synSent) return UNKNOWN
  return tcb.state === TcpState.SYN_SENT ? OPENING : tcb.rcvNxtOffset
}

/** Makes a connection strict, before it has sent or taken anything here. What was acknowledged elsewhere stays so. */
export function beginStrict(connection: Connection): void {
  const { receiver, tcb } = connection
  const unacknowledged = (tcb.rcvNxt - tcb.lastAckSent) | 0
  // allocates: once per connection
  const hold = new Hold()
  if (isSynchronized(tcb.state)) hold.confirmed = tcb.rcvNxtOffset - unacknowledged
  receiver.hold = hold
}

/** Nothing may leave: not even the handshake is with others. */
export function isHeld(tcb: Tcb, confirmed: number): boolean {
  const opens = tcb.state === TcpState.SYN_SENT || tcb.state === TcpState.CLOSED
  return confirmed < (opens ? OPENING : 0)
}

/**
 * Others have so much of the connection: it is acknowledged, given to the application, or let leave. `upTo` may lie behind all that has
 * come, and counts for nothing where it lies before what was confirmed already.
 */
export function confirm(connection: Connection, upTo: number, now: Millis): void {
  const { receiver, tcb } = connection
  const { hold } = receiver
  if (hold === null || upTo <= hold.confirmed || connection.released) return
  hold.confirmed = upTo
  connection.touch()
  if (isHeld(tcb, upTo)) return
  if (tcb.state === TcpState.SYN_SENT || tcb.state === TcpState.SYN_RECEIVED) connection.open()
  if (!isSynchronized(tcb.state)) return
  receiver.handleConfirmed(tcb, now)
  if (connection.readable > 0) connection.events |= ConnectionEvent.READABLE
  if (connection.inputEnded) connection.events |= ConnectionEvent.ENDED
}

/** Stream offset of the first octet of output that a successor may lack although it was sent: it belongs into a checkpoint. */
export function firstUnshared({ tcb, buffers, receiver }: Connection): number {
  const shared = Math.min(tcb.sndNxtOffset, receiver.hold?.outputHeld ?? NO_CLAMP)
  return Math.max(shared, buffers.sent.start, tcb.ackedOffset)
}
