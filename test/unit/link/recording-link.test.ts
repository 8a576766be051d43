import t from 'tap'
import { CaptureReader } from '../../../stack/link/capture-reader.js'
import { Hub } from '../../../stack/link/hub.js'
import { RecordingLink } from '../../../stack/link/recording-link.js'
import { sealTransport } from '../../../stack/wire/checksum.js'
import { EtherType, emitEthernet } from '../../../stack/wire/ethernet.js'
import { ChecksumState, Frame } from '../../../stack/wire/frame.js'
import { emitIpv4, IpProtocol, parseIpv4Address } from '../../../stack/wire/ipv4.js'
import { prettyBytes } from '../../../stack/wire/pretty.js'
import { emitTcp, Segment, TCP_CHECKSUM_OFFSET } from '../../../stack/wire/tcp.js'

t.test('O2: a recording link writes both directions, with checksums completed', async (t) => {
  const hub = new Hub({ offload: { checksum: true, tso: false, uso: false } })
  const reader = new CaptureReader()
  const calls: string[] = []
  let now = 1000
  const capture = {
    write: (bytes: Uint8Array) => {
      calls.push('write')
      reader.push(bytes)
    },
    sync: () => calls.push('sync'),
    close: () => calls.push('close'),
  }
  const link = new RecordingLink(hub.addPort(7), { now: () => now }, { name: 'us1' }, capture)
  const other = hub.addPort(8)
  link.attach({
    onFrame: () => calls.push('frame'),
    onBatchEnd: () => calls.push('end'),
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
  link.remark('take-over')
  other.transmit(frame)
  link.flush()
  t.ok(link.drain())
  t.same(calls, ['write', 'write', 'sync', 'write', 'frame', 'sync', 'end'])
  t.same([link.mac, link.mtu, link.offload.checksum, link.received], [7, 1500, true, 1])
  const line = 'IP 10.0.0.1.0 > 10.0.0.2.0: Flags [none], seq 0, win 0, length 0'
  for (const at of [1000, 2000]) {
    const record = reader.next()
    t.equal(record?.at, at)
    const { bytes, start, end } = record?.frame ?? new Frame(0)
    t.equal(prettyBytes(bytes.subarray(start, end)), line)
  }
  link.close()
  t.equal(calls.at(-1), 'close')
  t.notOk(link.transmit(frame))
  t.equal(reader.next(), null, 'what was refused is not recorded')
})
