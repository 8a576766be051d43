import t from 'tap'
import { DropReason } from '../../../stack/base/counters.js'
import { IpOutput } from '../../../stack/net/ip-output.js'
import {
  Destination,
  destinationKind,
  isOwnBroadcast,
  receiveIpv4,
} from '../../../stack/net/ipv4.js'
import { Frame } from '../../../stack/wire/frame.js'
import { DONT_FRAGMENT, Ipv4Header, parseIpv4Address as ip } from '../../../stack/wire/ipv4.js'

const LOCAL = ip('10.77.0.100')

function datagramFrom(output: IpOutput, src: string): Frame {
  const frame = new Frame()
  frame.reset()
  frame.end += 8
  output.emit(frame, ip(src), LOCAL, 17, 1)
  return frame
}

t.test('each datagram has the next Identification and may not be fragmented', async (t) => {
  const output = new IpOutput({ u32: () => 0xabcd_fffe })
  const header = new Ipv4Header()
  const idents: number[] = []
  for (let i = 0; i < 3; i++) {
    const frame = datagramFrom(output, '10.77.0.9')
    t.equal(receiveIpv4(header, frame, frame.start, frame.end), DropReason.NONE)
    t.match(header, { flags: DONT_FRAGMENT, ttl: 64, ecn: 1, totalLength: 28, protocol: 17 })
    idents.push(header.ident)
  }
  t.same(idents, [0xffff, 0, 1])
})

t.test('a source must be one host: RFC 1122 §3.2.1.3', async (t) => {
  const output = new IpOutput({ u32: () => 0 })
  const header = new Ipv4Header()
  for (const src of ['0.0.0.0', '127.0.0.1', '224.0.0.5', '255.255.255.255', '240.0.0.1']) {
    const frame = datagramFrom(output, src)
    t.equal(receiveIpv4(header, frame, frame.start, frame.end), DropReason.IPV4_BAD_SOURCE, src)
  }
  const frame = datagramFrom(output, '10.77.0.9')
  t.equal(receiveIpv4(header, frame, frame.start, frame.end - 1), DropReason.IPV4_TRUNCATED)
})

t.test('kinds of destinations', async (t) => {
  const kind = (dst: string) => destinationKind(ip(dst), LOCAL, 24)
  t.equal(kind('10.77.0.100'), Destination.OURS)
  t.equal(kind('10.77.0.101'), Destination.OTHER)
  t.equal(kind('10.77.0.255'), Destination.BROADCAST)
  t.equal(kind('255.255.255.255'), Destination.BROADCAST)
  t.equal(kind('10.77.1.255'), Destination.OTHER, "another subnet's")
  t.equal(kind('224.0.0.1'), Destination.MULTICAST)
  t.ok(isOwnBroadcast(ip('10.77.0.255'), LOCAL, 24))
  t.notOk(isOwnBroadcast(LOCAL, LOCAL, 24))
})
