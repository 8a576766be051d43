/** What the permanent proxy (A7) costs: a node with its stores, beside the bare stack, and beside the server without a proxy. */
import { type Measure, median, type Pace, type Result } from './measures.js'
import type { Server, World } from './world.js'

const ECHO = 7
const SINK = 9
const SOURCE = 19
const GIGABITS = 8 / 1e9

type Ask = (world: World, server: Server, pace: Pace) => Promise<number>

/** Gbit/s of one transfer. */
export const bulk =
  (direction: 'up' | 'down'): Ask =>
  async (world, { address }, { seconds }) => {
    const [rate = 0] = await world.load(direction, address, seconds)
    return rate * GIGABITS
  }

/** Microseconds of half of the answers at most. */
export const latency: Ask = async (world, { address }, { answers }) => {
  const [p50 = 0] = await world.load('echo', address, answers)
  return p50
}

/** Asks the proxy before `port` of the kernel's server, and `rival`. */
async function ask(
  world: World,
  pace: Pace,
  port: number,
  rival: 'offload' | 'kernel',
  measure: Ask,
): Promise<[ours: number, reference: number]> {
  const kernel = await world.start('kernel')
  const proxy = await world.proxy(port)
  const ours = await measure(world, proxy, pace)
  await proxy.close()
  if (rival === 'kernel') {
    const reference = await measure(world, kernel, pace)
    await kernel.close()
    return [ours, reference]
  }
  await kernel.close()
  const bare = await world.start(rival)
  const reference = await measure(world, bare, pace)
  await bare.close()
  return [ours, reference]
}

function result(
  name: string,
  unit: string,
  referenceName: string | null,
  rounds: readonly (readonly [number, number])[],
): Result {
  const ours = rounds.map(([own]) => own)
  const references = rounds.map(([, reference]) => reference)
  return {
    name,
    offload: true,
    ours: median(ours),
    reference: referenceName === null ? null : median(references),
    referenceName,
    unit,
    ratio: referenceName === null ? null : median(rounds.map(([own, other]) => own / other)),
    spread: [Math.min(...ours), Math.max(...ours)],
    runs: rounds.length,
  }
}

/** Bulk transfers beside the bare stack's; the latency beside that of the server itself, and what the proxy adds to it. */
export const PROXY: Measure = {
  names: ['proxy-upload', 'proxy-download', 'proxy-latency-p50', 'proxy-added-p50'],
  async run(world, pace) {
    const up: [number, number][] = []
    const down: [number, number][] = []
    const echo: [number, number][] = []
    for (let n = 0; n < pace.runs; n++) {
      up.push(await ask(world, pace, SINK, 'offload', bulk('up')))
      down.push(await ask(world, pace, SOURCE, 'offload', bulk('down')))
      echo.push(await ask(world, pace, ECHO, 'kernel', latency))
    }
    const added = echo.map(([own, other]) => [own - other, 0] as const)
    return [
      result('proxy-upload', 'Gbit/s', 'bare stack', up),
      result('proxy-download', 'Gbit/s', 'bare stack', down),
      result('proxy-latency-p50', 'us', 'kernel', echo),
      result('proxy-added-p50', 'us', null, added),
    ]
  },
}
