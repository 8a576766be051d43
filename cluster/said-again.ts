/**
 * SaidAgain: what was said in a connection, as segments: for a peer that has not heard it, and folds them as it folds any
 * retransmission (D2). Of what is behind, only where it led is said: how far our side has sent, acknowledged and opened its window.
 */
import {
  ACK,
  add,
  type Buffers,
  type Connection,
  CWR,
  diff,
  ECE,
  FIN,
  gt,
  isSynchronized,
  type Millis,
  Offer,
  Segment,
  SYN,
  TcpState,
  timestampAt,
} from '../stack/index.js'
import type { Direction, Shadow } from './shadow.js'

/** Octets of text in one segment. */
export const MAX_SAID_TEXT = 64 * 1024
/** Octets of text that are said in one go: the rest once these have been confirmed. */
export const MAX_SAID = 256 * 1024

/** A connection of which all is here: the owner's, or a snapshot of it. */
type Whole = Pick<Connection, 'tcb' | 'buffers' | 'opener' | 'localPort' | 'remotePort'>

/** Tells of one segment: it is borrowed. */
export type Say = (direction: Direction, seg: Segment) => void

/**
 * Says all of `connection` that lies behind `known`, how much of it the hearer has: a level as `strict.ts` has them. Nothing, when that
 * lies before the text that is still here.
 */
export function sayAgain(connection: Whole, known: number, now: Millis, say: Say): void {
  const { tcb, buffers, opener } = connection
  const from = Math.max(known, 0)
  if (!tcb.synSent || from < buffers.received.floor) return
  if (known < 0) {
    const ours = { direction: 'outbound', seg: ourSyn(connection, now) } as const
    const peers = { direction: 'inbound', seg: peersSyn(connection) } as const
    for (const { direction, seg } of opener ? [ours, peers] : [peers, ours]) {
      if (seg !== null) say(direction, seg)
    }
  }
  if (!isSynchronized(tcb.state) && tcb.sndFinSent === 0) return
  say('outbound', whereWeAre(connection, now))
  if (from < tcb.rcvNxtOffset) sayText(connection, from, say)
  // The acknowledgement of our FIN was the last word.
  if (tcb.finAcked) say('inbound', peersText(connection, buffers, tcb.rcvNxtOffset, 0, false))
}

// Within a quarter of the sequence space what is earlier and what is later is beyond doubt.
const MAX_BEHIND = 2 ** 30

/** True when what is said once more, up to the snapshot `told`, could bring `known` there: it is the same connection, and not too far behind. */
export function leadsTo(known: Shadow, told: Shadow): boolean {
  const [was, is] = [known.tcb, told.tcb]
  if (was.iss !== is.iss) return false
  // The answer to its SYN may have gone by the owner alone.
  if (was.irs !== is.irs && is.state !== TcpState.SYN_SENT) return false
  const sent = Math.abs(is.sndNxtOffset - was.sndNxtOffset)
  return Math.max(sent, Math.abs(is.rcvNxtOffset - was.rcvNxtOffset)) < MAX_BEHIND
}

/** Says what a shadow lacks of what was said up to the snapshot `told`; where the text is not here, that it lacks some. */
export function catchUp(known: Shadow, told: Shadow, now: Millis, say: Say): void {
  const { tcb, buffers, opener, key } = told
  if (!isSynchronized(tcb.state)) return
  const { localPort, remotePort } = key
  const whole = { tcb, buffers, opener, localPort, remotePort }
  const { rcvNxtOffset, sndNxt, sndUna, lastAckSent, rcvAdv, sndFinSent } = known.tcb
  const spoke = gt(tcb.sndNxt, sndNxt) || tcb.sndFinSent > sndFinSent
  if (spoke || gt(tcb.lastAckSent, lastAckSent) || gt(tcb.rcvAdv, rcvAdv)) {
    say('outbound', whereWeAre(whole, now))
  }
  // Text before what is here is not to be had from this snapshot: the rest comes in front of it, out of order.
  const from = Math.max(rcvNxtOffset, buffers.received.floor)
  if (from < tcb.rcvNxtOffset) sayText(whole, from, say)
  if (!gt(tcb.sndUna, sndUna)) return
  say('inbound', peersText(whole, buffers, tcb.rcvNxtOffset, 0, false))
}

