import fc from 'fast-check'
import t from 'tap'
import { DropReason } from '../../../stack/base/counters.js'
import { internetChecksum } from '../../../stack/wire/checksum.js'
import { Frame } from '../../../stack/wire/frame.js'
import {
  DONT_FRAGMENT,
  directedBroadcast,
  emitIpv4,
  formatIpv4Address,
  type Ipv4Address,
  Ipv4Header,
  inPrefix,
  isBroadcast,
  isLoopback,
  isMulticast,
  isReserved,
  isUnicast,
  LIMITED_BROADCAST,
  MORE_FRAGMENTS,
  parseIpv4,
  parseIpv4Address,
  prefixMask,
} from '../../../stack/wire/ipv4.js'

const SRC = parseIpv4Address('10.77.0.9')
const DST = parseIpv4Address('10.77.0.100')

/** A good datagram with `payload` octets in it. */
function datagram(payload: number): Frame {
  const frame = new Frame()
  frame.reset()
  frame.end = frame.start + payload
  emitIpv4(frame, SRC, DST, 6, 0x1234)
  return frame
}

/** Parses `frame` after `change`, with the header's checksum made good again. */
function afterChange(change: (view: DataView, at: number) => void): DropReason {
  const frame = datagram(8)
  const { view, start } = frame
  change(view, start)
  view.setUint16(start + 10, 0)
  const words = view.getUint8(start) & 0xf
  const headerEnd = Math.min(frame.end, start + 4 * words)
  view.setUint16(start + 10, internetChecksum(view, start, headerEnd))
  return parseIpv4(new Ipv4Header(), view, start, frame.end)
}

t.test('what is emitted is decoded', async (t) => {
  const header = new Ipv4Header()
  const frame = datagram(100)
  t.equal(parseIpv4(header, frame.view, frame.start, frame.end), DropReason.NONE)
  t.match(header, {
    src: SRC,
    dst: DST,
    protocol: 6,
    ttl: 64,
    ident: 0x1234,
    flags: DONT_FRAGMENT,
    fragmentOffset: 0,
    isFragment: false,
    headerLength: 20,
    totalLength: 120,
    dscp: 0,
    ecn: 0,
    headerStart: frame.start,
    payloadStart: frame.start + 20,
    payloadEnd: frame.end,
  })
})

t.test('padding of short Ethernet frames is cut off', async (t) => {
  const header = new Ipv4Header()
  const frame = datagram(6)
  t.equal(parseIpv4(header, frame.view, frame.start, frame.end + 20), DropReason.NONE)
  t.equal(header.payloadEnd, frame.end)
})

t.test('options are skipped', async (t) => {
  const header = new Ipv4Header()
  const frame = datagram(8)
  const { view, start } = frame
  view.setUint8(start, 0x46)
  view.setUint32(start + 20, 0x01010100)
  view.setUint16(start + 10, 0)
  view.setUint16(start + 10, internetChecksum(view, start, start + 24))
  t.equal(parseIpv4(header, view, start, frame.end), DropReason.NONE)
  t.equal(header.payloadEnd - header.payloadStart, 4)
})

t.test('fragments are recognised', async (t) => {
  const header = new Ipv4Header()
  const frame = new Frame()
  for (const [word, offset] of [
    [0x2000, 0],
    [0x00b9, 1480],
    [0x3fff, 65_528],
  ] as const) {
    frame.reset()
    frame.end += 8
    emitIpv4(frame, SRC, DST, 17, 1)
    frame.view.setUint16(frame.start + 6, word)
    frame.view.setUint16(frame.start + 10, 0)
    const sum = internetChecksum(frame.view, frame.start, frame.start + 20)
    frame.view.setUint16(frame.start + 10, sum)
    t.equal(parseIpv4(header, frame.view, frame.start, frame.end), DropReason.NONE)
    t.ok(header.isFragment)
    t.equal(header.fragmentOffset, offset)
    t.equal(header.flags & MORE_FRAGMENTS, word >> 13)
  }
})

