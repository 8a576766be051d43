/** StreamBuffer against a model that keeps a Map from offset to octet. */
import fc from 'fast-check'
import t from 'tap'
import { MAX_RANGES, StreamBuffer } from '../../../stack/base/stream-buffer.js'

/** The stream's octet at `offset`: the same whenever it is sent. */
const octet = (offset: number) => (offset * 31 + Math.floor(offset / 251)) & 0xff

function octets(offset: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => octet(offset + i))
}

/** What is present, one offset at a time. */
class Model {
  readonly present = new Set<number>()
  start: number

  constructor(start: number) {
    this.start = start
  }

  put(offset: number, length: number): void {
    for (let at = Math.max(offset, this.start); at < offset + length; at++) this.present.add(at)
  }

  trim(offset: number): void {
    this.start = Math.max(this.start, offset)
    for (const at of this.present) if (at < this.start) this.present.delete(at)
  }

  get contiguousEnd(): number {
    let end = this.start
    while (this.present.has(end)) end++
    return end
  }

  get end(): number {
    return Math.max(this.start, ...[...this.present].map((at) => at + 1))
  }

  /** As StreamBuffer.presentFrom. */
  presentFrom(offset: number, to: number): number {
    const present = this.present.has(offset)
    let at = offset
    while (at < to && this.present.has(at) === present) at++
    return present ? at - offset : offset - at
  }
}

/** True when the buffer and the model agree in every question that the buffer answers. */
function agree(buffer: StreamBuffer, model: Model, from: number, to: number): boolean {
  if (buffer.start !== model.start || buffer.contiguousEnd !== model.contiguousEnd) return false
  if (buffer.end !== model.end) return false
  for (let at = from; at < to; at += 7) {
    const length = buffer.presentFrom(at, to)
    if (length !== model.presentFrom(at, to)) return false
    if (length <= 0) continue
    if (
      !buffer.has(at, at + length) ||
      buffer.has(at, at + length + 1) !== model.present.has(at + length)
    ) {
      return false
    }
    const copy = new Uint8Array(length + 2)
    buffer.copyTo(at, length, copy, 1)
    if (copy[0] !== 0 || copy[length + 1] !== 0) return false
    if (copy.subarray(1, length + 1).some((value, i) => value !== octet(at + i))) return false
    if (buffer.compare(at, octets(at, length), 0, length) !== length) return false
  }
  return true
}

const command = fc.record({
  kind: fc.constantFrom('put', 'put', 'put', 'next', 'trim'),
  at: fc.nat(6000),
  length: fc.nat(900),
})

for (const origin of [0, 2 ** 31 - 3000, 2 ** 32 - 3000, 2 ** 40 + 17]) {
  t.test(`keeps what was put, in whatever order, from offset ${origin}`, async (t) => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 25 }), (commands) => {
        const buffer = new StreamBuffer(16_384)
        buffer.restart(origin)
        const model = new Model(origin)
        for (const { kind, at, length } of commands) {
          if (kind === 'trim') {
            buffer.trim(origin + at)
            model.trim(origin + at)
            continue
          }
          const offset = kind === 'next' ? buffer.contiguousEnd : origin + at
          if (!buffer.put(offset, octets(offset, length), 0, length)) return false
          model.put(offset, length)
        }
        return agree(buffer, model, model.start, origin + 8000)
      }),
      { numRuns: 25 },
    )
    t.pass('holds for all samples')
  })
}

t.test('refuses what lies beyond its limit, and stores nothing of it', async (t) => {
  const buffer = new StreamBuffer(100)
  t.ok(buffer.put(0, octets(0, 100), 0, 100))
  t.notOk(buffer.put(100, octets(100, 1), 0, 1))
  t.equal(buffer.end, 100)
  buffer.trim(1)
  t.ok(buffer.put(100, octets(100, 1), 0, 1))
  t.equal(buffer.contiguousEnd, 101)
})

t.test('refuses another interval when there are too many, but fills holes', async (t) => {
  const buffer = new StreamBuffer(10_000)
  for (let i = 1; i <= MAX_RANGES; i++) t.ok(buffer.put(2 * i, octets(2 * i, 1), 0, 1))
  t.equal(buffer.rangeCount, MAX_RANGES)
  t.notOk(buffer.put(9000, octets(9000, 1), 0, 1))
  t.ok(buffer.put(3, octets(3, 1), 0, 1), 'joins two')
  t.equal(buffer.rangeCount, MAX_RANGES - 1)
  t.same([buffer.rangeLeft(0), buffer.rangeRight(0)], [2, 5])
  t.ok(buffer.put(0, octets(0, 200), 0, 200), 'covers all')
  t.same([buffer.rangeCount, buffer.contiguousEnd], [0, 200])
})

