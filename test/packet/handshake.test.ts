/**
 * Opening a connection: RFC 9293 §3.5 and §3.10.7.1 to §3.10.7.3, against a scripted peer.
 */
import t from 'tap'
import { ConnectionEvent, TcpState } from '../../stack/index.js'
import {
  ACK,
  connected,
  established,
  FIN,
  IRS,
  ISS,
  octets,
  PEER_PORT,
  PSH,
  RST,
  Script,
  SYN,
} from './peer.js'

t.test('T2: passive open; SYN, SYN-ACK, ACK (RFC 9293 §3.5 figure 6)', (t) => {
  const c = new Script(t)
  c.listens()
  c.peerSends({ seq: IRS, flags: SYN, mss: 1460 })
  c.expects({ seq: ISS, ack: IRS + 1, flags: SYN | ACK, mss: 1460 })
  c.expectsNothing()
  t.equal(c.connection, null, 'nothing to accept before the last ACK (P16)')
  c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK })
  t.equal(c.state, 'ESTABLISHED')
  t.ok(c.hears(ConnectionEvent.CONNECTED))
  c.expectsNothing()
  t.end()
})

t.test('T2: active open; the SYN offers all, the SYN-ACK is acknowledged', (t) => {
  const c = new Script(t)
  c.connects()
  const syn = c.expects({ seq: ISS, flags: SYN, mss: 1460, sackPermitted: true })
  t.ok(syn.ts, 'timestamps are offered')
  t.type(syn.windowScale, 'number')
  c.peerSends({ seq: IRS, ack: ISS + 1, flags: SYN | ACK, mss: 1460 })
  c.expects({ seq: ISS + 1, ack: IRS + 1, flags: ACK })
  c.expectsNothing()
  t.equal(c.state, 'ESTABLISHED')
  t.end()
})

t.test('T2: simultaneous open ends in one connection (RFC 9293 §3.5 figure 7, MUST-10)', (t) => {
  const c = new Script(t)
  c.connects()
  c.expects({ seq: ISS, flags: SYN })
  c.peerSends({ seq: IRS, flags: SYN, mss: 1460 })
  c.expects({ seq: ISS, ack: IRS + 1, flags: SYN | ACK })
  t.equal(c.state, 'SYN_RECEIVED')
  c.peerSends({ seq: IRS, ack: ISS + 1, flags: SYN | ACK, mss: 1460, wnd: 1000 })
  t.equal(c.state, 'ESTABLISHED', 'the SYN-ACK of the other side acknowledges our SYN')
  t.equal(c.c.tcb.sndWnd, 1000)
  const answers = c.ignores()
  t.ok(answers.length <= 1 && answers.every((s) => s.flags === ACK), 'no SYN is sent again')
  t.end()
})

t.test('T2: simultaneous open, the peer sends a bare ACK', (t) => {
  const c = new Script(t)
  c.connects()
  c.ignores()
  c.peerSends({ seq: IRS, flags: SYN, mss: 1460 })
  c.ignores()
  c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK })
  t.equal(c.state, 'ESTABLISHED')
  t.end()
})

t.test('T2: a reset ends a simultaneous open (MUST-11)', (t) => {
  const c = new Script(t)
  c.connects()
  c.ignores()
  c.peerSends({ seq: IRS, flags: SYN })
  c.ignores()
  c.peerSends({ seq: IRS + 1, flags: RST })
  t.equal(c.state, 'CLOSED')
  t.ok(c.closed)
  c.expectsNothing()
  t.end()
})

t.test(
  'T2 T4: a lost SYN is sent again after 1, 2, 4 ... s, and given up after three minutes (MUST-23, MUST-22)',
  (t) => {
    const c = new Script(t)
    c.connects()
    c.advance(600_000)
    const syns = c.ignores()
    t.ok(syns.every((s) => s.flags === SYN && s.seq === ISS))
    t.strictSame(
      syns.slice(0, 5).map((s) => s.at),
      [0, 1000, 3000, 7000, 15_000],
    )
    t.equal(c.c.error, 'ETIMEDOUT')
    t.ok(c.closed)
    t.ok((syns.at(-1)?.at ?? 0) >= 120_000)
    t.equal(c.stack.tcp.demux.size, 0, 'nothing of it is left')
    t.end()
  },
)

t.test('T2: a lost SYN-ACK is sent again, by the timer and for each SYN of the peer', (t) => {
  const c = new Script(t)
  c.listens()
  c.peerSends({ seq: IRS, flags: SYN })
  c.expects({ seq: ISS, flags: SYN | ACK, at: 0 })
  c.advance(1000)
  c.expects({ seq: ISS, ack: IRS + 1, flags: SYN | ACK, at: 1000 })
  c.peerSends({ seq: IRS, flags: SYN })
  c.expects({ seq: ISS, ack: IRS + 1, flags: SYN | ACK })
  c.expectsNothing()
  c.advance(600_000)
  t.equal(c.stack.tcp.demux.size, 0, 'a handshake that never ends is forgotten')
  t.equal(c.listener?.embryonic, 0)
  t.end()
})

