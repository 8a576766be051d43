/**
 * What a promoted connection says first, and to whom it belongs (P9): against a scripted peer that notices nothing.
 */
import t from 'tap'
import type { Connection, Endpoints, Stack } from '../../stack/index.js'
import { LOSS_REPEATS } from '../../stack/tcp/adoption.js'
import {
  ACK,
  type Checks,
  established,
  FIN,
  IRS,
  ISS,
  LOCAL,
  LOCAL_PORT,
  octets,
  PEER,
  PEER_PORT,
  PSH,
  RST,
  Script,
  SYN,
} from './peer.js'

const ENDS: Endpoints = {
  localAddress: LOCAL,
  localPort: LOCAL_PORT,
  remoteAddress: PEER,
  remotePort: PEER_PORT,
}

/** Hands the connection of `c` over to the stack of another script with the same numbers. */
function handedOver(
  t: Checks,
  c: Script,
  resumption: unknown = {},
  listens = true,
  orderly = false,
): Script {
  const next = new Script(t, c.options, c.start)
  next.now = c.now
  next.iss = c.iss
  if (listens) next.listens()
  const old = c.connection ?? [...c.stack.tcp.demux.connections()][0]
  const { sndNxtOffset, sndFinSent } = (old as Connection).tcb
  const input = (old as Connection).inputOffset
  const parts = c.stack.release(old as Connection)
  next.stack.adopt(
    parts,
    next.nic,
    ENDS,
    next.now,
    input,
    Math.max(0, sndNxtOffset - sndFinSent),
    resumption,
    orderly,
  )
  next.drain()
  return next
}

t.test('P9: with nothing outstanding the first segment acknowledges all that was taken in', (t) => {
  const c = established(t)
  c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, text: octets(700) })
  const next = handedOver(t, c)
  next.expects({ seq: ISS + 1, ack: IRS + 701, flags: ACK, text: '' })
  next.expectsNothing()
  t.equal(next.read(), octets(700), 'what nobody read is read here')
  next.write('go on')
  next.expects({ seq: ISS + 1, ack: IRS + 701, text: 'go on' })
  t.end()
})

t.test(
  'P24: behind an orderly end of the last owner nothing is sent again that may yet be acknowledged',
  (t) => {
    const c = established(t, { mss: 1000 })
    c.write(octets(3000))
    t.equal(c.ignores().length, 3)
    const next = handedOver(t, c, {}, true, true)
    next.expects({ seq: ISS + 3001, ack: IRS + 1, flags: ACK, text: '' })
    next.expectsNothing()
    next.peerSends({ seq: IRS + 1, ack: ISS + 3001, flags: ACK })
    next.write('!')
    next.expects({ seq: ISS + 3001, text: '!' })
    t.end()
  },
)

t.test(
  'D1: of whom the end of the handshake was not heard is sent what went out behind it',
  (t) => {
    const c = established(t, { mss: 1000 })
    c.write(octets(1000))
    t.equal(c.ignores().length, 1)
    // A shadow that missed the third segment has this from the owner's going on alone.
    const { tcb } = c.connection as Connection
    tcb.sndUna = tcb.iss
    const next = handedOver(t, c)
    const sent = next.ignores().filter((s) => s.length > 0)
    t.strictSame(
      sent.map((s) => [s.seq - ISS - 1, s.length]),
      [[0, 1000]],
    )
    t.end()
  },
)

t.test('S2: a peer that says nothing behind a take-over is asked how far it has come', (t) => {
  const next = handedOver(t, established(t))
  next.ignores()
  next.advance(2100)
  next.expects({ seq: ISS, ack: IRS + 1, flags: ACK, text: '' })
  next.advance(2100)
  next.expects({ seq: ISS, ack: IRS + 1, flags: ACK, text: '' })
  next.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK })
  next.advance(60_000)
  next.expectsNothing()
  next.write('on')
  next.expects({ seq: ISS + 1, text: 'on' })
  t.end()
})

