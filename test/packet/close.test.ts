/**
 * Closing in every order (RFC 9293 §3.6), half-close, and what happens to those who close without reading.
 */
import t from 'tap'
import { ConnectionEvent } from '../../stack/index.js'
import { ACK, established, FIN, IRS, ISS, octets, RST } from './peer.js'

t.test('T2: active close: FIN-WAIT-1, FIN-WAIT-2, TIME-WAIT (§3.6 case 1, figure 12)', (t) => {
  const c = established(t)
  c.shutdown()
  c.expects({ seq: ISS + 1, ack: IRS + 1, flags: FIN | ACK })
  t.equal(c.state, 'FIN_WAIT_1')
  c.peerSends({ seq: IRS + 1, ack: ISS + 2, flags: ACK })
  t.equal(c.state, 'FIN_WAIT_2')
  c.peerSends({ seq: IRS + 1, ack: ISS + 2, flags: FIN | ACK })
  c.expects({ seq: ISS + 2, ack: IRS + 2, flags: ACK })
  t.equal(c.state, 'TIME_WAIT')
  t.ok(c.hears(ConnectionEvent.ENDED))
  t.ok(c.c.inputEnded)
  t.end()
})

t.test('T2: passive close: CLOSE-WAIT, LAST-ACK, CLOSED (§3.6 case 2)', (t) => {
  const c = established(t)
  c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: FIN | ACK })
  c.expects({ seq: ISS + 1, ack: IRS + 2, flags: ACK })
  t.equal(c.state, 'CLOSE_WAIT')
  c.shutdown()
  c.expects({ seq: ISS + 1, ack: IRS + 2, flags: FIN | ACK })
  t.equal(c.state, 'LAST_ACK')
  c.peerSends({ seq: IRS + 2, ack: ISS + 2, flags: ACK })
  t.equal(c.state, 'CLOSED')
  t.equal(c.c.error, '')
  t.ok(c.closed)
  t.equal(c.stack.tcp.demux.size, 0)
  c.expectsNothing()
  t.end()
})

t.test('T2: simultaneous close: CLOSING, TIME-WAIT (§3.6 case 3, figure 13)', (t) => {
  const c = established(t)
  c.shutdown()
  c.ignores()
  c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: FIN | ACK })
  c.expects({ seq: ISS + 2, ack: IRS + 2, flags: ACK })
  t.equal(c.state, 'CLOSING')
  c.peerSends({ seq: IRS + 2, ack: ISS + 2, flags: ACK })
  t.equal(c.state, 'TIME_WAIT')
  c.expectsNothing()
  c.advance(60_000)
  t.equal(c.state, 'CLOSED')
  t.end()
})

t.test('T2: FIN and the ACK of ours in one segment: FIN-WAIT-1 to TIME-WAIT', (t) => {
  const c = established(t)
  c.shutdown()
  c.ignores()
  c.peerSends({ seq: IRS + 1, ack: ISS + 2, flags: FIN | ACK, text: 'bye' })
  c.expects({ seq: ISS + 2, ack: IRS + 5, flags: ACK })
  t.equal(c.state, 'TIME_WAIT')
  t.equal(c.read(), 'bye')
  t.end()
})

t.test('T2: FIN goes with the last text, behind all that waits', (t) => {
  const c = established(t, { mss: 1000, wnd: 2000 })
  c.write(octets(2500))
  c.shutdown()
  t.strictSame(
    c.ignores().map((s) => s.flags & FIN),
    [0, 0],
  )
  c.peerSends({ seq: IRS + 1, ack: ISS + 2001, flags: ACK })
  c.expects({ seq: ISS + 2001, length: 500, flags: FIN | ACK })
  t.equal(c.write('more'), 0, 'nothing is taken behind the end')
  c.peerSends({ seq: IRS + 1, ack: ISS + 2501, flags: ACK })
  t.equal(c.state, 'FIN_WAIT_1', 'the text is acknowledged, FIN is not')
  c.peerSends({ seq: IRS + 1, ack: ISS + 2502, flags: ACK })
  t.equal(c.state, 'FIN_WAIT_2')
  t.end()
})

t.test('T2: FIN is sent again until it is acknowledged; in CLOSING and LAST-ACK too', (t) => {
  for (const passive of [false, true]) {
    const c = established(t)
    if (passive) c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: FIN | ACK })
    c.shutdown()
    if (!passive) c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: FIN | ACK })
    c.ignores()
    t.equal(c.state, passive ? 'LAST_ACK' : 'CLOSING')
    c.advance(300)
    c.expects({ seq: ISS + 1, ack: IRS + 2, flags: FIN | ACK })
    c.expectsNothing()
    c.advance(3_600_000)
    t.equal(c.c.error, 'ETIMEDOUT')
  }
  t.end()
})

t.test('T2: text and FIN lost: both are sent again in one segment', (t) => {
  const c = established(t)
  c.write('last')
  c.ignores()
  c.shutdown()
  c.expects({ seq: ISS + 5, flags: FIN | ACK, text: '' })
  c.advance(250)
  c.expects({ seq: ISS + 1, flags: FIN | ACK, text: 'last' })
  c.peerSends({ seq: IRS + 1, ack: ISS + 6, flags: ACK })
  t.equal(c.state, 'FIN_WAIT_2')
  t.end()
})

