/**
 * TcbRecord: a Tcb as bytes, for the mirror and for snapshots between nodes (P27, P14).
 *
 *   0  u16  magic       2  u16  layout version     4  u32  continuity     8  f64  stamp
 *   16 i32  each of TCB_INT_FIELDS, then f64 each of TCB_DOUBLE_FIELDS; all big-endian
 *
 * The lists of fields are those of the Tcb itself, so that encoder, decoder and class cannot drift apart. A record comes
 * from a file or from a peer: one that is foreign, of another layout or out of range is no record, never an exception.
 */
import { Parser } from 'binary-parser'
import { TCB_DOUBLE_FIELDS, TCB_FIELDS, TCB_INT_FIELDS, Tcb } from '../stack/index.js'

/** Changes whenever the meaning or the order of a field does. */
export const TCB_RECORD_VERSION = 2

const MAGIC = 0x5553
const HEADER_LENGTH = 16

/** Octets of a record. */
export const TCB_RECORD_LENGTH =
  HEADER_LENGTH + 4 * TCB_INT_FIELDS.length + 8 * TCB_DOUBLE_FIELDS.length

const HIGHEST_STATE = 10
const HIGHEST_SCALE = 14
const HIGHEST_OFFERS = 31

/** A record as decoded; the Tcb is new and belongs to the caller. */
export interface TcbRecord {
  readonly tcb: Tcb
  /** Which run of the snooping node wrote it: a record of another run may lack what crossed the wire in between. */
  readonly continuity: number
  /** Wall-clock milliseconds of the writer. */
  readonly stamp: number
}

// One buffer for all records, so that a turn with many dirty flows allocates nothing.
const bytes = new Uint8Array(TCB_RECORD_LENGTH)
const view = new DataView(bytes.buffer)

/**
 * The record of `tcb`. Borrowed: valid until the next call. `continuity` is a uint32: the incarnation of the snooping
 * process; `stamp` is wall-clock time in milliseconds.
 */
export function encodeTcbRecord(tcb: Tcb, continuity: number, stamp: number): Uint8Array {
  view.setUint16(0, MAGIC)
  view.setUint16(2, TCB_RECORD_VERSION)
  view.setUint32(4, continuity)
  view.setFloat64(8, stamp)
  let at = HEADER_LENGTH
  for (const field of TCB_INT_FIELDS) {
    view.setInt32(at, tcb[field])
    at += 4
  }
  for (const field of TCB_DOUBLE_FIELDS) {
    view.setFloat64(at, tcb[field])
    at += 8
  }
  return bytes
}

const header = new Parser()
  .endianness('big')
  .uint16('magic')
  .uint16('version')
  .uint32('continuity')
  .doublebe('stamp')
const withInts = TCB_INT_FIELDS.reduce<Parser>((parser, field) => parser.int32(field), header)
const schema = TCB_DOUBLE_FIELDS.reduce<Parser>((parser, field) => parser.doublebe(field), withInts)

type Fields = Record<(typeof TCB_FIELDS)[number], number>

interface DecodedRecord extends Fields {
  magic: number
  version: number
  continuity: number
  stamp: number
}

/** The Tcb in `bytes`, or null when they are not a record of this layout. Copies what it takes. */
export function decodeTcbRecord(bytes: Uint8Array): TcbRecord | null {
  if (bytes.length !== TCB_RECORD_LENGTH) return null
  const fields = schema.parse(bytes) as DecodedRecord
  if (fields.magic !== MAGIC || fields.version !== TCB_RECORD_VERSION) return null
  if (!isPlausible(fields)) return null
  const tcb = new Tcb()
  const target = tcb as unknown as Fields
  for (const field of TCB_FIELDS) target[field] = fields[field]
  return { tcb, continuity: fields.continuity, stamp: fields.stamp }
}

// binary-parser takes any value, so each field with a range of its own is checked here.
function isPlausible(fields: DecodedRecord): boolean {
  return (
    within(fields.state, HIGHEST_STATE) &&
    within(fields.sndFinSent, 1) &&
    within(fields.rcvFinSeen, 1) &&
    within(fields.sndScale, HIGHEST_SCALE) &&
    within(fields.rcvScale, HIGHEST_SCALE) &&
    within(fields.ownOffers, HIGHEST_OFFERS) &&
    within(fields.peerOffers, HIGHEST_OFFERS) &&
    within(fields.ecnEcho, 1) &&
    within(fields.sndMss, 0xffff) &&
    within(fields.rcvMss, 0xffff) &&
    Number.isFinite(fields.stamp) &&
    Number.isFinite(fields.tsRecentAt) &&
    Number.isSafeInteger(fields.sndNxtOffset) &&
    Number.isSafeInteger(fields.rcvNxtOffset)
  )
}

function within(value: number, highest: number): boolean {
  return value >= 0 && value <= highest
}