t.test('S2 D5: a peer whose last text was acknowledged unheard is told that it is lost', (t) => {
  const next = handedOver(t, established(t))
  next.ignores()
  next.advance(2100)
  next.expects({ seq: ISS, ack: IRS + 1, flags: ACK, text: '' })
  // It has sent three octets and a FIN, has had both acknowledged, and waits.
  next.peerSends({ seq: IRS + 5, ack: ISS + 1, flags: ACK })
  next.advance(16_000)
  const reset = next.ignores().at(-1)
  t.equal((reset?.flags ?? 0) & RST, RST)
  t.equal(next.connection?.error ?? next.c.error, 'ERR_INPUT_LOST')
  t.end()
})

t.test('P24: what was lost on the way at an orderly end is sent again by the timer', (t) => {
  const c = established(t, { mss: 1000 })
  c.write(octets(1000))
  t.equal(c.ignores().length, 1)
  const next = handedOver(t, c, {}, true, true)
  t.equal(next.ignores().filter((s) => s.length > 0).length, 0)
  next.advance(1200)
  const again = next.ignores().filter((s) => s.length > 0)
  t.equal(again[0]?.seq, ISS + 1)
  t.equal(again[0]?.text, octets(1000))
  t.end()
})

t.test(
  'P9: of octets outstanding the first ones are sent again at once, and new ones go on',
  (t) => {
    const c = established(t, { mss: 1000 })
    c.write(octets(3000))
    t.equal(c.ignores().length, 3)
    const next = handedOver(t, c)
    const texts = () => {
      const sent = next.ignores().filter((s) => s.length > 0)
      return sent.map((s) => [s.seq - ISS - 1, s.length])
    }
    t.strictSame(texts(), [[0, 1000]])
    // The rest was on its way, and has arrived.
    next.peerSends({ seq: IRS + 1, ack: ISS + 3001, flags: ACK })
    next.write(octets(3500).slice(3000))
    next.advance(1)
    t.strictSame(texts(), [[3000, 500]])
    t.end()
  },
)

t.test('P9: what did not arrive of it is sent again as ever', (t) => {
  const c = established(t, { mss: 1000, sack: true })
  c.write(octets(6000))
  t.equal(c.ignores().length, 6)
  const next = handedOver(t, c)
  next.ignores()
  // The second and the third are lost.
  next.peerSends({ seq: IRS + 1, ack: ISS + 1001, flags: ACK, sack: [[ISS + 3001, ISS + 6001]] })
  next.advance(1)
  const sent = next.ignores().filter((s) => s.length > 0)
  t.strictSame(
    sent.map((s) => s.seq - ISS - 1),
    [1000, 2000],
  )
  t.end()
})

t.test('P9: without an answer all of it is sent again by the timer', (t) => {
  const c = established(t, { mss: 1000 })
  c.write(octets(3000))
  c.ignores()
  const next = handedOver(t, c)
  next.ignores()
  next.advance(1100)
  t.equal(next.ignores()[0]?.seq, ISS + 1)
  next.peerSends({ seq: IRS + 1, ack: ISS + 1001, flags: ACK })
  next.advance(1)
  t.same(
    next
      .ignores()
      .filter((s) => s.length > 0)
      .map((s) => s.seq - ISS - 1),
    [1000, 2000],
  )
  t.end()
})

t.test('P1: an ACK above SND.NXT is proof of what the last owner sent unseen', (t) => {
  const c = established(t)
  const next = handedOver(t, c)
  next.ignores()
  next.peerSends({ seq: IRS + 1, ack: ISS + 101, flags: ACK, text: 'more' })
  next.expects({ seq: ISS + 101, ack: IRS + 5, flags: ACK })
  next.c.write(Buffer.from(octets(150)), 0, 150)
  next.drain()
  next.expects({ seq: ISS + 101, text: octets(50, 100) })
  t.end()
})