t.test('drops each kind of bad header for its reason', async (t) => {
  const header = new Ipv4Header()
  const good = datagram(8)
  const { view, start, end } = good
  t.equal(parseIpv4(header, view, start, start + 19), DropReason.IPV4_TRUNCATED)
  t.equal(parseIpv4(header, view, start, end - 1), DropReason.IPV4_TRUNCATED, 'total > frame')
  const set8 = (at: number, value: number) => (view: DataView, start: number) =>
    view.setUint8(start + at, value)
  const set16 = (at: number, value: number) => (view: DataView, start: number) =>
    view.setUint16(start + at, value)
  t.equal(afterChange(set8(0, 0x65)), DropReason.IPV4_BAD_VERSION)
  t.equal(afterChange(set8(0, 0x44)), DropReason.IPV4_BAD_HEADER_LENGTH)
  t.equal(afterChange(set8(0, 0x40)), DropReason.IPV4_BAD_HEADER_LENGTH)
  t.equal(afterChange(set8(0, 0x4f)), DropReason.IPV4_TRUNCATED, 'header > frame')
  t.equal(afterChange(set16(2, 19)), DropReason.IPV4_BAD_TOTAL_LENGTH)
  t.equal(afterChange(set16(2, 0)), DropReason.IPV4_BAD_TOTAL_LENGTH)
  t.equal(afterChange(set8(8, 0)), DropReason.IPV4_TTL_ZERO)
  t.equal(afterChange(set8(8, 1)), DropReason.NONE)
  view.setUint8(start + 8, 63)
  t.equal(parseIpv4(header, view, start, end), DropReason.IPV4_BAD_CHECKSUM)
})

t.test('addresses survive formatting and parsing', async (t) => {
  const any = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }).map((n) => n as Ipv4Address)
  fc.assert(fc.property(any, (a) => parseIpv4Address(formatIpv4Address(a)) === a))
  t.equal(formatIpv4Address(LIMITED_BROADCAST), '255.255.255.255')
  for (const text of [
    '',
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.256',
    '1.2.3.-1',
    '1.2.3.04',
    'a.b.c.d',
    '1.2.3.4 ',
    '1..2.3',
  ]) {
    t.throws(
      () => parseIpv4Address(text, 'binding.address'),
      { code: 'ERR_INVALID_ADDRESS', message: /^binding\.address: / },
      text,
    )
  }
})

t.test('kinds of addresses', async (t) => {
  const is = (test: (a: Ipv4Address) => boolean, text: string) => test(parseIpv4Address(text))
  t.ok(is(isMulticast, '224.0.0.1'))
  t.ok(is(isMulticast, '239.255.255.255'))
  t.notOk(is(isMulticast, '240.0.0.0'))
  t.ok(is(isReserved, '240.0.0.0'))
  t.ok(is(isLoopback, '127.0.0.1'))
  t.ok(is(isUnicast, '10.0.0.1'))
  t.ok(is(isUnicast, '223.255.255.254'))
  for (const text of ['0.0.0.0', '0.1.2.3', '127.0.0.1', '224.0.0.1', '255.255.255.255']) {
    t.notOk(is(isUnicast, text), text)
  }
})

t.test('prefixes and broadcast addresses', async (t) => {
  t.equal(prefixMask(0), 0)
  t.equal(prefixMask(24) >>> 0, 0xffffff00)
  t.equal(prefixMask(32), -1)
  t.ok(inPrefix(SRC, DST, 24))
  t.notOk(inPrefix(SRC, parseIpv4Address('10.77.1.9'), 24))
  t.ok(inPrefix(SRC, LIMITED_BROADCAST, 0))
  t.equal(formatIpv4Address(directedBroadcast(SRC, 24)), '10.77.0.255')
  t.equal(directedBroadcast(SRC, 31), LIMITED_BROADCAST)
  t.ok(isBroadcast(parseIpv4Address('10.77.0.255'), SRC, 24))
  t.ok(isBroadcast(LIMITED_BROADCAST, SRC, 24))
  t.notOk(isBroadcast(DST, SRC, 24))
  t.notOk(isBroadcast(SRC, SRC, 32))
})
