/**
 * A proxy on every node, and a machine behind them that serves and knows of nothing: the laws over many seeds, and a cut behind each
 * single frame of an exchange, with bytes under way in both directions of both connections.
 */
import t from 'tap'
import { PROXY_REGRESSION_SEEDS } from './regression-seeds.js'
import { type RunResult, type Setting, simulate } from './scenario.js'
import { cutAt, record, SWEPT } from './sweep.js'
import { addCounts, newTotals } from './totals.js'
import { stream } from './workload.js'

const SEEDS = 75

const PROXIED: Setting = {
  ...SWEPT,
  streams: [...SWEPT.streams, { ...stream('replay', 13, 9000, 351), writeMax: 700, writeEvery: 3 }],
  proxied: true,
}

/** What is wrong with a run in which nothing may be lost, or served twice; empty when nothing is. */
function fault({ violations, counts, served }: RunResult, takeovers: number): string {
  if (violations.length > 0) return violations[0] as string
  const lost = Object.keys(counts.givenUp)
  if (lost.length > 0) return `given up: ${lost.join(', ')}`
  if (counts.done !== counts.connections) return `${counts.done} of ${counts.connections} done`
  if (served !== counts.connections) return `the server was called ${served} times`
  return counts.takeovers === takeovers ? '' : `${counts.takeovers} take-overs`
}

t.test('A7 P1 P16: a proxy survives a cut behind every single frame, and its server too', (t) => {
  const { result, first, last } = record(PROXIED)
  t.equal(fault(result, 0), '', 'the exchange ends by itself when nothing fails')
  const bad: string[] = []
  for (let at = first; at <= last; at++) {
    const wrong = fault(cutAt(at, 0, PROXIED), 1)
    if (wrong !== '') bad.push(`frame ${at}: ${wrong}`)
  }
  t.same(bad, [], `${last - first + 1} frames, from #${first} to #${last}, each the owner's last`)
  t.ok(last - first > 250, 'the exchange is long enough to mean something')
  t.end()
})

t.test('A7: a header before the octets of the client survives such cuts, too', (t) => {
  for (const header of ['v1', 'v2'] as const) {
    const setting: Setting = { ...PROXIED, header }
    const { result, first, last } = record(setting)
    t.equal(fault(result, 0), '', `${header}: the exchange ends by itself when nothing fails`)
    const bad: string[] = []
    // All of the beginning, and then every ninth frame.
    for (let at = first; at <= last; at += at < first + 40 ? 1 : 9) {
      const wrong = fault(cutAt(at, 0, setting), 1)
      if (wrong !== '') bad.push(`frame ${at}: ${wrong}`)
    }
    t.same(bad, [], header)
  }
  t.end()
})

t.test('A7 D4: the next owner is cut off too, a few frames behind the first', (t) => {
  const { first, last } = record(PROXIED)
  const bad: string[] = []
  for (let at = first; at + 100 <= last; at += 9) {
    for (const again of [1, 5, 23]) {
      const wrong = fault(cutAt(at, again, PROXIED), 2)
      if (wrong !== '') bad.push(`frames ${at} and ${again} later: ${wrong}`)
    }
  }
  t.same(bad, [])
  t.end()
})

t.test('A7 P27: seeds that once broke a law with proxies do not any more', (t) => {
  for (const [seed, what] of PROXY_REGRESSION_SEEDS) {
    t.same(simulate(seed, false, { proxied: true }).violations, [], `seed ${seed}: ${what}`)
  }
  t.end()
})

t.test(`A7 P16 P17 D5: no law is broken by proxies in ${SEEDS} seeds`, (t) => {
  const totals = newTotals()
  const bad: string[] = []
  for (let seed = 1; seed <= SEEDS; seed++) {
    const result = simulate(seed, false, { proxied: true })
    addCounts(totals, result)
    const [first] = result.violations
    if (first !== undefined) {
      bad.push(`seed ${seed}: ${first} (npm run sim -- --proxy --seed ${seed} --trace)`)
    }
  }
  t.same(bad, [], 'all laws hold')
  t.ok(totals.takeovers > SEEDS / 2, `${totals.takeovers} take-overs`)
  t.ok(totals.midStream > SEEDS / 2, `${totals.midStream} connections taken over in mid-stream`)
  t.ok(totals.shadowChecks > 10_000, `${totals.shadowChecks} comparisons of owner and shadow`)
  t.ok(totals.done > 0.9 * totals.connections, `${totals.done} of ${totals.connections} done`)
  t.end()
})
