/**
 * The demo of the proxy with an unmodified PostgreSQL and psql (A5, A7): the proxies between them are killed in the middle of a long
 * result, and in an open transaction.
 */
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { StackError } from '../../../stack/base/errors.js'
import { type AppDemo, isInstalled, SERVER, type Stage } from '../stage.js'

const PORT = '5432'
const INSTALLED = '/usr/lib/postgresql'
const USER = 'postgres'
const STATEMENTS = 100

export const proxyPostgresDemo: AppDemo = {
  name: 'proxy-postgres',
  summary:
    'an unmodified PostgreSQL behind the proxy: psql in a long result, and in an open transaction',
  whyNot() {
    if (process.getuid?.() !== 0) return 'PostgreSQL is to run as a user of its own: start as root'
    if (findServer() !== null) return null
    return 'there is no PostgreSQL: install the Debian packages postgresql and postgresql-client'
  },
  lab: () => ({ app: 'proxy', to: `${SERVER}:${PORT}` }),
  async prepare(stage) {
    const programs = findServer() ?? ''
    const data = initDatabase(programs, stage.scratch)
    const where = ['-h', SERVER, '-p', PORT, '-k', data]
    const argv = ['runuser', '-u', USER, '--', join(programs, 'postgres'), '-D', data, ...where]
    await stage.serve(argv, psql(SERVER, '-c', 'select 1'))
  },
  async play(stage) {
    const query = `select i, md5(i::text) from generate_series(1, ${stage.rows}) i`
    const select = await stage.act(`psql, select of ${stage.rows} rows`, (turn) =>
      // So psql prints while it receives.
      turn.follow(stage.client(psql(stage.address, '--set=FETCH_COUNT=1000', '-c', query))),
    )
    return [...select, ...(await transaction(stage))]
  },
}

// The table is asked in the end, so that a statement that was lost, or done twice, is seen.
function transaction(stage: Stage) {
  const title = `psql, transaction of ${STATEMENTS} statements`
  return stage.act(title, async (turn) => {
    const client = stage.client(psql(stage.address), 'pipe')
    await client.ask("drop table if exists n; create table n(i int); begin; select 'open';")
    for (let i = 1; i <= STATEMENTS; i++) {
      const ask = (): Promise<void> => client.ask(`insert into n values (${i}) returning i;`)
      if (stage.isDue(i, STATEMENTS)) await turn.kill(ask)
      else await ask()
    }
    await client.ask("commit; select 'committed';")
    client.child.stdin?.end('select count(*), sum(i) from n;\n')
    await client.succeeded()
    return client
  })
}

/** psql with options of every one of them. */
export function psql(host: string, ...args: string[]): string[] {
  return ['psql', '-X', '-q', '-At', '-v', 'ON_ERROR_STOP=1', '-U', USER, '-h', host, ...args]
}

function findServer(): string | null {
  if (!fs.existsSync(INSTALLED) || !isInstalled('psql')) return null
  const versions = fs.readdirSync(INSTALLED).sort((a, b) => Number(b) - Number(a))
  const folders = versions.map((version) => join(INSTALLED, version, 'bin'))
  return folders.find((folder) => fs.existsSync(join(folder, 'postgres'))) ?? null
}

function initDatabase(programs: string, scratch: string): string {
  const data = join(scratch, 'data')
  fs.mkdirSync(data)
  fs.chmodSync(scratch, 0o755)
  spawnSync('chown', [USER, data])
  const initdb = join(programs, 'initdb')
  const args = ['-u', USER, '--', initdb, '-D', data, '-A', 'trust', '--no-sync', '--locale=C']
  const made = spawnSync('runuser', args, { encoding: 'utf8', cwd: '/' })
  if (made.status !== 0) {
    throw new StackError('ERR_DEMO_NO_SERVER', `initdb failed: ${made.stderr.trim()}`)
  }
  fs.appendFileSync(join(data, 'pg_hba.conf'), 'host all all 10.77.0.0/24 trust\n')
  return data
}
