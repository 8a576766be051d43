/**
 * What the bench measures. Each round of a measure asks all contenders in turn, so that a machine that is busy with something
 * else slows all of them down alike; what is reported is the median of the rounds with its spread, and ratios above all.
 */
import * as fs from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { FAIL_FAST, TEN_THOUSAND } from './many-measure.js'
import { PROXY } from './proxy-measure.js'
import { STRICT_MODE } from './strict-measure.js'
import { TAKEOVERS } from './takeover-measure.js'
import type { Contender, Server, World } from './world.js'

/** One line of the report. `ratio` is the median of the rounds' own ratios. */
export interface Result {
  readonly name: string
  readonly offload: boolean
  readonly ours: number
  readonly reference: number | null
  readonly referenceName: string | null
  readonly unit: string
  readonly ratio: number | null
  /** Least and greatest of `ours`. */
  readonly spread: readonly [number, number]
  readonly runs: number
  /** What there is to say beside the figures, a line each. */
  readonly notes?: readonly string[]
  /** Of rounds that failed: why. With one of them the bench has failed. */
  readonly failures?: readonly string[]
}

export interface Pace {
  /** Rounds of each measure. */
  readonly runs: number
  /** Take-overs of each kind. */
  readonly samples: number
  /** Seconds of each transfer. */
  readonly seconds: number
  /** Answers of each latency round. */
  readonly answers: number
  readonly quick: boolean
}

export interface Measure {
  /** The names of its results. */
  readonly names: readonly string[]
  run(world: World, pace: Pace): Promise<Result[]>
}

const OURS: readonly Contender[] = ['offload', 'plain']
const CONTENDERS: readonly Contender[] = ['kernel', 'offload', 'kernel-plain', 'plain']
const GIGABITS = 8 / 1e9
const CLIENTS = 64
const LOSS_PERCENT = 1
/** Behind which a connection is idle, and what it needed to be quick has been let go of. */
const IDLE_MS = 5000

/** One round of all contenders: the numbers of each. */
type Round = ReadonlyMap<Contender, readonly number[]>

interface Column {
  readonly name: string
  readonly unit: string
  /** By what a number of the load is multiplied. */
  readonly scale: number
}

/** A measure whose numbers come from the load program. */
function byLoad(
  columns: readonly Column[],
  words: (address: string, pace: Pace) => readonly (string | number)[],
): Measure {
  return {
    names: columns.map((column) => column.name),
    async run(world, pace) {
      const rounds: Round[] = []
      for (let n = 0; n < pace.runs; n++) {
        rounds.push(await round(world, (server) => world.load(...words(server.address, pace))))
      }
      return columns.flatMap((column, index) =>
        OURS.map((contender) => summarize(column, contender, rounds, index)),
      )
    },
  }
}

async function round(
  world: World,
  measure: (server: Server) => Promise<readonly number[]>,
): Promise<Round> {
  const numbers = new Map<Contender, readonly number[]>()
  for (const contender of CONTENDERS) {
    const server = await world.start(contender)
    try {
      numbers.set(contender, await measure(server))
    } finally {
      await server.close()
    }
  }
  return numbers
}

function summarize(
  { name, unit, scale }: Column,
  contender: Contender,
  rounds: readonly Round[],
  index: number,
): Result {
  const of = (who: Contender) => rounds.map((each) => (each.get(who)?.[index] ?? 0) * scale)
  const rival = contender === 'plain' ? 'kernel-plain' : 'kernel'
  const [ours, reference] = [of(contender), of(rival)]
  return {
    name,
    offload: contender === 'offload',
    ours: median(ours),
    reference: median(reference),
    referenceName: 'kernel',
    unit,
    ratio: median(ours.map((value, n) => value / (reference[n] ?? 0))),
    spread: [Math.min(...ours), Math.max(...ours)],
    runs: rounds.length,
  }
}

/** The middle of `values`; of an even number of them the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const half = sorted.length >> 1
  const upper = sorted[half] ?? 0
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[half - 1] ?? upper)) / 2
}

/** Octets that the kernel's slabs take, of all processes together. */
function slabOctets(): number {
  const match = /^Slab:\s+(\d+) kB/m.exec(fs.readFileSync('/proc/meminfo', 'utf8'))
  return Number(match?.[1] ?? 0) * 1024
}

/**
 * Memory of an idle connection that has carried an octet each way. Ours is heap and buffers of the server's process. The kernel's is what the slabs grow by when
 * both ends are kernels, less what they grow by for the client alone; it is one figure of a whole machine, and rough.
 */
function idle(name: string, count: number): Measure {
  return {
    names: [name],
    async run(world, pace) {
      const ours: number[] = []
      const references: number[] = []
      for (let n = 0; n < (pace.quick ? 1 : 3); n++) {
        const server = await world.start('offload')
        const [before, slabBefore] = [await server.usage(), slabOctets()]
        const release = await world.hold(server, count)
        await delay(IDLE_MS)
        const after = await server.usage()
        const client = slabOctets() - slabBefore
        await release()
        await server.close()
        ours.push((after.octets - before.octets) / count)
        references.push((await slabOfKernel(world)) - client / count)
      }
      const value = median(ours)
      const reference = median(references)
      return [
        {
          name,
          offload: true,
          ours: value,
          reference,
          referenceName: 'kernel',
          unit: 'octets',
          ratio: value / reference,
          spread: [Math.min(...ours), Math.max(...ours)],
          runs: ours.length,
        },
      ]
    },
  }
}

