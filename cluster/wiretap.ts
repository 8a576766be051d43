// hot path: no allocation per frame
/**
 * Wiretap: from an overheard frame to the snooper of its binding, with the direction (P11). It looks at every frame on the link
 * before any filter; what belongs to no binding costs a look at its IP header and one look-up (P2).
 *
 * Checksums are verified, although P19 would not have it: a segment that the owner drops as damaged must not be taken by its
 * shadow, or the two streams differ for ever.
 */
import {
  type DropCounters,
  DropReason,
  type EthernetHeader,
  EtherType,
  type Frame,
  IpProtocol,
  Ipv4Header,
  Ipv6Header,
  type Millis,
  Problem,
  parseIpv4,
  parseIpv6,
  parseSegment,
  Reassembler,
  Segment,
  verifyTransport,
} from '../stack/index.js'
import { BindingTable } from './binding-table.js'
import type { Snooper } from './snooper.js'

export class Wiretap {
  readonly drops: DropCounters
  readonly #snoopers = new BindingTable<Snooper>()
  readonly #all: Snooper[] = []
  readonly #ip = new Ipv4Header()
  readonly #ip6 = new Ipv6Header()
  readonly #seg = new Segment()
  readonly #fragments: Reassembler

  constructor(drops: DropCounters) {
    this.drops = drops
    this.#fragments = new Reassembler(drops)
  }

  /** Brings what is said in the snooper's binding to it from now on. Throws ERR_BINDING_OVERLAP. */
  add(snooper: Snooper): void {
    this.#snoopers.add(snooper.binding, snooper)
    this.#all.push(snooper)
  }

  /** Takes one frame of the link. `frame` and `ethernet` are borrowed. True when it belongs to a binding that is watched. */
  onFrame(frame: Frame, ethernet: EthernetHeader, now: Millis): boolean {
    if (!this.#listens()) return false
    if (ethernet.etherType === EtherType.IPV6) return this.#onIpv6(frame, ethernet, now)
    if (ethernet.etherType !== EtherType.IPV4) return false
    const ip = this.#ip
    const { payloadStart, payloadEnd } = ethernet
    if (parseIpv4(ip, frame.view, payloadStart, payloadEnd) !== DropReason.NONE) return false
    const inbound = this.#snoopers.has(ip.dst)
    if (!inbound && !this.#snoopers.has(ip.src)) return false
    if (ip.protocol !== IpProtocol.TCP) return false
    if (!ip.isFragment) return this.#onDatagram(ip, frame, inbound, ethernet, now)
    const whole = this.#fragments.add(ip, frame, now)
    if (whole === null) return true
    parseIpv4(ip, whole.view, whole.start, whole.end)
    return this.#onDatagram(ip, whole, inbound, ethernet, now)
  }

  #onIpv6(frame: Frame, ethernet: EthernetHeader, now: Millis): boolean {
    const ip = this.#ip6
    const { payloadStart, payloadEnd } = ethernet
    if (parseIpv6(ip, frame.view, payloadStart, payloadEnd) !== DropReason.NONE) return false
    const inbound = this.#snoopers.has(ip.dst)
    if (!inbound && !this.#snoopers.has(ip.src)) return false
    // What the owner does not take its shadow must not take either.
    if (ip.problem !== Problem.NONE) return true
    if (!ip.isFragment) return this.#onDatagram(ip, frame, inbound, ethernet, now)
    const whole = this.#fragments.add(ip, frame, now)
    if (whole === null) return true
    const reason = parseIpv6(ip, whole.view, whole.start, whole.end)
    if (reason !== DropReason.NONE || ip.isFragment || ip.problem !== Problem.NONE) return true
    return this.#onDatagram(ip, whole, inbound, ethernet, now)
  }

  // The whole datagram with the header `ip`, in one frame or put together as the owner puts it together.
  #onDatagram(
    ip: Ipv4Header | Ipv6Header,
    frame: Frame,
    inbound: boolean,
    ethernet: EthernetHeader,
    now: Millis,
  ): boolean {
    const seg = this.#seg
    if (ip.protocol !== IpProtocol.TCP) return false
    if (parseSegment(seg, frame, ip) !== DropReason.NONE) return false
    const snooper = inbound
      ? this.#snoopers.find(ip.dst, seg.dstPort)
      : this.#snoopers.find(ip.src, seg.srcPort)
    if (snooper === undefined || !isListening(snooper)) return false
    if (!verifyTransport(frame, ip.payloadStart, ip.payloadEnd, ip.src, ip.dst, IpProtocol.TCP)) {
      this.drops.count(DropReason.TCP_BAD_CHECKSUM)
      return true
    }
    if (inbound) {
      snooper.observe(seg, 'inbound', seg.dstPort, ip.src, seg.srcPort, ethernet.src, now)
    } else {
      snooper.observe(seg, 'outbound', seg.srcPort, ip.dst, seg.dstPort, 0, now)
    }
    return true
  }

  #listens(): boolean {
    for (let i = 0; i < this.#all.length; i++) if (isListening(this.#all[i] as Snooper)) return true
    return false
  }

  handleTimeout(now: Millis): void {
    // The owner tells the sender of a datagram that never became whole; a shadow forgets it.
    while (this.#fragments.expire(now) !== null);
  }

  nextDeadline(): Millis {
    return this.#fragments.nextDeadline()
  }
}

// An owner, too, hears of connections that it has not promoted yet.
function isListening({ active, repair }: Snooper): boolean {
  return active || (repair !== null && repair.waiting > 0)
}
