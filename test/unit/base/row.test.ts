import fc from 'fast-check'
import t from 'tap'
import { giveRing, slabWith } from '../../../stack/base/ring-pool.js'
import { ROW_SIZE, Row } from '../../../stack/base/row.js'

t.test('numbers come out of a row as they were put into it', async (t) => {
  const ints = fc.array(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), { maxLength: 32 })
  const doubles = fc.array(fc.double({ noNaN: true }), { maxLength: 16 })
  fc.assert(
    fc.property(ints, doubles, (ints, doubles) => {
      const slab = slabWith(ROW_SIZE)
      const place = slab.take()
      const row = new Row().begin(slab, place)
      for (const value of ints) row.putInt(value)
      for (const value of doubles) row.putDouble(value)
      const same = new Row().begin(slab, place)
      for (const value of ints) if (same.takeInt() !== value) return false
      for (const value of doubles) if (same.takeDouble() !== value) return false
      giveRing(slab, place)
      return true
    }),
  )
  t.pass('holds for all samples')
})

t.test('a row has an end', async (t) => {
  const slab = slabWith(ROW_SIZE)
  const row = new Row().begin(slab, slab.take())
  for (let i = 0; i < ROW_SIZE / 4; i++) row.putInt(i)
  t.throws(() => row.putInt(1), /room/)
})
