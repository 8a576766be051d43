// hot path: no allocation per frame
/**
 * Reassembler: datagrams out of their fragments (RFC 791 §3.2, RFC 8200 §4.5), within fixed limits of count, memory and time.
 *
 * What has arrived is kept as a map of blocks of eight octets, which does the work of the holes of RFC 815. A fragment that
 * overlaps another makes the whole datagram void (RFC 5722 §4, for IPv4 as RFC 8900 §3.7 has it); an exact duplicate is ignored.
 * An owner and its shadows each run this class, so that they take the same datagrams (P11). It sends nothing.
 */
import { type DropCounters, DropReason } from '../base/counters.js'
import { type Millis, NEVER } from '../base/time.js'
import { internetChecksum } from '../wire/checksum.js'
import { ChecksumState, Frame, HEADROOM } from '../wire/frame.js'
import { type IpAddress, isIpv4 } from '../wire/ip-address.js'
import { IpProtocol, MORE_FRAGMENTS, UNSPECIFIED } from '../wire/ipv4.js'
import { IPV6_HEADER_LENGTH } from '../wire/ipv6.js'

/** How long the rest of a datagram is waited for. RFC 1122 §3.3.2 asks for 60 to 120 s; systems of today take 30 s. */
export const REASSEMBLY_TIMEOUT_MS: Millis = 30_000
/** Datagrams under way at most; the oldest makes way for a new one. */
export const MAX_DATAGRAMS = 64
export const MAX_DATAGRAMS_PER_SOURCE = 16
/** Octets of text that wait for the rest of their datagram at most. */
export const MAX_OCTETS = 1024 * 1024
export const MAX_OCTETS_PER_SOURCE = 256 * 1024

const MAX_TOTAL_LENGTH = 65_535
const MAX_HEADER_LENGTH = 60
const MIN_TCP_HEADER_LENGTH = 20
// Where the text of a datagram lies in its frame; the header of the first fragment goes in front of it.
const TEXT = HEADROOM + MAX_HEADER_LENGTH
const CE = 3

/** What the header of a fragment says: an Ipv4Header or an Ipv6Header. */
export interface FragmentHeader {
  readonly src: IpAddress
  readonly dst: IpAddress
  readonly protocol: number
  readonly ident: number
  readonly flags: number
  readonly fragmentOffset: number
  readonly ecn: number
  readonly headerStart: number
  readonly headerLength: number
  readonly payloadStart: number
  readonly payloadEnd: number
}

/** What a block of eight octets holds: nothing, text, or the first text of a fragment. */
const Block = { EMPTY: 0, TEXT: 1, FIRST: 2 } as const

/** One datagram under way. */
class PartialDatagram {
  src: IpAddress = UNSPECIFIED
  dst: IpAddress = UNSPECIFIED
  protocol = 0
  ident = 0
  deadline: Millis = 0
  /** Octets of text; -1 until the last fragment has arrived. */
  total = -1
  /** Behind the last octet that has arrived. */
  end = 0
  /** Octets of text that have arrived. */
  octets = 0
  /** Of the first fragment; 0 until it has arrived. */
  headerLength = 0
  firstLength = 0
  /** A bit for each code point of ECN that was seen. */
  ecn = 0
  /** Fragments overlapped: whatever comes is dropped until the time is over. */
  void = false
  readonly frame = new Frame(TEXT + MAX_TOTAL_LENGTH + 1)
  readonly #blocks = new Uint8Array((MAX_TOTAL_LENGTH + 1) >> 3)

  start(ip: FragmentHeader, now: Millis): void {
    this.src = ip.src
    this.dst = ip.dst
    this.protocol = ip.protocol
    this.ident = ip.ident
    this.deadline = now + REASSEMBLY_TIMEOUT_MS
    this.#blocks.fill(Block.EMPTY, 0, (this.end + 7) >> 3)
    this.total = -1
    this.end = 0
    this.octets = 0
    this.headerLength = 0
    this.firstLength = 0
    this.ecn = 0
    this.void = false
  }

  isOf(ip: FragmentHeader): boolean {
    return (
      this.ident === ip.ident &&
      this.src === ip.src &&
      this.dst === ip.dst &&
      this.protocol === ip.protocol
    )
  }

  get complete(): boolean {
    return this.octets === this.total
  }

  /** True when exactly this fragment has arrived before, with the same text. */
  isDuplicate(from: number, to: number, last: boolean, bytes: Uint8Array, at: number): boolean {
    if (last ? to !== this.total : this.total >= 0 && to >= this.total) return false
    const blocks = this.#blocks
    const behind = (to + 7) >> 3
    if (blocks[from >> 3] !== Block.FIRST || blocks[behind] === Block.TEXT) return false
    for (let b = (from >> 3) + 1; b < behind; b++) if (blocks[b] !== Block.TEXT) return false
    const text = this.frame.bytes
    for (let i = 0; i < to - from; i++) if (text[TEXT + from + i] !== bytes[at + i]) return false
    return true
  }

