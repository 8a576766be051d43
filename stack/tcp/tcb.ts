/**
 * Tcb: the Transmission Control Block (RFC 9293 §3.3.1), as far as it is a fold over what crossed the wire.
 *
 * An owner and its shadows hold the same Tcb, because both fold the same segments with the same two functions; taking a
 * connection over moves this object and converts nothing. Whatever is private to an owner (timers, congestion window,
 * scoreboard, the application's unsent text) is not here. Fields are written by segmentArrives and segmentDeparts only.
 */
import type { Row } from '../base/row.js'
import { type Seq, ZERO } from '../base/seq.js'
import { StreamBuffer } from '../base/stream-buffer.js'
import type { Millis } from '../base/time.js'
import { DEFAULT_MSS } from '../wire/tcp.js'
import { nextState, TcpEvent, TcpState } from './state.js'

/** What a SYN offered: bits of `ownOffers` and `peerOffers`. */
export const Offer = {
  /** The SYN itself was seen. */
  SYN: 1,
  SCALE: 2,
  SACK: 4,
  TIMESTAMPS: 8,
  /** Explicit congestion notification (RFC 3168 §6.1.1): ECE and CWR on a SYN, ECE alone on a SYN-ACK. */
  ECN: 16,
} as const

export class Tcb {
  /** Written through {@link nextState} only. */
  state: TcpState = TcpState.CLOSED
  /** ISS: sequence number of our SYN. */
  iss: Seq = ZERO
  /** IRS: sequence number of the peer's SYN. */
  irs: Seq = ZERO
  /** SND.UNA: oldest unacknowledged sequence number. SND.UNA <= SND.NXT. */
  sndUna: Seq = ZERO
  /** SND.NXT: one behind the highest sequence number ever sent. Never goes back; retransmission has its own position. */
  sndNxt: Seq = ZERO
  /** SND.WND: the peer's window in octets, scaled. */
  sndWnd = 0
  /** SND.WL1: SEG.SEQ of the last window update. */
  sndWl1: Seq = ZERO
  /** SND.WL2: SEG.ACK of the last window update. */
  sndWl2: Seq = ZERO
  /** The largest window the peer ever offered, for sender-side silly window avoidance and RFC 5961 §5. */
  sndWndMax = 0
  /** Sequence number of our FIN, valid when `sndFinSent`. */
  sndFin: Seq = ZERO
  /** 1 when our FIN has departed. */
  sndFinSent = 0
  /** RCV.NXT: next sequence number expected. */
  rcvNxt: Seq = ZERO
  /** Right edge of the window ever advertised to the peer: RCV.NXT + RCV.WND. Never goes back (SHLD-14). */
  rcvAdv: Seq = ZERO
  /** Last.ACK.sent (RFC 7323 §4.3): the highest SEG.ACK that departed. Ahead of RCV.NXT only in a shadow with a gap. */
  lastAckSent: Seq = ZERO
  /** Sequence number of the peer's FIN, valid when `rcvFinSeen`. */
  rcvFin: Seq = ZERO
  /** 1 when the peer's FIN has arrived, in order or not. */
  rcvFinSeen = 0
  /** The peer's MSS option: most octets of text it takes in a segment. */
  sndMss = DEFAULT_MSS
  /** The MSS option we sent. */
  rcvMss = DEFAULT_MSS
  /** Snd.Wind.Shift (RFC 7323 §2.3); 0 unless both sides offered it. */
  sndScale = 0
  /** Rcv.Wind.Shift. */
  rcvScale = 0
  /** Bits of {@link Offer} in our SYN. */
  ownOffers = 0
  /** Bits of {@link Offer} in the peer's SYN. */
  peerOffers = 0
  /** TS.Recent (RFC 7323 §4.3). */
  tsRecent = 0
  /** TSval minus the clock, modulo 2^32, largest seen on departing segments: keeps TSval monotone across a take-over. */
  tsOffset = 0
  /** When TS.Recent was written; it is no evidence any more after 24 days (RFC 7323 §5.5). */
  tsRecentAt: Millis = 0
  /** 1 from CE on an arrived segment until the peer's CWR: ACKs carry ECE meanwhile (RFC 3168 §6.1.3). */
  ecnEcho = 0
  /** Stream offset of SND.NXT: octets of sequence space behind the SYN, not modulo anything. */
  sndNxtOffset = 0
  /** Stream offset of RCV.NXT. */
  rcvNxtOffset = 0

  /** True when both SYNs carried SACK-permitted. */
  get sackOk(): boolean {
    return (this.ownOffers & this.peerOffers & Offer.SACK) !== 0
  }

  /** True when both SYNs carried timestamps. */
  get tsOk(): boolean {
    return (this.ownOffers & this.peerOffers & Offer.TIMESTAMPS) !== 0
  }

  /** True when both SYNs offered explicit congestion notification. */
  get ecnOk(): boolean {
    return (this.ownOffers & this.peerOffers & Offer.ECN) !== 0
  }

  /** RCV.WND as advertised: octets from RCV.NXT to the right edge. */
  get rcvWnd(): number {
    return (this.rcvAdv - this.rcvNxt) | 0
  }

