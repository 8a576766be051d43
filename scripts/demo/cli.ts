/**
 * The command line of the demo: reads its options, opens a world for it, and sees to it that nothing is left behind
 * however it ends.
 */
import * as fs from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { StackError } from '../../stack/base/errors.js'
import { NO_LINK_CODES } from '../lab/space.js'
import { reapDeadLabs } from '../lab/teardown.js'
import { UsageError } from '../lab/usage-error.js'
import { APP_DEMOS } from './apps/index.js'
import { type DemoOptions, runDemo, tabulate } from './demo.js'
import { openMemoryWorld } from './memory-world.js'
import { Screen } from './screen.js'
import { type AppDemo, KILLS, runAppDemo, tabulateApp } from './stage.js'
import { openTapWorld, type TapWorldOptions } from './tap-world.js'
import type { World, WorldOptions } from './world.js'

export const HELP = `Usage: npm run demo [-- OPTIONS], or understudy demo [OPTIONS]

A curl downloads a file from one of three nodes while two owners of the address in turn are killed, then uploads one
the same way. Its connection survives each time.

  --app NAME         files: as above (default); or one of these, each act of which is played undisturbed and then again
                     while owners are killed, to compare what the client sees:
${[...APP_DEMOS.values()].map(({ name, summary }) => `                       ${name.padEnd(15)} ${summary}`).join('\n')}
  --long             kv: redis-benchmark with all its tests, which takes minutes
  --rows N           rows of a long result of SQL (default 2000000)
  --kills N          owners that are killed in each act of an application (default 3); nodes that were killed are started again
  --times N          how often each act is played with kills, one time behind the other (default 1)
  --cause kill|stop  what befalls the owner: SIGKILL or SIGSTOP (default kill)
  --size N[K|M|G]    octets of the file (default 256M)
  --rate N[K|M|G]    octets a second that curl allows itself (default 40M)
  --no-offload       the nodes compute checksums and cut segments themselves
  --ipv6             the virtual address is one of IPv6
  --memory           no TAP devices: nodes and client on a hub in memory
  --json             end with one line of JSON on stdout; everything else goes to stderr
  --pcap FILE        write the first octets of each frame to FILE
  --logs DIR         keep what the nodes said in DIR
  --open             keep everything up behind the last line, for the live page, until Ctrl-C
  --verbose          show what the nodes say

How long a client was kept waiting is measured on its wire: from the failure, or the last new octet if that came later,
to the first new octet from another node. While the client itself leaves no room for more (a download at a limited rate)
or has sent nothing that is not acknowledged (an upload), it is not the server it waits for, and that does not count.

Exit codes: 0 both transfers are exact on their first connections, 1 they are not, 2 wrong usage.`

