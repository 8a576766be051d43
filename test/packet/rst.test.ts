/**
 * Blind attacks: RST, SYN and ACK that anybody could have sent (RFC 5961), in every state.
 */
import t from 'tap'
import { ACK, type Checks, established, FIN, IRS, ISS, RST, type Script, SYN } from './peer.js'

/** A connection in each synchronized state, with RCV.NXT and SND.NXT of the script. */
function inEachState(t: Checks): Record<string, { c: Script; rcvNxt: number; sndNxt: number }> {
  const fin = { seq: IRS + 1, ack: ISS + 1, flags: FIN | ACK }
  const make = (moves: (c: Script) => void): { c: Script; rcvNxt: number; sndNxt: number } => {
    const c = established(t)
    moves(c)
    c.ignores()
    return {
      c,
      rcvNxt: IRS + ((c.c.tcb.rcvNxt - c.c.tcb.irs) | 0),
      sndNxt: ISS + ((c.c.tcb.sndNxt - c.c.tcb.iss) | 0),
    }
  }
  return {
    ESTABLISHED: make(() => {}),
    FIN_WAIT_1: make((c) => c.shutdown()),
    FIN_WAIT_2: make((c) => {
      c.shutdown()
      c.peerSends({ seq: IRS + 1, ack: ISS + 2, flags: ACK })
    }),
    CLOSE_WAIT: make((c) => c.peerSends(fin)),
    CLOSING: make((c) => {
      c.shutdown()
      c.peerSends(fin)
    }),
    LAST_ACK: make((c) => {
      c.peerSends(fin)
      c.shutdown()
    }),
  }
}

t.test('S3: RST with exactly RCV.NXT resets, in each state (RFC 5961 §3.2, MUST-12)', (t) => {
  for (const [name, { c, rcvNxt }] of Object.entries(inEachState(t))) {
    t.equal(c.state, name)
    c.peerSends({ seq: rcvNxt, flags: RST })
    t.equal(c.state, 'CLOSED', name)
    t.equal(c.c.error, 'ECONNRESET')
    t.ok(c.closed)
    t.equal(c.stack.tcp.demux.size, 0)
    t.equal(c.stack.nextDeadline(), Number.POSITIVE_INFINITY)
    c.expectsNothing()
  }
  t.end()
})

t.test('T2 S3: a SYN right behind an RST opens the next connection between the two ports', (t) => {
  for (const [name, { c, rcvNxt }] of Object.entries(inEachState(t))) {
    c.peerSends({ seq: rcvNxt, flags: RST }, { seq: IRS + 1_000_000, flags: SYN })
    c.expects({ ack: IRS + 1_000_001, flags: SYN | ACK }, name)
    c.expectsNothing()
    t.equal(c.stack.tcp.demux.size, 1)
  }
  t.end()
})

t.test(
  'S3 T6: RST elsewhere in the window is challenged, outside of it dropped, in each state',
  (t) => {
    for (const [name, { c, rcvNxt, sndNxt }] of Object.entries(inEachState(t))) {
      c.peerSends({ seq: rcvNxt + 1, flags: RST })
      c.expects({ seq: sndNxt, ack: rcvNxt, flags: ACK }, `${name}: challenge ACK`)
      c.peerSends({ seq: rcvNxt - 1, flags: RST }, { seq: rcvNxt + 1_000_000, flags: RST })
      c.expectsNothing()
      t.equal(c.state, name)
    }
    t.end()
  },
)

t.test(
  'S3 T6: SYN is challenged in each synchronized state, wherever it points (RFC 5961 §4)',
  (t) => {
    for (const [name, { c, rcvNxt, sndNxt }] of Object.entries(inEachState(t))) {
      for (const seq of [rcvNxt, rcvNxt + 5, rcvNxt - 300, rcvNxt + 1_000_000]) {
        c.peerSends({ seq, flags: SYN })
        c.expects({ seq: sndNxt, ack: rcvNxt, flags: ACK }, `${name}: SYN at ${seq - rcvNxt}`)
      }
      c.expectsNothing()
      t.equal(c.state, name)
    }
    t.end()
  },
)

t.test(
  'S3: a peer that lost its memory is let in: SYN, challenge ACK, RST, SYN (RFC 5961 §4)',
  (t) => {
    const c = established(t)
    c.peerSends({ seq: IRS + 90_000, flags: SYN })
    c.expects({ seq: ISS + 1, ack: IRS + 1, flags: ACK })
    c.peerSends({ seq: IRS + 1, flags: RST })
    t.equal(c.state, 'CLOSED')
    c.peerSends({ seq: IRS + 90_000, flags: SYN })
    c.expects({ ack: IRS + 90_001, flags: SYN | ACK })
    t.end()
  },
)

t.test('T6: challenge ACKs are rationed; repeated text is always answered (RFC 5961 §7)', (t) => {
  const c = established(t)
  for (let i = 0; i < 200; i++) c.peerSends({ seq: IRS + 50, flags: SYN })
  const burst = c.ignores().length
  t.ok(burst >= 1 && burst <= 10, `${burst} of 200`)
  c.advance(10_000)
  for (let i = 0; i < 200; i++) c.peerSends({ seq: IRS + 50, flags: RST })
  t.equal(c.ignores().length, 10)
  for (let i = 0; i < 50; i++)
    c.peerSends({ seq: IRS - 9, ack: ISS + 1, flags: ACK, text: '0123456789' })
  t.equal(c.ignores().length, 50, 'else a peer whose ACKs got lost would never come on')
  t.end()
})

t.test(
  'T6: two ends that disagree about the sequence numbers do not answer each other for ever',
  (t) => {
    const c = established(t)
    let sent = 0
    for (let i = 0; i < 1000; i++) {
      c.peerSends({ seq: IRS + 700_000, ack: ISS + 1, flags: ACK })
      sent += c.ignores().length
    }
    t.ok(sent <= 10, `${sent} answers to 1000 stray ACKs`)
    t.end()
  },
)

t.test(
  'S3: RST with text, and RST with ACK, count by their sequence number alone (SHLD-2)',
  (t) => {
    const c = established(t)
    c.peerSends({ seq: IRS + 1, ack: ISS + 999_999, flags: RST | ACK, text: 'why' })
    t.equal(c.c.error, 'ECONNRESET')
    c.expectsNothing()
    t.end()
  },
)

t.test('S3: RST at a zero window counts with exactly RCV.NXT only (MUST-66)', (t) => {
  const c = established(t, { receiveLimit: 1000 })
  c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, text: 'x'.repeat(1000) })
  c.ignores()
  c.peerSends({ seq: IRS + 1002, flags: RST })
  t.equal(c.state, 'ESTABLISHED')
  c.peerSends({ seq: IRS + 1001, flags: RST })
  t.equal(c.state, 'CLOSED')
  t.end()
})

t.test('T2: unread text survives a reset for those who still want it', (t) => {
  const c = established(t)
  c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, text: 'before' })
  c.ignores()
  c.peerSends({ seq: IRS + 7, flags: RST })
  t.ok(c.closed)
  t.equal(c.read(), 'before')
  t.equal(c.write('x') >= 0, true)
  c.expectsNothing()
  t.end()
})
