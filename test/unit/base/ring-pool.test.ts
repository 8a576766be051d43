import t from 'tap'
import {
  giveRing,
  NO_RING,
  type Ring,
  SMALLEST_RING,
  takeRing,
} from '../../../stack/base/ring-pool.js'
import { giveTable, NO_TABLE, takeTable } from '../../../stack/base/table-pool.js'

function overlap(a: Ring, b: Ring): boolean {
  return a.memory === b.memory && a.start < b.start + b.size && b.start < a.start + a.size
}

t.test(
  'T6: what is lent out at the same time never overlaps, and what comes back is lent again',
  async (t) => {
    const sizes = Array.from({ length: 1500 }, (_, i) => SMALLEST_RING << (i % 7))
    const first = sizes.map(takeRing)
    t.same(
      first.map(({ size }) => size),
      sizes,
    )
    t.notOk(first.some((ring) => ring.start + ring.size > ring.memory.length))
    const byMemory = new Map<Buffer, Ring[]>()
    for (const ring of first)
      byMemory.set(ring.memory, [...(byMemory.get(ring.memory) ?? []), ring])
    for (const rings of byMemory.values()) {
      t.notOk(rings.some((a, i) => rings.some((b, j) => i < j && overlap(a, b))))
    }
    for (const ring of first) giveRing(ring)
    const again = sizes.map(takeRing)
    t.equal(new Set(again).size, again.length, 'each to one only')
    const known = new Set(first)
    t.ok(again.filter((ring) => known.has(ring)).length > sizes.length / 2)
    for (const ring of again) giveRing(ring)
  },
)

t.test('T6: of larger rings 32 MiB wait at most', async (t) => {
  const rings = Array.from({ length: 40 }, () => takeRing(1 << 20))
  for (const ring of rings) giveRing(ring)
  const known = new Set(rings)
  const again = Array.from({ length: 40 }, () => takeRing(1 << 20))
  const kept = again.filter((ring) => known.has(ring)).length
  t.ok(kept <= 32 && kept > 20, `${kept}`)
  giveRing(NO_RING)
})

t.test('T6: tables are lent to one at a time', async (t) => {
  const [a, b] = [takeTable(64), takeTable(64)]
  t.not(a, b)
  giveTable(a)
  t.equal(takeTable(64), a)
  t.equal(takeTable(128).length, 128)
  giveTable(NO_TABLE)
  t.equal(takeTable(1).length, 1)
})