const OPTIONS = {
  app: { type: 'string', default: 'files' },
  long: { type: 'boolean', default: false },
  rows: { type: 'string', default: '2000000' },
  kills: { type: 'string', default: String(KILLS) },
  times: { type: 'string', default: '1' },
  cause: { type: 'string', default: 'kill' },
  size: { type: 'string', default: '256M' },
  rate: { type: 'string', default: '40M' },
  'no-offload': { type: 'boolean', default: false },
  ipv6: { type: 'boolean', default: false },
  memory: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
  pcap: { type: 'string' },
  logs: { type: 'string' },
  program: { type: 'string' },
  open: { type: 'boolean', default: false },
  verbose: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const

type Values = ReturnType<typeof parse>

/** Runs the demo and resolves with the exit code. Throws UsageError or StackError. */
export async function demoCommand(args: readonly string[]): Promise<number> {
  const values = parse(args)
  if (values.help) {
    process.stdout.write(`${HELP}\n`)
    return 0
  }
  const demo = APP_DEMOS.get(values.app)
  if (demo !== undefined) return playApp(demo, values)
  if (values.app !== 'files') {
    throw new UsageError(`--app is files, ${[...APP_DEMOS.keys()].join(', ')}, not ${values.app}.`)
  }
  const cause = values.cause
  if (cause !== 'kill' && cause !== 'stop') {
    throw new UsageError(`--cause is kill or stop, not ${cause}.`)
  }
  const size = octets('--size', values.size)
  const rate = octets('--rate', values.rate)
  await reapDeadLabs()
  const scratch = fs.mkdtempSync(join(tmpdir(), 'understudy-demo-'))
  try {
    const root = join(scratch, 'served')
    const clientFolder = join(scratch, 'client')
    fs.mkdirSync(root)
    fs.mkdirSync(clientFolder)
    return await play(values, { size, rate, cause, root, clientFolder }, scratch)
  } finally {
    fs.rmSync(scratch, { recursive: true, force: true })
  }
}

async function playApp(demo: AppDemo, values: Values): Promise<number> {
  const rows = number('--rows', values.rows, 1000, 100_000_000)
  const kills = number('--kills', values.kills, 1, 1000)
  const times = number('--times', values.times, 1, 1000)
  await reapDeadLabs()
  const scratch = fs.mkdtempSync(join(tmpdir(), 'understudy-demo-'))
  const screen = new Screen(values.json ? process.stderr : process.stdout)
  const interrupt = new AbortController()
  const release = onInterrupt((signal) => interrupt.abort(signal))
  try {
    const say = (line: string): void => screen.say(line)
    const { signal } = interrupt
    const { long } = values
    const report = await runAppDemo(demo, { rows, long, kills, times, scratch, say, signal })
    screen.say(tabulateApp(report))
    if (values.json) process.stdout.write(`${JSON.stringify(report)}\n`)
    return report.ok ? 0 : 1
  } catch (error) {
    if (interrupt.signal.aborted) {
      return exitCodeOf(interrupt.signal)
    }
    if (values.json) tellFailure(error)
    throw error
  } finally {
    release()
    fs.rmSync(scratch, { recursive: true, force: true })
  }
}

async function play(values: Values, options: DemoOptions, scratch: string): Promise<number> {
  const screen = new Screen(values.json ? process.stderr : process.stdout)
  const interrupt = new AbortController()
  const release = onInterrupt((signal) => interrupt.abort(signal))
  let world: World | undefined
  try {
    world = await openWorld(values, options, scratch, screen, interrupt.signal)
    if (world.page !== null) screen.say(`live page: ${world.page}`)
    const report = await untilAborted(runDemo(options, world, screen), interrupt.signal)
    screen.say(tabulate(report))
    if (values.json) process.stdout.write(`${JSON.stringify(report)}\n`)
    if (values.open && !interrupt.signal.aborted) {
      screen.say(`still up${world.page === null ? '' : `: ${world.page}`} (Ctrl-C ends it)`)
      await new Promise((resolve) => interrupt.signal.addEventListener('abort', resolve))
    }
    return report.ok ? 0 : 1
  } catch (error) {
    screen.hide()
    if (interrupt.signal.aborted) {
      screen.say(`interrupted (${interrupt.signal.reason}): clearing up`)
      return exitCodeOf(interrupt.signal)
    }
    if (values.json) tellFailure(error)
    throw error
  } finally {
    screen.hide()
    await world?.close()
    release()
  }
}

// As a shell has it for what a signal ended.
function exitCodeOf(interrupted: AbortSignal): number {
  return 128 + constants.signals[interrupted.reason as NodeJS.Signals]
}

function tellFailure(error: unknown): void {
  if (!(error instanceof StackError)) return
  const { code, message } = error
  process.stdout.write(`${JSON.stringify({ ok: false, error: { code, message } })}\n`)
}

/** The lab on TAP devices; the hub in memory when it is asked for, or when there can be no TAP device here. */
async function openWorld(
  values: Values,
  { root, cause }: DemoOptions,
  scratch: string,
  screen: Screen,
  signal: AbortSignal,
): Promise<World> {
  const common: WorldOptions = {
    nodes: 3,
    app: 'http',
    root,
    scratch: [scratch],
    verbose: values.verbose,
    ipv6: values.ipv6,
  }
  if (!values.memory) {
    try {
      screen.say('building a bridge, three nodes and a client in network namespaces')
      const world = await openTapWorld(tapOptions(common, values), signal)
      screen.say(`node ${world.owner} owns the address`)
      return world
    } catch (error) {
      if (!(error instanceof StackError) || !NO_LINK_CODES.has(error.code)) throw error
      screen.say(`no real link here: ${error.message}`)
      screen.say('falling back to a hub in memory')
    }
  }
  if (cause === 'stop') {
    throw new StackError(
      'ERR_DEMO_NO_STOP',
      'in memory all nodes are one process, and none can be stopped: use --cause kill, or a machine with TAP devices',
    )
  }
  screen.say('starting three nodes and a client on a hub in memory, all in this process')
  const world = await openMemoryWorld(common)
  screen.say(`node ${world.owner} owns the address`)
  return world
}

function tapOptions(common: WorldOptions, values: Values): TapWorldOptions {
  return {
    ...common,
    offload: !values['no-offload'],
    ...(values.pcap === undefined ? {} : { pcap: resolve(values.pcap) }),
    ...(values.logs === undefined ? {} : { logs: resolve(values.logs) }),
    ...(values.program === undefined ? {} : { program: values.program.split(' ') }),
  }
}

/** Calls `stop` at the first Ctrl-C, SIGTERM or SIGHUP. Returns what takes the handlers away again. */
function onInterrupt(stop: (signal: NodeJS.Signals) => void): () => void {
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  for (const signal of signals) process.on(signal, stop)
  return () => {
    for (const signal of signals) process.off(signal, stop)
  }
}

function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  work.catch(() => {})
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(new Error('interrupted')), { once: true })
    if (signal.aborted) reject(new Error('interrupted'))
    work.then(resolve, reject)
  })
}

function number(name: string, text: string, from: number, to: number): number {
  const value = Number(text)
  if (Number.isInteger(value) && value >= from && value <= to) return value
  throw new UsageError(`${name} is a number from ${from} to ${to}, not ${text}.`)
}

function octets(name: string, text: string): number {
  const match = /^(\d+)([KMG]?)$/i.exec(text)
  const units: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 }
  const value = Number(match?.[1] ?? 0) * (units[(match?.[2] ?? '').toUpperCase()] ?? 1)
  if (value > 0) return value
  throw new UsageError(`${name} is a number of octets such as 256M, not ${text}.`)
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, strict: true }).values
  } catch (error) {
    throw new UsageError(`${(error as Error).message} (see understudy demo --help)`)
  }
}
