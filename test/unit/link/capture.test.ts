import fc from 'fast-check'
import t from 'tap'
import { CaptureReader, type CaptureRecord } from '../../../stack/link/capture-reader.js'
import { captureFrame, captureHeader } from '../../../stack/link/pcapng.js'
import { fromHex, toHex } from '../../../stack/wire/bytes.js'

interface Read {
  readonly at: number
  readonly hex: string
  readonly originalLength: number
  readonly linkType: number
  readonly interfaceIndex: number
}

function copyOf(record: CaptureRecord): Read {
  const { frame, at, originalLength, linkType, interfaceIndex } = record
  const hex = toHex(frame.bytes.subarray(frame.start, frame.end))
  return { at, hex, originalLength, linkType, interfaceIndex }
}

/** Pushes `file` in pieces of `piece` octets and takes every record. */
function readAll(
  file: Uint8Array,
  piece = file.length,
): { records: Read[]; reader: CaptureReader } {
  const reader = new CaptureReader()
  const records: Read[] = []
  for (let at = 0; at < file.length; at += Math.max(piece, 1)) {
    reader.push(file.subarray(at, at + piece))
    for (let r = reader.next(); r !== null; r = reader.next()) records.push(copyOf(r))
  }
  return { records, reader }
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]))
}

const hex = (text: string): Uint8Array => fromHex(text.replace(/\s/g, ''))

t.test(
  'O2: what is written is read again, times to the microsecond, in pieces of any size',
  async (t) => {
    const frame = fc.record({
      at: fc.double({ min: 0, max: 4e12, noNaN: true }),
      bytes: fc.uint8Array({ maxLength: 100 }),
      comments: fc.array(fc.string({ maxLength: 9 }), { maxLength: 2 }),
    })
    fc.assert(
      fc.property(
        fc.array(frame, { maxLength: 8 }),
        fc.integer({ min: 1, max: 64 }),
        (frames, piece) => {
          const file = concat([
            captureHeader({ name: 'us1', description: 'node 1' }),
            ...frames.map((f) => captureFrame(f.bytes, 0, f.bytes.length, f.at, f.comments)),
          ])
          const { records, reader } = readAll(file, piece)
          return (
            reader.pending === 0 &&
            records.length === frames.length &&
            records.every((r, i) => {
              const written = frames[i]
              if (written === undefined) return false
              return (
                Math.abs(r.at - written.at) < 0.002 &&
                r.hex === toHex(written.bytes) &&
                r.linkType === 1
              )
            })
          )
        },
      ),
    )
    t.pass('holds for all samples')
  },
)

t.test('only the frame itself is written', async (t) => {
  const [r] = readAll(
    concat([
      captureHeader({ name: 'us1' }),
      captureFrame(Uint8Array.of(1, 2, 3, 4), 1, 3, 1500.25),
    ]),
  ).records
  t.match(r, { at: 1500.25, hex: '0203', originalLength: 2 })
})

t.test(
  'O2: pcap in either byte order, with micro- and nanoseconds, and in the modified form',
  async (t) => {
    const frame = 'cafe'
    const big = hex(
      `a1b2c3d4 0002 0004 00000000 00000000 00040000 00000071 00000001 0003d090 00000002 00000010 ${frame}`,
    )
    t.match(readAll(big).records, [{ at: 1250, hex: frame, originalLength: 16, linkType: 113 }])
    const little = hex(
      `4d3cb2a1 0200 0400 00000000 00000000 00000400 01000000 01000000 80b2e60e 02000000 02000000 ${frame}`,
    )
    t.match(readAll(little, 1).records, [{ at: 1250, hex: frame, originalLength: 2, linkType: 1 }])
    const modified = hex(
      `34cdb2a1 0200 0400 00000000 00000000 00000400 01000000 01000000 00000000 02000000 02000000 0000000000000000 ${frame}`,
    )
    t.match(readAll(modified).records, [{ at: 1000, hex: frame }])
  },
)

