/** The demo of the proxy with an unmodified PostgreSQL and psql (A7), where there is one. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { whyNoPostgres } from '../../scripts/demo/proxy-postgres.js'
import { whyNoLab } from './support.js'

const why = (await whyNoLab()) || (whyNoPostgres() ?? false)
const program = fileURLToPath(new URL('../../scripts/demo/main.js', import.meta.url))

t.test(
  'A7: psql notices no death of a proxy, in a long result and in an open transaction',
  { skip: why },
  async (t) => {
    const args = [program, '--app', 'proxy-postgres', '--rows', '200000', '--json']
    const run = spawnSync(process.execPath, args, { encoding: 'utf8' })
    t.equal(run.status, 0, run.stderr)
    const report = JSON.parse(run.stdout)
    t.match(report, {
      ok: true,
      select: { equal: true },
      transaction: { equal: true },
      givenUp: 0,
      clientSyns: 2,
      clientResets: 0,
    })
    // On a busy machine a node may be taken for dead once more.
    t.ok(report.takeovers >= 6, `${report.takeovers} take-overs`)
  },
)

t.test('A7: the demo says what is wrong with its options', async (t) => {
  for (const args of [
    ['--app', 'nothing'],
    ['--app', 'proxy-postgres', '--rows', '1'],
  ]) {
    const run = spawnSync(process.execPath, [program, ...args], { encoding: 'utf8' })
    t.equal(run.status, 2)
    t.match(run.stderr, /--(app|rows) is/)
  }
})
