/**
 * Around TCP: ARP (RFC 826, RFC 5227) and the states of an address, ICMP (RFC 792, RFC 1122), and frames that are not for
 * us or not as they should be.
 */
import t from 'tap'
import { ConnectionEvent, parseIpv4Address } from '../../stack/index.js'
import {
  type ArpFields,
  decodeArp,
  decodeIp,
  encodeArp,
  encodeEthernet,
  encodeIcmp,
  encodeIp,
  encodeTcp,
  PROTOCOL,
} from './codec.js'
import {
  ACK,
  asks,
  BROADCAST,
  established,
  IRS,
  ISS,
  LOCAL,
  LOCAL_MAC,
  LOCAL_PORT,
  PEER,
  PEER_MAC,
  PEER_PORT,
  RST,
  Script,
  SYN,
} from './peer.js'

const VIP = parseIpv4Address('10.0.0.100')
const OTHER_MAC = 0x02_00_00_00_00_09

function arps(c: Script): ArpFields[] {
  return c.others
    .splice(0)
    .filter((f) => f.etherType === 0x0806)
    .map((f) => decodeArp(f.payload))
}

function sends(
  c: Script,
  protocol: number,
  payload: Buffer,
  dst: number = LOCAL,
  src: number = PEER,
): void {
  c.deliver(encodeEthernet(LOCAL_MAC, PEER_MAC, 0x0800, encodeIp(src, dst, protocol, payload)))
  c.drain()
}

t.test('P13: ARP is answered for an assigned address, and for no other', (t) => {
  const c = new Script(t)
  asks(c, LOCAL)
  t.match(arps(c), [
    { operation: 2, senderMac: LOCAL_MAC, senderIp: LOCAL, targetMac: PEER_MAC, targetIp: PEER },
  ])
  c.nic.setAddress(VIP, 24, 'observed')
  asks(c, VIP)
  asks(c, parseIpv4Address('10.0.0.77'))
  t.strictSame(arps(c), [], 'an observed address is silent')
  c.nic.setAddress(VIP, 24, 'assigned')
  asks(c, VIP)
  t.equal(arps(c)[0]?.senderIp, VIP)
  c.nic.setAddress(VIP, 24, 'observed')
  asks(c, VIP)
  c.nic.removeAddress(VIP)
  asks(c, VIP)
  t.strictSame(arps(c), [])
  t.end()
})

t.test(
  'P13: an ARP probe for an assigned address is answered, so that nobody else takes it (RFC 5227 §2.1.1)',
  (t) => {
    const c = new Script(t)
    asks(c, LOCAL, { senderIp: 0, senderMac: OTHER_MAC })
    t.match(arps(c), [{ operation: 2, senderIp: LOCAL, targetMac: OTHER_MAC }])
    t.equal(c.nic.conflicts, 0)
    t.end()
  },
)

t.test('P13: an address is announced in request form at 0, 0.1, 1 and 5 s (RFC 5227 §2.3)', (t) => {
  const c = new Script(t)
  c.nic.setAddress(VIP, 24, 'assigned')
  c.nic.announce(VIP, c.now)
  c.drain()
  c.advance(60_000)
  const frames = c.others.splice(0)
  t.strictSame(
    frames.map((f) => f.at),
    [0, 100, 1000, 5000],
  )
  for (const frame of frames) {
    t.equal(frame.dst, BROADCAST)
    t.match(decodeArp(frame.payload), {
      operation: 1,
      senderMac: LOCAL_MAC,
      senderIp: VIP,
      targetIp: VIP,
    })
  }
  t.end()
})

t.test('P13 D3: an address that is given up is announced no more', (t) => {
  const c = new Script(t)
  c.nic.setAddress(VIP, 24, 'assigned')
  c.nic.announce(VIP, c.now)
  c.nic.setAddress(VIP, 24, 'observed')
  c.drain()
  c.advance(60_000)
  t.strictSame(arps(c), [])
  t.end()
})

t.test("D3: another's ARP for our address is noticed, and does not change what we know", (t) => {
  const c = new Script(t)
  asks(c, LOCAL, { senderIp: LOCAL, senderMac: OTHER_MAC })
  t.equal(c.nic.conflicts, 1)
  t.equal(c.nic.conflictMac, OTHER_MAC)
  t.equal(c.nic.conflictAt, c.now)
  arps(c)
  c.connects()
  c.expects({ flags: SYN })
  t.end()
})

