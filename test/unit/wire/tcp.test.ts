import fc from 'fast-check'
import t from 'tap'
import { DropReason } from '../../../stack/base/counters.js'
import { seq } from '../../../stack/base/seq.js'
import { fromHex } from '../../../stack/wire/bytes.js'
import { Frame } from '../../../stack/wire/frame.js'
import {
  ABSENT,
  ACK,
  emitTcp,
  FIN,
  MAX_SACK_BLOCKS,
  PSH,
  parseTcp,
  RST,
  Segment,
  SYN,
  tcpOptionsLength,
} from '../../../stack/wire/tcp.js'

function frameOf(hex: string): Frame {
  const frame = new Frame()
  frame.reset()
  const bytes = fromHex(hex)
  frame.bytes.set(bytes, frame.start)
  frame.end = frame.start + bytes.length
  return frame
}

/** A header with these flags and options. */
function withOptions(options: string, flags = SYN): Frame {
  const offset = ((20 + fromHex(options).length) >> 2).toString(16)
  const flagHex = flags.toString(16).padStart(2, '0')
  return frameOf(`a8ca0050 00000001 00000002 ${offset}0${flagHex}ffff 00000000 ${options}`)
}

function parsed(frame: Frame): Segment {
  const segment = new Segment()
  const reason = parseTcp(segment, frame, frame.start, frame.end)
  if (reason !== DropReason.NONE) throw new Error(`dropped: ${reason}`)
  return segment
}

t.test('decodes the SYN of a Linux client', async (t) => {
  const segment = parsed(withOptions('020405b4 0402 080a 00000001ffffffff 01 030307'))
  t.match(segment, {
    srcPort: 43210,
    dstPort: 80,
    seq: 1,
    ack: 2,
    flags: SYN,
    wnd: 65535,
    mss: 1460,
    sackPermitted: true,
    hasTimestamps: true,
    tsVal: 1,
    tsEcr: -1,
    windowScale: 7,
    sackCount: 0,
    textLength: 0,
    len: 1,
  })
})

t.test('RFC 9293 §3.2: unknown options are skipped, impossible ones end the list', async (t) => {
  t.equal(parsed(withOptions('fe04aaaa 020405b4')).mss, 1460, 'MUST-6')
  t.equal(parsed(withOptions('00000000 020405b4')).mss, ABSENT, 'end of the list')
  t.equal(parsed(withOptions('fe000000 020405b4')).mss, ABSENT, 'length 0, MUST-7')
  t.equal(parsed(withOptions('fe010101 020405b4')).mss, ABSENT, 'length 1')
  t.equal(parsed(withOptions('fe200101 020405b4')).mss, ABSENT, 'longer than the header')
  t.equal(parsed(withOptions('010101fe')).mss, ABSENT, 'no length at all')
  t.equal(parsed(withOptions('02030505 01010101')).mss, ABSENT, 'an MSS of three octets')
})

t.test('options of a SYN count in a SYN only', async (t) => {
  const segment = parsed(withOptions('020405b4 01030307 04020101', ACK))
  t.match(segment, { mss: ABSENT, windowScale: ABSENT, sackPermitted: false })
})

t.test('a window scale is read as it stands: the folds take one above 14 for 14', async (t) => {
  t.equal(parsed(withOptions('010303ff')).windowScale, 255)
})

t.test('SACK blocks, and SACK options of an impossible length', async (t) => {
  const segment = parsed(withOptions('0101 0512 0000000100000002 fffffffe00000005', ACK))
  t.equal(segment.sackCount, 2)
  t.same([...segment.sackEdges.slice(0, 4)], [1, 2, -2, 5])
  t.equal(parsed(withOptions('050b 0000000100000002 00 01', ACK)).sackCount, 0)
  t.equal(parsed(withOptions('0502 0101', ACK)).sackCount, 0)
})

