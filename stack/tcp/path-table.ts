/**
 * PathTable: what ICMP has told of the paths to peers, so that a new connection need not learn it again (RFC 1191 §6.2).
 * Bounded, and forgetful: what is old is taken for untrue.
 */
import type { Millis } from '../base/time.js'
import { dropAddress, holdAddress } from '../wire/ip-address.js'
import { PATH_AGE_MS } from './path-mss.js'

export const MAX_PATHS = 1024

interface Path {
  readonly mss: number
  readonly until: Millis
}

export class PathTable {
  readonly #paths = new Map<number, Path>()

  /** Notes that segments to `remote` carry no more than `mss` octets. */
  // allocates: once per message that was believed
  learn(remote: number, mss: number, now: Millis): void {
    this.#forget(remote)
    if (this.#paths.size >= MAX_PATHS) {
      const oldest = this.#paths.keys().next().value
      if (oldest !== undefined) this.#forget(oldest)
    }
    holdAddress(remote)
    this.#paths.set(remote, { mss, until: now + PATH_AGE_MS })
  }

  /** Octets of text that a segment to `remote` carries at most, with options; Infinity when nothing is known. */
  mssTo(remote: number, now: Millis): number {
    const path = this.#paths.get(remote)
    if (path === undefined) return Number.POSITIVE_INFINITY
    if (now < path.until) return path.mss
    this.#forget(remote)
    return Number.POSITIVE_INFINITY
  }

  #forget(remote: number): void {
    if (this.#paths.delete(remote)) dropAddress(remote)
  }
}
