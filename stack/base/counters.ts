// hot path: no allocation per frame
/**
 * Why a frame, a packet or a segment was dropped. Input from the wire is never an exception: it is dropped and counted
 * by reason, and the reasons are what an operator sees in the metrics.
 */

/** Reasons, the first ones in the order of the layers; a number never changes. 0 means: not dropped. */
export const DropReason = {
  NONE: 0,
  ETHERNET_TRUNCATED: 1,
  ETHERNET_OTHER_MAC: 2,
  ETHERNET_UNKNOWN_TYPE: 3,
  ARP_MALFORMED: 4,
  IPV4_TRUNCATED: 5,
  IPV4_BAD_VERSION: 6,
  IPV4_BAD_HEADER_LENGTH: 7,
  IPV4_BAD_TOTAL_LENGTH: 8,
  IPV4_BAD_CHECKSUM: 9,
  IPV4_BAD_SOURCE: 10,
  IPV4_NOT_OURS: 11,
  IPV4_TTL_ZERO: 12,
  IP_FRAGMENT: 13,
  IPV4_UNKNOWN_PROTOCOL: 14,
  ICMP_MALFORMED: 15,
  ICMP_BAD_CHECKSUM: 16,
  ICMP_RATE_LIMITED: 17,
  UDP_MALFORMED: 18,
  UDP_BAD_CHECKSUM: 19,
  UDP_NO_PORT: 20,
  TCP_TRUNCATED: 21,
  TCP_BAD_DATA_OFFSET: 22,
  TCP_BAD_CHECKSUM: 23,
  TCP_BAD_FLAGS: 24,
  TCP_NOT_UNICAST: 25,
  TCP_NO_CONNECTION: 26,
  TCP_UNACCEPTABLE: 27,
  TCP_PAWS: 28,
  TCP_BAD_ACK: 29,
  TCP_BACKLOG_FULL: 30,
  TCP_CONNECTION_LIMIT: 31,
  TCP_REASSEMBLY_LIMIT: 32,
  TCP_CHALLENGE_RATE_LIMITED: 33,
  TCP_QUIET: 34,
  NEIGHBOR_UNRESOLVED: 35,
  NEIGHBOR_QUEUE_FULL: 36,
  NO_ROUTE: 37,
  EGRESS_NOT_ASSIGNED: 38,
  LEASE_EXPIRED: 39,
  LINK_QUEUE_FULL: 40,
  DECLARATION_MALFORMED: 41,
  DECLARATION_BAD_TAG: 42,
  DECLARATION_REPLAYED: 43,
  DECLARATION_FOREIGN_CLUSTER: 44,
  SHADOW_TABLE_FULL: 45,
  SHADOW_NO_SYN: 46,
  SHADOW_HELD_FULL: 47,
  IP_FRAGMENT_BAD_LENGTH: 48,
  IP_FRAGMENT_TOO_LONG: 49,
  IP_FRAGMENT_TINY: 50,
  IP_FRAGMENT_OVERLAP: 51,
  IP_FRAGMENT_MIXED_ECN: 52,
  IP_FRAGMENT_LIMIT: 53,
  IP_FRAGMENT_TIMEOUT: 54,
  UDP_QUEUE_FULL: 55,
  ETHERNET_OTHER_VLAN: 56,
  IPV6_TRUNCATED: 57,
  IPV6_BAD_VERSION: 58,
  IPV6_BAD_HEADER_CHAIN: 59,
  IPV6_FRAGMENT: 60,
  IPV6_ADDRESS_LIMIT: 61,
  ICMP_REFUSED: 62,
  IPV6_BAD_SOURCE: 63,
  IPV6_NOT_OURS: 64,
  IPV6_REFUSED_HEADER: 65,
  IPV6_UNKNOWN_PROTOCOL: 66,
  SNAPSHOT_MALFORMED: 67,
  REPAIR_MALFORMED: 68,
  RECOVERY_MALFORMED: 69,
} as const
/** One of the reasons; NONE when nothing was dropped. */
export type DropReason = (typeof DropReason)[keyof typeof DropReason]

const NAMES: readonly string[] = Object.keys(DropReason)

/** The reason's name in lower case with dashes, as metrics and traces print it. */
export function dropReasonName(reason: DropReason): string {
  return (NAMES[reason] ?? 'unknown').toLowerCase().replaceAll('_', '-')
}

/** Counts of drops by reason. */
export class DropCounters {
  readonly #counts = new Float64Array(NAMES.length)

  count(reason: DropReason): void {
    this.#counts[reason] = (this.#counts[reason] ?? 0) + 1
  }

  get(reason: DropReason): number {
    return this.#counts[reason] ?? 0
  }

  /** The reasons seen so far with their counts, by name. */
  // allocates: for metrics, not per frame
  toJSON(): Record<string, number> {
    const seen: Record<string, number> = {}
    for (let reason = 1; reason < NAMES.length; reason++) {
      const count = this.#counts[reason] ?? 0
      if (count > 0) seen[dropReasonName(reason as DropReason)] = count
    }
    return seen
  }
}
