/**
 * Crash-point sweep: one exchange of an upload and a download is recorded; then it is run again once for each frame of it,
 * and the owner is cut off from the world right behind that frame, with whatever it had in hand.
 */
import { NO_FAULTS } from './faults.js'
import { PERFECT_LINK, QUICK_SERVER, Run, type RunResult, type Setting } from './scenario.js'
import { stream } from './workload.js'
import { World } from './world.js'

const SEED = 1

/** What is cut: three nodes, one upload, one download, an even flow of frames. */
export const SWEPT: Setting = {
  nodes: 3,
  streams: [
    { ...stream('upload', 11, 40_000, 350), writeMax: 1200, writeEvery: 2 },
    { ...stream('download', 12, 60_000, 352), readMax: 2000, readEvery: 2 },
  ],
  link: { ...PERFECT_LINK, delay: 0.3 },
  server: { ...QUICK_SERVER, commitEvery: 4000 },
  receiveLimit: 16_384,
  sendLimit: 16_384,
  clientReceiveLimit: 8192,
  faults: NO_FAULTS,
}

/** The whole exchange without a fault, and the numbers of its first and last frame. */
export function record(setting: Setting = SWEPT): {
  result: RunResult
  first: number
  last: number
} {
  const run = new Run(new World(SEED), setting)
  let first = -1
  let last = -1
  const { onFrame } = run.bridge
  run.bridge.onFrame = (from, frame, index) => {
    onFrame(from, frame, index)
    if (from === run.client.port && first < 0) first = index
    if (!run.client.over) last = index
  }
  return { result: run.finish(), first, last }
}

/**
 * The same exchange, with the owner crashed right behind frame `at`; with `again`, the next owner too, so many frames later. Frame
 * `missed` does not come to the nodes `deaf`.
 */
export function cutAt(
  at: number,
  again = 0,
  setting: Setting = SWEPT,
  missed = -1,
  deaf: readonly number[] = [],
): RunResult {
  const run = new Run(new World(SEED), setting)
  const ports = run.hosts.filter(({ id }) => deaf.includes(id)).map(({ port }) => port)
  run.bridge.misses = (port, index) => index === missed && ports.includes(port)
  const { onFrame } = run.bridge
  let next = at
  let left = again > 0 ? 2 : 1
  run.bridge.onFrame = (from, frame, index) => {
    onFrame(from, frame, index)
    if (index < next || left === 0) return
    const owner = run.hosts.find((host) => host.running && host.own.state === 'owner')
    if (owner === undefined) return
    left--
    next = index + again
    owner.crash()
  }
  return run.finish()
}
