// hot path: no allocation per frame
/**
 * EndedFlows: the connections that ended of late. What strays in behind the end (a FIN said again, an ACK of it, text that was on its way
 * when the RST was sent) is of no other connection, and no reason to believe in one whose beginning was missed (D5).
 */
import { endpointKey, type IpAddress, type Millis } from '../stack/index.js'

/** How long a stray may come behind the end: some retransmissions of a FIN. */
export const STRAY_MS: Millis = 15_000
/** Ends that are remembered at most; the oldest makes way. */
export const MAX_ENDED = 16_384

interface Ended {
  readonly localPort: number
  readonly at: Millis
}

export class EndedFlows {
  // By remote endpoint, in the order of their ends. Of one endpoint the last end counts.
  readonly #byEndpoint = new Map<number, Ended>()

  get size(): number {
    return this.#byEndpoint.size
  }

  note(localPort: number, remoteAddress: IpAddress, remotePort: number, now: Millis): void {
    const key = endpointKey(remoteAddress, remotePort)
    this.#byEndpoint.delete(key)
    if (this.#byEndpoint.size >= MAX_ENDED) {
      const oldest = this.#byEndpoint.keys().next().value
      if (oldest !== undefined) this.#byEndpoint.delete(oldest)
    }
    // allocates: once per connection
    this.#byEndpoint.set(key, { localPort, at: now })
  }

  /** True when a connection between these endpoints ended a short while before `now`, and none has begun since. */
  has(localPort: number, remoteAddress: IpAddress, remotePort: number, now: Millis): boolean {
    const ended = this.#byEndpoint.get(endpointKey(remoteAddress, remotePort))
    return ended !== undefined && ended.localPort === localPort && now - ended.at < STRAY_MS
  }

  /** Another connection begins in its place. */
  forget(localPort: number, remoteAddress: IpAddress, remotePort: number): void {
    const key = endpointKey(remoteAddress, remotePort)
    if (this.#byEndpoint.get(key)?.localPort === localPort) this.#byEndpoint.delete(key)
  }
}
