/** Mirror: what is written of many shadows at once, and what is not. */
import t from 'tap'
import { MemoryCheckpointStore, MemoryMirrorStore } from '../../../cluster/memory-store.js'
import { MAX_WRITTEN, MIRROR_INTERVAL_MS, Mirror } from '../../../cluster/mirror.js'
import { overhearing } from './overhearing.js'

function watching() {
  const store = new MemoryMirrorStore()
  const mirror = new Mirror(store, new MemoryCheckpointStore(), 1)
  const { snooper, open } = overhearing()
  return { store, mirror, snooper, open: (port: number) => open(0, port) }
}

t.test(
  'P27: of very many shadows that changed at once some are written at a time, and all in the end',
  async (t) => {
    const { store, mirror, snooper, open } = watching()
    const count = 2 * MAX_WRITTEN + 10
    for (let port = 1; port <= count; port++) open(port)
    const written: number[] = []
    for (let now = MIRROR_INTERVAL_MS; mirror.nextDeadline(snooper) <= now; ) {
      mirror.write(snooper, now)
      written.push([...store.flows(1)].length)
      now += MIRROR_INTERVAL_MS
    }
    t.same(written, [MAX_WRITTEN, 2 * MAX_WRITTEN, count])
    for (const shadow of [...snooper.table.shadows()]) snooper.remove(shadow)
    open(1)
    for (let now = 1000; mirror.nextDeadline(snooper) <= now; now += MIRROR_INTERVAL_MS) {
      mirror.write(snooper, now)
    }
    t.equal([...store.flows(1)].length, 1, 'the one that came in the place of another is there')
  },
)

t.test('P27: a shadow that changed and was promoted right behind leaves no record', async (t) => {
  const { store, mirror, snooper, open } = watching()
  open(1)
  for (const shadow of [...snooper.table.shadows()]) snooper.remove(shadow)
  mirror.write(snooper, 1000)
  t.equal([...store.flows(1)].length, 0)
  t.equal(snooper.dirty.length, 0)
})
