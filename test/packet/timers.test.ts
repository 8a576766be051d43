/**
 * Timers: retransmission (RFC 6298), persist (RFC 9293 §3.8.6.1), delayed ACK (§3.8.6.3), TIME-WAIT (§3.6.1).
 */
import t from 'tap'
import {
  ACK,
  established,
  FIN,
  IRS,
  ISS,
  octets,
  Script as Peer,
  RST,
  type Script,
  SYN,
} from './peer.js'

/** Text and its acknowledgement 100 ms later, so that SRTT is 100 ms or so. */
function measured(c: Script, times = 12): number {
  let at = 0
  for (let i = 0; i < times; i++) {
    c.write(octets(100, at))
    c.ignores()
    c.advance(100)
    at += 100
    c.peerSends({ seq: IRS + 1, ack: ISS + 1 + at, flags: ACK })
    c.ignores()
  }
  return at
}

t.test(
  'T4: text without ACK is sent again at RTO, 2 RTO, 4 RTO ..., 60 s at most (RFC 6298 §5, MUST-19)',
  (t) => {
    const c = established(t)
    const at = measured(c)
    const rto = c.c.sender.rtt.rtoMs
    c.write('lost')
    const sent = c.expects({ text: 'lost' }).at
    c.advance(200_000)
    const gaps = c.ignores().map((s, i, all) => {
      t.equal(s.seq, ISS + 1 + at)
      t.equal(s.text, 'lost')
      return s.at - (all[i - 1]?.at ?? sent)
    })
    t.strictSame(
      gaps.slice(0, 5).map(Math.round),
      [1, 2, 4, 8, 16].map((n) => Math.round(n * rto)),
    )
    t.ok(Math.max(...gaps) <= 60_000)
    t.end()
  },
)

t.test('T4: the first RTO is 1 s, and it follows the round-trip time (RFC 6298 §2)', (t) => {
  const c = new Peer(t)
  c.connects()
  t.equal(c.c.sender.rtt.rtoMs, 1000)
  c.advance(300)
  c.peerSends({ seq: IRS, ack: ISS + 1, flags: SYN | ACK, mss: 1460 })
  t.equal(c.c.sender.rtt.srttMs, 300)
  t.equal(c.c.sender.rtt.rttvarMs, 150)
  t.equal(c.c.sender.rtt.rtoMs, 900)
  t.end()
})

t.test(
  'T4: after a lost SYN data begins with an RTO of 3 s and a window of one segment (RFC 6298 §5.7, RFC 5681 §3.1)',
  (t) => {
    const c = new Peer(t)
    c.connects()
    c.advance(1200)
    c.peerSends({ seq: IRS, ack: ISS + 1, flags: SYN | ACK, mss: 1000 })
    t.equal(c.c.sender.rtt.rtoMs, 3000)
    c.ignores()
    c.write(octets(10_000))
    t.equal(c.ignores().length, 1)
    c.advance(2900)
    c.expectsNothing()
    c.advance(200)
    t.equal(c.ignores().length, 1)
    const d = new Peer(t)
    d.listens()
    d.peerSends({ seq: IRS, flags: SYN, mss: 1000 })
    d.advance(1200)
    t.equal(d.ignores().length, 2, 'SYN-ACK, and again')
    d.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK })
    d.write(octets(10_000))
    t.equal(d.ignores().length, 1, 'so for the other side')
    t.end()
  },
)

t.test(
  'T4: Karn: what was sent twice is not measured; a new ACK ends the back-off (MUST-18)',
  (t) => {
    const c = established(t)
    measured(c)
    const { srttMs } = c.c.sender.rtt
    c.write('lost')
    c.advance(c.c.sender.rtt.rtoMs + 50)
    t.equal(c.ignores().length, 2)
    const backedOff = c.c.sender.rtt.rtoMs
    c.peerSends({ seq: IRS + 1, ack: ISS + 1 + 1204, flags: ACK })
    t.equal(c.c.sender.rtt.srttMs, srttMs)
    t.equal(c.c.sender.rtt.rtoMs * 2, backedOff)
    const d = new Peer(t)
    d.connects()
    d.advance(1200)
    d.peerSends({ seq: IRS, ack: ISS + 1, flags: SYN | ACK })
    t.equal(d.c.sender.rtt.srttMs, -1, 'nor is a SYN that was sent twice')
    t.end()
  },
)

