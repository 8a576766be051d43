/**
 * A standby dies and starts again under traffic, and when it has joined the owner dies (P27): of two nodes. The application commits nothing, so
 * that what the standby had mirrored is all there is of what was read before it came back.
 */
import t from 'tap'
import { PERFECT_LINK, QUICK_SERVER, Run, type RunResult, type Setting } from './scenario.js'
import { stream } from './workload.js'
import { World } from './world.js'

const SEEDS = 40
const CRASH = { kind: 'crash', stage: 'now', frames: 0 } as const

function attach(seed: number): RunResult {
  const world = new World(seed)
  const { random } = world
  const diesAt = random.between(500, 700)
  const restartMs = random.between(30, 200)
  const setting: Setting = {
    nodes: 2,
    streams: [0, 1].map((i) => ({
      ...stream('replay', seed * 10 + i, 60_000, 350),
      writeMax: 500 + random.below(500),
      writeEvery: random.between(15, 25),
    })),
    link: { ...PERFECT_LINK, delay: random.between(0.1, 3) },
    server: QUICK_SERVER,
    receiveLimit: 65_536,
    sendLimit: 65_536,
    clientReceiveLimit: 65_536,
    faults: {
      faults: [
        { at: diesAt, target: 1, fault: { ...CRASH, restartMs } },
        { at: diesAt + restartMs + 600, target: 0, fault: { ...CRASH, restartMs: 0 } },
      ],
      healAt: 3000,
      fenced: 1,
      restarts: false,
    },
  }
  return new Run(world, setting).finish()
}

t.test(`P27, D1: what a standby had mirrored is there again in ${SEEDS} runs`, (t) => {
  let midStream = 0
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { violations, counts } = attach(seed)
    t.same(violations, [], `seed ${seed}`)
    t.match(counts, { done: 2, givenUp: {} }, `seed ${seed}`)
    t.same(Object.keys(counts.givenUp), [], `seed ${seed}`)
    midStream += counts.midStream
  }
  t.ok(midStream >= SEEDS, `${midStream} connections taken over in mid-stream`)
  t.end()
})
