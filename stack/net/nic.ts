// hot path: no allocation per frame
/**
 * Nic: the stack's side of one link: which addresses it has and in which state, ARP for them, the neighbours, and the one
 * place where frames leave.
 *
 * An address is *assigned* (we answer ARP and speak from it), *observed* (we watch what others do with it) or absent. The
 * egress guard is the last line of defence against two speakers: no frame leaves from an address that is not assigned.
 */
import { type DropCounters, DropReason } from '../base/counters.js'
import { StackError } from '../base/errors.js'
import { type Millis, NEVER } from '../base/time.js'
import { NO_OFFLOAD, type Offload } from '../link/link-endpoint.js'
import { ArpOperation, ArpPacket, emitArp, parseArp } from '../wire/arp.js'
import {
  BROADCAST_MAC,
  type EthernetHeader,
  EtherType,
  emitEthernet,
  isUnicastMac,
  type MacAddress,
  NO_TAG,
} from '../wire/ethernet.js'
import type { Frame } from '../wire/frame.js'
import { HEADROOM } from '../wire/frame.js'
import { type IpAddress, UNSPECIFIED } from '../wire/ip-address.js'
import {
  directedBroadcast,
  type Ipv4Address,
  isMulticast,
  LIMITED_BROADCAST,
} from '../wire/ipv4.js'
import { FrameQueue } from './frame-queue.js'
import { ArpRequest, NeighborCache, UNRESOLVED } from './neighbor.js'
import { NO_ROUTE, RouteTable } from './route.js'

/** Assigned: answer ARP, speak. Observed: watch only. */
export type AddressState = 'assigned' | 'observed'

/** An address of a NIC. */
export interface NicAddress {
  readonly address: IpAddress
  readonly prefix: number
  readonly state: AddressState
}

/** Sees every frame on the link, before any filter. `frame` and `ethernet` are borrowed. */
export interface FrameSnoop {
  onFrame(frame: Frame, ethernet: EthernetHeader, now: Millis): void
}

/** A link to attach a stack to. */
export interface NicConfig {
  readonly mac: MacAddress
  readonly mtu: number
  /** 802.1Q VLAN, 1 .. 4094: frames leave with its tag, and those of other VLANs are not for us. Default: without a tag. */
  readonly vlan?: number
  /** What the device takes over; nothing when absent. */
  readonly offload?: Offload
}

/** When an announcement is repeated: the neighbours' caches may be locked for a second (RFC 5227 §2.3). */
const ANNOUNCE_AT_MS = [0, 100, 1000, 5000] as const
/** How long behind a false claim our frames may be sent to the impostor. */
const CONTESTED_MS: Millis = 60_000
/** RFC 5227 §2.4 (c): an address is defended once in so long. */
export const DEFEND_INTERVAL_MS: Millis = 10_000
// RFC 1112 §6.4: the low 23 bits of the group go into this address.
const MULTICAST_MAC: MacAddress = 0x0100_5e00_0000
const MAX_OUTBOX = 256
const MAX_UNRESOLVED = 64

interface Announcement {
  readonly address: IpAddress
  readonly since: Millis
  next: number
  /** Behind the last one to send. */
  readonly end: number
}

const NO_MACS: ReadonlySet<MacAddress> = new Set()
const isNobody = (): boolean => false

export class Nic {
  readonly mac: MacAddress
  /** Tag control information of what leaves, or NO_TAG. */
  readonly tag: number
  readonly mtu: number
  readonly offload: Offload
  readonly neighbors = new NeighborCache()
  readonly routes = new RouteTable()
  readonly drops: DropCounters
  snoop: FrameSnoop | null = null
  /**
   * Ethernet addresses of others whose frames are taken as if they were for us (P12): after a take-over those of the nodes that
   * may have owned the address, until the neighbours have learnt better.
   */
  otherMacs: ReadonlySet<MacAddress> = NO_MACS
  /** True for the address of another node, whose frames are never taken while addresses are contested. */
  isPeer: (mac: MacAddress) => boolean = isNobody
  /** ARP packets of others that claimed an address assigned here: two speakers, or a misconfigured host (RFC 5227 §2.4). */
  conflicts = 0
  /** The Ethernet address of the last of them. */
  conflictMac: MacAddress = 0
  /** When the last of them came; minus infinity as long as there was none. */
  conflictAt: Millis = Number.NEGATIVE_INFINITY
  // Somebody else has claimed one of our addresses of late, and others may believe him.
  #contested = false
  readonly #defendedAt = new Map<number, Millis>()
  readonly #addresses = new Map<number, NicAddress>()
  readonly #outbox: FrameQueue
  readonly #unresolved: FrameQueue
  readonly #unresolvedHops: IpAddress[] = []
  #announcements: Announcement[] = []
  readonly #arp = new ArpPacket()
  readonly #request = new ArpRequest()

