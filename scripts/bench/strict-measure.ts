/** What strict mode (D2) costs: a permanent proxy with one standby, beside the same that acknowledges at once. */
import { type Measure, median, type Pace, type Result } from './measures.js'
import { bulk, latency } from './proxy-measure.js'
import type { World } from './world.js'

const ECHO = 7
const SINK = 9
const SOURCE = 19
const STRICT = { strict: 1 }

type Ask = typeof latency

async function ask(
  world: World,
  pace: Pace,
  port: number,
  measure: Ask,
): Promise<[number, number]> {
  const figures: number[] = []
  for (const terms of [STRICT, {}]) {
    const kernel = await world.start('kernel')
    const [owner, standby] = await world.pair(port, terms)
    figures.push(await measure(world, owner, pace))
    for (const server of [standby, owner, kernel]) await server.close()
  }
  return figures as [number, number]
}

function result(name: string, unit: string, rounds: readonly [number, number][]): Result {
  const ours = rounds.map(([own]) => own)
  return {
    name,
    offload: true,
    ours: median(ours),
    reference: median(rounds.map(([, other]) => other)),
    referenceName: 'not strict',
    unit,
    ratio: median(rounds.map(([own, other]) => own / other)),
    spread: [Math.min(...ours), Math.max(...ours)],
    runs: rounds.length,
  }
}

/** Each octet is confirmed twice: when the client has said it, and when the server has. */
export const STRICT_MODE: Measure = {
  names: ['strict-upload', 'strict-download', 'strict-latency-p50'],
  async run(world, pace) {
    const rounds: Record<string, [number, number][]> = { up: [], down: [], echo: [] }
    for (let n = 0; n < pace.runs; n++) {
      rounds.up?.push(await ask(world, pace, SINK, bulk('up')))
      rounds.down?.push(await ask(world, pace, SOURCE, bulk('down')))
      rounds.echo?.push(await ask(world, pace, ECHO, latency))
    }
    return [
      result('strict-upload', 'Gbit/s', rounds.up ?? []),
      result('strict-download', 'Gbit/s', rounds.down ?? []),
      result('strict-latency-p50', 'us', rounds.echo ?? []),
    ]
  },
}