// With fewer connections than a process may have files: a connection of the kernel costs the same among more.
async function slabOfKernel(world: World): Promise<number> {
  const count = 10_000
  const server = await world.start('kernel')
  await delay(IDLE_MS)
  const before = slabOctets()
  const release = await world.hold(server, count)
  await delay(IDLE_MS)
  const octets = (slabOctets() - before) / count
  await release()
  await server.close()
  return octets
}

/** What 100,000 idle shadows take at a standby, beside the same connections at their owner. */
function shadows(name: string, count: number): Measure {
  return {
    names: [name],
    async run(world) {
      const [owner, standby] = [await world.start('offload'), await world.snoop('offload')]
      const before = [await owner.usage(), await standby.usage()] as const
      const release = await world.hold(owner, count)
      await delay(IDLE_MS)
      const after = [await owner.usage(), await standby.usage()] as const
      await release()
      await standby.close()
      await owner.close()
      const reference = (after[0].octets - before[0].octets) / count
      const ours = (after[1].octets - before[1].octets) / count
      return [
        {
          name,
          offload: true,
          ours,
          reference,
          referenceName: 'owner',
          unit: 'octets',
          ratio: ours / reference,
          spread: [ours, ours],
          runs: 1,
        },
      ]
    },
  }
}

/** Processor time of a standby per octet of an upload that it watches, beside the owner's own. */
const SNOOP: Measure = {
  names: ['snoop-cpu'],
  async run(world, pace) {
    const results: Result[] = []
    for (const contender of OURS) {
      const ours: number[] = []
      const owners: number[] = []
      for (let n = 0; n < pace.runs; n++) {
        const [owner, standby] = [await world.start(contender), await world.snoop(contender)]
        // The first transfer is the compilers': what they do is done once.
        await world.load('up', owner.address, pace.seconds)
        const before = [await owner.work(), await standby.work()] as const
        const [rate = 0] = await world.load('up', owner.address, pace.seconds)
        const after = [await owner.work(), await standby.work()] as const
        await standby.close()
        await owner.close()
        const octets = rate * pace.seconds
        owners.push(((after[0].cpuMs - before[0].cpuMs) * 1e6) / octets)
        ours.push(((after[1].cpuMs - before[1].cpuMs) * 1e6) / octets)
      }
      results.push({
        name: 'snoop-cpu',
        offload: contender === 'offload',
        ours: median(ours),
        reference: median(owners),
        referenceName: 'owner',
        unit: 'ns/octet',
        ratio: median(ours.map((value, n) => value / (owners[n] ?? 0))),
        spread: [Math.min(...ours), Math.max(...ours)],
        runs: pace.runs,
      })
    }
    return results
  },
}

/** The same transfer while one frame in a hundred is lost on the bridge, each way. */
function withLoss(name: string, direction: 'up' | 'down'): Measure {
  const clean = byLoad([{ name, unit: 'Gbit/s', scale: GIGABITS }], (address, pace) => [
    direction,
    address,
    pace.seconds,
  ])
  return {
    names: clean.names,
    async run(world, pace) {
      world.setLoss(LOSS_PERCENT)
      try {
        return await clean.run(world, pace)
      } finally {
        world.setLoss(0)
      }
    },
  }
}

/** What the device and the bridge allow at most, beside what the kernel's own upload makes of the same bridge. */
const WRITE_LIMIT: Measure = {
  names: ['write-limit'],
  async run(world, pace) {
    const rounds: Round[] = []
    for (let n = 0; n < pace.runs; n++) {
      const numbers = new Map<Contender, readonly number[]>()
      for (const contender of OURS) {
        numbers.set(contender, [await world.writeLimit(contender === 'offload', pace.seconds)])
      }
      for (const rival of ['kernel', 'kernel-plain'] as const) {
        const server = await world.start(rival)
        numbers.set(rival, await world.load('up', server.address, pace.seconds))
        await server.close()
      }
      rounds.push(numbers)
    }
    const column = { name: 'write-limit', unit: 'Gbit/s', scale: GIGABITS }
    return OURS.map((contender) => summarize(column, contender, rounds, 0))
  },
}

/** All measures, the most telling ones first. */
export const MEASURES: readonly Measure[] = [
  byLoad([{ name: 'upload', unit: 'Gbit/s', scale: GIGABITS }], (address, pace) => [
    'up',
    address,
    pace.seconds,
  ]),
  byLoad([{ name: 'download', unit: 'Gbit/s', scale: GIGABITS }], (address, pace) => [
    'down',
    address,
    pace.seconds,
  ]),
  byLoad(
    [
      { name: 'latency-p50', unit: 'us', scale: 1 },
      { name: 'latency-p99', unit: 'us', scale: 1 },
    ],
    (address, pace) => ['echo', address, pace.answers],
  ),
  byLoad([{ name: 'connect-rate', unit: '1/s', scale: 1 }], (address, pace) => [
    'connect',
    address,
    CLIENTS,
    pace.seconds,
  ]),
  withLoss('loss-up', 'up'),
  withLoss('loss-down', 'down'),
  WRITE_LIMIT,
  SNOOP,
  PROXY,
  STRICT_MODE,
  ...TAKEOVERS,
  TEN_THOUSAND,
  FAIL_FAST,
  idle('idle-bytes-10k', 10_000),
  idle('idle-bytes-100k', 100_000),
  shadows('shadow-bytes-100k', 100_000),
]

/** Measures that take too long for `--quick`, unless they are named. */
export const SLOW: ReadonlySet<string> = new Set([
  ...TAKEOVERS.flatMap((measure) => measure.names),
  ...TEN_THOUSAND.names,
  ...FAIL_FAST.names,
  ...PROXY.names,
  ...STRICT_MODE.names,
  'idle-bytes-100k',
  'shadow-bytes-100k',
])
