// hot path: no allocation per frame
/**
 * Snooper: from an overheard frame to the shadow it concerns, with the direction (P11). It looks at every frame on the link
 * before any filter; what belongs to no binding costs a look at its IP header (P2).
 *
 * Checksums are verified, although P19 would not have it: a segment that the owner drops as damaged must not be taken by its
 * shadow, or the two streams differ for ever.
 */
import {
  ACK,
  type DropCounters,
  DropReason,
  type EthernetHeader,
  EtherType,
  type Frame,
  IpProtocol,
  Ipv4Header,
  type Millis,
  parseIpv4,
  parseTcp,
  Reassembler,
  Segment,
  SYN,
  TcpState,
  verifyTransport,
} from '../stack/index.js'
import { type Binding, bindingCovers } from './binding.js'
import { type Direction, Shadow } from './shadow.js'
import { ShadowTable } from './shadow-table.js'

/** What the snooper has seen of a binding. */
export interface SnoopStats {
  segments: number
  /** Shadows that came to a gap, by the first time. */
  gaps: number
  untracked: number
}

export class Snooper {
  readonly binding: Binding
  readonly table = new ShadowTable()
  /** Shadows that changed since the mirror was last written. */
  readonly dirty: Shadow[] = []
  /** Shadows that left the table and must leave the mirror. */
  readonly removed: Shadow[] = []
  readonly stats: SnoopStats = { segments: 0, gaps: 0, untracked: 0 }
  readonly drops: DropCounters
  /** While this node owns the binding there is nothing to overhear. */
  active = true
  readonly #ip = new Ipv4Header()
  readonly #seg = new Segment()
  readonly #fragments: Reassembler

  constructor(binding: Binding, drops: DropCounters) {
    this.binding = binding
    this.drops = drops
    this.#fragments = new Reassembler(drops)
  }

  /** Takes one frame of the link. `frame` and `ethernet` are borrowed. True when it belongs to the binding. */
  onFrame(frame: Frame, ethernet: EthernetHeader, now: Millis): boolean {
    if (!this.active || ethernet.etherType !== EtherType.IPV4) return false
    const ip = this.#ip
    const { payloadStart, payloadEnd } = ethernet
    if (parseIpv4(ip, frame.view, payloadStart, payloadEnd) !== DropReason.NONE) return false
    const inbound = ip.dst === this.binding.address
    if (!inbound && ip.src !== this.binding.address) return false
    if (ip.protocol !== IpProtocol.TCP) return false
    if (!ip.isFragment) return this.#onDatagram(frame, inbound, ethernet, now)
    const whole = this.#fragments.add(ip, frame, now)
    if (whole === null) return true
    parseIpv4(ip, whole.view, whole.start, whole.end)
    return this.#onDatagram(whole, inbound, ethernet, now)
  }

  // The whole datagram in #ip, in one frame or put together as the owner puts it together.
  #onDatagram(frame: Frame, inbound: boolean, ethernet: EthernetHeader, now: Millis): boolean {
    const ip = this.#ip
    const seg = this.#seg
    if (parseTcp(seg, frame, ip.payloadStart, ip.payloadEnd) !== DropReason.NONE) return false
    seg.ecn = ip.ecn
    const port = inbound ? seg.dstPort : seg.srcPort
    if (!bindingCovers(this.binding, this.binding.address, port)) return false
    if (!verifyTransport(frame, ip.payloadStart, ip.payloadEnd, ip.src, ip.dst, IpProtocol.TCP)) {
      this.drops.count(DropReason.TCP_BAD_CHECKSUM)
      return true
    }
    this.stats.segments++
    if (inbound) {
      this.#observe(seg, 'inbound', port, ip.src, seg.srcPort, ethernet.src, now)
    } else {
      this.#observe(seg, 'outbound', port, ip.dst, seg.dstPort, 0, now)
    }
    return true
  }

  #observe(
    seg: Segment,
    direction: Direction,
    localPort: number,
    remoteAddress: Ipv4Header['src'],
    remotePort: number,
    peerMac: number,
    now: Millis,
  ): void {
    let shadow = this.table.find(localPort, remoteAddress, remotePort)
    if (shadow === undefined || shadow.isReplacedBy(seg, direction)) {
      shadow = this.#open(shadow, seg, localPort, remoteAddress, remotePort, now)
      if (shadow === undefined) return
    }
    const before = shadow.verdict
    const stateBefore = shadow.tcb.state
    shadow.observe(seg, direction, now)
    if (direction === 'inbound') shadow.peerMac = peerMac
    if (before === 'ready' && shadow.verdict === 'gap') this.stats.gaps++
    if (shadow.closed) {
      this.remove(shadow)
      return
    }
    if (shadow.tcb.state !== stateBefore && shadow.tcb.state === TcpState.TIME_WAIT) {
      this.table.startWait(shadow, now)
    }
    this.touch(shadow)
  }

  // The first segment of a connection, or of one in the place of another between the same endpoints.
  #open(
    old: Shadow | undefined,
    seg: Segment,
    localPort: number,
    remoteAddress: Ipv4Header['src'],
    remotePort: number,
    now: Millis,
  ): Shadow | undefined {
    const syn = old?.takeNewSyn() ?? null
    if (old !== undefined) this.remove(old)
    if (this.table.full) {
      this.drops.count(DropReason.SHADOW_TABLE_FULL)
      return undefined
    }
    const { id, address } = this.binding
    // allocates: once per connection
    const key = { binding: id, localAddress: address, localPort, remoteAddress, remotePort }
    // The first SYN must have been heard: it alone tells who opened, and half of the options.
    const tracked = syn !== null || (seg.has(SYN) && !seg.has(ACK))
    if (!tracked) {
      this.stats.untracked++
      this.drops.count(DropReason.SHADOW_NO_SYN)
    }
    const shadow = new Shadow(key, null, tracked)
    if (syn !== null) shadow.observe(syn, 'inbound', now)
    this.table.add(shadow, now)
    return shadow
  }

  /** Marks a shadow for the mirror. */
  touch(shadow: Shadow): void {
    if (shadow.dirty) return
    shadow.dirty = true
    this.dirty.push(shadow)
  }

  /** Takes a shadow out of the table and out of the mirror. */
  remove(shadow: Shadow): void {
    this.table.remove(shadow)
    this.removed.push(shadow)
  }

  handleTimeout(now: Millis): void {
    // The owner tells the sender of a datagram that never became whole; a shadow forgets it.
    while (this.#fragments.expire(now) !== null);
    for (const shadow of this.table.expire(now)) this.removed.push(shadow)
  }

  nextDeadline(): Millis {
    return Math.min(this.table.nextDeadline(), this.#fragments.nextDeadline())
  }
}
