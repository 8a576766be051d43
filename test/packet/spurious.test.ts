/**
 * Retransmissions that were for nothing, found and undone: Eifel (RFC 3522, RFC 4015) by timestamps, and D-SACK (RFC 3708).
 */
import t from 'tap'
import { ACK, established, IRS, ISS, octets, type Script } from './peer.js'

function acks(c: Script, ack: number, tsEcr: number | null, ...sack: [number, number][]): void {
  c.peerSends({
    seq: IRS + 1,
    ack: ISS + 1 + ack,
    flags: ACK,
    ...(tsEcr === null ? {} : { ts: [c.peerClock(), tsEcr] as const }),
    ...(sack.length === 0
      ? {}
      : { sack: sack.map(([l, r]) => [ISS + 1 + l, ISS + 1 + r] as const) }),
  })
}

/** Ten segments of 1000 octets left 300 ms ago, and the timer has sent the first again. Returns TSval of both. */
function timedOut(c: Script): [number, number] {
  c.write(octets(10_000))
  const original = c.ignores()[0]?.ts?.[0] ?? 0
  c.advance(300)
  const again = c.ignores()
  c.t.equal(again[0]?.seq, ISS + 1, 'the timer sends the first again')
  return [original, again[0]?.ts?.[0] ?? 0]
}

t.test(
  'T4: Eifel: an ACK that echoes the original shows that the timer was too early; all is undone (RFC 3522, RFC 4015)',
  (t) => {
    const c = established(t, { mss: 1012, timestamps: true })
    const { cwnd, ssthresh } = c.c.sender.congestion
    const [original] = timedOut(c)
    t.ok(c.c.sender.congestion.cwnd < cwnd)
    acks(c, 1000, original)
    t.equal(c.c.sender.recovery.undone, 1)
    t.ok(c.c.sender.congestion.cwnd >= cwnd)
    t.ok(c.c.sender.congestion.ssthresh >= ssthresh)
    t.ok(
      c.ignores().every((s) => s.seq > ISS + 10_000),
      'nothing else is sent again',
    )
    t.ok(c.c.sender.rtt.srttMs > 30, 'the long round trip is measured')
    acks(c, 10_000, original)
    t.equal(c.c.sender.retransmissions, 1)
    t.end()
  },
)

t.test('T4: Eifel: an ACK that echoes the retransmission undoes nothing', (t) => {
  const c = established(t, { mss: 1012, timestamps: true })
  const { cwnd } = c.c.sender.congestion
  const [original, again] = timedOut(c)
  acks(c, 1000, again)
  t.equal(c.c.sender.recovery.undone, 0)
  acks(c, 2000, original)
  t.equal(c.c.sender.recovery.undone, 0, 'only the first ACK tells')
  t.ok(c.c.sender.congestion.cwnd < cwnd)
  t.ok(c.ignores().some((s) => s.seq === ISS + 1001))
  t.end()
})

t.test('T4: Eifel: a fast retransmission for text that was only late is undone, too', (t) => {
  const c = established(t, { mss: 1012, timestamps: true })
  c.write(octets(10_000))
  const original = c.ignores()[0]?.ts?.[0] ?? 0
  c.advance(20)
  for (let i = 0; i < 3; i++) acks(c, 0, original)
  t.equal(c.c.sender.retransmissions, 1)
  const { ssthresh } = c.c.sender.congestion
  acks(c, 4000, original)
  t.equal(c.c.sender.recovery.undone, 1)
  t.ok(c.c.sender.congestion.ssthresh > ssthresh)
  t.end()
})

t.test(
  'T4: D-SACK for all that was sent again undoes the reduction, after the recovery too (RFC 3708, RFC 2883)',
  (t) => {
    const c = established(t, { mss: 1000, sack: true })
    c.write(octets(10_000))
    c.ignores()
    acks(c, 0, null, [1000, 5000])
    t.equal(c.ignores()[0]?.seq, ISS + 1)
    const { ssthresh } = c.c.sender.congestion
    t.ok(ssthresh <= 7000)
    acks(c, 10_000, null)
    t.equal(c.c.sender.recovery.undone, 0)
    acks(c, 10_000, null, [0, 1000 * c.c.sender.retransmissions])
    t.equal(c.c.sender.recovery.undone, 1)
    t.ok(c.c.sender.congestion.ssthresh > ssthresh)
    acks(c, 10_000, null, [0, 1000])
    t.equal(c.c.sender.recovery.undone, 1, 'once')
    t.end()
  },
)

t.test(
  'T4: D-SACK for a part of it undoes nothing; one that is upside down or of another flight does no harm',
  (t) => {
    const c = established(t, { mss: 1000, sack: true })
    c.write(octets(10_000))
    c.ignores()
    acks(c, 0, null, [1000, 2000], [3000, 4000], [5000, 10_000])
    t.ok(c.c.sender.retransmissions >= 2)
    acks(c, 10_000, null, [0, 1000])
    acks(c, 10_000, null, [1000, 500])
    acks(c, 10_000, null, [-900_000, -100_000])
    t.equal(c.c.sender.recovery.undone, 0)
    t.end()
  },
)
