// hot path: no allocation per frame
/**
 * The ICMP header for IPv4 (RFC 792), with the types and codes that a host needs (RFC 1122 §3.2.2).
 *
 * What may be answered, and what a quoted datagram means, is decided in net/icmp.ts.
 */
import { DropReason } from '../base/counters.js'
import { internetChecksum, verifyChecksum } from './checksum.js'
import type { Frame } from './frame.js'

export const IcmpType = {
  ECHO_REPLY: 0,
  DESTINATION_UNREACHABLE: 3,
  SOURCE_QUENCH: 4,
  REDIRECT: 5,
  ECHO_REQUEST: 8,
  TIME_EXCEEDED: 11,
  PARAMETER_PROBLEM: 12,
} as const

/** Codes of DESTINATION_UNREACHABLE. */
export const UnreachableCode = {
  NETWORK: 0,
  HOST: 1,
  PROTOCOL: 2,
  PORT: 3,
  FRAGMENTATION_NEEDED: 4,
  SOURCE_ROUTE_FAILED: 5,
  ADMINISTRATIVELY_PROHIBITED: 13,
} as const

/** Codes of TIME_EXCEEDED. */
export const TimeExceededCode = { IN_TRANSIT: 0, REASSEMBLY: 1 } as const

export const ICMP_HEADER_LENGTH = 8

/** A decoded ICMP header. Instances are reused: borrowed until the next call that fills them. */
export class IcmpMessage {
  type = 0
  code = 0
  /** The last four octets of the header as a signed integer: identifier and sequence number, or by type. */
  rest = 0
  /** The data is `[payloadStart, payloadEnd)` of the buffer that was parsed. */
  payloadStart = 0
  payloadEnd = 0

  /** Takes what lies in `view[start, end)`, at least a header. */
  read(view: DataView, start: number, end: number): void {
    this.type = view.getUint8(start)
    this.code = view.getUint8(start + 1)
    this.rest = view.getInt32(start + 4)
    this.payloadStart = start + ICMP_HEADER_LENGTH
    this.payloadEnd = end
  }

  /** Identifier of an echo message. */
  get identifier(): number {
    return this.rest >>> 16
  }

  /** Sequence number of an echo message. */
  get sequenceNumber(): number {
    return this.rest & 0xffff
  }

  /** Next-hop MTU of FRAGMENTATION_NEEDED (RFC 1191 §4); 0 from old routers. */
  get nextHopMtu(): number {
    return this.rest & 0xffff
  }
}

/** True for the messages that report an error about a datagram that they quote (RFC 1122 §3.2.2). */
export function isIcmpError(type: number): boolean {
  return (
    type === IcmpType.DESTINATION_UNREACHABLE ||
    type === IcmpType.SOURCE_QUENCH ||
    type === IcmpType.REDIRECT ||
    type === IcmpType.TIME_EXCEEDED ||
    type === IcmpType.PARAMETER_PROBLEM
  )
}

/** Decodes the message in `view[start, end)` into `message`, with its checksum verified. */
export function parseIcmpv4(
  message: IcmpMessage,
  view: DataView,
  start: number,
  end: number,
): DropReason {
  if (end - start < ICMP_HEADER_LENGTH) return DropReason.ICMP_MALFORMED
  if (!verifyChecksum(view, start, end)) return DropReason.ICMP_BAD_CHECKSUM
  message.read(view, start, end)
  return DropReason.NONE
}

/** Writes a header with its checksum in front of the data at `frame.start` and lowers that. */
export function emitIcmpv4(frame: Frame, type: number, code: number, rest: number): void {
  const start = frame.start - ICMP_HEADER_LENGTH
  const view = frame.view
  view.setUint16(start, (type << 8) | code)
  view.setUint16(start + 2, 0)
  view.setInt32(start + 4, rest)
  view.setUint16(start + 2, internetChecksum(view, start, frame.end))
  frame.start = start
}