t.test('T1: an address is defended by one announcement in ten seconds (RFC 5227 §2.4 c)', (t) => {
  const c = new Script(t)
  const claim = (): void =>
    asks(c, parseIpv4Address('10.0.0.9'), { senderIp: LOCAL, senderMac: OTHER_MAC })
  claim()
  t.match(arps(c), [{ operation: 1, senderMac: LOCAL_MAC, senderIp: LOCAL, targetIp: LOCAL }])
  c.advance(9999)
  claim()
  t.strictSame(arps(c), [], 'two that both defended would never end')
  c.advance(1)
  claim()
  t.equal(arps(c).length, 1)
  t.equal(c.nic.conflicts, 3)
  t.end()
})

t.test(
  'T6: an impostor gets no last word, and what is sent to him by who believes him is taken',
  (t) => {
    const c = established(t)
    const claim = (mac: number): void =>
      asks(c, parseIpv4Address('10.0.0.9'), { senderIp: LOCAL, senderMac: mac })
    const gives = (text: string, from: number, dstMac: number): void => {
      c.peerSends({ seq: IRS + 1 + from, ack: ISS + 1, flags: ACK, text, dstMac })
    }
    gives('ab', 0, OTHER_MAC)
    t.equal(c.read(), '', 'as long as nobody claims, it is for somebody else')
    claim(OTHER_MAC)
    t.equal(arps(c).length, 1)
    gives('ab', 0, OTHER_MAC)
    gives('cd', 2, OTHER_MAC + 7)
    t.equal(c.read(), 'abcd')
    c.nic.isPeer = (mac) => mac === OTHER_MAC
    gives('ef', 4, OTHER_MAC)
    t.equal(c.read(), '', 'what is for another node is for that node')
    c.ignores()
    c.peerSends({ flags: SYN, dstMac: OTHER_MAC + 7, dstPort: 99, srcPort: 5 })
    c.expectsNothing('no stray is answered in the name of somebody else')
    c.advance(5000)
    claim(OTHER_MAC)
    t.strictSame(arps(c), [])
    c.advance(5001)
    t.equal(arps(c).length, 1, 'the last word')
    c.advance(60_000)
    c.drain()
    gives('ef', 4, OTHER_MAC + 7)
    t.equal(c.read(), '')
    t.end()
  },
)

t.test('D3: an address that is given up in the turn of the conflict is not defended', (t) => {
  const c = new Script(t)
  const arp = { operation: 1, senderMac: OTHER_MAC, senderIp: LOCAL, targetMac: 0, targetIp: LOCAL }
  c.deliver(encodeEthernet(BROADCAST, OTHER_MAC, 0x0806, encodeArp(arp)))
  c.nic.setAddress(LOCAL, 24, 'observed')
  c.drain()
  t.strictSame(arps(c), [])
  t.end()
})

t.test('D3: nothing leaves from an address that is not assigned any more', (t) => {
  for (const how of ['observed', 'absent'] as const) {
    const c = established(t)
    c.c.write(Buffer.from('secret'), 0, 6)
    asksQuietly(c)
    if (how === 'observed') c.nic.setAddress(LOCAL, 24, 'observed')
    else c.nic.removeAddress(LOCAL)
    c.drain()
    c.advance(100_000)
    c.expectsNothing(`${how}: no segment`)
    t.strictSame(c.others, [], `${how}: no ARP, no ICMP`)
    c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, text: 'abc' })
    c.expectsNothing()
    t.equal(c.drops('ipv4-not-ours'), 1)
    t.ok(c.drops('egress-not-assigned') > 0)
  }
  t.end()
})

// An echo request and an ARP request whose answers are queued, but not sent yet.
function asksQuietly(c: Script): void {
  const echo = encodeIcmp(8, 0, 0x00010001, Buffer.from('ping'))
  c.deliver(encodeEthernet(LOCAL_MAC, PEER_MAC, 0x0800, encodeIp(PEER, LOCAL, PROTOCOL.ICMP, echo)))
  const arp = { operation: 1, senderMac: PEER_MAC, senderIp: PEER, targetMac: 0, targetIp: LOCAL }
  c.deliver(encodeEthernet(BROADCAST, PEER_MAC, 0x0806, encodeArp(arp)))
}

