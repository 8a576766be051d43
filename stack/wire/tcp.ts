// hot path: no allocation per frame
/**
 * The TCP header (RFC 9293 §3.1) with the options of RFC 7323, 2018 and 9293: one reused, decoded Segment.
 *
 * Parsing reads from borrowed bytes and keeps a reference to them as the segment's text; whoever keeps text copies it.
 * Checksums are the business of the callers, because a shadow, a TAP with offload and a plain link differ in them.
 */
import { DropReason } from '../base/counters.js'
import { type Seq, ZERO } from '../base/seq.js'
import type { Frame } from './frame.js'
import { type IpAddress, isIpv4 } from './ip-address.js'

export const FIN = 0x01
export const SYN = 0x02
export const RST = 0x04
export const PSH = 0x08
export const ACK = 0x10
export const URG = 0x20
export const ECE = 0x40
export const CWR = 0x80

/** Values of the ECN field in the IP header (RFC 3168 §5). */
export const Ecn = { NOT_ECT: 0, ECT_1: 1, ECT_0: 2, CE: 3 } as const

/** No such option in the segment. */
export const ABSENT = -1

/** The MSS of a peer that sends no MSS option, over IPv4 and over IPv6 (RFC 9293 §3.7.1, MUST-15). */
export const DEFAULT_MSS = 536
const DEFAULT_MSS_IPV6 = 1220

/** SACK blocks that fit a header: four, or three beside timestamps (RFC 2018 §3). */
export const MAX_SACK_BLOCKS = 4

/** Without options. */
export const TCP_HEADER_LENGTH = 20
const OPTION_END = 0
const OPTION_NOP = 1
const OPTION_MSS = 2
const OPTION_WINDOW_SCALE = 3
const OPTION_SACK_PERMITTED = 4
const OPTION_SACK = 5
const OPTION_TIMESTAMPS = 8

const EMPTY = new Uint8Array(0)

/** One TCP segment, decoded. Instances are reused: borrowed until the next call that fills them. */
export class Segment {
  srcPort = 0
  dstPort = 0
  /** SEG.SEQ */
  seq: Seq = ZERO
  /** SEG.ACK; meaningful when the ACK flag is set. */
  ack: Seq = ZERO
  flags = 0
  /** SEG.WND as on the wire, not scaled. */
  wnd = 0
  urgentPointer = 0
  /** The ECN field of the IP header that the segment came or goes with (RFC 3168 §5): one of {@link Ecn}. */
  ecn = 0
  /** The MSS option, or ABSENT. */
  mss = ABSENT
  /** The MSS that a SYN without the option means; DEFAULT_MSS unless the IP header is one of IPv6. */
  defaultMss = DEFAULT_MSS
  /** The window scale option as on the wire, or ABSENT; who uses it counts one above 14 as 14 (RFC 7323 §2.3). */
  windowScale = ABSENT
  sackPermitted = false
  hasTimestamps = false
  tsVal = 0
  tsEcr = 0
  /** How many SACK blocks `sackEdges` holds. */
  sackCount = 0
  /** Left and right edges of the SACK blocks, two entries each, as sequence numbers. */
  readonly sackEdges = new Int32Array(2 * MAX_SACK_BLOCKS)
  /** The text is `text[textStart, textEnd)`: borrowed. */
  text: Uint8Array = EMPTY
  textStart = 0
  textEnd = 0

  /** SEG.LEN: the octets the segment takes in sequence space, SYN and FIN counted (RFC 9293 §3.3.1). */
  get len(): number {
    const flags = this.flags
    return this.textEnd - this.textStart + ((flags >> 1) & 1) + (flags & 1)
  }

  get textLength(): number {
    return this.textEnd - this.textStart
  }

  has(flag: number): boolean {
    return (this.flags & flag) !== 0
  }

  /** Makes this a segment without options and text. Ports are left alone. */
  clear(): void {
    this.seq = ZERO
    this.ack = ZERO
    this.flags = 0
    this.wnd = 0
    this.urgentPointer = 0
    this.ecn = 0
    this.defaultMss = DEFAULT_MSS
    this.clearOptions()
    this.text = EMPTY
    this.textStart = 0
    this.textEnd = 0
  }

