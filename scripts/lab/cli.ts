/**
 * The command line of the lab: `understudy lab up|exec|kill|stop|cont|start|switchover|status|down`. It only translates: labs are
 * built by lab.ts and kept by keeper.ts.
 */
import { fork, spawn } from 'node:child_process'
import * as fs from 'node:fs'
import { constants } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type ParseArgsConfig, parseArgs } from 'node:util'
import { StackError } from '../../stack/base/errors.js'
import { LAB_HELP, VERB_HELP } from './cli-help.js'
import type { Fence, LabOptions } from './lab.js'
import { APP_NAMES, isAppName } from './lab-app.js'
import {
  findLab,
  freshLabId,
  keptLabs,
  type LabRecord,
  listLabs,
  runtimeFolder,
} from './lab-file.js'
import { type Command, command, type LabStatus, type NodeCommand } from './lab-status.js'
import { labEnvironment, Space } from './space.js'
import { reapDeadLabs, tearDown } from './teardown.js'
import { UsageError } from './usage-error.js'

type Values = Record<string, string | boolean | undefined>
type OptionTable = NonNullable<ParseArgsConfig['options']>

const KEEPER_PROGRAM = fileURLToPath(new URL('./keeper.js', import.meta.url))
const NODE_VERBS: readonly string[] = ['kill', 'stop', 'cont', 'start', 'switchover']
const FENCES: readonly string[] = ['port', 'kill', 'none']

const COMMON = { lab: { type: 'string' }, help: { type: 'boolean', short: 'h' } } as const
const JSON_OPTION = { json: { type: 'boolean' } } as const
const UP = {
  nodes: { type: 'string' },
  clients: { type: 'string' },
  routers: { type: 'string' },
  app: { type: 'string' },
  to: { type: 'string' },
  root: { type: 'string' },
  record: { type: 'string' },
  fence: { type: 'string' },
  offload: { type: 'boolean' },
  'no-offload': { type: 'boolean' },
  ipv6: { type: 'boolean' },
  program: { type: 'string' },
} as const

/** Runs `understudy lab ARGS` and resolves with the exit code. Throws UsageError or StackError. */
export async function labCommand(args: readonly string[]): Promise<number> {
  const [verb, ...rest] = args
  if (verb === undefined || verb === '--help' || verb === '-h' || verb === 'help') {
    print(LAB_HELP)
    return verb === undefined ? 2 : 0
  }
  if (verb === 'exec') return exec(rest)
  if (verb === 'up') return up(rest)
  if (verb === 'status') return status(rest)
  if (verb === 'down') return down(rest)
  if (NODE_VERBS.includes(verb)) {
    return signal(verb as NodeCommand['verb'], rest)
  }
  throw new UsageError(`there is no \`lab ${verb}\`: see \`understudy lab --help\`.`)
}

async function up(args: readonly string[]): Promise<number> {
  const { values } = parse('up', args, { ...COMMON, ...JSON_OPTION, ...UP })
  if (values.help === true) return 0
  const options = upOptions(values)
  const reaped = await reapDeadLabs()
  if (reaped.length > 0) say(`cleared away what was left of ${reaped.join(', ')}`)
  const lab = await startKeeper(options)
  if (values.json === true) print(JSON.stringify(lab))
  else print(portrait(lab))
  return 0
}

function upOptions(values: Values): LabOptions {
  const app = String(values.app ?? 'http')
  if (!isAppName(app)) {
    throw new UsageError(`--app is ${APP_NAMES.join(', ')}, not ${app}.`)
  }
  const to = values.to === undefined ? undefined : String(values.to)
  if ((app === 'proxy') !== (to !== undefined && /^[^:\s]+:\d{1,5}$/.test(to))) {
    throw new UsageError('--app proxy and --to HOST:PORT belong together, as --to 10.77.0.10:5432.')
  }
  const fence = String(values.fence ?? 'port')
  if (!FENCES.includes(fence)) {
    throw new UsageError(`--fence is ${FENCES.join(', ')}, not ${fence}.`)
  }
  if (values.offload === true && values['no-offload'] === true) {
    throw new UsageError('--offload and --no-offload cannot both be meant.')
  }
  const id = values.lab === undefined ? freshLabId() : String(values.lab)
  if (!/^[0-9a-z]{4}$/.test(id)) throw new UsageError('--lab is four small letters or digits.')
  const root = values.root === undefined ? undefined : resolve(String(values.root))
  const record = values.record === undefined ? undefined : resolve(String(values.record))
  if (record !== undefined) fs.mkdirSync(record, { recursive: true })
  if (root !== undefined && !fs.statSync(root, { throwIfNoEntry: false })?.isDirectory()) {
    throw new StackError('ERR_LAB_ROOT', `--root ${root} is no folder.`)
  }
  const program = values.program === undefined ? undefined : String(values.program).split(' ')
  return {
    id,
    ...(to === undefined ? {} : { to }),
    app,
    fence: fence as Fence,
    nodes: count('--nodes', values.nodes ?? '3', 16),
    clients: count('--clients', values.clients ?? '1', 16),
    ...(values.routers !== undefined && { routers: count('--routers', values.routers, 2) }),
    offload: values['no-offload'] !== true,
    ipv6: values.ipv6 === true,
    ...(root === undefined ? {} : { root }),
    ...(record === undefined ? {} : { record }),
    ...(program === undefined ? {} : { program }),
  }
}