t.test('T1: a neighbour that is not known is asked for, what waits for it is sent then', (t) => {
  const c = new Script(t)
  const far = parseIpv4Address('10.0.0.50')
  c.stack.connect(far, 80, c.now)
  c.stack.connect(far, 81, c.now)
  c.drain()
  c.expectsNothing()
  t.match(arps(c), [{ operation: 1, senderIp: LOCAL, targetIp: far }])
  asks(c, LOCAL, { operation: 2, senderIp: far, senderMac: OTHER_MAC })
  t.strictSame(
    c
      .ignores()
      .map((s) => s.dstPort)
      .sort(),
    [80, 81],
  )
  t.end()
})

t.test(
  'D3: what waited for a neighbour is not sent when its address has been given up meanwhile',
  (t) => {
    const c = new Script(t)
    const far = parseIpv4Address('10.0.0.50')
    c.stack.connect(far, 80, c.now)
    c.drain()
    c.expectsNothing()
    c.nic.setAddress(LOCAL, 24, 'observed')
    c.nic.setAddress(LOCAL, 24, 'assigned')
    asks(c, LOCAL, { operation: 2, senderIp: far, senderMac: OTHER_MAC })
    c.expectsNothing('another may have spoken since')
    t.end()
  },
)

t.test(
  'T1: a neighbour that never answers ends the opening of connections by way of it, and of no others',
  (t) => {
    const c = established(t)
    const far = parseIpv4Address('10.0.0.50')
    const beyond = parseIpv4Address('192.0.2.1')
    c.nic.routes.addGateway(far)
    const opening = [c.stack.connect(far, 80, c.now), c.stack.connect(beyond, 80, c.now)]
    c.drain()
    c.advance(2999)
    t.ok(opening.every((o) => o.error === ''))
    c.advance(1)
    t.strictSame(
      opening.map((o) => o.error),
      ['EHOSTUNREACH', 'EHOSTUNREACH'],
    )
    t.ok(
      opening.every((o) => (o.events & ConnectionEvent.CLOSED) !== 0),
      'their sockets are told',
    )
    t.equal(c.state, 'ESTABLISHED')
    t.equal(c.drops('neighbor-unresolved') >= 2, true, 'what waited is dropped')
    c.advance(60_000)
    t.equal(c.stack.tcp.demux.size, 1)
    t.end()
  },
)

t.test('T1: a known neighbour that falls silent does not end connections', (t) => {
  const c = established(t)
  c.write('before')
  c.advance(70_000)
  const opening = c.stack.connect(PEER, 9999, c.now)
  t.equal(c.nic.neighbors.lookup(PEER), PEER_MAC, 'asked again and answered')
  c.nic.neighbors.forget(PEER)
  c.write('after')
  t.equal(c.state, 'ESTABLISHED')
  t.equal(opening.error, '')
  t.end()
})

t.test('T1: a neighbour that never answers is asked three times; what waits is bounded', (t) => {
  const c = new Script(t)
  const far = parseIpv4Address('10.0.0.50')
  for (let i = 0; i < 200; i++) c.stack.connect(far, 80 + i, c.now)
  c.drain()
  c.advance(2500)
  t.equal(arps(c).length, 3)
  c.expectsNothing()
  t.ok(c.drops('neighbor-queue-full') > 0)
  asks(c, LOCAL, { operation: 2, senderIp: far, senderMac: OTHER_MAC })
  const late = c.ignores()
  t.ok(late.length <= 64, `${late.length} segments waited`)
  t.ok(
    late.every((s) => s.flags === SYN),
    'each of them whole',
  )
  t.end()
})

t.test('T1: an echo request is answered with its data (RFC 1122 §3.2.2.6)', (t) => {
  const c = new Script(t)
  sends(c, PROTOCOL.ICMP, encodeIcmp(8, 0, 0x12340007, Buffer.from('hello')))
  const ip = decodeIp(c.others[0]?.payload as Buffer)
  t.match(ip, { src: LOCAL, dst: PEER, protocol: 1 })
  t.strictSame(ip.payload, encodeIcmp(0, 0, 0x12340007, Buffer.from('hello')))
  t.end()
})

