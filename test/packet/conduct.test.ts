/**
 * How a connection behaves where peers of other make look closely: what it says of text that came twice, when it speaks and
 * when it is silent at the end, how long it waits, and how it goes on behind a stop.
 */
import t from 'tap'
import { ACK, connected, established, FIN, IRS, ISS, octets, RST, Script, SYN } from './peer.js'

t.test('T4: the time-out is 200 ms or more above the round trip (RFC 6298 §2.4)', (t) => {
  const c = established(t)
  for (let i = 0; i < 40; i++) {
    c.write('x')
    c.advance(100)
    c.peerSends({ seq: IRS + 1, ack: ISS + 2 + i, flags: ACK })
  }
  c.ignores()
  const { rtt } = c.c.sender
  t.equal(Math.round(rtt.srttMs), 100)
  t.ok(rtt.rtoMs >= 299, `${rtt.rtoMs} ms: a delayed acknowledgement is no loss`)
  t.end()
})

t.test(
  'T4: what fast recovery sends again is given as much time as what is sent first (RFC 6298 (5.1))',
  (t) => {
    for (const sack of [false, true]) {
      const c = established(t, { mss: 1000, sack })
      const roundTrip = 400
      for (let i = 0; i < 60; i++) c.c.sender.rtt.sample(roundTrip)
      c.write(octets(4000))
      c.ignores()
      c.advance(roundTrip)
      for (let i = 1; i <= 3; i++) {
        const reported = [ISS + 1001, ISS + 1001 + 1000 * i] as const
        const report = sack ? { sack: [reported] } : {}
        c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, ...report })
      }
      c.expects({ seq: ISS + 1, length: 1000 }, 'the first of four was lost')
      c.advance(roundTrip - 1)
      t.equal(c.c.sender.timeouts, 0, 'its answer is still on the way')
      c.peerSends({ seq: IRS + 1, ack: ISS + 4001, flags: ACK })
      t.equal(c.c.sender.retransmissions, 1)
    }
    t.end()
  },
)

t.test(
  'T5: the ACK that ends a time-out counts for slow start, too (RFC 5681 §3.1, MUST-19)',
  (t) => {
    const c = established(t, { mss: 1000 })
    c.write(octets(6000))
    c.advance(2000)
    t.equal(c.c.sender.congestion.cwnd, 1000, 'the loss window')
    c.ignores()
    c.peerSends({ seq: IRS + 1, ack: ISS + 6001, flags: ACK })
    t.equal(c.c.sender.congestion.cwnd, 3000)
    t.end()
  },
)

t.test('T2: when the window opens, the octet of the probe leaves with more text', (t) => {
  const c = established(t, { wnd: 0, mss: 1000 })
  c.write(octets(500))
  c.advance(5000)
  t.ok(
    c.ignores().every((s) => s.length === 1),
    'probes',
  )
  c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, wnd: 300 })
  c.expects({ seq: ISS + 1, text: octets(300) }, 'no more than the window')
  c.expectsNothing()
  c.peerSends({ seq: IRS + 1, ack: ISS + 301, flags: ACK, wnd: 300 })
  c.expects({ seq: ISS + 301, text: octets(200, 300) })
  t.end()
})

t.test(
  'T3: text that came before is reported once, ahead of the other blocks (RFC 2883 §4)',
  (t) => {
    const c = established(t, { sack: true })
    const text = octets(3000)
    const sends = (from: number, to: number): void => {
      const flags = ACK
      c.peerSends({ seq: IRS + 1 + from, ack: ISS + 1, flags, text: text.slice(from, to) })
    }
    sends(0, 500)
    c.expects({ ack: IRS + 501, sack: [] })
    sends(0, 500)
    c.expects({ ack: IRS + 501, sack: [[IRS + 1, IRS + 501]] }, 'wholly old')
    sends(1000, 1500)
    c.expects({ ack: IRS + 501, sack: [[IRS + 1001, IRS + 1501]] }, 'new: said once')
    sends(1000, 1500)
    const range = [IRS + 1001, IRS + 1501] as const
    c.expects({ ack: IRS + 501, sack: [range, range] }, 'again, out of order')
    sends(400, 700)
    c.expects({ ack: IRS + 701, sack: [[IRS + 401, IRS + 501], range] }, 'partly old')
    sends(700, 1000)
    c.expects({ ack: IRS + 1501, sack: [] })
    t.equal(c.read(), text.slice(0, 1500))
    t.end()
  },
)

