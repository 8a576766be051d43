// hot path: no allocation per frame
/**
 * Adoption: what a promoted connection learns from its peer about the time before, when its last owner may have sent and
 * acknowledged what nobody here overheard.
 *
 *   An ACK above SND.NXT proves that the last owner sent as much: the application regenerates the same octets, so the
 *   connection goes on as if they had been seen depart. Text above RCV.NXT that comes again and again, and nothing at
 *   RCV.NXT, proves that the last owner acknowledged what is missing here: a peer sends again from its SND.UNA. That
 *   connection cannot be saved, and its peer must not wait for ever (S2).
 *
 *   Who is ahead in both of his numbers, by more than a window, may be a stranger: he is believed when he echoes our clock. Else, once the
 *   peer has not answered otherwise for a while, he is answered as by an endpoint that knows of no connection (RFC 9293 §3.5.1):
 *   <SEQ=SEG.ACK><CTL=RST> ends nothing but a connection that stands there, and what is said to that one then is answered by its own reset.
 *
 *   A peer that has had all of its text acknowledged says nothing any more. It is asked: behind a take-over a segment leaves that is
 *   out of the window, as a keep-alive probe is, and the answer tells how far the peer has come.
 */
import { add, diff, gt, lt, type Seq, ZERO } from '../base/seq.js'
import type { StreamBuffer } from '../base/stream-buffer.js'
import { type Millis, NEVER } from '../base/time.js'
import { ACK, RST, type Segment, SYN } from '../wire/tcp.js'
import { isAcceptable } from './acceptability.js'
import type { Receiver } from './receiver.js'
import { departedUnseen, synAckedUnseen } from './segment-departs.js'
import { isSynchronized, TcpState } from './state.js'
import { type Tcb, timestampAt } from './tcb.js'

/** What the last owner promised to take must be taken (SHLD-14), even beyond our own limit: `received` gets room for it. */
export function keepPromise(
  tcb: Tcb,
  received: StreamBuffer,
  inputOffset: number,
  limit: number,
): void {
  const promised = Math.max(limit, received.contiguousEnd - inputOffset + tcb.rcvWnd)
  received.limit = Math.max(received.limit, 2 * promised)
}

/** How long behind a take-over an ACK above SND.NXT is taken as proof of what the last owner sent. */
export const ADOPTION_GRACE_MS = 30_000
/** How often the same text must come above RCV.NXT, each time behind a pause that no duplication on the way explains. */
export const LOSS_REPEATS = 4
const REPEAT_MS = 150
/**
 * How old the timestamp may be that a peer echoes who is ahead of us: what the last owner sent unheard it sent not long before. Of all
 * timestamps that is one in 70,000; as many as a window is of all sequence numbers.
 */
export const ECHO_MS: Millis = 2 * ADOPTION_GRACE_MS
// By how much the last owner's clock may have been ahead of what was heard of it.
const ECHO_AHEAD_MS: Millis = 1000
/**
 * How long what a peer has sent, as its own sequence number tells, may stay away. A peer that still has it sends it again much
 * sooner; one whose FIN or text the last owner acknowledged never does, and would wait for ever.
 */
export const LOSS_WAIT_MS: Millis = 15_000

/** How long nothing is heard of the peer before it is asked; up to a second more, so that not all of many are asked at once. */
export const ASK_MS: Millis = 1000
/** How often it is asked, each time behind twice as long. */
const ASKED_MOST = 3
// How often, and until when, while somebody is ahead who may be a stranger.
const ASK_STRANGER_MS: Millis = 2000
const STRANGER_MS: Millis = 2 * LOSS_WAIT_MS

/** Why a connection ends of which the peer's input is lost. */
export const INPUT_LOST = 'ERR_INPUT_LOST'

export class Adoption {
  readonly #until: Millis
  // What another node said in between is not to be gone on with.
  readonly #doubted: boolean
  // Stream offset of RCV.NXT at the promotion; -1 once the peer's text has been seen to go on from there.
  #inputFrom: number
  #lowest: Seq = ZERO
  #repeats = 0
  #repeatedAt: Millis = 0
  // When it is certain that the peer will not send what is missing here; NEVER while nothing is missed.
  #lostAt: Millis = NEVER
  // When the peer is asked how far it has come; NEVER once something was heard of it.
  #askAt: Millis = NEVER
  #asked = 0
  #asking = false
  // SEG.ACK of a peer that is ahead: where it takes a reset.
  #peerAck: Seq | null = null
  // Since when somebody has been ahead who may be a stranger, and the peer has said nothing else; NEVER: nobody is.
  #strangeAt: Millis = NEVER
  // That has been so for long: from now on he is refused.
  #refused = false
  // The peer has said something that fits.
  #heard = false

