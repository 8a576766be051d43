/**
 * StreamBuffer against the naive model: a map from offset to octet. Offsets begin anywhere up to beyond 2^32, as streams are
 * longer than sequence space; spans make the ring grow and wrap.
 */
import t from 'tap'
import { MAX_RANGES, StreamBuffer } from '../../stack/base/stream-buffer.js'
import { Random } from './random.js'

/** The octet that the stream has at an offset. */
function octetAt(offset: number): number {
  return (Math.imul(offset % 65_521, 31) + Math.floor(offset / 65_521)) & 255
}

function textOf(from: number, to: number): Uint8Array {
  return Uint8Array.from({ length: to - from }, (_, i) => octetAt(from + i))
}

class Model {
  start: number
  readonly limit: number
  readonly present = new Set<number>()

  constructor(start: number, limit: number) {
    this.start = start
    this.limit = limit
  }

  put(from: number, to: number): boolean {
    const low = Math.max(from, this.start)
    if (low >= to) return true
    if (to - this.start > this.limit) return false
    for (let i = low; i < to; i++) this.present.add(i)
    return true
  }

  trim(offset: number): void {
    if (offset <= this.start) return
    this.start = offset
    for (const i of this.present) if (i < offset) this.present.delete(i)
  }

  get contiguousEnd(): number {
    let end = this.start
    while (this.present.has(end)) end++
    return end
  }

  ranges(): [number, number][] {
    const found: [number, number][] = []
    const edge = this.contiguousEnd
    const behind = [...this.present].filter((i) => i > edge).sort((a, b) => a - b)
    for (const i of behind) {
      const last = found.at(-1)
      if (last !== undefined && last[1] === i) last[1] = i + 1
      else found.push([i, i + 1])
    }
    return found
  }
}

function rangesOf(buffer: StreamBuffer): [number, number][] {
  return Array.from({ length: buffer.rangeCount }, (_, i) => [
    buffer.rangeLeft(i),
    buffer.rangeRight(i),
  ])
}

/** What is wrong, or an empty string. */
function difference(buffer: StreamBuffer, model: Model, random: Random): string {
  if (buffer.start !== model.start) return 'start'
  if (buffer.contiguousEnd !== model.contiguousEnd) return 'contiguousEnd'
  if (JSON.stringify(rangesOf(buffer)) !== JSON.stringify(model.ranges())) return 'ranges'
  const end = model.ranges().at(-1)?.[1] ?? model.contiguousEnd
  if (buffer.end !== end) return 'end'
  const from = Math.max(0, model.start - 20) + random.below(model.limit + 40)
  const to = from + random.below(200)
  let all = from >= model.start
  for (let i = from; i < to; i++) all &&= model.present.has(i)
  if (to > from && buffer.has(from, to) !== all) return `has(${from}, ${to})`
  // What was trimmed ends a run of what is absent.
  const edge = from < model.start ? Math.min(to, model.start) : to
  const here = from >= model.start && model.present.has(from)
  let run = from
  while (run < edge && (run >= model.start && model.present.has(run)) === here) run++
  if (buffer.presentFrom(from, to) !== (here ? run - from : from - run))
    return `presentFrom(${from}, ${to})`
  return here ? contents(buffer, from, run, random) : ''
}

function contents(buffer: StreamBuffer, from: number, to: number, random: Random): string {
  const wanted = textOf(from, to)
  const target = new Uint8Array(to - from + 10)
  buffer.copyTo(from, to - from, target, 5)
  if (!Buffer.from(target.subarray(5, 5 + to - from)).equals(wanted))
    return `copyTo(${from}, ${to})`
  if (buffer.compare(from, wanted, 0, wanted.length) !== wanted.length) return 'compare: equal'
  if (wanted.length === 0) return ''
  const spoilt = random.below(wanted.length)
  wanted[spoilt] = (wanted[spoilt] as number) ^ 1
  return buffer.compare(from, wanted, 0, wanted.length) === spoilt ? '' : 'compare: different'
}

t.test(
  'P17: a StreamBuffer holds exactly what was put and not trimmed, in any order, at any offset',
  (t) => {
    const starts = [0, 1, 2 ** 31 - 700, 2 ** 31 + 5, 2 ** 32 - 900, 2 ** 32, 2 ** 40 + 12_345]
    for (let seed = 1; seed <= 40; seed++) {
      const random = new Random(seed)
      const start = starts[seed % starts.length] as number
      const limit = [300, 2048, 5000][seed % 3] as number
      const buffer = new StreamBuffer(limit)
      const model = new Model(start, limit)
      buffer.restart(start)
      for (let step = 0; step < 60; step++) {
        const from = Math.max(0, model.start - 50) + random.below(limit + 100)
        const to = from + random.below([20, 200, 1500][random.below(3)] as number)
        if (random.chance(0.2)) {
          const offset = model.start + random.below(random.chance(0.2) ? limit : 200)
          model.trim(offset)
          buffer.trim(offset)
        } else {
          const bytes = Buffer.concat([Buffer.from('junk'), textOf(from, to)])
          const fits = model.put(from, to)
          if (buffer.put(from, bytes, 4, bytes.length) !== fits)
            throw new Error(`seed ${seed}, step ${step}: put`)
        }
        const wrong = difference(buffer, model, random)
        if (wrong !== '') throw new Error(`seed ${seed}, step ${step}: ${wrong}`)
      }
    }
    t.pass('2,400 steps')
    t.end()
  },
)

