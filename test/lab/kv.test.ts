/**
 * The key-value store on a real bridge (A4): clients of the kernel's pipeline counters and writes while owners die and are started again;
 * every answer is there once, in order, and what was acknowledged is found by the next owner.
 */
import { spawnSync } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { Lab } from '../../scripts/lab/lab.js'
import { WireMonitor } from '../../scripts/lab/wire-monitor.js'
import { ended, killOwner, reach, whyNoLab } from './support.js'

const why = await whyNoLab()
const CLIENT = fileURLToPath(new URL('../../scripts/demo/apps/kv-client.js', import.meta.url))
const noRedis =
  spawnSync('redis-benchmark', ['--version']).status === 0 ? false : 'redis-tools is not installed'
/** Three in a row, each time behind a node that was started again. */
const KILLS = 3
/** Requests of each kind for redis-benchmark. */
const REQUESTS = 100_000

async function openLab(t: Test): Promise<{ lab: Lab; host: string }> {
  const lab = await Lab.create({ nodes: 3, app: 'kv' })
  t.teardown(() => lab.close())
  await lab.startAll()
  return { lab, host: lab.record.address.split('/')[0] ?? '' }
}

/** Kills the owner again and again while `work` goes on, each time when it is `due`, and starts it anew behind each death. */
async function harass(
  t: Test,
  lab: Lab,
  work: Promise<unknown>,
  due: (kills: number) => Promise<void>,
): Promise<void> {
  let over = false
  const done = work.finally(() => {
    over = true
  })
  for (let kills = 1; kills <= KILLS; kills++) {
    await Promise.race([done, due(kills)])
    if (over) t.fail(`the client was done before kill ${kills}`)
    const { from } = await killOwner(lab)
    // Nobody needs it behind the last.
    if (kills < KILLS) await lab.start(from)
  }
}

t.test(`A4: every request is carried out once over ${KILLS} deaths`, { skip: why }, async (t) => {
  const { lab, host } = await openLab(t)
  const counting = lab.startCounting()
  const child = lab.spawnInClient([process.execPath, CLIENT, host, 'open'], 0, 'pipe')
  const client = ended(child)
  await harass(t, lab, client, () => delay(700))
  await delay(700)
  child.stdin?.end()
  const { code, stdout, stderr } = await client
  t.equal(code, 0, stderr)
  // It has checked each answer, and read everything back.
  const written = Number(/\n(\d+)\n$/.exec(stdout)?.[1])
  t.ok(written > 8 * 8 * KILLS, `${written} writes`)
  // What a successor missed is fetched, or goes on with another peer. On a busy machine a node may be taken for dead once more.
  const outcomes = lab.events.filter(({ event }) => event === 'takeover' || event === 'repaired')
  const wentOn = outcomes.map(({ promoted, passedOn }) => Number(promoted) + Number(passedOn))
  const sum = wentOn.reduce((all, each) => all + each, 0)
  t.ok(sum >= 8 * KILLS, `${wentOn.join(' ')} connections went on`)
  for (const { givenUp } of outcomes) t.same(givenUp, {})
  const once = { syns: 8, resetsIn: 0, resetsOut: 0 }
  if (counting) t.match(lab.wireCounts(), once, 'no connection was opened again')
})

t.test(`A4: redis-benchmark goes on over ${KILLS} deaths`, { skip: why || noRedis }, async (t) => {
  const { lab, host } = await openLab(t)
  const run = (...argv: string[]) => ended(lab.spawnInClient(argv))
  const load = ['-P', '16', '-t', 'set,incr,lpush', '-q']
  const monitor = await WireMonitor.start(lab)
  t.teardown(() => monitor.close())
  // How much goes over the wire for a tenth of it tells how far it is.
  await run('redis-benchmark', '-h', host, '-n', String(REQUESTS / 10), ...load)
  await run('redis-cli', '-h', host, 'flushall')
  await delay(100)
  const tenth = monitor.totals.up
  const bench = run('redis-benchmark', '-h', host, '-n', String(REQUESTS), ...load)
  await harass(t, lab, bench, (kills) =>
    reach(monitor, 'up', (10 * tenth * kills) / (KILLS + 2), tenth),
  )
  const { code, stdout, stderr } = await bench
  t.equal(code, 0, stderr)
  t.notMatch(`${stdout}${stderr}`, /error|reset|closed/i)
  t.match(await run('redis-cli', '-h', host, 'get', 'counter:__rand_int__'), {
    stdout: `${REQUESTS}\n`,
  })
  t.match(await run('redis-cli', '-h', host, 'llen', 'mylist'), { stdout: `${REQUESTS}\n` })
})
