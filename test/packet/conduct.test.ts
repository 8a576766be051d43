/**
 * How a connection behaves where peers of other make look closely: what it says of text that came twice, when it speaks and
 * when it is silent at the end, how long it waits, and how it goes on behind a stop.
 */
import t from 'tap'
import { ACK, established, IRS, ISS, octets } from './peer.js'

t.test('T4: the time-out is 200 ms or more above the round trip, however even that is (RFC 6298 §2.4)', (t) => {
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

t.test('T5: the ACK that ends a time-out counts for slow start, too (RFC 5681 §3.1)', (t) => {
  const c = established(t, { mss: 1000 })
  c.write(octets(6000))
  c.advance(2000)
  t.equal(c.c.sender.congestion.cwnd, 1000, 'the loss window')
  c.ignores()
  c.peerSends({ seq: IRS + 1, ack: ISS + 6001, flags: ACK })
  t.equal(c.c.sender.congestion.cwnd, 3000)
  t.end()
})

t.test('T2: when the window opens, the octet of the probe leaves with the text behind it (RFC 9293 §3.7.2)', (t) => {
  const c = established(t, { wnd: 0, mss: 1000 })
  c.write(octets(500))
  c.advance(5000)
  t.ok(c.ignores().every((s) => s.length === 1), 'probes')
  c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, wnd: 300 })
  c.expects({ seq: ISS + 1, text: octets(300) }, 'no more than the window')
  c.expectsNothing()
  c.peerSends({ seq: IRS + 1, ack: ISS + 301, flags: ACK, wnd: 300 })
  c.expects({ seq: ISS + 301, text: octets(200, 300) })
  t.end()
})
