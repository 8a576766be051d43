// hot path: no allocation per frame
/**
 * Sender: what to send next, if anything. It reads the Tcb and the buffers and writes neither; what it decides is committed
 * by segmentDeparts. Its own state (timers, congestion window, scoreboard) is private to an owner and starts afresh at a
 * take-over. Loss recovery: RFC 6675 with SACK, RFC 6582 (NewReno) without, RFC 6298 for the timer.
 *
 *      una              highRxt           lostEdge                nxt            sent.end
 *       |--- resent -------|---- lost -------|----- in flight -----|--- unsent ------|
 *
 * All positions are stream offsets.
 */
import { type Millis, NEVER } from '../base/time.js'
import type { Segment } from '../wire/tcp.js'
import {
  type CongestionAlgorithm,
  type CongestionControl,
  newCongestionControl,
} from './congestion/congestion-control.js'
import { Effect, type EffectSet } from './effects.js'
import { RttEstimator } from './recovery/rtt.js'
import { DUP_THRESH, Scoreboard } from './recovery/scoreboard.js'
import { type Buffers, DEFAULT_MSS, type Tcb } from './tcb.js'

/** How the sender is doing. */
export const SenderMode = {
  /** Nothing is known to be lost. */
  OPEN: 0,
  /** Fast recovery: loss found by acknowledgements. */
  RECOVERY: 1,
  /** The timer expired, or the connection was just taken over: all of the flight is to be sent again. */
  LOSS: 2,
} as const
export type SenderMode = (typeof SenderMode)[keyof typeof SenderMode]

/** What `next` decided: the stream offset and length of the text, and whether FIN goes with it. */
export interface SendPlan {
  offset: number
  length: number
  fin: boolean
  push: boolean
}

export class Sender {
  readonly rtt = new RttEstimator()
  readonly scoreboard = new Scoreboard()
  congestion: CongestionControl
  mode: SenderMode = SenderMode.OPEN
  /** The application has ended its side: FIN goes behind the last octet. */
  finQueued = false
  /** Nagle's algorithm is off. */
  noDelay = false
  /** When the retransmission timer expires. */
  rtoAt: Millis = NEVER
  /** When a zero window is probed. */
  persistAt: Millis = NEVER
  /** Time-outs in a row without an acknowledgement. */
  timeouts = 0
  /** Segments sent again. */
  retransmissions = 0
  /** The decision of the last `next` that returned true. Reused. */
  readonly plan: SendPlan = { offset: 0, length: 0, fin: false, push: false }
  #dupAcks = 0
  #highRxt = 0
  #newRenoEdge = 0
  #recoveryPoint = -1
  // The next retransmission leaves whatever the congestion window says (RFC 6675 §5 step 4.3).
  #force = false
  #probe = false
  // A probe of a zero window is in flight; its octet may have been refused.
  #probed = false
  #lastSentAt: Millis = 0
  #mss = DEFAULT_MSS

  readonly #algorithm: CongestionAlgorithm

