/**
 * TCP options: MSS (RFC 9293 §3.7.1), window scale and timestamps (RFC 7323), SACK-permitted (RFC 2018), each agreed on
 * and each absent.
 */
import t from 'tap'
import {
  ACK,
  connected,
  established,
  FIN,
  IRS,
  ISS,
  octets,
  PSH,
  RST,
  Script,
  SYN,
} from './peer.js'

const ALL = { windowScale: 7, sack: true, timestamps: true } as const

t.test('T3: the SYN-ACK repeats what the SYN offered, and nothing else', (t) => {
  for (let offer = 0; offer < 8; offer++) {
    const c = new Script(t, {
      windowScale: offer & 1 ? 7 : null,
      sack: (offer & 2) !== 0,
      timestamps: (offer & 4) !== 0,
    })
    c.listens()
    c.peerSends({ seq: IRS, flags: SYN, ...c.synOptions() })
    const synAck = c.expects({ flags: SYN | ACK, mss: 1460 })
    t.equal(synAck.windowScale !== undefined, (offer & 1) !== 0, `${offer}: window scale`)
    t.equal(synAck.sackPermitted, (offer & 2) !== 0, `${offer}: SACK-permitted`)
    t.equal(synAck.ts !== undefined, (offer & 4) !== 0, `${offer}: timestamps`)
    if (synAck.ts !== undefined) t.equal(synAck.ts[1], 5000, 'TSecr is the TSval of the SYN')
    c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK })
    t.equal(c.c.tcb.sackOk, (offer & 2) !== 0)
    t.equal(c.c.tcb.tsOk, (offer & 4) !== 0)
    t.equal(c.c.tcb.sndScale, offer & 1 ? 7 : 0)
  }
  t.end()
})

t.test('T3: an active open uses only what the SYN-ACK agrees to', (t) => {
  for (let offer = 0; offer < 8; offer++) {
    const c = connected(t, {
      windowScale: offer & 1 ? 7 : null,
      sack: (offer & 2) !== 0,
      timestamps: (offer & 4) !== 0,
    })
    t.equal(c.c.tcb.sackOk, (offer & 2) !== 0, `${offer}: SACK`)
    t.equal(c.c.tcb.tsOk, (offer & 4) !== 0, `${offer}: timestamps`)
    t.equal(c.c.tcb.sndScale, offer & 1 ? 7 : 0, `${offer}: window scale`)
    if ((offer & 1) === 0) t.equal(c.c.tcb.rcvScale, 0)
    c.write('x')
    t.equal(c.expects({ text: 'x' }).ts !== undefined, (offer & 4) !== 0)
  }
  t.end()
})

t.test(
  'T3: MSS: the peer is never sent more; without the option it is 536 (MUST-14, MUST-15, MUST-16)',
  (t) => {
    const cases = [
      { mss: 1000, wanted: 1000 },
      { mss: null, wanted: 536 },
      { mss: 0, wanted: 536 },
      { mss: 1, wanted: 88 },
      { mss: 9000, wanted: 1460 },
    ]
    for (const { mss, wanted } of cases) {
      for (const open of [established, connected]) {
        const c = open(t, { mss })
        c.write(octets(3000))
        c.expects({ seq: ISS + 1, length: wanted }, `MSS ${mss}`)
      }
    }
    t.end()
  },
)

t.test('T3: the octets of the timestamps come off the text (RFC 6691, RFC 9293 §3.7.1)', (t) => {
  const c = established(t, { mss: 1000, timestamps: true })
  c.write(octets(3000))
  c.expects({ length: 988 })
  t.end()
})

