// hot path: no allocation per frame
/**
 * The UDP header (RFC 768). A checksum of 0 means that the sender made none; one that comes out as 0 is sent as all
 * ones (RFC 1122 §4.1.3.4).
 */
import { DropReason } from '../base/counters.js'
import { sealTransport, verifyTransport } from './checksum.js'
import { ChecksumState, type Frame } from './frame.js'
import { IpProtocol } from './ipv4.js'

export const UDP_HEADER_LENGTH = 8
export const UDP_CHECKSUM_OFFSET = 6

/** A decoded UDP header. Instances are reused: borrowed until the next call that fills them. */
export class UdpHeader {
  srcPort = 0
  dstPort = 0
  /** Header and data, in octets. */
  length = 0
  /** As on the wire; 0: the sender made none. */
  checksum = 0
  /** The data is `frame.bytes[payloadStart, payloadEnd)`. */
  payloadStart = 0
  payloadEnd = 0
}

/** Decodes the datagram in `frame.bytes[start, end)` into `header` and verifies its checksum against both addresses. */
export function parseUdp(
  header: UdpHeader,
  frame: Frame,
  start: number,
  end: number,
  src: number,
  dst: number,
): DropReason {
  if (end - start < UDP_HEADER_LENGTH) return DropReason.UDP_MALFORMED
  const view = frame.view
  const length = view.getUint16(start + 4)
  if (length < UDP_HEADER_LENGTH || start + length > end) return DropReason.UDP_MALFORMED
  const checksum = view.getUint16(start + UDP_CHECKSUM_OFFSET)
  if (checksum !== 0 && !verifyTransport(frame, start, start + length, src, dst, IpProtocol.UDP)) {
    return DropReason.UDP_BAD_CHECKSUM
  }
  header.srcPort = view.getUint16(start)
  header.dstPort = view.getUint16(start + 2)
  header.length = length
  header.checksum = checksum
  header.payloadStart = start + UDP_HEADER_LENGTH
  header.payloadEnd = start + length
  return DropReason.NONE
}

/** Writes a header in front of the data at `frame.start`, with its checksum or, under `offload`, what the device needs. */
export function emitUdp(
  frame: Frame,
  srcPort: number,
  dstPort: number,
  src: number,
  dst: number,
  offload: boolean,
): void {
  const start = frame.start - UDP_HEADER_LENGTH
  const view = frame.view
  view.setUint16(start, srcPort)
  view.setUint16(start + 2, dstPort)
  view.setUint16(start + 4, frame.end - start)
  view.setUint16(start + UDP_CHECKSUM_OFFSET, 0)
  frame.start = start
  sealTransport(frame, src, dst, IpProtocol.UDP, UDP_CHECKSUM_OFFSET, offload)
  const field = start + UDP_CHECKSUM_OFFSET
  if (frame.checksum === ChecksumState.NONE && view.getUint16(field) === 0) {
    view.setUint16(field, 0xffff)
  }
}
