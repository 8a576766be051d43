// hot path: no allocation per frame
/**
 * IcmpAnswers: what this host says by ICMP about what it received: echo replies, and errors within the rules of RFC 1122
 * §3.2.2. Its counterpart for IPv6 is Icmpv6Answers.
 */
import type { DropCounters } from '../base/counters.js'
import type { Millis } from '../base/time.js'
import type { MacAddress } from '../wire/ethernet.js'
import type { Frame } from '../wire/frame.js'
import { ICMP_HEADER_LENGTH, type IcmpMessage } from '../wire/icmpv4.js'
import { IPV4_HEADER_LENGTH, IpProtocol, type Ipv4Header } from '../wire/ipv4.js'
import { AnswerOutput } from './answer-output.js'
import { emitEchoReply, emitIcmpError, mayReportError } from './icmp.js'
import type { IpOutput } from './ip-output.js'
import type { Nic } from './nic.js'

export class IcmpAnswers {
  readonly #output: AnswerOutput

  constructor(ipOut: IpOutput, drops: DropCounters) {
    this.#output = new AnswerOutput(IpProtocol.ICMP, ipOut, drops)
  }

  /** Answers the echo request `message` of the datagram `ip` in `frame`. */
  answerEcho(nic: Nic, ip: Ipv4Header, frame: Frame, message: IcmpMessage, now: Millis): void {
    const output = this.#output
    const length = message.payloadEnd - message.payloadStart + ICMP_HEADER_LENGTH
    if (length + IPV4_HEADER_LENGTH > nic.mtu) {
      if (emitEchoReply(output.large, frame, message)) output.departLarge(nic, ip, now)
      return
    }
    const out = nic.newDatagram()
    if (out === null) return
    if (emitEchoReply(out, frame, message)) output.depart(nic, out, ip, now)
    else nic.cancelDatagram()
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
    const out = this.#output.newError(nic, now)
    if (out === null) return
    emitIcmpError(out, frame, ip, type, code)
    this.#output.depart(nic, out, ip, now)
  }
}