t.test('T6: the same ACK is an error when there was no take-over, or it was long ago', (t) => {
  const next = handedOver(t, established(t))
  next.ignores()
  next.advance(31_000)
  t.equal(next.ignores().length, 3, 'the peer was asked in vain')
  next.peerSends({ seq: IRS + 1, ack: ISS + 101, flags: ACK, text: 'evil' })
  next.expects({ seq: ISS + 1, ack: IRS + 1, flags: ACK })
  t.equal(next.read(), '')
  t.end()
})

t.test(
  'P9: a connection waits for its listener, is acknowledged meanwhile, and is accepted first',
  (t) => {
    const next = handedOver(t, established(t), {}, false)
    next.expects({ seq: ISS + 1, ack: IRS + 1, flags: ACK })
    next.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, text: 'early' })
    next.expects({ ack: IRS + 6 })
    t.equal(next.connection, null)
    next.listens()
    next.drain()
    t.equal(next.read(), 'early')
    t.end()
  },
)

t.test('P9: a connection that ended before its listener came is not accepted', (t) => {
  const next = handedOver(t, established(t), {}, false)
  next.peerSends({ seq: IRS + 1, flags: RST })
  next.listens()
  next.drain()
  t.equal(next.connection, null)
  t.end()
})

t.test('P16: a handshake that was under way is completed, and accepted only then', (t) => {
  for (const listens of [true, false]) {
    const c = new Script(t)
    c.listens()
    c.peerSends({ seq: IRS, flags: SYN })
    const next = handedOver(t, c, {}, listens)
    next.expects({ seq: ISS, ack: IRS + 1, flags: SYN | ACK })
    if (!listens) next.listens()
    next.drain()
    t.equal(next.connection, null, 'not accepted in SYN-RECEIVED')
    next.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, text: 'hi' })
    t.equal(next.state, 'ESTABLISHED')
    t.equal(next.read(), 'hi')
  }
  t.end()
})

t.test('P18: a FIN of ours that was sent is sent again until it is acknowledged', (t) => {
  const c = established(t)
  c.write('bye')
  c.shutdown()
  c.ignores()
  const next = handedOver(t, c)
  t.ok(
    next
      .ignores()
      .some((s) => s.text === 'bye' && (s.flags & ~PSH) === (FIN | ACK) && s.seq === ISS + 1),
  )
  next.peerSends({ seq: IRS + 1, ack: ISS + 5, flags: ACK })
  t.equal(next.state, 'FIN_WAIT_2')
  next.peerSends({ seq: IRS + 1, ack: ISS + 5, flags: FIN | ACK })
  t.equal(next.state, 'TIME_WAIT')
  t.end()
})

t.test(
  'P18: in TIME-WAIT there is nothing to say, but a FIN that comes again is acknowledged',
  (t) => {
    const c = established(t)
    c.shutdown()
    c.ignores()
    c.peerSends({ seq: IRS + 1, ack: ISS + 2, flags: FIN | ACK })
    c.ignores()
    t.equal(c.state, 'TIME_WAIT')
    const next = handedOver(t, c)
    t.strictSame(next.ignores(), [], 'the peer may have forgotten the connection')
    next.peerSends({ seq: IRS + 1, ack: ISS + 2, flags: FIN | ACK })
    next.expects({ seq: ISS + 2, ack: IRS + 2, flags: ACK })
    t.equal(next.state, 'TIME_WAIT')
    t.end()
  },
)

t.test('P14: windows, scales and timestamps are those that were agreed on', (t) => {
  const c = established(t, { windowScale: 4, timestamps: true, sack: true, receiveLimit: 1 << 20 })
  const edge = c.c.tcb.rcvAdv
  const tsBefore = c.c.tcb.tsOffset
  c.advance(500)
  const next = handedOver(t, c)
  const first = next.ignores()[0]
  t.equal(first?.ts?.[1], 5000, 'TS.Recent is echoed')
  t.equal(((first?.ts?.[0] ?? 0) - (tsBefore + Math.floor(next.now))) | 0, 0, 'TSval goes on')
  t.ok(((next.c.tcb.rcvAdv - edge) | 0) >= 0, 'the window does not shrink (SHLD-14)')
  t.end()
})

