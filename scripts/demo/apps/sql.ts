/**
 * The demo of the database (A5): an unmodified psql, and PostgreSQL inside the nodes, of which the owner is killed in the middle of a long
 * result and during inserts. An open transaction is lost with its owner, and psql is told: that is not played here.
 */
import * as fs from 'node:fs'
import { join } from 'node:path'
import { StackError } from '../../../stack/base/errors.js'
import { WireMonitor } from '../../lab/wire-monitor.js'
import { type AppDemo, isInstalled, type Saw, type Stage, type Turn } from '../stage.js'
import { psql } from './proxy-postgres.js'

const INSERTS = 100
const MOST_ROWS = 400_000
/** The first owner makes the data directory, which takes some seconds. */
const READY_MS = 120_000
const LOOK_MS = 2

export const sqlDemo: AppDemo = {
  name: 'sql',
  summary: `PostgreSQL inside the nodes: psql in a long result (${MOST_ROWS} rows at most), and inserting`,
  whyNot: () =>
    isInstalled('psql') ? null : 'there is no psql: install the Debian package postgresql-client',
  lab(scratch) {
    const root = join(scratch, 'database')
    fs.mkdirSync(root)
    return { app: 'sql', root }
  },
  async play(stage) {
    await isUp(stage)
    const monitor = await WireMonitor.start(stage.lab)
    try {
      const rows = Math.min(stage.rows, MOST_ROWS)
      let length = 0
      const select = await stage.act(`psql, select of ${rows} rows`, async (turn) => {
        const from = (await monitor.count()).totals.down
        const saw = await long(stage, turn, monitor, rows, from, length)
        length = (await monitor.count()).totals.down - from
        return saw
      })
      return [...select, ...(await inserts(stage))]
    } finally {
      monitor.close()
    }
  },
}

async function isUp(stage: Stage): Promise<void> {
  stage.say('the first owner makes the data directory')
  const giveUpAt = performance.now() + READY_MS
  for (;;) {
    const client = stage.client(psql(stage.address, '-c', 'select 1'))
    if ((await client.ended()) === 0) return
    if (performance.now() > giveUpAt) throw new StackError('ERR_DEMO_STUCK', client.said)
    await stage.pause(100)
  }
}

// psql prints when it has all: how far it is can be seen on its wire.
async function long(
  stage: Stage,
  turn: Turn,
  monitor: WireMonitor,
  rows: number,
  from: number,
  length: number,
): Promise<Saw> {
  const query = `select i, md5(i::text) from generate_series(1, ${rows}) i`
  const client = stage.client(psql(stage.address, '-c', query))
  let over = false
  client.ended().finally(() => {
    over = true
  })
  const reaches = async (down: number): Promise<void> => {
    while (monitor.totals.down < down && !over) await stage.pause(LOOK_MS)
  }
  for (let i = 1; turn.calm !== null && i <= stage.kills; i++) {
    await reaches(from + (length * i) / (stage.kills + 1))
    await turn.kill(() => reaches(monitor.totals.down + 65_536))
  }
  await client.succeeded()
  return client
}

function inserts(stage: Stage) {
  return stage.act(`psql, ${INSERTS} inserts`, async (turn) => {
    const client = stage.client(psql(stage.address), 'pipe')
    await client.ask("drop table if exists n; create table n(i int); select 'there';")
    for (let i = 1; i <= INSERTS; i++) {
      const ask = (): Promise<void> => client.ask(`insert into n values (${i}) returning i;`)
      if (stage.isDue(i, INSERTS)) await turn.kill(ask)
      else await ask()
    }
    client.child.stdin?.end('select count(*), count(distinct i), sum(i) from n;\n')
    await client.succeeded()
    return client
  })
}
