/** The laws of sequence number arithmetic (RFC 9293 §3.4), on random triples. */
import fc from 'fast-check'
import t from 'tap'
import * as Seq from '../../../stack/base/seq.js'

const anySeq = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }).map(Seq.seq)
/** Distances at which "before" and "behind" are defined. */
const near = fc.integer({ min: 0, max: 2 ** 31 - 1 })

t.test('seq takes any integer modulo 2^32', async (t) => {
  t.equal(Seq.seq(0xffffffff), -1)
  t.equal(Seq.seq(2 ** 32 + 5), 5)
  t.equal(Seq.seq(-1), -1)
})

t.test('add and diff undo each other', async (t) => {
  fc.assert(
    fc.property(anySeq, near, (a, n) => Seq.diff(Seq.add(a, n), a) === n),
    { numRuns: 1000 },
  )
  fc.assert(
    fc.property(anySeq, anySeq, (a, b) => Seq.add(b, Seq.diff(a, b)) === a),
    { numRuns: 1000 },
  )
  t.pass('holds for all samples')
})

t.test('add is associative and stays a signed 32-bit integer', async (t) => {
  fc.assert(
    fc.property(anySeq, near, near, (a, m, n) => {
      const once = Seq.add(Seq.add(a, m), n)
      return once === Seq.add(a, m + n) && once === (once | 0)
    }),
    { numRuns: 1000 },
  )
  t.pass('holds for all samples')
})

t.test('the comparisons agree with the distance, wherever the numbers lie', async (t) => {
  fc.assert(
    fc.property(anySeq, near, (a, n) => {
      const b = Seq.add(a, n)
      return (
        Seq.le(a, b) &&
        Seq.ge(b, a) &&
        Seq.lt(a, b) === n > 0 &&
        Seq.gt(b, a) === n > 0 &&
        !Seq.lt(b, a) &&
        Seq.max(a, b) === b &&
        Seq.min(a, b) === a
      )
    }),
    { numRuns: 1000 },
  )
  t.pass('holds for all samples')
})

t.test('comparison is transitive within half the space', async (t) => {
  const quarter = fc.integer({ min: 1, max: 2 ** 30 - 1 })
  fc.assert(
    fc.property(anySeq, quarter, quarter, (a, m, n) => {
      const b = Seq.add(a, m)
      const c = Seq.add(b, n)
      return Seq.lt(a, b) && Seq.lt(b, c) && Seq.lt(a, c) && !Seq.lt(c, a)
    }),
    { numRuns: 1000 },
  )
  t.pass('holds for all samples')
})

t.test('the comparisons hold across the wrap', async (t) => {
  const last = Seq.seq(0xffffffff)
  t.ok(Seq.lt(last, Seq.ZERO))
  t.ok(Seq.lt(Seq.seq(0x7fffffff), Seq.seq(0x80000000)))
  t.equal(Seq.diff(Seq.seq(5), Seq.seq(0xfffffffb)), 10)
})

t.test('inWindow is membership of [left, left + size)', async (t) => {
  fc.assert(
    fc.property(anySeq, near, near, (left, size, n) => {
      return Seq.inWindow(Seq.add(left, n), left, size) === n < size
    }),
    { numRuns: 1000 },
  )
  t.notOk(Seq.inWindow(Seq.ZERO, Seq.ZERO, 0), 'an empty window holds nothing')
  t.notOk(Seq.inWindow(Seq.seq(-1), Seq.ZERO, 100), 'what lies before is not in it')
})
