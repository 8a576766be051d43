/**
 * Reassembly against a naive model, with fragments in any order, twice, overlapping and wrong; the limits; the attacks.
 */
import t from 'tap'
import { DropCounters, DropReason } from '../../../stack/base/counters.js'
import { NEVER } from '../../../stack/base/time.js'
import {
  MAX_DATAGRAMS,
  MAX_DATAGRAMS_PER_SOURCE,
  MAX_OCTETS,
  MAX_OCTETS_PER_SOURCE,
  REASSEMBLY_TIMEOUT_MS,
  Reassembler,
} from '../../../stack/net/fragments.js'
import { Frame } from '../../../stack/wire/frame.js'
import {
  emitIpv4,
  IpProtocol,
  type Ipv4Address,
  Ipv4Header,
  MORE_FRAGMENTS,
  parseIpv4,
  parseIpv4Address,
} from '../../../stack/wire/ipv4.js'

const SRC = parseIpv4Address('10.77.0.9')
const DST = parseIpv4Address('10.77.0.100')

interface Piece {
  readonly offset: number
  readonly text: Uint8Array
  readonly more: boolean
}

interface Origin {
  readonly src?: Ipv4Address
  readonly ident?: number
  readonly protocol?: number
  readonly ecn?: number
}

class Bench {
  readonly drops = new DropCounters()
  readonly reassembler = new Reassembler(this.drops)
  readonly #frame = new Frame()
  readonly #ip = new Ipv4Header()

  /** Gives a fragment; the text of the datagram that it completes, or null. */
  add(piece: Piece, now = 0, from: Origin = {}): Buffer | null {
    const { src = SRC, ident = 7, protocol = IpProtocol.UDP, ecn = 0 } = from
    const frame = this.#frame
    frame.reset()
    frame.bytes.set(piece.text, frame.start)
    frame.end = frame.start + piece.text.length
    const flags = piece.more ? MORE_FRAGMENTS : 0
    emitIpv4(frame, src, DST, protocol, ident, 64, flags, ecn, piece.offset)
    const ip = this.#ip
    if (parseIpv4(ip, frame.view, frame.start, frame.end) !== DropReason.NONE)
      throw new Error('bad')
    const whole = this.reassembler.add(ip, frame, now)
    if (whole === null) return null
    const reason = parseIpv4(ip, whole.view, whole.start, whole.end)
    if (reason !== DropReason.NONE || ip.isFragment || ip.ident !== ident || ip.src !== src) {
      throw new Error(`the whole is no datagram: ${reason}`)
    }
    if (ip.payloadEnd !== whole.end) throw new Error('the frame ends elsewhere')
    this.lastEcn = ip.ecn
    return Buffer.from(whole.bytes.slice(ip.payloadStart, ip.payloadEnd))
  }

  lastEcn = 0
}

function mulberry(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let x = Math.imul(state ^ (state >>> 15), 1 | state)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return (x ^ (x >>> 14)) >>> 0
  }
}

function textOf(length: number, seed = 1): Buffer {
  const random = mulberry(seed)
  return Buffer.from(Uint8Array.from({ length }, () => random() & 255))
}

function cut(text: Uint8Array, ...at: readonly number[]): Piece[] {
  const marks = [0, ...at, text.length]
  return marks.slice(1).map((end, i) => {
    const offset = marks[i] as number
    return { offset, text: text.slice(offset, end), more: end < text.length }
  })
}

t.test('T1 F1: two pieces in either order, and a thousand', async (t) => {
  const text = textOf(3001)
  const [first, last] = cut(text, 1480) as [Piece, Piece]
  for (const order of [
    [first, last],
    [last, first],
  ] as const) {
    const b = new Bench()
    t.equal(b.add(order[0]), null)
    t.same([b.reassembler.size, b.reassembler.octets], [1, order[0].text.length])
    t.ok(b.add(order[1])?.equals(text))
    t.same([b.reassembler.size, b.reassembler.octets], [0, 0])
    t.equal(b.reassembler.nextDeadline(), NEVER)
  }
  const long = textOf(8000)
  const b = new Bench()
  const pieces = cut(long, ...Array.from({ length: 999 }, (_, i) => 8 * (i + 1)))
  const wholes = pieces.reverse().map((piece) => b.add(piece))
  t.ok(wholes.at(-1)?.equals(long))
  t.ok(wholes.slice(0, -1).every((whole) => whole === null))
})

