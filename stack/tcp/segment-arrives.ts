// hot path: no allocation per frame
/**
 * SEGMENT ARRIVES (RFC 9293 §3.10.7): the fold of one segment from the peer into a Tcb.
 *
 * The functions stand in the order of the RFC, each under its step. Nothing but the Tcb and its buffers is touched, and
 * nothing is sent: what an endpoint should do comes back as effects. Same (tcb, segment, now) in, same out, for an owner
 * and for a shadow alike; neither can be told from the other here.
 */
import { add, diff, ge, gt, le, lt, max, type Seq } from '../base/seq.js'
import type { Millis } from '../base/time.js'
import { ABSENT, ACK, CWR, ECE, Ecn, FIN, RST, type Segment, SYN } from '../wire/tcp.js'
import { isAcceptable } from './acceptability.js'
import { Effect, type EffectSet } from './effects.js'
import { isSynchronized, nextState, TcpEvent, TcpState } from './state.js'
import { type Buffers, Offer, type Tcb } from './tcb.js'

/** The smallest MSS believed, so that a tiny option cannot make us send a header per octet. */
export const MIN_SEND_MSS = 88

const MAX_WINDOW_SHIFT = 14

// RFC 7323 §5.5: TS.Recent says nothing after 24 days of silence.
const PAWS_IDLE_MS = 24 * 24 * 3_600_000

/** Folds a segment from the peer into `tcb` and `buffers`. `seg` is borrowed. */
export function segmentArrives(tcb: Tcb, buffers: Buffers, seg: Segment, now: Millis): EffectSet {
  switch (tcb.state) {
    case TcpState.CLOSED:
      return arrivesInClosed(seg)
    case TcpState.LISTEN:
      return arrivesInListen(tcb, seg, now)
    case TcpState.SYN_SENT:
      return arrivesInSynSent(tcb, buffers, seg, now)
    default:
      return arrivesOtherwise(tcb, buffers, seg, now)
  }
}

// §3.10.7.1: anything but a reset is answered by a reset. (MUST-9 is kept by never answering RST.)
function arrivesInClosed(seg: Segment): EffectSet {
  return seg.has(RST) ? Effect.DROPPED : Effect.DROPPED | Effect.REPLY_RST
}

// §3.10.7.2: first RST, second ACK, third SYN. Text and FIN of a SYN are left for the peer to send again: a stranger's
// text is worth no memory before the handshake shows that he is there.
function arrivesInListen(tcb: Tcb, seg: Segment, now: Millis): EffectSet {
  if (seg.has(RST)) return Effect.DROPPED
  if (seg.has(ACK)) return Effect.DROPPED | Effect.REPLY_RST
  if (!seg.has(SYN)) return Effect.DROPPED
  takeSyn(tcb, seg, now)
  return Effect.ACK_NOW
}

// §3.10.7.3
function arrivesInSynSent(tcb: Tcb, buffers: Buffers, seg: Segment, now: Millis): EffectSet {
  // First: the ACK bit.
  const acks = seg.has(ACK)
  if (acks && (le(seg.ack, tcb.iss) || gt(seg.ack, tcb.sndNxt))) {
    return seg.has(RST) ? Effect.DROPPED : Effect.DROPPED | Effect.REPLY_RST
  }
  // Second: the RST bit. Without an acceptable ACK it could be anybody's (RFC 5961 §3).
  if (seg.has(RST)) {
    if (!acks) return Effect.DROPPED
    tcb.state = nextState(tcb.state, TcpEvent.RST_RCVD)
    return Effect.RESET
  }
  // Third, security, is left out: RFC 9293 §A.1. Fourth: the SYN bit.
  if (!seg.has(SYN)) return Effect.DROPPED
  takeSyn(tcb, seg, now)
  if (!acks) {
    // "If there are other controls or text in the segment, queue them for processing after the ESTABLISHED state has been
    // reached." A FIN is left for the peer to send again.
    putText(tcb, buffers, seg)
    return Effect.SYN_AGAIN
  }
  tcb.sndUna = seg.ack
  takeWindow(tcb, seg, 0)
  tcb.state = nextState(tcb.state, TcpEvent.SYN_ACKED)
  const effects = Effect.ESTABLISHED | Effect.ACKED | Effect.ACK_NOW
  return effects | takeText(tcb, buffers, seg) | checkFin(tcb, buffers, seg)
}