t.test('T3: without SACK-permitted nothing is reported twice either', (t) => {
  const c = established(t)
  for (let i = 0; i < 2; i++) c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, text: 'abc' })
  t.strictSame(
    c.ignores().map((s) => s.sack.length),
    [0, 0],
  )
  t.end()
})

t.test('S3: an abort says nothing where both sides have ended (RFC 9293 §3.10.5)', (t) => {
  for (const state of ['CLOSING', 'LAST_ACK', 'TIME_WAIT'] as const) {
    const c = established(t)
    const fin = { seq: IRS + 1, flags: FIN | ACK }
    if (state === 'LAST_ACK') c.peerSends({ ...fin, ack: ISS + 1 })
    c.shutdown()
    if (state === 'CLOSING') c.peerSends({ ...fin, ack: ISS + 1 })
    if (state === 'TIME_WAIT') c.peerSends({ ...fin, ack: ISS + 2 })
    c.ignores()
    t.equal(c.state, state)
    c.abort()
    c.expectsNothing(state)
    t.equal(c.stack.tcp.demux.size, 0)
    t.equal(c.stack.nextDeadline(), Number.POSITIVE_INFINITY)
  }
  t.end()
})

t.test('S3: close with unread text resets in LAST-ACK, too (RFC 2525 §2.17)', (t) => {
  const c = established(t)
  c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: FIN | ACK, text: 'unread' })
  c.shutdown()
  c.ignores()
  t.equal(c.state, 'LAST_ACK')
  c.close()
  c.expects({ seq: ISS + 2, flags: RST | ACK })
  t.end()
})

t.test('T2: close in SYN-RECEIVED lets FIN follow the handshake (RFC 9293 §3.10.4)', (t) => {
  const c = new Script(t)
  c.connects()
  c.peerSends({ seq: IRS, flags: SYN, mss: 1460 })
  c.ignores()
  c.close()
  c.expectsNothing('no reset')
  c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK })
  c.expects({ seq: ISS + 1, ack: IRS + 1, flags: FIN | ACK })
  c.peerSends({ seq: IRS + 1, ack: ISS + 2, flags: FIN | ACK })
  c.expects({ seq: ISS + 2, ack: IRS + 2, flags: ACK })
  t.equal(c.state, 'TIME_WAIT')
  t.end()
})

t.test('T2: close in SYN-SENT is silent (RFC 9293 §3.10.4)', (t) => {
  const c = new Script(t)
  c.connects()
  c.ignores()
  c.close()
  c.expectsNothing()
  t.equal(c.stack.tcp.demux.size, 0)
  t.equal(connected(t).state, 'ESTABLISHED', 'and others are not touched')
  t.end()
})

t.test('T4: when the handshake took two SYNs the first RTO is 3 s (RFC 6298 §5.7)', (t) => {
  const c = new Script(t)
  c.connects()
  c.advance(1000)
  c.peerSends({ seq: IRS, ack: ISS + 1, flags: SYN | ACK, mss: 1460 })
  t.equal(c.c.sender.rtt.rtoMs, 3000)
  c.write('x')
  c.advance(100)
  c.peerSends({ seq: IRS + 1, ack: ISS + 2, flags: ACK })
  t.equal(c.c.sender.rtt.rtoMs, 300, 'until a sample has been taken')
  t.end()
})

t.test('T2: corked, full segments leave and the rest waits, but not for ever', (t) => {
  const c = established(t, { mss: 1000 })
  c.c.sender.corked = true
  c.write(octets(1500))
  c.expects({ seq: ISS + 1, length: 1000 })
  c.peerSends({ seq: IRS + 1, ack: ISS + 1001, flags: ACK })
  c.expectsNothing('half a segment waits')
  c.advance(250)
  c.expects({ seq: ISS + 1001, length: 500 })
  c.peerSends({ seq: IRS + 1, ack: ISS + 1501, flags: ACK, wnd: 5000 })
  c.expectsNothing('the window was open: nothing is sent again')
  c.write('end')
  c.shutdown()
  c.expects({ seq: ISS + 1501, flags: FIN | ACK, text: 'end' })
  t.end()
})

t.test('S3: in TIME-WAIT every reset is ignored, wherever it points (RFC 1337)', (t) => {
  const c = established(t)
  c.shutdown()
  c.peerSends({ seq: IRS + 1, ack: ISS + 2, flags: FIN | ACK })
  c.ignores()
  for (const seq of [IRS + 1, IRS + 2, IRS + 3, IRS + 50_000]) c.peerSends({ seq, flags: RST })
  c.expectsNothing()
  t.equal(c.state, 'TIME_WAIT')
  t.end()
})
