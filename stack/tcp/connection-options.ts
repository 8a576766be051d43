/** What a connection is made with. */
import type { CongestionAlgorithm } from './congestion/congestion-control.js'
import type { SynTerms } from './handshake.js'

export interface ConnectionOptions extends SynTerms {
  /** Octets that may wait to be acknowledged. */
  readonly sendLimit: number
  readonly congestion: CongestionAlgorithm
}
