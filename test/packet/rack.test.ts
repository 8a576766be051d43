/**
 * RACK-TLP (RFC 8985): loss found by time, and the tail loss probe. The round trip of these scripts is 40 ms.
 */
import t from 'tap'
import { ACK, established, FIN, IRS, ISS, octets, PSH, type Script } from './peer.js'

const RTT = 40

function acks(c: Script, ack: number, ...sack: [number, number][]): void {
  c.peerSends({
    seq: IRS + 1,
    ack: ISS + 1 + ack,
    flags: ACK,
    ...(sack.length === 0
      ? {}
      : { sack: sack.map(([l, r]) => [ISS + 1 + l, ISS + 1 + r] as const) }),
  })
}

function offsets(c: Script): number[] {
  return c.ignores().map((s) => s.seq - ISS - 1)
}

/** A connection whose round-trip time is known; the stream is at offset 10000. */
function measured(t: Parameters<typeof established>[0]): Script {
  const c = established(t, { sack: true, mss: 1000 })
  for (let at = 250; at <= 10_000; at += 250) {
    c.write(octets(250, at - 250))
    c.advance(RTT)
    acks(c, at)
  }
  c.ignores()
  return c
}

t.test(
  'T4: RACK: one report is enough when the reordering window of RTT/4 has passed (RFC 8985 §6.2)',
  (t) => {
    const c = measured(t)
    c.write(octets(3000, 10_000))
    c.ignores()
    c.advance(RTT)
    acks(c, 10_000, [11_000, 12_000])
    c.expectsNothing('it may be reordering')
    c.advance(RTT / 4 - 1)
    c.expectsNothing('for a quarter of the round trip')
    c.advance(2)
    t.equal(offsets(c)[0], 10_000)
    t.equal(c.c.sender.recovery.mode, 1, 'fast recovery')
    t.end()
  },
)

t.test(
  'T4: RACK: a round trip that was measured far too long does not make all in flight leave at one time',
  (t) => {
    const c = measured(t)
    // As when a retransmission is acknowledged with the timestamp of a much earlier one.
    c.c.sender.rtt.sample(48_000)
    c.write(octets(1000, 10_000))
    c.advance(RTT)
    acks(c, 11_000)
    c.write(octets(1000, 11_000))
    c.advance(RTT / 2)
    c.write(octets(1000, 12_000))
    c.ignores()
    c.advance(RTT)
    acks(c, 11_000, [12_000, 13_000])
    c.advance(RTT / 4 + 1)
    t.equal(offsets(c)[0], 11_000)
    t.end()
  },
)

t.test(
  'T4: RACK: text that comes late within the window is not sent again, and widens no recovery (RFC 8985 §6.2)',
  (t) => {
    const c = measured(t)
    const { cwnd } = c.c.sender.congestion
    c.write(octets(3000, 10_000))
    c.ignores()
    c.advance(RTT)
    acks(c, 10_000, [11_000, 13_000])
    c.advance(5)
    acks(c, 13_000)
    c.advance(1000)
    c.expectsNothing()
    t.equal(c.c.sender.retransmissions, 0)
    t.ok(c.c.sender.congestion.cwnd >= cwnd)
    t.end()
  },
)

t.test(
  'T4: RACK: once reordering was seen, three reports are no proof before the window has passed (RFC 8985 §6.2 step 4)',
  (t) => {
    const c = measured(t)
    c.write(octets(3000, 10_000))
    c.advance(RTT)
    acks(c, 10_000, [11_000, 13_000])
    acks(c, 13_000)
    c.write(octets(8000, 13_000))
    c.ignores()
    c.advance(RTT)
    acks(c, 13_000, [14_000, 19_000])
    c.expectsNothing('five segments are reported')
    c.advance(RTT / 4 + 1)
    t.equal(offsets(c)[0], 13_000)
    t.end()
  },
)

t.test(
  'T4: RACK: a retransmission that is lost is found by what was sent behind it, without the timer (RFC 8985 §3)',
  (t) => {
    const c = measured(t)
    c.write(octets(40_000, 10_000))
    c.ignores()
    c.advance(RTT)
    acks(c, 10_000, [11_000, 15_000])
    t.equal(offsets(c)[0], 10_000)
    c.advance(5)
    acks(c, 10_000, [11_000, 18_000])
    const later = offsets(c)
    t.ok(later.length > 0 && later.every((at) => at >= 18_000), `new text follows: ${later}`)
    c.advance(RTT)
    const last = later[0] as number
    acks(c, 10_000, [11_000, 18_000], [last, last + 1000])
    t.equal(offsets(c)[0], 10_000, 'it is sent a second time')
    t.equal(c.c.sender.timeouts, 0)
    t.end()
  },
)