  clearOptions(): void {
    this.mss = ABSENT
    this.windowScale = ABSENT
    this.sackPermitted = false
    this.hasTimestamps = false
    this.tsVal = 0
    this.tsEcr = 0
    this.sackCount = 0
  }

  /** Adds the SACK block `[left, right)`; ignored when there is no room. */
  addSack(left: Seq, right: Seq): void {
    if (this.sackCount >= MAX_SACK_BLOCKS) return
    this.sackEdges[2 * this.sackCount] = left
    this.sackEdges[2 * this.sackCount + 1] = right
    this.sackCount++
  }
}

/**
 * Decodes the segment in `frame.bytes[start, end)` into `seg`. Returns NONE or the reason to drop it. Unknown options
 * are skipped (MUST-6); an option with an impossible length ends the options, as the rest cannot be read (MUST-7). What the IP
 * header says of the segment is for the caller to fill in: {@link parseSegment}.
 */
export function parseTcp(seg: Segment, frame: Frame, start: number, end: number): DropReason {
  if (end - start < TCP_HEADER_LENGTH) return DropReason.TCP_TRUNCATED
  const view = frame.view
  const word = view.getUint16(start + 12)
  const headerLength = (word >> 12) << 2
  if (headerLength < TCP_HEADER_LENGTH) return DropReason.TCP_BAD_DATA_OFFSET
  if (start + headerLength > end) return DropReason.TCP_TRUNCATED
  seg.srcPort = view.getUint16(start)
  seg.dstPort = view.getUint16(start + 2)
  seg.seq = view.getInt32(start + 4) as Seq
  seg.ack = view.getInt32(start + 8) as Seq
  seg.flags = word & 0xff
  seg.wnd = view.getUint16(start + 14)
  seg.urgentPointer = view.getUint16(start + 18)
  seg.ecn = Ecn.NOT_ECT
  seg.defaultMss = DEFAULT_MSS
  seg.clearOptions()
  if (headerLength > TCP_HEADER_LENGTH) {
    parseOptions(seg, view, start + TCP_HEADER_LENGTH, start + headerLength)
  }
  seg.text = frame.bytes
  seg.textStart = start + headerLength
  seg.textEnd = end
  return DropReason.NONE
}

/** The header of the datagram that a segment comes in, of either family. */
export interface SegmentCarrier {
  readonly src: IpAddress
  readonly dst: IpAddress
  readonly ecn: number
  readonly payloadStart: number
  readonly payloadEnd: number
}

/** Decodes the segment in the datagram `ip` of `frame`, with what its header says. Returns NONE or the reason to drop it. */
export function parseSegment(seg: Segment, frame: Frame, ip: SegmentCarrier): DropReason {
  const reason = parseTcp(seg, frame, ip.payloadStart, ip.payloadEnd)
  seg.ecn = ip.ecn
  if (!isIpv4(ip.dst)) seg.defaultMss = DEFAULT_MSS_IPV6
  return reason
}

function parseOptions(seg: Segment, view: DataView, start: number, end: number): void {
  let at = start
  while (at < end) {
    const kind = view.getUint8(at)
    if (kind === OPTION_END) return
    if (kind === OPTION_NOP) {
      at++
      continue
    }
    if (at + 1 >= end) return
    const length = view.getUint8(at + 1)
    if (length < 2 || at + length > end) return
    parseOption(seg, view, at, kind, length)
    at += length
  }
}

