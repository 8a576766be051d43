/**
 * `npm run sim -- --seeds N [--from S] [--json]` runs N seeds of the simulation on all cores and adds up what happened;
 * `npm run sim -- --seed S --trace` replays one and prints its trace. Exit code 1 when a law is broken.
 */
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { PLAIN, type RunResult, simulate, type Variant } from '../test/sim/scenario.js'
import { addCounts, addTotals, newTotals, type Totals } from '../test/sim/totals.js'

const USAGE = `usage: npm run sim -- [--seeds N] [--from S] [--proxy] [--lossy] [--harsh] [--no-repair] [--strict] [--return] [--quorum] [--json]
       npm run sim -- --seed S [--proxy] [--lossy] [--harsh] [--no-repair] [--strict] [--return] [--quorum] [--trace] [--json]

With --proxy the nodes are proxies, and a machine behind them serves. With --lossy each peer's port loses frames, checkpoints
are rare, and the owner is killed; --harsh is the same with more loss, and the owner dies at any point of a turn. With --no-repair no
peer asks for what it missed; with --strict nothing is acknowledged that no peer has. With --return
the owner dies and comes back, and the binding returns to it (P23). With --quorum
nodes are cut off altogether, and more than half must be heard to own.`
/** Seeds that a worker runs before it reports. */
const BATCH = 20
const MAX_SHOWN = 20

interface Batch {
  readonly totals: Totals
  readonly broken: readonly { readonly seed: number; readonly first: string }[]
}

function runBatch(from: number, to: number, variant: Variant): Batch {
  const totals = newTotals()
  const broken: { seed: number; first: string }[] = []
  for (let seed = from; seed < to; seed++) {
    const result = simulate(seed, false, variant)
    addCounts(totals, result)
    const [first] = result.violations
    if (first !== undefined) broken.push({ seed, first })
  }
  return { totals, broken }
}

// Asks for a range of seeds, runs it, reports, and asks again until there is none.
function work(variant: Variant): void {
  parentPort?.on('message', ([from, to]: [number, number]) =>
    parentPort?.postMessage(runBatch(from, to, variant)),
  )
}

/** Reads a count or a seed. Throws with what to write instead. */
function readNumber(name: string, text: string, least: number): number {
  const value = Number(text)
  if (Number.isInteger(value) && value >= least && value < 2 ** 31) return value
  throw new Error(`--${name} ${text}: write an integer from ${least} to ${2 ** 31 - 1}\n${USAGE}`)
}

async function runMany(from: number, count: number, variant: Variant): Promise<Batch> {
  const totals = newTotals()
  const broken: { seed: number; first: string }[] = []
  const end = from + count
  let next = from
  const workers = Math.max(1, Math.min(availableParallelism(), Math.ceil(count / BATCH)))
  const runs: Promise<void>[] = []
  for (let i = 0; i < workers; i++) {
    const worker = new Worker(new URL(import.meta.url), { workerData: variant })
    runs.push(
      new Promise<void>((resolve, reject) => {
        const give = (): void => {
          if (next >= end) {
            void worker.terminate().then(() => resolve())
            return
          }
          const to = Math.min(next + BATCH, end)
          worker.postMessage([next, to])
          next = to
        }
        worker.on('message', (batch: Batch) => {
          addTotals(totals, batch.totals)
          broken.push(...batch.broken)
          showProgress(totals, count)
          give()
        })
        worker.on('error', reject)
        give()
      }),
    )
  }
  await Promise.all(runs)
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
  return { totals, broken: broken.sort((a, b) => a.seed - b.seed) }
}

function showProgress(totals: Totals, count: number): void {
  if (!process.stderr.isTTY) return
  const { seeds, takeovers, violations } = totals
  process.stderr.write(
    `\r${seeds} of ${count} seeds, ${takeovers} take-overs, ${violations} broken`,
  )
}

