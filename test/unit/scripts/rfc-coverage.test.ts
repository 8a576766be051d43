import t from 'tap'
import { behaviourRows, requirementRows } from '../../../scripts/rfc-coverage.js'

t.test('T2: every MUST of RFC 9293 is shown by a test, or waived with a reason', (t) => {
  const rows = requirementRows()
  t.equal(rows.filter(({ id }) => id.startsWith('MUST')).length, 69)
  for (const { id, tests, waived } of rows) {
    if (!id.startsWith('MUST')) continue
    t.ok(waived === '' ? tests.length > 0 : waived.length > 40, id)
    t.notOk(waived !== '' && tests.length > 0, `${id} is not waived and shown at once`)
  }
  t.end()
})

t.test(
  'T2: every behaviour that other stacks test is shown by a script or a test that is there',
  (t) => {
    const rows = behaviourRows()
    t.equal(rows.length, 84)
    t.strictSame(
      rows.filter((row) => row.missing).map((row) => row.id),
      [],
    )
    t.ok(rows.filter((row) => row.waived !== '').length <= 1)
    t.end()
  },
)
