// hot path: no allocation per frame
/**
 * SynCookies (T6, RFC 4987 §3.6): a SYN on a full backlog is answered without keeping anything of it. What must be known of it
 * later is in our ISS, where the peer's ACK brings it back:
 *
 *   ISS = minute (5 bits) | MSS, as one of eight (3 bits) | keyed hash of both, the endpoints, IRS and the options (24 bits)
 *
 * With timestamps the other options are in the low six bits of TSval (ECN, SACK, window scale), which TSecr brings back; without
 * them they are not agreed on. Both ends of a handshake are folded as ever: here for the answer, later, from what the ACK
 * recalls, for the connection. Shadows see a handshake like any other.
 */
import { add, type Seq, seq } from '../base/seq.js'
import { type SipKey, sipHash } from '../base/siphash.js'
import type { Millis } from '../base/time.js'
import { ABSENT, ACK, CWR, ECE, Segment, SYN } from '../wire/tcp.js'
import { fillSyn, type SynTerms } from './handshake.js'
import { addressWord, initialTimestampOffset } from './iss.js'
import { segmentArrives, shiftOf } from './segment-arrives.js'
import { type Buffers, deleteTcb, newBuffers, openPassive, Tcb } from './tcb.js'

/** Answers that may wait to be sent; further SYNs are dropped. */
export const MAX_COOKIES_WAITING = 512
/** The part of a cookie that tells its age counts these. */
export const COOKIE_PERIOD_MS: Millis = 64_000

const MSS_TABLE = [216, 536, 1024, 1220, 1360, 1440, 1460, 8960] as const
const PERIODS = 32
const OPTION_MASK = 0x3f
const ECN_BIT = 0x20
const SACK_BIT = 0x10
const NO_SCALE = 0xf
const NO_OPTIONS = NO_SCALE

interface Waiting {
  readonly syn: Segment
  local: number
  remote: number
  linkMss: number
}

export class SynCookies {
  /** Addresses between which the answer of the last successful `poll` is to be sent. */
  local = 0
  remote = 0
  /** Answers sent. */
  sent = 0
  /** Connections opened by an ACK that brought a cookie back. */
  opened = 0
  /** TSval less the clock of the answer that the last successful `recall` was about. */
  tsOffset = 0
  readonly #secret: SipKey
  readonly #terms: Omit<SynTerms, 'iss' | 'tsOffset' | 'linkMss'>
  readonly #waiting: Waiting[] = []
  #head = 0
  #count = 0
  readonly #tcb = new Tcb()
  readonly #buffers: Buffers = newBuffers(0, 0)
  readonly #recalled = new Segment()

  constructor(terms: Omit<SynTerms, 'iss' | 'tsOffset' | 'linkMss'>, secret: SipKey) {
    this.#terms = terms
    this.#secret = secret
  }

  /** Takes a SYN that is to be answered by a cookie; it is copied. False: too many wait. */
  answer(syn: Segment, local: number, remote: number, linkMss: number): boolean {
    if (this.#count >= MAX_COOKIES_WAITING) return false
    const waiting = this.#slot((this.#head + this.#count) % MAX_COOKIES_WAITING)
    this.#count++
    copySyn(waiting.syn, syn)
    waiting.local = local
    waiting.remote = remote
    waiting.linkMss = linkMss
    return true
  }

  // allocates: the queue grows to what a flood needs, and stays
  #slot(index: number): Waiting {
    const found = this.#waiting[index]
    if (found !== undefined) return found
    const made = { syn: new Segment(), local: 0, remote: 0, linkMss: 0 }
    this.#waiting[index] = made
    return made
  }

