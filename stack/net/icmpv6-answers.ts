// hot path: no allocation per frame
/**
 * Icmpv6Answers: what this host says by ICMPv6 (RFC 4443) about what it received: echo replies, and errors within the rules of
 * §2.4 (e) and within the budget of §2.4 (f). Answers go from the packet's destination to its source.
 */
import { type DropCounters, DropReason } from '../base/counters.js'
import type { Millis } from '../base/time.js'
import { isGroupMac, type MacAddress } from '../wire/ethernet.js'
import { Frame } from '../wire/frame.js'
import { ICMP_HEADER_LENGTH, type IcmpMessage } from '../wire/icmpv4.js'
import { emitIcmpv6, Icmpv6Type, isIcmpv6Error } from '../wire/icmpv6.js'
import { isUnicast } from '../wire/ip-address.js'
import { IpProtocol } from '../wire/ipv4.js'
import { emitIpv6, IPV6_HEADER_LENGTH, type Ipv6Header } from '../wire/ipv6.js'
import { queueFragments } from './fragmentation.js'
import { TokenBucket } from './icmp.js'
import type { IpOutput } from './ip-output.js'
import type { Nic } from './nic.js'

/** No link carries less (RFC 8200 §5); an error is no longer. */
export const MIN_IPV6_MTU = 1280
const MAX_QUOTE = MIN_IPV6_MTU - IPV6_HEADER_LENGTH - ICMP_HEADER_LENGTH

export class Icmpv6Answers {
  readonly #ipOut: IpOutput
  readonly #drops: DropCounters
  readonly #budget = new TokenBucket()
  #large: Frame | null = null

  constructor(ipOut: IpOutput, drops: DropCounters) {
    this.#ipOut = ipOut
    this.#drops = drops
  }

  /** Answers the echo request `message` of the packet `ip` in `frame` (RFC 4443 §4.2). */
  answerEcho(nic: Nic, ip: Ipv6Header, frame: Frame, message: IcmpMessage, now: Millis): void {
    const length = message.payloadEnd - message.payloadStart
    if (length + ICMP_HEADER_LENGTH + IPV6_HEADER_LENGTH > nic.mtu) {
      // The request came in fragments, and so does the reply.
      // allocates: once
      this.#large ??= new Frame()
      this.#emitReply(this.#large, ip, frame, message)
      const ident = this.#ipOut.nextIdent()
      queueFragments(nic, this.#large, ip.dst, ip.src, IpProtocol.ICMPV6, ident, now)
      return
    }
    const out = nic.newDatagram()
    if (out === null) return
    this.#emitReply(out, ip, frame, message)
    this.#queue(nic, out, ip, now)
  }

  #emitReply(out: Frame, ip: Ipv6Header, frame: Frame, message: IcmpMessage): void {
    const { payloadStart, payloadEnd, rest } = message
    out.reset()
    // allocates: a short-lived view, to copy at the speed of memory
    out.bytes.set(frame.bytes.subarray(payloadStart, payloadEnd), out.start)
    out.end = out.start + payloadEnd - payloadStart
    emitIcmpv6(out, Icmpv6Type.ECHO_REPLY, 0, rest, ip.dst, ip.src)
  }

  /** Reports an error about the packet `ip` in `frame`, which came to the Ethernet address `linkDst`, if that is allowed. */
  report(
    nic: Nic,
    ip: Ipv6Header,
    frame: Frame,
    linkDst: MacAddress,
    type: number,
    code: number,
    rest: number,
    now: Millis,
  ): void {
    if (isGroupMac(linkDst) || !isUnicast(ip.src) || !isUnicast(ip.dst)) return
    if (ip.protocol === IpProtocol.ICMPV6 && isAboutError(ip, frame)) return
    if (!this.#budget.take(now)) {
      this.#drops.count(DropReason.ICMP_RATE_LIMITED)
      return
    }
    const out = nic.newDatagram()
    if (out === null) return
    const end = Math.min(ip.payloadEnd, ip.headerStart + MAX_QUOTE)
    // allocates: a short-lived view, to copy at the speed of memory
    out.bytes.set(frame.bytes.subarray(ip.headerStart, end), out.start)
    out.end = out.start + end - ip.headerStart
    emitIcmpv6(out, type, code, rest, ip.dst, ip.src)
    this.#queue(nic, out, ip, now)
  }

  #queue(nic: Nic, out: Frame, ip: Ipv6Header, now: Millis): void {
    emitIpv6(out, ip.dst, ip.src, IpProtocol.ICMPV6)
    nic.queueDatagram(out, ip.dst, ip.src, now)
  }
}

// A message too short to have a type is taken for an error, to be on the safe side.
function isAboutError(ip: Ipv6Header, frame: Frame): boolean {
  return ip.payloadEnd <= ip.payloadStart || isIcmpv6Error(frame.view.getUint8(ip.payloadStart))
}
