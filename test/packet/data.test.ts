/**
 * Data in both directions: acceptability, reassembly, windows (RFC 9293 §3.8, §3.10.7.4), against a scripted peer.
 */
import t from 'tap'
import { ACK, established, FIN, IRS, ISS, octets, type Script, URG } from './peer.js'

function gives(c: Script, from: number, length: number, wnd?: number): void {
  c.peerSends({
    seq: IRS + 1 + from,
    ack: ISS + 1,
    flags: ACK,
    text: octets(length, from),
    ...(wnd === undefined ? {} : { wnd }),
  })
}

t.test('T2: text in order is acknowledged and read', (t) => {
  const c = established(t)
  gives(c, 0, 500)
  c.expects({ seq: ISS + 1, ack: IRS + 501, flags: ACK, text: '' })
  gives(c, 500, 300)
  c.expects({ ack: IRS + 801 })
  t.equal(c.read(100), octets(100))
  t.equal(c.read(), octets(700, 100))
  c.expectsNothing()
  t.end()
})

t.test(
  'T2: text of any order and overlap is put together; a hole is reported at once (MUST-59, SHLD-31)',
  (t) => {
    const pieces = [[0, 300], [300, 300], [600, 300], [150, 500], [450, 451]] as const // biome-ignore format: one line
    const orders = permutations(pieces.length)
    for (const order of orders) {
      const c = established(t)
      for (const index of order) {
        const [from, length] = pieces[index] as readonly [number, number]
        gives(c, from, length)
      }
      t.equal(c.ignores().at(-1)?.ack, IRS + 902, `order ${order}`)
      t.equal(c.read(), octets(901))
    }
    t.end()
  },
)

function permutations(n: number): number[][] {
  if (n === 0) return [[]]
  return permutations(n - 1).flatMap((p) =>
    Array.from({ length: n }, (_, i) => [...p.slice(0, i), n - 1, ...p.slice(i)]),
  )
}

t.test('T2: partly old text is trimmed, wholly old text is acknowledged and dropped', (t) => {
  const c = established(t)
  gives(c, 0, 100)
  c.ignores()
  gives(c, 50, 100)
  c.expects({ ack: IRS + 151 })
  gives(c, 0, 100)
  c.expects({ seq: ISS + 1, ack: IRS + 151, flags: ACK })
  t.equal(c.read(), octets(150))
  t.end()
})

t.test(
  'T2: text beyond the window is cut off; wholly outside it is acknowledged and dropped',
  (t) => {
    const c = established(t, { receiveLimit: 2000 })
    gives(c, 1500, 1000)
    c.expects({ ack: IRS + 1 })
    gives(c, 0, 1500)
    c.expects({ ack: IRS + 2001, wnd: 0 })
    t.equal(c.read().length, 2000)
    c.ignores()
    c.peerSends({ seq: IRS + 900_000, ack: ISS + 1, flags: ACK, text: 'far' })
    c.expects({ seq: ISS + 1, ack: IRS + 2001, flags: ACK })
    t.end()
  },
)

t.test('T2: a segment without ACK is dropped (§3.10.7.4 fifth)', (t) => {
  const c = established(t)
  c.peerSends({ seq: IRS + 1, flags: 0, text: 'abc' })
  c.peerSends({ seq: IRS + 1, flags: FIN, text: 'abc' })
  c.expectsNothing()
  t.equal(c.read(), '')
  t.equal(c.drops('tcp-unacceptable'), 2)
  t.end()
})

t.test(
  'T6: an ACK of what was never sent is answered and dropped, one too old is challenged (RFC 5961 §5)',
  (t) => {
    const c = established(t)
    c.peerSends({ seq: IRS + 1, ack: ISS + 2, flags: ACK, text: 'evil' })
    c.expects({ seq: ISS + 1, ack: IRS + 1, flags: ACK })
    c.peerSends({ seq: IRS + 1, ack: ISS - 100_000, flags: ACK, text: 'evil' })
    c.expects({ seq: ISS + 1, ack: IRS + 1, flags: ACK })
    t.equal(c.read(), '')
    c.peerSends({ seq: IRS + 1, ack: ISS - 50, flags: ACK, text: 'late' })
    c.expects({ ack: IRS + 5 })
    t.equal(c.read(), 'late', 'an old ACK within the window does not spoil the text')
    t.end()
  },
)

t.test('T2: several segments are taken before one ACK leaves (MUST-59)', (t) => {
  const c = established(t)
  c.peerSends(
    ...[0, 1, 2, 3].map((i) => ({
      seq: IRS + 1 + 100 * i,
      ack: ISS + 1,
      flags: ACK,
      text: octets(100, 100 * i),
    })),
  )
  c.expects({ ack: IRS + 401 })
  c.expectsNothing()
  t.end()
})

