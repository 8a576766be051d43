/**
 * The demo of the database (A5): an unmodified psql, and PostgreSQL inside the nodes, of which the owner is killed: in the middle of a long
 * result, between and during inserts, and in an open transaction. What psql printed is compared with an undisturbed run.
 */
import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { StackError } from '../../stack/base/errors.js'
import { Lab } from '../lab/lab.js'
import { WireMonitor } from '../lab/wire-monitor.js'
import { type PostgresOptions, Psql, type PsqlReport } from './proxy-postgres.js'

const HOST = '10.77.0.100'
const USER = 'postgres'
/** At which parts of the result, and of the inserts, the owner is killed. */
const KILLS = [1 / 4, 1 / 2, 3 / 4]
const INSERTS = 100
/** The first owner makes the data directory, which takes some seconds. */
const READY_MS = 120_000
const PATIENCE_MS = 60_000

export interface SqlReport {
  readonly ok: boolean
  readonly app: 'sql'
  readonly rows: number
  readonly select: PsqlReport
  readonly inserts: PsqlReport
  /** An open transaction is lost, said so, and the connection goes on. */
  readonly transaction: PsqlReport
  readonly takeovers: number
  readonly givenUp: number
  /** Of the client's wire; undefined where nothing counts. */
  readonly clientSyns: number | undefined
  readonly clientResets: number | undefined
}

/** Plays the demo. Throws ERR_DEMO_CLIENT, ERR_DEMO_STUCK, and what a lab throws. */
export async function runSqlDemo(options: PostgresOptions): Promise<SqlReport> {
  const { scratch, say, signal } = options
  say('building a bridge, four nodes with a database and a client in network namespaces')
  const root = join(scratch, 'database')
  fs.mkdirSync(root)
  const lab = await Lab.create({
    nodes: KILLS.length + 1,
    app: 'sql',
    root,
    scratch: [scratch],
  })
  const play = new Play(lab, options)
  const abort = (): void => play.abort()
  signal?.addEventListener('abort', abort)
  try {
    await lab.startAll()
    await play.databaseIsUp()
    signal?.throwIfAborted()
    return await play.run()
  } finally {
    signal?.removeEventListener('abort', abort)
    await lab.close()
  }
}

class Play {
  readonly #lab: Lab
  readonly #options: PostgresOptions
  readonly #clients = new Set<Psql>()
  #opened = 0

  constructor(lab: Lab, options: PostgresOptions) {
    this.#lab = lab
    this.#options = options
  }

