import t from 'tap'
import { completeChecksum } from '../../../stack/link/software-checksum.js'
import { IpOutput } from '../../../stack/net/ip-output.js'
import { etherTypeOf } from '../../../stack/net/solicitation.js'
import { sealTransport, verifyTransport } from '../../../stack/wire/checksum.js'
import { EtherType, emitEthernet } from '../../../stack/wire/ethernet.js'
import { ChecksumState, Frame } from '../../../stack/wire/frame.js'
import { formatIpAddress, parseIpAddress } from '../../../stack/wire/ip-address.js'
import { IpProtocol, parseIpv4Address } from '../../../stack/wire/ipv4.js'
import { emitTcp, Segment, TCP_CHECKSUM_OFFSET } from '../../../stack/wire/tcp.js'
import { emitUdp } from '../../../stack/wire/udp.js'

const IPV4 = { src: parseIpv4Address('10.0.0.1'), dst: parseIpv4Address('10.0.0.2'), header: 20 }
const IPV6 = { src: parseIpAddress('fd77::1'), dst: parseIpAddress('fd77::2'), header: 40 }

/** A frame whose transport checksum is left to the device, with 31 octets of text. */
function partial(protocol: number, { src, dst }: Omit<typeof IPV6, 'header'> = IPV4): Frame {
  const frame = new Frame()
  frame.reset()
  frame.end += 31
  frame.bytes.fill(0x5a, frame.start, frame.end)
  if (protocol === IpProtocol.UDP) {
    emitUdp(frame, 1, 2, src, dst, true)
  } else {
    emitTcp(new Segment(), frame)
    sealTransport(frame, src, dst, IpProtocol.TCP, TCP_CHECKSUM_OFFSET, true)
  }
  new IpOutput({ u32: () => 1 }).emit(frame, src, dst, protocol)
  emitEthernet(frame, 2, 4, etherTypeOf(src))
  return frame
}

for (const protocol of [IpProtocol.TCP, IpProtocol.UDP]) {
  for (const ip of [IPV4, IPV6]) {
    const { src, dst, header } = ip
    t.test(
      `completes what the device would have, ${formatIpAddress(src)}, ${protocol}`,
      async (t) => {
        const frame = partial(protocol, ip)
        const transport = frame.start + 14 + header
        frame.checksum = ChecksumState.NONE
        t.notOk(verifyTransport(frame, transport, frame.end, src, dst, protocol))
        frame.checksum = ChecksumState.PARTIAL
        completeChecksum(frame)
        t.equal(frame.checksum, ChecksumState.NONE)
        t.ok(verifyTransport(frame, transport, frame.end, src, dst, protocol))
      },
    )
  }
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
