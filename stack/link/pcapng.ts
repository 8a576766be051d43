/**
 * The blocks of a capture in pcapng (draft-ietf-opsawg-pcapng), of Ethernet frames in nanoseconds, as bytes: where they go is the
 * caller's business. Written in the byte order of most machines, little-endian; the reader is `capture-reader.ts`.
 */
import type { Millis } from '../base/time.js'

const Block = { SECTION: 0x0a0d0d0a, INTERFACE: 1, ENHANCED_PACKET: 6 } as const
const BYTE_ORDER_MAGIC = 0x1a2b3c4d
const LINKTYPE_ETHERNET = 1
const Option = {
  END: 0,
  COMMENT: 1,
  NAME: 2,
  DESCRIPTION: 3,
  USER_APPLICATION: 4,
  TSRESOL: 9,
} as const
const NANOSECONDS = 9
const MAX_OPTION_LENGTH = 65_535

/** What the capture says of the interface it was made on. */
export interface CaptureInterfaceInfo {
  readonly name: string
  readonly description?: string
}

/** The head of a capture: one section with one interface. */
export function captureHeader(info: CaptureInterfaceInfo): Uint8Array {
  const application = option(Option.USER_APPLICATION, text('understudy'))
  const section = new Uint8Array(16)
  const view = new DataView(section.buffer)
  view.setUint32(0, BYTE_ORDER_MAGIC, true)
  view.setUint16(4, 1, true)
  // The section's length is not known beforehand.
  view.setBigInt64(8, -1n, true)
  const device = new Uint8Array(8)
  new DataView(device.buffer).setUint16(0, LINKTYPE_ETHERNET, true)
  return concat([
    block(Block.SECTION, [section, application, END]),
    block(Block.INTERFACE, [
      device,
      option(Option.NAME, text(info.name)),
      ...(info.description === undefined
        ? []
        : [option(Option.DESCRIPTION, text(info.description))]),
      option(Option.TSRESOL, Uint8Array.of(NANOSECONDS)),
      END,
    ]),
  ])
}

/** The frame `bytes[start, end)`, captured at `at`, with what there is to say about it. Copies the octets. */
export function captureFrame(
  bytes: Uint8Array,
  start: number,
  end: number,
  at: Millis,
  comments: readonly string[] = [],
): Uint8Array {
  const length = end - start
  const head = new Uint8Array(20)
  const view = new DataView(head.buffer)
  // Milliseconds of today have 52 bits left for the fraction; nanoseconds of today need 61.
  const nanoseconds = BigInt(Math.floor(at)) * 1_000_000n + BigInt(Math.floor((at % 1) * 1e6))
  view.setUint32(4, Number(nanoseconds >> 32n), true)
  view.setUint32(8, Number(nanoseconds & 0xffff_ffffn), true)
  view.setUint32(12, length, true)
  view.setUint32(16, length, true)
  const options = comments.map((comment) => option(Option.COMMENT, text(comment)))
  const frame = new Uint8Array(padded(length))
  frame.set(bytes.subarray(start, end))
  return block(Block.ENHANCED_PACKET, [
    head,
    frame,
    ...options,
    ...(options.length > 0 ? [END] : []),
  ])
}

const END = new Uint8Array(4)

function block(type: number, parts: readonly Uint8Array[]): Uint8Array {
  const body = parts.reduce((sum, part) => sum + part.length, 0)
  const bytes = new Uint8Array(body + 12)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, type, true)
  view.setUint32(4, bytes.length, true)
  let at = 8
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  view.setUint32(at, bytes.length, true)
  return bytes
}

function option(code: number, value: Uint8Array): Uint8Array {
  const length = Math.min(value.length, MAX_OPTION_LENGTH)
  const bytes = new Uint8Array(4 + padded(length))
  const view = new DataView(bytes.buffer)
  view.setUint16(0, code, true)
  view.setUint16(2, length, true)
  bytes.set(value.subarray(0, length), 4)
  return bytes
}

function padded(length: number): number {
  return (length + 3) & ~3
}

function text(value: string): Uint8Array {
  return new TextEncoder().encode(value)
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}