t.test('finds the first octet that differs', async (t) => {
  const buffer = new StreamBuffer(100)
  buffer.put(0, octets(0, 50), 0, 50)
  const other = octets(0, 50)
  other[20] = (other[20] ?? 0) ^ 1
  t.equal(buffer.compare(0, other, 0, 50), 20)
  t.equal(buffer.compare(21, other, 21, 50), 29)
})

t.test('takes part of a larger array, and leaves out what it has passed', async (t) => {
  const buffer = new StreamBuffer(100)
  buffer.restart(10)
  const bytes = octets(0, 30)
  t.ok(buffer.put(5, bytes, 5, 20), 'the first five lie below the start')
  t.same([buffer.start, buffer.contiguousEnd], [10, 20])
  t.ok(buffer.put(0, bytes, 0, 10), 'all of it lies below')
  t.equal(buffer.contiguousEnd, 20)
  const copy = new Uint8Array(10)
  buffer.copyTo(10, 10, copy, 0)
  t.same(copy, octets(10, 10))
})

t.test('gives its memory back when nothing is kept, and works on', async (t) => {
  const buffer = new StreamBuffer(100_000)
  buffer.put(0, octets(0, 5000), 0, 5000)
  t.ok(buffer.size >= 5000)
  buffer.compact()
  t.ok(buffer.size >= 5000, 'something is kept')
  buffer.trim(5000)
  t.equal(buffer.size, 0)
  t.ok(buffer.put(5003, octets(5003, 4), 0, 4))
  t.ok(buffer.put(5000, octets(5000, 3), 0, 3))
  const copy = new Uint8Array(7)
  buffer.copyTo(5000, 7, copy, 0)
  t.same(copy, octets(5000, 7))
})

t.test('to copy what is not kept is a fault of the caller', async (t) => {
  const buffer = new StreamBuffer(100)
  buffer.put(0, octets(0, 10), 0, 10)
  const into = new Uint8Array(20)
  t.throws(() => buffer.copyTo(0, 11, into, 0), { code: 'ERR_ASSERTION_FAILURE' })
  t.throws(() => buffer.compare(0, into, 0, 11), { code: 'ERR_ASSERTION_FAILURE' })
})

t.test(
  'an emptied buffer uses the same places again, at whatever offset, also while it grows',
  async (t) => {
    const buffer = new StreamBuffer(1 << 20)
    const start = 2 ** 33 + 12_345
    buffer.restart(start)
    let offset = start
    for (let round = 0; round < 200; round++) {
      const text = Uint8Array.from(
        { length: 1 + ((round * 977) % 5000) },
        (_, i) => (round + i) & 255,
      )
      const half = text.length >> 1
      // The later half first: what lies behind a hole is no reason to begin anew.
      t.ok(buffer.put(offset + half, text, half, text.length))
      t.ok(buffer.put(offset, text, 0, half))
      const copy = new Uint8Array(text.length)
      buffer.copyTo(offset, text.length, copy, 0)
      t.ok(Buffer.from(copy).equals(text), `round ${round}`)
      offset += text.length
      buffer.trim(round % 3 === 0 ? offset - 1 : offset)
    }
    t.ok(buffer.size <= 8192, `${buffer.size} octets of memory`)
  },
)

t.test('T8: what lies in one piece can be read where it is', async (t) => {
  const buffer = new StreamBuffer(4096)
  const octets = Uint8Array.from({ length: 4096 }, (_, i) => i)
  buffer.restart(1000)
  buffer.put(1000, octets, 0, 2000)
  const place = buffer.placeOf(1100, 500)
  const same = (from: number, to: number, expected: Uint8Array) =>
    Buffer.compare(buffer.memory.subarray(from, to), expected) === 0
  t.ok(same(place, place + 500, octets.subarray(100, 600)))
  buffer.trim(2500)
  buffer.put(3000, octets, 2000, 3500)
  let pieces = 0
  for (let at = 2500; at < 4500; at += 100) {
    const where = buffer.placeOf(at, 100)
    if (where < 0) continue
    pieces++
    const expected = octets.subarray(at - 1000, at - 900)
    t.ok(same(where, where + 100, expected), `${at}`)
  }
  t.equal(pieces, 19, 'all but the piece across the end of the ring')
})