  constructor(algorithm: CongestionAlgorithm) {
    this.#algorithm = algorithm
    this.congestion = newCongestionControl(algorithm, this.#mss)
  }

  /** Settles the octets of text per segment, options taken off, once both SYNs are known. */
  setMss(mss: number): void {
    this.#mss = mss
    this.congestion = newCongestionControl(this.#algorithm, mss)
  }

  get mss(): number {
    return this.#mss
  }

  nextDeadline(): Millis {
    return Math.min(this.rtoAt, this.persistAt)
  }

  /** Everything in flight is to be sent again from SND.UNA, at once: the first act of a promoted connection. */
  resendAll(tcb: Tcb): void {
    if (tcb.flightSize === 0) return
    this.mode = SenderMode.LOSS
    this.#recoveryPoint = tcb.sndNxtOffset
    this.#highRxt = tcb.sndUnaOffset
    this.#force = true
  }

  /** Text that was absent in [from, ...) has been regenerated: it may be sent again. */
  refilled(from: number): void {
    if (from < this.#highRxt) this.#highRxt = from
    this.#force = true
  }

  /** Takes an acceptable segment's acknowledgement; `unaBefore` is the stream offset of SND.UNA before it. */
  handleAck(tcb: Tcb, seg: Segment, effects: EffectSet, unaBefore: number, now: Millis): void {
    const una = tcb.sndUnaOffset
    const nxt = tcb.sndNxtOffset
    const acked = una - unaBefore
    let news = false
    if (tcb.sackOk && seg.sackCount > 0) news = this.#takeSack(tcb, seg, una, nxt)
    if ((effects & Effect.WINDOW) !== 0 && tcb.sndWnd > 0) this.#handleOpenWindow(tcb, acked, now)
    if (tcb.sndWnd === 0) this.timeouts = 0
    if (acked > 0) {
      this.#handleNewAck(tcb, una, acked, now)
    } else if ((effects & Effect.DUP_ACK) !== 0) {
      this.#dupAcks++
      news = true
    }
    if (news && this.mode === SenderMode.OPEN) this.#considerLoss(tcb, una, now)
  }

  // A window that opens is no time to wait for a timer that the probes have backed off to a minute.
  #handleOpenWindow(tcb: Tcb, acked: number, now: Millis): void {
    this.persistAt = NEVER
    if (!this.#probed) return
    this.#probed = false
    if (acked > 0 || tcb.flightSize === 0) return
    this.rtt.resetBackoff()
    this.resendAll(tcb)
    this.rtoAt = now + this.rtt.rtoMs
  }

  #takeSack(tcb: Tcb, seg: Segment, una: number, nxt: number): boolean {
    let news = false
    for (let i = 0; i < seg.sackCount; i++) {
      const left = nxt + (((seg.sackEdges[2 * i] as number) - tcb.sndNxt) | 0)
      const right = nxt + (((seg.sackEdges[2 * i + 1] as number) - tcb.sndNxt) | 0)
      if (left < una || right > nxt || left >= right) continue
      if (this.scoreboard.add(left, right)) news = true
    }
    return news
  }

  #handleNewAck(tcb: Tcb, una: number, acked: number, now: Millis): void {
    this.rtt.acked(una, now)
    this.rtt.resetBackoff()
    this.timeouts = 0
    this.#dupAcks = 0
    this.scoreboard.trim(una)
    if (this.#highRxt < una) this.#highRxt = una
    if (this.mode === SenderMode.OPEN) {
      this.#widen(tcb, acked, now)
    } else if (una >= this.#recoveryPoint) {
      if (this.mode === SenderMode.RECOVERY) this.congestion.handleRecovered()
      this.mode = SenderMode.OPEN
      this.#force = false
    } else if (this.mode === SenderMode.LOSS) {
      this.#widen(tcb, acked, now)
    } else if (!tcb.sackOk) {
      // RFC 6582 §3.2 step 4: a partial acknowledgement shows the next loss.
      this.#newRenoEdge = una + this.#mss
      this.#highRxt = una
      this.#force = true
    }
    // RFC 6298 (5.2), (5.3)
    this.rtoAt = tcb.flightSize === 0 ? NEVER : now + this.rtt.rtoMs
  }

  // RFC 7661 §4.2: a window that is not in use is not validated, and must not grow.
  #widen(tcb: Tcb, acked: number, now: Millis): void {
    if (2 * (tcb.flightSize + acked) < this.congestion.cwnd) return
    this.congestion.handleAck(acked, now, this.rtt.srttMs)
  }

  #considerLoss(tcb: Tcb, una: number, now: Millis): void {
    const evidence = this.#dupAcks >= DUP_THRESH || this.scoreboard.lostEdge(this.#mss) > una
    // RFC 6582 §3.2 step 2: data sent before the last recovery's end proves nothing new.
    if (!evidence || una < this.#recoveryPoint) return
    this.mode = SenderMode.RECOVERY
    this.#recoveryPoint = tcb.sndNxtOffset
    this.#highRxt = una
    this.#newRenoEdge = una + this.#mss
    this.#force = true
    this.congestion.handleLoss(tcb.flightSize, now)
  }

  /** Acts on the timers that are due. True when the peer has not answered for too long. */
  handleTimeout(tcb: Tcb, now: Millis, maxTimeouts: number): boolean {
    if (now >= this.persistAt) {
      this.persistAt = NEVER
      this.#probe = true
    }
    if (now < this.rtoAt) return false
    this.rtoAt = NEVER
    if (tcb.flightSize === 0) return false
    this.timeouts++
    if (this.timeouts > maxTimeouts) return true
    this.rtt.backOff()
    // A closed window is not congestion.
    if (tcb.sndWnd > 0) this.congestion.handleTimeout(tcb.flightSize, this.timeouts === 1, now)
    // RFC 2018 §8: after a time-out the reports are no longer trusted.
    this.scoreboard.clear()
    this.#dupAcks = 0
    this.mode = SenderMode.LOSS
    this.#recoveryPoint = tcb.sndNxtOffset
    this.#highRxt = tcb.sndUnaOffset
    this.#force = true
    return false
  }

  /** Decides what text or FIN to send next. True: `plan` holds it. `maxLength` bounds its text. */
  next(tcb: Tcb, buffers: Buffers, maxLength: number, now: Millis): boolean {
    if (tcb.flightSize > 0 && this.#nextLost(tcb, buffers, maxLength)) return true
    return this.#nextNew(tcb, buffers, maxLength, now)
  }

  // Octets below this offset, from highRxt on, are to be sent again.
  #lostEdge(tcb: Tcb): number {
    if (this.mode === SenderMode.OPEN) return -1
    if (this.mode === SenderMode.LOSS) return this.#recoveryPoint
    if (!tcb.sackOk) return this.#newRenoEdge
    return Math.max(this.scoreboard.lostEdge(this.#mss), this.#force ? this.#newRenoEdge : -1)
  }

  // RFC 6675 §4 SetPipe(): octets believed to be under way.
  #pipe(tcb: Tcb): number {
    const una = tcb.sndUnaOffset
    const nxt = tcb.sndNxtOffset
    if (this.mode === SenderMode.OPEN) {
      // RFC 3042 Limited Transmit: each duplicate ACK tells of a segment that has left the network.
      const left = tcb.sackOk ? this.scoreboard.sackedLength : this.#dupAcks * this.#mss
      return nxt - una - left
    }
    const lostFrom = Math.max(this.#lostEdge(tcb), this.#highRxt)
    const resent = this.scoreboard.unsacked(una, Math.min(this.#highRxt, nxt))
    const flying = this.scoreboard.unsacked(lostFrom, nxt)
    const left = tcb.sackOk ? 0 : this.#dupAcks * this.#mss
    return Math.max(resent + flying - left, 0)
  }

  #nextLost(tcb: Tcb, buffers: Buffers, maxLength: number): boolean {
    const lostEdge = Math.min(this.#lostEdge(tcb), tcb.sndNxtOffset)
    const textEnd = tcb.sndFinSent !== 0 ? tcb.sndNxtOffset - 1 : tcb.sndNxtOffset
    for (;;) {
      const offset = this.scoreboard.skip(Math.max(this.#highRxt, tcb.sndUnaOffset))
      if (offset >= lostEdge) return false
      if (!this.#force && this.#pipe(tcb) + this.#mss > this.congestion.cwnd) return false
      const plan = this.plan
      const limit = Math.min(this.scoreboard.holeEnd(offset, tcb.sndNxtOffset), textEnd)
      let length = 0
      if (offset < limit) {
        const present = buffers.sent.presentFrom(offset, Math.min(limit, offset + maxLength))
        if (present < 0) {
          // Text that this node never had: the application regenerates it, or the peer has it already.
          this.#highRxt = offset - present
          continue
        }
        length = present
      }
      plan.offset = offset
      plan.length = length
      plan.fin = tcb.sndFinSent !== 0 && offset + length === textEnd
      plan.push = true
      return true
    }
  }

  #nextNew(tcb: Tcb, buffers: Buffers, maxLength: number, now: Millis): boolean {
    if (tcb.sndFinSent !== 0) return false
    const nxt = tcb.sndNxtOffset
    const unsent = buffers.sent.contiguousEnd - nxt
    if (unsent <= 0 && !this.finQueued) return false
    if (unsent < 0) return false
    if (tcb.flightSize === 0 && now - this.#lastSentAt > this.rtt.rtoMs) this.congestion.restart()
    let usable = tcb.sndWnd - tcb.flightSize
    if (this.#probe && usable <= 0) usable = 1
    let length = Math.min(unsent, maxLength, Math.max(usable, 0))
    const fin = this.finQueued && length === unsent && usable > length
    if (length === 0 && !fin) {
      this.#armPersist(tcb, now)
      return false
    }
    const room = this.congestion.cwnd - this.#pipe(tcb)
    if (!this.#probe && room < Math.min(length, this.#mss)) {
      if (tcb.flightSize > 0) return false
    } else if (!this.#probe && length > this.#mss && room < length) {
      length = Math.max(room - (room % this.#mss), this.#mss)
    }
    if (!fin && !this.#worthSending(tcb, length, unsent)) {
      this.#armPersist(tcb, now)
      return false
    }
    const plan = this.plan
    plan.offset = nxt
    plan.length = length
    plan.fin = fin && length === unsent
    plan.push = length === unsent
    return true
  }

  // Nagle's algorithm and the sender's side of silly window avoidance (RFC 9293 §3.7.4, §3.8.6.2.1; MUST-38).
  #worthSending(tcb: Tcb, length: number, unsent: number): boolean {
    if (this.#probe || length >= this.#mss) return true
    const all = length === unsent
    if (all && (this.noDelay || tcb.flightSize === 0 || this.finQueued)) return true
    return length >= tcb.sndWndMax / 2
  }

  // Text waits, nothing is in flight, and the window is too small: without a probe both sides could wait for ever (MUST-36).
  #armPersist(tcb: Tcb, now: Millis): void {
    if (tcb.flightSize > 0 || this.persistAt !== NEVER) return
    this.persistAt = now + this.rtt.rtoMs
  }

  /** Notes that `plan` has departed. `nxtBefore` is the stream offset of SND.NXT before it. */
  departed(tcb: Tcb, nxtBefore: number, now: Millis): void {
    const plan = this.plan
    const end = plan.offset + plan.length + (plan.fin ? 1 : 0)
    this.#lastSentAt = now
    if (this.#probe) this.#probed = true
    this.#probe = false
    if (plan.offset < nxtBefore) {
      this.retransmissions++
      this.#force = false
      if (end > this.#highRxt) this.#highRxt = end
      this.rtt.discard()
    } else {
      this.rtt.start(end, now)
    }
    // RFC 6298 (5.1)
    if (this.rtoAt === NEVER && tcb.flightSize > 0) this.rtoAt = now + this.rtt.rtoMs
    this.persistAt = NEVER
  }
}

/** Eff.snd.MSS (RFC 9293 §3.7.1): octets of text per segment, with the timestamps option taken off. */
export function effectiveMss(tcb: Tcb, linkMss: number): number {
  const mss = Math.min(tcb.sndMss, linkMss)
  return tcb.tsOk ? mss - 12 : mss
}
