// hot path: no allocation per frame
/**
 * Reno congestion control (RFC 5681) with the initial window of RFC 6928 and appropriate byte counting (RFC 3465, L = 2).
 */
import type { CongestionControl } from './congestion-control.js'
import { initialWindow, NO_THRESHOLD } from './window.js'

/** Slow start and congestion avoidance; `ssthresh` is without limit until the first loss. */
export class Reno implements CongestionControl {
  cwnd: number
  ssthresh = NO_THRESHOLD
  #mss: number
  #ackedInRound = 0
  #cwndBefore = 0
  #ssthreshBefore = 0

  constructor(mss: number) {
    this.#mss = mss
    this.cwnd = initialWindow(mss)
  }

  changeMss(mss: number): void {
    this.#mss = mss
    this.cwnd = Math.max(this.cwnd, mss)
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
    this.#reduce(flightSize)
    this.cwnd = this.ssthresh
  }

  handleTimeout(flightSize: number, first: boolean): void {
    if (first) this.#reduce(flightSize)
    this.cwnd = this.#mss
  }

  #reduce(flightSize: number): void {
    this.#cwndBefore = this.cwnd
    this.#ssthreshBefore = this.ssthresh
    this.ssthresh = Math.max(Math.floor(flightSize / 2), 2 * this.#mss)
    this.#ackedInRound = 0
  }

  handleRecovered(): void {
    this.cwnd = this.ssthresh
  }

  undo(): void {
    this.cwnd = Math.max(this.cwnd, this.#cwndBefore)
    this.ssthresh = Math.max(this.ssthresh, this.#ssthreshBefore)
  }

  restart(): void {
    this.cwnd = Math.min(this.cwnd, initialWindow(this.#mss))
  }

  startSmall(): void {
    this.cwnd = this.#mss
  }
}