t.test('P9: what is released says nothing any more', (t) => {
  const c = established(t)
  c.write('waiting')
  c.ignores()
  const stack: Stack = c.stack
  stack.release(c.c)
  c.advance(100_000)
  c.expectsNothing()
  t.equal(stack.tcp.demux.size, 0)
  t.end()
})

t.test(
  'S2: a peer whose FIN was acknowledged by a node that is gone is not left waiting for ever',
  (t) => {
    const next = handedOver(t, established(t))
    next.expects({ seq: ISS + 1, ack: IRS + 1, flags: ACK, text: '' })
    // Its own sequence number tells that it has sent an octet; it never sends it again.
    next.peerSends({ seq: IRS + 2, ack: ISS + 1, flags: ACK })
    next.advance(14_000)
    next.expectsNothing()
    next.advance(2000)
    next.expects({ seq: ISS + 1, ack: IRS + 1, flags: RST | ACK })
    t.equal(next.connection?.error, 'ERR_INPUT_LOST')
    t.end()
  },
)

t.test(
  'S2: nor is one that is ahead of this node by more than a window, in both directions',
  (t) => {
    const next = handedOver(t, established(t))
    next.expects({ seq: ISS + 1, ack: IRS + 1, flags: ACK, text: '' })
    const far = 200_000
    const segment = { seq: IRS + 101, ack: ISS + 1 + far, flags: ACK, text: octets(100) }
    // It acknowledges what was never heard here, and sends again from what was acknowledged to it.
    for (let i = 1; i < LOSS_REPEATS; i++) {
      next.peerSends(segment)
      next.expects({ seq: ISS + 1, ack: IRS + 1, flags: ACK, text: '' })
      next.advance(400)
    }
    next.peerSends(segment)
    // Where the peer is: a reset with another number it would not believe (RFC 5961 §3.2).
    next.expects({ seq: ISS + 1 + far, ack: IRS + 1, flags: RST | ACK })
    t.equal(next.connection?.error, 'ERR_INPUT_LOST')
    t.end()
  },
)

/** A connection that was taken over; its peer echoes what the last owner sent, or is `off` that by so many milliseconds; undefined: no timestamps. */
function adoptedWithClock(t: Checks, off: number | undefined) {
  const next = handedOver(t, established(t, { timestamps: off !== undefined }))
  const { ts: [clock] = [0] } = next.expects({ seq: ISS + 1, ack: IRS + 1, flags: ACK, text: '' })
  const says = (seq: number, text = '', ack = ISS + 200_001) => {
    const ts = off === undefined ? null : ([next.peerClock(), (clock + off) | 0] as const)
    next.peerSends({ seq, ack, flags: ACK, text, ts })
  }
  return { next, says }
}

t.test('S2 D5: nor is one that is so far ahead that neither of its numbers fits', (t) => {
  const { next, says } = adoptedWithClock(t, 0)
  for (let i = 1; i < LOSS_REPEATS; i++) {
    says(IRS + 1_000_001, octets(100))
    next.expects({ seq: ISS + 1, ack: IRS + 1, flags: ACK, text: '' })
    next.advance(300)
  }
  says(IRS + 1_000_001, octets(100))
  next.expects({ seq: ISS + 200_001, ack: IRS + 1, flags: RST | ACK })
  t.equal(next.connection?.error, 'ERR_INPUT_LOST')
  t.end()
})

