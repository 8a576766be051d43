// hot path: no allocation per frame
/**
 * Icmpv6Answers: what this host says by ICMPv6 (RFC 4443) about what it received: echo replies, and errors within the rules of
 * §2.4 (e). Its counterpart for IPv4 is IcmpAnswers.
 */
import type { DropCounters } from '../base/counters.js'
import type { Millis } from '../base/time.js'
import { isGroupMac, type MacAddress } from '../wire/ethernet.js'
import type { Frame } from '../wire/frame.js'
import { ICMP_HEADER_LENGTH, type IcmpMessage } from '../wire/icmpv4.js'
import { emitIcmpv6, Icmpv6Type, isIcmpv6Error } from '../wire/icmpv6.js'
import { isUnicast } from '../wire/ip-address.js'
import { IpProtocol } from '../wire/ipv4.js'
import { IPV6_HEADER_LENGTH, type Ipv6Header } from '../wire/ipv6.js'
import { AnswerOutput } from './answer-output.js'
import type { IpOutput } from './ip-output.js'
import type { Nic } from './nic.js'

/** No link carries less (RFC 8200 §5); an error is no longer. */
export const MIN_IPV6_MTU = 1280
const MAX_QUOTE = MIN_IPV6_MTU - IPV6_HEADER_LENGTH - ICMP_HEADER_LENGTH

export class Icmpv6Answers {
  readonly #output: AnswerOutput

  constructor(ipOut: IpOutput, drops: DropCounters) {
    this.#output = new AnswerOutput(IpProtocol.ICMPV6, ipOut, drops)
  }

  /** Answers the echo request `message` of the packet `ip` in `frame` (RFC 4443 §4.2). */
  answerEcho(nic: Nic, ip: Ipv6Header, frame: Frame, message: IcmpMessage, now: Millis): void {
    const output = this.#output
    const length = message.payloadEnd - message.payloadStart + ICMP_HEADER_LENGTH
    if (length + IPV6_HEADER_LENGTH > nic.mtu) {
      emitReply(output.large, ip, frame, message)
      output.departLarge(nic, ip, now)
      return
    }
    const out = nic.newDatagram()
    if (out === null) return
    emitReply(out, ip, frame, message)
    output.depart(nic, out, ip, now)
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
    const out = this.#output.newError(nic, now)
    if (out === null) return
    const end = Math.min(ip.payloadEnd, ip.headerStart + MAX_QUOTE)
    // allocates: a short-lived view, to copy at the speed of memory
    out.bytes.set(frame.bytes.subarray(ip.headerStart, end), out.start)
    out.end = out.start + end - ip.headerStart
    emitIcmpv6(out, type, code, rest, ip.dst, ip.src)
    this.#output.depart(nic, out, ip, now)
  }
}

function emitReply(out: Frame, ip: Ipv6Header, frame: Frame, message: IcmpMessage): void {
  const { payloadStart, payloadEnd, rest } = message
  out.reset()
  // allocates: a short-lived view, to copy at the speed of memory
  out.bytes.set(frame.bytes.subarray(payloadStart, payloadEnd), out.start)
  out.end = out.start + payloadEnd - payloadStart
  emitIcmpv6(out, Icmpv6Type.ECHO_REPLY, 0, rest, ip.dst, ip.src)
}

// A message too short to have a type is taken for an error, to be on the safe side.
function isAboutError(ip: Ipv6Header, frame: Frame): boolean {
  return ip.payloadEnd <= ip.payloadStart || isIcmpv6Error(frame.view.getUint8(ip.payloadStart))
}