  constructor(config: NicConfig, drops: DropCounters) {
    this.mac = config.mac
    this.mtu = config.mtu
    this.tag = checkedVlan(config.vlan)
    this.offload = config.offload ?? NO_OFFLOAD
    this.drops = drops
    this.#outbox = new FrameQueue(MAX_OUTBOX, HEADROOM + config.mtu + 64)
    this.#unresolved = new FrameQueue(MAX_UNRESOLVED, HEADROOM + config.mtu + 64)
  }

  /** Octets of TCP text per segment without options. */
  get linkMss(): number {
    return this.mtu - 40
  }

  /** True for a frame to `dst` that is for this NIC alone. */
  takes(dst: MacAddress): boolean {
    if (dst === this.mac || (this.otherMacs.size > 0 && this.otherMacs.has(dst))) return true
    // Who believes an impostor sends to him what is meant for us; and we hear it.
    return this.#contested && isUnicastMac(dst) && !this.isPeer(dst)
  }

  addresses(): Iterable<NicAddress> {
    return this.#addresses.values()
  }

  addressOf(address: IpAddress): NicAddress | undefined {
    return this.#addresses.get(address)
  }

  isAssigned(address: IpAddress): boolean {
    return this.#addresses.get(address)?.state === 'assigned'
  }

  /** True when a frame with this tag, or NO_TAG, is on our VLAN. A priority tag, which names none, always is. */
  takesTag(tag: number): boolean {
    const vlan = tag === NO_TAG ? NO_TAG : tag & 0xfff
    return vlan === this.tag || vlan === 0
  }

  /** The assigned address whose subnet's hosts are all meant by `address`; undefined when it is no broadcast here. */
  broadcastOf(address: IpAddress): NicAddress | undefined {
    for (const own of this.#addresses.values()) {
      if (own.state !== 'assigned') continue
      if (address === LIMITED_BROADCAST) return own
      if (address === directedBroadcast(own.address, own.prefix)) return own
    }
    return undefined
  }

  /** True when `dst` means many hosts: they are reached without a neighbour's address. */
  isGroup(dst: IpAddress): boolean {
    return isMulticast(dst) || this.broadcastOf(dst) !== undefined
  }

