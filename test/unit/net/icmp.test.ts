import t from 'tap'
import { DropReason } from '../../../stack/base/counters.js'
import {
  emitEchoReply,
  emitIcmpError,
  emitPortUnreachable,
  emitProtocolUnreachable,
  emitReassemblyTimeExceeded,
  mayReportError,
  parseQuotedDatagram,
  QuotedDatagram,
  TokenBucket,
} from '../../../stack/net/icmp.js'
import { toHex } from '../../../stack/wire/bytes.js'
import { internetChecksum } from '../../../stack/wire/checksum.js'
import { BROADCAST_MAC } from '../../../stack/wire/ethernet.js'
import { Frame } from '../../../stack/wire/frame.js'
import { emitIcmpv4, IcmpMessage, IcmpType, parseIcmpv4 } from '../../../stack/wire/icmpv4.js'
import {
  emitIpv4,
  IpProtocol,
  Ipv4Header,
  MORE_FRAGMENTS,
  parseIpv4,
  parseIpv4Address,
} from '../../../stack/wire/ipv4.js'

const CLIENT = parseIpv4Address('10.77.0.9')
const SERVER = parseIpv4Address('10.77.0.100')
const MAC = 0x0200_0000_0064

interface Datagram {
  readonly frame: Frame
  readonly ip: Ipv4Header
}

/** A datagram from client to server whose payload counts upwards, after `change` of its payload. */
function datagram(
  protocol: number,
  length: number,
  { src = CLIENT, dst = SERVER, fragment = 0 } = {},
): Datagram {
  const frame = new Frame()
  frame.reset()
  frame.end = frame.start + length
  for (let i = 0; i < length; i++) frame.bytes[frame.start + i] = i
  emitIpv4(frame, src, dst, protocol, 1)
  frame.view.setUint16(frame.start + 6, fragment)
  frame.view.setUint16(frame.start + 10, 0)
  const sum = internetChecksum(frame.view, frame.start, frame.start + 20)
  frame.view.setUint16(frame.start + 10, sum)
  const ip = new Ipv4Header()
  if (parseIpv4(ip, frame.view, frame.start, frame.end) !== DropReason.NONE) throw new Error('bad')
  return { frame, ip }
}

function message(frame: Frame): IcmpMessage {
  const parsed = new IcmpMessage()
  const reason = parseIcmpv4(parsed, frame.view, frame.start, frame.end)
  if (reason !== DropReason.NONE) throw new Error(`dropped: ${reason}`)
  return parsed
}

t.test('an echo reply returns identifier, sequence number and data', async (t) => {
  const request = new Frame()
  request.reset()
  request.end += 300
  for (let at = request.start; at < request.end; at++) request.bytes[at] = at * 7
  emitIcmpv4(request, IcmpType.ECHO_REQUEST, 0, 0x12345678)
  const out = new Frame()
  const asked = message(request)
  t.ok(emitEchoReply(out, request, asked))
  const reply = message(out)
  t.match(reply, { type: IcmpType.ECHO_REPLY, code: 0, rest: 0x12345678 })
  t.equal(
    toHex(out.bytes, reply.payloadStart, reply.payloadEnd),
    toHex(request.bytes, asked.payloadStart, asked.payloadEnd),
  )
})

t.test('only echo requests are answered, and only when the data fits', async (t) => {
  const frame = new Frame()
  frame.reset()
  frame.end += 100
  emitIcmpv4(frame, IcmpType.ECHO_REQUEST, 0, 0)
  const asked = message(frame)
  t.notOk(emitEchoReply(new Frame(200), frame, asked))
  for (const type of [IcmpType.ECHO_REPLY, IcmpType.DESTINATION_UNREACHABLE, 13]) {
    asked.type = type
    t.notOk(emitEchoReply(new Frame(), frame, asked))
  }
})

t.test('RFC 1122 §3.2.2: about what an error may be sent', async (t) => {
  const allowed = ({ frame, ip }: Datagram, mac = MAC) => mayReportError(ip, frame, mac)
  t.ok(allowed(datagram(IpProtocol.UDP, 8)))
  t.ok(allowed(datagram(IpProtocol.UDP, 8, { fragment: MORE_FRAGMENTS << 13 })), 'first fragment')
  t.notOk(allowed(datagram(IpProtocol.UDP, 8, { fragment: 1 })), 'a later fragment')
  t.notOk(allowed(datagram(IpProtocol.UDP, 8), BROADCAST_MAC), 'link-layer broadcast')
  t.notOk(allowed(datagram(IpProtocol.UDP, 8), 0x0100_5e00_0001), 'link-layer multicast')
  const multicast = parseIpv4Address('224.0.0.1')
  const nobody = parseIpv4Address('0.0.0.0')
  t.notOk(allowed(datagram(IpProtocol.UDP, 8, { dst: multicast })))
  t.notOk(allowed(datagram(IpProtocol.UDP, 8, { src: multicast })))
  t.notOk(allowed(datagram(IpProtocol.UDP, 8, { src: nobody })))
  t.notOk(allowed(datagram(IpProtocol.UDP, 8, { src: parseIpv4Address('127.0.0.1') })))
})