  /** Fills `out` with the answer that has waited longest. False: none waits. */
  poll(out: Segment, now: Millis): boolean {
    if (this.#count === 0) return false
    const { syn, local, remote, linkMss } = this.#waiting[this.#head] as Waiting
    this.#head = (this.#head + 1) % MAX_COOKIES_WAITING
    this.#count--
    const tcb = this.#tcb
    openPassive(tcb)
    segmentArrives(tcb, this.#buffers, syn, now)
    const options = optionsOf(syn)
    const period = Math.floor(now / COOKIE_PERIOD_MS)
    const mssIndex = mssIndexOf(syn)
    const iss = this.#cookie(syn, syn.seq, local, remote, options, mssIndex, period)
    const tsOffset = this.#stampWith(syn, local, remote, options, now)
    // allocates: per SYN of a flood, where keeping it would allocate much more
    const terms: SynTerms = { ...this.#terms, linkMss, iss, tsOffset }
    out.clear()
    out.srcPort = syn.dstPort
    out.dstPort = syn.srcPort
    fillSyn(out, tcb, terms, now)
    deleteTcb(tcb)
    this.local = local
    this.remote = remote
    this.sent++
    return true
  }

  /**
   * The SYN that the ACK `seg` completes, as far as a cookie can tell, or null when it brings none that is ours and young enough.
   * The SYN is borrowed until the next call; its answer had `tsOffset`.
   */
  recall(seg: Segment, local: number, remote: number, now: Millis): Segment | null {
    const cookie = add(seg.ack, -1)
    const mssIndex = (cookie >>> 24) & 7
    const period = Math.floor(now / COOKIE_PERIOD_MS)
    const age = (period - (cookie >>> 27)) & (PERIODS - 1)
    if (age > 1) return null
    const options = seg.hasTimestamps ? (seg.tsEcr & OPTION_MASK) | 0x40 : NO_OPTIONS
    const irs = add(seg.seq, -1)
    if (this.#cookie(seg, irs, local, remote, options, mssIndex, period - age) !== cookie)
      return null
    const syn = this.#recalled
    syn.clear()
    syn.srcPort = seg.srcPort
    syn.dstPort = seg.dstPort
    syn.seq = irs
    syn.flags = (options & ECN_BIT) !== 0 ? SYN | ECE | CWR : SYN
    syn.wnd = seg.wnd
    syn.mss = MSS_TABLE[mssIndex] as number
    syn.sackPermitted = (options & SACK_BIT) !== 0
    if ((options & NO_SCALE) !== NO_SCALE) syn.windowScale = options & NO_SCALE
    if (!seg.hasTimestamps) return syn
    syn.hasTimestamps = true
    syn.tsVal = seg.tsVal
    this.tsOffset = (seg.tsEcr - Math.floor(now)) | 0
    return syn
  }

  // TSval less the clock, such that the low bits of TSval are the options and TSval is not ahead of what comes later.
  #stampWith(syn: Segment, local: number, remote: number, options: number, now: Millis): number {
    const clock = Math.floor(now)
    const { srcPort, dstPort } = syn
    const offset = initialTimestampOffset(this.#secret, local, dstPort, remote, srcPort)
    const plain = (clock + offset) | 0
    let tsVal = (plain & ~OPTION_MASK) | (options & OPTION_MASK) | 0
    if (((tsVal - plain) | 0) > 0) tsVal = (tsVal - OPTION_MASK - 1) | 0
    return (tsVal - clock) | 0
  }

  #cookie(
    seg: Segment,
    irs: Seq,
    local: number,
    remote: number,
    options: number,
    mssIndex: number,
    period: number,
  ): Seq {
    const ports = (seg.dstPort << 16) | seg.srcPort
    const told = (mssIndex << 8) | options
    const secret = this.#secret
    const from = addressWord(secret, local)
    const to = addressWord(secret, remote)
    const hash = sipHash(secret, from, to, ports, irs, told, period ^ 0x636f6f6b)
    return seq(((period & (PERIODS - 1)) << 27) | (mssIndex << 24) | (hash & 0xffffff))
  }
}

// Without timestamps there is no place for the other options: they are taken for not offered.
function copySyn(to: Segment, from: Segment): void {
  to.clear()
  to.srcPort = from.srcPort
  to.dstPort = from.dstPort
  to.seq = from.seq
  to.wnd = from.wnd
  to.mss = from.mss
  to.defaultMss = from.defaultMss
  to.flags = from.hasTimestamps ? from.flags & (SYN | ECE | CWR | ACK) : SYN
  if (!from.hasTimestamps) return
  to.hasTimestamps = true
  to.tsVal = from.tsVal
  to.windowScale = from.windowScale
  to.sackPermitted = from.sackPermitted
}

function optionsOf(syn: Segment): number {
  if (!syn.hasTimestamps) return NO_OPTIONS
  const scale = syn.windowScale === ABSENT ? NO_SCALE : shiftOf(syn)
  const ecn = syn.has(ECE) && syn.has(CWR) ? ECN_BIT : 0
  return 0x40 | ecn | (syn.sackPermitted ? SACK_BIT : 0) | scale
}

// The largest of the table that is not above the peer's, or above what a SYN without the option means.
function mssIndexOf({ mss, defaultMss }: Segment): number {
  const wanted = mss === ABSENT || mss === 0 ? defaultMss : mss
  let index = MSS_TABLE.length - 1
  while (index > 0 && (MSS_TABLE[index] as number) > wanted) index--
  return index
}