t.test('T2: urgent text is read in line (RFC 6093, MUST-30, MUST-31)', (t) => {
  const c = established(t)
  c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK | URG, text: 'abc' })
  t.equal(c.read(), 'abc')
  t.end()
})

t.test(
  'T2: the window closes with the buffer and never shrinks (SHLD-14); it opens by a step worth sending (MUST-39)',
  (t) => {
    const c = established(t, { receiveLimit: 8000 })
    let edge = 0
    for (let at = 0; at < 8000; at += 1000) {
      gives(c, at, 1000)
      for (const s of c.ignores()) {
        t.ok(s.ack + s.wnd >= edge, 'the right edge does not go back')
        edge = s.ack + s.wnd
      }
    }
    t.equal(c.c.tcb.rcvWnd, 0)
    gives(c, 8000, 1)
    c.expects({ ack: IRS + 8001, wnd: 0, flags: ACK })
    t.equal(c.read(500).length, 500)
    c.expectsNothing('500 octets are no worthwhile window')
    t.equal(c.read(1000).length, 1000)
    c.expects({ ack: IRS + 8001, wnd: 1500 })
    t.equal(c.read().length, 6500)
    c.expects({ wnd: 8000 })
    t.end()
  },
)

t.test(
  'T2: at a zero window ACKs still count, and text is acknowledged, not taken (§3.10.7.4 first)',
  (t) => {
    const c = established(t, { receiveLimit: 1000 })
    c.write('ours')
    c.ignores()
    gives(c, 0, 1000)
    c.ignores()
    c.peerSends({ seq: IRS + 1001, ack: ISS + 5, flags: ACK, text: 'more', wnd: 77 })
    c.expects({ ack: IRS + 1001, wnd: 0 })
    t.equal(c.c.tcb.sndUna, c.c.tcb.sndNxt, 'the ACK was taken')
    t.equal(c.c.tcb.sndWnd, 77, 'and the window with it')
    t.equal(c.read(), octets(1000))
    t.end()
  },
)

t.test(
  'T2: at a zero window the ACK of a peer counts that is one octet ahead by its probe (§3.8.6.1)',
  (t) => {
    const c = established(t, { receiveLimit: 1000 })
    c.write('ours')
    c.ignores()
    gives(c, 0, 1000)
    c.ignores()
    c.peerSends({ seq: IRS + 1001, ack: ISS + 1, flags: ACK, text: 'x' })
    c.ignores()
    c.peerSends({ seq: IRS + 1002, ack: ISS + 5, flags: ACK })
    t.equal(c.c.tcb.sndUna, c.c.tcb.sndNxt, 'else both would wait for each other')
    t.equal(c.c.tcb.rcvNxt, IRS + 1001)
    c.ignores()
    c.peerSends({ seq: IRS + 1003, ack: ISS + 5, flags: ACK, wnd: 7 })
    t.not(c.c.tcb.sndWnd, 7, 'two octets ahead none can be')
    t.end()
  },
)

t.test(
  'T2: never beyond the window of the peer; a shrunk window stops new text (MUST-34, SHLD-15)',
  (t) => {
    const c = established(t, { mss: 1000, wnd: 2500 })
    t.equal(c.write(octets(6000)), 6000)
    c.expects({ seq: ISS + 1, length: 1000 })
    c.expects({ seq: ISS + 1001, length: 1000 })
    c.expectsNothing('what is left of the window is a silly one')
    c.peerSends({ seq: IRS + 1, ack: ISS + 1001, flags: ACK, wnd: 500 })
    c.expectsNothing('the window shrank below what is in flight')
    c.peerSends({ seq: IRS + 1, ack: ISS + 2001, flags: ACK, wnd: 2500 })
    c.expects({ seq: ISS + 2001, length: 1000 })
    c.expects({ seq: ISS + 3001, length: 1000 })
    t.end()
  },
)

t.test('T2: an old segment does not set the window (SND.WL1, SND.WL2)', (t) => {
  const c = established(t, { wnd: 5000 })
  gives(c, 0, 100, 4000)
  t.equal(c.c.tcb.sndWnd, 4000)
  gives(c, 0, 100, 9000)
  t.equal(c.c.tcb.sndWnd, 4000)
  gives(c, 100, 100, 4000)
  gives(c, 50, 200, 9000)
  t.equal(c.c.tcb.sndWnd, 4000, 'nor does one whose text is partly new')
  c.peerSends({ seq: IRS + 251, ack: ISS + 1, flags: ACK, wnd: 9000 })
  t.equal(c.c.tcb.sndWnd, 9000)
  t.end()
})

