/**
 * Owners that come back (P23): they die and start again under traffic, and so may whoever serves meanwhile.
 */
import t from 'tap'
import { RETURN_REGRESSION_SEEDS } from './regression-seeds.js'
import { simulate } from './scenario.js'
import { addCounts, newTotals } from './totals.js'

const SEEDS = 60

t.test(`P23, D3: no law is broken in ${SEEDS} runs in which owners come back`, (t) => {
  const totals = newTotals()
  const bad: string[] = []
  for (let seed = 1; seed <= SEEDS; seed++) {
    const result = simulate(seed, false, { returns: true })
    addCounts(totals, result)
    const [first] = result.violations
    if (first !== undefined) bad.push(`npm run sim -- --return --seed ${seed}: ${first}`)
  }
  t.same(bad, [], 'one speaker for each connection, and no octet lost')
  t.ok(totals.returned > SEEDS, `${totals.returned} bindings returned`)
  t.ok(totals.takeovers > 3 * SEEDS, `${totals.takeovers} take-overs`)
  t.ok(totals.midStream > SEEDS, `${totals.midStream} connections taken over in mid-stream`)
  t.ok(totals.done > 0.9 * totals.connections, `${totals.done} of ${totals.connections} done`)
  t.end()
})

t.test('P23, D3: seeds that once broke a law do not any more', (t) => {
  for (const [seed, what] of RETURN_REGRESSION_SEEDS) {
    t.same(simulate(seed, false, { returns: true }).violations, [], `seed ${seed}: ${what}`)
  }
  t.end()
})