// The peer's SYN: IRS, RCV.NXT and what it offers.
function takeSyn(tcb: Tcb, seg: Segment, now: Millis): void {
  // What our own SYN offered, when it was the first.
  const offered = tcb.rcvWnd
  tcb.irs = seg.seq
  tcb.rcvNxt = add(seg.seq, 1)
  tcb.rcvNxtOffset = 0
  tcb.rcvAdv = add(tcb.rcvNxt, offered)
  tcb.lastAckSent = tcb.rcvNxt
  // MUST-15: without the option the MSS is 536, or 1220. An MSS of 0 is no option worth the name.
  const told = seg.mss !== ABSENT && seg.mss !== 0
  tcb.sndMss = told ? Math.max(seg.mss, MIN_SEND_MSS) : seg.defaultMss
  tcb.peerOffers = Offer.SYN
  if (seg.windowScale !== ABSENT) tcb.peerOffers |= Offer.SCALE
  if (seg.sackPermitted) tcb.peerOffers |= Offer.SACK
  if (seg.hasTimestamps) tcb.peerOffers |= Offer.TIMESTAMPS
  if (offersEcn(seg)) tcb.peerOffers |= Offer.ECN
  tcb.ecnEcho = 0
  tcb.sndScale = shiftOf(seg)
  if (seg.hasTimestamps) {
    tcb.tsRecent = seg.tsVal
    tcb.tsRecentAt = now
  }
  // RFC 7323 §2.2: the window of a SYN is never scaled.
  tcb.sndWnd = seg.wnd
  tcb.sndWndMax = seg.wnd
  tcb.sndWl1 = seg.seq
  tcb.sndWl2 = seg.has(ACK) ? seg.ack : tcb.iss
  settleOffers(tcb)
  tcb.state = nextState(tcb.state, TcpEvent.SYN_RCVD)
}

/** True when the SYN `seg` offers explicit congestion notification (RFC 3168 §6.1.1). */
export function offersEcn(seg: Segment): boolean {
  return seg.has(ECE) && seg.has(CWR) !== seg.has(ACK)
}

/** The shift count of a SYN's window scale option; RFC 7323 §2.3: one above 14 counts as 14. */
export function shiftOf(seg: Segment): number {
  return seg.windowScale === ABSENT ? 0 : Math.min(seg.windowScale, MAX_WINDOW_SHIFT)
}

/** Settles the options when both SYNs have been seen: what either side left out is off (P16, RFC 7323 §1.3). */
export function settleOffers(tcb: Tcb): void {
  const both = tcb.ownOffers & tcb.peerOffers
  if ((both & Offer.SYN) !== 0 && (both & Offer.SCALE) === 0) {
    tcb.sndScale = 0
    tcb.rcvScale = 0
  }
}