  /** Octets of sequence space sent and not acknowledged. */
  get flightSize(): number {
    return (this.sndNxt - this.sndUna) | 0
  }

  /** Stream offset of SND.UNA. */
  get sndUnaOffset(): number {
    return this.sndNxtOffset - ((this.sndNxt - this.sndUna) | 0)
  }

  /** Stream offset behind the last octet of text that the peer has acknowledged: SND.UNA without SYN and FIN. */
  get ackedOffset(): number {
    return this.finAcked ? this.sndUnaOffset - 1 : Math.max(this.sndUnaOffset, 0)
  }

  /** True when our SYN has departed. */
  get synSent(): boolean {
    return (this.ownOffers & Offer.SYN) !== 0
  }

  /** True when the peer has acknowledged our FIN. */
  get finAcked(): boolean {
    return this.sndFinSent !== 0 && ((this.sndUna - this.sndFin) | 0) > 0
  }

  /** True when RCV.NXT lies behind the peer's FIN. */
  get finReceived(): boolean {
    return this.rcvFinSeen !== 0 && ((this.rcvNxt - this.rcvFin) | 0) > 0
  }
}

/** Fields of 32 bits, in the order of the record. Checked below to be, with the next list, exactly the fields of Tcb. */
export const TCB_INT_FIELDS = [
  'state', 'iss', 'irs', 'sndUna', 'sndNxt', 'sndWnd', 'sndWl1', 'sndWl2', 'sndWndMax', 'sndFin',
  'sndFinSent', 'rcvNxt', 'rcvAdv', 'lastAckSent', 'rcvFin', 'rcvFinSeen', 'sndMss', 'rcvMss',
  'sndScale', 'rcvScale', 'ownOffers', 'peerOffers', 'tsRecent', 'tsOffset',
  'ecnEcho',
] as const // biome-ignore format: a list is read as a list

/** Fields of 64 bits, in the order of the record. */
export const TCB_DOUBLE_FIELDS = ['tsRecentAt', 'sndNxtOffset', 'rcvNxtOffset'] as const

/** Every field of a Tcb, in the order of the record. */
export const TCB_FIELDS = [...TCB_INT_FIELDS, ...TCB_DOUBLE_FIELDS] as const
export type TcbField = (typeof TCB_FIELDS)[number]

type ReadonlyKeys =
  | 'sackOk'
  | 'tsOk'
  | 'ecnOk'
  | 'rcvWnd'
  | 'flightSize'
  | 'sndUnaOffset'
  | 'ackedOffset'
  | 'synSent'
  | 'finAcked'
  | 'finReceived'
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : never) : never
// Does not compile when a field of Tcb is missing from the lists, or the other way round.
const allFieldsListed: Same<TcbField, Exclude<keyof Tcb, ReadonlyKeys>> = true
void allFieldsListed

/** Puts every field of `tcb` into `row`. */
export function putTcb(tcb: Tcb, row: Row): void {
  for (const field of TCB_INT_FIELDS) row.putInt(tcb[field])
  for (const field of TCB_DOUBLE_FIELDS) row.putDouble(tcb[field])
}

/** The Tcb that was put into `row`: the same numbers in a new object. */
export function takeTcb(row: Row): Tcb {
  const tcb = new Tcb()
  const fields = tcb as Record<TcbField, number>
  for (const field of TCB_INT_FIELDS) fields[field] = row.takeInt()
  for (const field of TCB_DOUBLE_FIELDS) fields[field] = row.takeDouble()
  return tcb
}

/** The octets that belong to a Tcb: what was received and sent, as far as kept. */
export interface Buffers {
  /** Text from the peer; `contiguousEnd` is the stream offset of RCV.NXT without FIN. */
  readonly received: StreamBuffer
  /** Text to the peer: unacknowledged, and on an owner also not yet sent. */
  readonly sent: StreamBuffer
}

export function newBuffers(receiveLimit: number, sendLimit: number): Buffers {
  return { received: new StreamBuffer(receiveLimit), sent: new StreamBuffer(sendLimit) }
}

/** What moves when a shadow becomes a connection, or the other way round. */
export interface TcbParts {
  readonly tcb: Tcb
  readonly buffers: Buffers
}

/** The end of TIME-WAIT: the one transition that only time makes. */
export function timeWaitExpires(tcb: Tcb): void {
  tcb.state = nextState(tcb.state, TcpEvent.TIMEOUT_2MSL)
}

/** Passive OPEN: CLOSED becomes LISTEN. */
export function openPassive(tcb: Tcb): void {
  tcb.state = nextState(tcb.state, TcpEvent.OPEN_PASSIVE)
}

/** Our clock for timestamps (RFC 7323 §5.4), as the connection's peer sees it. */
export function timestampAt(tcb: Tcb, now: Millis): number {
  return (Math.floor(now) + tcb.tsOffset) | 0
}

/** Deletes the TCB without a word on the wire: a time-out, or an application that went away before the handshake ended. */
export function deleteTcb(tcb: Tcb): void {
  tcb.state = nextState(tcb.state, TcpEvent.DELETE)
}