  /** Adds an address, or changes its state. Its prefix becomes a route. */
  // allocates: once per change of an address
  setAddress(address: IpAddress, prefix: number, state: AddressState): void {
    if (!this.#addresses.has(address)) this.routes.addOnLink(address, prefix)
    this.#addresses.set(address, { address, prefix, state })
    if (state === 'assigned') return
    this.#announcements = this.#announcements.filter((a) => a.address !== address)
    this.#outbox.clear()
  }

  // allocates: once per change of an address
  removeAddress(address: IpAddress): void {
    const known = this.#addresses.get(address)
    if (known === undefined) return
    this.#addresses.delete(address)
    this.routes.remove(address, known.prefix)
    this.#announcements = this.#announcements.filter((a) => a.address !== address)
    this.#outbox.clear()
  }

  /**
   * Announces the address as ours (P13, RFC 5227 §2.3) at once, and again after 0.1, 1 and 5 seconds. The form is an ARP
   * request, because caches that were updated a moment ago ignore replies.
   */
  // allocates: once per announcement
  announce(address: IpAddress, now: Millis): void {
    this.#announcements = this.#announcements.filter((a) => a.address !== address)
    this.#announcements.push({ address, since: now, next: 0, end: ANNOUNCE_AT_MS.length })
  }

  // RFC 5227 §2.4 (c): one announcement, and not again for a while, or two hosts that both defend would never end. It waits
  // for the next poll: the address may be given up until then (D3).
  // allocates: once per defence
  #defend(address: IpAddress, now: Millis): void {
    const last = this.#defendedAt.get(address) ?? Number.NEGATIVE_INFINITY
    if (now < last || this.#announcements.some((a) => a.address === address)) return
    // What is claimed meanwhile is answered at the end, so that the last word is ours.
    const since = Math.max(now, last + DEFEND_INTERVAL_MS)
    this.#defendedAt.set(address, since)
    this.#announcements.push({ address, since, next: 0, end: 1 })
  }

  /** Asks `target` for its address, which teaches it ours: for a neighbour that may hold an old entry. */
  askUnicast(source: IpAddress, target: IpAddress, targetMac: MacAddress): void {
    const frame = this.#outbox.add()
    if (frame === null) {
      this.drops.count(DropReason.LINK_QUEUE_FULL)
      return
    }
    this.#emitRequest(frame, source, target)
    this.#seal(frame, targetMac, EtherType.ARP, source)
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

  /** Takes an ARP packet (RFC 826): answers for assigned addresses, learns, and notices who else claims them. */
  receiveArp(frame: Frame, ethernet: EthernetHeader, now: Millis): DropReason {
    const arp = this.#arp
    const reason = parseArp(arp, frame.view, ethernet.payloadStart, ethernet.payloadEnd)
    if (reason !== DropReason.NONE) return reason
    if (this.isAssigned(arp.senderIp) && arp.senderMac !== this.mac) {
      this.conflicts++
      this.conflictMac = arp.senderMac
      this.conflictAt = now
      this.#contested = true
      this.#defend(arp.senderIp, now)
      return DropReason.NONE
    }
    const ours = this.isAssigned(arp.targetIp)
    if (this.neighbors.handleArp(arp, ours, now)) this.#resolve()
    // A probe, which has no sender address, is answered too: its sender wants to know whether the address is taken.
    if (!ours || arp.operation !== ArpOperation.REQUEST) return DropReason.NONE
    const reply = this.#outbox.add()
    if (reply === null) return DropReason.LINK_QUEUE_FULL
    emitArp(reply, ArpOperation.REPLY, this.mac, arp.targetIp, arp.senderMac, arp.senderIp)
    this.#seal(reply, arp.senderMac, EtherType.ARP, arp.targetIp)
    return DropReason.NONE
  }

  /**
   * The end of the way out: finds the next hop of the IP datagram in `frame` and writes the Ethernet header. False: the
   * frame does not leave now, because its source is not assigned or the next hop is being asked for.
   */
  egress(frame: Frame, src: IpAddress, dst: IpAddress, now: Millis): boolean {
    if (!this.isAssigned(src)) {
      this.drops.count(DropReason.EGRESS_NOT_ASSIGNED)
      return false
    }
    const hop = this.routes.nextHop(dst)
    if (hop === NO_ROUTE) {
      this.drops.count(DropReason.NO_ROUTE)
      return false
    }
    if (this.neighbors.needsRequest(hop, now)) this.neighbors.solicit(hop, now)
    const mac = this.neighbors.lookup(hop)
    if (mac === UNRESOLVED) {
      this.#hold(frame, hop)
      return false
    }
    this.#seal(frame, mac, EtherType.IPV4, src)
    return true
  }

  /** The same for a destination of which `isGroup` is true. */
  egressGroup(frame: Frame, src: IpAddress, dst: IpAddress): boolean {
    if (!this.isAssigned(src)) {
      this.drops.count(DropReason.EGRESS_NOT_ASSIGNED)
      return false
    }
    const mac = isMulticast(dst) ? MULTICAST_MAC + (dst & 0x7f_ffff) : BROADCAST_MAC
    this.#seal(frame, mac, EtherType.IPV4, src)
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

  /** A neighbour that was given up, or UNSPECIFIED; what waited for it is dropped. */
  pollFailure(now: Millis): IpAddress {
    const hop = this.neighbors.pollFailure(now)
    if (hop !== UNSPECIFIED) this.#resolve()
    return hop
  }

  /** The next frame of this NIC's own, borrowed until the next call, or null. */
  poll(now: Millis): Frame | null {
    this.#pollAnnouncements(now)
    while (this.neighbors.pollRequest(this.#request, now)) this.#askFor(this.#request)
    return this.#outbox.take()
  }

  nextDeadline(): Millis {
    let earliest = Math.min(this.neighbors.nextDeadline(), this.neighbors.failedAt)
    for (const a of this.#announcements) {
      earliest = Math.min(earliest, a.since + (ANNOUNCE_AT_MS[a.next] ?? NEVER))
    }
    return earliest
  }

  #pollAnnouncements(now: Millis): void {
    if (this.#contested && now - this.conflictAt >= CONTESTED_MS) this.#contested = false
    for (let i = this.#announcements.length - 1; i >= 0; i--) {
      const a = this.#announcements[i] as Announcement
      while (a.next < a.end && now >= a.since + (ANNOUNCE_AT_MS[a.next] as number)) {
        a.next++
        const frame = this.#outbox.add()
        if (frame === null) return
        this.#emitRequest(frame, a.address, a.address)
        this.#seal(frame, BROADCAST_MAC, EtherType.ARP, a.address)
      }
      if (a.next >= a.end) this.#announcements.splice(i, 1)
    }
  }

  // Asks from the assigned address whose subnet the target is in; without one nobody may be asked.
  #askFor(request: ArpRequest): void {
    for (const own of this.#addresses.values()) {
      if (own.state !== 'assigned') continue
      const frame = this.#outbox.add()
      if (frame === null) return
      this.#emitRequest(frame, own.address, request.targetIp)
      this.#seal(frame, request.destination, EtherType.ARP, own.address)
      return
    }
  }

  #emitRequest(frame: Frame, source: IpAddress, target: IpAddress): void {
    const operation = ArpOperation.REQUEST
    emitArp(frame, operation, this.mac, source as Ipv4Address, 0, target as Ipv4Address)
  }

  #hold(frame: Frame, hop: IpAddress): void {
    if (!this.neighbors.isPending(hop)) {
      this.drops.count(DropReason.NEIGHBOR_UNRESOLVED)
      return
    }
    // A super-frame does not fit: whoever sent it sends it again, and by then the address is known.
    const held = this.#unresolved.fits(frame) ? this.#unresolved.add() : null
    if (held === null) {
      this.drops.count(DropReason.NEIGHBOR_QUEUE_FULL)
      return
    }
    held.copyFrom(frame)
    this.#unresolvedHops.push(hop)
  }

  // An address became known: what waited for it moves to the outbox, the rest waits on or is given up with its address.
  #resolve(): void {
    for (let left = this.#unresolvedHops.length; left > 0; left--) {
      const frame = this.#unresolved.take() as Frame
      const hop = this.#unresolvedHops.shift() as IpAddress
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
      const src = frame.view.getInt32(frame.start + 12) as IpAddress
      if (this.isAssigned(src)) this.#seal(out, mac, EtherType.IPV4, src)
      else this.#outbox.cancel()
    }
  }

  // The one place where a frame that speaks for an address gets its Ethernet header: the egress guard.
  #seal(frame: Frame, dst: MacAddress, etherType: number, speaker: IpAddress): void {
    frame.leased = this.isAssigned(speaker)
    if (!frame.leased) {
      this.drops.count(DropReason.EGRESS_NOT_ASSIGNED)
      this.#outbox.cancel()
      return
    }
    emitEthernet(frame, dst, this.mac, etherType, this.tag)
  }
}

function checkedVlan(vlan: number | undefined): number {
  if (vlan === undefined) return NO_TAG
  if (Number.isInteger(vlan) && vlan >= 1 && vlan <= 4094) return vlan
  // allocates: the text of an error in the caller's settings
  throw new StackError('ERR_INVALID_VLAN', `vlan: ${vlan} is no VLAN; give a number from 1 to 4094`)
}