t.test('T2: refused: a reset that acknowledges the SYN ends the open with ECONNREFUSED', (t) => {
  const c = new Script(t)
  c.connects()
  c.ignores()
  c.peerSends({ seq: 0, ack: ISS + 1, flags: RST | ACK })
  t.equal(c.c.error, 'ECONNREFUSED')
  t.ok(c.closed)
  c.expectsNothing()
  t.end()
})

t.test(
  'T6 S3: in SYN-SENT a reset without or with a wrong ACK is ignored (RFC 9293 §3.10.7.3, RFC 5961 §3)',
  (t) => {
    const c = new Script(t)
    c.connects()
    c.ignores()
    c.peerSends({ seq: IRS, flags: RST })
    c.peerSends({ seq: IRS, ack: ISS, flags: RST | ACK })
    c.peerSends({ seq: IRS, ack: ISS + 2, flags: RST | ACK })
    t.equal(c.state, 'SYN_SENT')
    c.expectsNothing()
    t.end()
  },
)

t.test(
  'S3: in SYN-SENT a SYN-ACK with a wrong ACK is answered <SEQ=SEG.ACK><CTL=RST>, and the open goes on',
  (t) => {
    const c = new Script(t)
    c.connects()
    c.ignores()
    for (const ack of [ISS, ISS + 2, ISS - 500]) {
      c.peerSends({ seq: IRS, ack, flags: SYN | ACK })
      c.expects({ seq: ack, flags: RST })
    }
    c.peerSends({ seq: IRS, ack: ISS + 1, flags: ACK })
    c.expectsNothing('a bare ACK, though right, opens nothing')
    t.equal(c.state, 'SYN_SENT')
    t.end()
  },
)

t.test(
  'S3: LISTEN ignores RST, answers ACK by RST, drops what has no SYN (RFC 9293 §3.10.7.2)',
  (t) => {
    const c = new Script(t)
    c.listens()
    c.peerSends({ seq: IRS, flags: RST })
    c.peerSends({ seq: IRS, ack: ISS, flags: RST | ACK })
    c.expectsNothing()
    c.peerSends({ seq: IRS, ack: ISS + 77, flags: ACK })
    c.expects({ seq: ISS + 77, flags: RST })
    c.peerSends({ seq: IRS, ack: ISS + 78, flags: SYN | ACK })
    c.expects({ seq: ISS + 78, flags: RST })
    c.peerSends({ seq: IRS, flags: FIN }, { seq: IRS, flags: 0, text: 'x' })
    c.expectsNothing('no SYN')
    t.equal(c.stack.tcp.demux.size, 0)
    c.peerSends({ seq: IRS, flags: SYN | FIN, text: 'abc' })
    c.expects({ seq: ISS, ack: IRS + 1, flags: SYN | ACK })
    t.end()
  },
)

t.test('S3: CLOSED answers all but RST by RST (RFC 9293 §3.10.7.1)', (t) => {
  const c = new Script(t)
  c.peerSends({ seq: IRS, flags: SYN })
  c.expects({ seq: 0, ack: IRS + 1, flags: RST | ACK })
  c.peerSends({ seq: IRS, flags: SYN | FIN, text: 'abc' })
  c.expects({ seq: 0, ack: IRS + 5, flags: RST | ACK })
  c.peerSends({ seq: IRS, ack: ISS + 9, flags: ACK, text: 'abc' })
  c.expects({ seq: ISS + 9, flags: RST })
  c.peerSends({ seq: IRS, flags: RST }, { seq: IRS, ack: ISS, flags: RST | ACK })
  c.expectsNothing('RST never provokes RST')
  t.equal(c.drops('tcp-no-connection'), 5)
  t.end()
})

t.test('S3: SYN-RECEIVED answers a wrong ACK by RST and goes on (§3.10.7.4 fifth)', (t) => {
  const c = new Script(t)
  c.listens()
  c.peerSends({ seq: IRS, flags: SYN })
  c.ignores()
  for (const ack of [ISS, ISS + 2]) {
    c.peerSends({ seq: IRS + 1, ack, flags: ACK })
    c.expects({ seq: ack, flags: RST })
  }
  c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK })
  t.equal(c.state, 'ESTABLISHED')
  t.end()
})

