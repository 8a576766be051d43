/**
 * Selective acknowledgement: the blocks we report (RFC 2018 §4) and those we act on (RFC 6675).
 */
import t from 'tap'
import { ACK, established, IRS, ISS, octets, type Script } from './peer.js'

const OPTIONS = { sack: true, mss: 1000, wnd: 65_535 } as const

function gives(c: Script, from: number, length = 100): void {
  c.peerSends({ seq: IRS + 1 + from, ack: ISS + 1, flags: ACK, text: octets(length, from) })
}

function acks(c: Script, ack: number, ...sack: [number, number][]): void {
  c.peerSends({
    seq: IRS + 1,
    ack: ISS + 1 + ack,
    flags: ACK,
    ...(sack.length === 0
      ? {}
      : { sack: sack.map(([l, r]) => [ISS + 1 + l, ISS + 1 + r] as const) }),
  })
}

function block(left: number, right: number): [number, number] {
  return [IRS + 1 + left, IRS + 1 + right]
}

t.test('T3: blocks: the latest first, four at most (RFC 2018 §4)', (t) => {
  const c = established(t, OPTIONS)
  gives(c, 200)
  t.strictSame(c.expects({ ack: IRS + 1 }).sack, [block(200, 300)])
  gives(c, 600)
  t.strictSame(c.expects({}).sack, [block(600, 700), block(200, 300)])
  gives(c, 400)
  t.strictSame(c.expects({}).sack[0], block(400, 500))
  gives(c, 800)
  gives(c, 1000)
  const sack = c.ignores().at(-1)?.sack ?? []
  t.equal(sack.length, 4)
  t.strictSame(sack[0], block(1000, 1100))
  t.end()
})

t.test(
  'T3: blocks: behind the latest those reported before it, each four times (RFC 2018 §4)',
  (t) => {
    const c = established(t, OPTIONS)
    const order: number[] = []
    const blocksOf = (...starts: number[]) => starts.map((at) => block(at, at + 100))
    for (const at of [2000, 400, 1600, 800, 1200, 200]) {
      gives(c, at)
      order.unshift(at)
      t.strictSame(c.expects({ ack: IRS + 1 }).sack, blocksOf(...order.slice(0, 4)), `${at}`)
    }
    gives(c, 0)
    t.strictSame(
      c.expects({ ack: IRS + 101 }).sack,
      blocksOf(200, 1200, 800, 1600),
      'text in order changes nothing of it',
    )
    gives(c, 900)
    t.strictSame(
      c.expects({}).sack,
      [block(800, 1000), ...blocksOf(200, 1200, 1600)],
      'a block grows',
    )
    gives(c, 1000, 200)
    t.strictSame(c.expects({}).sack, [block(800, 1300), ...blocksOf(200, 1600, 2000)], 'two join')
    gives(c, 100, 100)
    const sack = [block(800, 1300), ...blocksOf(1600, 2000, 400)]
    t.strictSame(c.expects({ ack: IRS + 301 }).sack, sack, 'one is acknowledged')
    t.end()
  },
)

t.test('T3: with timestamps there is room for three blocks', (t) => {
  const c = established(t, { ...OPTIONS, timestamps: true })
  for (const at of [200, 400, 600, 800]) gives(c, at)
  t.equal(c.ignores().at(-1)?.sack.length, 3)
  t.end()
})

t.test(
  'T3: neighbouring blocks join; a filled hole leaves none; without SACK-permitted none are sent',
  (t) => {
    const c = established(t, OPTIONS)
    gives(c, 200)
    gives(c, 300)
    t.strictSame(c.ignores().at(-1)?.sack, [block(200, 400)])
    gives(c, 0, 200)
    t.strictSame(c.expects({ ack: IRS + 401 }).sack, [])
    const d = established(t, { mss: 1000 })
    gives(d, 200)
    t.strictSame(d.expects({ ack: IRS + 1 }).sack, [])
    t.end()
  },
)

t.test(
  'T3: while text waits to be sent, out of order text is still reported by a segment without text',
  (t) => {
    const c = established(t, OPTIONS)
    c.write(octets(20_000))
    c.ignores()
    gives(c, 200)
    const first = c.ignores()[0]
    t.equal(first?.length, 0, 'only that is a duplicate ACK to the peer')
    t.strictSame(first?.sack, [block(200, 300)])
    t.end()
  },
)

t.test('T6: blocks near the wrap of sequence space', (t) => {
  const c = established(t, { ...OPTIONS, irs: 0xffff_ff80 })
  gives(c, 50)
  gives(c, 300)
  t.strictSame(c.ignores().at(-1)?.sack, [block(300, 400), block(50, 150)])
  t.end()
})

t.test(
  'T4: reported text is not sent again; the hole is, after three reports (RFC 6675 §5)',
  (t) => {
    const c = established(t, OPTIONS)
    c.write(octets(8000))
    t.equal(c.ignores().length, 8)
    acks(c, 0, [1000, 2000])
    acks(c, 0, [1000, 3000])
    c.expectsNothing('two segments are no proof')
    acks(c, 0, [1000, 4000])
    c.expects({ seq: ISS + 1, length: 1000 })
    c.expectsNothing('one hole, one segment')
    acks(c, 8000)
    c.expectsNothing()
    t.equal(c.c.sender.retransmissions, 1)
    t.end()
  },
)

