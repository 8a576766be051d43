/**
 * NeighborCache: which Ethernet address belongs to which IP address on the link (RFC 826, RFC 1122 §2.3.2, RFC 4861 §7.3).
 *
 *   (none) -- solicit --> INCOMPLETE -- learn --> REACHABLE -- 60 s --> STALE -- solicit --> PROBE
 *                             | 3 requests without answer                           PROBE -> (none), likewise
 *                             v
 *                          (none)
 *
 * Who claims the address of a neighbour that answers is not believed: the neighbour is asked where it was, and only when it is
 * silent has it moved. One host cannot take another's traffic by ARP or Neighbor Discovery, nor keep ours from it.
 *
 * Stale entries go on serving, because a connection that was just taken over must not wait for an answer. The cache
 * keeps no packets: the caller queues a bounded number per address while `isPending`, and drops them afterwards.
 */
import { type Millis, NEVER } from '../base/time.js'
import { isUnicastMac, type MacAddress } from '../wire/ethernet.js'
import {
  dropAddress,
  holdAddress,
  type IpAddress,
  isUnicast,
  UNSPECIFIED,
} from '../wire/ip-address.js'

/** `lookup`'s answer when no address is known. */
export const UNRESOLVED: MacAddress = -1

/** Entries at most, whoever makes them: a flood of senders evicts old entries, never grows the table. */
export const MAX_NEIGHBORS = 1024
/** Addresses being asked for at the same time at most. */
export const MAX_PENDING_NEIGHBORS = 64
/** How long an entry is believed without a word from its owner (RFC 1122 §2.3.2.1: about a minute). */
export const REACHABLE_MS: Millis = 60_000
/** At most one request a second for an address (RFC 1122 §2.3.2.1). */
export const REQUEST_INTERVAL_MS: Millis = 1000
/** Requests without answer after which an address is given up. */
export const MAX_REQUESTS = 3
/** The same where somebody else claims the address: a neighbour that is there answers at once. */
export const DISPUTE_INTERVAL_MS: Millis = 100

interface Neighbor {
  readonly ip: IpAddress
  /** UNRESOLVED until the first answer. */
  mac: MacAddress
  /** When the mapping was last confirmed. */
  learnedAt: Millis
  /** Requests sent without answer. */
  requests: number
  /** When to send the next request, or to give up; NEVER when nothing is being asked. */
  requestAt: Millis
  intervalMs: Millis
  /** Who else claims the address while its owner is asked; else UNRESOLVED. */
  claimant: MacAddress
}

/** A neighbour that was given up. */
export interface LostNeighbor {
  readonly ip: IpAddress
  /** Where it was; UNRESOLVED when it never answered. */
  readonly mac: MacAddress
}

/** A request to send: filled by `pollRequest`, borrowed until the next call. */
export class Question {
  targetIp: IpAddress = UNSPECIFIED
  /** Where the target was, when an old mapping is being confirmed; else UNRESOLVED. */
  knownMac: MacAddress = UNRESOLVED
}

export class NeighborCache {
  // Ordered by `learnedAt`: an entry moves to the end when it is confirmed, so the oldest comes first.
  readonly #entries = new Map<number, Neighbor>()
  readonly #pending: Neighbor[] = []
  /** Entries that made way for newer ones. */
  evictions = 0
  /** Addresses given up after MAX_REQUESTS. */
  failures = 0
  // Those that did not answer and that `pollFailure` has not told yet.
  readonly #failed: Neighbor[] = []
  #failedAt: Millis = NEVER

  get size(): number {
    return this.#entries.size
  }

  /** The address of `ip`, or UNRESOLVED. Old mappings count; `solicit` has them confirmed. */
  lookup(ip: IpAddress): MacAddress {
    const entry = this.#entries.get(ip)
    return entry === undefined ? UNRESOLVED : entry.mac
  }

  /** True when `ip` is unknown or its mapping is old: the moment to call `solicit`. */
  needsRequest(ip: IpAddress, now: Millis): boolean {
    const entry = this.#entries.get(ip)
    if (entry === undefined) return true
    return entry.requestAt === NEVER && now - entry.learnedAt >= REACHABLE_MS
  }

