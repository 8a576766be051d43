/**
 * A peer that says nothing: keep-alive (RFC 9293 §3.8.4) and user timeout (§3.8.3, RFC 5482).
 */
import t from 'tap'
import { ACK, established, IRS, ISS, octets, RST, Script } from './peer.js'

const SECOND = 1000
const keep = (c: Script, settings = {}) =>
  c.c.watch(
    { keepAlive: true, idleMs: 60 * SECOND, intervalMs: 10 * SECOND, count: 3, ...settings },
    c.now,
  )

function answersProbe(c: Script): void {
  c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK })
}

t.test('T2: keep-alive is off until it is asked for (MUST-24, MUST-25)', async (t) => {
  const c = established(t)
  c.advance(24 * 3600 * SECOND)
  c.expectsNothing()
  t.equal(c.c.closed, false)
})

t.test('T2: it waits for two hours unless told otherwise (MUST-27, MUST-28)', async (t) => {
  const c = established(t)
  c.c.watch({ keepAlive: true }, c.now)
  c.advance(7200 * SECOND - 1)
  c.expectsNothing()
  c.advance(1)
  c.expects({ seq: ISS, ack: IRS + 1, flags: ACK })
})

t.test(
  'T2: a probe has SEG.SEQ = SND.NXT - 1 and no text, and an answer begins the wait anew (SHLD-12)',
  async (t) => {
    const c = established(t)
    keep(c)
    for (let round = 0; round < 5; round++) {
      c.advance(60 * SECOND)
      c.expects({ seq: ISS, ack: IRS + 1, flags: ACK, text: '' })
      answersProbe(c)
      c.expectsNothing()
    }
    t.equal(c.c.closed, false)
  },
)

t.test(
  'T2: one probe without an answer proves nothing, three do (MUST-29); the error is ETIMEDOUT, and the peer is reset',
  async (t) => {
    const c = established(t)
    keep(c)
    c.advance(60 * SECOND)
    c.expects({ seq: ISS })
    for (let n = 1; n < 3; n++) {
      c.advance(10 * SECOND)
      c.expects({ seq: ISS })
      t.equal(c.c.closed, false)
    }
    c.advance(10 * SECOND - 1)
    t.equal(c.c.closed, false)
    c.advance(1)
    t.equal(c.c.closed, true)
    t.equal(c.c.error, 'ETIMEDOUT')
    c.expects({ seq: ISS + 1, ack: IRS + 1, flags: RST | ACK }, 'whoever listens is told')
    c.advance(3600 * SECOND)
    c.expectsNothing()
  },
)

t.test(
  'T2: what is heard meanwhile puts a probe off, and none leaves while text is outstanding (MUST-26)',
  async (t) => {
    const c = established(t)
    keep(c)
    c.advance(50 * SECOND)
    c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, text: 'x' })
    c.advance(SECOND)
    c.expects({ ack: IRS + 2 })
    c.advance(58 * SECOND)
    c.expectsNothing()
    c.write('lost')
    c.expects({ text: 'lost' })
    c.advance(30 * SECOND)
    for (const sent of c.ignores()) t.equal(sent.text, 'lost', 'retransmissions, no probes')
  },
)

t.test('T2: the answer to a peer that probes is an ACK', async (t) => {
  const c = established(t)
  c.peerSends({ seq: IRS, ack: ISS + 1, flags: ACK })
  c.expects({ seq: ISS + 1, ack: IRS + 1, flags: ACK, text: '' })
  c.expectsNothing()
})

t.test(
  'T2: a user timeout ends a connection whose text is not acknowledged (RFC 9293 §3.8.3, MUST-21)',
  async (t) => {
    const c = established(t)
    c.c.watch({ userTimeoutMs: 5 * SECOND }, c.now)
    c.advance(3600 * SECOND)
    t.equal(c.c.closed, false, 'nothing waits')
    c.write('lost')
    c.advance(4999)
    t.ok(c.ignores().length > 1, 'it was sent again meanwhile')
    t.equal(c.c.closed, false)
    c.advance(1)
    t.equal(c.c.error, 'ETIMEDOUT')
    t.equal(c.c.closed, true)
  },
)

t.test(
  'T2: a user timeout may be longer than the retransmissions would last (RFC 9293 §3.8.3, MUST-21)',
  async (t) => {
    const c = established(t)
    c.c.watch({ userTimeoutMs: 7200 * SECOND }, c.now)
    c.write('lost')
    c.advance(7200 * SECOND - 1)
    t.ok(c.ignores().length > 16, 'it is sent again all the time')
    t.equal(c.c.closed, false)
    c.advance(1)
    t.equal(c.c.error, 'ETIMEDOUT')

    const opening = new Script(t)
    opening.connects()
    opening.c.watch({ userTimeoutMs: 600 * SECOND }, opening.now)
    opening.advance(600 * SECOND - 1)
    t.ok(opening.ignores().length > 9, 'so is a SYN')
    t.equal(opening.c.closed, false)
    opening.advance(1)
    t.equal(opening.c.error, 'ETIMEDOUT')
  },
)

t.test('T2: an acknowledgement of a part begins the user timeout anew', async (t) => {
  const c = established(t)
  c.c.watch({ userTimeoutMs: 5 * SECOND }, c.now)
  c.write(octets(2000))
  c.advance(4000)
  c.ignores()
  c.peerSends({ seq: IRS + 1, ack: ISS + 1001, flags: ACK })
  c.advance(4900)
  t.equal(c.c.closed, false)
  c.ignores()
  c.advance(100)
  t.equal(c.c.error, 'ETIMEDOUT')
})

t.test(
  'T2: text that waits for a window counts, too, although its probes are answered',
  async (t) => {
    const c = established(t)
    c.c.watch({ userTimeoutMs: 8 * SECOND }, c.now)
    c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, wnd: 0 })
    c.write('waits')
    for (let at = 0; at < 7; at++) {
      c.advance(SECOND)
      if (c.ignores().length > 0) {
        c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, wnd: 0 })
      }
    }
    t.equal(c.c.closed, false)
    c.advance(2 * SECOND)
    t.equal(c.c.error, 'ETIMEDOUT')
  },
)

t.test('T2: with a user timeout keep-alive gives up when it is over (RFC 5482 §4.2)', async (t) => {
  const c = established(t)
  keep(c, { userTimeoutMs: 75 * SECOND, count: 9 })
  c.advance(60 * SECOND)
  c.expects({ seq: ISS })
  c.advance(10 * SECOND)
  c.expects({ seq: ISS })
  c.advance(10 * SECOND)
  t.equal(c.c.error, 'ETIMEDOUT')
})
