import fc from 'fast-check'
import t from 'tap'
import {
  decodeTcbRecord,
  encodeTcbRecord,
  TCB_RECORD_LENGTH,
  TCB_RECORD_VERSION,
} from '../../../cluster/tcb-record.js'
import { TCB_DOUBLE_FIELDS, TCB_FIELDS, TCB_INT_FIELDS, Tcb } from '../../../stack/index.js'

const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })
const offset = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER })
const upTo = (max: number) => fc.integer({ min: 0, max })

const RANGES: Readonly<Partial<Record<string, fc.Arbitrary<number>>>> = {
  state: upTo(10),
  sndFinSent: upTo(1),
  rcvFinSeen: upTo(1),
  sndScale: upTo(14),
  rcvScale: upTo(14),
  ownOffers: upTo(31),
  peerOffers: upTo(31),
  ecnEcho: upTo(1),
  sndMss: upTo(65535),
  rcvMss: upTo(65535),
  tsRecentAt: fc.double({ noNaN: true, noDefaultInfinity: true }),
  sndNxtOffset: offset,
  rcvNxtOffset: offset,
}

const anyTcb = fc
  .record(Object.fromEntries(TCB_FIELDS.map((field) => [field, RANGES[field] ?? int32])))
  .map((fields) => Object.assign(new Tcb(), fields))

const uint32 = fc.integer({ min: 0, max: 2 ** 32 - 1 })
const stamp = fc.double({ noNaN: true, noDefaultInfinity: true })

t.test('P27, P14: decode(encode(tcb)) equals tcb, whatever its fields hold', async (t) => {
  fc.assert(
    fc.property(anyTcb, uint32, stamp, (tcb, continuity, at) => {
      const decoded = decodeTcbRecord(encodeTcbRecord(tcb, continuity, at))
      if (decoded === null || decoded.continuity !== continuity) return false
      if (!Object.is(decoded.stamp, at) || !(decoded.tcb instanceof Tcb)) return false
      return TCB_FIELDS.every((field) => Object.is(decoded.tcb[field], tcb[field]))
    }),
    { numRuns: 2000 },
  )
  t.equal(TCB_RECORD_LENGTH, 16 + 4 * TCB_INT_FIELDS.length + 8 * TCB_DOUBLE_FIELDS.length)
})

t.test('each field has a place of its own', async (t) => {
  const plain = encodeTcbRecord(new Tcb(), 0, 0).slice()
  const seen = new Set<string>()
  for (const field of TCB_FIELDS) {
    const tcb = Object.assign(new Tcb(), { [field]: 1 })
    if (new Tcb()[field] === 1) continue
    const bytes = encodeTcbRecord(tcb, 0, 0)
    const changed = [...plain].flatMap((octet, at) => (octet === bytes[at] ? [] : [at]))
    t.ok(changed.length > 0, `${field} is in the record`)
    seen.add(changed.join())
  }
  t.equal(seen.size, TCB_FIELDS.length)
})

t.test('the record begins with magic, layout version, continuity and stamp', async (t) => {
  const bytes = Buffer.from(encodeTcbRecord(new Tcb(), 0xfedcba98, 1.5))
  t.equal(bytes.readUInt16BE(0), 0x5553)
  t.equal(bytes.readUInt16BE(2), TCB_RECORD_VERSION)
  t.equal(bytes.readUInt32BE(4), 0xfedcba98)
  t.equal(bytes.readDoubleBE(8), 1.5)
})

t.test('P27: what is foreign, cut or out of range is no record', async (t) => {
  const good = encodeTcbRecord(new Tcb(), 7, 1).slice()
  const bad = (change: (view: DataView) => void) => {
    const bytes = good.slice()
    change(new DataView(bytes.buffer))
    return decodeTcbRecord(bytes)
  }
  t.not(decodeTcbRecord(good), null)
  t.equal(decodeTcbRecord(good.subarray(1)), null, 'cut')
  t.equal(decodeTcbRecord(new Uint8Array(TCB_RECORD_LENGTH + 1)), null, 'too long')
  t.equal(decodeTcbRecord(new Uint8Array(0)), null, 'empty')
  t.equal(
    bad((view) => view.setUint16(0, 1)),
    null,
    'another magic',
  )
  t.equal(
    bad((view) => view.setUint16(2, TCB_RECORD_VERSION + 1)),
    null,
    'another layout',
  )
  t.equal(
    bad((view) => view.setInt32(16, 11)),
    null,
    'no such state',
  )
  t.equal(
    bad((view) => view.setInt32(16, -1)),
    null,
    'no such state',
  )
  const scaleAt = 16 + 4 * TCB_INT_FIELDS.indexOf('sndScale')
  t.equal(
    bad((view) => view.setInt32(scaleAt, 15)),
    null,
    'a shift above 14 (RFC 7323 §2.3)',
  )
  const offsetAt = TCB_RECORD_LENGTH - 8
  t.equal(
    bad((view) => view.setFloat64(offsetAt, Number.NaN)),
    null,
    'an offset that is no number',
  )
})

t.test('never throws on any octets', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 2 * TCB_RECORD_LENGTH }), (bytes) => {
      decodeTcbRecord(bytes)
    }),
  )
})
