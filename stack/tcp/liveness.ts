// hot path: no allocation per frame
/**
 * Liveness: whether a peer that says nothing is still there, for a connection that asked for it: keep-alive probes of an idle one
 * (RFC 9293 §3.8.4) and the user timeout of one that waits for an acknowledgement (§3.8.3, RFC 5482). Both are off until they are
 * set (MUST-25), so most connections have none of this.
 *
 * A probe is a segment without text whose SEG.SEQ is SND.NXT - 1: the peer answers it with an ACK and nothing else changes, at the
 * owner, at the peer and at the shadows.
 */
import { add, type Seq } from '../base/seq.js'
import { type Millis, NEVER } from '../base/time.js'
import { isSynchronized, TcpState } from './state.js'
import type { Tcb } from './tcb.js'

/** MUST-28: two hours at least, unless the application says otherwise. */
export const KEEP_ALIVE_IDLE_MS: Millis = 7_200_000
export const KEEP_ALIVE_INTERVAL_MS: Millis = 75_000
/** MUST-29: a single probe that is not answered proves nothing. */
export const KEEP_ALIVE_COUNT = 9

/** What an application may choose. */
export type LivenessSettings = Partial<
  Pick<Liveness, 'keepAlive' | 'idleMs' | 'intervalMs' | 'count' | 'userTimeoutMs'>
>

export class Liveness {
  /** Keep-alive is on. */
  keepAlive = false
  /** How long a connection is idle before it is probed (MUST-27). */
  idleMs: Millis = KEEP_ALIVE_IDLE_MS
  intervalMs: Millis = KEEP_ALIVE_INTERVAL_MS
  /** Probes without an answer before the connection is given up. */
  count = KEEP_ALIVE_COUNT
  /** How long text may wait for its acknowledgement, or for a window; 0: as long as the retransmissions last. */
  userTimeoutMs: Millis = 0
  #heardAt: Millis
  #probedAt: Millis = NEVER
  #unanswered = 0
  #probeDue = false
  // Since when something waits and the peer has not acknowledged anything.
  #waitingAt: Millis = NEVER

  constructor(now: Millis) {
    this.#heardAt = now
  }

  /** Takes over what is set in `settings`; `waits` as of `heard`. */
  set(settings: LivenessSettings, waits: boolean, now: Millis): void {
    Object.assign(this, settings)
    if (waits) this.waits(now)
  }

  /** A segment has arrived; `acked`: it acknowledged something new; `waits`: something waits to be acknowledged or sent. */
  heard(acked: boolean, waits: boolean, now: Millis): void {
    this.#heardAt = now
    this.#probedAt = NEVER
    this.#unanswered = 0
    if (!waits) this.#waitingAt = NEVER
    else if (acked || this.#waitingAt === NEVER) this.#waitingAt = now
  }

  /** Something waits from now on, if nothing did before. */
  waits(now: Millis): void {
    if (this.#waitingAt === NEVER) this.#waitingAt = now
  }

  deadline(tcb: Tcb): Millis {
    const waitingUntil = this.userTimeoutMs > 0 ? this.#waitingAt + this.userTimeoutMs : NEVER
    return Math.min(waitingUntil, this.#probeAt(tcb))
  }

  // MUST-26: only while nothing is outstanding, and behind a time in which nothing was heard.
  #probeAt(tcb: Tcb): Millis {
    if (!this.keepAlive || tcb.flightSize > 0 || !isSynchronized(tcb.state)) return NEVER
    if (tcb.state === TcpState.TIME_WAIT) return NEVER
    return this.#probedAt === NEVER ? this.#heardAt + this.idleMs : this.#probedAt + this.intervalMs
  }

  /** Acts on what is due. True: the peer is given up. */
  handleTimeout(tcb: Tcb, now: Millis): boolean {
    if (this.userTimeoutMs > 0 && now >= this.#waitingAt + this.userTimeoutMs) return true
    if (now < this.#probeAt(tcb)) return false
    // RFC 5482 §4.2: a user timeout decides for the probes, too, once one has gone unanswered.
    const given = this.userTimeoutMs > 0 && now - this.#heardAt >= this.userTimeoutMs
    if (this.#unanswered > 0 && (given || this.#unanswered >= this.count)) return true
    this.#unanswered++
    this.#probedAt = now
    this.#probeDue = true
    return false
  }

  /** True while a probe is to leave. */
  get probeDue(): boolean {
    return this.#probeDue
  }

  /** SEG.SEQ of the next segment without text: one that was due to probe is taken as sent. */
  takeSeq(tcb: Tcb): Seq {
    const probes = this.#probeDue && tcb.flightSize === 0
    this.#probeDue = false
    return probes ? add(tcb.sndNxt, -1) : tcb.sndNxt
  }
}
