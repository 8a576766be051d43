/**
 * Requirements of RFC 9293 that no other packet test shows by the way, in the order of their numbers.
 */
import t from 'tap'
import { ConnectionEvent, parseIpv4Address } from '../../stack/index.js'
import { initialSequenceNumber } from '../../stack/tcp/iss.js'
import { UNSPECIFIED } from '../../stack/wire/ip-address.js'
import {
  decodeEthernet,
  decodeIp,
  encodeEthernet,
  encodeIcmp,
  encodeIp,
  encodeTcp,
  PROTOCOL,
} from './codec.js'
import {
  ACK,
  connected,
  established,
  IRS,
  ISS,
  LOCAL,
  LOCAL_MAC,
  LOCAL_PORT,
  octets,
  PEER,
  PEER_MAC,
  PEER_PORT,
  RST,
  Script,
  SYN,
  URG,
} from './peer.js'

/** A SYN from `src`, in a frame. */
function synFrom(src: number, dst: number = LOCAL): Buffer {
  const text = Buffer.alloc(0)
  const fields = {
    srcPort: PEER_PORT,
    dstPort: LOCAL_PORT,
    seq: 1,
    ack: 0,
    flags: SYN,
    wnd: 1000,
    text,
  }
  const ip = encodeIp(src, dst, PROTOCOL.TCP, encodeTcp(fields, src, dst))
  return encodeEthernet(LOCAL_MAC, PEER_MAC, 0x0800, ip)
}

/** The IP headers of what leaves now. */
function headersOf(c: Script): ReturnType<typeof decodeIp>[] {
  const headers = []
  for (let f = c.stack.pollTransmit(c.now); f !== null; f = c.stack.pollTransmit(c.now)) {
    const { etherType, payload } = decodeEthernet(Buffer.from(f.bytes.slice(f.start, f.end)))
    if (etherType === 0x0800) headers.push(decodeIp(payload))
  }
  return headers
}

t.test('T2: a window with its highest bit set is large, not negative (MUST-1)', (t) => {
  const c = established(t, { wnd: 0xffff })
  t.equal(c.c.tcb.sndWnd, 65_535)
  c.write('a')
  c.peerSends({ seq: IRS + 1, ack: ISS + 2, flags: ACK })
  c.ignores()
  c.c.sender.congestion.cwnd = 100_000
  c.write(octets(70_000))
  const sent = c.ignores().reduce((sum, segment) => sum + segment.length, 0)
  t.ok(sent > 64_000 && sent <= 65_535, `${sent} octets`)
  t.end()
})

t.test('T6: without the secret nobody computes an ISN (MUST-9, SHLD-1)', (t) => {
  const of = (secret: number, port: number) =>
    initialSequenceNumber(new Int32Array([secret, 2, 3, 4]), LOCAL, port, PEER, PEER_PORT, 1000)
  t.not(of(1, 80), of(2, 80))
  t.not((of(1, 81) - of(1, 80)) | 0, (of(2, 81) - of(2, 80)) | 0, 'nor from that of another port')
  t.equal(of(1, 80), of(1, 80))
  t.end()
})

t.test(
  'T2: listening, anywhere and as often as there are endpoints, leaves connections alone (MUST-41, MUST-42)',
  (t) => {
    const c = established(t)
    const first = c.c
    const other = parseIpv4Address('10.0.0.3')
    c.nic.setAddress(other, 24, 'assigned')
    const listeners = [
      c.stack.listen(other, LOCAL_PORT),
      c.stack.listen(LOCAL, 81),
      c.stack.listen(UNSPECIFIED, LOCAL_PORT),
    ]
    t.throws(() => c.stack.listen(LOCAL, LOCAL_PORT), { code: 'EADDRINUSE' })
    c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, text: 'abc' })
    t.equal(c.read(), 'abc')
    c.deliver(synFrom(PEER, other))
    t.equal(c.stack.tcp.demux.find(other, LOCAL_PORT, PEER, PEER_PORT)?.listener, listeners[0])
    t.equal(c.c, first)
    t.end()
  },
)