// §3.10.7.4, with RFC 7323 §5.3 in front and RFC 5961 within.
function arrivesOtherwise(tcb: Tcb, buffers: Buffers, seg: Segment, now: Millis): EffectSet {
  const refused = checkTimestamps(tcb, seg, now) || checkSequence(tcb, seg)
  if (refused !== 0) return refused
  if (seg.has(RST)) return checkRst(tcb, seg)
  if (seg.has(SYN)) {
    // Fourth; RFC 5961 §4.2. A new connection may well begin within the window of the old one.
    if (tcb.state === TcpState.TIME_WAIT && !seg.has(ACK)) return arrivesLateInTimeWait(tcb, seg)
    return Effect.DROPPED | Effect.CHALLENGE
  }
  if (!seg.has(ACK)) return Effect.DROPPED // Fifth.
  // Nothing of the peer's lies behind its FIN: who thinks so in TIME-WAIT hears where the connection ends.
  if (tcb.state === TcpState.TIME_WAIT && seg.seq !== tcb.rcvNxt) {
    return arrivesLateInTimeWait(tcb, seg)
  }
  let effects = checkAck(tcb, seg)
  if ((effects & (Effect.DROPPED | Effect.CLOSED)) !== 0) return effects
  takeTimestamp(tcb, seg, now)
  if (tcb.ecnOk) takeCongestion(tcb, seg)
  // Sixth: urgent data is read in line, its pointer is not used (RFC 6093; MUST-31 by the socket face).
  effects |= takeText(tcb, buffers, seg)
  if ((effects & Effect.ESTABLISHED) !== 0 && advance(tcb, buffers) > 0) {
    effects |= Effect.TEXT | Effect.ACK_LATER
  }
  effects |= checkFin(tcb, buffers, seg)
  return effects
}

/**
 * Folds text that is known to have arrived although nobody here saw it: the application has consumed the input up to stream
 * offset `to`, and says so in its checkpoint. It is absent from `buffers.received`, and nobody will ask for it.
 */
export function arrivedUnseen(tcb: Tcb, buffers: Buffers, to: number): void {
  if (to <= buffers.received.contiguousEnd) return
  buffers.received.trim(to)
  advance(tcb, buffers)
  if (tcb.rcvFinSeen !== 0 && tcb.rcvNxt === tcb.rcvFin) takeFin(tcb)
}

/**
 * Folds text that has arrived at the owner and that another node has brought here (D1): `bytes` from stream offset `offset` on, and
 * behind them the peer's FIN when `fin`. False, with nothing changed, when it reaches beyond all that the owner acknowledged or
 * offered, or finds no room. `bytes` is borrowed.
 */
export function arrivedElsewhere(
  tcb: Tcb,
  buffers: Buffers,
  offset: number,
  bytes: Uint8Array,
  fin: boolean,
): boolean {
  const end = offset + bytes.length
  const edge = tcb.rcvNxtOffset + diff(max(tcb.lastAckSent, rightEdge(tcb)), tcb.rcvNxt)
  if (end + Number(fin) > edge || (fin && buffers.received.end > end)) return false
  if (!buffers.received.put(offset, bytes, 0, bytes.length)) return false
  if (fin && tcb.rcvFinSeen === 0) {
    tcb.rcvFin = add(tcb.rcvNxt, end - tcb.rcvNxtOffset)
    tcb.rcvFinSeen = 1
  }
  advance(tcb, buffers)
  if (tcb.rcvFinSeen !== 0 && tcb.rcvNxt === tcb.rcvFin) takeFin(tcb)
  return true
}

// RFC 7323 §5.3 R1: an old timestamp is acknowledged and dropped; §3.2: a missing one is dropped. RST is exempt.
function checkTimestamps(tcb: Tcb, seg: Segment, now: Millis): EffectSet {
  if (!tcb.tsOk || seg.has(RST)) return 0
  if (!seg.hasTimestamps) return seg.has(SYN) ? 0 : Effect.DROPPED
  if (((seg.tsVal - tcb.tsRecent) | 0) >= 0) return 0
  if (now - tcb.tsRecentAt > PAWS_IDLE_MS) return 0
  if (seg.has(SYN) && tcb.state === TcpState.SYN_RECEIVED) return 0
  return Effect.DROPPED | Effect.ACK_NOW | Effect.PAWS
}

