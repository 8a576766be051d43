/**
 * Congestion control: CUBIC (RFC 9438), the choice of Reno, and a window that is not in use (RFC 5681 §4.1, RFC 7661).
 */
import t from 'tap'
import {
  type CongestionControl,
  newCongestionControl,
} from '../../stack/tcp/congestion/congestion-control.js'
import { ACK, established, IRS, ISS, octets } from './peer.js'

const MSS = 1000
const RTT = 100

const cubic = (): CongestionControl => newCongestionControl('cubic', MSS)

/** Round trips of a sender that always fills its window; returns the window after each, in segments. */
function roundTrips(control: CongestionControl, from: number, count: number): number[] {
  const windows: number[] = []
  for (let round = 0; round < count; round++) {
    const segments = Math.floor(control.cwnd / MSS)
    for (let i = 0; i < segments; i++) {
      control.handleAck(MSS, from + RTT * (round + i / segments), RTT)
    }
    windows.push(control.cwnd / MSS)
  }
  return windows
}

t.test(
  'T5: CUBIC reduces to 0.7 and comes back to W_max at K, flat there, steep beyond (RFC 9438 §4.2, §4.6)',
  (t) => {
    const control = cubic()
    control.cwnd = 1000 * MSS
    control.handleLoss(1000 * MSS, 0)
    t.equal(control.cwnd, 700 * MSS)
    t.equal(control.ssthresh, 700 * MSS)
    // K = cbrt(W_max 0.3 / C) = cbrt(750) = 9.09 s
    const w = roundTrips(control, 0, 200)
    const at = (seconds: number): number => w[Math.round((seconds * 1000) / RTT) - 1] as number
    t.ok(Math.abs(at(9.1) - 1000) < 10, `the maximum again at K: ${at(9.1)}`)
    t.ok(at(3) - at(2) > 4 * (at(9.5) - at(8.5)), 'fast at first, slow around the maximum')
    t.ok(at(19) - at(18) > 4 * (at(10) - at(9)), 'and fast again beyond it')
    t.ok(
      w.every((x, i) => i === 0 || x >= (w[i - 1] as number)),
      'it never shrinks',
    )
    t.end()
  },
)

t.test(
  'T5: CUBIC with fast convergence: a second loss below the last maximum lowers it (RFC 9438 §4.7)',
  (t) => {
    const slow = cubic()
    slow.cwnd = 1000 * MSS
    slow.handleLoss(1000 * MSS, 0)
    slow.handleLoss(700 * MSS, 0)
    // W_max = 700 * 1.7 / 2 = 595, W = 490, K = cbrt(105 / 0.4) = 6.4 s
    const w = roundTrips(slow, 0, 64)
    t.ok(Math.abs((w[63] as number) - 595) < 8, `${w[63]} segments at K`)
    t.end()
  },
)

t.test(
  'T5: CUBIC is no slower than Reno where Reno is fast: short round trips, small windows (RFC 9438 §4.3)',
  (t) => {
    const control = cubic()
    control.cwnd = 20 * MSS
    control.handleLoss(20 * MSS, 0)
    const w = roundTrips(control, 0, 12)
    t.ok(
      (w[11] as number) >= 14 + 12 * 0.5,
      `${w[11]} segments after 12 round trips; the cubic alone has less`,
    )
    t.end()
  },
)

t.test(
  'T5: CUBIC after a time-out begins a new curve at the window it has (RFC 9438 §4.8)',
  (t) => {
    const control = cubic()
    control.cwnd = 100 * MSS
    control.handleTimeout(100 * MSS, true, 0)
    t.equal(control.cwnd, MSS)
    t.equal(control.ssthresh, 70 * MSS)
    const w = roundTrips(control, 0, 20)
    t.ok(w.some((x) => x >= 70))
    control.handleTimeout(70 * MSS, false, 5000)
    t.equal(control.ssthresh, 70 * MSS, 'a second time-out of the same text reduces no further')
    t.end()
  },
)

t.test(
  'T5: time in which the application had nothing to send is no time of the curve (RFC 9438 §5.8)',
  (t) => {
    const busy = cubic()
    const idle = cubic()
    for (const control of [busy, idle]) {
      control.cwnd = 1000 * MSS
      control.handleLoss(1000 * MSS, 0)
      roundTrips(control, 0, 20)
    }
    const [straight] = roundTrips(busy, 2000, 1)
    const [late] = roundTrips(idle, 62_000, 1)
    t.ok(Math.abs((straight as number) - (late as number)) < 30, `${straight} and ${late} segments`)
    t.end()
  },
)

t.test('T5: undo gives back window and threshold (RFC 9438 §4.9, RFC 4015 §3.2)', (t) => {
  const control = cubic()
  control.cwnd = 100 * MSS
  control.handleTimeout(100 * MSS, true, 0)
  control.undo()
  t.equal(control.cwnd, 100 * MSS)
  t.ok(control.ssthresh > 100 * MSS)
  t.end()
})

t.test('T5: a stack has CUBIC by default and Reno when asked', (t) => {
  for (const [congestion, left] of [
    [undefined, 7000],
    ['reno', 5000],
  ] as const) {
    const c = established(t, { mss: 1000, ...(congestion === undefined ? {} : { congestion }) })
    c.write(octets(10_000))
    for (let i = 0; i < 9; i++) c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK })
    t.equal(c.c.sender.congestion.ssthresh, left)
  }
  t.end()
})

t.test('T5: a window that is not in use does not grow (RFC 7661 §4.2)', (t) => {
  const c = established(t, { mss: 1000 })
  const { cwnd } = c.c.sender.congestion
  let at = 0
  for (let i = 0; i < 40; i++) {
    c.write(octets(1000, at))
    at += 1000
    c.advance(5)
    c.peerSends({ seq: IRS + 1, ack: ISS + 1 + at, flags: ACK })
  }
  t.equal(c.c.sender.congestion.cwnd, cwnd)
  t.end()
})
