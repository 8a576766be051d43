/**
 * SYN cookies (T6, RFC 4987 §3.6): what a full backlog answers, and which connections come of it.
 */
import t from 'tap'
import {
  ACK,
  type Checks,
  CWR,
  ECE,
  FIN,
  IRS,
  type PeerSegment,
  PSH,
  RST,
  Script,
  type StackSegment,
  SYN,
} from './peer.js'

const FLOOD = 2000
const PORT = 5000

/** A listener whose backlog is full of handshakes that nobody completes. */
function flooded(t: Checks, options: { backlog?: number; maxConnections?: number } = {}): Script {
  const c = new Script(t, { backlog: 8, ...options })
  c.listens()
  for (let i = 0; i < FLOOD; i++) c.peerSends({ seq: IRS + i, flags: SYN, srcPort: 10_000 + i })
  return c
}

/** The answer to a SYN from PORT. */
function answerTo(c: Script, syn: Partial<PeerSegment>): StackSegment {
  c.ignores()
  c.peerSends({ seq: IRS, flags: SYN, srcPort: PORT, ...syn })
  return c.sent.shift() as StackSegment
}

function completes(c: Script, answer: StackSegment, more: Partial<PeerSegment> = {}): void {
  const ts = answer.ts === undefined ? {} : { ts: [c.peerClock(), answer.ts[0]] as const }
  const flags = ACK
  c.peerSends({ seq: IRS + 1, ack: answer.seq + 1, flags, srcPort: PORT, ...ts, ...more })
}

t.test(
  'T6: a flood of SYNs keeps no memory, and a client comes through it with all options',
  (t) => {
    const c = flooded(t)
    t.equal(c.ignores().length, FLOOD, 'every SYN is answered')
    t.equal(c.stack.tcp.demux.size, 8)
    const offers = { mss: 1400, windowScale: 7, sackPermitted: true, ts: [777, 0] as const }
    const answer = answerTo(c, offers)
    t.match(answer, {
      ack: IRS + 1,
      flags: SYN | ACK,
      mss: 1460,
      windowScale: 0,
      sackPermitted: true,
    })
    c.advance(50)
    completes(c, answer, { wnd: 500, text: 'hello', flags: ACK | PSH })
    t.equal(c.read(), 'hello')
    const { tcb, sender } = c.c
    t.match(tcb, { sndMss: 1360, sndScale: 7, rcvScale: 0, sackOk: true, tsOk: true, ecnOk: false })
    t.equal(tcb.sndWnd, 500 << 7)
    t.equal(sender.mss, 1348)
    const ack = c.ignores().at(-1)
    t.ok((ack?.ts?.[0] ?? 0) >= (answer.ts?.[0] ?? 0), 'TSval does not go back')
    c.write('world')
    t.match(c.sent[0], { text: 'world', ack: IRS + 6 })
    t.equal(c.stack.tcp.openings.cookies.opened, 1)
    t.end()
  },
)

t.test('T6: without timestamps there is no place for other options', (t) => {
  const c = flooded(t)
  const answer = answerTo(c, {
    mss: 1460,
    windowScale: 7,
    sackPermitted: true,
    flags: SYN | ECE | CWR,
  })
  t.match(answer, { flags: SYN | ACK, sackPermitted: false, ts: undefined })
  t.equal(answer.windowScale, undefined)
  completes(c, answer, { wnd: 500 })
  t.match(c.c.tcb, {
    sndMss: 1460,
    sndScale: 0,
    rcvScale: 0,
    sackOk: false,
    tsOk: false,
    sndWnd: 500,
  })
  t.end()
})

t.test('T5 T6: congestion notification is agreed on by a cookie', (t) => {
  const c = flooded(t)
  const answer = answerTo(c, { flags: SYN | ECE | CWR, ts: [1, 0] })
  t.equal(answer.flags, SYN | ACK | ECE)
  completes(c, answer)
  t.ok(c.c.tcb.ecnOk)
  t.end()
})