function sayText(connection: Whole, from: number, say: Say): void {
  const { tcb, buffers } = connection
  const end = tcb.rcvNxtOffset - Number(tcb.finReceived)
  const to = Math.min(end, from + MAX_SAID)
  let at = from
  do {
    const length = Math.max(Math.min(to - at, MAX_SAID_TEXT), 0)
    const fin = tcb.finReceived && at + length >= end
    say('inbound', peersText(connection, buffers, at, length, fin))
    at += length
  } while (at < to)
}

function begin({ localPort, remotePort }: Whole, direction: Direction): Segment {
  const seg = new Segment()
  const ours = direction === 'outbound'
  seg.srcPort = ours ? localPort : remotePort
  seg.dstPort = ours ? remotePort : localPort
  return seg
}

// The options of a SYN, as far as they count.
function offer(seg: Segment, offers: number, mss: number, scale: number, tsVal: number): void {
  seg.mss = mss
  if ((offers & Offer.SCALE) !== 0) seg.windowScale = scale
  seg.sackPermitted = (offers & Offer.SACK) !== 0
  if ((offers & Offer.ECN) !== 0) seg.flags |= seg.has(ACK) ? ECE : ECE | CWR
  if ((offers & Offer.TIMESTAMPS) === 0) return
  seg.hasTimestamps = true
  seg.tsVal = tsVal
}

function ourSyn(connection: Whole, now: Millis): Segment {
  const { tcb, opener } = connection
  const seg = begin(connection, 'outbound')
  seg.seq = tcb.iss
  seg.flags = opener ? SYN : SYN | ACK
  if (!opener) seg.ack = add(tcb.irs, 1)
  seg.wnd = Math.min(tcb.rcvWnd, 0xffff)
  offer(seg, tcb.ownOffers, tcb.rcvMss, tcb.rcvScale, timestampAt(tcb, now))
  return seg
}

// Null: it has not come yet.
function peersSyn(connection: Whole): Segment | null {
  const { tcb, opener } = connection
  if (tcb.state === TcpState.SYN_SENT) return null
  const seg = begin(connection, 'inbound')
  const answers = opener && tcb.sndUnaOffset >= 0
  seg.seq = tcb.irs
  seg.flags = answers ? SYN | ACK : SYN
  if (answers) seg.ack = add(tcb.iss, 1)
  seg.wnd = Math.min(tcb.sndWnd, 0xffff)
  offer(seg, tcb.peerOffers, tcb.sndMss, tcb.sndScale, tcb.tsRecent)
  return seg
}

// No text: what of ours the peer has not acknowledged, who misses it asks for (D1), or finds in a checkpoint.
function whereWeAre(connection: Whole, now: Millis): Segment {
  const { tcb } = connection
  const seg = begin(connection, 'outbound')
  seg.flags = tcb.sndFinSent === 0 ? ACK : ACK | FIN
  seg.seq = tcb.sndFinSent === 0 ? tcb.sndNxt : tcb.sndFin
  // The window field counts in steps: from a little before what was acknowledged it meets the edge exactly.
  const window = diff(tcb.rcvAdv, tcb.lastAckSent)
  const step = 1 << tcb.rcvScale
  const before = Math.ceil(window / step) * step - window
  const sayable = (window + before) / step <= 0xffff
  seg.ack = sayable ? add(tcb.lastAckSent, -before) : tcb.lastAckSent
  seg.wnd = Math.min(Math.floor((sayable ? window + before : window) / step), 0xffff)
  seg.hasTimestamps = tcb.tsOk
  seg.tsVal = timestampAt(tcb, now)
  return seg
}

function peersText(
  connection: Whole,
  { received }: Buffers,
  at: number,
  length: number,
  fin: boolean,
): Segment {
  const { tcb } = connection
  const seg = begin(connection, 'inbound')
  seg.seq = add(tcb.rcvNxt, at - tcb.rcvNxtOffset)
  seg.ack = tcb.sndUna
  seg.flags = fin ? ACK | FIN : ACK
  seg.wnd = Math.min(tcb.sndWnd >> tcb.sndScale, 0xffff)
  seg.hasTimestamps = tcb.tsOk
  seg.tsVal = tcb.tsRecent
  seg.text = new Uint8Array(length)
  seg.textEnd = length
  if (length > 0) received.copyTo(at, length, seg.text, 0)
  return seg
}
