/**
 * Nodes that are cut off altogether, where more than half must be heard to own (D3): never do two speak, cut or not.
 */
import t from 'tap'
import { QUORUM_REGRESSION_SEEDS } from './regression-seeds.js'
import { simulate } from './scenario.js'
import { addCounts, newTotals } from './totals.js'

const SEEDS = 60

t.test(`D3: with a quorum no cut makes two speakers in ${SEEDS} runs`, (t) => {
  const totals = newTotals()
  const bad: string[] = []
  for (let seed = 1; seed <= SEEDS; seed++) {
    const result = simulate(seed, false, { quorate: true })
    addCounts(totals, result)
    const [first] = result.violations
    if (first !== undefined) bad.push(`npm run sim -- --quorum --seed ${seed}: ${first}`)
  }
  t.same(bad, [])
  t.ok(totals.takeovers > SEEDS, `${totals.takeovers} take-overs`)
  t.ok(totals.midStream > SEEDS / 2, `${totals.midStream} connections taken over in mid-stream`)
  t.ok(totals.done > 0.8 * totals.connections, `${totals.done} of ${totals.connections} done`)
  t.end()
})

t.test('D3: seeds that once broke a law do not any more', (t) => {
  for (const [seed, what] of QUORUM_REGRESSION_SEEDS) {
    t.same(simulate(seed, false, { quorate: true }).violations, [], `seed ${seed}: ${what}`)
  }
  t.end()
})