t.test(
  'T1: an echo request with a bad checksum, to another, or from a broadcast address is not answered',
  (t) => {
    const c = new Script(t)
    const bad = encodeIcmp(8, 0, 1, Buffer.from('hello'))
    bad[3] = (bad[3] as number) ^ 1
    sends(c, PROTOCOL.ICMP, bad)
    const good = encodeIcmp(8, 0, 1, Buffer.from('hello'))
    sends(c, PROTOCOL.ICMP, good, parseIpv4Address('10.0.0.255'))
    sends(c, PROTOCOL.ICMP, good, VIP)
    sends(c, PROTOCOL.ICMP, good, LOCAL, parseIpv4Address('10.0.0.255'))
    sends(c, PROTOCOL.ICMP, good, LOCAL, parseIpv4Address('224.0.0.1'))
    sends(c, PROTOCOL.ICMP, good, LOCAL, LOCAL)
    t.strictSame(c.others, [])
    t.match(c.stack.drops.toJSON(), {
      'icmp-bad-checksum': 1,
      'ipv4-not-ours': 2,
      'ipv4-bad-source': 3,
    })
    t.end()
  },
)

t.test(
  'T1: a datagram to a port or protocol that nobody serves is reported, not too often (RFC 1122 §3.2.2.1)',
  (t) => {
    const c = new Script(t)
    sends(c, PROTOCOL.UDP, Buffer.from([0, 7, 0, 9, 0, 12, 0, 0, 1, 2, 3, 4]))
    const port = decodeIp(c.others[0]?.payload as Buffer).payload
    t.strictSame([port[0], port[1]], [3, 3])
    t.equal(port[8], 0x45, 'the datagram is quoted')
    sends(c, 132, Buffer.alloc(8))
    t.strictSame([...decodeIp(c.others[1]?.payload as Buffer).payload.subarray(0, 2)], [3, 2])
    const nobodys = Buffer.from([0, 7, 0, 9, 0, 12, 0, 0, 1, 2, 3, 4])
    for (let i = 0; i < 500; i++) sends(c, PROTOCOL.UDP, nobodys)
    t.ok(c.others.length <= 20, `${c.others.length} reports`)
    t.ok(c.drops('icmp-rate-limited') >= 480)
    t.end()
  },
)

t.test(
  'T6: errors are never answered by errors, nor are datagrams to a group (RFC 1122 §3.2.2)',
  (t) => {
    const c = new Script(t)
    const quote = encodeIp(LOCAL, PEER, PROTOCOL.UDP, Buffer.alloc(8))
    sends(c, PROTOCOL.ICMP, encodeIcmp(3, 3, 0, quote))
    const nobodys = Buffer.from([0, 7, 0, 9, 0, 12, 0, 0, 1, 2, 3, 4])
    const datagram = encodeIp(PEER, LOCAL, PROTOCOL.UDP, nobodys)
    c.deliver(encodeEthernet(BROADCAST, PEER_MAC, 0x0800, datagram))
    c.drain()
    t.strictSame(c.others, [])
    t.end()
  },
)

function unreachable(c: Script, code: number, seq: number, type = 3): void {
  const tcp = {
    srcPort: LOCAL_PORT,
    dstPort: PEER_PORT,
    seq,
    ack: 0,
    flags: SYN,
    wnd: 0,
    text: Buffer.alloc(0),
  }
  const quote = encodeIp(LOCAL, PEER, PROTOCOL.TCP, encodeTcp(tcp, LOCAL, PEER))
  sends(c, PROTOCOL.ICMP, encodeIcmp(type, code, 0, quote.subarray(0, 28)))
}

t.test(
  'T2: ICMP unreachable ends an open at once, if it quotes our SYN (RFC 1122 §4.2.3.9, RFC 5927 §4, MUST-54)',
  (t) => {
    for (const [code, error] of [
      [1, 'EHOSTUNREACH'],
      [3, 'ECONNREFUSED'],
    ] as const) {
      const c = new Script(t)
      c.connects()
      c.ignores()
      unreachable(c, code, c.iss + 1)
      t.equal(c.state, 'SYN_SENT', 'a guess is not believed')
      unreachable(c, code, c.iss)
      t.equal(c.c.error, error)
      t.ok(c.closed)
      t.equal(c.stack.tcp.demux.size, 0)
      c.expectsNothing()
    }
    t.end()
  },
)

t.test(
  'T6: "time exceeded" in transit is told like an unreachable host, of a reassembly it is not (RFC 9293 §3.9.2.2, MUST-56)',
  (t) => {
    const c = new Script(t)
    c.connects()
    c.ignores()
    unreachable(c, 1, c.iss, 11)
    unreachable(c, 0, c.iss + 1, 11)
    t.equal(c.state, 'SYN_SENT')
    unreachable(c, 0, c.iss, 11)
    t.equal(c.c.error, 'EHOSTUNREACH')

    const d = established(t)
    d.write('abc')
    unreachable(d, 0, d.iss + 1, 11)
    t.equal(d.state, 'ESTABLISHED')
    t.equal(d.c.softError, 'EHOSTUNREACH', 'the reason, should the peer never answer')
    t.end()
  },
)

