/** What a lab takes for the owner, from events that reach it in any order. */
import t from 'tap'
import { KnownOwner } from '../../../scripts/lab/known-owner.js'

const owns = (id: number, epoch: number) => ({ event: 'owner', binding: 1, id, epoch })
const stands = (owner: number, epoch: number, yielded: boolean) => ({
  event: 'standby',
  binding: 1,
  owner,
  epoch,
  yielded,
})

t.test('of two claims in one term the greater id owns, whichever is heard first', async (t) => {
  for (const ids of [
    [2, 3],
    [3, 2],
  ] as const) {
    const known = new KnownOwner(() => true)
    for (const id of ids) known.hear(id, owns(id, 5))
    t.equal(known.id, 3)
    known.hear(2, stands(3, 5, true))
    t.equal(known.id, 3, 'and it still does when the other has yielded')
  }
})

t.test('an owner that is lost, fenced or outclaimed is none', async (t) => {
  const silent = new Set<number>()
  const known = new KnownOwner((id) => !silent.has(id))
  t.equal(known.id, undefined)
  known.hear(1, owns(1, 1))
  known.hear(1, { event: 'fenced', binding: 1, epoch: 1 })
  t.equal(known.id, undefined)
  known.hear(1, owns(1, 2))
  known.hear(2, stands(1, 2, false))
  t.equal(known.id, 1)
  known.hear(2, owns(2, 1))
  t.equal(known.id, 1, 'an older term')
  known.lose(1)
  t.equal(known.id, undefined)
  silent.add(2)
  known.hear(2, owns(2, 3))
  t.equal(known.id, undefined, 'that was killed before it was heard')
})