t.test(
  'T2: Nagle: the short end of text does not wait for the full segments before it (§A.3)',
  (t) => {
    const c = established(t, { mss: 1000 })
    c.write(octets(2100))
    c.expects({ seq: ISS + 1, length: 1000 })
    c.expects({ seq: ISS + 1001, length: 1000 })
    c.expects({ seq: ISS + 2001, length: 100 })
    c.write(octets(1100))
    c.expects({ seq: ISS + 2101, length: 1000 })
    c.expectsNothing('a short one is in flight')
    c.peerSends({ seq: IRS + 1, ack: ISS + 2001, flags: ACK })
    c.expectsNothing('and still is')
    c.peerSends({ seq: IRS + 1, ack: ISS + 2101, flags: ACK })
    c.expects({ seq: ISS + 3101, length: 100 })
    t.end()
  },
)

t.test(
  'T2: Nagle: a small segment waits for the ACK, a full one does not; noDelay does not wait (MUST-17, SHLD-7, MUST-60)',
  (t) => {
    const c = established(t, { mss: 1000 })
    c.write('a')
    c.expects({ text: 'a' })
    c.write('bb')
    c.expectsNothing()
    c.write(octets(998))
    c.expects({ seq: ISS + 2, length: 1000 })
    c.write('d')
    c.expectsNothing()
    c.peerSends({ seq: IRS + 1, ack: ISS + 1002, flags: ACK })
    c.expects({ text: 'd' })
    c.c.sender.noDelay = true
    c.write('e')
    c.expects({ text: 'e' })
    t.end()
  },
)

t.test('T2: Nagle: what it holds back leaves when it is turned off (MUST-17)', (t) => {
  const c = established(t, { mss: 1000 })
  c.write('a')
  c.expects({ text: 'a' })
  c.write('bb')
  c.expectsNothing()
  c.c.setNoDelay(false)
  c.drain()
  c.expectsNothing()
  c.c.setNoDelay(true)
  c.drain()
  c.expects({ text: 'bb' })
  t.end()
})

t.test(
  'T2: sender-side silly window: half of the largest window is worth a segment (MUST-38)',
  (t) => {
    const c = established(t, { mss: 1000, wnd: 600 })
    c.write(octets(5000))
    c.expects({ seq: ISS + 1, length: 600 })
    c.peerSends({ seq: IRS + 1, ack: ISS + 601, flags: ACK, wnd: 200 })
    c.expectsNothing()
    c.peerSends({ seq: IRS + 1, ack: ISS + 601, flags: ACK, wnd: 300 })
    c.expects({ seq: ISS + 601, length: 300 })
    t.end()
  },
)

t.test('T2: the largest window is the largest ever offered, not that of the SYN', (t) => {
  const c = established(t, { mss: 1000, wnd: 600 })
  c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK, wnd: 900 })
  c.write(octets(5000))
  c.expects({ seq: ISS + 1, length: 900 })
  c.peerSends({ seq: IRS + 1, ack: ISS + 901, flags: ACK, wnd: 400 })
  c.expectsNothing('less than half of 900')
  c.peerSends({ seq: IRS + 1, ack: ISS + 901, flags: ACK, wnd: 450 })
  c.expects({ seq: ISS + 901, length: 450 })
  t.end()
})

t.test(
  'T2: writes are cut at the send buffer, and the application hears when there is room',
  (t) => {
    const c = established(t, { sendLimit: 4000, wnd: 1000 })
    t.equal(c.write(octets(10_000)), 4000)
    t.equal(c.write('x'), 0)
    c.ignores()
    c.c.events = 0
    c.peerSends({ seq: IRS + 1, ack: ISS + 1001, flags: ACK, wnd: 1000 })
    t.ok(c.hears(4), 'WRITABLE')
    t.equal(c.write('xyz'), 3)
    t.end()
  },
)

t.test('T2: both directions at once; the text carries the ACK', (t) => {
  const c = established(t)
  c.deliver(c.frameOf({ seq: IRS + 1, ack: ISS + 1, flags: ACK, text: 'ping' }))
  c.c.write(Buffer.from('pong'), 0, 4)
  c.drain()
  c.expects({ seq: ISS + 1, ack: IRS + 5, text: 'pong' })
  c.expectsNothing()
  t.end()
})

t.test(
  'T2: each datagram has an Identification of its own, a retransmission too (RFC 6864)',
  (t) => {
    const c = established(t)
    c.write('abc')
    const first = c.expects({ text: 'abc' })
    c.advance(1000)
    const again = c.expects({ text: 'abc' })
    t.not(first.ident, again.ident)
    t.end()
  },
)