// First: the sequence number.
function checkSequence(tcb: Tcb, seg: Segment): EffectSet {
  if (isAcceptable(seg.seq, seg.len, tcb.rcvNxt, tcb.rcvWnd)) return 0
  if (seg.has(RST)) return Effect.DROPPED
  if (tcb.state === TcpState.SYN_RECEIVED && seg.has(SYN) && seg.seq === tcb.irs) {
    return arrivesSynAgain(tcb, seg)
  }
  if (tcb.state === TcpState.TIME_WAIT) return arrivesLateInTimeWait(tcb, seg)
  // "Special allowance" for valid ACKs at a zero window: the acknowledgement counts, the text does not. A peer that has probed
  // with an octet of text may count it as sent, and is one ahead then.
  const ahead = diff(seg.seq, tcb.rcvNxt)
  const allowed = ahead === 0 || (ahead === 1 && seg.len === 0)
  if (tcb.rcvWnd === 0 && allowed && seg.has(ACK) && !seg.has(SYN)) {
    return checkAck(tcb, seg) | Effect.DROPPED | (ahead === 0 ? Effect.ACK_NOW : Effect.CHALLENGE)
  }
  // Text or FIN is answered always, so that a peer whose ACK was lost can go on; the rest is rationed, as RFC 5961 §7
  // asks, against loops of two ends that disagree.
  const repeats = seg.textLength > 0 || seg.has(FIN)
  return Effect.DROPPED | (repeats ? Effect.ACK_NOW : Effect.CHALLENGE)
}

// The peer's SYN once more in SYN-RECEIVED. With an ACK of ours it is the second half of a simultaneous open (§3.5 figure 7);
// were it answered by a SYN, two ends of this kind would go on for ever.
function arrivesSynAgain(tcb: Tcb, seg: Segment): EffectSet {
  if (!seg.has(ACK) || seg.ack !== tcb.sndNxt) return Effect.DROPPED | Effect.SYN_AGAIN
  tcb.sndUna = seg.ack
  takeWindow(tcb, seg, 0)
  tcb.state = nextState(tcb.state, TcpEvent.SYN_ACKED)
  return Effect.ESTABLISHED | Effect.ACKED | Effect.ACK_NOW
}

// TIME-WAIT (§3.10.7.4 eighth; §3.6.1 MAY-2; RFC 6191): a repeated FIN restarts the wait, a newer SYN ends it.
function arrivesLateInTimeWait(tcb: Tcb, seg: Segment): EffectSet {
  if (seg.has(SYN) && !seg.has(ACK)) {
    const newer = tcb.tsOk && seg.hasTimestamps && ((seg.tsVal - tcb.tsRecent) | 0) > 0
    if (newer || gt(seg.seq, tcb.rcvNxt)) return Effect.DROPPED | Effect.REOPEN
  }
  if (seg.has(FIN)) return Effect.DROPPED | Effect.ACK_NOW | Effect.TIME_WAIT
  return Effect.DROPPED | Effect.ACK_NOW
}

// RFC 3168 §6.1.3: CE is echoed until the peer says that it has reduced its window.
function takeCongestion(tcb: Tcb, seg: Segment): void {
  if (seg.has(CWR)) tcb.ecnEcho = 0
  if (seg.ecn === Ecn.CE) tcb.ecnEcho = 1
}

// RFC 7323 §4.3 (2), behind the ACK field: a segment that is dropped for what it acknowledges is no segment of the peer's, and
// its clock, were it believed, would let PAWS refuse all that the peer sends from then on.
function takeTimestamp(tcb: Tcb, seg: Segment, now: Millis): void {
  if (!tcb.tsOk || !seg.hasTimestamps || gt(seg.seq, tcb.lastAckSent)) return
  if (((seg.tsVal - tcb.tsRecent) | 0) < 0 && now - tcb.tsRecentAt <= PAWS_IDLE_MS) return
  tcb.tsRecent = seg.tsVal
  tcb.tsRecentAt = now
}

