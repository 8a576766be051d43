/**
 * A sender that has nothing to do lets go of what it knows of its flight and of the path (RFC 5681 §4.1), and of nothing else. A
 * connection that has nothing to do is put aside altogether, and is what it was when somebody asks for it.
 */
import t from 'tap'
import { NEVER } from '../../stack/base/time.js'
import type { Connection } from '../../stack/tcp/connection.js'
import { REST_MS } from '../../stack/tcp/rest-queue.js'
import { TCB_FIELDS } from '../../stack/tcp/tcb.js'
import { ACK, type Checks, established, FIN, IRS, ISS, octets, type Script } from './peer.js'

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

// All that an application, a peer or another node may find out about it.
function looks({ tcb, buffers, sender, receiver, output }: Connection): unknown {
  const { received, sent } = buffers
  const { srttMs, rttvarMs, rtoMs } = sender.rtt
  const { mss, retransmissions, noDelay, corked } = sender
  return {
    tcb: TCB_FIELDS.map((field) => [field, tcb[field]]),
    received: [received.start, received.end, received.limit, received.keep, received.floor],
    sent: [sent.start, sent.end, sent.limit],
    sender: [mss, retransmissions, noDelay, corked, srttMs, rttvarMs, rtoMs],
    receiver: receiver.limit,
    output: [output.offset, output.verified, output.unverified],
  }
}

t.test('T6: an idle connection rests, and wakes as what it was', (t) => {
  for (const congestion of ['cubic', 'reno'] as const) {
    const c = established(t, { ...OPTIONS, congestion, timestamps: true })
    c.c.sender.noDelay = true
    c.write(octets(100))
    c.advance(12.25)
    acks(c, 100)
    c.peerSends({ seq: IRS + 1, ack: ISS + 101, flags: ACK, text: 'some text' })
    c.c.consume(9)
    c.advance(50)
    const before = looks(c.c)
    c.advance(2 * REST_MS)
    t.ok(c.c.rests)
    t.equal(c.stack.nextDeadline(), NEVER)
    t.equal(c.c.state, 4, 'it is ESTABLISHED')
    t.notOk(c.c.closed)
    t.ok(c.c.rests, 'nobody has woken it')
    t.same(looks(c.c), before)
    t.notOk(c.c.rests)
    c.drain()
    c.ignores()
    c.advance(2 * REST_MS)
    t.ok(c.c.rests, 'it rests again')
    c.write(octets(20_000, 100))
    t.equal(c.ignores().length, 10, 'the initial window')
  }
  t.end()
})

t.test('T6: text, FIN and silence find one that rests as they find any other', (t) => {
  const c = established(t, OPTIONS)
  c.advance(2 * REST_MS)
  t.ok(c.c.rests)
  c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, text: 'hello' })
  t.notOk(c.c.rests)
  t.equal(c.c.readable, 5)
  c.expects({ seq: ISS + 1, ack: IRS + 6, flags: ACK })
  c.advance(2 * REST_MS)
  t.ok(c.c.rests, 'text that nobody has read stays where it is')
  t.equal(c.read(), 'hello')
  c.c.watch({ keepAlive: true, idleMs: 60_000 }, c.now)
  c.drain()
  c.advance(2 * REST_MS)
  t.ok(c.c.rests)
  c.advance(60_000)
  c.expects({ seq: ISS, ack: IRS + 6, flags: ACK, text: '' })
  c.peerSends({ seq: IRS + 6, ack: ISS + 1, flags: ACK | FIN })
  c.ignores()
  c.advance(10 * REST_MS)
  t.notOk(c.c.rests, 'one that ends does not rest')
  t.end()
})

t.test('D1: what is kept of the input for others stays at one that rests', (t) => {
  const c = established(t, OPTIONS)
  c.c.buffers.received.keep = 1000
  c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, text: 'hello' })
  c.c.consume(5)
  const before = looks(c.c)
  c.advance(4 * REST_MS)
  t.ok(c.c.rests)
  t.same(looks(c.c), before)
  const kept = new Uint8Array(5)
  c.c.buffers.received.copyTo(0, 5, kept, 0)
  t.equal(Buffer.from(kept).toString(), 'hello')
  t.end()
})

t.test('T6: whoever has a word to say does not rest', (t) => {
  const waits = {
    'text in flight': (c: Script) => c.write(octets(100)),
    'text that is held back': (c: Script) => {
      c.c.sender.corked = true
      c.write(octets(100))
    },
    'a hole': (c: Script) =>
      c.peerSends({ seq: IRS + 100, ack: ISS + 1, flags: ACK, text: 'later' }),
    'a FIN of its own': (c: Script) => c.c.shutdown(),
  }
  for (const [what, wait] of Object.entries(waits)) {
    const c = established(t, OPTIONS)
    wait(c)
    c.ignores()
    c.advance(4 * REST_MS)
    c.ignores()
    t.notOk(c.c.rests, what)
  }
  t.end()
})