t.test('S2 D5: nor when it has nothing to send any more', (t) => {
  const { next, says } = adoptedWithClock(t, 0)
  next.advance(2100)
  next.expects({ seq: ISS, ack: IRS + 1, flags: ACK, text: '' })
  says(IRS + 1_000_001)
  next.expects({ seq: ISS + 1, ack: IRS + 1, flags: ACK })
  next.advance(14_000)
  t.ok(next.ignores().every(({ flags }) => flags === ACK))
  next.advance(2000)
  next.expects({ seq: ISS + 200_001, ack: IRS + 1, flags: RST | ACK })
  t.equal(next.connection?.error, 'ERR_INPUT_LOST')
  t.end()
})

t.test('S2 D5: nor when something that was under way yet has come in between', (t) => {
  const { next, says } = adoptedWithClock(t, 0)
  says(IRS + 1, octets(100), ISS + 1)
  says(IRS + 1_000_001)
  next.advance(16_000)
  t.ok(next.ignores().every(({ flags }) => flags === ACK))
  says(IRS + 1_000_001)
  next.expects({ seq: ISS + 200_001, ack: IRS + 101, flags: RST | ACK })
  t.equal(next.connection?.error, 'ERR_INPUT_LOST')
  t.end()
})

t.test(
  'S2 D5: a reset for another reason finds such a peer, too, and says that it was lost',
  (t) => {
    for (const ahead of [true, false]) {
      const { next, says } = adoptedWithClock(t, ahead ? 0 : undefined)
      says(IRS + 1_000_001)
      next.ignores()
      next.abort()
      // Without a clock it may be a stranger.
      const seq = ahead ? ISS + 200_001 : ISS + 1
      next.expects({ seq, ack: IRS + 1, flags: RST | ACK })
      t.equal(next.connection?.error, ahead ? 'ERR_INPUT_LOST' : '')
    }
    t.end()
  },
)

t.test('S1: it is gone on with when what was missing comes behind what lies so far ahead', (t) => {
  const { next, says } = adoptedWithClock(t, 0)
  for (let i = 1; i < LOSS_REPEATS; i++) {
    says(IRS + 1_000_001, octets(100))
    next.advance(400)
  }
  next.ignores()
  says(IRS + 1, octets(10))
  next.expects({ seq: ISS + 200_001, ack: IRS + 11, flags: ACK })
  says(IRS + 1_000_001, octets(100))
  next.ignores()
  next.advance(30_000)
  next.expectsNothing()
  t.equal(next.connection?.error, '')
  t.end()
})

t.test(
  'S2 T4: of whom neither number fits is a stranger while the peer answers (RFC 5961)',
  (t) => {
    // Without timestamps, and with such as nobody has sent lately.
    for (const off of [undefined, -70_000, 100_000, 0x4000_0000]) {
      const { next, says } = adoptedWithClock(t, off)
      const seen = []
      for (let i = 0; i < 60; i++) {
        says(IRS + 1_000_001, octets(100))
        next.advance(900)
        const segments = next.ignores()
        seen.push(...segments)
        if (segments.some(({ seq }) => seq === ISS)) says(IRS + 1, '', ISS + 1)
      }
      t.ok(
        seen.some(({ seq }) => seq === ISS),
        'the peer is asked',
      )
      t.notOk(
        seen.some(({ flags }) => (flags & RST) !== 0),
        `${off} ms off: nobody is reset`,
      )
      t.equal(next.connection?.error, '')
      next.write('on')
      next.expects({ seq: ISS + 1, text: 'on' })
    }
    t.end()
  },
)

t.test('S2 D5: while it does not, he is asked to prove it by ending what stands there', (t) => {
  const { next, says } = adoptedWithClock(t, undefined)
  says(IRS + 1_000_001)
  next.advance(14_000)
  next.ignores()
  says(IRS + 1_000_001)
  next.ignores()
  next.advance(2000)
  next.ignores()
  says(IRS + 1_000_001)
  const reset = next.expects({ seq: ISS + 200_001, flags: RST })
  t.equal(next.connection?.error, '', 'a stranger would have changed nothing')
  next.ignores()
  next.advance(2000)
  next.expects({ seq: ISS, ack: IRS + 1, flags: ACK })
  next.peerSends({ seq: IRS + 1, flags: RST })
  t.equal(next.connection?.error, 'ERR_INPUT_LOST')
  t.ok(reset)
  t.end()
})