// Second: RFC 5961 §3.2. Only the exact sequence number resets; in the window it is challenged.
function checkRst(tcb: Tcb, seg: Segment): EffectSet {
  // RFC 1337 §3 (F1): a reset must not cut TIME-WAIT short, wherever it points.
  if (tcb.state === TcpState.TIME_WAIT) return Effect.DROPPED
  if (seg.seq !== tcb.rcvNxt) return Effect.DROPPED | Effect.CHALLENGE
  tcb.state = nextState(tcb.state, TcpEvent.RST_RCVD)
  return Effect.RESET
}

// Fifth: the ACK field.
function checkAck(tcb: Tcb, seg: Segment): EffectSet {
  let effects: EffectSet = 0
  if (tcb.state === TcpState.SYN_RECEIVED) {
    if (le(seg.ack, tcb.sndUna) || gt(seg.ack, tcb.sndNxt)) {
      return Effect.DROPPED | Effect.REPLY_RST
    }
    tcb.state = nextState(tcb.state, TcpEvent.SYN_ACKED)
    takeWindow(tcb, seg, tcb.sndScale)
    effects = Effect.ESTABLISHED
  }
  // RFC 5961 §5.2: an ACK too old to come from this connection's window is challenged.
  if (lt(seg.ack, add(tcb.sndUna, -Math.max(tcb.sndWndMax, 1)))) {
    return Effect.DROPPED | Effect.CHALLENGE
  }
  if (gt(seg.ack, tcb.sndNxt)) return Effect.DROPPED | Effect.ACK_NOW
  if (gt(seg.ack, tcb.sndUna)) {
    tcb.sndUna = seg.ack
    effects |= Effect.ACKED
    // Newer than whatever acknowledged less, though a retransmission has an old SEG.SEQ: measured from the new SND.UNA, the
    // old window would reach beyond what the peer has offered.
    const before = tcb.sndWnd
    takeWindow(tcb, seg, tcb.sndScale)
    if (tcb.sndWnd !== before) effects |= Effect.WINDOW
    return effects | checkFinAcked(tcb)
  }
  if (seg.ack !== tcb.sndUna) return effects
  const changed = updateWindow(tcb, seg)
  // RFC 5681 §2: outstanding data, no text, no SYN or FIN, the same ACK, the same window.
  if (
    changed === 0 &&
    effects === 0 &&
    seg.textLength === 0 &&
    !seg.has(FIN) &&
    tcb.sndNxt !== tcb.sndUna
  ) {
    effects |= Effect.DUP_ACK
  }
  return effects | changed
}

// SND.WND from the newest segment only (WL1, WL2).
function updateWindow(tcb: Tcb, seg: Segment): EffectSet {
  if (lt(tcb.sndWl1, seg.seq) || (tcb.sndWl1 === seg.seq && le(tcb.sndWl2, seg.ack))) {
    const before = tcb.sndWnd
    takeWindow(tcb, seg, tcb.sndScale)
    return tcb.sndWnd === before ? 0 : Effect.WINDOW
  }
  return 0
}

function takeWindow(tcb: Tcb, seg: Segment, scale: number): void {
  tcb.sndWnd = seg.wnd << scale
  if (tcb.sndWnd > tcb.sndWndMax) tcb.sndWndMax = tcb.sndWnd
  tcb.sndWl1 = seg.seq
  tcb.sndWl2 = seg.ack
}

function checkFinAcked(tcb: Tcb): EffectSet {
  if (!tcb.finAcked) return 0
  const before = tcb.state
  tcb.state = nextState(before, TcpEvent.FIN_ACKED)
  if (tcb.state === TcpState.CLOSED) return Effect.CLOSED
  return before === TcpState.CLOSING ? Effect.TIME_WAIT : 0
}