t.test(
  'S3: SYN-RECEIVED answers a wrong sequence number by ACK and accepts nothing (§3.10.7.4 first)',
  (t) => {
    const c = new Script(t)
    c.listens()
    c.peerSends({ seq: IRS, flags: SYN })
    c.ignores()
    c.peerSends({ seq: IRS + 100_000, ack: ISS + 1, flags: ACK, text: 'abc' })
    c.expects({ seq: ISS + 1, ack: IRS + 1, flags: ACK })
    t.equal(c.connection, null)
    t.end()
  },
)

t.test(
  'T2: RST in SYN-RECEIVED frees the place on the backlog; nothing is accepted (MUST-11)',
  (t) => {
    const c = new Script(t, { backlog: 1 })
    c.listens()
    c.peerSends({ seq: IRS, flags: SYN })
    c.ignores()
    c.peerSends({ seq: IRS + 1, flags: RST })
    c.expectsNothing()
    t.equal(c.listener?.embryonic, 0)
    t.equal(c.stack.tcp.demux.size, 0)
    c.peerSends({ seq: IRS, flags: SYN })
    c.expects({ flags: SYN | ACK })
    t.end()
  },
)

t.test('T6: a full backlog keeps no further SYN; a later one is kept again', (t) => {
  const c = new Script(t, { backlog: 2 })
  c.listens()
  for (let i = 0; i < 5; i++) c.peerSends({ seq: IRS, flags: SYN, srcPort: 5000 + i })
  t.equal(c.ignores().filter((s) => s.flags === (SYN | ACK)).length, 5, 'three by cookies')
  t.equal(c.stack.tcp.demux.size, 2)
  c.peerSends({ seq: IRS + 1, flags: RST, srcPort: 5000 })
  c.peerSends({ seq: IRS, flags: SYN, srcPort: 5004 })
  c.expects({ flags: SYN | ACK, dstPort: 5004 })
  t.equal(c.stack.tcp.openings.cookies.sent, 3)
  t.end()
})

t.test('T6: the limit of connections holds for SYNs and for connect()', (t) => {
  const c = new Script(t, { maxConnections: 1 })
  c.listens()
  c.peerSends({ seq: IRS, flags: SYN })
  c.ignores()
  c.peerSends({ seq: IRS, flags: SYN, srcPort: 5001 })
  c.expectsNothing()
  t.equal(c.drops('tcp-connection-limit'), 1)
  t.throws(() => c.connects(), { code: 'ENOBUFS' })
  t.end()
})

t.test(
  'T2: text that comes before accept() is kept, with the last ACK of the handshake too',
  (t) => {
    const c = new Script(t)
    c.listens()
    c.peerSends({ seq: IRS, flags: SYN })
    c.ignores()
    c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, text: 'hello' })
    c.expects({ seq: ISS + 1, ack: IRS + 6, flags: ACK })
    t.equal(c.read(), 'hello')
    t.end()
  },
)

t.test(
  'T2: text of a SYN is left for the peer to send again; FIN in the handshake is taken',
  (t) => {
    const c = new Script(t)
    c.listens()
    c.peerSends({ seq: IRS, flags: SYN, text: 'early' })
    c.expects({ seq: ISS, ack: IRS + 1, flags: SYN | ACK })
    c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK | FIN, text: 'early' })
    t.equal(c.state, 'CLOSE_WAIT')
    t.equal(c.read(), 'early')
    t.end()
  },
)

t.test('T2: text and FIN of a SYN-ACK are taken at once (RFC 9293 §3.10.7.3)', (t) => {
  const c = new Script(t)
  c.connects()
  c.ignores()
  const flags = SYN | ACK | FIN
  c.peerSends({ seq: IRS, ack: ISS + 1, flags, text: 'hello', mss: 1460 })
  c.expects({ seq: ISS + 1, ack: IRS + 7, flags: ACK })
  t.equal(c.state, 'CLOSE_WAIT')
  t.equal(c.read(), 'hello')
  t.end()
})

t.test('T2: text of the SYN of a simultaneous open waits for the handshake', (t) => {
  const c = new Script(t)
  c.connects()
  c.ignores()
  c.peerSends({ seq: IRS, flags: SYN, text: 'early', mss: 1460 })
  c.expects({ seq: ISS, ack: IRS + 1, flags: SYN | ACK })
  t.equal(c.read(), '', 'not established')
  c.peerSends({ seq: IRS + 6, ack: ISS + 1, flags: ACK })
  t.equal(c.state, 'ESTABLISHED')
  t.equal(c.read(), 'early')
  c.advance(50)
  c.expects({ seq: ISS + 1, ack: IRS + 6, flags: ACK })
  t.end()
})

