/**
 * Opens a node on devices and sockets: a TAP, the native heartbeat, a WebSocket control channel, LMDB stores, and a fence for
 * neighbours on the same host.
 */
import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { isGroupMac, type Nic, RecordingLink, Stack, StackError } from '../../stack/index.js'
import { Driver } from '../../stack/io/driver.js'
import { Heartbeat } from '../../stack/io/heartbeat.js'
import { monotonicMs } from '../../stack/io/native.js'
import { systemClock } from '../../stack/io/system-clock.js'
import { SystemRng } from '../../stack/io/system-rng.js'
import { SPIN_US, Tap } from '../../stack/io/tap.js'
import type { NodeId } from '../binding.js'
import type { FenceTarget } from '../declaration.js'
import { rehearse } from '../rehearsal.js'
import { HmacAuthenticator } from './authenticator.js'
import { CaptureFile } from './capture-file.js'
import { rehearseChannel } from './channel-rehearsal.js'
import { FenceCommand, LocalFence } from './fence.js'
import { requireHub } from './hub-check.js'
import { ownFenceTarget } from './identity.js'
import { deriveKey, readKeyFile } from './key-file.js'
import { LmdbCheckpointStore } from './lmdb-checkpoint-store.js'
import { LmdbMirrorStore } from './lmdb-mirror-store.js'
import { nodeMetrics } from './metrics.js'
import type { FenceMode, NodeConfig } from './node-config.js'
import { type OperatorAddress, OperatorServer } from './operator-server.js'
import { isEnding } from './process-table.js'
import { NodeRuntime } from './runtime.js'
import type { Fence, RuntimeParts } from './runtime-parts.js'
import { WsControl } from './ws-control.js'

/** Opens everything and joins the cluster. Throws StackError or TapError, with nothing left open. */
export async function openNode(config: NodeConfig): Promise<NodeRuntime> {
  const opened: (() => unknown)[] = []
  let runtime: NodeRuntime | null = null
  try {
    await prepare(config.controlHost)
    const parts = await openParts(config, opened, () => runtime)
    runtime = new NodeRuntime(config, parts)
    runtime.start()
    if (config.operator !== null) runtime.serve(await openOperator(config.operator, runtime))
    return runtime
  } catch (error) {
    for (const close of opened.reverse()) await close()
    throw error
  }
}

// What a take-over runs is compiled now, and stays so: V8 forgets what it has not run for a while.
async function prepare(controlHost: string): Promise<void> {
  setFlagsFromString('--no-flush-bytecode')
  rehearse(new HmacAuthenticator(randomBytes(32)), new SystemRng())
  await rehearseChannel(controlHost)
}

async function openOperator(
  address: OperatorAddress,
  runtime: NodeRuntime,
): Promise<OperatorServer> {
  const metrics = nodeMetrics(() => runtime.status(), runtime.log)
  return OperatorServer.open({
    address,
    view: () => ({ nodes: [runtime.status()], verbs: [], processes: {} }),
    metrics: () => metrics.metrics(),
    ready: () => {
      const lost = runtime.node.ownerships.find(({ owner }) => owner === 0)
      return lost === undefined ? null : `nobody owns binding ${lost.binding.id}`
    },
  })
}

async function openParts(
  config: NodeConfig,
  opened: (() => unknown)[],
  runtime: () => NodeRuntime | null,
): Promise<RuntimeParts> {
  const { id, cluster } = config
  const key = readKeyFile(config.keyFile)
  const secret = new Int32Array(deriveKey(key, 'isn').slice().buffer)
  const stack = new Stack({ rng: new SystemRng(), secret })
  const driver = new Driver<Nic>(stack, systemClock, { onFailure: end })
  const tap = new Tap({
    name: config.tap,
    offload: config.offload,
    ...(config.mac === null ? {} : { mac: config.mac }),
  })
  opened.push(() => tap.close())
  const recording = config.record === null ? null : record(config, config.record, tap, opened)
  // What goes to groups both ways passes a switch that learns, too.
  const grouped = config.sets.every(
    ({ macs }) => macs?.sendTo !== undefined && isGroupMac(macs.named),
  )
  if (config.hub === 'checked' && !grouped) await requireHub(tap.name)
  const beats = openHeartbeat(config, deriveKey(key, 'heartbeat'), runtime)
  opened.push(() => beats.close())
  tap.setLease(beats)
  const control = new WsControl({
    id,
    cluster,
    key: deriveKey(key, 'control'),
    host: config.controlHost,
    port: 0,
    onUp: (node) => runtime()?.handleChannel(node, true),
    onDown: (node) => runtime()?.handleChannel(node, false),
    onMessage: (node, bytes) => runtime()?.handleMessage(node, bytes),
  })
  opened.push(() => control.close())
  const { port: controlPort } = await control.listen()
  makeFolder(config.storeDir, 'storeDir')
  makeFolder(config.sharedDir, 'sharedDir')
  const mirrorStore = new LmdbMirrorStore({
    path: join(config.storeDir, 'mirror'),
    cluster,
    node: id,
  })
  opened.push(() => mirrorStore.close())
  const checkpointStore = new LmdbCheckpointStore({
    path: join(config.sharedDir, 'checkpoints'),
    cluster,
  })
  opened.push(() => checkpointStore.close())
  const fenceTarget = ownFenceTarget(tap.name)
  const fence = new HostFence(config, fenceTarget, checkpointStore)
  return {
    stack,
    driver,
    link: recording ?? tap,
    linkLosses: () => {
      const { kernelDrops, rxDrops } = tap.stats()
      return { missed: kernelDrops, filtered: rxDrops.filtered }
    },
    ...(recording === null ? {} : { recording }),
    // A standby has nobody to answer, and its owner may need the processor.
    setSpeaking: (owns) => tap.setSpin(owns ? SPIN_US : 0),
    beats,
    // The driver counts from the Unix epoch, the heartbeat from boot.
    beatsOffset: driver.now() - monotonicMs(),
    control,
    controlPort,
    fence,
    fenceTarget,
    mirrorStore,
    checkpointStore,
    authenticator: new HmacAuthenticator(deriveKey(key, 'declaration')),
  }
}

