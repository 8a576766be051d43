/**
 * Explicit congestion notification (RFC 3168): negotiation, the mark and its echo, the reduction and its CWR.
 */
import t from 'tap'
import { TcpState } from '../../stack/index.js'
import { ACK, CWR, ECE, IRS, ISS, octets, Script, type ScriptOptions, SYN } from './peer.js'

const ECT_0 = 2
const CE = 3
type Checks = ConstructorParameters<typeof Script>[0]

/** A connection on which both sides have agreed to ECN. */
function capable(t: Checks, options: ScriptOptions = {}): Script {
  const c = new Script(t, { mss: 1000, ...options })
  c.listens()
  c.peerSends({ seq: IRS, flags: SYN | ECE | CWR, ...c.synOptions() })
  const answer = c.expects({ flags: SYN | ACK | ECE })
  t.equal(answer.ecn, 0, 'a SYN is never ECN-capable')
  c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK })
  t.equal(c.c.state, TcpState.ESTABLISHED)
  c.ignores()
  return c
}

t.test('T5: ECN is agreed to when the peer offers it, and not otherwise (RFC 3168 §6.1.1)', (t) => {
  for (const [flags, ecn, answer] of [
    [SYN | ECE | CWR, undefined, ECE],
    [SYN, undefined, 0],
    [SYN | ECE, undefined, 0],
    [SYN | CWR, undefined, 0],
    [SYN | ECE | CWR, 'off', 0],
  ] as const) {
    const c = new Script(t, ecn === undefined ? {} : { ecn })
    c.listens()
    c.peerSends({ seq: IRS, flags, mss: 1000 })
    c.expects({ flags: SYN | ACK | answer })
    c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK })
    c.write('text')
    t.equal(c.expects({ text: 'text' }).ecn, answer === 0 ? 0 : ECT_0)
  }
  t.end()
})

t.test(
  'T5: ECN is offered when asked for; ECE alone accepts it, ECE and CWR do not (RFC 3168 §6.1.1)',
  (t) => {
    for (const [flags, agreed] of [
      [ECE, true],
      [0, false],
      [ECE | CWR, false],
    ] as const) {
      const c = new Script(t, { ecn: 'offer' })
      c.connects()
      c.expects({ flags: SYN | ECE | CWR })
      c.peerSends({ seq: IRS, ack: ISS + 1, flags: SYN | ACK | flags, mss: 1000 })
      t.equal(c.c.tcb.ecnOk, agreed)
      c.expects({ flags: ACK })
      c.write('text')
      t.equal(c.expects({ text: 'text' }).ecn, agreed ? ECT_0 : 0)
    }
    const d = new Script(t)
    d.connects()
    d.expects({ flags: SYN })
    t.end()
  },
)

t.test('T5: a SYN that got no answer is sent again without the offer (RFC 3168 §6.1.1.1)', (t) => {
  const c = new Script(t, { ecn: 'offer' })
  c.connects()
  c.expects({ flags: SYN | ECE | CWR })
  c.advance(1100)
  c.expects({ flags: SYN })
  t.end()
})

t.test('T5: CE is echoed on every ACK until the peer says CWR (RFC 3168 §6.1.3)', (t) => {
  const c = capable(t)
  const gives = (at: number, ecn: number, flags = 0): void => {
    c.peerSends({ seq: IRS + 1 + at, ack: ISS + 1, flags: ACK | flags, text: octets(10, at), ecn })
  }
  gives(0, ECT_0)
  c.expects({ flags: ACK })
  gives(10, CE)
  c.expects({ flags: ACK | ECE })
  gives(20, ECT_0)
  c.expects({ flags: ACK | ECE })
  c.write('x')
  c.expects({ flags: ACK | ECE, text: 'x' })
  gives(30, ECT_0, CWR)
  c.expects({ flags: ACK })
  gives(40, CE, CWR)
  c.expects({ flags: ACK | ECE }, 'a new mark on the very segment that ends the old echo')
  t.end()
})

t.test('T5: CE means nothing without agreement, nor on a segment that is not acceptable', (t) => {
  const c = new Script(t)
  c.listens()
  c.peerSends({ seq: IRS, flags: SYN, mss: 1000 })
  c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK })
  c.ignores()
  c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, text: 'a', ecn: CE })
  c.expects({ flags: ACK })
  const d = capable(t)
  d.peerSends({ seq: IRS + 900_000, ack: ISS + 1, flags: ACK, text: 'a', ecn: CE })
  d.expects({ flags: ACK })
  t.end()
})

t.test(
  'T5: ECE reduces the window once in a round trip; the next new text says CWR (RFC 3168 §6.1.2)',
  (t) => {
    const c = capable(t, { congestion: 'reno' })
    c.write(octets(60_000))
    t.ok(c.ignores().every((s) => s.ecn === ECT_0 && (s.flags & CWR) === 0))
    c.peerSends({ seq: IRS + 1, ack: ISS + 1001, flags: ACK | ECE })
    t.equal(c.c.sender.congestion.ssthresh, 5000)
    t.equal(c.c.sender.retransmissions, 0)
    c.expectsNothing('more is in flight than the window has')
    c.peerSends({ seq: IRS + 1, ack: ISS + 2001, flags: ACK | ECE })
    t.equal(c.c.sender.congestion.ssthresh, 5000, 'the same round trip')
    c.peerSends({ seq: IRS + 1, ack: ISS + 8001, flags: ACK })
    const next = c.ignores()
    t.ok(next.length > 1)
    t.strictSame(
      next.map((s) => (s.flags & CWR) !== 0),
      next.map((_, i) => i === 0),
    )
    c.peerSends({ seq: IRS + 1, ack: ISS + 10_001 + 1000 * next.length - 1000, flags: ACK | ECE })
    t.ok(c.c.sender.congestion.ssthresh < 5000, 'the next one')
    t.end()
  },
)

t.test(
  'T5: what is sent again, what probes a window, and ACKs are not ECN-capable (RFC 3168 §6.1.4 to §6.1.6)',
  (t) => {
    const c = capable(t)
    c.write(octets(4000))
    c.ignores()
    for (let i = 0; i < 3; i++) c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK })
    const again = c.expects({ seq: ISS + 1 })
    t.equal(again.ecn, 0)
    t.equal(again.flags & CWR, 0)
    c.peerSends({ seq: IRS + 1, ack: ISS + 4001, flags: ACK })
    c.write('new')
    const next = c.expects({ text: 'new' })
    t.equal(next.ecn, ECT_0)
    t.ok((next.flags & CWR) !== 0, 'the reduction for a loss is told, too')
    c.peerSends({ seq: IRS + 1, ack: ISS + 4004, flags: ACK, wnd: 0, text: 'a' })
    t.equal(c.expects({ length: 0 }).ecn, 0)
    c.write('more')
    c.advance(2000)
    t.equal(c.expects({ length: 1 }).ecn, 0)
    t.end()
  },
)
