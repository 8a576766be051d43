/**
 * FailoverLab: three nodes that a measure lets fail one after the other, a client beside them, and the monitor of its wire. Whoever has
 * failed is started again, and has been told of all connections, before the next one does: each failure finds two that could take over.
 */
import type { ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { StackError } from '../../stack/base/errors.js'
import { type HeardEvent, type Lab, type LabOptions, monotonicMs } from '../lab/lab.js'
import { switchOver } from '../lab/switchover.js'
import { WireMonitor } from '../lab/wire-monitor.js'
import type { World } from './world.js'

/** How an owner ceases to be one: killed, stopped, or told to hand over. */
export type Cause = 'kill' | 'stop' | 'switch'

/** A failure: of which node, and at which instant of the monotonic clock. `mark`: how many events had been heard by then. */
export interface Failure {
  readonly node: number
  readonly cause: Cause
  readonly at: number
  readonly mark: number
}

/** When the next owner decided to claim, and what it found out by then. Instants in milliseconds of the wall clock. */
export interface Decision {
  readonly at: number
  /** When all of them were its own. */
  readonly doneAt: number
  readonly promoted: number
  readonly givenUp: number
}

/** A lab that is to fail; `link`: its first client is behind one of 100 Mbit/s, which is the default. */
export type Failing = Pick<LabOptions, 'app' | 'clients'> & { readonly link?: boolean }

/** What a node says when it has been told of all connections and has played its application's part once. */
const PREPARED = 'rehearsed'
const SUCCESSOR_MS = 15_000
const JOIN_MS = 20_000
/** How long a command in the client may take. */
const COMMAND_MS = 60_000
/** With so many failed rounds there is no use in going on. */
const MAX_FAILURES = 5

/**
 * The first client is behind a link of 100 Mbit/s, with a queue of 50 ms, and with buffers that do not overflow it: a transfer has
 * octets under way all the time. One that limits itself, as `curl --limit-rate`, rests for tens of milliseconds, and so do its
 * acknowledgements; nobody could tell that from a server's silence. A burst is short, so that super-frames are cut: whole ones take
 * 5 ms each, and so would the least silence.
 */
const LINK = 'root tbf rate 100mbit burst 16k latency 50ms'
const MAX_UNDER_WAY = 300_000

function putBehindLink({ record, space }: Lab): void {
  const [client] = record.clients
  if (client === undefined) return
  const limit = (name: string, initial: number): string =>
    `echo 4096 ${initial} ${MAX_UNDER_WAY} >/proc/sys/net/ipv4/tcp_${name}`
  const script = [`tc qdisc add dev eth0 ${LINK}`, limit('rmem', 131_072), limit('wmem', 16_384)]
  space.runScriptIn(client.namespace, script.join('\n'))
  space.runScriptIn(record.switchNamespace, `tc qdisc add dev ${client.port} ${LINK}`)
}

export class FailoverLab {
  readonly lab: Lab
  readonly monitor: WireMonitor
  readonly #program: string
  readonly #children = new Set<ChildProcess>()

  private constructor(lab: Lab, monitor: WireMonitor, program: string) {
    this.lab = lab
    this.monitor = monitor
    this.#program = program
  }

  /** `link`: the first client is behind one of 100 Mbit/s. */
  static async open(world: World, { link = true, ...options }: Failing): Promise<FailoverLab> {
    const lab = await world.lab({ nodes: 3, ...options })
    try {
      if (link) putBehindLink(lab)
      const monitor = await WireMonitor.start(lab)
      const owner = await lab.startAll()
      const others = lab.record.nodes.filter(({ id }) => id !== owner)
      await lab.until(
        () => others.every(({ id }) => hasSaid(lab, PREPARED, id, 0)),
        JOIN_MS,
        'not all nodes have been told of the connections and have rehearsed',
      )
      return new FailoverLab(lab, monitor, world.program)
    } catch (error) {
      await lab.close()
      throw error
    }
  }

  /** The virtual address. */
  get address(): string {
    return this.lab.record.address.split('/')[0] ?? ''
  }

  /** Makes the owner fail. Of one that hands over, resolves when it has. */
  async fail(cause: Cause): Promise<Failure> {
    const { lab } = this
    const node = await lab.awaitOwner()
    const failure = { node, cause, at: monotonicMs(), mark: lab.events.length }
    if (cause === 'kill') await lab.kill(node)
    else if (cause === 'stop') lab.stop(node)
    else await switchOver(lab, node)
    return failure
  }

  /** When the successor of the failed owner decided, once it has. */
  async decision({ node, mark }: Failure): Promise<Decision> {
    const find = (name: string) =>
      this.lab.events.slice(mark).find((each) => each.event === name && each.node !== node)
    const none = `no node has taken over from node ${node}`
    await this.lab.until(() => find('takeover') !== undefined, SUCCESSOR_MS, none)
    const takeover = find('takeover') as HeardEvent
    const suspect = this.lab.events
      .slice(mark)
      .find((each) => each.event === 'suspect' && each.node === takeover.node)
    const givenUp = Object.values(takeover.givenUp as Record<string, number>)
    return {
      at: Number((suspect ?? takeover).at) + Number(takeover.ms),
      doneAt: Number(takeover.at),
      promoted: Number(takeover.promoted),
      givenUp: givenUp.reduce((sum, count) => sum + count, 0),
    }
  }

  /** Brings the failed node back and resolves when it could take over. `wake`: one that was stopped goes on in place of dying. */
  async restore({ node, cause }: Failure, wake: boolean): Promise<void> {
    if (cause === 'switch') return
    const { lab } = this
    const mark = lab.events.length
    // A fence kills who was stopped with the store's lock in its hands.
    const ended = (): boolean => lab.status().find(({ id }) => id === node)?.state === 'ended'
    // Who wakes has its shadows still.
    const back = (): boolean => hasSaid(lab, 'standby', node, mark)
    if (cause === 'stop' && wake && !ended()) {
      lab.continue(node)
      await lab.until(() => back() || ended(), JOIN_MS, `node ${node} woke, and is no standby`)
      if (!ended()) return
    }
    if (!ended()) await lab.kill(node)
    await lab.start(node)
    const prepared = (): boolean => hasSaid(lab, PREPARED, node, mark)
    await lab.until(prepared, JOIN_MS, `node ${node} has not been told of the connections again`)
    await lab.awaitOwner()
  }

  /** Starts a mode of the load program in client `client`. */
  load(words: readonly (string | number)[], client = 0): Dialog {
    return new Dialog(this.#spawn([this.#program, ...words.map(String)], client))
  }

  /** Runs a command in the first client and resolves with its output. Throws ERR_BENCH_CLIENT. */
  async run(argv: readonly string[]): Promise<string> {
    const dialog = new Dialog(this.#spawn(argv, 0))
    await dialog.end()
    return dialog.text
  }

  async close(): Promise<void> {
    for (const child of this.#children) child.kill('SIGKILL')
    this.monitor.close()
    await this.lab.close()
  }

  #spawn(argv: readonly string[], client: number): ChildProcess {
    const child = this.lab.spawnInClient(argv, client, 'pipe')
    this.#children.add(child)
    child.once('close', () => this.#children.delete(child))
    return child
  }
}

function hasSaid(lab: Lab, event: string, node: number, mark: number): boolean {
  return lab.events.slice(mark).some((each) => each.event === event && each.node === node)
}

/**
 * Has `count` rounds played, each in the lab of the one before, and a fresh one behind a round that failed: it is not to suffer from what
 * is left of that.
 */
export async function play<T>(
  world: World,
  options: Failing,
  count: number,
  round: (at: FailoverLab, n: number) => Promise<T>,
): Promise<{ done: T[]; failures: string[] }> {
  const done: T[] = []
  const failures: string[] = []
  let at: FailoverLab | undefined
  for (let n = 0; n < count && failures.length < MAX_FAILURES; n++) {
    try {
      at ??= await FailoverLab.open(world, options)
      done.push(await round(at, n))
    } catch (error) {
      if (!(error instanceof StackError)) throw error
      failures.push(`round ${n + 1}: ${error.message}`)
      await at?.close()
      at = undefined
    }
  }
  await at?.close()
  return { done, failures }
}

/** A command in a client that is talked to by lines. */
export class Dialog {
  readonly #child: ChildProcess
  readonly #heard: string[] = []
  readonly #closed: Promise<void>
  #wake: () => void = () => {}
  #said = ''
  #over = false

  constructor(child: ChildProcess) {
    this.#child = child
    child.stdin?.on('error', () => {})
    child.stderr?.on('data', (chunk) => {
      this.#said = `${this.#said}${chunk}`.slice(-2000)
    })
    const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
    lines.on('line', (line) => {
      this.#heard.push(line)
      this.#wake()
    })
    this.#closed = new Promise((resolve) => {
      const end = (): void => {
        this.#over = true
        this.#wake()
        resolve()
      }
      child.once('error', end)
      child.once('close', end)
    })
  }

  /** All lines that nobody has asked for. */
  get text(): string {
    return this.#heard.join('\n')
  }

  get over(): boolean {
    return this.#over
  }

  say(line = ''): void {
    this.#child.stdin?.write(`${line}\n`)
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** The next line; undefined when there is none within `patienceMs`. Throws ERR_BENCH_CLIENT when there will be none. */
  async line(patienceMs = COMMAND_MS): Promise<string | undefined> {
    if (this.#heard.length === 0 && !this.#over) {
      await new Promise<void>((resolve) => {
        const late = setTimeout(resolve, patienceMs)
        this.#wake = () => {
          clearTimeout(late)
          resolve()
        }
      })
    }
    const line = this.#heard.shift()
    if (line === undefined && this.#over) throw clientError(`ended without a word: ${this.#said}`)
    return line
  }

  /** Ends its input and resolves when the command is over. Throws ERR_BENCH_CLIENT when that was no success, or took too long. */
  async end(): Promise<void> {
    this.#child.stdin?.end()
    const late = setTimeout(() => this.#child.kill('SIGKILL'), COMMAND_MS)
    await this.#closed
    clearTimeout(late)
    const { exitCode, signalCode } = this.#child
    if (exitCode !== 0) throw clientError(`ended with ${signalCode ?? exitCode}: ${this.#said}`)
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }
}

function clientError(what: string): StackError {
  return new StackError('ERR_BENCH_CLIENT', `the client ${what.trim()}`)
}