t.test('T6: each MSS is rounded down, and none of a peer counts as 536', (t) => {
  for (const [mss, taken] of [
    [undefined, 536],
    [100, 216],
    [536, 536],
    [1300, 1220],
    [1459, 1440],
    [9000, 8960],
  ] as const) {
    const c = flooded(t)
    completes(c, answerTo(c, mss === undefined ? {} : { mss }))
    t.equal(c.c.tcb.sndMss, taken, `${mss}`)
  }
  t.end()
})

t.test('T6: what is no cookie of ours, or too old a one, is answered by a reset', (t) => {
  const c = flooded(t)
  const answer = answerTo(c, { ts: [1, 0] })
  const wrong: readonly Partial<PeerSegment>[] = [
    { ack: answer.seq + 2 },
    { seq: IRS + 2 },
    { srcPort: PORT + 1 },
    { ts: [2, (answer.ts?.[0] ?? 0) ^ 0x10] },
  ]
  for (const [n, more] of wrong.entries()) {
    completes(c, answer, more)
    t.equal(c.sent.shift()?.flags, RST, `${n}`)
  }
  t.equal(c.connection, null)
  c.advance(128_000)
  c.ignores()
  completes(c, answer)
  t.equal(c.sent.shift()?.flags, RST, 'two minutes later')
  const late = answerTo(c, { srcPort: PORT + 7, ts: [1, 0] })
  c.advance(60_000)
  c.ignores()
  completes(c, late, { srcPort: PORT + 7 })
  t.equal(c.c.remotePort, PORT + 7, 'one minute later')
  t.end()
})

t.test('T6: without an overflow no ACK opens anything', (t) => {
  const c = flooded(t)
  const answer = answerTo(c, { ts: [1, 0] })
  const calm = new Script(t, { backlog: 8 }, c.now)
  calm.iss = c.iss
  calm.listens()
  completes(calm, answer)
  t.equal(calm.sent.shift()?.flags, RST)
  for (let i = 0; i < 9; i++) calm.peerSends({ seq: IRS, flags: SYN, srcPort: 10_000 + i })
  calm.iss = c.iss
  completes(calm, answer)
  t.equal(calm.c.remotePort, PORT, 'the same ACK behind one')
  t.end()
})

t.test('T6: while nobody accepts, neither SYN nor ACK is answered', (t) => {
  const c = new Script(t, { backlog: 1 })
  const listener = c.listens()
  const first = answerTo(c, { srcPort: 1 })
  const second = answerTo(c, { srcPort: 2 })
  t.match(second, { flags: SYN | ACK, dstPort: 2 }, 'a cookie')
  // Not by `peerSends`, which accepts.
  const ack = (port: number, seq: number) =>
    c.deliver(c.frameOf({ seq: IRS + 1, ack: seq + 1, flags: ACK, srcPort: port }))
  ack(1, first.seq)
  ack(2, second.seq)
  c.deliver(c.frameOf({ seq: IRS, flags: SYN, srcPort: 3 }))
  t.equal(c.stack.pollTransmit(c.now), null)
  t.equal(c.drops('tcp-backlog-full'), 2)
  t.equal(listener.accept()?.remotePort, 1)
  ack(2, second.seq)
  t.equal(listener.accept()?.remotePort, 2)
  t.end()
})

t.test('T6: text and FIN may come with the cookie', (t) => {
  const c = flooded(t)
  completes(c, answerTo(c, { ts: [1, 0] }), { flags: ACK | FIN, text: 'bye' })
  t.equal(c.state, 'CLOSE_WAIT')
  t.equal(c.read(), 'bye')
  t.end()
})

t.test('T6: answers that cannot leave are bounded', (t) => {
  const c = new Script(t, { backlog: 1 })
  c.listens()
  for (let i = 0; i < 3000; i++) c.deliver(c.frameOf({ seq: IRS, flags: SYN, srcPort: 1000 + i }))
  c.drain()
  t.equal(c.sent.length, 1 + 512)
  t.equal(c.drops('tcp-backlog-full'), 3000 - 513)
  t.end()
})