t.test(
  'T1 F1: a duplicate is ignored, any overlap makes the datagram void (RFC 5722)',
  async (t) => {
    const text = textOf(64)
    const [a, b, c] = cut(text, 16, 40) as [Piece, Piece, Piece]
    const good = new Bench()
    for (const piece of [a, a, c, c, a]) t.equal(good.add(piece), null)
    t.ok(good.add(b)?.equals(text))
    t.same(good.drops.toJSON(), {})
    const other = Uint8Array.from(b.text, (x) => x ^ 1)
    const overlapping: Record<string, Piece> = {
      'other text at the same place': { ...b, text: other },
      'a part of one': { offset: 16, text: text.slice(16, 24), more: true },
      'the end of one': { offset: 32, text: text.slice(32, 40), more: true },
      'more than one': { offset: 8, text: text.slice(8, 48), more: true },
      'two in one': { offset: 0, text: text.slice(0, 40), more: true },
      'another end': { offset: 40, text: text.slice(40, 56), more: false },
      'an end before what has arrived': { offset: 24, text: text.slice(24, 32), more: false },
      'behind the end': { offset: 64, text: text.slice(0, 8), more: true },
      'the last one as if there were more': { ...c, more: true },
    }
    for (const [name, piece] of Object.entries(overlapping)) {
      const bad = new Bench()
      const missing = name === 'two in one' || name === 'more than one' ? c : a
      for (const p of [a, b, c]) if (p !== missing) bad.add(p)
      if (missing === a && piece.offset < 16) throw new Error(name)
      t.equal(bad.add(piece), null, name)
      t.equal(bad.add(missing), null, `${name}: and what comes later`)
      t.equal(bad.drops.get(DropReason.IP_FRAGMENT_OVERLAP), 2, name)
      t.equal(bad.reassembler.octets, 0)
      t.equal(bad.reassembler.expire(REASSEMBLY_TIMEOUT_MS), null, 'in silence')
      for (const p of [c, a]) t.equal(bad.add(p, REASSEMBLY_TIMEOUT_MS), null)
      t.ok(bad.add(b, REASSEMBLY_TIMEOUT_MS)?.equals(text), 'the next one of that name is good')
    }
  },
)

t.test('T1 F1: random fragments agree with a naive model', async (t) => {
  let wholes = 0
  let voids = 0
  for (let seed = 1; seed <= 3000; seed++) {
    const random = mulberry(seed)
    const text = textOf(1 + (random() % 400), seed)
    const pieces = randomPieces(text, random)
    const bench = new Bench()
    const model = new Model()
    for (const [i, piece] of pieces.entries()) {
      const got = bench.add(piece)
      const wanted = model.add(piece)
      const same = got === null ? wanted === null : wanted !== null && got.equals(wanted)
      if (!same) t.fail(`seed ${seed}, piece ${i} at ${piece.offset}: differs from the model`)
      if (got !== null) wholes++
    }
    if (model.void) voids++
    const kept = bench.reassembler.octets
    if (kept !== model.octets) t.fail(`seed ${seed}: ${kept} octets kept, not ${model.octets}`)
  }
  t.ok(wholes > 500, `${wholes} whole datagrams`)
  t.ok(voids > 500, `${voids} void ones`)
})

// Pieces that make up `text`, some of them twice, at times one that does not fit, in any order.
function randomPieces(text: Buffer, random: () => number): Piece[] {
  const marks: number[] = []
  for (let at = 8; at < text.length; at += 8) if (random() % 3 === 0) marks.push(at)
  const pieces = cut(text, ...marks)
  const once = pieces.length
  for (let i = 0; i < once; i++) if (random() % 4 === 0) pieces.push(pieces[i] as Piece)
  if (random() % 2 === 0) {
    const offset = 8 * (random() % (4 + (text.length >> 3)))
    const length = 1 + (random() % 40)
    const more = random() % 2 === 0
    const end = offset + (more ? (length + 7) & ~7 : length)
    pieces.push({ offset, text: Buffer.concat([text, textOf(200)]).subarray(offset, end), more })
  }
  for (let i = pieces.length - 1; i > 0; i--) {
    const j = random() % (i + 1)
    const swapped = pieces[i] as Piece
    pieces[i] = pieces[j] as Piece
    pieces[j] = swapped
  }
  return pieces
}

