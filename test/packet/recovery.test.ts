/**
 * Loss recovery and congestion control: RFC 5681, RFC 6582 (NewReno), RFC 6675, RFC 3042, RFC 6928.
 * The scripts that count segments ask for Reno; those of CUBIC are in congestion.test.ts.
 */
import t from 'tap'
import { ACK, established, IRS, ISS, octets, type Script } from './peer.js'

function acks(c: Script, ack: number, wnd?: number): void {
  c.peerSends({
    seq: IRS + 1,
    ack: ISS + 1 + ack,
    flags: ACK,
    ...(wnd === undefined ? {} : { wnd }),
  })
}

function offsets(c: Script): number[] {
  return c.ignores().map((s) => s.seq - ISS - 1)
}

/** 10 segments of 1000 octets are in flight, more is waiting. */
function flying(
  t: Parameters<typeof established>[0],
  waiting = 20_000,
  congestion: 'cubic' | 'reno' = 'reno',
): Script {
  const c = established(t, { mss: 1000, congestion })
  c.write(octets(10_000 + waiting))
  t.equal(c.ignores().length, 10, 'the initial window is ten segments (RFC 6928)')
  return c
}

t.test(
  'T4: three duplicate ACKs: fast retransmit; two: limited transmit of new text (RFC 5681 §3.2, RFC 3042)',
  (t) => {
    const c = flying(t)
    acks(c, 0)
    t.strictSame(offsets(c), [10_000])
    acks(c, 0)
    t.strictSame(offsets(c), [11_000])
    acks(c, 0)
    t.equal(offsets(c)[0], 0, 'what is missing is sent again')
    t.equal(c.c.sender.retransmissions, 1)
    t.end()
  },
)

t.test('T4: the window is halved once, and is back to ssthresh when all is acknowledged', (t) => {
  const c = flying(t, 0)
  for (let i = 0; i < 9; i++) acks(c, 0)
  t.equal(c.c.sender.congestion.ssthresh, 5000)
  acks(c, 10_000)
  t.equal(c.c.sender.congestion.cwnd, 5000)
  t.equal(c.c.sender.retransmissions, 1)
  t.end()
})

t.test('T4: NewReno: a partial ACK shows the next loss at once (RFC 6582 §3.2)', (t) => {
  const c = flying(t, 0)
  for (let i = 0; i < 7; i++) acks(c, 0)
  offsets(c)
  acks(c, 4000)
  t.equal(offsets(c)[0], 4000)
  acks(c, 7000)
  t.equal(offsets(c)[0], 7000)
  acks(c, 10_000)
  t.equal(c.c.tcb.flightSize, 0)
  t.equal(c.c.sender.retransmissions, 3)
  t.equal(c.c.sender.congestion.ssthresh, 5000, 'one loss event, one reduction')
  t.end()
})

t.test(
  'T4: not duplicates: an ACK with text, with another window, or with nothing in flight (RFC 5681 §2)',
  (t) => {
    const c = flying(t, 0)
    for (let i = 0; i < 5; i++) {
      c.peerSends({ seq: IRS + 1 + i, ack: ISS + 1, flags: ACK, text: 'x' })
      c.peerSends({ seq: IRS + 2 + i, ack: ISS + 1, flags: ACK, wnd: 30_000 + i })
    }
    t.ok(c.ignores().every((s) => s.length === 0))
    for (let i = 0; i < 6; i++) c.peerSends({ seq: IRS + 6, ack: ISS + 10_001, flags: ACK })
    c.expectsNothing()
    t.equal(c.c.sender.retransmissions, 0)
    t.end()
  },
)

t.test(
  'T4: after a time-out one segment leaves, and slow start goes on from there (RFC 5681 §3.1)',
  (t) => {
    const c = flying(t, 0)
    c.advance(250)
    t.strictSame(offsets(c), [0])
    t.equal(c.c.sender.congestion.cwnd, 1000)
    acks(c, 1000)
    t.strictSame(offsets(c), [1000, 2000])
    acks(c, 3000)
    t.equal(offsets(c)[0], 3000)
    acks(c, 10_000)
    c.advance(10_000)
    c.expectsNothing()
    t.end()
  },
)

t.test('T4: Karn: a fast retransmission ends the timing of what it repeats', (t) => {
  const c = flying(t, 0)
  const { srttMs } = c.c.sender.rtt
  for (let i = 0; i < 3; i++) acks(c, 0)
  c.advance(100)
  acks(c, 10_000)
  t.equal(c.c.sender.rtt.srttMs, srttMs)
  t.end()
})

t.test(
  'T5: slow start doubles the window in a round trip; above ssthresh it grows by a segment',
  (t) => {
    const c = flying(t, 180_000)
    acks(c, 1000)
    t.strictSame(offsets(c), [10_000, 11_000])
    const { congestion } = c.c.sender
    congestion.ssthresh = congestion.cwnd
    const before = congestion.cwnd
    for (let at = 2000; at <= 12_000; at += 1000) acks(c, at)
    t.equal(congestion.cwnd, before + 1000)
    t.end()
  },
)

t.test('T5: after an idle time the window is that of a start (RFC 5681 §4.1)', (t) => {
  const c = established(t, { mss: 1000 })
  c.c.sender.congestion.cwnd = 60_000
  c.write('x')
  acks(c, 1)
  c.ignores()
  c.advance(10_000)
  c.write(octets(30_000, 1))
  t.equal(c.ignores().length, 10)
  t.end()
})

t.test('T4: text that was lost twice is found by the timer; the stream goes on', (t) => {
  const c = flying(t, 0)
  for (let i = 0; i < 9; i++) acks(c, 0)
  offsets(c)
  c.advance(1000)
  t.ok(offsets(c).every((at) => at === 0))
  acks(c, 10_000)
  t.equal(c.c.tcb.flightSize, 0)
  t.end()
})

t.test(
  'T4: retransmission at a window that shrank is still allowed (RFC 9293 §3.8.6, SHLD-16)',
  (t) => {
    const c = flying(t)
    acks(c, 2000, 100)
    c.ignores()
    c.advance(400)
    t.equal(offsets(c)[0], 2000)
    t.end()
  },
)

t.test('T2: retransmission across the wrap of sequence space', (t) => {
  const c = established(t, { mss: 1000, iss: 0xffff_f000 })
  c.write(octets(8000))
  c.ignores()
  for (let i = 0; i < 4; i++) acks(c, 2000)
  t.ok(c.ignores().some((s) => s.seq === ISS + 2001 && s.text === octets(1000, 2000)))
  acks(c, 8000)
  t.equal(c.c.tcb.flightSize, 0)
  t.end()
})
