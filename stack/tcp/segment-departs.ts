// hot path: no allocation per frame
/**
 * SEGMENT DEPARTS: the fold of one segment that the endpoint sent into a Tcb: the mirror image of SEGMENT ARRIVES, which
 * RFC 9293 scatters over SEND, CLOSE and the time-outs (§3.10.2 to §3.10.8).
 *
 * The owner decides what to send and commits it here; a shadow overhears the same segment and folds it here. Whatever an
 * owner may change in a Tcb by sending, it changes in this file.
 */
import { add, diff, ge, gt, max, type Seq, seq } from '../base/seq.js'
import type { Millis } from '../base/time.js'
import { ABSENT, ACK, FIN, RST, type Segment, SYN } from '../wire/tcp.js'
import { offersEcn, settleOffers, shiftOf } from './segment-arrives.js'
import { isSynchronized, nextState, TcpEvent, TcpState } from './state.js'
import { type Buffers, Offer, type Tcb } from './tcb.js'

/** Folds a segment to the peer into `tcb` and `buffers`. `seg` is borrowed. */
export function segmentDeparts(tcb: Tcb, buffers: Buffers, seg: Segment, now: Millis): void {
  if (seg.has(RST)) {
    departsRst(tcb, seg)
    return
  }
  if (seg.has(SYN)) departsSyn(tcb, seg)
  else if (!tcb.synSent) return
  departsText(tcb, buffers, seg)
  if (seg.has(FIN)) departsFin(tcb, seg)
  if (seg.has(ACK)) departsAck(tcb, seg)
  if (seg.hasTimestamps) departsTimestamp(tcb, seg, now)
}

/**
 * Folds octets that are known to have departed although nobody here saw them: the peer has acknowledged up to `ack`. Their
 * text is absent from `buffers.sent`; as they are acknowledged, nobody will ask for it.
 */
export function departedUnseen(tcb: Tcb, ack: Seq): void {
  const unseen = diff(ack, tcb.sndNxt)
  if (unseen <= 0) return
  tcb.sndNxt = ack
  tcb.sndNxtOffset += unseen
}

/** Folds the acknowledgement of our SYN, which the peer must have given: the endpoint went on behind it. Whether anybody here saw it or not. */
export function synAckedUnseen(tcb: Tcb): void {
  if (isSynchronized(tcb.state) && tcb.sndUna === tcb.iss) tcb.sndUna = add(tcb.iss, 1)
}

/**
 * Folds our FIN if it is known to have departed although nobody here saw it: the application ends its side at stream offset `end`, and
 * one octet more was sent. True: that closes the connection.
 */
export function finDepartedUnseen(tcb: Tcb, end: number): boolean {
  if (tcb.sndFinSent !== 0 || tcb.sndNxtOffset !== end + 1 || !isSynchronized(tcb.state))
    return false
  tcb.sndFin = add(tcb.sndNxt, -1)
  tcb.sndFinSent = 1
  tcb.state = nextState(tcb.state, TcpEvent.FIN_SENT)
  if (tcb.finAcked) tcb.state = nextState(tcb.state, TcpEvent.FIN_ACKED)
  return tcb.state === TcpState.CLOSED
}

// An abort carries SEG.SEQ = SND.NXT. A reset with another number answers a stray segment and leaves the connection alone.
function departsRst(tcb: Tcb, seg: Segment): void {
  const aborts =
    tcb.state === TcpState.SYN_RECEIVED ? seg.seq === tcb.sndNxt : ge(seg.seq, tcb.sndNxt)
  if (aborts) tcb.state = nextState(tcb.state, TcpEvent.RST_SENT)
}

function departsSyn(tcb: Tcb, seg: Segment): void {
  if (tcb.synSent && tcb.iss === seg.seq) return
  tcb.iss = seg.seq
  tcb.sndUna = seg.seq
  tcb.sndNxt = add(seg.seq, 1)
  tcb.sndNxtOffset = 0
  tcb.sndWl2 = seg.seq
  // Before the peer's SYN is here, RCV.NXT is not known and the edge counts from 0.
  if (!seg.has(ACK)) tcb.rcvAdv = add(tcb.rcvNxt, seg.wnd)
  tcb.rcvMss = seg.mss === ABSENT ? seg.defaultMss : seg.mss
  tcb.rcvScale = shiftOf(seg)
  tcb.ownOffers = Offer.SYN
  if (seg.windowScale !== ABSENT) tcb.ownOffers |= Offer.SCALE
  if (seg.sackPermitted) tcb.ownOffers |= Offer.SACK
  if (seg.hasTimestamps) tcb.ownOffers |= Offer.TIMESTAMPS
  if (offersEcn(seg)) tcb.ownOffers |= Offer.ECN
  settleOffers(tcb)
  tcb.state = nextState(tcb.state, TcpEvent.SYN_SENT)
}

// The text goes where it belongs. An owner's is there already; a shadow learns it here, from a retransmission too.
function departsText(tcb: Tcb, buffers: Buffers, seg: Segment): void {
  const length = seg.textEnd - seg.textStart
  if (length > 0 && !seg.has(SYN)) {
    const offset = tcb.sndNxtOffset + diff(seg.seq, tcb.sndNxt)
    if (!buffers.sent.has(offset, offset + length)) {
      buffers.sent.put(offset, seg.text, seg.textStart, seg.textEnd)
    }
  }
  const end = add(seg.seq, seg.len)
  const ahead = diff(end, tcb.sndNxt)
  if (ahead > 0) {
    tcb.sndNxt = end
    tcb.sndNxtOffset += ahead
  }
}

function departsFin(tcb: Tcb, seg: Segment): void {
  if (tcb.sndFinSent !== 0) return
  tcb.sndFin = add(seg.seq, seg.textEnd - seg.textStart)
  tcb.sndFinSent = 1
  tcb.state = nextState(tcb.state, TcpEvent.FIN_SENT)
}

function departsAck(tcb: Tcb, seg: Segment): void {
  if (gt(seg.ack, tcb.lastAckSent)) tcb.lastAckSent = seg.ack
  const scale = seg.has(SYN) ? 0 : tcb.rcvScale
  tcb.rcvAdv = max(tcb.rcvAdv, add(seg.ack, seg.wnd << scale))
}

// Kept as TSval minus the clock: one number that stays true while time passes, on any node whose clock keeps pace.
function departsTimestamp(tcb: Tcb, seg: Segment, now: Millis): void {
  const offset = seq(seg.tsVal - Math.floor(now))
  if (seg.has(SYN)) tcb.tsOffset = offset
  else tcb.tsOffset = max(seq(tcb.tsOffset), offset)
}

/**
 * The Tcb goes on by another clock, which is `ahead` of the one that it was kept by. That its word took some time makes our timestamps
 * by as much older than they could be, but never older than those that were overheard.
 */
export function moveClock(tcb: Tcb, ahead: Millis): void {
  tcb.tsOffset = seq(tcb.tsOffset - Math.floor(ahead))
  tcb.tsRecentAt += ahead
}