function parseOption(seg: Segment, view: DataView, at: number, kind: number, length: number): void {
  const syn = (seg.flags & SYN) !== 0
  if (kind === OPTION_TIMESTAMPS && length === 10) {
    seg.hasTimestamps = true
    seg.tsVal = view.getInt32(at + 2)
    seg.tsEcr = view.getInt32(at + 6)
  } else if (kind === OPTION_SACK && length >= 10 && (length - 2) % 8 === 0) {
    const count = Math.min((length - 2) >> 3, MAX_SACK_BLOCKS)
    for (let i = 0; i < 2 * count; i++) seg.sackEdges[i] = view.getInt32(at + 2 + 4 * i)
    seg.sackCount = count
  } else if (kind === OPTION_MSS && length === 4 && syn) {
    seg.mss = view.getUint16(at + 2)
  } else if (kind === OPTION_WINDOW_SCALE && length === 3 && syn) {
    seg.windowScale = view.getUint8(at + 2)
  } else if (kind === OPTION_SACK_PERMITTED && length === 2 && syn) {
    seg.sackPermitted = true
  }
}

/** Octets that the options of `seg` take in the header, padding included. */
export function tcpOptionsLength(seg: Segment): number {
  let length = 0
  if (seg.mss !== ABSENT) length += 4
  if (seg.windowScale !== ABSENT) length += 4
  if (seg.sackPermitted) length += seg.hasTimestamps ? 2 : 4
  if (seg.hasTimestamps) length += seg.sackPermitted ? 10 : 12
  if (seg.sackCount > 0) length += 4 + 8 * seg.sackCount
  return length
}

/**
 * Writes the header of `seg` in front of `frame.start` and lowers it. The text must already lie at
 * `frame.bytes[frame.start, frame.end)`; the checksum field is left 0.
 */
export function emitTcp(seg: Segment, frame: Frame): void {
  const headerLength = TCP_HEADER_LENGTH + tcpOptionsLength(seg)
  const start = frame.start - headerLength
  const view = frame.view
  view.setUint16(start, seg.srcPort)
  view.setUint16(start + 2, seg.dstPort)
  view.setInt32(start + 4, seg.seq)
  view.setInt32(start + 8, seg.ack)
  view.setUint16(start + 12, (headerLength << 10) | seg.flags)
  view.setUint16(start + 14, seg.wnd)
  view.setUint32(start + 16, seg.urgentPointer)
  if (headerLength > TCP_HEADER_LENGTH) emitOptions(seg, view, start + TCP_HEADER_LENGTH)
  frame.start = start
}

/** Index of the checksum field, counted from the start of the TCP header. */
export const TCP_CHECKSUM_OFFSET = 16

function emitOptions(seg: Segment, view: DataView, start: number): void {
  let at = start
  if (seg.mss !== ABSENT) {
    view.setUint32(at, (OPTION_MSS << 24) | (4 << 16) | seg.mss)
    at += 4
  }
  if (seg.sackPermitted) {
    // With timestamps the two octets take the place of their padding, as every Linux SYN has it.
    if (!seg.hasTimestamps) {
      view.setUint16(at, (OPTION_NOP << 8) | OPTION_NOP)
      at += 2
    }
    view.setUint16(at, (OPTION_SACK_PERMITTED << 8) | 2)
    at += 2
  }
  if (seg.hasTimestamps) {
    if (!seg.sackPermitted) {
      view.setUint16(at, (OPTION_NOP << 8) | OPTION_NOP)
      at += 2
    }
    view.setUint16(at, (OPTION_TIMESTAMPS << 8) | 10)
    view.setInt32(at + 2, seg.tsVal)
    view.setInt32(at + 6, seg.tsEcr)
    at += 10
  }
  if (seg.windowScale !== ABSENT) {
    view.setUint32(
      at,
      (OPTION_NOP << 24) | (OPTION_WINDOW_SCALE << 16) | (3 << 8) | seg.windowScale,
    )
    at += 4
  }
  if (seg.sackCount > 0) {
    view.setUint32(
      at,
      (OPTION_NOP << 24) | (OPTION_NOP << 16) | (OPTION_SACK << 8) | (2 + 8 * seg.sackCount),
    )
    at += 4
    for (let i = 0; i < 2 * seg.sackCount; i++, at += 4) {
      view.setInt32(at, seg.sackEdges[i] ?? 0)
    }
  }
}