t.test('T3: the window of a SYN is never scaled, those behind it are (RFC 7323 §2.2)', (t) => {
  const c = new Script(t, { windowScale: 3 })
  c.listens()
  c.peerSends({ seq: IRS, flags: SYN, ...c.synOptions(), wnd: 2000 })
  c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, wnd: 1000 })
  t.equal(c.c.tcb.sndWnd, 8000)
  const d = new Script(t, { windowScale: 3 })
  d.connects()
  d.peerSends({ seq: IRS, ack: ISS + 1, flags: SYN | ACK, ...d.synOptions(), wnd: 2000 })
  t.equal(d.c.tcb.sndWnd, 2000)
  d.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, wnd: 2000 })
  t.equal(d.c.tcb.sndWnd, 16_000)
  t.end()
})

t.test('T3: a shift above 14 is taken as 14 (RFC 7323 §2.3)', (t) => {
  const c = established(t, { windowScale: 200, wnd: 10 })
  t.equal(c.c.tcb.sndScale, 14)
  t.equal(c.c.tcb.sndWnd, 10 * 16_384)
  t.end()
})

t.test('T3: our own windows are scaled by what our SYN said', (t) => {
  const c = established(t, { windowScale: 2, receiveLimit: 1 << 20 })
  c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, text: octets(1000) })
  const ack = c.expects({ ack: IRS + 1001 })
  t.equal(ack.wnd * 2 ** c.c.tcb.rcvScale, c.c.tcb.rcvWnd)
  t.ok(c.c.tcb.rcvWnd > 65_535)
  t.end()
})

t.test(
  'T3: a large buffer without window scale: 65535 are offered, and no update follows the other',
  (t) => {
    const c = established(t, { windowScale: null, receiveLimit: 1 << 20 })
    c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, text: octets(1000) })
    c.expects({ ack: IRS + 1001, wnd: 64_535 })
    c.expectsNothing()
    t.equal(c.read(), octets(1000))
    c.expectsNothing()
    t.end()
  },
)

t.test(
  'T3: timestamps echo the last in-order TSval; TSval follows the clock (RFC 7323 §4.3)',
  (t) => {
    const c = established(t, { ...ALL, mss: 1460 })
    c.advance(100)
    c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, text: octets(100), ts: [9000, 0] })
    const first = c.expects({ ack: IRS + 101 })
    t.equal(first.ts?.[1], 9000)
    c.advance(50)
    c.peerSends({ seq: IRS + 201, ack: ISS + 1, flags: ACK, text: octets(100), ts: [9050, 0] })
    const second = c.expects({ ack: IRS + 101 })
    t.equal(second.ts?.[1], 9000, 'text out of order does not move TS.Recent')
    t.equal(((second.ts?.[0] ?? 0) - (first.ts?.[0] ?? 0)) | 0, 50)
    t.end()
  },
)

t.test(
  'T3: PAWS: an old timestamp is acknowledged and dropped; RST is exempt (RFC 7323 §5.3)',
  (t) => {
    const c = established(t, ALL)
    c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, text: 'abc', ts: [8000, 0] })
    c.ignores()
    c.peerSends({ seq: IRS + 4, ack: ISS + 1, flags: ACK, text: 'old', ts: [7999, 0] })
    c.expects({ ack: IRS + 4, flags: ACK })
    t.equal(c.read(), 'abc')
    c.peerSends({ seq: IRS + 4, flags: RST, ts: [1, 0] })
    t.equal(c.c.error, 'ECONNRESET')
    t.end()
  },
)

t.test(
  'T3: a segment whose ACK is refused says nothing of the time either (RFC 7323 §4.3, RFC 5961 §5.2)',
  (t) => {
    const c = established(t, ALL)
    c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, text: 'abc', ts: [8000, 0] })
    c.ignores()
    for (const flags of [ACK, FIN | ACK]) {
      c.peerSends({ seq: IRS + 4, ack: ISS + 5000, flags, ts: [900_000, 0] })
      t.equal(c.expects({ ack: IRS + 4, flags: ACK }).ts?.[1], 8000, 'ACK of what was never sent')
    }
    c.peerSends({ seq: IRS + 4, flags: SYN, ts: [900_000, 0] })
    t.equal(c.expects({ ack: IRS + 4, flags: ACK }).ts?.[1], 8000, 'SYN')
    c.peerSends({ seq: IRS + 4, ack: ISS + 1, flags: ACK, text: 'def', ts: [8001, 0] })
    t.equal(c.read(), 'abcdef', 'what the peer sends is not refused')
    t.equal(c.c.tcb.tsRecent, 8001)
    t.end()
  },
)