t.test(
  'D1 P24: what is kept below the start is what was there, also when a connection changes hands and back',
  (t) => {
    let kept = 0
    for (let seed = 1; seed <= 20; seed++) {
      const random = new Random(seed)
      const buffer = new StreamBuffer(6000)
      const model = new Model(0, 6000)
      for (let step = 0; step < 100; step++) {
        // A shadow keeps nothing, an owner does.
        if (random.chance(0.1)) buffer.keep = [0, 0, 500, 3000][random.below(4)] as number
        if (random.chance(0.4)) {
          const offset = Math.min(model.start + random.below(900), model.contiguousEnd)
          model.trim(offset)
          buffer.trim(offset)
        } else {
          const from = model.contiguousEnd + (random.chance(0.2) ? random.below(100) : 0)
          const to = from + random.below(1500)
          const fits = model.put(from, to)
          const text = textOf(from, to)
          if (buffer.put(from, text, 0, text.length) !== fits) throw new Error(`seed ${seed}: put`)
        }
        const wrong = difference(buffer, model, random)
        if (wrong !== '') throw new Error(`seed ${seed}, step ${step}: ${wrong}`)
        const { floor, start } = buffer
        if (start - floor > buffer.keep) throw new Error(`seed ${seed}: keeps too much`)
        const read = new Uint8Array(start - floor)
        buffer.copyTo(floor, read.length, read, 0)
        if (!Buffer.from(read).equals(textOf(floor, start))) {
          throw new Error(`seed ${seed}, step ${step}: what is kept below ${start} is spoilt`)
        }
        kept += read.length
      }
    }
    t.ok(kept > 30_000, `${kept} octets compared`)
    t.end()
  },
)

t.test('D1 P20: what is regained is what was there, whatever comes behind it', (t) => {
  let regained = 0
  for (let seed = 1; seed <= 20; seed++) {
    const random = new Random(seed)
    const buffer = new StreamBuffer(20_000)
    for (let step = 0; step < 100; step++) {
      if (random.chance(0.2)) buffer.keep = 3000
      if (random.chance(0.1)) {
        const { floor, start } = buffer
        buffer.regain()
        if (buffer.start !== floor || buffer.keep !== 0) throw new Error(`seed ${seed}: ${floor}`)
        regained += start - floor
      } else if (random.chance(0.4)) {
        buffer.trim(Math.min(buffer.start + random.below(900), buffer.contiguousEnd))
      } else {
        const from = buffer.contiguousEnd
        const text = textOf(from, from + random.below(1500))
        if (!buffer.put(from, text, 0, text.length)) buffer.trim(from)
      }
      const { start, readable } = buffer
      const read = new Uint8Array(readable)
      buffer.copyTo(start, readable, read, 0)
      if (!Buffer.from(read).equals(textOf(start, start + readable))) {
        throw new Error(`seed ${seed}, step ${step}: spoilt from ${start} on`)
      }
    }
  }
  t.ok(regained > 10_000, `${regained} octets`)
  t.end()
})

t.test('P17: a long stream through a small buffer across 2^32', (t) => {
  const buffer = new StreamBuffer(4096)
  let offset = 2 ** 32 - 50_000
  buffer.restart(offset)
  const random = new Random(7)
  let wrong = 0
  for (let i = 0; i < 200; i++) {
    const length = 1 + random.below(1400)
    buffer.put(offset, textOf(offset, offset + length), 0, length)
    const read = new Uint8Array(length)
    buffer.copyTo(offset, length, read, 0)
    if (!Buffer.from(read).equals(textOf(offset, offset + length))) wrong++
    offset += length
    buffer.trim(offset)
  }
  t.equal(wrong, 0)
  t.ok(offset > 2 ** 32)
  t.ok(buffer.size <= 4096, 'the ring does not grow')
  buffer.compact()
  t.equal(buffer.size, 0)
  t.end()
})

t.test('T6: intervals behind the first hole are bounded; memory follows the limit', (t) => {
  const buffer = new StreamBuffer(1 << 20)
  let taken = 0
  for (let i = 0; i < 500; i++) if (buffer.put(10 + 10 * i, textOf(0, 5), 0, 5)) taken++
  t.equal(taken, MAX_RANGES)
  t.equal(buffer.rangeCount, MAX_RANGES)
  t.ok(buffer.put(0, textOf(0, 400), 0, 400), 'what fills holes is always taken')
  t.notOk(buffer.put((1 << 20) - 2, textOf(0, 3), 0, 3), 'beyond the limit')
  t.notOk(buffer.put(2 ** 30, textOf(0, 3), 0, 3))
  t.ok(buffer.size <= 1 << 20)
  t.end()
})

t.test('buffers that hand on their memory keep out of one another', (t) => {
  const random = new Random(11)
  const buffers = Array.from({ length: 30 }, () => new StreamBuffer(1 << 20))
  // Each stream has octets of its own.
  const shift = (index: number) => 1_000_003 * index
  let wrong = 0
  for (let step = 0; step < 20_000; step++) {
    const index = random.below(buffers.length)
    const buffer = buffers[index] as StreamBuffer
    const { contiguousEnd } = buffer
    if (random.below(3) === 0) {
      buffer.trim(random.below(2) === 0 ? contiguousEnd : buffer.start + random.below(200))
    } else {
      const length = 1 + random.below(random.below(10) === 0 ? 5000 : 150)
      const at = contiguousEnd + (random.below(4) === 0 ? random.below(300) : 0)
      buffer.put(at, textOf(shift(index) + at, shift(index) + at + length), 0, length)
    }
    const other = random.below(buffers.length)
    const { start, readable } = buffers[other] as StreamBuffer
    const expected = textOf(shift(other) + start, shift(other) + start + readable)
    if (buffers[other]?.compare(start, expected, 0, readable) !== readable) wrong++
  }
  t.equal(wrong, 0)
  for (const buffer of buffers) {
    buffer.trim(buffer.end)
    if (buffer.size !== 0) wrong++
  }
  t.equal(wrong, 0, 'what keeps nothing has no memory')
  t.end()
})