t.test(
  'T2: half-close: the peer goes on sending, we go on reading; and the other way round',
  (t) => {
    const c = established(t)
    c.shutdown()
    c.peerSends({ seq: IRS + 1, ack: ISS + 2, flags: ACK, text: octets(100) })
    c.peerSends({ seq: IRS + 101, ack: ISS + 2, flags: ACK, text: octets(100, 100) })
    t.equal(c.read(), octets(200))
    const d = established(t)
    d.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: FIN | ACK })
    d.ignores()
    t.equal(d.write(octets(100)), 100)
    d.expects({ seq: ISS + 1, ack: IRS + 2, text: octets(100) })
    d.peerSends({ seq: IRS + 2, ack: ISS + 101, flags: ACK })
    t.equal(d.state, 'CLOSE_WAIT')
    t.equal(d.c.tcb.flightSize, 0)
    t.end()
  },
)

t.test('T2: FIN out of order waits for the text before it', (t) => {
  const c = established(t)
  c.peerSends({ seq: IRS + 101, ack: ISS + 1, flags: FIN | ACK, text: octets(100, 100) })
  c.expects({ ack: IRS + 1, flags: ACK })
  t.equal(c.state, 'ESTABLISHED')
  c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, text: octets(100) })
  c.expects({ ack: IRS + 202, flags: ACK })
  t.equal(c.state, 'CLOSE_WAIT')
  t.equal(c.read(), octets(200))
  t.ok(c.c.inputEnded)
  t.end()
})

t.test('T2: a bare FIN that comes before its text, and a second FIN elsewhere', (t) => {
  const c = established(t)
  c.peerSends({ seq: IRS + 11, ack: ISS + 1, flags: FIN | ACK })
  c.peerSends({ seq: IRS + 31, ack: ISS + 1, flags: FIN | ACK })
  c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, text: octets(10) })
  t.equal(c.ignores().at(-1)?.ack, IRS + 12)
  t.equal(c.state, 'CLOSE_WAIT')
  t.end()
})

t.test("T2: text behind the peer's FIN is ignored (§3.10.7.4 seventh)", (t) => {
  const c = established(t)
  c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: FIN | ACK, text: 'abc' })
  c.ignores()
  c.peerSends({ seq: IRS + 5, ack: ISS + 1, flags: ACK, text: 'evil' })
  c.expects({ ack: IRS + 5, flags: ACK })
  t.equal(c.read(), 'abc')
  t.end()
})

t.test(
  'T2: a segment outside of the window in CLOSING, LAST-ACK and CLOSE-WAIT is answered by ACK',
  (t) => {
    for (const wanted of ['CLOSING', 'LAST_ACK', 'CLOSE_WAIT'] as const) {
      const c = established(t)
      if (wanted === 'CLOSING') c.shutdown()
      c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: FIN | ACK })
      if (wanted === 'LAST_ACK') c.shutdown()
      c.ignores()
      t.equal(c.state, wanted)
      c.peerSends({ seq: IRS + 500_000, ack: ISS + 1, flags: ACK, text: 'far' })
      c.expects({ seq: wanted === 'CLOSE_WAIT' ? ISS + 1 : ISS + 2, ack: IRS + 2, flags: ACK })
    }
    t.end()
  },
)

t.test('S3: close with unread text sends RST (RFC 2525 §2.17, SHLD-3)', (t) => {
  const c = established(t)
  c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, text: 'unread' })
  c.ignores()
  c.close()
  c.expects({ seq: ISS + 1, flags: RST | ACK })
  t.equal(c.state, 'CLOSED')
  t.equal(c.stack.tcp.demux.size, 0)
  t.end()
})

t.test('S3: text that comes after close is answered by RST (RFC 1122 §4.2.2.13)', (t) => {
  const c = established(t)
  c.close()
  c.expects({ seq: ISS + 1, flags: FIN | ACK })
  c.peerSends({ seq: IRS + 1, ack: ISS + 2, flags: ACK, text: 'late' })
  c.expects({ seq: ISS + 2, flags: RST })
  t.equal(c.stack.tcp.demux.size, 0)
  t.end()
})

t.test('T2: close without unread text is an orderly end, with what waits to be sent', (t) => {
  const c = established(t, { wnd: 3 })
  c.write('abcdef')
  c.ignores()
  c.close()
  c.peerSends({ seq: IRS + 1, ack: ISS + 4, flags: ACK, wnd: 100 })
  c.expects({ seq: ISS + 4, text: 'def', flags: FIN | ACK })
  t.end()
})

t.test('S3: abort sends <SEQ=SND.NXT><CTL=RST> and forgets (§3.10.5)', (t) => {
  for (const stage of [0, 1, 2, 3]) {
    const c = established(t)
    if (stage === 1) c.shutdown()
    if (stage === 2) c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: FIN | ACK })
    if (stage === 3) c.write('waiting')
    c.ignores()
    const next = ISS + 1 + (c.c.tcb.sndNxt - c.c.tcb.iss - 1)
    c.abort()
    c.expects({ seq: next, flags: RST | ACK })
    c.expectsNothing()
    t.equal(c.stack.tcp.demux.size, 0)
    t.ok(c.closed)
    c.peerSends({ seq: IRS + 1, ack: next, flags: ACK })
    c.expects({ seq: next, flags: RST })
  }
  t.end()
})

t.test('T2: an aborted connection waits for nothing: no timer is left in any state', (t) => {
  const c = established(t)
  c.write('x')
  c.abort()
  t.equal(c.stack.nextDeadline(), Number.POSITIVE_INFINITY)
  t.end()
})

t.test('T6: a FIN in the middle of text that is here already is not believed', (t) => {
  const c = established(t)
  c.peerSends({ seq: IRS + 101, ack: ISS + 1, flags: ACK, text: octets(100, 100) })
  c.peerSends({ seq: IRS + 51, ack: ISS + 1, flags: FIN | ACK })
  c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, text: octets(100) })
  t.equal(c.ignores().at(-1)?.ack, IRS + 201)
  t.equal(c.state, 'ESTABLISHED')
  t.equal(c.read(), octets(200))
  t.end()
})
