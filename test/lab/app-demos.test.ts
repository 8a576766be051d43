/**
 * The demos of single applications, with the real clients and servers that are installed here. Those of kv, nfs, echo and ticker show
 * what other tests have shown already.
 */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { APP_DEMOS } from '../../scripts/demo/apps/index.js'
import { whyNoLab } from './support.js'

const why = await whyNoLab()
const program = fileURLToPath(new URL('../../scripts/demo/main.js', import.meta.url))

const SHOWS: ReadonlyMap<string, string> = new Map([
  ['replay', 'A1: a server of node:http outlives its node'],
  ['chat', 'A8: a chat goes on'],
  ['proxy-postgres', 'A5 A7: psql notices no death of a proxy'],
  ['proxy-redis', 'A7: redis-cli notices no death of a proxy'],
  ['proxy-ssh', 'A7: an interactive session notices no death of a proxy'],
  ['proxy-nginx', 'A7: TLS notices no death of a proxy'],
  ['proxy-nfs', 'S1 A6 A7: a client of NFS notices no death of a proxy'],
])

// Each plays its acts twice, and a busy machine takes its time.
t.setTimeout(300_000)

for (const [name, what] of SHOWS) {
  const whyNot = APP_DEMOS.get(name)?.whyNot() ?? false
  t.test(`${what} (demo ${name})`, { skip: why || whyNot }, async (t) => {
    const args = [program, '--app', name, '--rows', '100000', '--json']
    const run = spawnSync(process.execPath, args, { encoding: 'utf8' })
    t.equal(run.status, 0, run.stderr)
    const report = JSON.parse(run.stdout)
    t.match(report, { ok: true, app: name, givenUp: 0 })
    for (const act of report.acts) t.equal(act.stallsMs.length, 3, act.title)
    // On a busy machine a node may be taken for dead once more.
    t.ok(report.takeovers >= 3 * report.acts.length, `${report.takeovers} take-overs`)
  })
}

t.test('the demo says what is wrong with its options', async (t) => {
  for (const args of [
    ['--app', 'nothing'],
    ['--app', 'proxy-postgres', '--rows', '1'],
  ]) {
    const run = spawnSync(process.execPath, [program, ...args], { encoding: 'utf8' })
    t.equal(run.status, 2)
    t.match(run.stderr, /--(app|rows) is/)
  }
})
