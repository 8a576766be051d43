import fc from 'fast-check'
import t from 'tap'
import { Hub } from '../../../stack/link/hub.js'
import { pcapFileHeader, pcapRecord, RecordingLink, readPcap } from '../../../stack/link/pcap.js'
import { fromHex, toHex } from '../../../stack/wire/bytes.js'
import { sealTransport } from '../../../stack/wire/checksum.js'
import { EtherType, emitEthernet } from '../../../stack/wire/ethernet.js'
import { ChecksumState, Frame } from '../../../stack/wire/frame.js'
import { emitIpv4, IpProtocol, parseIpv4Address } from '../../../stack/wire/ipv4.js'
import { prettyBytes } from '../../../stack/wire/pretty.js'
import { emitTcp, Segment, TCP_CHECKSUM_OFFSET } from '../../../stack/wire/tcp.js'

function concat(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]))
}

t.test('the header of a capture file, octet by octet', async (t) => {
  t.equal(toHex(pcapFileHeader()), '4d3cb2a10200040000000000000000000000040001000000')
})

t.test('records survive writing and reading, times to the microsecond', async (t) => {
  const record = fc.record({
    at: fc.double({ min: 0, max: 4e12, noNaN: true }),
    bytes: fc.uint8Array({ maxLength: 100 }),
  })
  fc.assert(
    fc.property(fc.array(record, { maxLength: 8 }), (records) => {
      const parts = records.map((r) => pcapRecord(r.bytes, 0, r.bytes.length, r.at))
      const read = readPcap(concat([pcapFileHeader(), ...parts]))
      return (
        read.length === records.length &&
        read.every((r, i) => {
          const original = records[i]
          return (
            original !== undefined &&
            Math.abs(r.at - original.at) < 0.002 &&
            r.originalLength === original.bytes.length &&
            toHex(r.bytes) === toHex(original.bytes)
          )
        })
      )
    }),
  )
  t.pass('holds for all samples')
})

t.test('only the frame itself is written', async (t) => {
  const file = concat([pcapFileHeader(), pcapRecord(Uint8Array.of(1, 2, 3, 4), 1, 3, 1500.25)])
  t.match(readPcap(file), [{ at: 1500.25, originalLength: 2 }])
  t.equal(toHex(file.subarray(24)), '01000000 9035d11d 02000000 02000000 0203'.replaceAll(' ', ''))
})

t.test('reads files of big-endian machines with microseconds', async (t) => {
  const header = 'a1b2c3d4 0002 0004 00000000 00000000 00040000 00000001'
  const record = '00000001 0003d090 00000002 00000010 cafe'
  const [read, ...others] = readPcap(fromHex(header + record))
  t.equal(others.length, 0)
  t.match(read, { at: 1250, originalLength: 16 })
  t.equal(toHex(read?.bytes ?? new Uint8Array()), 'cafe')
})

t.test('a cut end is let go; anything else wrong is an error that says so', async (t) => {
  const file = concat([pcapFileHeader(), pcapRecord(new Uint8Array(10), 0, 10, 0)])
  t.equal(readPcap(file.subarray(0, -1)).length, 0)
  t.equal(readPcap(file.subarray(0, 30)).length, 0)
  const invalid = { code: 'ERR_INVALID_PCAP' }
  t.throws(() => readPcap(new Uint8Array(3)), invalid)
  t.throws(() => readPcap(new Uint8Array(24)), invalid)
  const wifi = pcapFileHeader()
  wifi[20] = 105
  t.throws(() => readPcap(wifi), { ...invalid, message: /link type 105/ })
  const damaged = file.slice()
  damaged.fill(0xff, 32, 36)
  t.throws(() => readPcap(damaged), { ...invalid, message: /record 1 / })
})

t.test('a recording link writes both directions, with checksums completed', async (t) => {
  const hub = new Hub({ offload: { checksum: true, tso: false, uso: false } })
  const parts: Uint8Array[] = []
  let now = 1000
  const link = new RecordingLink(hub.addPort(7), { now: () => now }, (bytes) => {
    parts.push(bytes)
  })
  const other = hub.addPort(8)
  let batches = 0
  let heard = 0
  link.attach({
    onFrame: () => {
      heard++
    },
    onBatchEnd: () => {
      batches++
    },
  })
  const frame = new Frame()
  frame.reset()
  const [src, dst] = [parseIpv4Address('10.0.0.1'), parseIpv4Address('10.0.0.2')]
  emitTcp(new Segment(), frame)
  sealTransport(frame, src, dst, IpProtocol.TCP, TCP_CHECKSUM_OFFSET, true)
  emitIpv4(frame, src, dst, IpProtocol.TCP, 1)
  emitEthernet(frame, 2, 4, EtherType.IPV4)
  t.ok(link.transmit(frame))
  t.equal(frame.checksum, ChecksumState.PARTIAL, 'the frame itself is left to the device')
  now = 2000
  other.transmit(frame)
  link.flush()
  hub.deliver()
  t.same([link.mac, link.mtu, link.offload.checksum, heard, batches], [7, 1500, true, 1, 1])
  const records = readPcap(concat(parts))
  t.same(
    records.map((r) => r.at),
    [1000, 2000],
  )
  const line = 'IP 10.0.0.1.0 > 10.0.0.2.0: Flags [none], seq 0, win 0, length 0'
  t.same(
    records.map((r) => prettyBytes(r.bytes)),
    [line, line],
  )
  link.close()
  t.notOk(link.transmit(frame))
  t.equal(parts.length, 3, 'what was refused is not recorded')
})
