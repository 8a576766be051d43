/**
 * Strict mode at the endpoint (D2): what leaves, what is acknowledged and what is read before others have it, and what a confirmation
 * lets go. The cluster's part is played by hand: `confirm`.
 */
import t from 'tap'
import { ConnectionEvent, confirm, OPENING, Segment, TcpState } from '../../stack/index.js'
import {
  ACK,
  type Checks,
  FIN,
  IRS,
  ISS,
  LOCAL,
  LOCAL_PORT,
  octets,
  PEER,
  PEER_PORT,
  RST,
  Script,
  type ScriptOptions,
  SYN,
} from './peer.js'

function strict(t: Checks, options: ScriptOptions = {}): Script {
  const c = new Script(t, options)
  c.stack.tcp.openings.isStrict = (_address, port) => port === LOCAL_PORT
  return c
}

// Others have `upTo` of the connection of `c`.
function confirms(c: Script, upTo: number): void {
  confirm(c.c, upTo, c.now)
  c.drain()
}

// The SYN has come, and is committed without a word on the wire.
function half(t: Checks, options: ScriptOptions = {}): Script {
  const c = strict(t, options)
  c.listens()
  c.peerSends({ seq: IRS, flags: SYN, ...c.synOptions() })
  c.connection = c.stack.tcp.pollUnconfirmed()
  c.c.commitSyn(new Segment(), c.now, true)
  c.drain()
  return c
}

function established(t: Checks, options: ScriptOptions = {}): Script {
  const c = half(t, options)
  confirms(c, 0)
  c.expects({ seq: ISS, ack: IRS + 1, flags: SYN | ACK })
  c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK })
  c.t.equal(c.state, 'ESTABLISHED', 'the handshake is done')
  c.ignores()
  return c
}

const text = (length: number, from = 0) => ({
  seq: IRS + 1 + from,
  ack: ISS + 1,
  flags: ACK,
  text: octets(length, from),
})

t.test('D2: the answer to a SYN leaves when others have the handshake', (t) => {
  const c = half(t)
  c.expectsNothing('nobody knows of the connection yet')
  t.equal(c.c.tcb.synSent, true, 'but our SYN is committed, to be told of')
  c.peerSends({ seq: IRS, flags: SYN, ...c.synOptions() })
  c.expectsNothing('whatever the peer repeats')
  confirms(c, OPENING)
  c.expectsNothing('that our SYN is known is not enough')
  confirms(c, 0)
  c.expects({ seq: ISS, ack: IRS + 1, flags: SYN | ACK })
  c.advance(20)
  c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK })
  t.equal(c.state, 'ESTABLISHED')
  t.equal(c.c.sender.rtt.srttMs, 20, 'the round trip is timed from when it left')
  t.end()
})

t.test('D2: a SYN that is held does not wait for ever', (t) => {
  const c = half(t)
  c.advance(600_000)
  c.expectsNothing()
  t.equal(c.c.closed, true, 'it is given up as one that nobody answers')
  t.end()
})

t.test('D2: an active open: first our SYN is known elsewhere, then that it was answered', (t) => {
  const c = strict(t)
  c.connection = c.stack.connect(PEER, PEER_PORT, c.now, LOCAL, LOCAL_PORT)
  t.equal(c.stack.tcp.pollUnconfirmed(), c.connection)
  c.c.commitSyn(new Segment(), c.now, true)
  c.drain()
  c.expectsNothing()
  confirms(c, OPENING)
  c.expects({ seq: ISS, flags: SYN })
  c.peerSends({ seq: IRS, ack: ISS + 1, flags: SYN | ACK, ...c.synOptions() })
  t.equal(c.state, 'ESTABLISHED')
  c.write('too early')
  c.expectsNothing('neither ACK nor text')
  confirms(c, 0)
  c.expects({ seq: ISS + 1, ack: IRS + 1, text: 'too early' })
  t.end()
})

t.test('D2: text is neither acknowledged nor read before it is confirmed', (t) => {
  const c = established(t)
  c.peerSends(text(500), text(500, 500), text(500, 1000))
  c.expectsNothing('no acknowledgement')
  c.advance(400)
  c.expectsNothing('nor a late one')
  t.equal(c.read(), '', 'nothing to read')
  t.equal(c.hears(ConnectionEvent.READABLE), false)
  t.equal(c.c.tcb.rcvNxtOffset, 1500, 'although it is here')
  confirms(c, 700)
  c.expects({ ack: IRS + 701, flags: ACK }, 'as much as others have')
  t.equal(c.hears(ConnectionEvent.READABLE), true)
  t.equal(c.read(), octets(700))
  confirms(c, 600)
  c.expectsNothing('a lesser word takes nothing back')
  confirms(c, 9000)
  c.expects({ ack: IRS + 1501, flags: ACK }, 'and not more than is here')
  t.equal(c.read(), octets(800, 700))
  c.ignores()
  c.peerSends(text(500, 1500), text(1000, 2000))
  c.expects({ ack: IRS + 3001 }, 'what others had first is acknowledged as ever')
  t.end()
})

