/** What a node in the world does when it was stopped in the middle of a turn of its event loop. */
import t from 'tap'
import { checkNodeConfig, type NodeReport, NodeRuntime } from '../../../../cluster/io/index.js'
import {
  MemoryCheckpointStorage,
  MemoryCheckpointStore,
  MemoryMirrorStore,
} from '../../../../cluster/memory-store.js'
import { DEFAULT_TIMING } from '../../../../cluster/node-options.js'
import { Frame, Hub, type Nic, Stack } from '../../../../stack/index.js'
import { Driver } from '../../../../stack/io/driver.js'
import { TRUSTING } from '../party.js'

/** A node whose clock and lease are the test's. */
class Place {
  now = 1_000_000
  /** How often the lease has run out; with `stopped` the next look at it finds the node behind a stop of so many milliseconds. */
  expirations = 0
  stopped = 0
  readonly reports: NodeReport[] = []
  readonly hub = new Hub()
  readonly runtime: NodeRuntime

  constructor() {
    const stack = new Stack({ rng: { u32: () => 1 }, secret: new Int32Array(4) })
    const driver = new Driver<Nic>(stack, { now: () => this.now })
    const none = 'none'
    const names = { keyFile: none, tap: none, storeDir: none, sharedDir: none }
    const binding = { address: '10.77.0.100/24' }
    const config = checkNodeConfig({ id: 1, cluster: 'test', ...names, binding }, 'test', '/')
    this.runtime = new NodeRuntime(config, {
      stack,
      driver,
      link: this.hub.addPort(0x02_00_00_00_00_01),
      beats: this.#beats(),
      beatsOffset: 0,
      control: { addPeer: () => {}, send: () => false, close: () => {} },
      controlPort: 1,
      fence: { silence: async () => true, open: () => false },
      fenceTarget: { host: 0, pid: 1, startTime: 0, port: 'p1' },
      mirrorStore: new MemoryMirrorStore(),
      checkpointStore: new MemoryCheckpointStore(new MemoryCheckpointStorage()),
      authenticator: TRUSTING,
    })
    this.runtime.on('report', (report) => this.reports.push(report))
  }

  #beats() {
    const look = (): number => {
      if (this.stopped > 0) {
        this.now += this.stopped
        this.stopped = 0
        this.expirations++
      }
      return this.expirations
    }
    return {
      port: 0,
      get expirations() {
        return look()
      },
      addPeer: () => {},
      removePeer: () => {},
      peer: () => null,
      turn: () => {},
      renewLease: () => {},
      close: () => {},
    }
  }

  /** Somebody says something on the link that is of no interest. */
  hear(): void {
    const other = this.hub.addPort(0x02_00_00_00_00_02)
    const frame = new Frame()
    frame.reset()
    frame.end = frame.start + 60
    other.transmit(frame)
    this.hub.deliver()
    other.close()
  }
}

t.test(
  'D3: an owner that was stopped in a turn listens from when it woke, not from when the turn began',
  async (t) => {
    const place = new Place()
    const { runtime } = place
    runtime.start()
    // It owns when it has listened for `bootMs`; of real time that takes some milliseconds.
    for (let i = 0; i < 400 && !runtime.node.owns; i++) {
      place.now += 10
      place.hear()
      await new Promise((resolve) => setImmediate(resolve))
    }
    t.equal(runtime.node.owns, true)
    place.stopped = 2 * DEFAULT_TIMING.bootMs
    place.hear()
    t.equal(runtime.node.owns, false, 'its lease is over')
    const until = runtime.node.ownerships[0]?.nextDeadline() ?? 0
    t.ok(until >= place.now + DEFAULT_TIMING.bootMs, `it listens for ${until - place.now} ms`)
    await runtime.crash()
  },
)