t.test('T2: what is written before the open completes leaves after it', (t) => {
  const c = new Script(t)
  c.connects()
  c.ignores()
  t.equal(c.write('first'), 5)
  c.shutdown()
  c.expectsNothing()
  c.peerSends({ seq: IRS, ack: ISS + 1, flags: SYN | ACK, mss: 1460 })
  c.expects({ seq: ISS + 1, ack: IRS + 1, flags: ACK | FIN, text: 'first' })
  t.equal(c.state, 'FIN_WAIT_1')
  t.end()
})

t.test('T2: closing the listener resets connections that nobody accepted', (t) => {
  const c = new Script(t)
  const listener = c.listens()
  c.peerSends({ seq: IRS, flags: SYN, srcPort: 5001 })
  c.ignores()
  c.deliver(c.frameOf({ seq: IRS + 1, ack: ISS + 1, flags: ACK, srcPort: 5001 }))
  c.stack.closeListener(listener)
  c.drain()
  c.expects({ seq: ISS + 1, flags: RST | ACK, dstPort: 5001 })
  c.peerSends({ seq: IRS, flags: SYN })
  c.expects({ flags: RST | ACK, ack: IRS + 1 })
  t.end()
})

t.test(
  'T2: a handshake that ends behind its listener is answered as by a closed port (RFC 9293 §3.10.7.1)',
  (t) => {
    const c = new Script(t)
    const listener = c.listens()
    c.peerSends({ seq: IRS, flags: SYN })
    c.expects({ flags: SYN | ACK })
    c.stack.closeListener(listener)
    c.drain()
    c.expectsNothing()
    c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK | PSH })
    c.expects({ seq: ISS + 1, flags: RST }, '<SEQ=SEG.ACK><CTL=RST>')
    c.expectsNothing()
    t.equal(c.stack.tcp.demux.size, 0)
    t.end()
  },
)

t.test(
  'T2: an open that is given up before its SYN left says nothing; behind the SYN it is forgotten',
  (t) => {
    const c = new Script(t)
    const early = c.stack.connect(0x0a000001 as never, PEER_PORT, c.now)
    early.abort()
    c.drain()
    c.expectsNothing()
    t.equal(early.state, TcpState.CLOSED)
    const later = c.connects()
    c.expects({ flags: SYN })
    later.abort()
    c.drain()
    c.expectsNothing('an open has nothing to reset (RFC 9293 §3.10.5)')
    t.equal(c.stack.tcp.demux.size, 0)
    t.end()
  },
)

t.test(
  'T6: initial sequence numbers differ by endpoint and follow the clock (RFC 6528, MUST-8)',
  (t) => {
    const iss = (port: number, now: number): number => {
      const c = new Script(t, {}, now)
      c.listens()
      c.peerSends({ seq: IRS, flags: SYN, srcPort: port })
      return c.iss
    }
    t.equal((iss(5000, 1_000_010) - iss(5000, 1_000_000)) | 0, 2500, '250 numbers a millisecond')
    t.not((iss(5001, 1_000_000) - iss(5000, 1_000_000)) | 0, 1)
    t.ok(Math.abs((iss(5001, 1_000_000) - iss(5000, 1_000_000)) | 0) > 1000)
    t.end()
  },
)

t.test('T6: ephemeral ports lie in the range and are random (RFC 6056)', (t) => {
  const c = new Script(t)
  const ports = [0, 0, 0, 0].map(() => c.stack.connect(0x0a000001 as never, 7, c.now).localPort)
  t.ok(ports.every((p) => p >= 32_768 && p <= 60_999))
  t.equal(new Set(ports).size, 4)
  t.notSame(
    ports,
    [0, 1, 2, 3].map((i) => (ports[0] as number) + i),
  )
  t.end()
})

t.test(
  'T2: bind twice is EADDRINUSE; no route is ENETUNREACH; the same four-tuple twice is EADDRINUSE',
  (t) => {
    const c = new Script(t)
    c.listens()
    t.throws(() => c.listens(), { code: 'EADDRINUSE', message: /close the server/ })
    t.throws(() => c.stack.connect(0x08080808 as never, 80, c.now), { code: 'ENETUNREACH' })
    c.connects()
    t.throws(() => c.connects(), { code: 'EADDRINUSE' })
    t.end()
  },
)

t.test('T2: the whole handshake and a stream across the wrap of sequence space, both ways', (t) => {
  for (const open of [established, connected]) {
    const c = open(t, { iss: 0xffff_ff00, irs: 0xffff_fff0, mss: 1460 })
    c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, text: octets(100) })
    c.expects({ seq: ISS + 1, ack: IRS + 101, flags: ACK })
    t.equal(c.read(), octets(100))
    c.write(octets(1400))
    c.expects({ seq: ISS + 1, ack: IRS + 101, flags: ACK, text: octets(1400) })
    c.peerSends({ seq: IRS + 101, ack: ISS + 1401, flags: ACK })
    t.equal(c.c.tcb.flightSize, 0)
  }
  t.end()
})
