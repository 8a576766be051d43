// hot path: no allocation per frame
/**
 * What a sender asks of a congestion control, and which there are. All sizes are in octets, all times in milliseconds.
 *
 * A congestion control knows no segment and no timer; it is private to an owner and starts afresh at a take-over.
 */
import type { Millis } from '../../base/time.js'
import { Cubic } from './cubic.js'
import { Reno } from './reno.js'

/** The algorithm behind `CongestionControl`: CUBIC (RFC 9438) or Reno (RFC 5681). */
export type CongestionAlgorithm = 'cubic' | 'reno'

export interface CongestionControl {
  cwnd: number
  ssthresh: number
  /** Segments carry `mss` octets from now on: the window has room for one. */
  changeMss(mss: number): void
  /** `acked` octets of new data were acknowledged outside of recovery, with the window in use. */
  handleAck(acked: number, now: Millis, srttMs: number): void
  /** Loss was found by acknowledgements, or congestion was experienced (ECN). */
  handleLoss(flightSize: number, now: Millis): void
  /** The retransmission timer expired; `first` is false for a repeated time-out of the same data. */
  handleTimeout(flightSize: number, first: boolean, now: Millis): void
  /** Recovery has ended. */
  handleRecovered(): void
  /** The last reduction was for nothing (RFC 4015 §3.2): window and threshold are what they were before it. */
  undo(): void
  /** Idle for longer than an RTO, or the path is new to us after a take-over: the restart window (RFC 5681 §4.1). */
  restart(): void
  /** The SYN was lost: one segment is the window to start with (RFC 5681 §3.1). */
  startSmall(): void
}

/**
 * The last owner had `flightSize` octets under way, which are acknowledged one by one: the path carries as much, and with a smaller window
 * nothing could leave until most of them were. How much more it carries is not known.
 */
export function inherit(control: CongestionControl, flightSize: number): void {
  control.restart()
  if (flightSize <= control.cwnd) return
  control.cwnd = flightSize
  control.ssthresh = flightSize
}

/** A congestion control for segments of `mss` octets. */
export function newCongestionControl(
  algorithm: CongestionAlgorithm,
  mss: number,
): CongestionControl {
  // allocates: once per connection
  return algorithm === 'reno' ? new Reno(mss) : new Cubic(mss)
}
