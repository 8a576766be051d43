/**
 * The laws of the simulation over many seeds, and over every seed that ever failed.
 */
import t from 'tap'
import { REGRESSION_SEEDS } from './regression-seeds.js'
import { type RunResult, simulate } from './scenario.js'
import { addCounts, newTotals, type Totals } from './totals.js'

const SEEDS = 200

/** Runs one seed; says which command shows what went wrong. */
function failure(result: RunResult): string {
  const [first] = result.violations
  return first === undefined ? '' : `${first} (npm run sim -- --seed ${result.seed} --trace)`
}

t.test(`P1 P5 P8 P16 P18 D3 D5 S3: no law is broken in ${SEEDS} seeds`, (t) => {
  const totals: Totals = newTotals()
  const bad: string[] = []
  for (let seed = 1; seed <= SEEDS; seed++) {
    const result = simulate(seed)
    addCounts(totals, result)
    const wrong = failure(result)
    if (wrong !== '') bad.push(`seed ${seed}: ${wrong}`)
  }
  t.same(bad, [], 'all laws hold')
  t.ok(totals.takeovers > SEEDS / 4, `${totals.takeovers} take-overs`)
  t.ok(totals.midStream > SEEDS / 4, `${totals.midStream} connections taken over in mid-stream`)
  t.ok(
    totals.shadowChecks > 10_000,
    `${totals.shadowChecks} comparisons of owner and shadow (law 1)`,
  )
  t.ok(totals.recordChecks > 100, `${totals.recordChecks} records written and read back (law 5)`)
  t.ok(
    totals.done > 0.9 * totals.connections,
    `${totals.done} of ${totals.connections} streams done`,
  )
  t.end()
})

t.test('P1: seeds that once broke a law do not any more', (t) => {
  for (const [seed, shown] of REGRESSION_SEEDS) {
    t.equal(failure(simulate(seed)), '', `seed ${seed}: ${shown}`)
  }
  t.end()
})

t.test('the same seed gives the same run (law 7)', (t) => {
  for (let seed = 1; seed <= 10; seed++) {
    const first = simulate(seed)
    const second = simulate(seed)
    t.equal(second.fingerprint, first.fingerprint, `seed ${seed}: the traces are equal`)
    t.equal(second.steps, first.steps)
  }
  t.not(simulate(1).fingerprint, simulate(2).fingerprint, 'and another seed gives another run')
  t.end()
})