  /** True when the fragment shares octets with another, or they do not agree on where the datagram ends. */
  overlaps(from: number, to: number, last: boolean): boolean {
    if (last ? this.total >= 0 || this.end > to : this.total >= 0 && to > this.total) return true
    const blocks = this.#blocks
    const behind = (to + 7) >> 3
    for (let b = from >> 3; b < behind; b++) if (blocks[b] !== Block.EMPTY) return true
    return false
  }

  put(ip: FragmentHeader, bytes: Uint8Array, from: number, to: number, last: boolean): void {
    const text = this.frame.bytes
    // allocates: a short-lived view per fragment, to copy at the speed of memory
    text.set(bytes.subarray(ip.payloadStart, ip.payloadEnd), TEXT + from)
    this.#blocks.fill(Block.TEXT, from >> 3, (to + 7) >> 3)
    this.#blocks[from >> 3] = Block.FIRST
    this.octets += to - from
    this.ecn |= 1 << ip.ecn
    if (to > this.end) this.end = to
    if (last) this.total = to
    if (from > 0) return
    this.headerLength = ip.headerLength
    this.firstLength = to
    // Without the extension headers of IPv6, which have been read.
    for (let i = 1; i <= ip.headerLength; i++) {
      text[TEXT - i] = bytes[ip.headerStart + ip.headerLength - i] as number
    }
  }

  /** The header of the first fragment with the first `length` octets of the text. */
  head(length: number): Frame {
    const { frame } = this
    frame.start = TEXT - this.headerLength
    frame.end = TEXT + length
    frame.checksum = ChecksumState.NONE
    return frame
  }
}

export class Reassembler {
  readonly #drops: DropCounters
  readonly #takesTiny: boolean
  readonly #free: PartialDatagram[] = []
  // In the order of their deadlines.
  readonly #underWay: PartialDatagram[] = []
  #octets = 0

  /** With `takesTiny`, as an observer needs it, a TCP header may be in pieces (RFC 1858 has an endpoint refuse it). */
  constructor(drops: DropCounters, takesTiny = false) {
    this.#drops = drops
    this.#takesTiny = takesTiny
  }

  /** Datagrams under way, those included that are void. */
  get size(): number {
    return this.#underWay.length
  }

  /** Octets of text that wait for the rest of their datagram. */
  get octets(): number {
    return this.#octets
  }

  /**
   * Takes the fragment `ip` of `frame`. Returns the datagram that it completes, from the IP header on, borrowed until the
   * next call; else null. What is dropped is counted here.
   */
  add(ip: FragmentHeader, frame: Frame, now: Millis): Frame | null {
    const reason = refuse(ip, frame.view)
    const excused = this.#takesTiny && reason === DropReason.IP_FRAGMENT_TINY
    if (reason !== DropReason.NONE && !excused) return this.#drop(reason)
    const datagram = this.#find(ip, now) ?? this.#open(ip, now)
    if (datagram.void) return this.#drop(DropReason.IP_FRAGMENT_OVERLAP)
    const from = ip.fragmentOffset
    const to = from + ip.payloadEnd - ip.payloadStart
    const last = (ip.flags & MORE_FRAGMENTS) === 0
    if (datagram.isDuplicate(from, to, last, frame.bytes, ip.payloadStart)) return null
    if (datagram.overlaps(from, to, last)) {
      this.#octets -= datagram.octets
      datagram.octets = 0
      datagram.void = true
      return this.#drop(DropReason.IP_FRAGMENT_OVERLAP)
    }
    datagram.put(ip, frame.bytes, from, to, last)
    this.#octets += to - from
    if (datagram.complete) return this.#finish(datagram)
    this.#keepWithinLimits(datagram)
    return null
  }

  /**
   * Ends the datagrams whose time is over. Returns the first fragment of one that had it, from the IP header on, to be
   * reported to its sender (RFC 1122 §3.3.2), borrowed until the next call; null when there are no more.
   */
  expire(now: Millis): Frame | null {
    for (let d = this.#underWay[0]; d !== undefined; d = this.#underWay[0]) {
      if (d.deadline > now) return null
      const reports = !d.void && d.firstLength > 0
      if (!d.void) this.#drops.count(DropReason.IP_FRAGMENT_TIMEOUT)
      this.#close(d)
      if (reports) return d.head(d.firstLength)
    }
    return null
  }

  nextDeadline(): Millis {
    return this.#underWay[0]?.deadline ?? NEVER
  }

