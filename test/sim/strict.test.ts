/**
 * Strict mode (D2): whatever frames the peers miss, an owner that dies loses nothing. The same runs without strict mode lose some.
 */
import t from 'tap'
import { STRICT_REGRESSION_SEEDS } from './regression-seeds.js'
import { simulate, type Variant } from './scenario.js'
import { cutAt, record, SWEPT } from './sweep.js'
import { addCounts, newTotals, type Totals } from './totals.js'

const SEEDS = 50

interface Outcome {
  readonly totals: Totals
  readonly bad: readonly string[]
}

function run(variant: Partial<Variant>): Outcome {
  const totals = newTotals()
  const bad: string[] = []
  for (let seed = 1; seed <= SEEDS; seed++) {
    const result = simulate(seed, false, variant)
    addCounts(totals, result)
    const [first] = result.violations
    if (first !== undefined) bad.push(`seed ${seed} of ${JSON.stringify(variant)}: ${first}`)
  }
  return { totals, bad }
}

const cut = ({ connections, done }: Totals): number => connections - done

t.test(`D2: of ${SEEDS} runs with deaf peers and a dead owner, strict mode loses nothing`, (t) => {
  const without = run({ harsh: true })
  const { totals, bad } = run({ harsh: true, strict: true })
  t.same(without.bad, [], 'no law is broken without it')
  t.same(bad, [], 'nor with it')
  t.ok(totals.takeovers >= SEEDS - 2, `${totals.takeovers} take-overs`)
  t.ok(cut(without.totals) > 0, `${cut(without.totals)} connections do not survive without it`)
  t.equal(cut(totals), 0, 'all do with it')
  t.equal(totals.cut, 0, 'no node gives one up that has a client')
  t.end()
})

t.test('D2 A7: the same with proxies', (t) => {
  const without = run({ harsh: true, proxied: true })
  const { totals, bad } = run({ harsh: true, proxied: true, strict: true })
  t.same(bad, [], 'no law is broken with it')
  t.ok(cut(without.totals) > 0, `${cut(without.totals)} connections do not survive without it`)
  t.equal(cut(totals), 0, 'all do with it')
  t.end()
})

t.test('D2: no law is broken in strict mode by any other fault', (t) => {
  const { totals, bad } = run({ strict: true })
  t.same(bad, [])
  t.ok(totals.shadowChecks > 10_000, `${totals.shadowChecks} comparisons of owner and shadow`)
  t.end()
})

t.test('D2, D3: seeds that once broke a law do not any more', (t) => {
  for (const [seed, what] of STRICT_REGRESSION_SEEDS) {
    t.same(simulate(seed, false, { strict: true }).violations, [], `seed ${seed}: ${what}`)
  }
  t.end()
})

// Of the exchange: each frame is missed by `deaf`, and the owner dies right behind it or a few frames later. What went wrong.
function sweep(
  strict: boolean,
  deaf: readonly number[],
  behind: readonly number[],
): { runs: number; wrong: string[] } {
  const setting = { ...SWEPT, strict }
  const { first, last } = record(setting)
  const wrong: string[] = []
  let runs = 0
  for (let missed = first; missed <= last; missed++) {
    for (const later of behind) {
      runs++
      const { violations, counts } = cutAt(missed + later, 0, setting, missed, deaf)
      if (violations.length === 0 && counts.done === counts.connections) continue
      wrong.push(`frame ${missed}, and ${later} later: ${violations[0] ?? 'not done'}`)
    }
  }
  return { runs, wrong }
}

t.test('D2: each single frame is missed by the peers, and the owner dies right behind it', (t) => {
  const one = sweep(true, [2], [1])
  t.same(one.wrong, [], `${one.runs} runs in which the successor misses a frame`)
  const both = sweep(true, [2, 3], [0, 1, 3])
  t.same(both.wrong, [], `${both.runs} runs in which all peers do`)
  t.ok(one.runs > 150, 'the exchange is long enough to mean something')
  const { runs, wrong } = sweep(false, [2, 3], [1])
  t.ok(wrong.length > 10, `without strict mode ${wrong.length} of ${runs} lose something`)
  t.end()
})
