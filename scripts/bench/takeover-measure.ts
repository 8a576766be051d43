/**
 * How long a client waits when the owner fails: killed, stopped, or told to hand over, again and again, under an upload, a download and
 * requests with short answers in turn. It is measured on the client's wire, as in the demo: from the failure, or the last new octet
 * if that is later, to the first new octet of the next node. Each transfer must be exact, with one SYN and no RST.
 */
import { randomFillSync } from 'node:crypto'
import * as fs from 'node:fs'
import { loadavg } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { StackError } from '../../stack/base/errors.js'
import { monotonicMs } from '../lab/lab.js'
import type { WireTotals } from '../lab/wire-progress.js'
import { type Cause, type Dialog, type FailoverLab, play } from './failover-lab.js'
import type { Measure, Result } from './measures.js'

const TRAFFIC = ['upload', 'download', 'answers'] as const
type Traffic = (typeof TRAFFIC)[number]

/** A transfer takes about a second: the client is behind a link of 100 Mbit/s. */
const SIZE = 12_000_000
const ANSWER = 1000
/** How much of a transfer comes before the failure. */
const BEFORE = SIZE / 4
const ANSWERS_BEFORE = 100 * ANSWER
const STALL_MS = 15_000
const REACH_MS = 20_000
/** Upper ends of the distribution's classes, in milliseconds. */
const CLASSES = [1, 2, 5, 10, 15, 20, 30, 40, 60, 80, 100, 130, 160, 200, 300, 500, 1000, 2000]

/** The files of the transfers, the same for all of them. */
class Files {
  readonly #bytes = randomFillSync(Buffer.alloc(SIZE))
  readonly #root: string

