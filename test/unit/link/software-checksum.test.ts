import t from 'tap'
import { completeChecksum } from '../../../stack/link/software-checksum.js'
import { sealTransport, verifyTransport } from '../../../stack/wire/checksum.js'
import { EtherType, emitEthernet } from '../../../stack/wire/ethernet.js'
import { ChecksumState, Frame } from '../../../stack/wire/frame.js'
import { emitIpv4, IpProtocol, parseIpv4Address } from '../../../stack/wire/ipv4.js'
import { emitTcp, Segment, TCP_CHECKSUM_OFFSET } from '../../../stack/wire/tcp.js'
import { emitUdp } from '../../../stack/wire/udp.js'

const SRC = parseIpv4Address('10.0.0.1')
const DST = parseIpv4Address('10.0.0.2')

/** A frame whose transport checksum is left to the device, with 31 octets of text. */
function partial(protocol: number): Frame {
  const frame = new Frame()
  frame.reset()
  frame.end += 31
  frame.bytes.fill(0x5a, frame.start, frame.end)
  if (protocol === IpProtocol.UDP) {
    emitUdp(frame, 1, 2, SRC, DST, true)
  } else {
    emitTcp(new Segment(), frame)
    sealTransport(frame, SRC, DST, IpProtocol.TCP, TCP_CHECKSUM_OFFSET, true)
  }
  emitIpv4(frame, SRC, DST, protocol, 1)
  emitEthernet(frame, 2, 4, EtherType.IPV4)
  return frame
}

for (const protocol of [IpProtocol.TCP, IpProtocol.UDP]) {
  t.test(`completes what the device would have, protocol ${protocol}`, async (t) => {
    const frame = partial(protocol)
    const transport = frame.start + 34
    frame.checksum = ChecksumState.NONE
    t.notOk(verifyTransport(frame, transport, frame.end, SRC, DST, protocol))
    frame.checksum = ChecksumState.PARTIAL
    completeChecksum(frame)
    t.equal(frame.checksum, ChecksumState.NONE)
    t.ok(verifyTransport(frame, transport, frame.end, SRC, DST, protocol))
  })
}

t.test('frames that cannot be read, or that nobody vouched for, stay as they are', async (t) => {
  const damage: readonly ((frame: Frame) => void)[] = [
    (frame) => frame.view.setUint16(frame.start + 12, EtherType.ARP),
    (frame) => frame.view.setUint8(frame.start + 14, 0x65),
    (frame) => {
      frame.end = frame.start + 10
    },
    (frame) => {
      frame.checksum = ChecksumState.NONE
    },
  ]
  for (const change of damage) {
    const frame = partial(IpProtocol.TCP)
    change(frame)
    const before = frame.bytes.slice()
    const state = frame.checksum
    completeChecksum(frame)
    t.same(frame.bytes, before)
    t.equal(frame.checksum, state)
  }
})
