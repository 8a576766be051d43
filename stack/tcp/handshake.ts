// hot path: no allocation per frame
/**
 * Our SYN: what it offers, alone or in answer to the peer's (RFC 9293 §3.5, RFC 7323 §1.3, RFC 2018 §2). A SYN that is sent again,
 * by this node or by one that took over from it, offers what the first one did.
 */
import type { Seq } from '../base/seq.js'
import type { Millis } from '../base/time.js'
import { ACK, CWR, ECE, type Segment, SYN } from '../wire/tcp.js'
import { TcpState } from './state.js'
import { Offer, type Tcb, timestampAt } from './tcb.js'

/** Explicit congestion notification: never, when the peer offers it, or offered by us too. */
export type EcnUse = 'off' | 'accept' | 'offer'

/** What a first SYN is made with. */
export interface SynTerms {
  /** Octets of text that a segment may carry on this link: MTU less the IP and TCP headers. */
  readonly linkMss: number
  /** Octets the application may leave unread. */
  readonly receiveLimit: number
  /** ISS (RFC 6528). */
  readonly iss: Seq
  /** Where TSval starts, so that it tells nothing about the host's uptime. */
  readonly tsOffset: number
  readonly ecn: EcnUse
}

/** Fills `seg` with our SYN: with ACK once the peer's SYN is here. */
export function fillSyn(seg: Segment, tcb: Tcb, terms: SynTerms, now: Millis): void {
  const answers = tcb.state === TcpState.SYN_RECEIVED
  const again = tcb.synSent
  // An answer offers what the peer offered (RFC 7323 §2.2: "only if it received one").
  const offers = again ? tcb.ownOffers : answers ? tcb.peerOffers : ~0
  seg.seq = again ? tcb.iss : terms.iss
  seg.flags = answers ? SYN | ACK : SYN
  if (answers) seg.ack = tcb.rcvNxt
  seg.mss = terms.linkMss
  seg.wnd = Math.min(terms.receiveLimit, 0xffff)
  if ((offers & Offer.SCALE) !== 0) {
    seg.windowScale = again ? tcb.rcvScale : scaleFor(terms.receiveLimit)
  }
  if ((offers & Offer.ECN) !== 0) seg.flags |= ecnFlags(terms.ecn, answers, again)
  seg.sackPermitted = (offers & Offer.SACK) !== 0
  if ((offers & Offer.TIMESTAMPS) === 0) return
  seg.hasTimestamps = true
  seg.tsVal = (Math.floor(now) + (again ? tcb.tsOffset : terms.tsOffset)) | 0
  seg.tsEcr = answers ? tcb.tsRecent : 0
}

/** Puts our timestamps on a segment that is not a SYN, where they are agreed on (RFC 7323 §3.2). */
export function stampTime(seg: Segment, tcb: Tcb, now: Millis): void {
  if (!tcb.tsOk) return
  seg.hasTimestamps = true
  seg.tsVal = timestampAt(tcb, now)
  seg.tsEcr = tcb.tsRecent
}

// RFC 3168 §6.1.1; §6.1.1.1: a SYN that got no answer is sent again without, lest something on the way dislikes it.
function ecnFlags(use: EcnUse, answers: boolean, again: boolean): number {
  if (answers) return use === 'off' ? 0 : ECE
  return use === 'offer' && !again ? ECE | CWR : 0
}

// The smallest shift by which the whole receive buffer can be offered (RFC 7323 §2.2).
function scaleFor(limit: number): number {
  let shift = 0
  while (limit >> shift > 0xffff && shift < 14) shift++
  return shift
}