t.test('T3: TSval may wrap; and TS.Recent is no evidence after 24 days (RFC 7323 §5.5)', (t) => {
  const c = established(t, { timestamps: true })
  c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, text: 'a', ts: [0x7000_0000, 0] })
  c.peerSends({ seq: IRS + 2, ack: ISS + 1, flags: ACK, text: 'b', ts: [0xe000_0000, 0] })
  c.peerSends({ seq: IRS + 3, ack: ISS + 1, flags: ACK, text: 'c', ts: [5, 0] })
  t.equal(c.read(), 'abc')
  c.advance(25 * 24 * 3_600_000)
  c.peerSends({ seq: IRS + 4, ack: ISS + 1, flags: ACK, text: 'd', ts: [4, 0] })
  t.equal(c.read(), 'd')
  t.end()
})

t.test(
  'T3: a segment without the agreed timestamps is dropped, but RST and SYN are looked at (RFC 7323 §3.2)',
  (t) => {
    const c = established(t, { timestamps: true })
    c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, text: 'abc', ts: null })
    c.expectsNothing()
    t.equal(c.read(), '')
    c.peerSends({ seq: IRS + 1, flags: SYN, ts: null })
    c.expects({ seq: ISS + 1, ack: IRS + 1, flags: ACK })
    c.peerSends({ seq: IRS + 1, flags: RST, ts: null })
    t.equal(c.c.error, 'ECONNRESET')
    t.end()
  },
)

t.test(
  'T3: options that are unknown, empty, too long, or cut off do no harm (MUST-5, MUST-6, MUST-7, MUST-4)',
  (t) => {
    const oddities: number[][] = [
    [254, 4, 0, 0], [2, 4, 5, 0xb4, 77, 3, 9], [0, 2, 4, 1], [2, 0, 0, 0], [2, 1, 0, 0], [2, 40, 5, 5],
    [3, 4, 7, 0], [8, 9, 1, 1, 1, 1, 1, 1, 1], [5, 9, 1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 2], [4], [5, 2],
  ] // biome-ignore format: a list is read as a list
    for (const rawOptions of oddities) {
      const c = new Script(t)
      c.listens()
      c.peerSends({ seq: IRS, flags: SYN, rawOptions })
      c.expects({ flags: SYN | ACK }, `SYN with options ${rawOptions}`)
      c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK })
      c.ignores()
      c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, rawOptions, text: 'x' })
      c.expects({ ack: IRS + 2, flags: ACK })
    }
    t.end()
  },
)

t.test('T3: options of a SYN are ignored in later segments (MUST-65)', (t) => {
  const c = established(t, { windowScale: 2, mss: 1000, wnd: 1000 })
  c.peerSends({
    seq: IRS + 1,
    ack: ISS + 1,
    flags: ACK,
    mss: 50,
    windowScale: 9,
    sackPermitted: true,
  })
  t.equal(c.c.tcb.sndMss, 1000)
  t.equal(c.c.tcb.sndScale, 2)
  t.notOk(c.c.tcb.sackOk)
  t.end()
})

t.test('T2: PSH marks the last segment of a write (RFC 9293 §3.9.1.2, MUST-61, SHLD-27)', (t) => {
  const c = established(t, { mss: 1000 })
  c.write(octets(2500))
  t.strictSame(
    c.ignores().map((s) => (s.flags & PSH) !== 0),
    [false, false, true],
  )
  t.end()
})
