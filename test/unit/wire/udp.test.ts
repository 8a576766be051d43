import t from 'tap'
import { DropReason } from '../../../stack/base/counters.js'
import { ChecksumState, Frame } from '../../../stack/wire/frame.js'
import { parseIpv4Address } from '../../../stack/wire/ipv4.js'
import { emitUdp, parseUdp, UdpHeader } from '../../../stack/wire/udp.js'

const SRC = parseIpv4Address('10.77.0.9')
const DST = parseIpv4Address('10.77.0.100')

function datagram(text: string): Frame {
  const frame = new Frame()
  frame.reset()
  const { written } = new TextEncoder().encodeInto(text, frame.bytes.subarray(frame.start))
  frame.end = frame.start + written
  emitUdp(frame, 4000, 53, SRC, DST, false)
  return frame
}

t.test('what is emitted is decoded, padding cut off', async (t) => {
  const frame = datagram('hello')
  const header = new UdpHeader()
  t.equal(parseUdp(header, frame, frame.start, frame.end + 9, SRC, DST), DropReason.NONE)
  t.match(header, { srcPort: 4000, dstPort: 53, length: 13 })
  t.equal(header.payloadStart, frame.start + 8)
  t.equal(header.payloadEnd, frame.end)
})

t.test('drops impossible lengths and wrong checksums; checksum 0 is no checksum', async (t) => {
  const header = new UdpHeader()
  const frame = datagram('hello')
  const { view, start, end } = frame
  const reason = () => parseUdp(header, frame, start, end, SRC, DST)
  t.equal(parseUdp(header, frame, start, start + 7, SRC, DST), DropReason.UDP_MALFORMED)
  view.setUint16(start + 4, 7)
  t.equal(reason(), DropReason.UDP_MALFORMED)
  view.setUint16(start + 4, 14)
  t.equal(reason(), DropReason.UDP_MALFORMED)
  view.setUint16(start + 4, 13)
  view.setUint8(start + 8, 0)
  t.equal(reason(), DropReason.UDP_BAD_CHECKSUM)
  view.setUint16(start + 6, 0)
  t.equal(reason(), DropReason.NONE)
})

t.test('a checksum that comes out as zero is sent as ones', async (t) => {
  const header = new UdpHeader()
  const frame = datagram('\0\0')
  // With the checksum's own complement for text, the sum of all words is all ones.
  const rest = frame.view.getUint16(frame.start + 6)
  frame.start += 8
  frame.view.setUint16(frame.start, rest)
  emitUdp(frame, 4000, 53, SRC, DST, false)
  t.equal(frame.view.getUint16(frame.start + 6), 0xffff)
  t.equal(parseUdp(header, frame, frame.start, frame.end, SRC, DST), DropReason.NONE)
})

t.test('offload leaves the sum to the device', async (t) => {
  const frame = datagram('x')
  frame.start += 8
  emitUdp(frame, 4000, 53, SRC, DST, true)
  t.equal(frame.checksum, ChecksumState.PARTIAL)
  t.equal(parseUdp(new UdpHeader(), frame, frame.start, frame.end, SRC, DST), DropReason.NONE)
})
