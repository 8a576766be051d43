import fc from 'fast-check'
import t from 'tap'
import { DeadlineHeap, type DeadlineItem } from '../../../stack/base/deadline-heap.js'
import { NEVER } from '../../../stack/base/time.js'

const item = (): DeadlineItem => ({ heapIndex: -1 })

t.test('without deadlines it is empty', async (t) => {
  const heap = new DeadlineHeap()
  t.same([heap.size, heap.peek(), heap.nextDeadline()], [0, undefined, NEVER])
  heap.set(item(), NEVER)
  t.equal(heap.size, 0)
})

t.test('whatever deadlines are set, moved and taken away, the earliest is known', async (t) => {
  const change = fc.tuple(fc.nat(19), fc.oneof(fc.nat(50), fc.constant(NEVER)))
  fc.assert(
    fc.property(fc.array(change, { maxLength: 200 }), (changes) => {
      const heap = new DeadlineHeap<DeadlineItem>()
      const items = Array.from({ length: 20 }, item)
      const known = items.map(() => NEVER)
      for (const [index, deadline] of changes) {
        heap.set(items[index] as DeadlineItem, deadline)
        known[index] = deadline
        const earliest = Math.min(NEVER, ...known)
        if (heap.size !== known.filter((at) => at !== NEVER).length) return false
        if (heap.nextDeadline() !== earliest) return false
        const first = heap.peek()
        if ((first === undefined ? NEVER : known[items.indexOf(first)]) !== earliest) return false
        if (items.some((i, at) => i.heapIndex >= 0 !== (known[at] !== NEVER))) return false
      }
      return true
    }),
  )
  t.pass('holds for all samples')
})

t.test('items come out in the order of their deadlines', async (t) => {
  fc.assert(
    fc.property(fc.array(fc.nat(1000), { maxLength: 100 }), (deadlines) => {
      const heap = new DeadlineHeap<DeadlineItem>()
      for (const deadline of deadlines) heap.set(item(), deadline)
      const out: number[] = []
      for (let next = heap.peek(); next !== undefined; next = heap.peek()) {
        out.push(heap.nextDeadline())
        heap.set(next, NEVER)
      }
      return JSON.stringify(out) === JSON.stringify(deadlines.toSorted((a, b) => a - b))
    }),
  )
  t.pass('holds for all samples')
})