  #find(ip: FragmentHeader, now: Millis): PartialDatagram | undefined {
    for (let i = 0; i < this.#underWay.length; i++) {
      const datagram = this.#underWay[i] as PartialDatagram
      if (!datagram.isOf(ip)) continue
      if (datagram.deadline > now) return datagram
      // Whether the timer has fired already must make no difference, or an owner and its shadow could differ.
      if (!datagram.void) this.#drops.count(DropReason.IP_FRAGMENT_TIMEOUT)
      this.#close(datagram)
      return undefined
    }
    return undefined
  }

  #open(ip: FragmentHeader, now: Millis): PartialDatagram {
    let ofSource = 0
    for (let i = 0; i < this.#underWay.length; i++) {
      if ((this.#underWay[i] as PartialDatagram).src === ip.src) ofSource++
    }
    if (ofSource >= MAX_DATAGRAMS_PER_SOURCE) this.#evict(ip.src, null)
    else if (this.#underWay.length >= MAX_DATAGRAMS) this.#evict(UNSPECIFIED, null)
    // allocates: once per place, then used again for ever
    const datagram = this.#free.pop() ?? new PartialDatagram()
    datagram.start(ip, now)
    this.#underWay.push(datagram)
    return datagram
  }

  #keepWithinLimits(latest: PartialDatagram): void {
    let ofSource = 0
    for (let i = 0; i < this.#underWay.length; i++) {
      const datagram = this.#underWay[i] as PartialDatagram
      if (datagram.src === latest.src) ofSource += datagram.octets
    }
    while (ofSource > MAX_OCTETS_PER_SOURCE) ofSource -= this.#evict(latest.src, latest)
    while (this.#octets > MAX_OCTETS) this.#evict(UNSPECIFIED, latest)
  }

  // Ends the oldest datagram of a source, or of any, but for one; returns the octets it had.
  #evict(src: IpAddress, but: PartialDatagram | null): number {
    for (let i = 0; i < this.#underWay.length; i++) {
      const datagram = this.#underWay[i] as PartialDatagram
      if (datagram === but || (src !== UNSPECIFIED && datagram.src !== src)) continue
      const octets = datagram.octets
      this.#drops.count(DropReason.IP_FRAGMENT_LIMIT)
      this.#close(datagram)
      return octets
    }
    return 0
  }

  #close(datagram: PartialDatagram): void {
    this.#octets -= datagram.octets
    const list = this.#underWay
    for (let i = list.indexOf(datagram); i < list.length - 1; i++) {
      list[i] = list[i + 1] as PartialDatagram
    }
    list.pop()
    this.#free.push(datagram)
  }

  // RFC 791 §3.2: the header of the first fragment with the whole's length; RFC 3168 §5.3: congestion is not forgotten.
  #finish(datagram: PartialDatagram): Frame | null {
    this.#close(datagram)
    const { total, ecn } = datagram
    if (countedHeader(datagram) + total > MAX_TOTAL_LENGTH) {
      return this.#drop(DropReason.IP_FRAGMENT_TOO_LONG)
    }
    const congested = (ecn & (1 << CE)) !== 0
    if (congested && (ecn & 1) !== 0) return this.#drop(DropReason.IP_FRAGMENT_MIXED_ECN)
    const frame = datagram.head(total)
    if (isIpv4(datagram.src)) completeIpv4(frame, datagram.headerLength, congested)
    else completeIpv6(frame, datagram.protocol, congested)
    return frame
  }

  #drop(reason: DropReason): null {
    this.#drops.count(reason)
    return null
  }
}

function completeIpv4(frame: Frame, headerLength: number, congested: boolean): void {
  const { view, start } = frame
  if (congested) view.setUint8(start + 1, view.getUint8(start + 1) | CE)
  view.setUint16(start + 2, frame.end - start)
  view.setUint16(start + 6, 0)
  view.setUint16(start + 10, 0)
  view.setUint16(start + 10, internetChecksum(view, start, start + headerLength))
}

function completeIpv6(frame: Frame, protocol: number, congested: boolean): void {
  const { view, start } = frame
  if (congested) view.setUint8(start + 1, view.getUint8(start + 1) | (CE << 4))
  view.setUint16(start + 4, frame.end - start - IPV6_HEADER_LENGTH)
  view.setUint8(start + 6, protocol)
}

// The length field of IPv6 does not count the header.
function countedHeader(ip: { readonly src: IpAddress; readonly headerLength: number }): number {
  return isIpv4(ip.src) ? ip.headerLength : 0
}

// Why the fragment cannot be part of any good datagram.
function refuse(ip: FragmentHeader, view: DataView): DropReason {
  const length = ip.payloadEnd - ip.payloadStart
  const more = (ip.flags & MORE_FRAGMENTS) !== 0
  if (length === 0 || (more && (length & 7) !== 0)) return DropReason.IP_FRAGMENT_BAD_LENGTH
  if (countedHeader(ip) + ip.fragmentOffset + length > MAX_TOTAL_LENGTH) {
    return DropReason.IP_FRAGMENT_TOO_LONG
  }
  if (ip.protocol !== IpProtocol.TCP) return DropReason.NONE
  // RFC 1858 §3: the first fragment has the whole TCP header, the others nothing of it.
  const headerLength =
    ip.fragmentOffset === 0 && length >= MIN_TCP_HEADER_LENGTH
      ? Math.max(MIN_TCP_HEADER_LENGTH, (view.getUint8(ip.payloadStart + 12) >> 4) << 2)
      : MIN_TCP_HEADER_LENGTH
  const tiny = ip.fragmentOffset === 0 ? length < headerLength : ip.fragmentOffset < headerLength
  return tiny ? DropReason.IP_FRAGMENT_TINY : DropReason.NONE
}