t.test(
  'T2: an open takes the address that it is told, else the one that leads to the peer, and keeps it (MUST-43, MUST-44, MUST-45)',
  (t) => {
    const c = new Script(t)
    const other = parseIpv4Address('10.0.0.3')
    c.nic.setAddress(other, 24, 'assigned')
    const elsewhere = c.stack.addNic({ mac: 0x02_00_00_00_00_09, mtu: 1500 })
    elsewhere.setAddress(parseIpv4Address('10.9.0.2'), 24, 'assigned')
    t.equal(c.stack.connect(PEER, 1, c.now, other).localAddress, other)
    t.equal(
      c.stack.connect(parseIpv4Address('10.9.0.1'), 2, c.now).localAddress,
      parseIpv4Address('10.9.0.2'),
    )
    const plain = c.stack.connect(PEER, 3, c.now)
    t.equal(plain.localAddress, LOCAL)
    headersOf(c)
    c.advance(20_000)
    t.ok(c.sent.filter((s) => s.dstPort === 3).length >= 4)
    t.equal(plain.localAddress, LOCAL)
    t.end()
  },
)

t.test('T2: no open to a group, a broadcast address or nobody (MUST-46)', (t) => {
  const c = new Script(t)
  for (const address of ['224.0.0.1', '10.0.0.255', '255.255.255.255', '172.16.0.1']) {
    t.throws(
      () => c.stack.connect(parseIpv4Address(address), 80, c.now),
      { code: 'ENETUNREACH' },
      address,
    )
  }
  t.end()
})

t.test(
  'T2: the application sets Diffserv field and TTL, also later (MUST-48, MUST-49, SHLD-21, SHLD-22)',
  (t) => {
    const c = established(t, { ecn: 'accept' })
    const plain = c.c.write(Buffer.from('a'), 0, 1)
    t.equal(plain, 1)
    t.match(headersOf(c)[0], { ttl: 64, tos: 0 })
    c.peerSends({ seq: IRS + 1, ack: ISS + 2, flags: ACK })
    c.c.dscp = 46
    c.c.hopLimit = 7
    c.c.write(Buffer.from('b'), 0, 1)
    t.match(headersOf(c)[0], { ttl: 7, tos: 46 << 2 })
    c.deliver(synFrom(PEER, LOCAL))
    t.match(headersOf(c)[0], { ttl: 7 }, 'of this connection')
    c.peerSends({ seq: 5, flags: SYN, srcPort: 999, dstPort: 9 })
    t.equal(c.sent.at(-1)?.flags, RST | ACK)
    t.end()
  },
)

t.test('T1: IP options are passed over (MUST-50)', (t) => {
  const c = established(t)
  const frame = c.frameOf({ seq: IRS + 1, ack: ISS + 1, flags: ACK, text: 'abc' })
  const tcp = frame.subarray(34)
  const ip = encodeIp(PEER, LOCAL, PROTOCOL.TCP, tcp)
  for (const options of [
    [7, 7, 4, 0, 0, 0, 0, 0],
    [131, 7, 4, 10, 0, 0, 9, 0],
    [68, 8, 5, 0, 0, 0, 0, 0],
    [0x99, 0x28, 1, 1],
  ]) {
    const header = Buffer.concat([ip.subarray(0, 20), Buffer.from(options)])
    header[0] = 0x40 | (header.length / 4)
    header.writeUInt16BE(header.length + tcp.length, 2)
    header.writeUInt16BE(0, 10)
    let sum = 0
    for (let i = 0; i < header.length; i += 2) sum += header.readUInt16BE(i)
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
    header.writeUInt16BE(~sum & 0xffff, 10)
    c.deliver(encodeEthernet(LOCAL_MAC, PEER_MAC, 0x0800, Buffer.concat([header, tcp])))
    c.drain()
    t.match(c.sent.shift(), { ack: IRS + 4, flags: ACK }, `option ${options[0]}`)
  }
  t.equal(c.read(), 'abc')
  t.end()
})

t.test(
  'T1: source quench, time exceeded and parameter problem change nothing (MUST-55, MUST-56)',
  (t) => {
    const c = established(t)
    c.write(octets(100))
    const { cwnd } = c.c.sender.congestion
    const text = Buffer.alloc(100)
    const seq = (c.iss + 1) >>> 0
    const fields = {
      srcPort: LOCAL_PORT,
      dstPort: PEER_PORT,
      seq,
      ack: 0,
      flags: ACK,
      wnd: 0,
      text,
    }
    const quote = encodeIp(LOCAL, PEER, PROTOCOL.TCP, encodeTcp(fields, LOCAL, PEER)).subarray(
      0,
      28,
    )
    for (const type of [4, 11, 12]) {
      const icmp = encodeIcmp(type, 0, 0, quote)
      c.deliver(
        encodeEthernet(LOCAL_MAC, PEER_MAC, 0x0800, encodeIp(PEER, LOCAL, PROTOCOL.ICMP, icmp)),
      )
    }
    c.ignores()
    c.drain()
    c.expectsNothing()
    t.equal(c.state, 'ESTABLISHED')
    t.equal(c.c.sender.congestion.cwnd, cwnd)
    t.notOk(c.hears(ConnectionEvent.CLOSED))
    t.end()
  },
)