t.test(
  'the upper bits of a link type tell of a check sequence, and are no link type',
  async (t) => {
    const file = hex(
      'd4c3b2a1 0200 0400 00000000 00000000 00000400 01000030 00000000 00000000 00000000 00000000',
    )
    t.match(readAll(file).records, [{ linkType: 1, hex: '' }])
  },
)

const SECTION_LE = '0a0d0d0a 1c000000 4d3c2b1a 01000000 ffffffffffffffff 1c000000'
const SECTION_BE = '0a0d0d0a 0000001c 1a2b3c4d 00010000 ffffffffffffffff 0000001c'

t.test(
  'O2: sections of both byte orders in one file, each with interfaces of its own',
  async (t) => {
    const file = hex(`
    ${SECTION_LE}
    01000000 14000000 6500 0000 00000000 14000000
    01000000 20000000 0100 0000 00000000 0900 0100 03000000 00000000 20000000
    06000000 24000000 01000000 00000000 e8030000 02000000 02000000 aabb0000 24000000
    ${SECTION_BE}
    00000001 00000014 0071 0000 00000002 00000014
    00000003 00000014 00000004 ccdd0000 00000014
    00000002 00000024 0000 0005 00000000 000f4240 00000002 00000003 eeff0000 00000024
    00000bad 00000010 00007ed9 00000010
  `)
    const { records, reader } = readAll(file, 7)
    t.match(records, [
      { at: 1000, hex: 'aabb', linkType: 1, interfaceIndex: 1, originalLength: 2 },
      { at: Number.NaN, hex: 'ccdd', linkType: 113, originalLength: 4 },
      { at: 1000, hex: 'eeff', linkType: 113, interfaceIndex: 0, originalLength: 3 },
    ])
    t.equal(reader.customBlocks, 1)
  },
)

t.test('time stamps in powers of two, and with an offset in seconds', async (t) => {
  const file = hex(`
    ${SECTION_LE}
    01000000 2c000000 0100 0000 00000000 0900 0100 8a000000 0e00 0800 0200000000000000 00000000 2c000000
    06000000 20000000 00000000 00000000 00080000 00000000 00000000 20000000
  `)
  t.match(readAll(file).records, [{ at: 4000 }])
})

t.test('what is damaged is refused with the octet where; a cut end is not damage', async (t) => {
  const invalid = { code: 'ERR_INVALID_CAPTURE' }
  const whole = concat([captureHeader({ name: 'a' }), captureFrame(new Uint8Array(10), 0, 10, 0)])
  const cut = readAll(whole.subarray(0, -1))
  t.equal(cut.records.length, 0)
  t.ok(cut.reader.pending > 0, 'and it can be told')
  t.throws(() => readAll(hex('0001020304')), { ...invalid, message: /octet 0.*neither/ })
  t.throws(() => readAll(hex(`${SECTION_LE} 06000000 0d000000 00000000`)), {
    ...invalid,
    message: /octet 28/,
  })
  t.throws(() => readAll(hex(`${SECTION_LE} 03000000 14000000 04000000 ccdd0000 14000000`)), {
    ...invalid,
    message: /interface 0, which is not described/,
  })
  t.throws(() => readAll(hex('0a0d0d0a 1c000000 00000000')), {
    ...invalid,
    message: /byte-order magic/,
  })
  const huge = hex(
    'd4c3b2a1 0200 0400 00000000 00000000 00000400 01000000 00000000 00000000 ffffff7f 00000000',
  )
  t.throws(() => readAll(huge), { ...invalid, message: /octet 24: a record claims/ })
  const lying = hex(`${SECTION_LE} 01000000 14000000 0100 0000 00000000 14000000
    06000000 20000000 00000000 00000000 00000000 40000000 40000000 20000000`)
  t.throws(() => readAll(lying), { ...invalid, message: /claims 64 octets of a smaller block/ })
})

t.test('random octets behind a good head end in an error or in nothing', async (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (junk) => {
      try {
        readAll(concat([captureHeader({ name: 'a' }), junk]))
        return true
      } catch (error) {
        return (error as { code?: string }).code === 'ERR_INVALID_CAPTURE'
      }
    }),
  )
  t.pass('holds for all samples')
})
