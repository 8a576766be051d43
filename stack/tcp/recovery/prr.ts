// hot path: no allocation per frame
/**
 * Proportional Rate Reduction (RFC 9937, which took the place of RFC 6937): in fast recovery as much is sent as the target
 * window makes of what was delivered, so that the pipe comes down to ssthresh evenly; when losses emptied it, it is filled
 * again, by slow start only while ACKs bring good news. All sizes are in octets.
 */

export class ProportionalRateReduction {
  // prr_delivered, prr_out, RecoverFS.
  #delivered = 0
  #out = 0
  #flightSize = 1

  /** Fast recovery begins with this much in flight. */
  start(flightSize: number): void {
    this.#delivered = 0
    this.#out = 0
    this.#flightSize = Math.max(flightSize, 1)
  }

  /** Octets that left. */
  sent(octets: number): void {
    this.#out += octets
  }

  /**
   * An ACK says that `delivered` more octets have arrived: the octets that may leave for it (sndcnt, §6). `safe`: SND.UNA has advanced
   * and no other loss was found (SafeACK).
   */
  allowance(delivered: number, pipe: number, ssthresh: number, mss: number, safe: boolean): number {
    this.#delivered += delivered
    if (pipe > ssthresh) {
      return Math.max(Math.ceil((this.#delivered * ssthresh) / this.#flightSize) - this.#out, 0)
    }
    const conserved = Math.max(this.#delivered - this.#out, delivered)
    const bound = safe ? conserved + mss : conserved
    return Math.max(Math.min(ssthresh - pipe, bound), 0)
  }
}