t.test(
  'T4: the timer is restarted by an ACK of part, and stopped by one of all (RFC 6298 §5.2, 5.3)',
  (t) => {
    const c = established(t, { mss: 1000 })
    c.write(octets(2000))
    c.ignores()
    c.advance(150)
    c.peerSends({ seq: IRS + 1, ack: ISS + 1001, flags: ACK })
    c.advance(150)
    c.expectsNothing('the timer runs from the ACK')
    c.advance(100)
    c.expects({ seq: ISS + 1001, length: 1000 })
    c.peerSends({ seq: IRS + 1, ack: ISS + 2001, flags: ACK })
    c.advance(100_000)
    c.expectsNothing()
    t.end()
  },
)

t.test(
  'T2: a peer that never answers is given up, 100 s after the first loss or later (SHLD-11, MUST-20)',
  (t) => {
    const c = established(t)
    c.write('lost')
    c.advance(3_600_000)
    const last = c.ignores().at(-1)?.at ?? 0
    t.ok(last > 100_000)
    t.equal(c.c.error, 'ETIMEDOUT')
    t.ok(c.closed)
    t.equal(c.stack.tcp.demux.size, 0)
    t.equal(c.stack.nextDeadline(), Number.POSITIVE_INFINITY)
    t.end()
  },
)

t.test(
  'T2: a zero window is probed, ever more rarely, for as long as the peer answers (MUST-36, SHLD-29, SHLD-30, MUST-35, MUST-37)',
  (t) => {
    const c = established(t, { wnd: 0 })
    c.write(octets(5000))
    c.expectsNothing()
    const probes: number[] = []
    for (let i = 0; i < 40; i++) {
      c.advance(60_000)
      for (const s of c.ignores()) {
        t.equal(s.seq, ISS + 1)
        t.equal(s.length, 1)
        probes.push(s.at)
        c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, wnd: 0 })
      }
    }
    t.equal(c.state, 'ESTABLISHED', 'after forty minutes')
    const gaps = probes.slice(1).map((at, i) => at - (probes[i] as number))
    t.ok(
      gaps.every((gap, i) => i === 0 || gap >= (gaps[i - 1] as number)),
      `${gaps}`,
    )
    t.ok(Math.max(...gaps) <= 60_000)
    t.end()
  },
)

t.test(
  'T2: when the window opens the text flows at once, whether the probe was taken or not',
  (t) => {
    for (const taken of [0, 1]) {
      const c = established(t, { wnd: 0, mss: 1000 })
      c.write(octets(3000))
      c.advance(30_000)
      c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, wnd: 0 })
      t.ok(c.ignores().length > 2, 'it was probed')
      c.peerSends({ seq: IRS + 1, ack: ISS + 1 + taken, flags: ACK, wnd: 10_000 })
      let una = taken
      for (let i = 0; i < 5 && una < 3000; i++) {
        const sent = c.ignores()
        t.ok(sent.length > 0, 'text leaves without a timer')
        for (const s of sent)
          if (s.seq <= ISS + 1 + una) una = Math.max(una, s.seq + s.length - ISS - 1)
        c.advance(1)
        c.peerSends({ seq: IRS + 1, ack: ISS + 1 + una, flags: ACK, wnd: 10_000 })
      }
      t.equal(
        una,
        3000,
        `all of it is there within 5 ms; the probe was ${taken ? '' : 'not '}taken`,
      )
    }
    t.end()
  },
)

t.test('T2: a FIN at a zero window is probed, too', (t) => {
  const c = established(t, { wnd: 0 })
  c.shutdown()
  c.advance(5000)
  t.ok(c.ignores().some((s) => (s.flags & FIN) !== 0))
  t.end()
})

