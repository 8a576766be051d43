/**
 * Where the demos of single applications are played: a lab with the application on its nodes, real clients, and kills. Each act is played
 * twice, first undisturbed, then with the owner killed at its appointed moments: what the client saw is to be equal, and so is the number
 * of connections that it opened.
 */
import { type ChildProcess, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { StackError } from '../../stack/base/errors.js'
import { Lab, type LabOptions } from '../lab/lab.js'
import { systemEnvironment } from '../lab/space.js'
import { Client } from './client.js'

/** Where an unmodified server runs, for the proxy. */
export const SERVER = '10.77.0.10'
/** Kills in one act, unless another number is asked for. */
export const KILLS = 3
const NODES = 4
/** With fewer than so many alive those that were killed are started again before the next kill. */
const FEWEST = 2
const PATIENCE_MS = 30_000
/** Reports of the nodes that are told behind a failure. */
const MAX_EVENTS = 60

/** What a client saw in the end, to compare. */
export type Saw = Pick<Client, 'digest' | 'octets'>

/** How an act is played: undisturbed at first, then with kills. */
export interface Turn {
  /** What the client saw in the undisturbed play; null in that play itself. */
  readonly calm: Saw | null
  /** Lets the owner die and waits until `next`, which needs the server, is done. In the undisturbed play nobody dies. */
  kill(next: () => Promise<void>): Promise<void>
  /** Lets the owner die at equal parts of what `client` prints, and waits until it has ended well. */
  follow(client: Client): Promise<Saw>
}

/** The demo of one application. */
export interface AppDemo {
  /** As in `--app NAME`. */
  readonly name: string
  /** What is shown, in some words. */
  readonly summary: string
  /** Why it cannot be played here, and what to do, or null. */
  whyNot(): string | null
  /** What its lab is like. `scratch` is an empty folder that goes with the lab. */
  lab(scratch: string): Pick<LabOptions, 'app' | 'to' | 'root' | 'program'>
  /** Starts the unmodified server, for the proxy; resolves when it answers. */
  prepare?(stage: Stage): Promise<void>
  play(stage: Stage): Promise<readonly ActReport[]>
}

/** How the client of one act fared. */
export interface ActReport {
  readonly title: string
  /** What it saw is what it sees undisturbed, on no more connections, with no more resets. */
  readonly equal: boolean
  readonly octets: number
  /** For how long it got nothing after each kill. */
  readonly stallsMs: readonly number[]
  /** Connections that it opened; undefined where nothing counts. */
  readonly syns: number | undefined
  /** RSTs on its wire: no more than undisturbed, when its program may leave by one. */
  readonly resets: number | undefined
}

/** The last line of `npm run demo -- --app NAME --json`. */
export interface AppReport {
  readonly ok: boolean
  readonly app: string
  readonly acts: readonly ActReport[]
  readonly takeovers: number
  /** How long each took, as the node that took over tells it. */
  readonly takeoverMs: readonly number[]
  /** Connections that no node could save. */
  readonly givenUp: number
}

export interface StageOptions {
  /** An empty folder; it goes with the lab. */
  readonly scratch: string
  /** Rows of a long result. */
  readonly rows: number
  /** The client does all that it can. */
  readonly long?: boolean
  /** Kills in each play of an act but the undisturbed one. */
  readonly kills: number
  /** How often each act is played with kills, one time behind the other. */
  readonly times: number
  readonly say: (line: string) => void
  readonly signal?: AbortSignal
}

/** Plays `demo`. Throws ERR_DEMO_NO_SERVER, ERR_DEMO_CLIENT, ERR_DEMO_STUCK, and what a lab throws. */
export async function runAppDemo(demo: AppDemo, options: StageOptions): Promise<AppReport> {
  const why = demo.whyNot()
  if (why !== null) throw new StackError('ERR_DEMO_NO_SERVER', why)
  const { scratch, say, signal } = options
  say(`building a bridge, ${NODES} nodes and their clients in network namespaces`)
  const how = demo.lab(scratch)
  const lab = await Lab.create({ nodes: NODES, clients: 2, ...how, scratch: [scratch] })
  const stage = new Stage(lab, options)
  const abort = (): void => stage.abort()
  signal?.addEventListener('abort', abort)
  try {
    await demo.prepare?.(stage)
    await lab.startAll()
    signal?.throwIfAborted()
    stage.startCounting()
    const acts = await demo.play(stage)
    return stage.report(demo.name, acts)
  } catch (error) {
    stage.tellEvents()
    throw error
  } finally {
    signal?.removeEventListener('abort', abort)
    await stage.end()
    await lab.close()
  }
}

interface Counts {
  readonly syns: number
  readonly resets: number
}

export class Stage {
  readonly lab: Lab
  readonly scratch: string
  readonly rows: number
  readonly long: boolean
  readonly kills: number
  readonly say: (line: string) => void
  readonly #times: number
  readonly #clients = new Set<Client>()
  readonly #servers: ChildProcess[] = []
  #counting = false

  constructor(lab: Lab, { scratch, rows, long = false, kills, times, say }: StageOptions) {
    this.lab = lab
    this.scratch = scratch
    this.rows = rows
    this.long = long
    this.kills = kills
    this.#times = times
    this.say = say
  }

  /** The virtual address. */
  get address(): string {
    return this.lab.record.address.split('/')[0] ?? ''
  }

  startCounting(): void {
    this.#counting = this.lab.startCounting()
  }

  /** Starts a client of the virtual address; with `stdin` it can be asked. `where` 1 is the host of the unmodified server. */
  client(argv: readonly string[], stdin: 'ignore' | 'pipe' = 'ignore', where = 0): Client {
    const client = new Client(argv[0] ?? '', this.lab.spawnInClient(argv, where, stdin))
    this.#clients.add(client)
    client.child.once('close', () => this.#clients.delete(client))
    return client
  }

  /** Starts an unmodified server at {@link SERVER}, and resolves when `probe` there ends with 0. */
  async serve(argv: readonly string[], probe: readonly string[]): Promise<void> {
    const server = this.lab.spawnInClient(argv, 1)
    let said = ''
    for (const stream of [server.stdout, server.stderr]) {
      stream?.on('data', (chunk) => {
        said = `${said}${chunk}`.slice(-2000)
      })
    }
    let failure: Error | undefined
    server.once('error', (error) => {
      failure = error
    })
    this.#servers.push(server)
    const giveUpAt = performance.now() + PATIENCE_MS
    for (;;) {
      const client = this.client(probe, 'ignore', 1)
      if ((await client.ended()) === 0) return
      const ended = server.exitCode !== null && server.exitCode !== 0
      if (failure !== undefined || ended || performance.now() > giveUpAt) {
        const text = `${argv[0]} does not serve: ${failure?.message ?? said.trim()} ${client.said.trim()}`
        throw new StackError('ERR_DEMO_NO_SERVER', text)
      }
      await delay(100)
    }
  }

  /** Plays an act undisturbed, then with kills, and compares. `perform` resolves with what the client saw. */
  async act(title: string, perform: (turn: Turn) => Promise<Saw>): Promise<readonly ActReport[]> {
    await this.restore()
    this.say(`${title}: undisturbed`)
    const before = this.#wire()
    const calm = await perform({
      calm: null,
      kill: (next) => next(),
      follow: (client) => follow(client, null, 0, async () => {}),
    })
    const usual = difference(before, this.#wire())
    const reports: ActReport[] = []
    for (let n = 1; n <= this.#times; n++) {
      const name = this.#times === 1 ? title : `${title} (${n})`
      reports.push(await this.#disturbed(name, perform, calm, usual))
    }
    return reports
  }

  async #disturbed(
    title: string,
    perform: (turn: Turn) => Promise<Saw>,
    calm: Saw,
    usual: Counts | null,
  ): Promise<ActReport> {
    await this.restore()
    const { kills } = this
    this.say(`${title}: ${calm.octets} octets. Now with ${kills} kill${kills === 1 ? '' : 's'}`)
    const stallsMs: number[] = []
    const kill = async (next: () => Promise<void>): Promise<void> => {
      stallsMs.push(await this.kill(next))
    }
    const before = this.#wire()
    const got = await perform({ calm, kill, follow: (client) => follow(client, calm, kills, kill) })
    const wire = difference(before, this.#wire())
    const same = got.digest === calm.digest && got.octets === calm.octets
    const killed = stallsMs.length === kills
    const result = { title, octets: got.octets, stallsMs }
    const said = `${title}: ${got.octets} octets, ${same ? 'equal' : 'NOT EQUAL'}${killed ? '' : `, ONLY ${stallsMs.length} KILLS`}`
    if (wire === null || usual === null) {
      this.say(said)
      return { ...result, equal: same && killed, syns: undefined, resets: undefined }
    }
    const { syns, resets } = wire
    this.say(
      `${said}, ${syns} SYNs and ${resets} RSTs (undisturbed ${usual.syns} and ${usual.resets})`,
    )
    // On a busy machine a SYN may be repeated, and counts twice.
    const equal = same && killed && syns <= usual.syns && resets <= usual.resets
    if (!equal) this.tellEvents()
    return { ...result, equal, syns, resets }
  }

  /** True when a kill is due behind step `step` of `steps`, of which the last is none to kill in. */
  isDue(step: number, steps: number): boolean {
    const part = (at: number): number => Math.floor((at * (this.kills + 1)) / steps)
    return step < steps && part(step) > part(step - 1)
  }

  #wire(): Counts | null {
    const counts = this.#counting ? this.lab.wireCounts() : undefined
    if (counts === undefined) return null
    return { syns: counts.syns, resets: counts.resetsIn + counts.resetsOut }
  }

  /** Kills the owner, and resolves with how long `next` took from then on, in milliseconds. */
  async kill(next: () => Promise<void>): Promise<number> {
    const alive = this.lab.status().filter(({ state }) => state !== 'ended').length
    if (alive < FEWEST) await this.restore()
    const from = await this.lab.awaitOwner()
    const at = performance.now()
    await this.lab.kill(from)
    await next()
    const ms = Math.round(performance.now() - at)
    const to = await this.lab.awaitOwner()
    this.say(`node ${from} killed (SIGKILL): node ${to} took over, the client waited ${ms} ms`)
    return ms
  }

  /** Lets time pass, where a client does not tell how far it is. */
  pause(ms: number): Promise<void> {
    return delay(ms)
  }

  /** Resolves when a node owns the address: for a client that does not tell how far it is. */
  async isOwned(): Promise<void> {
    await this.lab.awaitOwner()
  }

  /** Starts the killed nodes again, and resolves when they take part. Throws ERR_LAB_TIMEOUT. */
  async restore(): Promise<void> {
    const ended = this.lab.status().filter(({ state }) => state === 'ended')
    if (ended.length === 0) return
    this.say('starting the killed nodes again')
    const from = this.lab.events.length
    await Promise.all(ended.map(({ id }) => this.lab.start(id)))
    await this.lab.awaitOwner()
    // A node listens, and asks for the connections that there are, before it can go on with them.
    const missing = (): boolean => {
      const since = this.lab.events.slice(from)
      const joined = since.filter(({ event }) => event === 'joined' || event === 'owner')
      return !ended.every(({ id }) => joined.some(({ node }) => node === id))
    }
    const text = 'a node that was started again does not take part'
    await this.lab.until(() => !missing(), PATIENCE_MS, text)
  }

  report(app: string, acts: readonly ActReport[]): AppReport {
    const takeovers = this.lab.events.filter(({ event }) => event === 'takeover')
    const givenUp = takeovers
      .flatMap(({ givenUp }) => Object.values(givenUp as Record<string, number>))
      .reduce((sum, each) => sum + each, 0)
    const ok = acts.every(({ equal }) => equal) && givenUp === 0
    const takeoverMs = takeovers.map(({ ms }) => Math.round(Number(ms) * 10) / 10)
    return { ok, app, acts, takeovers: takeovers.length, takeoverMs, givenUp }
  }

  /** When something went wrong: what the nodes said last. */
  tellEvents(): void {
    for (const event of this.lab.events.slice(-MAX_EVENTS)) this.say(JSON.stringify(event))
  }

  abort(): void {
    for (const client of this.#clients) client.child.kill()
  }

  async end(): Promise<void> {
    this.abort()
    for (const server of this.#servers) {
      if (server.exitCode !== null || server.signalCode !== null || server.pid === undefined)
        continue
      const gone = once(server, 'exit')
      server.kill('SIGTERM')
      await Promise.race([gone, delay(3000, undefined, { ref: false })])
    }
  }
}

async function follow(
  client: Client,
  calm: Saw | null,
  kills: number,
  kill: Turn['kill'],
): Promise<Client> {
  for (let i = 1; calm !== null && i <= kills; i++) {
    await client.reaches(Math.floor((calm.octets * i) / (kills + 1)))
    await kill(() => client.reaches(Math.min(client.octets + 1, calm.octets)))
  }
  await client.succeeded()
  return client
}

function difference(before: Counts | null, after: Counts | null): Counts | null {
  if (before === null || after === null) return null
  return { syns: after.syns - before.syns, resets: after.resets - before.resets }
}

/** True when `program` can be started. */
export function isInstalled(program: string, args: readonly string[] = ['--version']): boolean {
  return spawnSync(program, args, { stdio: 'ignore', env: systemEnvironment() }).error === undefined
}

/** The report as lines for people. */
export function tabulateApp(report: AppReport): string {
  const width = Math.max(...report.acts.map(({ title }) => title.length))
  const rows = report.acts.map(({ title, equal, stallsMs, syns, resets }) => {
    const same = equal ? 'equal' : 'NOT EQUAL'
    const wire = `${syns ?? '?'} SYNs, ${resets ?? '?'} RSTs`
    return `  ${title.padEnd(width)}  ${same}, ${wire}; the client waited ${stallsMs.join(', ')} ms`
  })
  const { takeovers, takeoverMs, ok } = report
  return [
    '',
    ...rows,
    `  ${takeovers} take-overs, the longest ${Math.max(0, ...takeoverMs)} ms`,
    ok ? '  The clients noticed nothing.' : '  NOT AS IT SHOULD BE: see above.',
  ].join('\n')
}
