// hot path: no allocation per frame
/**
 * CUBIC congestion control (RFC 9438), with fast convergence (§4.7) and the Reno-friendly region (§4.3); slow start as Reno
 * has it. The window follows W_cubic(t) = C (t - K)^3 + W_max, with t in seconds since the last reduction and windows in
 * segments; here they are octets.
 *
 * Time in which the application, not the window, was the limit is taken out of t (§5.8): nobody reports an ACK then.
 */
import type { Millis } from '../../base/time.js'
import type { CongestionControl } from './congestion-control.js'
import { initialWindow, NO_THRESHOLD } from './window.js'

// RFC 9438 §4.5, §4.6, §4.3.
const C = 0.4
const BETA = 0.7
const ALPHA = (3 * (1 - BETA)) / (1 + BETA)

// L, the segments that an ACK may add in slow start: RFC 3465 §2.3, and RFC 9406 §4.3 for the first one, as peers whose
// network card joins segments acknowledge many at a time.
const LIMIT = 2
const FIRST_LIMIT = 8

export class Cubic implements CongestionControl {
  cwnd: number
  ssthresh = NO_THRESHOLD
  #mss: number
  // W_max; 0 when the next congestion avoidance begins a curve of its own (§4.8).
  #wMax = 0
  // K, in milliseconds.
  #kMs = 0
  // When this stage of congestion avoidance began, or -1.
  #epochAt: Millis = -1
  #ackedAt: Millis = 0
  // W_est: what Reno would have.
  #wEst = 0
  #cwndBefore = 0
  #ssthreshBefore = 0
  #wMaxBefore = 0

  constructor(mss: number) {
    this.#mss = mss
    this.cwnd = initialWindow(mss)
  }

  changeMss(mss: number): void {
    this.#mss = mss
    this.cwnd = Math.max(this.cwnd, mss)
  }

  handleAck(acked: number, now: Millis, srttMs: number): void {
    if (this.cwnd < this.ssthresh) {
      const most = this.ssthresh === NO_THRESHOLD ? FIRST_LIMIT : LIMIT
      this.cwnd += Math.min(acked, most * this.#mss)
      return
    }
    const rttMs = Math.max(srttMs, 0)
    if (this.#epochAt < 0) this.#begin(now)
    else if (now - this.#ackedAt > 2 * rttMs + 100) this.#epochAt += now - this.#ackedAt
    this.#ackedAt = now
    const { cwnd } = this
    const cubic = this.#curve(now - this.#epochAt)
    const alpha = this.#wEst >= this.#cwndBefore ? 1 : ALPHA
    this.#wEst += (alpha * acked * this.#mss) / cwnd
    if (cubic < this.#wEst) {
      this.cwnd = Math.max(cwnd, this.#wEst)
      return
    }
    const ahead = this.#curve(now - this.#epochAt + rttMs)
    const target = Math.min(Math.max(ahead, cwnd), 1.5 * cwnd)
    this.cwnd = cwnd + ((target - cwnd) * acked) / cwnd
  }

  #begin(now: Millis): void {
    this.#epochAt = now
    this.#wEst = this.cwnd
    if (this.cwnd < this.#wMax) {
      this.#kMs = 1000 * Math.cbrt((this.#wMax - this.cwnd) / this.#mss / C)
    } else {
      this.#kMs = 0
      this.#wMax = this.cwnd
    }
  }

  // W_cubic at `ms` into the stage.
  #curve(ms: number): number {
    const t = (ms - this.#kMs) / 1000
    return C * t * t * t * this.#mss + this.#wMax
  }

  handleLoss(flightSize: number): void {
    this.#reduce(flightSize)
    this.cwnd = this.ssthresh
  }

  handleTimeout(flightSize: number, first: boolean): void {
    if (first) {
      this.#reduce(flightSize)
      this.#wMax = 0
    }
    this.cwnd = this.#mss
  }

  #reduce(flightSize: number): void {
    this.#cwndBefore = this.cwnd
    this.#ssthreshBefore = this.ssthresh
    this.#wMaxBefore = this.#wMax
    // §4.7: a window that is reduced before it came back to the last maximum makes room for others.
    this.#wMax = this.cwnd < this.#wMax ? (this.cwnd * (1 + BETA)) / 2 : this.cwnd
    this.ssthresh = Math.max(Math.floor(flightSize * BETA), 2 * this.#mss)
    this.#epochAt = -1
  }

  handleRecovered(): void {
    this.cwnd = this.ssthresh
  }

  undo(): void {
    this.cwnd = Math.max(this.cwnd, this.#cwndBefore)
    this.ssthresh = Math.max(this.ssthresh, this.#ssthreshBefore)
    this.#wMax = Math.max(this.#wMax, this.#wMaxBefore)
    this.#epochAt = -1
  }

  restart(): void {
    this.cwnd = Math.min(this.cwnd, initialWindow(this.#mss))
    this.#epochAt = -1
  }

  startSmall(): void {
    this.cwnd = this.#mss
  }
}
