/**
 * A sender that has nothing to do lets go of what it knows of its flight and of the path (RFC 5681 §4.1), and of nothing else.
 */
import t from 'tap'
import { NEVER } from '../../stack/base/time.js'
import { REST_MS } from '../../stack/tcp/rest-queue.js'
import { ACK, type Checks, established, IRS, ISS, octets, type Script } from './peer.js'

const MSS = 1000
const OPTIONS = { mss: MSS, windowScale: 2, wnd: 65_535 }

function acks(c: Script, octetsAcked: number, count = 1): void {
  for (let i = 0; i < count; i++) {
    c.peerSends({ seq: IRS + 1, ack: ISS + 1 + octetsAcked, flags: ACK })
  }
}

/** A connection whose window has grown from ten segments to eighteen: an ACK in the first slow start adds up to eight. */
function grown(t: Checks): Script {
  const c = established(t, OPTIONS)
  c.write(octets(10_000))
  c.advance(5)
  acks(c, 10_000)
  t.equal(c.c.sender.congestion.cwnd, 18_000, 'slow start')
  c.ignores()
  return c
}

t.test('T5: an idle sender rests: no timer, no state, and the restart window behind that', (t) => {
  const c = grown(t)
  t.ok(c.c.sender.awake)
  c.advance(2 * REST_MS)
  t.notOk(c.c.sender.awake)
  t.equal(c.stack.nextDeadline(), NEVER)
  t.ok(c.c.sender.rtt.srttMs >= 0, 'the round trip is remembered')
  c.write(octets(30_000, 10_000))
  t.equal(c.ignores().length, 10)
  acks(c, 20_000)
  t.equal(c.ignores().length, 18, 'slow start again')
  t.end()
})

t.test('T5: a sender that pauses for less goes on as it was', (t) => {
  const c = grown(t)
  const { cwnd } = c.c.sender.congestion
  c.advance(150)
  c.write(octets(30_000, 10_000))
  t.equal(c.ignores().length, Math.floor(cwnd / MSS))
  t.end()
})

t.test('T5: what is in flight, or waits for a window, is not forgotten', (t) => {
  const c = grown(t)
  c.write(octets(5000, 10_000))
  c.advance(10 * REST_MS)
  t.ok(c.c.sender.awake)
  t.equal(c.c.sender.recovery.mode, 2, 'the timer has expired')
  t.ok(c.c.sender.retransmissions > 0)
  acks(c, 15_000)
  t.equal(c.c.tcb.flightSize, 0)
  t.end()
})

t.test('T5: what a loss has taught is kept, however long the idle time', (t) => {
  const c = grown(t)
  c.write(octets(10_000, 10_000))
  acks(c, 10_000, 3)
  t.equal(c.c.sender.recovery.mode, 1, 'fast recovery')
  acks(c, 20_000)
  const { ssthresh } = c.c.sender.congestion
  t.ok(ssthresh < 10_000)
  c.advance(100 * REST_MS)
  t.equal(c.c.sender.congestion.ssthresh, ssthresh)
  t.equal(c.stack.nextDeadline(), NEVER)
  t.end()
})

t.test('T5: a closed connection waits for no rest', (t) => {
  const c = established(t, OPTIONS)
  c.abort()
  t.equal(c.stack.nextDeadline(), NEVER)
  t.end()
})
