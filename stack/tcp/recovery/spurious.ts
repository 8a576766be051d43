// hot path: no allocation per frame
/**
 * Tells when what was sent again had never been lost, so that the reduction of the window can be undone (RFC 4015): by the
 * timestamp that the first ACK after it echoes (Eifel, RFC 3522), or because the peer has reported all of it as duplicates
 * (D-SACK, RFC 3708).
 *
 * An episode begins with a reduction and lasts until the next: D-SACKs come a round trip later than the recovery's end.
 */

export class SpuriousRetransmission {
  #open = false
  // Octets sent again in this episode and not reported as duplicates.
  #resent = 0
  #resentAny = false
  // TSval of the episode's first retransmission, as long as no ACK of new data has come behind it.
  #stamped = false
  #tsVal = 0

  /** The window was reduced; what is sent again from now on belongs to this episode. */
  begin(): void {
    this.#open = true
    this.#resent = 0
    this.#resentAny = false
    this.#stamped = false
  }

  /** `octets` are sent again, with `tsVal` when timestamps are in use. */
  resent(octets: number, tsVal: number, timestamps: boolean): void {
    if (!this.#resentAny && timestamps) {
      this.#stamped = true
      this.#tsVal = tsVal
    }
    this.#resentAny = true
    this.#resent += octets
  }

  /** New data is acknowledged, with `tsEcr`. True when the ACK was caused by the original, not by what was sent again. */
  acked(tsEcr: number, timestamps: boolean): boolean {
    if (!this.#stamped || !this.#open) return false
    this.#stamped = false
    if (!timestamps || ((tsEcr - this.#tsVal) | 0) >= 0) return false
    this.#open = false
    return true
  }

  /** The peer reports `octets` as duplicates. True when with them all of the episode was for nothing. */
  duplicate(octets: number): boolean {
    this.#resent = Math.max(this.#resent - octets, 0)
    if (!this.#open || !this.#resentAny || this.#resent > 0) return false
    this.#open = false
    return true
  }
}
