// hot path: no allocation per frame
/**
 * Reno congestion control (RFC 5681) with the initial window of RFC 6928 and appropriate byte counting (RFC 3465, L = 2).
 */
import type { Millis } from '../../base/time.js'

/** What a sender asks of a congestion control. All sizes are in octets. */
export interface CongestionControl {
  cwnd: number
  ssthresh: number
  /** `acked` octets of new data were acknowledged outside of recovery, with the window in use. */
  handleAck(acked: number, now: Millis): void
  /** Loss was found by duplicate or selective acknowledgements. */
  handleLoss(flightSize: number, now: Millis): void
  /** The retransmission timer expired; `first` is false for a repeated time-out of the same data. */
  handleTimeout(flightSize: number, first: boolean, now: Millis): void
  /** Recovery has ended. */
  handleRecovered(): void
  /** Idle for longer than an RTO, or the path is new to us after a take-over: the restart window (RFC 5681 §4.1). */
  restart(): void
}

/** RFC 6928: min(10 MSS, max(2 MSS, 14600)). */
export function initialWindow(mss: number): number {
  return Math.min(10 * mss, Math.max(2 * mss, 14_600))
}

/** Slow start and congestion avoidance; `ssthresh` is without limit until the first loss. */
export class Reno implements CongestionControl {
  cwnd: number
  ssthresh = 0x7fff_ffff
  readonly #mss: number
  #ackedInRound = 0

  constructor(mss: number) {
    this.#mss = mss
    this.cwnd = initialWindow(mss)
  }

  handleAck(acked: number): void {
    if (this.cwnd < this.ssthresh) {
      this.cwnd += Math.min(acked, 2 * this.#mss)
      return
    }
    this.#ackedInRound += acked
    if (this.#ackedInRound < this.cwnd) return
    this.#ackedInRound -= this.cwnd
    this.cwnd += this.#mss
  }

  handleLoss(flightSize: number): void {
    this.ssthresh = Math.max(flightSize / 2, 2 * this.#mss)
    this.cwnd = this.ssthresh
    this.#ackedInRound = 0
  }

  handleTimeout(flightSize: number, first: boolean): void {
    if (first) this.ssthresh = Math.max(flightSize / 2, 2 * this.#mss)
    this.cwnd = this.#mss
    this.#ackedInRound = 0
  }

  handleRecovered(): void {
    this.cwnd = this.ssthresh
  }

  restart(): void {
    this.cwnd = Math.min(this.cwnd, initialWindow(this.#mss))
  }
}