t.test('RFC 1122 §3.2.2: never an error about an ICMP error', async (t) => {
  for (let type = 0; type < 256; type++) {
    const about = datagram(IpProtocol.ICMP, 8)
    about.frame.view.setUint8(about.ip.payloadStart, type)
    const isError = [3, 4, 5, 11, 12].includes(type)
    if (mayReportError(about.ip, about.frame, MAC) === isError) t.fail(`type ${type}`)
  }
  const { frame, ip } = datagram(IpProtocol.ICMP, 0)
  t.notOk(mayReportError(ip, frame, MAC), 'no type to be seen')
})

t.test('an error quotes the datagram, and the quote is understood', async (t) => {
  const about = datagram(IpProtocol.TCP, 40)
  const out = new Frame()
  emitIcmpError(out, about.frame, about.ip, IcmpType.DESTINATION_UNREACHABLE, 4, 1400)
  const error = message(out)
  t.match(error, { type: 3, code: 4, nextHopMtu: 1400 })
  t.equal(error.payloadEnd - error.payloadStart, 60)
  const quoted = new QuotedDatagram()
  t.ok(parseQuotedDatagram(quoted, out.view, error))
  t.match(quoted, {
    src: CLIENT,
    dst: SERVER,
    protocol: IpProtocol.TCP,
    totalLength: 60,
    srcPort: 0x0001,
    dstPort: 0x0203,
    seq: 0x04050607,
  })
})

t.test('the errors of a host, each at most 576 octets with its IP header', async (t) => {
  const about = datagram(IpProtocol.UDP, 1400)
  for (const [emit, type, code] of [
    [emitPortUnreachable, 3, 3],
    [emitProtocolUnreachable, 3, 2],
    [emitReassemblyTimeExceeded, 11, 1],
  ] as const) {
    const out = new Frame()
    emit(out, about.frame, about.ip)
    t.match(message(out), { type, code })
    t.equal(out.length, 576 - 20)
  }
})

t.test('quotes that cannot be understood are refused', async (t) => {
  const quoted = new QuotedDatagram()
  const refused = (change: (frame: Frame, error: IcmpMessage) => void): boolean => {
    const about = datagram(IpProtocol.TCP, 8)
    const out = new Frame()
    emitIcmpError(out, about.frame, about.ip, IcmpType.TIME_EXCEEDED, 0)
    const error = message(out)
    change(out, error)
    return !parseQuotedDatagram(quoted, out.view, error)
  }
  t.notOk(refused(() => {}))
  t.ok(
    refused((_, error) => error.payloadEnd--),
    'seven octets of payload',
  )
  t.ok(refused((_, error) => (error.payloadEnd = error.payloadStart + 19)))
  t.ok(refused((_, error) => (error.payloadEnd = error.payloadStart)))
  t.ok(
    refused((_, error) => (error.type = IcmpType.ECHO_REQUEST)),
    'no error',
  )
  t.ok(
    refused((frame, error) => frame.view.setUint8(error.payloadStart, 0x65)),
    'version 6',
  )
  t.ok(
    refused((frame, error) => frame.view.setUint8(error.payloadStart, 0x44)),
    'short header',
  )
  t.ok(
    refused((frame, error) => frame.view.setUint8(error.payloadStart, 0x4f)),
    'long header',
  )
  t.ok(
    refused((frame, error) => frame.view.setUint16(error.payloadStart + 6, 1)),
    'fragment',
  )
})

t.test('the token bucket: a burst, then the rate, whatever the clock does', async (t) => {
  const bucket = new TokenBucket(10, 3)
  const taken = (now: number) => {
    let count = 0
    while (bucket.take(now)) count++
    return count
  }
  t.equal(taken(1000), 3)
  t.equal(taken(1099), 0)
  t.equal(taken(1100), 1)
  t.equal(taken(1300), 2)
  t.equal(taken(60_000), 3, 'never more than the burst')
  t.equal(taken(50_000), 0, 'a clock that goes back gives nothing')
  t.equal(taken(60_000), 0)
  t.equal(taken(60_100), 1)
})
