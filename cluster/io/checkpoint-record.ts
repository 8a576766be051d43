/**
 * A checkpoint as bytes: a header of fixed length, the state as JSON, the unsent output.
 *
 *   0 u16 magic   2 u16 layout   4 i32 ISS   8 i32 IRS   12 f64 input   20 f64 output   28 u32 octets of JSON
 */
import type { Checkpoint } from '../checkpoint.js'

const MAGIC = 0x5543
const VERSION = 1
const HEADER_LENGTH = 32

export function encodeCheckpoint(checkpoint: Checkpoint): Buffer {
  const json = Buffer.from(JSON.stringify(checkpoint.state ?? null))
  const { unsent } = checkpoint
  const bytes = Buffer.allocUnsafe(HEADER_LENGTH + json.length + unsent.length)
  bytes.writeUInt16BE(MAGIC, 0)
  bytes.writeUInt16BE(VERSION, 2)
  bytes.writeInt32BE(checkpoint.iss | 0, 4)
  bytes.writeInt32BE(checkpoint.irs | 0, 8)
  bytes.writeDoubleBE(checkpoint.input, 12)
  bytes.writeDoubleBE(checkpoint.output, 20)
  bytes.writeUInt32BE(json.length, 28)
  bytes.set(json, HEADER_LENGTH)
  bytes.set(unsent, HEADER_LENGTH + json.length)
  return bytes
}

/** The checkpoint in `bytes`, of which `unsent` is a copy; null when they are none. */
export function decodeCheckpoint(record: Uint8Array): Checkpoint | null {
  const bytes = Buffer.from(record.buffer, record.byteOffset, record.length)
  if (!isCheckpoint(bytes)) return null
  const stateEnd = HEADER_LENGTH + bytes.readUInt32BE(28)
  if (stateEnd > bytes.length) return null
  try {
    return {
      iss: bytes.readInt32BE(4),
      irs: bytes.readInt32BE(8),
      input: bytes.readDoubleBE(12),
      output: bytes.readDoubleBE(20),
      state: JSON.parse(bytes.toString('utf8', HEADER_LENGTH, stateEnd)),
      unsent: Uint8Array.from(bytes.subarray(stateEnd)),
    }
  } catch {
    return null
  }
}

/** The input offset in the record, or -1 when it is of another connection. */
export function inputOffsetOf(record: Uint8Array, iss: number, irs: number): number {
  const bytes = Buffer.from(record.buffer, record.byteOffset, record.length)
  if (!isCheckpoint(bytes)) return -1
  if (bytes.readInt32BE(4) !== (iss | 0) || bytes.readInt32BE(8) !== (irs | 0)) return -1
  return bytes.readDoubleBE(12)
}

function isCheckpoint(bytes: Buffer): boolean {
  if (bytes.length < HEADER_LENGTH) return false
  return bytes.readUInt16BE(0) === MAGIC && bytes.readUInt16BE(2) === VERSION
}