t.test('T4: several holes are filled in one recovery', (t) => {
  const c = established(t, OPTIONS)
  c.write(octets(10_000))
  c.ignores()
  acks(c, 0, [1000, 2000])
  acks(c, 0, [3000, 4000], [1000, 2000])
  acks(c, 0, [5000, 6000], [3000, 4000], [1000, 2000])
  acks(c, 0, [6000, 10_000], [5000, 6000], [3000, 4000], [1000, 2000])
  const holes = c.ignores().map((s) => s.seq - ISS - 1)
  t.strictSame(holes, [0, 2000, 4000])
  acks(c, 10_000)
  t.equal(c.c.tcb.flightSize, 0)
  c.expectsNothing()
  t.end()
})

t.test(
  'T6: blocks outside of what is in flight, upside down, or without SACK-permitted are ignored',
  (t) => {
    const c = established(t, OPTIONS)
    c.write(octets(3000))
    c.ignores()
    acks(c, 0, [5000, 6000])
    acks(c, 0, [2000, 1000])
    acks(c, 0, [-500, 100])
    t.equal(c.c.sender.scoreboard.count, 0)
    const d = established(t, { mss: 1000 })
    d.write(octets(3000))
    d.ignores()
    acks(d, 0, [1000, 2000])
    t.equal(d.c.sender.scoreboard.count, 0)
    t.end()
  },
)

t.test('T4: after a time-out the reports are no longer trusted (RFC 2018 §8)', (t) => {
  const c = established(t, OPTIONS)
  c.write(octets(3000))
  c.ignores()
  acks(c, 0, [1000, 2000])
  c.advance(250)
  t.ok(
    c.ignores().every((s) => s.seq !== ISS + 1001),
    'until the timer expires they are',
  )
  t.equal(c.c.sender.timeouts, 1)
  acks(c, 1000)
  t.equal(c.ignores()[0]?.seq, ISS + 1001, 'what was reported is sent again')
  t.end()
})

t.test(
  'T3: D-SACK: text that comes twice is reported in the first block, below the ACK (RFC 2883 §4.1)',
  (t) => {
    const c = established(t, OPTIONS)
    gives(c, 0)
    gives(c, 100)
    c.ignores()
    gives(c, 0)
    t.strictSame(c.expects({ ack: IRS + 201 }).sack, [block(0, 100)])
    gives(c, 150)
    t.strictSame(c.expects({ ack: IRS + 251 }).sack, [block(150, 200)], 'the part that is old')
    gives(c, 250)
    t.strictSame(c.expects({ ack: IRS + 351 }).sack, [], 'once is enough')
    t.end()
  },
)

t.test(
  'T3: D-SACK behind a hole: the second block is the one that holds it (RFC 2883 §4.2)',
  (t) => {
    const c = established(t, OPTIONS)
    gives(c, 500)
    gives(c, 200)
    gives(c, 300)
    c.ignores()
    gives(c, 200)
    t.strictSame(c.expects({ ack: IRS + 1 }).sack, [
      block(200, 300),
      block(200, 400),
      block(500, 600),
    ])
    t.end()
  },
)

t.test('T3: D-SACK is sent without text of ours, and not at all without SACK-permitted', (t) => {
  const c = established(t, OPTIONS)
  gives(c, 0)
  c.write(octets(20_000))
  c.ignores()
  gives(c, 0)
  t.strictSame(c.expects({ length: 0 }).sack, [block(0, 100)])
  const d = established(t, { mss: 1000 })
  gives(d, 0)
  d.ignores()
  gives(d, 0)
  t.strictSame(d.expects({ ack: IRS + 101 }).sack, [])
  t.end()
})

t.test(
  'T4: PRR: the rate comes down evenly, a segment for what ssthresh makes of each delivered (RFC 6937 §3)',
  (t) => {
    const c = established(t, { ...OPTIONS, congestion: 'reno' })
    c.write(octets(40_000))
    t.equal(c.ignores().length, 10)
    const sent: number[] = []
    for (let i = 2; i <= 10; i++) {
      acks(c, 0, [1000, 1000 * i])
      sent.push(c.ignores().length)
    }
    t.strictSame(sent.slice(0, 2), [1, 1], 'limited transmit')
    const total = sent.slice(2).reduce((a, b) => a + b, 0)
    t.ok(
      total >= 4 && total <= 6,
      `${total} segments for nine delivered: half, and the first at once`,
    )
    t.ok(
      sent.slice(3).every((n) => n <= 1),
      `never a burst: ${sent}`,
    )
    t.equal(c.c.sender.congestion.ssthresh, 6000, 'half of the twelve in flight')
    acks(c, 40_000)
    t.end()
  },
)

t.test(
  'T4: in recovery the tail is not sent again on suspicion; what was sent again finds its loss (RFC 8985 §3)',
  (t) => {
    const c = established(t, OPTIONS)
    c.advance(3)
    c.write(octets(10_000))
    c.ignores()
    c.advance(3)
    acks(c, 0, [1000, 7000])
    const seqs = () => c.ignores().map((s) => s.seq - ISS - 1)
    t.ok(
      seqs().every((seq) => seq < 1000),
      'there is room for more, and no reason',
    )
    c.advance(3)
    acks(c, 7000)
    c.advance(3)
    t.strictSame(seqs(), [7000, 8000, 9000])
    acks(c, 10_000)
    t.equal(c.c.tcb.flightSize, 0)
    t.end()
  },
)