  constructor(root: string) {
    this.#root = root
    fs.writeFileSync(this.path('file.bin'), this.#bytes)
    fs.writeFileSync(this.path('answer.bin'), this.#bytes.subarray(0, ANSWER))
  }

  path(name: string): string {
    return join(this.#root, name)
  }

  /** Throws ERR_BENCH_TAKEOVER when `name` is not the file that was sent. */
  check(name: string): void {
    const same = fs.readFileSync(this.path(name)).equals(this.#bytes)
    fs.rmSync(this.path(name))
    if (!same) throw broken('the file came out different')
  }
}

/** Begins a transfer; resolves, behind `stop`, when it is over and was exact. */
function begin(at: FailoverLab, files: Files, traffic: Traffic): { stop(): Promise<void> } {
  const { lab, address } = at
  if (traffic === 'answers') {
    const dialog: Dialog = at.load(['ask', address, 'answer.bin', files.path('answer.bin')])
    return { stop: () => dialog.end() }
  }
  const curl = ['curl', '--disable', '--silent', '--show-error', '--fail', '--noproxy', '*']
  curl.push('--max-time', '40')
  const [copy, stored] = ['copy.bin', 'stored.bin']
  const what =
    traffic === 'upload'
      ? ['--output', '/dev/null', '--upload-file', files.path('file.bin'), `${lab.url}/${stored}`]
      : ['--output', files.path(copy), `${lab.url}/file.bin`]
  const done = at.run([...curl, ...what])
  done.catch(() => {})
  const stop = async (): Promise<void> => {
    await done
    files.check(traffic === 'upload' ? stored : copy)
  }
  return { stop }
}

/** What one failure brought. */
interface Round {
  readonly traffic: Traffic
  readonly ms: number
  /** Frames with text that had been on the wire before. */
  readonly repeats: number
}

/** One failure under one transfer: how long the client waited, and what its wire has seen. */
async function round(
  at: FailoverLab,
  files: Files,
  cause: Cause,
  traffic: Traffic,
  wake: boolean,
): Promise<Round> {
  const { monitor } = at
  const before = (await monitor.count()).totals
  const transfer = begin(at, files, traffic)
  await reach(at, before, traffic)
  // Not always at the same instant of what goes on by the clock.
  await delay(Math.random() * 100)
  const failure = await at.fail(cause)
  const stall = await monitor.stall(failure.at, STALL_MS)
  if (stall === undefined) {
    throw broken(`the client got nothing new within ${STALL_MS / 1000} s`)
  }
  await transfer.stop()
  const { totals, drops } = await monitor.count()
  const syns = totals.syns - before.syns
  const resets = totals.resets - before.resets
  if (syns !== 1 || resets !== 0) throw broken(`${syns} SYNs and ${resets} RSTs on the wire`)
  if (drops > 0) throw broken(`the monitor has missed ${drops} frames`)
  await at.restore(failure, wake)
  return { traffic, ms: stall.ms, repeats: totals.repeats - before.repeats }
}

async function reach({ monitor }: FailoverLab, from: WireTotals, traffic: Traffic): Promise<void> {
  const way = traffic === 'upload' ? 'up' : 'down'
  const count = traffic === 'answers' ? ANSWERS_BEFORE : BEFORE
  const until = monotonicMs() + REACH_MS
  while (monitor.totals[way] - from[way] < count) {
    if (monotonicMs() > until) throw broken('the transfer does not go on')
    await delay(5)
  }
}

/** The value that `share` of `values` do not exceed: one of them; NaN when there are none. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN
}

/** How many of `values` lie in which class: `5-10 ms 3, 10-15 ms 17`. */
export function distribution(values: readonly number[]): string {
  const edges = [0, ...CLASSES, Number.POSITIVE_INFINITY]
  const classes = edges.slice(1).map((upper, i) => {
    const lower = edges[i] ?? 0
    const count = values.filter((value) => value >= lower && value < upper).length
    const name = upper === Number.POSITIVE_INFINITY ? `${lower} ms or more` : `${lower}-${upper} ms`
    return count > 0 ? `${name} ${count}` : ''
  })
  return classes.filter((text) => text !== '').join(', ')
}

/** A result in milliseconds that stands for itself; without samples it has none (in JSON null). */
export function resultOf(
  name: string,
  samples: readonly number[],
  ours: number,
  more: Partial<Result> = {},
): Result {
  return {
    name,
    offload: true,
    ours,
    reference: null,
    referenceName: null,
    unit: 'ms',
    ratio: null,
    spread: [percentile(samples, 0), percentile(samples, 1)],
    runs: samples.length,
    ...more,
  }
}

/** How busy the machine is: beside figures that depend on it. */
export function loadNote(): string {
  return `load average ${loadavg()
    .map((value) => value.toFixed(1))
    .join(' ')}`
}

function measure(cause: Cause): Measure {
  const name = (share: number): string => `takeover-${cause}-p${share}`
  return {
    names: [name(50), name(99)],
    async run(world, { samples }) {
      const before = loadNote()
      const files = new WeakMap<FailoverLab, Files>()
      const { done, failures } = await play(world, { app: 'http' }, samples, (at, n) => {
        const own = files.get(at) ?? new Files(at.lab.root)
        files.set(at, own)
        const traffic = TRAFFIC[n % TRAFFIC.length] ?? 'upload'
        return round(at, own, cause, traffic, n % 2 === 1).catch((error: Error) => {
          throw broken(`${cause} under ${traffic}: ${error.message}`)
        })
      })
      const all = done.map(({ ms }) => ms)
      const byTraffic = TRAFFIC.map((traffic) => {
        const those = done.filter((each) => each.traffic === traffic).map(({ ms }) => ms)
        return those.length > 0 ? `${traffic} ${percentile(those, 0.5).toFixed(1)} ms` : ''
      })
      const again = done.reduce((sum, { repeats }) => sum + repeats, 0)
      const rounds = done.filter(({ repeats }) => repeats > 0).length
      const notes = [
        distribution(all) || 'no round succeeded',
        `median by traffic: ${byTraffic.filter((text) => text !== '').join(', ')}`,
        `text sent again: ${again} frames, in ${rounds} of ${done.length} rounds`,
        `${before} before, ${loadNote().slice('load average '.length)} behind`,
      ]
      return [
        resultOf(name(50), all, percentile(all, 0.5), { notes, failures }),
        resultOf(name(99), all, percentile(all, 0.99)),
      ]
    },
  }
}

export function broken(what: string): StackError {
  return new StackError('ERR_BENCH_TAKEOVER', what)
}

export const TAKEOVERS: readonly Measure[] = [measure('kill'), measure('stop'), measure('switch')]
