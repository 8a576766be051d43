/**
 * The small structures of the core against naive models: sequence numbers, the scoreboard, the deadline heap, SipHash.
 */
import fc from 'fast-check'
import t from 'tap'
import { DeadlineHeap, type DeadlineItem } from '../../stack/base/deadline-heap.js'
import {
  add,
  diff,
  ge,
  gt,
  inWindow,
  le,
  lt,
  max,
  min,
  type Seq,
  seq,
} from '../../stack/base/seq.js'
import { sipHash } from '../../stack/base/siphash.js'
import { NEVER } from '../../stack/base/time.js'
import { Scoreboard } from '../../stack/tcp/recovery/scoreboard.js'
import { Random } from './random.js'

const RUNS = { numRuns: 2000 }

t.test('T2: sequence numbers are integers modulo 2^32 (RFC 9293 §3.4)', (t) => {
  const anySeq = fc.integer({ min: 0, max: 0xffff_ffff })
  const near = fc.integer({ min: -0x7fff_ffff, max: 0x7fff_ffff })
  fc.assert(
    fc.property(anySeq, near, near, (base, i, j) => {
      fc.pre(Math.abs(i - j) < 2 ** 31)
      const a = seq(base + i)
      const b = seq(base + j)
      const model = [i < j, i <= j, i > j, i >= j, i - j]
      const found = [lt(a, b), le(a, b), gt(a, b), ge(a, b), diff(a, b)]
      if (String(model) !== String(found)) return false
      return max(a, b) === (i >= j ? a : b) && min(a, b) === (i <= j ? a : b) && add(a, j - i) === b
    }),
    RUNS,
  )
  fc.assert(
    fc.property(
      anySeq,
      fc.integer({ min: -70_000, max: 70_000 }),
      fc.integer({ min: 0, max: 60_000 }),
      (left, at, size) => {
        return inWindow(seq(left + at), seq(left), size) === (at >= 0 && at < size)
      },
    ),
    RUNS,
  )
  t.pass('4000 random cases')
  t.end()
})

t.test('T3: the scoreboard is a set of octets', (t) => {
  const op = fc.tuple(
    fc.integer({ min: 0, max: 60 }),
    fc.integer({ min: 1, max: 12 }),
    fc.boolean(),
  )
  fc.assert(
    fc.property(fc.array(op, { maxLength: 40 }), (ops) => {
      const board = new Scoreboard()
      let model = new Set<number>()
      let una = 0
      for (const [left, length, trims] of ops) {
        if (trims) {
          una = Math.max(una, left)
          board.trim(una)
          model = new Set([...model].filter((octet) => octet >= una))
        } else if (left >= una) {
          const before = model.size
          for (let i = left; i < left + length; i++) model.add(i)
          if (board.add(left, left + length) !== model.size > before) return false
        }
        if (!agrees(board, model, una)) return false
      }
      return true
    }),
    RUNS,
  )
  t.pass('2000 random histories')
  t.end()
})

function agrees(board: Scoreboard, model: Set<number>, una: number): boolean {
  if (board.sackedLength !== model.size) return false
  if (board.highest !== (model.size === 0 ? -1 : Math.max(...model) + 1)) return false
  for (let at = una; at < 80; at++) {
    let skipped = at
    while (model.has(skipped)) skipped++
    if (board.skip(at) !== skipped) return false
    if (!model.has(at)) {
      let end = at
      while (end < 80 && !model.has(end)) end++
      if (board.holeEnd(at, 80) !== end) return false
    }
    let unsacked = 0
    for (let i = at; i < 70; i++) if (!model.has(i)) unsacked++
    if (board.unsacked(at, 70) !== unsacked) return false
  }
  return board.lostEdge(4) === naiveLostEdge(model, 4)
}

// RFC 6675 §4 IsLost() literally: the highest run above which, itself counted, three runs or more than two segments lie.
function naiveLostEdge(model: Set<number>, mss: number): number {
  const starts = [...model].filter((octet) => !model.has(octet - 1)).sort((a, b) => b - a)
  for (const start of starts) {
    const runs = starts.filter((s) => s >= start).length
    const octets = [...model].filter((octet) => octet >= start).length
    if (runs >= 3 || octets > 2 * mss) return start
  }
  return -1
}

t.test('T6: the scoreboard is bounded, and goes on when it is full', (t) => {
  const board = new Scoreboard()
  for (let i = 0; i < 1000; i++) board.add(10 * i, 10 * i + 5)
  t.equal(board.count, 64)
  t.notOk(board.add(5000, 5005), 'a further interval is no news')
  t.ok(board.add(5, 10), 'one that joins two is')
  t.equal(board.count, 63)
  t.end()
})