  /**
   * Starts asking for `ip` unless that goes on already; the first request is due at once. False when too many addresses
   * are being asked for, or `ip` cannot be a host's.
   */
  solicit(ip: IpAddress, now: Millis): boolean {
    let entry = this.#entries.get(ip)
    if (entry !== undefined && entry.requestAt !== NEVER) return true
    if (this.#pending.length >= MAX_PENDING_NEIGHBORS || !isUnicast(ip)) return false
    if (entry === undefined) {
      if (!this.#makeRoom()) return false
      entry = newNeighbor(ip, UNRESOLVED, now)
      this.#entries.set(ip, entry)
      holdAddress(ip)
    }
    entry.requests = 0
    entry.requestAt = now
    this.#pending.push(entry)
    return true
  }

  /**
   * What is sent to `ip` finds no answer (RFC 4861 §7.3.1, RFC 1122 §3.3.1.4): it is asked whether it is there, in quick succession as
   * one that is answers at once; but no more than once a second, whatever is lost behind it.
   */
  doubt(ip: IpAddress, now: Millis): void {
    const entry = this.#entries.get(ip)
    if (entry === undefined || entry.requestAt !== NEVER) return
    if (now - entry.learnedAt < REQUEST_INTERVAL_MS) return
    if (this.solicit(ip, now)) entry.intervalMs = DISPUTE_INTERVAL_MS
  }

  /** True while the first answer for `ip` is awaited: packets for it may be queued. */
  isPending(ip: IpAddress): boolean {
    const entry = this.#entries.get(ip)
    return entry !== undefined && entry.mac === UNRESOLVED
  }

  /** Notes that `ip` is at `mac`, whether it was known or not. False when the pair cannot be a host's. */
  learn(ip: IpAddress, mac: MacAddress, now: Millis): boolean {
    if (!isUnicast(ip) || !isUnicastMac(mac)) return false
    const known = this.#entries.get(ip)
    if (known === undefined && !this.#makeRoom()) return false
    const entry = known ?? newNeighbor(ip, mac, now)
    if (known === undefined) holdAddress(ip)
    else this.#entries.delete(ip)
    this.#entries.set(ip, entry)
    entry.mac = mac
    entry.learnedAt = now
    this.#settle(entry)
    return true
  }

  /** Notes that `ip` is at `mac` if `ip` is in the cache; else nothing. True when the cache took it. */
  update(ip: IpAddress, mac: MacAddress, now: Millis): boolean {
    return this.#entries.has(ip) && this.learn(ip, mac, now)
  }

  /**
   * Takes what `senderIp` says of itself, that it is at `senderMac` (RFC 826, "Packet Reception"): a known sender is confirmed, or
   * asked about when it seems to have moved, an unknown one is added only when it asks for one of our addresses. True when the
   * cache took it.
   */
  hear(senderIp: IpAddress, senderMac: MacAddress, targetIsOurs: boolean, now: Millis): boolean {
    const known = this.#entries.get(senderIp)
    if (known !== undefined && known.mac !== UNRESOLVED && known.mac !== senderMac) {
      this.#dispute(known, senderMac, now)
      return false
    }
    return targetIsOurs
      ? this.learn(senderIp, senderMac, now)
      : this.update(senderIp, senderMac, now)
  }

  // Not again within a second of an answer, or whoever claims often could make us ask without end.
  #dispute(entry: Neighbor, claimant: MacAddress, now: Millis): void {
    if (!isUnicastMac(claimant)) return
    if (entry.requestAt !== NEVER) {
      entry.claimant = claimant
      return
    }
    if (now - entry.learnedAt < REQUEST_INTERVAL_MS) return
    if (!this.solicit(entry.ip, now)) return
    entry.claimant = claimant
    entry.intervalMs = DISPUTE_INTERVAL_MS
  }

  forget(ip: IpAddress): void {
    const entry = this.#entries.get(ip)
    if (entry === undefined) return
    this.#entries.delete(ip)
    dropAddress(ip)
    this.#settle(entry)
  }

  /** Fills `out` and returns true while a request is due; gives up addresses whose last request found no answer. */
  pollRequest(out: Question, now: Millis): boolean {
    for (let i = 0; i < this.#pending.length; ) {
      const entry = this.#pending[i]
      if (entry === undefined || entry.requestAt > now) {
        i++
      } else if (entry.requests >= MAX_REQUESTS) {
        this.#giveUp(entry, now)
      } else {
        entry.requests++
        entry.requestAt = now + entry.intervalMs
        out.targetIp = entry.ip
        out.knownMac = entry.mac
        return true
      }
    }
    return false
  }

  /**
   * A neighbour that was given up, each time once; or null. Whoever waits for one that never answered waits in vain (RFC 1122
   * §2.4); the owner of a mapping that grew old and is forgotten may still answer a new question.
   */
  pollFailure(now: Millis): LostNeighbor | null {
    for (let i = this.#pending.length - 1; i >= 0; i--) {
      const entry = this.#pending[i] as Neighbor
      if (entry.requestAt <= now && entry.requests >= MAX_REQUESTS) this.#giveUp(entry, now)
    }
    const failed = this.#failed.pop() ?? null
    if (this.#failed.length === 0) this.#failedAt = NEVER
    return failed
  }

  /** When there is a failure to poll: in the past, or NEVER. */
  get failedAt(): Millis {
    return this.#failedAt
  }

  /** When `pollRequest` has something to do. */
  nextDeadline(): Millis {
    let earliest = NEVER
    for (const entry of this.#pending) {
      if (entry.requestAt < earliest) earliest = entry.requestAt
    }
    return earliest
  }

  #giveUp(entry: Neighbor, now: Millis): void {
    if (entry.claimant !== UNRESOLVED) {
      this.learn(entry.ip, entry.claimant, now)
      return
    }
    this.failures++
    if (this.#failed.length < MAX_PENDING_NEIGHBORS) {
      this.#failed.push(entry)
      this.#failedAt = entry.requestAt
    }
    this.forget(entry.ip)
  }

  #settle(entry: Neighbor): void {
    entry.requests = 0
    entry.requestAt = NEVER
    entry.intervalMs = REQUEST_INTERVAL_MS
    entry.claimant = UNRESOLVED
    const index = this.#pending.indexOf(entry)
    if (index >= 0) this.#pending.splice(index, 1)
  }

  /** Drops the mapping that was confirmed longest ago; those still awaited are fewer than the table holds. */
  #makeRoom(): boolean {
    if (this.#entries.size < MAX_NEIGHBORS) return true
    for (const entry of this.#entries.values()) {
      if (entry.mac === UNRESOLVED) continue
      this.forget(entry.ip)
      this.evictions++
      return true
    }
    return false
  }
}

function newNeighbor(ip: IpAddress, mac: MacAddress, now: Millis): Neighbor {
  return {
    ip,
    mac,
    learnedAt: now,
    requests: 0,
    requestAt: NEVER,
    intervalMs: REQUEST_INTERVAL_MS,
    claimant: UNRESOLVED,
  }
}
