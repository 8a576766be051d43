// hot path: no allocation per frame
/**
 * Announcements: which of our addresses are to be announced to the link, and when: after they were assigned (P13, RFC 5227 §2.3,
 * RFC 4861 §7.2.6), and in defence against somebody else who claims one (RFC 5227 §2.4).
 */
import { type Millis, NEVER } from '../base/time.js'
import { type IpAddress, UNSPECIFIED } from '../wire/ip-address.js'

/** When an announcement is repeated: the neighbours' caches may be locked for a second (RFC 5227 §2.3). */
const ANNOUNCE_AT_MS = [0, 100, 1000, 5000] as const
/** RFC 5227 §2.4 (c): an address is defended once in so long. */
export const DEFEND_INTERVAL_MS: Millis = 10_000

interface Announcement {
  readonly address: IpAddress
  readonly since: Millis
  next: number
  /** Behind the last one to send. */
  readonly end: number
}

export class Announcements {
  #pending: Announcement[] = []
  readonly #defendedAt = new Map<number, Millis>()

  /** The address is announced at once, and again after 0.1, 1 and 5 seconds. */
  // allocates: once per announcement
  start(address: IpAddress, now: Millis): void {
    this.cancel(address)
    this.#pending.push({ address, since: now, next: 0, end: ANNOUNCE_AT_MS.length })
  }

  /**
   * Somebody else has claimed the address. One announcement, and not again for a while, or two hosts that both defend would never
   * end. It waits for the next poll: the address may be given up until then (D3).
   */
  // allocates: once per defence
  defend(address: IpAddress, now: Millis): void {
    const last = this.#defendedAt.get(address) ?? Number.NEGATIVE_INFINITY
    if (now < last || this.#pending.some((a) => a.address === address)) return
    // What is claimed meanwhile is answered at the end, so that the last word is ours.
    const since = Math.max(now, last + DEFEND_INTERVAL_MS)
    this.#defendedAt.set(address, since)
    this.#pending.push({ address, since, next: 0, end: 1 })
  }

  // allocates: once per change of an address
  cancel(address: IpAddress): void {
    this.#pending = this.#pending.filter((a) => a.address !== address)
  }

  /** An address that is to be announced now, or UNSPECIFIED. */
  poll(now: Millis): IpAddress {
    for (let i = this.#pending.length - 1; i >= 0; i--) {
      const a = this.#pending[i] as Announcement
      if (now < a.since + (ANNOUNCE_AT_MS[a.next] as number)) continue
      a.next++
      if (a.next >= a.end) this.#pending.splice(i, 1)
      return a.address
    }
    return UNSPECIFIED
  }

  nextDeadline(): Millis {
    let earliest = NEVER
    for (const a of this.#pending) {
      earliest = Math.min(earliest, a.since + (ANNOUNCE_AT_MS[a.next] ?? NEVER))
    }
    return earliest
  }
}