t.test('T7: "fragmentation needed" ends no open', (t) => {
  const c = new Script(t)
  c.connects()
  c.ignores()
  unreachable(c, 4, c.iss)
  t.equal(c.state, 'SYN_SENT')
  t.end()
})

t.test(
  'T6: ICMP unreachable ends nothing that is established, and names a time-out (MUST-56, SHLD-25, MUST-47)',
  (t) => {
    const c = established(t)
    c.write('abc')
    unreachable(c, 1, c.iss + 1)
    c.peerSends({ seq: IRS + 1, ack: ISS + 4, flags: ACK })
    c.write('def')
    unreachable(c, 0, c.iss + 1)
    unreachable(c, 1, c.iss + 7)
    t.equal(c.drops('icmp-refused'), 2, 'what is not in flight is not believed')
    t.equal(c.c.softError, '', 'an answer of the peer has disproved the first')
    unreachable(c, 1, c.iss + 4)
    c.advance(2_000_000)
    t.equal(c.c.error, 'EHOSTUNREACH')
    t.end()
  },
)

t.test('T6: ICMP unreachable changes nothing in ESTABLISHED (RFC 5461)', (t) => {
  const c = established(t)
  c.write('abc')
  c.ignores()
  for (const code of [0, 1, 2, 3]) unreachable(c, code, c.iss + 1)
  t.equal(c.state, 'ESTABLISHED')
  t.equal(c.c.error, '')
  t.end()
})

t.test(
  'T1: bad checksums, lengths and flags are dropped, counted, and not answered (MUST-2, MUST-3)',
  (t) => {
    const c = established(t)
    const segment = { seq: IRS + 1, ack: ISS + 1, flags: ACK, text: 'abc' }
    c.peerSends(
      { ...segment, spoil: 50 },
      { ...segment, spoil: 14 + 10 },
      { ...segment, spoil: 14 },
    )
    const short = c.frameOf(segment)
    for (const length of [0, 13, 14, 20, 33, 40, 50]) c.deliver(short.subarray(0, length))
    c.drain()
    c.expectsNothing()
    t.match(c.stack.drops.toJSON(), {
      'tcp-bad-checksum': 1,
      'ipv4-bad-checksum': 1,
      'ipv4-bad-version': 1,
      'ethernet-truncated': 2,
    })
    const dropped = Object.values(c.stack.drops.toJSON()).reduce((a, b) => a + b, 0)
    t.equal(dropped, 10, 'each is counted once')
    const padded = Buffer.concat([c.frameOf(segment), Buffer.from('padding')])
    c.deliver(padded)
    c.drain()
    t.equal(c.read(), 'abc', 'the padding of a short frame is no text')
    t.end()
  },
)

t.test(
  'T6: a segment to a group, by Ethernet or IP address, is dropped in silence (MUST-57)',
  (t) => {
    const c = new Script(t)
    c.listens()
    c.peerSends({ flags: SYN, dstMac: BROADCAST })
    c.peerSends({ flags: SYN, dstMac: BROADCAST, dstPort: 9 })
    c.peerSends({ flags: SYN, dstIp: parseIpv4Address('10.0.0.255') })
    c.peerSends({ flags: SYN, dstIp: parseIpv4Address('224.0.0.1') })
    c.peerSends({ flags: SYN, dstMac: OTHER_MAC })
    c.expectsNothing()
    t.match(c.stack.drops.toJSON(), {
      'tcp-not-unicast': 2,
      'ipv4-not-ours': 2,
      'ethernet-other-mac': 1,
    })
    t.end()
  },
)

t.test('P9: while an address is quiet, strays are absorbed, known connections go on', (t) => {
  const c = established(t)
  c.stack.setQuiet(LOCAL, true)
  c.peerSends(
    { seq: IRS, ack: 5, flags: ACK, srcPort: 999 },
    { seq: IRS, flags: SYN, srcPort: 998 },
  )
  c.expectsNothing()
  t.equal(c.drops('tcp-quiet'), 2)
  c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, text: 'abc' })
  c.expects({ ack: IRS + 4 })
  c.stack.setQuiet(LOCAL, false)
  c.peerSends({ seq: IRS, ack: ISS + 5, flags: ACK, srcPort: 999 })
  c.expects({ seq: ISS + 5, flags: RST })
  t.end()
})