t.test(
  'T6: a SYN from a group, a broadcast address or ourselves is dropped and counted (MUST-63)',
  (t) => {
    const c = new Script(t)
    c.listens()
    for (const src of [
      '224.0.0.1',
      '255.255.255.255',
      '10.0.0.255',
      '10.0.0.2',
      '127.0.0.1',
      '0.0.0.0',
    ]) {
      c.deliver(synFrom(parseIpv4Address(src)))
    }
    c.drain()
    c.expectsNothing()
    t.equal(c.drops('ipv4-bad-source'), 6)
    t.equal(c.stack.tcp.demux.size, 0)
    t.end()
  },
)

t.test('T3: an option may begin at any octet (MUST-64)', (t) => {
  for (const pad of [0, 1, 2, 3]) {
    const c = new Script(t)
    c.listens()
    const rawOptions = [...Array(pad).fill(1), 2, 4, 0x03, 0xe8, ...Array(4 - pad).fill(0)]
    c.peerSends({ seq: IRS, flags: SYN, rawOptions })
    c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK })
    t.equal(c.c.tcb.sndMss, 1000, `behind ${pad} octets`)
  }
  t.end()
})

t.test(
  'T3: the MSS sent is what fits into the MTU, less no option (MUST-67, SHLD-5, SHLD-28)',
  (t) => {
    for (const [mtu, mss] of [
      [1500, 1460],
      [9000, 8960],
      [576, 536],
      [1280, 1240],
    ] as const) {
      // biome-ignore format: one line
      const c = new Script(t, { mtu })
      c.connects()
      t.equal(c.sent[0]?.mss, mss)
      c.peerSends({ seq: IRS, ack: ISS + 1, flags: SYN | ACK, mss: 9000 })
      c.ignores()
      c.write(octets(9000))
      t.equal(c.sent[0]?.length, mss, 'and no segment is shorter without need')
    }
    t.end()
  },
)

t.test(
  'T3: each option has its length, and the header ends with zeros or no-operations (MUST-68, MUST-69)',
  (t) => {
    const c = connected(t, { timestamps: true, sack: true, windowScale: 3 })
    c.peerSends({ seq: IRS + 500, ack: ISS + 1, flags: ACK, text: 'x' })
    c.write('abc')
    const raw = new Script(t)
    raw.stack.connect(PEER, PEER_PORT, raw.now)
    for (const ip of headersOf(raw)) {
      const length = ((ip.payload[12] as number) >> 4) * 4
      t.equal(length % 4, 0)
      let at = 20
      while (at < length && ip.payload[at] !== 0) {
        if (ip.payload[at] === 1) at++
        else {
          const size = ip.payload[at + 1] as number
          t.ok(size >= 2 && at + size <= length, `option ${ip.payload[at]} of ${size}`)
          at += size
        }
      }
      t.ok(ip.payload.subarray(at, length).every((octet) => octet === 0))
    }
    t.end()
  },
)

t.test(
  'T2: at a zero window an urgent segment is looked at, and text beyond a shrunk window times nothing out (MUST-66, SHLD-17)',
  (t) => {
    const c = established(t, { receiveLimit: 1000 })
    c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, text: octets(1000) })
    c.ignores()
    c.write('abc')
    c.ignores()
    c.peerSends({ seq: IRS + 1001, ack: ISS + 4, flags: ACK | URG, text: 'u' })
    t.equal(c.c.tcb.flightSize, 0, 'its ACK counts')
    c.write(octets(3000))
    c.peerSends({ seq: IRS + 1001, ack: ISS + 4, flags: ACK, wnd: 0 })
    for (let n = 0; n < 60; n++) {
      c.advance(60_000)
      c.peerSends({ seq: IRS + 1001, ack: ISS + 4, flags: ACK, wnd: 0 })
    }
    t.equal(c.state, 'ESTABLISHED')
    t.end()
  },
)

t.test('T2: ports in use are not given to an open (RFC 6056 §3.2)', (t) => {
  const c = new Script(t)
  for (let port = 32_768; port < 32_768 + 28_232; port++)
    if (port !== 40_001) c.stack.listen(LOCAL, port)
  t.equal(c.stack.connect(PEER, 1, c.now).localPort, 40_001)
  t.throws(() => c.stack.connect(PEER, 1, c.now), { code: 'EADDRNOTAVAIL' })
  t.end()
})