function record(
  config: NodeConfig,
  path: string,
  tap: Tap,
  opened: (() => unknown)[],
): RecordingLink {
  const file = new CaptureFile(path)
  opened.push(() => file.close())
  const info = { name: tap.name, description: `understudy node ${config.id}` }
  return new RecordingLink(tap, systemClock, info, file)
}

// A broken invariant of our own: the process ends, and fail-over is the recovery. What the operator can mend is his to read.
function end(error: unknown): never {
  if (error instanceof StackError) throw error
  console.error(error)
  process.exit(70)
}

function openHeartbeat(
  config: NodeConfig,
  key: Uint8Array,
  runtime: () => NodeRuntime | null,
): Heartbeat {
  const { leaseMs, turnLeaseMs, silenceMs, stuckMs } = config.timing
  const look = (): void => runtime()?.handleSilence()
  return new Heartbeat({
    id: config.id,
    address: config.controlHost,
    key,
    leaseMs,
    turnLeaseMs,
    silenceMs,
    stuckMs,
    onSilent: look,
    onStuck: look,
    onGone: look,
  })
}

/** Silences neighbours on this host, and others by the operator's command; without one their lease must run out. */
class HostFence implements Fence {
  reason = ''
  readonly #mode: FenceMode
  readonly #command: FenceCommand | null
  readonly #own: FenceTarget
  readonly #store: LmdbCheckpointStore
  readonly #local = new LocalFence()

  constructor(
    { fence, fenceCommand }: Pick<NodeConfig, 'fence' | 'fenceCommand'>,
    own: FenceTarget,
    store: LmdbCheckpointStore,
  ) {
    this.#mode = fence
    this.#command = fenceCommand === null ? null : new FenceCommand(fenceCommand)
    this.#own = own
    this.#store = store
  }

  async silence(target: FenceTarget, node: NodeId): Promise<boolean> {
    this.reason = ''
    if (target.host !== this.#own.host) return this.#silenceElsewhere(node)
    const kill = () => this.#local.killProcess(target.pid, target.startTime)
    // A node that was stopped in the middle of a transaction would keep everybody from the store for ever; of one that has ended the
    // kernel has unlocked it. Its port need not wait for the answer, nor the answer for its port.
    const ended = isEnding(target.pid, String(target.startTime))
    const free = ended ? true : within(STORE_PATIENCE_MS, this.#store.probe())
    const shut = this.#mode !== 'none' && (await this.#local.fencePort(target.port))
    const killed = this.#mode === 'kill' && (await kill())
    if (!(await free) && !killed) await kill()
    const silent = shut || killed
    if (!silent && this.#mode !== 'none') this.reason = this.#local.reason
    return silent
  }

  async #silenceElsewhere(node: NodeId): Promise<boolean> {
    const command = this.#command
    if (command === null) return false
    const silent = await command.fence(node)
    if (!silent) this.reason = command.reason
    return silent
  }

  open(): boolean {
    const wasShut = this.#local.isShut(this.#own.port)
    void this.#local.openPort(this.#own.port)
    return wasShut
  }
}

/** A transaction takes microseconds. */
const STORE_PATIENCE_MS = 50

function within(ms: number, done: Promise<void>): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms, false)
    done.then(() => {
      clearTimeout(timer)
      resolve(true)
    }, reject)
  })
}

function makeFolder(path: string, field: string): void {
  try {
    fs.mkdirSync(path, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw new StackError(
      'ERR_CONFIG',
      `${field}: the folder ${path} cannot be made (${(error as Error).message}); choose one that this user may write`,
    )
  }
}
