// hot path: no allocation per frame
/**
 * AnswerOutput: how what is said by ICMP of either family leaves: errors within a budget (RFC 1812 §4.3.2.8, RFC 4443 §2.4 (f)), and
 * everything from the destination of what is answered to its source.
 */
import { type DropCounters, DropReason } from '../base/counters.js'
import type { Millis } from '../base/time.js'
import { Frame } from '../wire/frame.js'
import type { IpAddress } from '../wire/ip-address.js'
import { queueFragments } from './fragmentation.js'
import { TokenBucket } from './icmp.js'
import type { IpOutput } from './ip-output.js'
import type { Nic } from './nic.js'

/** The addresses of a datagram that is answered. */
export interface Answered {
  readonly src: IpAddress
  readonly dst: IpAddress
}

export class AnswerOutput {
  readonly #protocol: number
  readonly #ipOut: IpOutput
  readonly #drops: DropCounters
  readonly #budget = new TokenBucket()
  #large: Frame | null = null

  /** `protocol` is ICMP, or ICMPV6. */
  constructor(protocol: number, ipOut: IpOutput, drops: DropCounters) {
    this.#protocol = protocol
    this.#ipOut = ipOut
    this.#drops = drops
  }

  /** An empty frame for an error, to be given to `depart`; null when none may be sent now. */
  newError(nic: Nic, now: Millis): Frame | null {
    if (this.#budget.take(now)) return nic.newDatagram()
    this.#drops.count(DropReason.ICMP_RATE_LIMITED)
    return null
  }

  /** Completes a frame of the NIC's, in which the message lies that answers `ip`. */
  depart(nic: Nic, out: Frame, { src, dst }: Answered, now: Millis): void {
    this.#ipOut.emit(out, dst, src, this.#protocol)
    nic.queueDatagram(out, dst, src, now)
  }

  /** A frame for a message that is longer than the link's MTU, to be given to `departLarge`. */
  get large(): Frame {
    // allocates: once
    this.#large ??= new Frame()
    return this.#large
  }

  /** Sends what lies in `large` in fragments, as the request came. */
  departLarge(nic: Nic, { src, dst }: Answered, now: Millis): void {
    queueFragments(nic, this.large, dst, src, this.#protocol, this.#ipOut.nextIdent(), now)
  }
}
