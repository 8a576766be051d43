// hot path: no allocation per frame
/**
 * Reads and writes that DataView lacks: 48-bit integers, and hexadecimal text for tests and traces.
 *
 * Everything is in network order. Callers have checked that the indices lie within the buffer.
 */

const TWO_TO_32 = 0x1_0000_0000

/** The 48-bit integer at `at`. */
export function getUint48(view: DataView, at: number): number {
  return view.getUint16(at) * TWO_TO_32 + view.getUint32(at + 2)
}

/** Writes `value`, an integer in 0 .. 2^48 - 1, at `at`. */
export function setUint48(view: DataView, at: number, value: number): void {
  view.setUint16(at, Math.floor(value / TWO_TO_32))
  view.setUint32(at + 2, value >>> 0)
}

/** `bytes[start, end)` as hexadecimal digits without separators. Allocates: for tests and traces. */
export function toHex(bytes: Uint8Array, start = 0, end = bytes.length): string {
  let text = ''
  for (let at = start; at < end; at++) text += (bytes[at] ?? 0).toString(16).padStart(2, '0')
  return text
}

/** The octets that `text` spells in hexadecimal digits; white space is ignored. Allocates: for tests and traces. */
export function fromHex(text: string): Uint8Array {
  const digits = text.replace(/\s+/g, '')
  const bytes = new Uint8Array(digits.length >> 1)
  for (let i = 0; i < bytes.length; i++) {
    bytes[i] = Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16)
  }
  return bytes
}