function show(totals: Totals, ms: number): void {
  const lost = Object.entries(totals.givenUp).sort(([a], [b]) => (a < b ? -1 : 1))
  const lines: [string, string | number][] = [
    ['seeds', totals.seeds],
    ['connections', `${totals.connections}, of which ${totals.done} ended whole`],
    ['take-overs', totals.takeovers],
    ['taken over in mid-stream', totals.midStream],
    ['passed on', totals.passed],
    ['bindings returned', totals.returned],
    ['gaps seen', totals.gaps],
    [
      'repairs',
      `${totals.repaired} made, ${totals.vain} in vain, ${totals.rescued} at a take-over`,
    ],
    ['given up with a client', totals.cut],
    ['given up', lost.map(([reason, n]) => `${n} ${reason}`).join(', ') || 'none'],
    ['shadows compared', totals.shadowChecks],
    ['records compared', totals.recordChecks],
    ['steps', totals.steps],
    ['seconds', (ms / 1000).toFixed(1)],
    ['violations', totals.violations],
  ]
  for (const [name, value] of lines) console.log(`${name.padEnd(25)} ${value}`)
}

function showOne(result: RunResult, trace: boolean): void {
  if (trace) for (const line of result.trace) console.log(line)
  for (const violation of result.violations) console.log(`VIOLATION ${violation}`)
  console.log(`seed ${result.seed}, ${result.steps} steps, fingerprint ${result.fingerprint}`)
}

function flagsOf({ proxied, lossy, harsh, repairs, strict, returns, quorate }: Variant): string {
  const loss = `${lossy ? ' --lossy' : ''}${harsh ? ' --harsh' : ''}`
  return `${proxied ? ' --proxy' : ''}${loss}${repairs ? '' : ' --no-repair'}${strict ? ' --strict' : ''}${returns ? ' --return' : ''}${quorate ? ' --quorum' : ''}`
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string', default: '500' },
      from: { type: 'string', default: '1' },
      seed: { type: 'string' },
      proxy: { type: 'boolean', default: false },
      lossy: { type: 'boolean', default: false },
      harsh: { type: 'boolean', default: false },
      strict: { type: 'boolean', default: false },
      return: { type: 'boolean', default: false },
      quorum: { type: 'boolean', default: false },
      'no-repair': { type: 'boolean', default: false },
      trace: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    console.log(USAGE)
    return 0
  }
  const { proxy, lossy, harsh, strict, return: returns, quorum: quorate } = values
  const repairs = !values['no-repair']
  const variant: Variant = {
    ...PLAIN,
    proxied: proxy,
    lossy,
    harsh,
    repairs,
    strict,
    returns,
    quorate,
  }
  if (values.seed !== undefined) {
    const result = simulate(readNumber('seed', values.seed, 0), values.trace, variant)
    if (values.json) console.log(JSON.stringify({ ...result, trace: undefined }))
    else showOne(result, values.trace)
    return result.violations.length === 0 ? 0 : 1
  }
  const started = performance.now()
  const from = readNumber('from', values.from, 0)
  const { totals, broken } = await runMany(from, readNumber('seeds', values.seeds, 1), variant)
  for (const { seed, first } of broken.slice(0, MAX_SHOWN)) {
    console.error(
      `seed ${seed}: ${first}\n  replay: npm run sim --${flagsOf(variant)} --seed ${seed} --trace`,
    )
  }
  if (broken.length > MAX_SHOWN) console.error(`and ${broken.length - MAX_SHOWN} more`)
  const ms = performance.now() - started
  if (values.json) {
    const seeds = broken.map(({ seed }) => seed)
    console.log(
      JSON.stringify({ ok: broken.length === 0, ms: Math.round(ms), ...totals, broken: seeds }),
    )
  } else show(totals, ms)
  return broken.length === 0 ? 0 : 1
}

if (isMainThread) {
  try {
    process.exitCode = await main()
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    process.exitCode = 2
  }
} else {
  work(workerData as Variant)
}
