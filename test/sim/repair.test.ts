/**
 * Peers that miss frames (D1): the same seeds with and without repair.
 */
import t from 'tap'
import { HARSH_REGRESSION_SEEDS, LOSSY_REGRESSION_SEEDS } from './regression-seeds.js'
import { simulate } from './scenario.js'
import { addCounts, newTotals, type Totals } from './totals.js'

const SEEDS = 40

function run(repairs: boolean): { totals: Totals; bad: string[] } {
  const totals = newTotals()
  const bad: string[] = []
  for (let seed = 1; seed <= SEEDS; seed++) {
    const result = simulate(seed, false, { lossy: true, repairs })
    addCounts(totals, result)
    const [first] = result.violations
    if (first !== undefined) bad.push(`npm run sim -- --lossy --seed ${seed}: ${first}`)
  }
  return { totals, bad }
}

t.test(
  `D1: of ${SEEDS} runs with lossy peers, repair saves nearly all that a gap would have cost`,
  (t) => {
    const without = run(false)
    const { totals, bad } = run(true)
    t.same(without.bad, [], 'no law is broken without it')
    t.same(bad, [], 'nor with it')
    const before = without.totals.givenUp.gap ?? 0
    const after = totals.givenUp.gap ?? 0
    t.ok(before >= 5, `${before} connections given up for a gap without repair`)
    t.ok(after * 4 <= before, `${after} with it`)
    t.ok(totals.repaired > 20, `${totals.repaired} shadows repaired`)
    t.end()
  },
)

for (const [seed, shown] of LOSSY_REGRESSION_SEEDS) {
  t.test(`D1: lossy seed ${seed}: ${shown}`, (t) => {
    t.same(simulate(seed, false, { lossy: true }).violations, [])
    t.end()
  })
}

for (const [seed, shown] of HARSH_REGRESSION_SEEDS) {
  t.test(`D1: harsh seed ${seed}: ${shown}`, (t) => {
    t.same(simulate(seed, false, { harsh: true }).violations, [])
    t.end()
  })
}
