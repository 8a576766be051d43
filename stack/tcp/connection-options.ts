/** What a connection is made with. */
import type { CongestionAlgorithm } from './congestion/congestion-control.js'
import type { SynTerms } from './handshake.js'

export interface ConnectionOptions extends SynTerms {
  /** Octets that may wait to be acknowledged. */
  readonly sendLimit: number
  /** What is known of the path to the peer: octets of a segment, options included; Infinity when it is nothing. */
  readonly pathMss: number
  readonly congestion: CongestionAlgorithm
}