t.test(
  'D2: a segment of ours, a duplicate, a probe and a challenge tell no more than is confirmed',
  (t) => {
    const c = established(t)
    c.peerSends(text(300))
    c.write('an answer')
    c.expects({ ack: IRS + 1, text: 'an answer' }, 'text carries what was acknowledged before')
    c.peerSends(text(300))
    c.expects({ ack: IRS + 1, flags: ACK, text: '' }, 'the same text once more')
    c.peerSends({ seq: IRS, ack: ISS + 1, flags: ACK })
    c.expects({ ack: IRS + 1 }, 'a keep-alive')
    c.peerSends({ seq: IRS + 1, flags: SYN })
    c.expects({ ack: IRS + 1 }, 'a SYN is challenged (RFC 5961)')
    c.peerSends({ seq: IRS + 701, flags: RST })
    c.expects({ ack: IRS + 1 }, 'so is a RST that is not exact')
    c.advance(1000)
    for (const seg of c.ignores()) t.equal(seg.ack, IRS + 1, 'and so is what is sent again')
    t.end()
  },
)

t.test('D2: the right edge of the window stays where it was, and moves with what is read', (t) => {
  const c = established(t, { receiveLimit: 4000, mss: 500 })
  const edge = IRS + 1 + 4000
  for (let at = 0; at < 4000; at += 500) c.peerSends(text(500, at))
  c.ignores()
  c.peerSends(text(500))
  c.expects({ ack: IRS + 1, wnd: 4000 }, 'all of it is here, and the window is told from SEG.ACK')
  c.peerSends({ ...text(1, 4000) })
  c.expects({ ack: IRS + 1, wnd: 4000 }, 'a probe of the full window')
  confirms(c, 2000)
  const acked = c.expects({ ack: IRS + 2001, wnd: 2000 })
  t.equal(acked.ack + acked.wnd, edge)
  t.equal(c.read(), octets(2000))
  const [update] = c.ignores()
  t.equal((update?.ack ?? 0) + (update?.wnd ?? 0), edge + 2000, 'room for what was read')
  confirms(c, 4000)
  c.expects({ ack: IRS + 4001, wnd: 2000 })
  t.end()
})

t.test('D2: with a scaled window the edge never goes back, whatever is confirmed when', (t) => {
  const c = established(t, { receiveLimit: 1_000_000, windowScale: 7 })
  let edge = 0
  let seed = 1
  const chance = (below: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
    return (seed >>> 8) % below
  }
  let sent = 0
  for (let i = 0; i < 400; i++) {
    const length = 1 + chance(1460)
    c.peerSends(text(length, sent))
    sent += length
    if (chance(3) === 0) confirms(c, chance(sent + 1))
    if (chance(4) === 0) c.read(1 + chance(4000))
    if (chance(10) === 0) c.peerSends(text(10))
    for (const { ack, wnd } of c.ignores()) {
      const told = ack + (wnd << c.c.tcb.rcvScale)
      if (told < edge) t.fail(`the edge goes back from ${edge} to ${told}`)
      edge = Math.max(edge, told)
      if (ack - IRS - 1 > c.c.receiver.confirmed) t.fail('SEG.ACK beyond what is confirmed')
    }
  }
  t.ok(edge > IRS + 100_000, 'it has moved on')
  t.end()
})

t.test(
  'D2: text that came again is not reported as a duplicate before it was acknowledged',
  (t) => {
    const c = established(t, { sack: true })
    c.peerSends(text(300))
    c.peerSends(text(300))
    c.expects({ ack: IRS + 1, sack: [] }, 'above SEG.ACK such a block would say something else')
    c.peerSends(text(300, 600))
    c.expects({ ack: IRS + 1, sack: [[IRS + 601, IRS + 901]] }, 'what is out of order is reported')
    confirms(c, 300)
    c.expects({ ack: IRS + 301 })
    c.peerSends(text(300))
    c.expects({
      ack: IRS + 301,
      sack: [
        [IRS + 1, IRS + 301],
        [IRS + 601, IRS + 901],
      ],
    })
    t.end()
  },
)

t.test('D2: a FIN is acknowledged, and the end is told, when it is confirmed', (t) => {
  const c = established(t)
  c.peerSends({ ...text(100), flags: ACK | FIN })
  c.expectsNothing()
  t.equal(c.state, 'CLOSE_WAIT')
  confirms(c, 100)
  c.expects({ ack: IRS + 101, flags: ACK })
  t.equal(c.read(), octets(100))
  t.equal(c.c.inputEnded, false, 'the text alone is not the end')
  confirms(c, 101)
  c.expects({ ack: IRS + 102, flags: ACK })
  t.equal(c.c.inputEnded, true)
  t.equal(c.hears(ConnectionEvent.ENDED), true)
  t.end()
})

t.test('D2: in TIME-WAIT, too, a FIN is acknowledged when it is confirmed', (t) => {
  const c = established(t)
  c.shutdown()
  c.expects({ seq: ISS + 1, flags: FIN | ACK })
  const fin = { seq: IRS + 1, ack: ISS + 2, flags: FIN | ACK }
  c.peerSends(fin)
  t.equal(c.c.state, TcpState.TIME_WAIT)
  c.expectsNothing()
  c.peerSends(fin)
  c.expects({ ack: IRS + 1, flags: ACK }, 'its repetition is answered, not acknowledged')
  confirms(c, 1)
  c.expects({ ack: IRS + 2, flags: ACK })
  t.end()
})

t.test('D2: who lets go of a connection with text that is not confirmed resets it', (t) => {
  const c = established(t)
  c.peerSends(text(100))
  c.close()
  c.expects({ flags: RST | ACK })
  t.end()
})

t.test('D2: other ports are acknowledged as ever', (t) => {
  const c = strict(t)
  c.listens(81)
  c.peerSends({ seq: IRS, flags: SYN, dstPort: 81 })
  t.equal(c.sent.length, 1, 'the SYN is answered at once')
  t.equal(c.stack.tcp.pollUnconfirmed(), null)
  t.end()
})
