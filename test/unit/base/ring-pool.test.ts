import t from 'tap'
import {
  giveRing,
  NO_SLAB,
  type Slab,
  SMALLEST_RING,
  slabWith,
} from '../../../stack/base/ring-pool.js'
import { giveTable, NO_TABLE, takeTable } from '../../../stack/base/table-pool.js'

interface Ring {
  readonly slab: Slab
  readonly place: number
}

function takeRing(size: number): Ring {
  const slab = slabWith(size)
  return { slab, place: slab.take() }
}

function nameOf({ slab, place }: Ring, slabs: Map<Slab, number>): string {
  if (!slabs.has(slab)) slabs.set(slab, slabs.size)
  return `${slabs.get(slab)}:${place}`
}

function overlap(a: Ring, b: Ring): boolean {
  const { size } = a.slab
  return a.slab === b.slab && a.place < b.place + size && b.place < a.place + size
}

t.test(
  'T6: what is lent out at the same time never overlaps, and what comes back is lent again',
  async (t) => {
    const sizes = Array.from({ length: 1500 }, (_, i) => SMALLEST_RING << (i % 7))
    const first = sizes.map(takeRing)
    t.same(
      first.map(({ slab }) => slab.size),
      sizes,
    )
    t.notOk(first.some(({ slab, place }) => place + slab.size > slab.memory.length))
    const bySlab = new Map<Slab, Ring[]>()
    for (const ring of first) bySlab.set(ring.slab, [...(bySlab.get(ring.slab) ?? []), ring])
    for (const rings of bySlab.values()) {
      t.notOk(rings.some((a, i) => rings.some((b, j) => i < j && overlap(a, b))))
    }
    for (const { slab, place } of first) giveRing(slab, place)
    const again = sizes.map(takeRing)
    const slabs = new Map<Slab, number>()
    t.equal(new Set(again.map((r) => nameOf(r, slabs))).size, again.length, 'each to one only')
    const known = new Set(first.map((r) => nameOf(r, slabs)))
    t.ok(again.filter((r) => known.has(nameOf(r, slabs))).length > sizes.length / 2)
    // In another order than they came.
    for (const { slab, place } of again.reverse()) giveRing(slab, place)
    const last = sizes.map(takeRing)
    t.equal(new Set(last.map((r) => nameOf(r, slabs))).size, last.length, 'and so the next time')
    for (const { slab, place } of last) giveRing(slab, place)
  },
)

t.test('T6: of larger rings 32 MiB wait at most', async (t) => {
  const rings = Array.from({ length: 40 }, () => takeRing(1 << 20))
  for (const { slab, place } of rings) giveRing(slab, place)
  const known = new Set(rings.map(({ slab }) => slab))
  const again = Array.from({ length: 40 }, () => takeRing(1 << 20))
  const kept = again.filter(({ slab }) => known.has(slab)).length
  t.ok(kept <= 32 && kept > 20, `${kept}`)
  giveRing(NO_SLAB, 0)
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