t.test('T2: the deadline heap gives the earliest, whatever was set and taken back', (t) => {
  for (let seed = 1; seed <= 50; seed++) {
    const random = new Random(seed)
    const heap = new DeadlineHeap<DeadlineItem>()
    const items = Array.from({ length: 40 }, () => ({ heapIndex: -1 }))
    const known = items.map(() => NEVER)
    for (let step = 0; step < 400; step++) {
      const index = random.below(items.length)
      const deadline = random.chance(0.3) ? NEVER : random.below(100)
      heap.set(items[index] as DeadlineItem, deadline)
      known[index] = deadline
      const earliest = Math.min(NEVER, ...known)
      const first = heap.peek()
      const fine =
        heap.nextDeadline() === earliest &&
        heap.size === known.filter((at) => at !== NEVER).length &&
        (first === undefined ? NEVER : known[items.indexOf(first as never)]) === earliest
      if (!fine) throw new Error(`seed ${seed}, step ${step}`)
    }
  }
  t.pass('20,000 steps')
  t.end()
})

// SipHash-2-4 as its authors define it, over 64-bit integers.
function slowSipHash(key: readonly number[], message: readonly number[]): bigint {
  const M = (1n << 64n) - 1n
  const le64 = (bytes: readonly number[]): bigint =>
    bytes.reduceRight((n, b) => (n << 8n) | BigInt(b), 0n)
  const rotl = (x: bigint, n: bigint): bigint => ((x << n) | (x >> (64n - n))) & M
  const k0 = le64(key.slice(0, 8))
  const k1 = le64(key.slice(8))
  let [v0, v1, v2, v3] = [
    k0 ^ 0x736f6d6570736575n,
    k1 ^ 0x646f72616e646f6dn,
    k0 ^ 0x6c7967656e657261n,
    k1 ^ 0x7465646279746573n,
  ]
  const round = (): void => {
    v0 = (v0 + v1) & M
    v1 = rotl(v1, 13n) ^ v0
    v0 = rotl(v0, 32n)
    v2 = (v2 + v3) & M
    v3 = rotl(v3, 16n) ^ v2
    v0 = (v0 + v3) & M
    v3 = rotl(v3, 21n) ^ v0
    v2 = (v2 + v1) & M
    v1 = rotl(v1, 17n) ^ v2
    v2 = rotl(v2, 32n)
  }
  const blocks: bigint[] = []
  const whole = message.length - (message.length % 8)
  for (let i = 0; i < whole; i += 8) blocks.push(le64(message.slice(i, i + 8)))
  blocks.push((BigInt(message.length & 255) << 56n) | le64(message.slice(whole)))
  for (const block of blocks) {
    v3 ^= block
    round()
    round()
    v0 ^= block
  }
  v2 ^= 0xffn
  for (let i = 0; i < 4; i++) round()
  return v0 ^ v1 ^ v2 ^ v3
}

const KEY = Array.from({ length: 16 }, (_, i) => i)

function words(bytes: readonly number[]): Int32Array {
  return new Int32Array(Uint8Array.from(bytes).buffer)
}

t.test('T6: SipHash-2-4 agrees with its definition, and that with the published vectors', (t) => {
  t.equal(slowSipHash(KEY, []).toString(16), '726fdb47dd0e0e31')
  t.equal(
    slowSipHash(KEY, KEY.slice(0, 15)).toString(16),
    'a129ca6149be45e5',
    'the example of the paper, appendix A',
  )
  const check = (key: number[], message: number[]): boolean => {
    const [a, b, c, d, e, f] = words(message) as unknown as [
      number,
      number,
      number,
      number,
      number,
      number,
    ]
    return (
      sipHash(words(key), a, b, c, d, e, f) >>> 0 ===
      Number(slowSipHash(key, message) & 0xffff_ffffn)
    )
  }
  t.ok(
    check(
      KEY,
      Array.from({ length: 24 }, (_, i) => i),
    ),
  )
  const octet = fc.integer({ min: 0, max: 255 })
  const bytes = (n: number): fc.Arbitrary<number[]> =>
    fc.array(octet, { minLength: n, maxLength: n })
  fc.assert(fc.property(bytes(16), bytes(24), check), { numRuns: 500 })
  t.end()
})

t.test('T2: the earlier of two is never later: a total order within half of the space', (t) => {
  const a = seq(0x7fff_ffff) as Seq
  t.ok(lt(a, add(a, 1)))
  t.ok(lt(a, add(a, 0x7fff_ffff)))
  t.notOk(lt(a, add(a, 0x8000_0001)))
  t.end()
})