t.test(
  'T2: an ACK is delayed by less than 500 ms; every second full segment is acknowledged at once (MUST-58, SHLD-18, MUST-40, SHLD-19)',
  (t) => {
    for (const timestamps of [false, true]) {
      const c = established(t, { timestamps, receiveLimit: 1 << 20, mss: 1460 })
      const size = timestamps ? 1448 : 1460
      let at = 0
      const give = (): void => {
        c.peerSends({ seq: IRS + 1 + at, ack: ISS + 1, flags: ACK, text: octets(size, at) })
        at += size
      }
      for (let i = 0; i < 20; i++) give()
      c.advance(500)
      c.ignores()
      give()
      c.expectsNothing('one segment may wait')
      give()
      c.expects({ ack: IRS + 1 + at })
      give()
      const came = c.now - c.start
      c.advance(499)
      const late = c.expects({ ack: IRS + 1 + at })
      t.ok(late.at > came && late.at - came < 500, `after ${late.at - came} ms`)
      c.advance(1000)
      c.expectsNothing()
    }
    t.end()
  },
)

t.test('T2: TIME-WAIT lasts two MSL, answers a repeated FIN and starts again (MUST-13)', (t) => {
  const c = timeWait(t)
  c.advance(40_000)
  c.peerSends({ seq: IRS + 1, ack: ISS + 2, flags: FIN | ACK })
  c.expects({ seq: ISS + 2, ack: IRS + 2, flags: ACK })
  c.advance(59_000)
  t.equal(c.state, 'TIME_WAIT', 'the wait began anew')
  c.advance(2000)
  t.equal(c.state, 'CLOSED')
  t.equal(c.c.error, '')
  t.ok(c.closed)
  t.equal(c.stack.tcp.demux.size, 0)
  c.expectsNothing()
  t.end()
})

function timeWait(t: Parameters<typeof established>[0], timestamps = false): Script {
  const c = established(t, { timestamps })
  c.shutdown()
  c.peerSends({ seq: IRS + 1, ack: ISS + 2, flags: FIN | ACK })
  c.ignores()
  t.equal(c.state, 'TIME_WAIT')
  return c
}

t.test('S3: a reset does not cut TIME-WAIT short (RFC 1337)', (t) => {
  const c = timeWait(t)
  c.peerSends({ seq: IRS + 2, flags: RST })
  t.equal(c.state, 'TIME_WAIT')
  c.expectsNothing()
  t.end()
})

t.test(
  'T2: a new SYN ends TIME-WAIT, in or beyond the old window, by sequence number or timestamp (RFC 6191, SHLD-4)',
  (t) => {
    for (const ahead of [3, 1000, 1_000_000]) {
      const c = timeWait(t)
      c.peerSends({ seq: IRS + ahead, flags: SYN })
      c.expects({ ack: IRS + ahead + 1, flags: SYN | ACK }, `${ahead} ahead`)
    }
    const old = timeWait(t)
    old.peerSends({ seq: IRS - 100_000, flags: SYN })
    old.expects({ seq: ISS + 2, ack: IRS + 2, flags: ACK }, 'an old SYN is answered by ACK')
    const stamped = timeWait(t, true)
    stamped.advance(10)
    stamped.peerSends({ seq: IRS - 100_000, flags: SYN, ts: [stamped.peerClock() + 1, 0] })
    stamped.expects({ ack: IRS - 99_999, flags: SYN | ACK })
    t.end()
  },
)

t.test('T2: an orphan does not wait for ever in FIN-WAIT-2', (t) => {
  const c = established(t)
  c.close()
  c.expects({ flags: FIN | ACK })
  c.peerSends({ seq: IRS + 1, ack: ISS + 2, flags: ACK })
  t.equal(c.state, 'FIN_WAIT_2')
  c.advance(61_000)
  t.equal(c.state, 'CLOSED')
  t.equal(c.stack.tcp.demux.size, 0)
  t.end()
})

t.test('T2: half-closed is no orphan: FIN-WAIT-2 lasts as long as the application reads', (t) => {
  const c = established(t)
  c.shutdown()
  c.ignores()
  c.peerSends({ seq: IRS + 1, ack: ISS + 2, flags: ACK })
  c.advance(3_600_000)
  t.equal(c.state, 'FIN_WAIT_2')
  c.peerSends({ seq: IRS + 1, ack: ISS + 2, flags: ACK, text: 'late' })
  t.equal(c.read(), 'late')
  t.end()
})