t.test('S2 D5: nor is one whose handshake was all that this node heard of it', (t) => {
  const c = new Script(t)
  c.listens()
  c.peerSends({ seq: IRS, flags: SYN })
  const next = handedOver(t, c)
  next.expects({ seq: ISS, ack: IRS + 1, flags: SYN | ACK })
  // Out of the window: any stranger could say so.
  next.peerSends({ seq: IRS + 1_000_001, ack: ISS + 1001, flags: ACK, text: octets(100) })
  const [half] = [...next.stack.tcp.demux.connections()]
  next.expects({ seq: ISS + 1, ack: IRS + 1, flags: ACK })
  t.equal(half?.error, '')
  next.peerSends({ seq: IRS + 101, ack: ISS + 1001, flags: ACK, text: octets(100) })
  next.expects({ seq: ISS + 1001, flags: RST })
  t.equal(half?.error, 'ERR_INPUT_LOST')
  t.end()
})

t.test('S2: nor is one that was let send beyond the window that this node knows of', (t) => {
  const next = handedOver(t, established(t))
  next.expects({ seq: ISS + 1, ack: IRS + 1, flags: ACK, text: '' })
  next.peerSends({ seq: IRS + 1_000_001, ack: ISS + 1, flags: ACK })
  next.expects({ seq: ISS + 1, ack: IRS + 1, flags: ACK })
  next.advance(16_000)
  next.expects({ seq: ISS + 1, ack: IRS + 1, flags: RST | ACK })
  t.equal(next.connection?.error, 'ERR_INPUT_LOST')
  t.end()
})

t.test('S1: a peer that sends again what is missing is waited for', (t) => {
  const next = handedOver(t, established(t))
  next.expects({ seq: ISS + 1, ack: IRS + 1, flags: ACK, text: '' })
  next.peerSends({ seq: IRS + 11, ack: ISS + 1, flags: ACK })
  next.advance(5000)
  next.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, text: octets(10) })
  next.expects({ seq: ISS + 1, ack: IRS + 11, flags: ACK })
  next.advance(30_000)
  next.expectsNothing()
  t.equal(next.read(), octets(10))
  t.end()
})

t.test('P12: segments to the last owner are taken until the neighbours have learnt better', (t) => {
  const last = 0x02_00_00_00_00_99
  const next = handedOver(t, established(t))
  next.expects({ seq: ISS + 1, ack: IRS + 1, flags: ACK, text: '' })
  const late = { seq: IRS + 1, ack: ISS + 1, flags: ACK, text: octets(100), dstMac: last }
  next.peerSends(late)
  next.expectsNothing()
  t.equal(next.drops('ethernet-other-mac'), 1, 'as a rule they are for others')
  next.nic.otherMacs = new Set([last])
  next.peerSends(late)
  next.expects({ seq: ISS + 1, ack: IRS + 101, flags: ACK, text: '' })
  t.equal(next.read(), octets(100))
  t.end()
})

t.test(
  'S2 D3: a connection that went on with another node while its owner was cut off is ended',
  (t) => {
    const c = established(t)
    const connection = c.connection as Connection
    connection.doubt(c.now)
    // It lives on where nothing is wrong.
    c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, text: 'as ever' })
    t.equal(c.read(), 'as ever')
    c.ignores()
    // What only another node can have said is acknowledged.
    c.peerSends({ seq: IRS + 8, ack: ISS + 101, flags: ACK })
    c.expects({ seq: ISS + 101, flags: RST | ACK })
    t.equal(connection.error, 'ERR_INPUT_LOST')
    t.end()
  },
)