function count(name: string, value: string | boolean, most: number): number {
  const number = Number(value)
  if (Number.isInteger(number) && number >= 1 && number <= most) return number
  throw new UsageError(`${name} is a number from 1 to ${most}, not ${value}.`)
}

/** Starts the process that stays, and waits until its lab is up. Ctrl-C on the way takes the lab down again. */
function startKeeper(options: LabOptions): Promise<LabStatus> {
  const folder = join(runtimeFolder(), options.id ?? '')
  if (listLabs().some((lab) => lab.id === options.id)) {
    throw new StackError('ERR_LAB_BUSY', `lab ${options.id} is up already.`)
  }
  fs.mkdirSync(folder, { recursive: true, mode: 0o700 })
  const log = fs.openSync(join(folder, 'keeper.log'), 'a', 0o600)
  const keeper = fork(KEEPER_PROGRAM, [], {
    detached: true,
    stdio: ['ignore', log, log, 'ipc'],
    execArgv: ['--enable-source-maps'],
  })
  fs.closeSync(log)
  keeper.send(options)
  return new Promise((resolve, reject) => {
    keeper.once('message', (reply: { lab?: LabStatus; error?: StackError }) => {
      keeper.unref()
      if (reply.lab !== undefined) resolve(reply.lab)
      else reject(new StackError(reply.error?.code ?? '', reply.error?.message ?? ''))
    })
    keeper.once('exit', (code, signal) => {
      reject(new StackError('ERR_LAB_COMMAND', `the lab's keeper ended with ${signal ?? code}.`))
    })
  })
}

async function exec(args: readonly string[]): Promise<number> {
  const cut = args.indexOf('--')
  const { values, positionals } = parse('exec', cut < 0 ? args : args.slice(0, cut), COMMON)
  if (values.help === true) return 0
  const [place, ...before] = positionals
  const argv = [...before, ...(cut < 0 ? [] : args.slice(cut + 1))]
  if (place === undefined || argv.length === 0) {
    throw new UsageError('say where and what: `understudy lab exec client -- CMD ...`.')
  }
  const record = findLab(optional(values.lab))
  const space = Space.join(record.id, record.mode, record.holder)
  const [file = '', ...rest] = space.wrapIn(namespaceOf(record, place), argv)
  return runHere(file, rest, labEnvironment(record.id))
}

function namespaceOf(record: LabRecord, place: string): string {
  if (place === 'switch') return record.switchNamespace
  const places = new Map([
    ...record.clients.map(({ namespace }, i) => [numbered('client', i), namespace] as const),
    ...record.routers.map(({ namespace }, i) => [numbered('router', i), namespace] as const),
  ])
  const namespace = places.get(place)
  if (namespace !== undefined) return namespace
  const known = [...places.keys(), 'switch'].join(', ')
  throw new UsageError(`there is no ${place} in lab ${record.id}: it has ${known}.`)
}

function numbered(name: string, index: number): string {
  return index === 0 ? name : `${name}${index + 1}`
}

/** Runs a command with this process's own input and output; resolves with its exit code, as a shell counts it. */
function runHere(file: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const child = spawn(file, args, { stdio: 'inherit', env })
  // The terminal sends Ctrl-C to the command as well; what this process gets alone is handed on.
  process.on('SIGINT', () => {})
  process.on('SIGTERM', () => child.kill('SIGTERM'))
  return new Promise((resolve, reject) => {
    child.once('error', (error) => reject(new StackError('ERR_LAB_COMMAND', error.message)))
    child.once('exit', (code, signal) => {
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]))
    })
  })
}

