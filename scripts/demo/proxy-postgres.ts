/**
 * The demo of the proxy (A7): an unmodified PostgreSQL, an unmodified psql, and between them proxies that are killed: in the middle of a
 * long result, and in an open transaction. What psql printed is compared with what it prints when it asks the server without a proxy.
 */
import { type ChildProcess, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { StackError } from '../../stack/base/errors.js'
import { Lab } from '../lab/lab.js'

const SERVER = '10.77.0.10'
const PORT = 5432
const INSTALLED = '/usr/lib/postgresql'
const USER = 'postgres'
/** At which parts of the result, and of the transaction, the owner is killed. */
const KILLS = [1 / 4, 1 / 2, 3 / 4]
const STATEMENTS = 100
const PATIENCE_MS = 30_000

export interface PostgresOptions {
  readonly rows: number
  /** An empty folder; it goes with the lab. */
  readonly scratch: string
  readonly say: (line: string) => void
  readonly signal?: AbortSignal
}

/** How one psql fared. */
export interface PsqlReport {
  readonly equal: boolean
  readonly octets: number
  /** For how long nothing new came after each kill, or the next statement's answer. */
  readonly stallsMs: readonly number[]
}

export interface PostgresReport {
  readonly ok: boolean
  readonly app: 'proxy-postgres'
  readonly rows: number
  readonly select: PsqlReport
  readonly transaction: PsqlReport
  readonly takeovers: number
  readonly givenUp: number
  /** Of the client's wire to the proxy; undefined where nothing counts. */
  readonly clientSyns: number | undefined
  readonly clientResets: number | undefined
}

/** Why this demo cannot be played here, or null. */
export function whyNoPostgres(): string | null {
  if (process.getuid?.() !== 0) return 'PostgreSQL is to run as a user of its own: start as root'
  if (findServer() !== null) return null
  return 'there is no PostgreSQL: install the Debian packages postgresql and postgresql-client'
}

function findServer(): string | null {
  if (!fs.existsSync(INSTALLED) || spawnSync('psql', ['--version']).status !== 0) return null
  const versions = fs.readdirSync(INSTALLED).sort((a, b) => Number(b) - Number(a))
  const folders = versions.map((version) => join(INSTALLED, version, 'bin'))
  return folders.find((folder) => fs.existsSync(join(folder, 'postgres'))) ?? null
}

/** Plays the demo. Throws ERR_DEMO_NO_SERVER, ERR_DEMO_CLIENT, ERR_DEMO_STUCK, and what a lab throws. */
export async function runPostgresDemo(options: PostgresOptions): Promise<PostgresReport> {
  const why = whyNoPostgres()
  if (why !== null) throw new StackError('ERR_DEMO_NO_SERVER', why)
  const { scratch, say, signal } = options
  say('building a bridge, four proxies, a client and a server in network namespaces')
  const programs = findServer() ?? ''
  const data = initDatabase(programs, scratch)
  const lab = await Lab.create({
    nodes: KILLS.length + 1,
    clients: 2,
    app: 'proxy',
    to: `${SERVER}:${PORT}`,
    scratch: [scratch],
  })
  let server: ChildProcess | null = null
  const play = new Play(lab, options)
  const abort = (): void => play.abort()
  signal?.addEventListener('abort', abort)
  try {
    server = startServer(lab, programs, data)
    await lab.startAll()
    await play.serverIsUp()
    signal?.throwIfAborted()
    return await play.run()
  } finally {
    signal?.removeEventListener('abort', abort)
    await stopServer(server)
    await lab.close()
  }
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

function startServer(lab: Lab, programs: string, data: string): ChildProcess {
  const program = join(programs, 'postgres')
  const where = ['-h', SERVER, '-p', String(PORT), '-k', data]
  const server = lab.spawnInClient(['runuser', '-u', USER, '--', program, '-D', data, ...where], 1)
  server.stdout?.resume()
  server.stderr?.resume()
  return server
}

async function stopServer(server: ChildProcess | null): Promise<void> {
  if (server === null || server.exitCode !== null) return
  const gone = once(server, 'exit')
  server.kill('SIGINT')
  await Promise.race([gone, delay(5000)])
}

class Play {
  readonly #lab: Lab
  readonly #options: PostgresOptions
  readonly #clients = new Set<Psql>()

  constructor(lab: Lab, options: PostgresOptions) {
    this.#lab = lab
    this.#options = options
  }

  abort(): void {
    for (const client of this.#clients) client.child.kill()
  }

  #psql(host: string, ...args: string[]): Psql {
    const common = ['-X', '-q', '-At', '-v', 'ON_ERROR_STOP=1', '-U', USER, '-h', host]
    const stdin = args.length === 0 ? 'pipe' : 'ignore'
    const client = new Psql(this.#lab.spawnInClient(['psql', ...common, ...args], 0, stdin))
    this.#clients.add(client)
    client.child.once('close', () => this.#clients.delete(client))
    return client
  }

  async serverIsUp(): Promise<void> {
    const giveUpAt = performance.now() + PATIENCE_MS
    for (;;) {
      const client = this.#psql(SERVER, '-c', 'select 1')
      if ((await client.ended()) === 0) return
      if (performance.now() > giveUpAt) throw new StackError('ERR_DEMO_STUCK', client.said)
      await delay(100)
    }
  }

  async run(): Promise<PostgresReport> {
    const { rows, say } = this.#options
    const counting = this.#lab.startCounting()
    const select = await this.#select()
    say('starting the killed proxies again')
    await this.#restore()
    const transaction = await this.#transaction()
    const takeovers = this.#lab.events.filter(({ event }) => event === 'takeover')
    const givenUp = takeovers.filter((each) => Object.keys(each.givenUp as object).length > 0)
    const wire = counting ? this.#lab.wireCounts() : undefined
    const clientResets = wire === undefined ? undefined : wire.resetsIn + wire.resetsOut
    const survived = select.equal && transaction.equal && givenUp.length === 0
    return {
      ok: survived && (wire === undefined || (wire.syns === 2 && clientResets === 0)),
      app: 'proxy-postgres',
      rows,
      select,
      transaction,
      takeovers: takeovers.length,
      givenUp: givenUp.length,
      clientSyns: wire?.syns,
      clientResets,
    }
  }

  get #virtual(): string {
    return this.#lab.record.address.split('/')[0] ?? ''
  }

  async #select(): Promise<PsqlReport> {
    const { rows, say } = this.#options
    const query = `select i, md5(i::text) from generate_series(1, ${rows}) i`
    // So psql prints while it receives.
    const args = ['--set=FETCH_COUNT=1000', '-c', query]
    const wanted = this.#psql(SERVER, ...args)
    await wanted.succeeded()
    say(`psql without a proxy: ${wanted.octets} octets for ${rows} rows`)
    const client = this.#psql(this.#virtual, ...args)
    const stallsMs: number[] = []
    for (const part of KILLS) {
      await client.reaches(part * wanted.octets)
      stallsMs.push(await this.#kill(() => client.reaches(client.octets + 1)))
    }
    await client.succeeded()
    const equal = client.digest === wanted.digest
    say(`select: ${client.octets} octets, ${equal ? 'equal' : 'NOT EQUAL'}`)
    return { equal, octets: client.octets, stallsMs }
  }

  async #transaction(): Promise<PsqlReport> {
    const { say } = this.#options
    const client = this.#psql(this.#virtual)
    const ask = async (statement: string): Promise<void> => {
      const answer = client.octets + 1
      client.child.stdin?.write(`${statement}\n`)
      await client.reaches(answer)
    }
    await ask("create table n(i int primary key); begin; select 'open';")
    const stallsMs: number[] = []
    for (let i = 1; i <= STATEMENTS; i++) {
      const statement = `insert into n values (${i}) returning i;`
      if (KILLS.includes(i / STATEMENTS)) stallsMs.push(await this.#kill(() => ask(statement)))
      else await ask(statement)
    }
    await ask("commit; select 'committed';")
    client.child.stdin?.end()
    await client.succeeded()
    const check = this.#psql(SERVER, '-c', 'select count(*), sum(i) from n')
    await check.succeeded()
    const equal = check.text === `${STATEMENTS}|${(STATEMENTS * (STATEMENTS + 1)) / 2}\n`
    say(`transaction of ${STATEMENTS} statements: ${equal ? 'each done once' : check.text}`)
    return { equal, octets: client.octets, stallsMs }
  }

  // Kills the owner, and measures how long `next` takes from then on.
  async #kill(next: () => Promise<void>): Promise<number> {
    const from = await this.#lab.awaitOwner()
    const at = performance.now()
    await this.#lab.kill(from)
    await next()
    const ms = Math.round(performance.now() - at)
    const to = await this.#lab.awaitOwner()
    this.#options.say(`proxy ${from} killed (SIGKILL): proxy ${to} took over, psql waited ${ms} ms`)
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

/** One psql, and what it printed. */
export class Psql {
  readonly child: ChildProcess
  octets = 0
  /** The first of it. */
  text = ''
  said = ''
  readonly #hash = createHash('sha256')
  readonly #closed: Promise<number>
  #code: number | undefined
  #digest: string | undefined

  constructor(child: ChildProcess) {
    this.child = child
    child.stdout?.on('data', (chunk: Buffer) => {
      this.octets += chunk.length
      if (this.text.length < 1000) this.text += chunk
      this.#hash.update(chunk)
    })
    child.stderr?.on('data', (chunk) => {
      this.said += chunk
    })
    child.stdin?.on('error', () => {})
    this.#closed = new Promise((resolve, reject) => {
      child.once('error', (error) => reject(new StackError('ERR_DEMO_CLIENT', error.message)))
      child.once('close', (code) => {
        this.#code = code ?? -1
        resolve(this.#code)
      })
    })
    this.#closed.catch(() => {})
  }

  get digest(): string {
    this.#digest ??= this.#hash.digest('hex')
    return this.#digest
  }

  ended(): Promise<number> {
    return this.#closed
  }

  /** Resolves when it has ended well. Throws ERR_DEMO_CLIENT. */
  async succeeded(): Promise<void> {
    if ((await this.#closed) !== 0) throw this.#failure()
  }

  #failure(): StackError {
    return new StackError('ERR_DEMO_CLIENT', `psql ended with ${this.#code}: ${this.said.trim()}`)
  }

  /** Resolves when it has printed so much. Throws ERR_DEMO_CLIENT, ERR_DEMO_STUCK. */
  async reaches(octets: number): Promise<void> {
    let last = this.octets
    let movedAt = performance.now()
    while (this.octets < octets) {
      if (this.#code !== undefined) throw this.#failure()
      if (this.octets !== last) {
        last = this.octets
        movedAt = performance.now()
      } else if (performance.now() - movedAt > PATIENCE_MS) {
        throw new StackError(
          'ERR_DEMO_STUCK',
          `psql has printed nothing for ${PATIENCE_MS / 1000} s`,
        )
      }
      await delay(1)
    }
  }
}

/** The report as lines for people. */
export function tabulatePostgres(report: PostgresReport): string {
  const { select, transaction, takeovers, clientSyns, clientResets, ok } = report
  const row = (title: string, { equal, stallsMs }: PsqlReport): string =>
    `  ${title.padEnd(32)} ${equal ? 'equal' : 'NOT EQUAL'}   psql waited ${stallsMs.join(', ')} ms`
  return [
    '',
    row(`select of ${report.rows} rows`, select),
    row(`transaction of ${STATEMENTS} statements`, transaction),
    `  client's wire: ${clientSyns ?? '?'} SYNs (one for each psql), ${clientResets ?? '?'} RSTs; ${takeovers} take-overs`,
    ok ? '  psql and PostgreSQL noticed nothing.' : '  NOT AS IT SHOULD BE: see above.',
  ].join('\n')
}
