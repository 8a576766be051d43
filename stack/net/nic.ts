// hot path: no allocation per frame
/**
 * Nic: the stack's side of one link: which addresses it has and in which state, ARP and Neighbor Discovery for them, the
 * neighbours, and the one place where frames leave.
 *
 * An address is *assigned* (we answer for it and speak from it), *shared* (we speak from it for some of its connections, and another
 * answers for it), *observed* (we watch what others do with it) or absent. The egress guard is the last line of defence against two
 * speakers: no frame leaves from an address that is neither assigned nor shared.
 */
import { type DropCounters, DropReason } from '../base/counters.js'
import type { Millis } from '../base/time.js'
import { NO_OFFLOAD, type Offload } from '../link/link-endpoint.js'
import {
  BROADCAST_MAC,
  checkedVlan,
  type EthernetHeader,
  emitEthernet,
  isUnicastMac,
  type MacAddress,
  NO_TAG,
} from '../wire/ethernet.js'
import type { Frame } from '../wire/frame.js'
import { HEADROOM } from '../wire/frame.js'
import type { IcmpMessage } from '../wire/icmpv4.js'
import {
  holdAddress,
  type IpAddress,
  ipv6Address,
  isIpv4,
  isMulticast,
  UNSPECIFIED,
} from '../wire/ip-address.js'
import { Announcements } from './announcements.js'
import { FrameQueue } from './frame-queue.js'
import { HeldFrames } from './held-frames.js'
import { Question, UNRESOLVED } from './neighbor.js'
import { NeighborWord } from './neighbor-word.js'
import { NextHops } from './next-hops.js'
import {
  type AddressMacs,
  type AddressState,
  askerFor,
  belongsTo,
  broadcastOf,
  headersFor,
  macsOf,
  type NicAddress,
  newNicAddress,
} from './nic-address.js'
import type { FrameSnoop, NicConfig } from './nic-config.js'
import { NO_ROUTE } from './route.js'
import {
  emitAnnouncement,
  emitAnswer,
  emitQuestion,
  etherTypeOf,
  groupMac,
  solicitationType,
} from './solicitation.js'

export type { AddressMacs, AddressState, NicAddress } from './nic-address.js'
export type { FrameSnoop, NicConfig } from './nic-config.js'

/** How long behind a false claim our frames may be sent to the impostor. */
const CONTESTED_MS: Millis = 60_000
const LINK_LOCAL = ipv6Address(0xfe80_0000 | 0, 0, 0, 0)
holdAddress(LINK_LOCAL)
const LINK_LOCAL_PREFIX = 64
const MAX_OUTBOX = 256
const MAX_UNRESOLVED = 64

const NO_MACS: ReadonlySet<MacAddress> = new Set()
const isNobody = (): boolean => false

export class Nic {
  readonly mac: MacAddress
  /** Tag control information of what leaves, or NO_TAG. */
  readonly tag: number
  readonly mtu: number
  readonly offload: Offload
  readonly hops = new NextHops()
  readonly neighbors = this.hops.neighbors
  readonly routes = this.hops.routes
  readonly drops: DropCounters
  snoop: FrameSnoop | null = null
  /**
   * Ethernet addresses of others whose frames are taken as if they were for us (P12): after a take-over those of the nodes that
   * may have owned the address, until the neighbours have learnt better.
   */
  otherMacs: ReadonlySet<MacAddress> = NO_MACS
  /** True for the address of another node, whose frames are never taken while addresses are contested. */
  isPeer: (mac: MacAddress) => boolean = isNobody
  /** How often others claimed an address assigned here: two speakers, or a misconfigured host (RFC 5227 §2.4). */
  conflicts = 0
  /** The Ethernet address of the last of them. */
  conflictMac: MacAddress = 0
  /** When the last of them came; minus infinity as long as there was none. */
  conflictAt: Millis = Number.NEGATIVE_INFINITY
  // Those that addresses which we speak from have to themselves.
  #macs: readonly MacAddress[] = []
  // Somebody else has claimed one of our addresses of late, and others may believe him.
  #contested = false
  readonly #addresses = new Map<number, NicAddress>()
  readonly #outbox: FrameQueue
  readonly #unresolved: HeldFrames
  readonly #announcements = new Announcements()
  readonly #word = new NeighborWord()
  readonly #question = new Question()

  constructor(config: NicConfig, drops: DropCounters) {
    this.mac = config.mac
    this.mtu = config.mtu
    this.tag = checkedVlan(config.vlan)
    this.offload = config.offload ?? NO_OFFLOAD
    this.drops = drops
    this.#outbox = new FrameQueue(MAX_OUTBOX, HEADROOM + config.mtu + 64)
    this.#unresolved = new HeldFrames(MAX_UNRESOLVED, HEADROOM + config.mtu + 64)
  }