async function signal(verb: NodeCommand['verb'], args: readonly string[]): Promise<number> {
  const { values, positionals } = parse(verb, args, { ...COMMON, ...JSON_OPTION })
  if (values.help === true) return 0
  const [node, ...more] = positionals
  const named = node !== undefined && /^[1-9]\d?$/.test(node)
  if (more.length > 0 || !(named || (node === 'owner' && verb !== 'start'))) {
    throw new UsageError(
      verb === 'start'
        ? 'say which node: `understudy lab start 1`.'
        : `say which node: \`understudy lab ${verb} owner\` or \`understudy lab ${verb} 1\`.`,
    )
  }
  const record = findLab(optional(values.lab))
  return report(values, await command(record, { verb, node } as Command))
}

async function status(args: readonly string[]): Promise<number> {
  const { values } = parse('status', args, { ...COMMON, ...JSON_OPTION })
  if (values.help === true) return 0
  const record = findLab(optional(values.lab))
  const others = keptLabs().filter((lab) => lab.id !== record.id)
  if (others.length > 0 && values.json !== true) {
    say(`also up: ${others.map((lab) => lab.id).join(', ')} (choose with --lab)`)
  }
  return report(values, await command(record, { verb: 'status' }))
}

async function down(args: readonly string[]): Promise<number> {
  const { values } = parse('down', args, { ...COMMON, all: { type: 'boolean' } })
  if (values.help === true) return 0
  const reaped = await reapDeadLabs()
  if (reaped.length > 0) say(`cleared away what was left of ${reaped.join(', ')}`)
  const live = keptLabs()
  if (live.length === 0 && values.lab === undefined && (reaped.length > 0 || values.all === true))
    return 0
  const records = values.all === true ? live : [findLab(optional(values.lab))]
  for (const record of records) {
    await command(record, { verb: 'down' }).catch(() => tearDown(record, [record.owner.pid]))
    say(`lab ${record.id} is down`)
  }
  return 0
}

function report(values: Values, lab: LabStatus | null): number {
  if (lab !== null) print(values.json === true ? JSON.stringify(lab) : portrait(lab))
  return 0
}

/** A lab in a few lines for people. */
function portrait(lab: LabStatus): string {
  const lines = [
    `lab ${lab.lab}: ${lab.url} (app ${lab.app}${lab.root === null ? '' : `, serves ${lab.root}`})`,
    `namespaces: ${[lab.namespaces.switch, ...lab.namespaces.clients, ...lab.namespaces.routers].join(', ')}` +
      (lab.holder === null ? '' : ` (inside those of process ${lab.holder})`),
    `interfaces: ${lab.interfaces.bridge} ${lab.interfaces.taps.join(' ')} ${lab.interfaces.monitor}`,
  ]
  for (const node of lab.nodes) {
    const process = node.pid === null ? 'no process' : `process ${node.pid}`
    lines.push(
      `node ${node.id}: ${node.state}, ${process}, ${node.tap}${node.owner ? ', OWNER' : ''}`,
    )
  }
  if (lab.page !== null) lines.push(`page: ${lab.page}`)
  if (lab.wire !== null) {
    const resets = lab.wire.resetsIn + lab.wire.resetsOut
    lines.push(`client's wire: ${lab.wire.syns} SYNs sent, ${resets} RSTs seen`)
  }
  return lines.join('\n')
}

function parse(
  verb: string,
  args: readonly string[],
  options: OptionTable,
): { values: Values; positionals: string[] } {
  let parsed: ReturnType<typeof parseArgs>
  try {
    parsed = parseArgs({ args: [...args], options, allowPositionals: true, strict: true })
  } catch (error) {
    throw new UsageError(`${(error as Error).message} (see \`understudy lab ${verb} --help\`)`)
  }
  if (parsed.values.help === true) print(VERB_HELP[verb] ?? LAB_HELP)
  return parsed as { values: Values; positionals: string[] }
}

function optional(value: string | boolean | undefined): string | undefined {
  return value === undefined ? undefined : String(value)
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

function say(text: string): void {
  process.stderr.write(`understudy: ${text}\n`)
}