  /** The connection has been promoted; or it is `doubted`, as another node may have owned it in between. */
  constructor(tcb: Tcb, now: Millis, doubted = false) {
    this.#until = now + ADOPTION_GRACE_MS
    this.#doubted = doubted
    synAckedUnseen(tcb)
    this.#inputFrom = tcb.rcvNxtOffset
    const watched = isSynchronized(tcb.state) && tcb.state !== TcpState.TIME_WAIT
    if (watched) this.#askAt = now + ASK_MS + (tcb.iss & 0x3ff)
  }

  get deadline(): Millis {
    return Math.min(this.#lostAt, this.#askAt)
  }

  /** True when nothing of it matters any more. */
  isOver(now: Millis): boolean {
    if (now < this.#until || !this.#heard || this.#strangeAt !== NEVER) return false
    return this.#inputFrom < 0 && this.deadline === NEVER
  }

  /** Before a segment is folded: what it proves of the last owner's sending. */
  takeProof(tcb: Tcb, seg: Segment, now: Millis): void {
    if (this.#doubted || this.#until <= now || !seg.has(ACK) || tcb.state < TcpState.SYN_RECEIVED)
      return
    if (seg.has(RST) || !gt(seg.ack, tcb.sndNxt)) return
    // Who knows the exact sequence number is the peer, however much of the exchange was missed (RFC 5961 §3.2).
    const near = isSynchronized(tcb.state) && diff(seg.ack, tcb.sndUna) <= tcb.sndWndMax
    if (near || seg.seq === tcb.rcvNxt) departedUnseen(tcb, seg.ack)
  }

  /** Behind the fold of a segment, whether it was dropped or not: true when it is proof enough that input is lost here for ever. */
  provesLoss(tcb: Tcb, seg: Segment, dropped: boolean, now: Millis): boolean {
    if (!dropped) this.#heardPeer()
    else if (this.#isStranger(tcb, seg)) this.#noteStranger(now)
    if (this.#strangeAt === NEVER) this.#askAt = NEVER
    const ahead = dropped && this.#isAhead(tcb, seg, now)
    if (ahead) this.#peerAck = seg.ack
    if (ahead && this.refuses(tcb, seg, dropped)) return true
    if (ahead && this.#doubted && gt(seg.ack, tcb.sndNxt)) return true
    if (this.#inputFrom < 0 || (dropped && !ahead)) return false
    // It was established unheard, and what was said since is lost; the reset that such an ACK is answered with before a connection is
    // established (RFC 9293 §3.10.7.4) ends it, and is to be accounted for.
    if (dropped && tcb.state === TcpState.SYN_RECEIVED) return true
    if (tcb.rcvNxtOffset !== this.#inputFrom) {
      this.#inputFrom = -1
      this.#lostAt = NEVER
      return false
    }
    // Before a closed window the peer may be waiting for us.
    const missing = gt(seg.seq, tcb.rcvNxt) && tcb.rcvWnd > 0
    if (missing && this.#lostAt === NEVER) this.#lostAt = now + LOSS_WAIT_MS
    if (seg.len === 0 || !gt(seg.seq, tcb.rcvNxt)) return false
    if (this.#repeats === 0 || lt(seg.seq, this.#lowest)) {
      this.#lowest = seg.seq
      this.#repeats = 1
      this.#repeatedAt = now
    } else if (seg.seq === this.#lowest && now - this.#repeatedAt >= REPEAT_MS) {
      this.#repeats++
      this.#repeatedAt = now
    }
    return this.#repeats >= LOSS_REPEATS
  }

  /** Why the connection ends if it is reset now where that says more than the reset; else undefined. */
  get lost(): string | undefined {
    return this.#refused ? INPUT_LOST : undefined
  }

  /** Where it is no such proof: true when it is to be answered as if there were no connection. */
  refuses(tcb: Tcb, seg: Segment, dropped: boolean): boolean {
    return dropped && this.#refused && this.#isStranger(tcb, seg)
  }

  #heardPeer(): void {
    this.#heard = true
    this.#strangeAt = NEVER
    this.#refused = false
  }

  // Before a closed window the peer may be waiting for us.
  #isStranger(tcb: Tcb, seg: Segment): boolean {
    return isSynchronized(tcb.state) && tcb.rcvWnd > 0 && isBothAhead(tcb, seg)
  }

  #noteStranger(now: Millis): void {
    if (this.#strangeAt === NEVER) {
      if (now >= this.#until && this.#heard) return
      this.#strangeAt = now
      this.#askAt = now + ASK_MS
    }
    this.#refused ||= now - this.#strangeAt >= LOSS_WAIT_MS
  }

  // It was dropped for an acknowledgement of more than `takeProof` believes, or as it lies beyond the window: the last owner has sent
  // much, or taken much, that was not heard here, and neither end would ever take a segment of the other again. One of the two
  // numbers must fit, which a stranger does not know; or, where he did both, the timestamp that is echoed.
  #isAhead(tcb: Tcb, seg: Segment, now: Millis): boolean {
    if (now >= this.#until && this.#strangeAt === NEVER) return false
    if (!seg.has(ACK) || seg.has(RST) || seg.has(SYN)) return false
    if (isBothAhead(tcb, seg)) return echoesUs(tcb, seg, now)
    if (gt(seg.ack, tcb.sndNxt)) return isAcceptable(seg.seq, seg.len, tcb.rcvNxt, tcb.rcvWnd)
    return !lt(seg.ack, tcb.sndUna) && gt(seg.seq, add(tcb.rcvNxt, tcb.rcvWnd))
  }

  /**
   * At the deadline: true when nothing has come since the promotion although the peer has sent something. What is outstanding, or kept
   * from leaving by a closed window, asks as well.
   */
  handleTimeout(tcb: Tcb, receiver: Receiver, now: Millis): boolean {
    if (now >= this.#askAt) {
      this.#askAt = this.#nextAskAt(now)
      this.#asking = tcb.flightSize === 0
      if (this.#asking || this.#refused) receiver.ackNow = true
    }
    if (now < this.#lostAt) return false
    this.#lostAt = NEVER
    return this.#inputFrom >= 0 && tcb.rcvNxtOffset === this.#inputFrom
  }

  #nextAskAt(now: Millis): Millis {
    if (this.#strangeAt === NEVER) {
      this.#asked++
      return this.#asked < ASKED_MOST ? now + ASK_MS * 2 ** this.#asked : NEVER
    }
    if (now < this.#strangeAt + STRANGER_MS) return now + ASK_STRANGER_MS
    this.#strangeAt = NEVER
    return NEVER
  }

  /**
   * Before a reset leaves, for whatever reason: our side goes on to where a peer that is ahead takes it (RFC 5961 §3.2). True: there is
   * such a peer, and the connection was lost before.
   */
  catchUp(tcb: Tcb): boolean {
    const ack = this.#peerAck
    if (ack === null || !isSynchronized(tcb.state) || !gt(ack, tcb.sndNxt)) return false
    departedUnseen(tcb, ack)
    return true
  }

  /** SEG.SEQ of the next segment without text where it is to ask, which is then taken as sent; else undefined. */
  takeSeq(tcb: Tcb): Seq | undefined {
    const asks = this.#asking && tcb.flightSize === 0
    this.#asking = false
    return asks ? add(tcb.sndNxt, -1) : undefined
  }
}

// It acknowledges what was never sent from here, and lies beyond the window.
function isBothAhead(tcb: Tcb, seg: Segment): boolean {
  if (!seg.has(ACK) || seg.has(RST) || seg.has(SYN) || !gt(seg.ack, tcb.sndNxt)) return false
  return gt(seg.seq, tcb.rcvNxt) && !isAcceptable(seg.seq, seg.len, tcb.rcvNxt, tcb.rcvWnd)
}

// Who echoes a timestamp that this connection has lately sent has heard it.
function echoesUs(tcb: Tcb, seg: Segment, now: Millis): boolean {
  if (!tcb.tsOk || !seg.hasTimestamps) return false
  const age = (timestampAt(tcb, now) - seg.tsEcr) | 0
  return age >= -ECHO_AHEAD_MS && age <= ECHO_MS
}