  abort(): void {
    for (const client of this.#clients) client.child.kill()
  }

  #psql(...args: string[]): Psql {
    const common = ['-X', '-q', '-At', '-U', USER, '-h', HOST]
    const stdin = args.length === 0 ? 'pipe' : 'ignore'
    const client = new Psql(this.#lab.spawnInClient(['psql', ...common, ...args], 0, stdin))
    this.#opened++
    this.#clients.add(client)
    client.child.once('close', () => this.#clients.delete(client))
    return client
  }

  async databaseIsUp(): Promise<void> {
    const { say } = this.#options
    say('the first owner makes the data directory')
    const giveUpAt = performance.now() + READY_MS
    for (;;) {
      const client = this.#psql('-c', 'select 1')
      if ((await client.ended()) === 0) return
      if (performance.now() > giveUpAt) throw new StackError('ERR_DEMO_STUCK', client.said)
      await delay(100)
    }
  }

  async run(): Promise<SqlReport> {
    const { rows, say } = this.#options
    const monitor = await WireMonitor.start(this.#lab)
    try {
      const counting = this.#lab.startCounting()
      this.#opened = 0
      const select = await this.#select(monitor)
      say('starting the killed nodes again')
      await this.#restore()
      const inserts = await this.#inserts()
      await this.#restore()
      const transaction = await this.#transaction()
      const takeovers = this.#lab.events.filter(({ event }) => event === 'takeover')
      const givenUp = takeovers.filter((each) => Object.keys(each.givenUp as object).length > 0)
      const wire = counting ? this.#lab.wireCounts() : undefined
      const clientResets = wire === undefined ? undefined : wire.resetsIn + wire.resetsOut
      const equal = select.equal && inserts.equal && transaction.equal && givenUp.length === 0
      return {
        ok: equal && (wire === undefined || (wire.syns === this.#opened && clientResets === 0)),
        app: 'sql',
        rows,
        select,
        inserts,
        transaction,
        takeovers: takeovers.length,
        givenUp: givenUp.length,
        clientSyns: wire?.syns,
        clientResets,
      }
    } finally {
      monitor.close()
    }
  }

  async #select(monitor: WireMonitor): Promise<PsqlReport> {
    const { rows, say } = this.#options
    const args = ['-c', `select i, md5(i::text) from generate_series(1, ${rows}) i`]
    const before = monitor.totals.down
    const wanted = this.#psql(...args)
    await wanted.succeeded()
    const { totals } = await monitor.count()
    const length = totals.down - before
    say(`psql undisturbed: ${wanted.octets} octets for ${rows} rows`)
    const client = this.#psql(...args)
    const stallsMs: number[] = []
    // psql prints when it has all: how far it is can be seen on its wire.
    for (const part of KILLS) {
      await reaches(monitor, totals.down + part * length)
      stallsMs.push(await this.#kill(() => reaches(monitor, monitor.totals.down + 65_536)))
    }
    await client.succeeded()
    const equal = client.digest === wanted.digest
    say(`select: ${client.octets} octets, ${equal ? 'equal' : 'NOT EQUAL'}`)
    return { equal, octets: client.octets, stallsMs }
  }

  async #inserts(): Promise<PsqlReport> {
    const { say } = this.#options
    const session = this.#session()
    await session.ask("create table n(i int); select 'there';")
    const stallsMs: number[] = []
    for (let i = 1; i <= INSERTS; i++) {
      const insert = `insert into n values (${i}) returning i;`
      if (KILLS.includes(i / INSERTS)) stallsMs.push(await this.#kill(() => session.ask(insert)))
      else await session.ask(insert)
    }
    await session.ask('select count(*), count(distinct i), sum(i) from n;')
    const sum = (INSERTS * (INSERTS + 1)) / 2
    const numbers = Array.from({ length: INSERTS }, (_, i) => `${i + 1}\n`).join('')
    const printed = `there\n${numbers}${INSERTS}|${INSERTS}|${sum}\n`
    const { octets, digest } = await session.end()
    const equal = digest === createHash('sha256').update(printed).digest('hex')
    say(`${INSERTS} inserts: ${equal ? 'each done once' : 'NOT EACH ONCE'}`)
    return { equal, octets, stallsMs }
  }

  async #transaction(): Promise<PsqlReport> {
    const { say } = this.#options
    const session = this.#session()
    await session.ask("begin; insert into n values (0); select 'open';")
    const stallsMs = [
      await this.#kill(async () => {
        session.tell('select 1;')
        while (!session.said.includes('lost')) await delay(5)
      }),
    ]
    await session.ask("rollback; select count(*) from n where i = 0; select 'on';")
    const { text, octets } = await session.end()
    const equal = text === 'open\n0\non\n'
    say(`psql was told: ${session.said.split('\n')[0] ?? ''}`)
    return { equal, octets, stallsMs }
  }

  #session(): Session {
    return new Session(this.#psql())
  }

  // Kills the owner, and measures how long `next` takes from then on.
  async #kill(next: () => Promise<void>): Promise<number> {
    const from = await this.#lab.awaitOwner()
    const at = performance.now()
    await this.#lab.kill(from)
    await next()
    const ms = Math.round(performance.now() - at)
    const to = await this.#lab.awaitOwner()
    this.#options.say(`node ${from} killed (SIGKILL): node ${to} took over, psql waited ${ms} ms`)
    return ms
  }

  async #restore(): Promise<void> {
    const ended = this.#lab.status().filter(({ state }) => state === 'ended')
    await Promise.all(ended.map(({ id }) => this.#lab.start(id)))
    await this.#lab.awaitOwner()
    // A node listens before it takes part.
    await delay(1000)
  }
}

/** One psql that is told statement after statement. */
class Session {
  readonly #client: Psql

  constructor(client: Psql) {
    this.#client = client
  }

  get said(): string {
    return this.#client.said
  }

  tell(statement: string): void {
    this.#client.child.stdin?.write(`${statement}\n`)
  }

  async ask(statement: string): Promise<void> {
    const answer = this.#client.octets + 1
    this.tell(statement)
    await this.#client.reaches(answer)
    // An answer of several lines comes at once, or nearly so.
    await delay(5)
  }

  async end(): Promise<Psql> {
    this.#client.child.stdin?.end()
    await this.#client.succeeded()
    return this.#client
  }
}

async function reaches(monitor: WireMonitor, down: number): Promise<void> {
  const giveUpAt = performance.now() + PATIENCE_MS
  while (monitor.totals.down < down) {
    if (performance.now() > giveUpAt) {
      throw new StackError('ERR_DEMO_STUCK', `psql has not got on for ${PATIENCE_MS / 1000} s`)
    }
    await delay(2)
  }
}

/** The report as lines for people. */
export function tabulateSql(report: SqlReport): string {
  const { rows, select, inserts, transaction, takeovers, clientSyns, clientResets, ok } = report
  const row = (title: string, how: string, { equal, stallsMs }: PsqlReport): string =>
    `  ${title.padEnd(32)} ${(equal ? how : 'NOT AS IT SHOULD BE').padEnd(20)} psql waited ${stallsMs.join(', ')} ms`
  return [
    '',
    row(`select of ${rows} rows`, 'equal', select),
    row(`${INSERTS} inserts`, 'each done once', inserts),
    row('open transaction', 'lost, and said so', transaction),
    `  client's wire: ${clientSyns ?? '?'} SYNs (one for each psql), ${clientResets ?? '?'} RSTs; ${takeovers} take-overs`,
    ok ? '  Every psql kept its connection.' : '  NOT AS IT SHOULD BE: see above.',
  ].join('\n')
}