  /** Octets of TCP text per segment without options, to an address of this family. */
  linkMss(address: IpAddress): number {
    return this.mtu - headersFor(address)
  }

  /** True for a frame to `dst` that is for this NIC alone. */
  takes(dst: MacAddress): boolean {
    if (dst === this.mac || (this.otherMacs.size > 0 && this.otherMacs.has(dst))) return true
    if (this.#macs.length > 0 && this.#macs.includes(dst)) return true
    // Who believes an impostor sends to him what is meant for us; and we hear it.
    return this.#contested && isUnicastMac(dst) && !this.isPeer(dst)
  }

  addresses(): Iterable<NicAddress> {
    return this.#addresses.values()
  }

  addressOf(address: IpAddress): NicAddress | undefined {
    return this.#addresses.get(address)
  }

  /** True when we may speak from the address. */
  isAssigned(address: IpAddress): boolean {
    const state = this.#addresses.get(address)?.state
    return state === 'assigned' || state === 'shared'
  }

  /** True when we answer for the address: who has it, is it there. */
  answersFor(address: IpAddress): boolean {
    return this.#addresses.get(address)?.state === 'assigned'
  }

  /** True when frames for the address `own` rightly come to `mac` here. */
  isAt(own: IpAddress, mac: MacAddress): boolean {
    return mac === this.mac || mac === this.#addresses.get(own)?.named
  }

  /** True when a frame with this tag, or NO_TAG, is on our VLAN. A priority tag, which names none, always is. */
  takesTag(tag: number): boolean {
    const vlan = tag === NO_TAG ? NO_TAG : tag & 0xfff
    return vlan === this.tag || vlan === 0
  }

  /** The assigned address whose subnet's hosts are all meant by `address`; undefined when it is no broadcast here. */
  broadcastOf(address: IpAddress): NicAddress | undefined {
    return isIpv4(address) ? broadcastOf(address, this.#addresses.values()) : undefined
  }

  /** True for a group of IPv6 that an address assigned here belongs to: all of the link, or those it is asked for in. */
  isInGroup(group: IpAddress): boolean {
    return belongsTo(group, this.#addresses.values())
  }

  /** True when `dst` means many hosts: they are reached without a neighbour's address. */
  isGroup(dst: IpAddress): boolean {
    return isMulticast(dst) || this.broadcastOf(dst) !== undefined
  }

  /** Adds an address, or changes its state; it keeps the Ethernet addresses that it was added with. Its prefix becomes a route. */
  // allocates: once per change of an address
  setAddress(address: IpAddress, prefix: number, state: AddressState, macs?: AddressMacs): void {
    const known = this.#addresses.get(address)
    if (known === undefined) {
      this.routes.addOnLink(address, prefix)
      const local = isIpv4(address) || this.routes.nextHop(LINK_LOCAL) !== NO_ROUTE
      if (!local) this.routes.addOnLink(LINK_LOCAL, LINK_LOCAL_PREFIX)
    }
    this.#addresses.set(address, newNicAddress(address, prefix, state, this.mac, macs ?? known))
    this.#macs = macsOf(this.#addresses.values(), this.mac)
    if (state !== 'assigned') this.#fallSilent(address)
  }

  // allocates: once per change of an address
  removeAddress(address: IpAddress): void {
    const known = this.#addresses.get(address)
    if (known === undefined) return
    this.#addresses.delete(address)
    this.#macs = macsOf(this.#addresses.values(), this.mac)
    this.routes.remove(address, known.prefix)
    this.#fallSilent(address)
  }

  // What waits to leave is stale by the time that the address may be spoken from again: another may have gone on meanwhile.
  #fallSilent(address: IpAddress): void {
    this.#announcements.cancel(address)
    this.#outbox.clear()
    this.#unresolved.clear()
  }

  /**
   * Announces the address as ours (P13, RFC 5227 §2.3, RFC 4861 §7.2.6) at once, and again after 0.1, 1 and 5 seconds. Whether
   * another has it is not probed before (RFC 5227 §2.1, RFC 4862 §5.4): the cluster knows who had it, and that he is silent.
   */
  announce(address: IpAddress, now: Millis): void {
    this.#announcements.start(address, now)
  }

  /** Asks `target` for its address, which teaches it ours: for a neighbour that may hold an old entry. */
  askUnicast(source: IpAddress, target: IpAddress, targetMac: MacAddress): void {
    const frame = this.#outbox.add()
    if (frame === null) {
      this.drops.count(DropReason.LINK_QUEUE_FULL)
      return
    }
    const dst = emitQuestion(frame, this.#nameOf(source), source, target, targetMac)
    this.#seal(frame, dst, solicitationType(source), source)
  }

  /** Queues a frame of our own EtherType: link-level messages that come from no IP address. `payload` is copied. */
  sendLinkMessage(dst: MacAddress, etherType: number, payload: Uint8Array): boolean {
    const frame = this.#outbox.add()
    if (frame === null || payload.length > this.mtu) {
      if (frame !== null) this.#outbox.cancel()
      this.drops.count(DropReason.LINK_QUEUE_FULL)
      return false
    }
    frame.bytes.set(payload, frame.start)
    frame.end = frame.start + payload.length
    emitEthernet(frame, dst, this.mac, etherType, this.tag)
    return true
  }

  /** An ARP packet to another host: what a gateway says of itself is of use to whoever may come to send through it. */
  overhearArp(frame: Frame, ethernet: EthernetHeader, now: Millis): void {
    const word = this.#word
    const reason = word.readArp(frame, ethernet)
    if (reason !== DropReason.NONE || !this.routes.isGateway(word.sender)) return
    this.hops.hear(word.sender, word.mac, false, now)
  }

  /** Takes an ARP packet (RFC 826): answers for assigned addresses, learns, and notices who else claims them. */
  receiveArp(frame: Frame, ethernet: EthernetHeader, now: Millis): DropReason {
    const reason = this.#word.readArp(frame, ethernet)
    return reason === DropReason.NONE ? this.#hear(this.#word, now) : reason
  }

  /** Takes the solicitation or advertisement `icmp` of Neighbor Discovery, sent by `src` (RFC 4861 §7.2.3, §7.2.5), likewise. */
  receiveNeighbor(
    frame: Frame,
    icmp: IcmpMessage,
    src: IpAddress,
    ethernet: EthernetHeader,
    now: Millis,
  ): DropReason {
    const reason = this.#word.readMessage(frame, icmp, src, ethernet.src)
    return reason === DropReason.NONE ? this.#hear(this.#word, now) : reason
  }

  #hear({ sender, mac, target, asks }: NeighborWord, now: Millis): DropReason {
    if (this.answersFor(sender) && mac !== this.#nameOf(sender)) {
      this.conflicts++
      this.conflictMac = mac
      this.conflictAt = now
      this.#contested = true
      this.#announcements.defend(sender, now)
      return DropReason.NONE
    }
    const ours = this.answersFor(target)
    if (this.hops.hear(sender, mac, ours, now)) this.#resolve()
    // A probe, which has no sender address, is answered too: its sender wants to know whether the address is taken.
    if (!ours || !asks) return DropReason.NONE
    const reply = this.#outbox.add()
    if (reply === null) return DropReason.LINK_QUEUE_FULL
    const dst = emitAnswer(reply, this.#nameOf(target), target, mac, sender)
    this.#seal(reply, dst, solicitationType(target), target)
    return DropReason.NONE
  }

  /**
   * The end of the way out: finds the next hop of the IP datagram in `frame` and writes the Ethernet header. False: the
   * frame does not leave now, because its source is not assigned or the next hop is being asked for.
   */
  egress(frame: Frame, src: IpAddress, dst: IpAddress, now: Millis): boolean {
    const own = this.#addresses.get(src)
    if (own === undefined || own.state === 'observed') {
      this.drops.count(DropReason.EGRESS_NOT_ASSIGNED)
      return false
    }
    const hop = this.routes.nextHop(dst)
    if (hop === NO_ROUTE) {
      this.drops.count(DropReason.NO_ROUTE)
      return false
    }
    if (own.sendTo !== undefined) {
      this.#seal(frame, own.sendTo, etherTypeOf(src), src)
      return true
    }
    if (this.neighbors.needsRequest(hop, now)) this.neighbors.solicit(hop, now)
    const mac = this.neighbors.lookup(hop)
    if (mac === UNRESOLVED) {
      this.#hold(frame, hop)
      return false
    }
    this.#seal(frame, mac, etherTypeOf(src), src)
    return true
  }

  /** The same for a destination of which `isGroup` is true. */
  egressGroup(frame: Frame, src: IpAddress, dst: IpAddress): boolean {
    if (!this.isAssigned(src)) {
      this.drops.count(DropReason.EGRESS_NOT_ASSIGNED)
      return false
    }
    const mac = isMulticast(dst) ? groupMac(dst) : BROADCAST_MAC
    this.#seal(frame, mac, etherTypeOf(src), src)
    return true
  }

  /** Datagrams that `newDatagram` has room for. */
  get room(): number {
    return this.#outbox.room
  }

  /** An empty frame whose datagram is sent in its turn; give it to `queueDatagram`. Null when the queue is full. */
  newDatagram(): Frame | null {
    const frame = this.#outbox.add()
    if (frame === null) this.drops.count(DropReason.LINK_QUEUE_FULL)
    return frame
  }

  /** Completes the frame that `newDatagram` gave. */
  queueDatagram(frame: Frame, src: IpAddress, dst: IpAddress, now: Millis): void {
    const leaves = this.isGroup(dst)
      ? this.egressGroup(frame, src, dst)
      : this.egress(frame, src, dst, now)
    if (!leaves) this.#outbox.cancel()
  }

  cancelDatagram(): void {
    this.#outbox.cancel()
  }

  /** A neighbour that is waited for in vain, or UNSPECIFIED; what waited for it is dropped. */
  pollFailure(now: Millis): IpAddress {
    for (;;) {
      const lost = this.neighbors.pollFailure(now)
      if (lost === null) return UNSPECIFIED
      const vain = this.hops.replace(lost, now)
      this.#resolve()
      if (vain !== UNSPECIFIED) return vain
    }
  }

  /** The next frame of this NIC's own, borrowed until the next call, or null. */
  poll(now: Millis): Frame | null {
    this.#pollAnnouncements(now)
    while (this.neighbors.pollRequest(this.#question, now)) this.#ask(this.#question)
    return this.#outbox.take()
  }

  nextDeadline(): Millis {
    return Math.min(
      this.neighbors.nextDeadline(),
      this.neighbors.failedAt,
      this.#announcements.nextDeadline(),
    )
  }

  #pollAnnouncements(now: Millis): void {
    if (this.#contested && now - this.conflictAt >= CONTESTED_MS) this.#contested = false
    for (let own = this.#announcements.poll(now); own !== UNSPECIFIED; ) {
      const frame = this.#outbox.add()
      if (frame === null) return
      const dst = emitAnnouncement(frame, this.#nameOf(own), own)
      this.#seal(frame, dst, solicitationType(own), own)
      own = this.#announcements.poll(now)
    }
  }

  #ask({ targetIp, knownMac }: Question): void {
    const own = askerFor(this.#addresses.values(), targetIp)
    const frame = own === undefined ? null : this.#outbox.add()
    if (own === undefined || frame === null) return
    // As a probe (RFC 5227 §2.1.1) where another answers for the address: who is asked is not to take us for it.
    const probes = own.state === 'shared' && isIpv4(own.address)
    const source = probes ? UNSPECIFIED : own.address
    const dst = emitQuestion(frame, own.named, source, targetIp, knownMac)
    this.#seal(frame, dst, solicitationType(targetIp), own.address)
  }

  #hold(frame: Frame, hop: IpAddress): void {
    if (!this.neighbors.isPending(hop)) {
      this.drops.count(DropReason.NEIGHBOR_UNRESOLVED)
      return
    }
    if (!this.#unresolved.add(frame, hop)) this.drops.count(DropReason.NEIGHBOR_QUEUE_FULL)
  }

  // An address became known: what waited for it moves to the outbox, the rest waits on or is given up with its address.
  #resolve(): void {
    for (let left = this.#unresolved.length; left > 0; left--) {
      const frame = this.#unresolved.take()
      const { src } = this.#unresolved
      const hop = this.routes.instead(this.#unresolved.hop)
      const mac = this.neighbors.lookup(hop)
      if (mac === UNRESOLVED) {
        this.#hold(frame, hop)
        continue
      }
      const out = this.#outbox.add()
      if (out === null) {
        this.drops.count(DropReason.LINK_QUEUE_FULL)
        continue
      }
      out.copyFrom(frame)
      if (this.isAssigned(src)) this.#seal(out, mac, etherTypeOf(src), src)
      else this.#outbox.cancel()
    }
  }

  // The egress guard: the one place where a frame that speaks for an address gets its Ethernet header.
  #seal(frame: Frame, dst: MacAddress, etherType: number, speaker: IpAddress): void {
    const own = this.#addresses.get(speaker)
    frame.leased = own !== undefined && own.state !== 'observed'
    if (own === undefined || !frame.leased) {
      this.drops.count(DropReason.EGRESS_NOT_ASSIGNED)
      this.#outbox.cancel()
      return
    }
    emitEthernet(frame, dst, own.source, etherType, this.tag)
  }

  // Where neighbours are told that an address is.
  #nameOf(own: IpAddress): MacAddress {
    return this.#addresses.get(own)?.named ?? this.mac
  }
}
