// hot path: no allocation per frame
/**
 * The Internet checksum (RFC 1071), of headers and, with the pseudo-header, of TCP and UDP (RFC 9293 §3.1, RFC 768).
 *
 * A partial sum is a folded one's complement sum of 16-bit words in network order, 0 .. 0xffff, not complemented.
 * Octets are read as little-endian words of 32 bits at any alignment, because the sum commutes with swapping octets
 * (RFC 1071 §2 B) and DataView reads need no alignment.
 */
import { ChecksumState, type Frame } from './frame.js'
import { addressSum } from './ip-address.js'

/** The largest range that `sumOf` takes: beyond it the sums of the halves no longer fit 32 bits. */
export const MAX_CHECKSUM_LENGTH = 0x1_0000 + 64

/** A sum of 16-bit words with its carries added in: a partial sum. */
export function folded(sum: number): number {
  const once = (sum & 0xffff) + (sum >>> 16)
  return (once & 0xffff) + (once >>> 16)
}

/** The partial sum of `view[start, end)`; an odd last octet counts as the high half of a word. */
export function sumOf(view: DataView, start: number, end: number): number {
  // `total` wraps modulo 2^32; with the sum of the high halves known, the sum of the low halves follows from it.
  let total = 0
  let high = 0
  let at = start
  for (const last = end - 32; at <= last; at += 32) {
    const a = view.getInt32(at, true)
    const b = view.getInt32(at + 4, true)
    const c = view.getInt32(at + 8, true)
    const d = view.getInt32(at + 12, true)
    const e = view.getInt32(at + 16, true)
    const f = view.getInt32(at + 20, true)
    const g = view.getInt32(at + 24, true)
    const h = view.getInt32(at + 28, true)
    total = (total + a + b + c + d + e + f + g + h) | 0
    high =
      (high +
        (a >>> 16) +
        (b >>> 16) +
        (c >>> 16) +
        (d >>> 16) +
        (e >>> 16) +
        (f >>> 16) +
        (g >>> 16) +
        (h >>> 16)) |
      0
  }
  for (const last = end - 4; at <= last; at += 4) {
    const word = view.getInt32(at, true)
    total = (total + word) | 0
    high = (high + (word >>> 16)) | 0
  }
  let sum = (((total - (high << 16)) | 0) + high) >>> 0
  if (at + 2 <= end) {
    sum += view.getUint16(at, true)
    at += 2
  }
  if (at < end) sum += view.getUint8(at)
  const little = folded(sum >>> 0)
  return ((little & 0xff) << 8) | (little >> 8)
}

/** The partial sum of two pieces of which the first has an even length. */
export function combine(a: number, b: number): number {
  const sum = a + b
  return (sum & 0xffff) + (sum >>> 16)
}

/** The partial sum of two pieces of which the first has `lengthOfFirst` octets. */
export function combineAt(first: number, second: number, lengthOfFirst: number): number {
  const moved = (lengthOfFirst & 1) === 0 ? second : ((second & 0xff) << 8) | (second >> 8)
  return combine(first, moved)
}

/** The checksum field of `view[start, end)`, in which that field is 0, on top of the partial sum `initial`. */
export function internetChecksum(view: DataView, start: number, end: number, initial = 0): number {
  return ~combine(initial, sumOf(view, start, end)) & 0xffff
}

/** True when `view[start, end)`, checksum field included, sums up with `initial` to what a good checksum gives. */
export function verifyChecksum(view: DataView, start: number, end: number, initial = 0): boolean {
  return combine(initial, sumOf(view, start, end)) === 0xffff
}

/** The checksum field after one aligned word under it changed from `before` to `after` (RFC 1624 §3, equation 3). */
export function updateChecksum(checksum: number, before: number, after: number): number {
  return ~combine(combine(~checksum & 0xffff, ~before & 0xffff), after) & 0xffff
}

/**
 * The partial sum of the pseudo-header of either family (RFC 9293 §3.1, RFC 8200 §8.1); `length` counts the octets of the TCP or UDP
 * header and its text.
 */
export function pseudoHeaderSum(
  src: number,
  dst: number,
  protocol: number,
  length: number,
): number {
  return folded(addressSum(src) + addressSum(dst) + protocol + (length & 0xffff) + (length >>> 16))
}

/**
 * Fills the checksum field, 0 until now, of the TCP segment or UDP datagram that `frame` holds from `frame.start` to
 * `frame.end`, `field` octets behind its start. With `offload` only the pseudo-header's sum is written and the frame is
 * marked PARTIAL: the device completes it.
 */
export function sealTransport(
  frame: Frame,
  src: number,
  dst: number,
  protocol: number,
  field: number,
  offload: boolean,
): void {
  const start = frame.start
  const pseudo = pseudoHeaderSum(src, dst, protocol, frame.end - start)
  if (offload) {
    frame.view.setUint16(start + field, pseudo)
    frame.checksum = ChecksumState.PARTIAL
    return
  }
  frame.view.setUint16(start + field, internetChecksum(frame.view, start, frame.end, pseudo))
  frame.checksum = ChecksumState.NONE
}

/**
 * True when the checksum of the TCP segment or UDP datagram in `frame.bytes[start, end)` is good, or the device vouches
 * for it: frames of local senders come PARTIAL, with nothing to verify yet.
 */
export function verifyTransport(
  frame: Frame,
  start: number,
  end: number,
  src: number,
  dst: number,
  protocol: number,
): boolean {
  if (frame.checksum !== ChecksumState.NONE) return true
  return verifyChecksum(frame.view, start, end, pseudoHeaderSum(src, dst, protocol, end - start))
}

/**
 * Completes a PARTIAL checksum in place, for a frame that goes to someone without offload: a capture, a peer's log.
 * `[start, end)` is the TCP segment or UDP datagram, `field` the offset of its checksum.
 */
export function completeTransport(frame: Frame, start: number, end: number, field: number): void {
  if (frame.checksum !== ChecksumState.PARTIAL) return
  // The field holds the pseudo-header's sum, so it takes part in the sum as it stands.
  frame.view.setUint16(start + field, internetChecksum(frame.view, start, end))
  frame.checksum = ChecksumState.NONE
}
