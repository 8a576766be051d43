// hot path: no allocation per frame
/**
 * IcmpAnswers: what this host says by ICMP about what it received: echo replies, and errors within the rules of RFC 1122
 * §3.2.2 and within the budget (RFC 1812 §4.3.2.8). Answers go from the datagram's destination to its source.
 */
import { type DropCounters, DropReason } from '../base/counters.js'
import type { Millis } from '../base/time.js'
import type { MacAddress } from '../wire/ethernet.js'
import { Frame } from '../wire/frame.js'
import { ICMP_HEADER_LENGTH, type IcmpMessage } from '../wire/icmpv4.js'
import { IPV4_HEADER_LENGTH, IpProtocol, type Ipv4Header } from '../wire/ipv4.js'
import { queueFragments } from './fragmentation.js'
import { emitEchoReply, emitIcmpError, mayReportError, TokenBucket } from './icmp.js'
import type { IpOutput } from './ip-output.js'
import type { Nic } from './nic.js'

export class IcmpAnswers {
  readonly #ipOut: IpOutput
  readonly #drops: DropCounters
  readonly #budget = new TokenBucket()
  #large: Frame | null = null

  constructor(ipOut: IpOutput, drops: DropCounters) {
    this.#ipOut = ipOut
    this.#drops = drops
  }

  /** Answers the echo request `message` of the datagram `ip` in `frame`. */
  answerEcho(nic: Nic, ip: Ipv4Header, frame: Frame, message: IcmpMessage, now: Millis): void {
    const length = message.payloadEnd - message.payloadStart + ICMP_HEADER_LENGTH
    if (length + IPV4_HEADER_LENGTH > nic.mtu) {
      this.#answerLargeEcho(nic, ip, frame, message, now)
      return
    }
    const out = nic.newDatagram()
    if (out === null) return
    if (emitEchoReply(out, frame, message)) this.#queue(nic, out, ip, now)
    else nic.cancelDatagram()
  }

  // The request came in fragments, and so does the reply.
  #answerLargeEcho(
    nic: Nic,
    ip: Ipv4Header,
    frame: Frame,
    message: IcmpMessage,
    now: Millis,
  ): void {
    // allocates: once
    this.#large ??= new Frame()
    if (!emitEchoReply(this.#large, frame, message)) return
    const ident = this.#ipOut.nextIdent()
    queueFragments(nic, this.#large, ip.dst, ip.src, IpProtocol.ICMP, ident, now)
  }

  /** Reports an error about the datagram `ip` in `frame`, which came to the Ethernet address `linkDst`, if that is allowed. */
  report(
    nic: Nic,
    ip: Ipv4Header,
    frame: Frame,
    linkDst: MacAddress,
    type: number,
    code: number,
    now: Millis,
  ): void {
    if (!mayReportError(ip, frame, linkDst)) return
    if (!this.#budget.take(now)) {
      this.#drops.count(DropReason.ICMP_RATE_LIMITED)
      return
    }
    const out = nic.newDatagram()
    if (out === null) return
    emitIcmpError(out, frame, ip, type, code)
    this.#queue(nic, out, ip, now)
  }

  #queue(nic: Nic, out: Frame, ip: Ipv4Header, now: Millis): void {
    this.#ipOut.emit(out, ip.dst, ip.src, IpProtocol.ICMP)
    nic.queueDatagram(out, ip.dst, ip.src, now)
  }
}