t.test(
  'T4: TLP: when the tail is lost its last segment leaves again after two round trips (RFC 8985 §7.2, §7.3)',
  (t) => {
    const c = measured(t)
    c.write(octets(4000, 10_000))
    c.ignores()
    c.advance(2 * RTT - 5)
    c.expectsNothing()
    c.advance(15)
    t.strictSame(offsets(c), [13_000])
    c.advance(RTT)
    acks(c, 10_000, [13_000, 14_000])
    c.advance(RTT / 4 + 1)
    t.strictSame(offsets(c).slice(0, 1), [10_000], 'its report makes it a fast recovery')
    acks(c, 14_000)
    t.equal(c.c.sender.timeouts, 0)
    t.end()
  },
)

t.test(
  'T4: TLP: a single segment is given the time of a delayed ACK; the probe comes at the latest with the timer',
  (t) => {
    const c = measured(t)
    c.write(octets(500, 10_000))
    c.ignores()
    const due = c.c.sender.rtoAt
    c.advance(due - c.now - 1)
    c.expectsNothing()
    c.advance(2)
    t.strictSame(offsets(c), [10_000])
    t.equal(c.c.sender.timeouts, 0, 'a probe, no time-out')
    t.ok(c.c.sender.congestion.cwnd > 2000, 'the window is what it was')
    c.advance(300)
    t.strictSame(offsets(c), [10_000])
    t.equal(c.c.sender.timeouts, 1, 'the timer follows')
    t.end()
  },
)

t.test(
  'T4: TLP: a probe that repaired a loss reduces the window once; one that was for nothing does not (RFC 8985 §7.4)',
  (t) => {
    for (const lost of [true, false]) {
      const c = measured(t)
      const { ssthresh } = c.c.sender.congestion
      c.write(octets(4000, 10_000))
      c.advance(2 * RTT + 10)
      t.equal(c.ignores().length, 5)
      c.write(octets(1000, 14_000))
      c.ignores()
      if (lost) acks(c, 15_000)
      else acks(c, 15_000, [13_000, 14_000])
      t.equal(c.c.sender.congestion.ssthresh < ssthresh, lost)
    }
    t.end()
  },
)

t.test(
  'T4: TLP: new text is the probe where there is some; a FIN goes with the last segment (RFC 8985 §7.3)',
  (t) => {
    const c = measured(t)
    c.c.sender.congestion.cwnd = 3000
    c.write(octets(6000, 10_000))
    t.strictSame(offsets(c), [10_000, 11_000, 12_000])
    c.advance(2 * RTT + 10)
    const [news] = c.ignores()
    t.equal((news?.seq ?? 0) - ISS - 1, 13_000)
    t.equal(news?.flags, ACK | PSH, 'nothing follows, and the peer need not wait for it')
    const d = measured(t)
    d.write(octets(2000, 10_000))
    d.shutdown()
    d.ignores()
    d.advance(2 * RTT + 10)
    const probe = d.ignores()
    t.equal(probe.length, 1)
    t.ok(((probe[0]?.flags ?? 0) & FIN) !== 0)
    t.end()
  },
)

t.test(
  'T4: without SACK there is neither: the timer and three duplicates are all (RFC 8985 §4)',
  (t) => {
    const c = established(t, { mss: 1000 })
    c.write(octets(3000))
    c.ignores()
    c.advance(150)
    c.expectsNothing()
    t.equal(c.c.sender.recovery.tailAt, Number.POSITIVE_INFINITY)
    t.end()
  },
)

t.test('T4: TLP: a FIN that left by itself is the last segment (RFC 8985 §7.3)', (t) => {
  const c = measured(t)
  c.write(octets(1000, 10_000))
  c.advance(RTT / 2)
  c.c.shutdown()
  c.drain()
  t.equal(c.ignores().length, 2)
  c.advance(2 * RTT + 1)
  const [probe] = c.ignores()
  t.equal(probe?.text, '')
  t.equal((probe?.seq ?? 0) - ISS - 1, 11_000)
  t.ok(((probe?.flags ?? 0) & FIN) !== 0)
  t.end()
})

t.test('T4: TLP: a closed window is probed by its own timer only (RFC 9293 §3.8.6.1)', (t) => {
  const gaps = [false, true].map((sack) => {
    const c = established(t, { sack, wnd: 0 })
    c.write(octets(5000))
    for (let i = 0; i < 100; i++) {
      c.advance(100)
      c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, wnd: 0 })
    }
    return c.ignores().map((s) => s.at)
  })
  t.ok((gaps[0] ?? []).length > 2)
  t.strictSame(gaps[1], gaps[0], 'SACK or not')
  t.end()
})

t.test(
  'T4: TLP: a round trip below what the clock tells is none to probe by; the timer comes as ever (RFC 8985 §7.2)',
  (t) => {
    const c = established(t, { sack: true, mss: 1000 })
    t.equal(c.c.sender.rtt.srttMs, 0, 'the handshake took no time')
    c.write(octets(3000))
    c.ignores()
    c.advance(199)
    c.expectsNothing()
    c.advance(2)
    t.strictSame(offsets(c), [0], 'a time-out, which begins with the first segment')
    acks(c, 1000)
    t.ok(c.c.sender.rtt.srttMs >= 0)
    t.end()
  },
)