/** A list of what has arrived, gone through from end to end each time. */
class Model {
  #arrived: Piece[] = []
  void = false

  get octets(): number {
    return this.void ? 0 : this.#arrived.reduce((sum, p) => sum + p.text.length, 0)
  }

  add(piece: Piece): Buffer | null {
    if (piece.text.length === 0 || (piece.more && piece.text.length % 8 !== 0)) return null
    if (this.void) return null
    if (this.#arrived.some((p) => isSame(p, piece))) return null
    if (this.#arrived.some((p) => clashes(p, piece) || clashes(piece, p))) {
      this.void = true
      return null
    }
    this.#arrived.push(piece)
    const sorted = [...this.#arrived].sort((a, b) => a.offset - b.offset)
    let end = 0
    for (const p of sorted) {
      if (p.offset !== end) return null
      end += p.text.length
    }
    if (sorted.at(-1)?.more !== false) return null
    this.#arrived = []
    return Buffer.concat(sorted.map((p) => p.text))
  }
}

function isSame(a: Piece, b: Piece): boolean {
  return a.offset === b.offset && a.more === b.more && Buffer.from(a.text).equals(b.text)
}

function clashes(a: Piece, b: Piece): boolean {
  const aEnd = a.offset + a.text.length
  const bEnd = b.offset + b.text.length
  if (!a.more && bEnd > aEnd) return true
  return a.offset < bEnd && b.offset < aEnd
}

t.test('T6 F2: lengths that cannot be, and the bound of 64 KiB', async (t) => {
  const b = new Bench()
  t.equal(b.add({ offset: 0, text: textOf(15), more: true }), null)
  t.equal(b.add({ offset: 8, text: textOf(0), more: false }), null)
  t.equal(b.drops.get(DropReason.IP_FRAGMENT_BAD_LENGTH), 2)
  t.equal(b.add({ offset: 65_528, text: textOf(8), more: false }), null, 'the ping of death')
  t.equal(b.add({ offset: 65_504, text: textOf(12), more: false }), null)
  t.equal(b.drops.get(DropReason.IP_FRAGMENT_TOO_LONG), 2)
  t.equal(b.reassembler.size, 0, 'nothing is kept of them')
  const longest = textOf(65_515)
  const [first, last] = cut(longest, 32_768) as [Piece, Piece]
  b.add(last)
  t.ok(b.add(first)?.equals(longest))
})

t.test(
  'T6: the header of TCP is in the first fragment as a whole (RFC 1858, RFC 3128)',
  async (t) => {
    const b = new Bench()
    const tcp = textOf(64)
    tcp[12] = 0x80
    const from: Origin = { protocol: IpProtocol.TCP }
    for (const [offset, end] of [
      [0, 8],
      [0, 16],
      [0, 24],
      [8, 64],
      [16, 64],
    ] as const) {
      t.equal(b.add({ offset, text: tcp.slice(offset, end), more: end < 64 }, 0, from), null)
    }
    t.equal(b.drops.get(DropReason.IP_FRAGMENT_TINY), 5)
    t.equal(b.reassembler.size, 0)
    const [first, last] = cut(tcp, 32) as [Piece, Piece]
    b.add(last, 0, from)
    t.ok(b.add(first, 0, from)?.equals(tcp))
  },
)

t.test(
  'T1 F2: after 30 s it is given up, and its first fragment is there to be reported',
  async (t) => {
    const b = new Bench()
    const [first, last] = cut(textOf(100), 48) as [Piece, Piece]
    b.add(first, 1000, { ident: 1 })
    b.add(last, 2000, { ident: 2 })
    b.add(last, 3000, { ident: 3 })
    b.add(first, 3000, { ident: 4 })
    t.equal(b.reassembler.nextDeadline(), 31_000)
    t.equal(b.reassembler.expire(30_999), null)
    const report = b.reassembler.expire(31_000)
    const ip = new Ipv4Header()
    if (report === null) throw new Error('nothing to report')
    t.equal(parseIpv4(ip, report.view, report.start, report.end), DropReason.NONE)
    t.match(ip, { ident: 1, flags: MORE_FRAGMENTS, fragmentOffset: 0, src: SRC })
    t.equal(ip.payloadEnd - ip.payloadStart, 48)
    t.equal(b.reassembler.expire(32_000), null, 'without its first fragment: in silence')
    t.ok(b.reassembler.expire(40_000), 'the next that has one')
    t.equal(b.reassembler.expire(40_000), null)
    t.same(b.drops.toJSON(), { 'ip-fragment-timeout': 4 })
    t.same([b.reassembler.size, b.reassembler.octets], [0, 0])
  },
)

t.test('P11: whether the timer has fired makes no difference to the next fragment', async (t) => {
  const [first, last] = cut(textOf(100), 48) as [Piece, Piece]
  const late = new Bench()
  late.add(first, 0)
  t.equal(late.add(last, REASSEMBLY_TIMEOUT_MS), null, 'the first one is too old')
  t.ok(late.add(first, REASSEMBLY_TIMEOUT_MS + 1))
  const early = new Bench()
  early.add(first, 0)
  t.ok(early.add(last, REASSEMBLY_TIMEOUT_MS - 1))
})

t.test('T6 F2: memory is bounded, in all and for each source; the oldest makes way', async (t) => {
  const host = (n: number): Ipv4Address => (0x0a4d0000 + n) as Ipv4Address
  const b = new Bench()
  const piece: Piece = { offset: 0, text: textOf(8), more: true }
  for (let n = 0; n < 10_000; n++) b.add(piece, 0, { ident: n })
  t.equal(b.reassembler.size, MAX_DATAGRAMS_PER_SOURCE)
  for (let n = 0; n < 10_000; n++) b.add(piece, 0, { src: host(n) })
  t.equal(b.reassembler.size, MAX_DATAGRAMS)
  t.ok(b.drops.get(DropReason.IP_FRAGMENT_LIMIT) > 19_000)
  const rest: Piece = { offset: 8, text: textOf(8), more: false }
  t.equal(b.add(rest, 0, { src: host(1) }), null, 'an old one made way')
  t.ok(b.add(rest, 0, { src: host(9999) }), 'the youngest is there')

  const large = new Bench()
  const big: Piece = { offset: 8, text: textOf(60_000), more: true }
  for (let n = 0; n < 100; n++) {
    large.add(big, 0, { ident: n })
    if (large.reassembler.octets > MAX_OCTETS_PER_SOURCE) t.fail('more than a source may have')
  }
  for (let n = 0; n < 100; n++) {
    large.add(big, 0, { src: host(n) })
    if (large.reassembler.octets > MAX_OCTETS) t.fail('more than all may have')
  }
  t.ok(large.reassembler.octets > MAX_OCTETS - 60_000)
})

t.test('datagrams are told apart by source, protocol and identification', async (t) => {
  const b = new Bench()
  const text = textOf(64)
  const [first, last] = cut(text, 32) as [Piece, Piece]
  b.add(first)
  t.equal(b.add(last, 0, { ident: 8 }), null)
  t.equal(b.add(last, 0, { protocol: 1 }), null)
  t.equal(b.add(last, 0, { src: parseIpv4Address('10.77.0.10') }), null)
  t.ok(b.add(last)?.equals(text))
})

t.test('RFC 3168 §5.3: congestion that one fragment met is not forgotten', async (t) => {
  const [first, last] = cut(textOf(64), 32) as [Piece, Piece]
  const b = new Bench()
  b.add(first, 0, { ecn: 2 })
  t.ok(b.add(last, 0, { ecn: 3 }))
  t.equal(b.lastEcn, 3)
  b.add(first, 0, { ecn: 0 })
  t.equal(b.add(last, 0, { ecn: 3 }), null)
  t.equal(b.drops.get(DropReason.IP_FRAGMENT_MIXED_ECN), 1)
})
