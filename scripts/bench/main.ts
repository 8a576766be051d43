/**
 * `npm run bench`: how fast the stack is, beside the Linux kernel's own TCP over the same bridge in the same run. Single
 * figures depend on the machine and on what else it does: the ratios are what to look at.
 */
import { writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { StackError } from '../../stack/base/errors.js'
import { reapDeadLabs } from '../lab/teardown.js'
import { UsageError } from '../lab/usage-error.js'
import { chart } from './chart.js'
import { HELP } from './help.js'
import { MEASURES, type Pace, type Result, SLOW } from './measures.js'
import { World } from './world.js'

const OPTIONS = {
  quick: { type: 'boolean', default: false },
  runs: { type: 'string' },
  json: { type: 'boolean', default: false },
  svg: { type: 'string' },
  help: { type: 'boolean', short: 'h', default: false },
} as const

async function main(): Promise<number> {
  const { values, positionals } = parse()
  if (values.help) {
    process.stdout.write(`${HELP}\n`)
    return 0
  }
  const pace = paceOf(values.quick, values.runs)
  const measures = chosen(positionals, values.quick)
  const say = (line: string): void => {
    ;(values.json ? process.stderr : process.stdout).write(`${line}\n`)
  }
  await reapDeadLabs()
  const world = await World.open()
  const end = (signal: NodeJS.Signals): void => {
    process.stderr.write(`interrupted (${signal}): clearing up\n`)
    void world.close().then(() => process.exit(1))
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, end)
  const results: Result[] = []
  try {
    say(HEAD)
    for (const measure of measures) {
      for (const result of await measure.run(world, pace)) {
        results.push(result)
        say(row(result))
        for (const note of result.notes ?? []) say(`  ${note}`)
        for (const failure of result.failures ?? []) say(`  FAILED: ${failure}`)
      }
    }
  } finally {
    await world.close()
  }
  if (values.svg !== undefined) {
    const { cpu, cpus: count, node } = machine()
    const day = new Date().toISOString().slice(0, 10)
    writeFileSync(values.svg, chart(results, `${count} x ${cpu}, Node ${node}, ${day}`))
  }
  if (values.json) process.stdout.write(`${JSON.stringify({ machine: machine(), results })}\n`)
  return results.some(({ failures = [] }) => failures.length > 0) ? 1 : 0
}

function parse() {
  try {
    return parseArgs({ options: OPTIONS, allowPositionals: true })
  } catch (error) {
    throw new UsageError(`${(error as Error).message} (see npm run bench -- --help)`)
  }
}

function paceOf(quick: boolean, text: string | undefined): Pace {
  const runs = Number(text ?? (quick ? 3 : 5))
  const samples = text === undefined ? (quick ? 20 : 100) : runs
  if (!Number.isInteger(runs) || runs < 1 || runs > 99) {
    throw new UsageError(`--runs is a number from 1 to 99, not ${text}.`)
  }
  return { runs, samples, seconds: quick ? 0.8 : 3, answers: quick ? 5000 : 30_000, quick }
}

function chosen(names: readonly string[], quick: boolean) {
  const known = MEASURES.flatMap((measure) => measure.names)
  // `proxy` is all of proxy-upload, proxy-download and so on.
  const means = (name: string, full: string): boolean =>
    full === name || full.startsWith(`${name}-`)
  const unknown = names.find((name) => !known.some((full) => means(name, full)))
  if (unknown !== undefined) {
    throw new UsageError(`there is no measure ${unknown}; there are ${known.join(', ')}.`)
  }
  return MEASURES.filter((measure) =>
    names.length === 0
      ? !(quick && measure.names.some((name) => SLOW.has(name)))
      : measure.names.some((full) => names.some((name) => means(name, full))),
  )
}

const HEAD = line('', 'offload', 'ours', 'least', 'most', 'reference', 'ratio', '')

function row(result: Result): string {
  const { name, offload, ours, spread, reference, referenceName, unit, ratio, runs } = result
  return line(
    name,
    offload ? 'yes' : 'no',
    `${figure(ours)} ${unit}`,
    figure(spread[0]),
    figure(spread[1]),
    reference === null ? '' : `${referenceName} ${figure(reference)}`,
    ratio === null ? '' : ratio.toFixed(2),
    `${runs} rounds`,
  )
}

function line(name: string, offload: string, ours: string, ...rest: readonly string[]): string {
  const [least = '', most = '', reference = '', ratio = '', runs = ''] = rest
  return [
    name.padEnd(20),
    offload.padEnd(8),
    ours.padStart(16),
    least.padStart(9),
    most.padStart(9),
    reference.padStart(16),
    ratio.padStart(8),
    runs.padStart(10),
  ].join(' ')
}

/** Three digits, or all of a large number; a dash for none. */
function figure(value: number): string {
  if (Number.isNaN(value)) return '-'
  return Math.abs(value) >= 1000 ? String(Math.round(value)) : String(Number(value.toPrecision(3)))
}

function machine() {
  const { arch, version } = process
  const all = cpus()
  return { arch, node: version, cpu: all[0]?.model ?? '', cpus: all.length }
}

try {
  process.exit(await main())
} catch (error) {
  const { code, message } = error as StackError
  const known = error instanceof StackError || error instanceof UsageError
  process.stderr.write(known ? `bench: ${message}\n` : `${(error as Error).stack}\n`)
  if (code !== undefined && known) process.stderr.write(`(${code})\n`)
  process.exit(error instanceof UsageError ? 2 : 1)
}