// Seventh: the text, cut to the window. It lands where it belongs whatever its order.
function takeText(tcb: Tcb, buffers: Buffers, seg: Segment): EffectSet {
  if (seg.textEnd === seg.textStart) return 0
  const receives =
    tcb.state === TcpState.ESTABLISHED ||
    tcb.state === TcpState.FIN_WAIT_1 ||
    tcb.state === TcpState.FIN_WAIT_2
  // "This should not occur since a FIN has been received from the remote side. Ignore the segment text."
  if (!receives) return Effect.ACK_NOW
  const put = putText(tcb, buffers, seg)
  if (put === 0) return Effect.ACK_NOW
  if (put < 0) return Effect.DROPPED | Effect.ACK_NOW
  const advanced = advance(tcb, buffers)
  if (advanced <= 0) return Effect.ACK_NOW // RFC 5681 §4.2: out of order, so a duplicate ACK at once.
  if (advanced > put || buffers.received.rangeCount > 0) return Effect.TEXT | Effect.ACK_NOW
  return Effect.TEXT | Effect.ACK_LATER
}

// Keeps the text of `seg` that is within the window. Returns how many octets, -1 when there is no room for more pieces.
function putText(tcb: Tcb, buffers: Buffers, seg: Segment): number {
  const length = seg.textEnd - seg.textStart
  let from = seg.textStart
  let to = seg.textEnd
  let at: Seq = textSeq(seg)
  const edge = diff(add(at, length), rightEdge(tcb))
  const old = diff(tcb.rcvNxt, at)
  if (old > 0) {
    from += Math.min(old, length)
    at = tcb.rcvNxt
  }
  if (edge > 0) to -= edge
  if (from >= to) return 0
  const offset = tcb.rcvNxtOffset + diff(at, tcb.rcvNxt)
  return buffers.received.put(offset, seg.text, from, to) ? to - from : -1
}

// RCV.NXT goes on to the end of what is here without a hole. Returns by how much.
function advance(tcb: Tcb, buffers: Buffers): number {
  const advanced = buffers.received.contiguousEnd - tcb.rcvNxtOffset
  if (advanced <= 0) return 0
  tcb.rcvNxt = add(tcb.rcvNxt, advanced)
  tcb.rcvNxtOffset += advanced
  return advanced
}

// The first octet of text lies behind the SYN.
function textSeq(seg: Segment): Seq {
  return seg.has(SYN) ? add(seg.seq, 1) : seg.seq
}

// Text is taken up to the window's edge, and never beyond the peer's FIN.
function rightEdge(tcb: Tcb): Seq {
  return tcb.rcvFinSeen !== 0 && lt(tcb.rcvFin, tcb.rcvAdv) ? tcb.rcvFin : tcb.rcvAdv
}

// Eighth: the FIN bit. A FIN that comes early waits for the text before it.
function checkFin(tcb: Tcb, buffers: Buffers, seg: Segment): EffectSet {
  if (!isSynchronized(tcb.state)) return 0
  if (seg.has(FIN) && tcb.rcvFinSeen === 0) {
    const fin = add(textSeq(seg), seg.textLength)
    // A FIN before text that is here already would end the stream in its middle: whoever sent it lies.
    const ends = buffers.received.end <= tcb.rcvNxtOffset + diff(fin, tcb.rcvNxt)
    if (ends && ge(fin, tcb.rcvNxt) && lt(fin, tcb.rcvAdv)) {
      tcb.rcvFin = fin
      tcb.rcvFinSeen = 1
    }
  }
  if (tcb.rcvFinSeen === 0 || tcb.rcvNxt !== tcb.rcvFin) {
    return seg.has(FIN) ? Effect.ACK_NOW : 0
  }
  takeFin(tcb)
  const effects = Effect.PEER_FIN | Effect.ACK_NOW
  return tcb.state === TcpState.TIME_WAIT ? effects | Effect.TIME_WAIT : effects
}

// The peer's FIN is next in order.
function takeFin(tcb: Tcb): void {
  tcb.rcvNxt = add(tcb.rcvNxt, 1)
  tcb.rcvNxtOffset += 1
  tcb.state = nextState(tcb.state, TcpEvent.FIN_RCVD)
}