t.test('drops what has no whole header', async (t) => {
  const segment = new Segment()
  const frame = withOptions('')
  const { start, end } = frame
  t.equal(parseTcp(segment, frame, start, end - 1), DropReason.TCP_TRUNCATED)
  frame.view.setUint8(start + 12, 0x40)
  t.equal(parseTcp(segment, frame, start, end), DropReason.TCP_BAD_DATA_OFFSET)
  frame.view.setUint8(start + 12, 0x60)
  t.equal(parseTcp(segment, frame, start, end), DropReason.TCP_TRUNCATED)
})

t.test('SEG.LEN counts SYN and FIN: RFC 9293 §3.3.1', async (t) => {
  const segment = new Segment()
  for (const [flags, len] of [
    [ACK, 10],
    [SYN, 11],
    [FIN | ACK, 11],
    [SYN | FIN, 12],
    [RST | PSH, 10],
  ] as const) {
    segment.flags = flags
    segment.textEnd = 10
    t.equal(segment.len, len)
  }
})

t.test('options of the segment before leave no trace', async (t) => {
  const segment = parsed(withOptions('020405b4 01030307 04020101'))
  const plain = withOptions('', ACK)
  parseTcp(segment, plain, plain.start, plain.end)
  t.match(segment, { mss: ABSENT, windowScale: ABSENT, sackPermitted: false, hasTimestamps: false })
  segment.clear()
  t.equal(tcpOptionsLength(segment), 0)
})

t.test('no more SACK blocks than there is room for', async (t) => {
  const segment = new Segment()
  for (let i = 0; i < 2 * MAX_SACK_BLOCKS; i++) segment.addSack(seq(i), seq(i + 1))
  t.equal(segment.sackCount, MAX_SACK_BLOCKS)
})

const word = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })
const port = fc.nat(0xffff)

t.test('what is emitted is decoded, with every combination of options', async (t) => {
  const frame = new Frame()
  const wanted = new Segment()
  fc.assert(
    fc.property(
      fc.record({ a: port, b: port, seq: word, ack: word, wnd: port, urgent: port }),
      fc.record({ flags: fc.nat(255), text: fc.nat(1460), tsVal: word, tsEcr: word }),
      fc.record({ mss: port, scale: fc.nat(14), blocks: fc.array(word, { maxLength: 3 }) }),
      fc.record({ mss: fc.boolean(), scale: fc.boolean(), sack: fc.boolean(), ts: fc.boolean() }),
      (header, rest, options, has) => {
        const syn = (rest.flags & SYN) !== 0
        wanted.clear()
        wanted.srcPort = header.a
        wanted.dstPort = header.b
        wanted.seq = seq(header.seq)
        wanted.ack = seq(header.ack)
        wanted.wnd = header.wnd
        wanted.urgentPointer = header.urgent
        wanted.flags = rest.flags
        if (syn && has.mss) wanted.mss = options.mss
        if (syn && has.scale) wanted.windowScale = options.scale
        wanted.sackPermitted = syn && has.sack
        wanted.hasTimestamps = has.ts
        wanted.tsVal = has.ts ? rest.tsVal : 0
        wanted.tsEcr = has.ts ? rest.tsEcr : 0
        if (!syn) for (const edge of options.blocks) wanted.addSack(seq(edge), seq(edge + 1))
        frame.reset()
        frame.end += rest.text
        const textStart = frame.start
        emitTcp(wanted, frame)
        const length = textStart - frame.start
        if (length !== 20 + tcpOptionsLength(wanted) || length % 4 !== 0 || length > 60)
          return false
        const got = parsed(frame)
        wanted.text = frame.bytes
        wanted.textStart = textStart
        wanted.textEnd = frame.end
        for (let i = 2 * got.sackCount; i < got.sackEdges.length; i++) wanted.sackEdges[i] = 0
        return t.same({ ...got }, { ...wanted })
      },
    ),
    { numRuns: 300 },
  )
})
