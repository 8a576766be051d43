/**
 * A lab: nodes on the TAPs of one bridge, and clients beside them, in network namespaces of their own. This is what the
 * demo, the tests on real devices and `understudy lab` are built on.
 *
 * Invariant: whatever a lab has made is gone after close(), and also after its maker was killed, because a reaper
 * process waits for that. It must know nothing of what the nodes serve.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { StackError } from '../../stack/base/errors.js'
import { KnownOwner } from './known-owner.js'
import { type AppName, appConfig, urlOf } from './lab-app.js'
import { freshLabId, type LabRecord, type LabRouter, runtimeFolder, writeLab } from './lab-file.js'
import { describeLab } from './lab-plan.js'
import { buildNetwork, countWire, readWireCounts, type WireCounts } from './network.js'
import { type NodeEvent, NodeProcess, type NodeState } from './node-process.js'
import { labEnvironment, Space } from './space.js'
import { tearDown } from './teardown.js'

type Stdin = 'ignore' | 'pipe'
export type Fence = 'port' | 'kill' | 'none'

export interface LabOptions {
  /** Four letters or digits; a fresh one when absent. */
  readonly id?: string
  /** How many nodes; their ids are 1, 2, 3 and so on. */
  readonly nodes: number
  readonly clients?: number
  /** Routers between the clients and the nodes, whichever of them a frame takes. Default: none, all are on one link. */
  readonly routers?: number
  /** Links, each with a share of the ports as `1-99`, and the nodes on them by turns. More than one needs routers. Default: one. */
  readonly shares?: readonly string[]
  /** The nodes' links are switches that learn who is where, in place of hubs. Default false. */
  readonly learning?: boolean
  readonly app: AppName
  /** HOST:PORT of the server behind a proxy. */
  readonly to?: string
  /** The addresses are of IPv6. Default false. */
  readonly ipv6?: boolean
  /** The folder that the http app serves. When absent, one inside the lab's folder. */
  readonly root?: string
  readonly fence?: Fence
  /** The folder that each node writes its capture to. */
  readonly record?: string
  /** Nodes and monitor exchange super-frames and unfinished checksums with the kernel. Default true. */
  readonly offload?: boolean
  /** Nodes that compute checksums and cut segments themselves all the same. */
  readonly plainNodes?: readonly number[]
  /** Command line that takes the place of `node build/scripts/node/main.js`; the configuration follows it. */
  readonly program?: readonly string[]
  /** Folders that are removed together with the lab. */
  readonly scratch?: readonly string[]
  /** Fields of a node's configuration that take the place of the lab's own. */
  readonly configure?: (id: number) => object
  /** Called for everything a node says. */
  readonly onEvent?: (event: HeardEvent) => void
}

/** An event of a node with its sender and the instant it was heard, in milliseconds of the monotonic clock. */
export interface HeardEvent extends NodeEvent {
  readonly node: number
  readonly heardAt: number
}

export interface NodeStatus {
  readonly id: number
  readonly tap: string
  readonly mac: string
  readonly pid: number | null
  readonly state: NodeState | 'absent'
  readonly owner: boolean
  readonly log: string
}

const READY_MS = 30_000
const NODE_PROGRAM = fileURLToPath(new URL('../node/main.js', import.meta.url))
const REAPER_PROGRAM = fileURLToPath(new URL('./reaper.js', import.meta.url))

/** Milliseconds of the monotonic clock, the same for all processes of this host. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

export class Lab {
  readonly record: LabRecord
  readonly space: Space
  readonly events: HeardEvent[] = []
  readonly #options: LabOptions
  readonly #nodes = new Map<number, NodeProcess>()
  readonly #listeners = new Set<() => void>()
  #reaper: ChildProcess | undefined
  readonly #owner = new KnownOwner((id) => {
    const state = this.#nodes.get(id)?.state
    return state !== 'ended' && state !== 'stopped'
  })
  #closing: Promise<void> | undefined
  #counting = false

  private constructor(options: LabOptions, record: LabRecord, space: Space) {
    this.#options = options
    this.record = record
    this.space = space
  }

  /**
   * Builds the namespaces and the wires; no node runs yet. Throws ERR_LAB_NO_TUN, ERR_LAB_NO_PRIVILEGE or
   * ERR_LAB_NO_COMMAND where no lab can be built, and leaves nothing behind.
   */
  static async create(options: LabOptions): Promise<Lab> {
    const id = options.id ?? freshLabId()
    const folder = join(runtimeFolder(), id)
    fs.mkdirSync(folder, { recursive: true, mode: 0o700 })
    let lab: Lab | undefined
    try {
      const space = await Space.open(id)
      lab = new Lab(options, describeLab(id, folder, options, space), space)
      writeLab(lab.record)
      lab.#startReaper()
      buildNetwork(space, lab.record)
      lab.#prepareFolders()
      return lab
    } catch (error) {
      if (lab === undefined) fs.rmSync(folder, { recursive: true, force: true })
      else await lab.close()
      throw error
    }
  }

  get id(): string {
    return this.record.id
  }

  /** The node that answers for the virtual address, as far as its own and the others' words go. */
  get owner(): number | undefined {
    return this.#owner.id
  }

  /** The folder that the http app serves. */
  get root(): string {
    return this.record.root ?? join(this.record.folder, 'www')
  }

  /** Where the app is, for a client: `http://10.77.0.100` or `10.77.0.100:7`. */
  get url(): string {
    return urlOf(this.record)
  }

  /** Where node `id` tells its status: a Unix socket, which reaches through network namespaces. */
  operatorSocket(id: number): string {
    return join(this.record.folder, `node${id}.sock`)
  }

  /** Starts node `id` and resolves when it says that it is ready. Throws ERR_LAB_NODE. */
  async start(id: number): Promise<void> {
    const entry = this.record.nodes.find((node) => node.id === id)
    if (entry === undefined) throw noSuchNode(id, this.record)
    const running = this.#nodes.get(id)
    if (running !== undefined && running.state !== 'ended') {
      throw new StackError(
        'ERR_LAB_NODE',
        `node ${id} runs already (process ${running.identity.pid}).`,
      )
    }
    const config = join(this.record.folder, `node${id}.json`)
    fs.writeFileSync(config, `${JSON.stringify(this.#nodeConfig(id), null, 2)}\n`, { mode: 0o600 })
    const program = this.#options.program ?? [process.execPath, NODE_PROGRAM]
    const node = new NodeProcess({
      id,
      argv: this.space.wrapIn(this.record.switchNamespace, [...program, '--config', config]),
      env: labEnvironment(this.id),
      log: this.#log(id),
      onEvent: (event) => this.#hear(id, event),
      onEnd: () => this.#lose(id),
    })
    this.#nodes.set(id, node)
    entry.process = node.identity
    writeLab(this.record)
    await within(READY_MS, node.ready, `node ${id} did not get ready (log: ${this.#log(id)})`)
  }

  /** Starts all nodes and resolves with the owner's id when one has claimed the address. */
  async startAll(): Promise<number> {
    const [first, ...others] = this.record.nodes
    // Whoever listens first on a busy host would own; so that node 1 always does, the others come when it is there.
    if (first !== undefined) await this.start(first.id)
    await Promise.all(others.map((node) => this.start(node.id)))
    return this.awaitOwner()
  }

  /** Resolves with the owner's id as soon as there is one. Throws ERR_LAB_TIMEOUT. */
  async awaitOwner(timeoutMs = READY_MS): Promise<number> {
    await this.until(() => this.owner !== undefined, timeoutMs, 'no node has claimed the address')
    return this.owner ?? 0
  }

  /** Kills node `id` at once and resolves when the process is gone. */
  async kill(id: number): Promise<void> {
    const node = this.#running(id)
    node.kill()
    await node.ended
  }

  /** Freezes node `id`. */
  stop(id: number): void {
    this.#running(id).stop()
    // Whoever is frozen cannot answer for the address any more, even though nobody has said so yet.
    this.#owner.lose(id)
    this.#wake()
  }

  /** Lets a frozen node go on. Its port stays fenced if somebody fenced it: it gives way by itself. */
  continue(id: number): void {
    this.#running(id).continue()
    this.#wake()
  }

  /** Lets node `id` go in order and resolves when it is gone; after five seconds it is killed. */
  async terminate(id: number): Promise<void> {
    const node = this.#running(id)
    node.continue()
    node.terminate()
    const late = setTimeout(() => node.kill(), 5_000)
    await node.ended
    clearTimeout(late)
  }

  status(): NodeStatus[] {
    return this.record.nodes.map((entry) => {
      const node = this.#nodes.get(entry.id)
      const gone = node === undefined || node.state === 'ended'
      return {
        id: entry.id,
        tap: entry.tap,
        mac: entry.mac,
        pid: gone ? null : node.identity.pid,
        state: node?.state ?? 'absent',
        owner: this.owner === entry.id,
        log: this.#log(entry.id),
      }
    })
  }

  /** Resolves when `condition` holds after an event of a node. Throws ERR_LAB_TIMEOUT with `otherwise`. */
  async until(condition: () => boolean, timeoutMs: number, otherwise: string): Promise<void> {
    if (condition()) return
    let listener: () => void = () => {}
    const met = new Promise<void>((resolve) => {
      listener = () => {
        if (condition()) resolve()
      }
      this.#listeners.add(listener)
    })
    try {
      await within(timeoutMs, met, otherwise)
    } finally {
      this.#listeners.delete(listener)
    }
  }

  /** Starts a command in the namespace of client `client` (0 is the first), with pipes for its output, and `stdin`. */
  spawnInClient(argv: readonly string[], client = 0, stdin: Stdin = 'ignore'): ChildProcess {
    const namespace = this.record.clients[client]?.namespace ?? ''
    const [command = '', ...args] = this.space.wrapIn(namespace, argv)
    return spawn(command, args, {
      env: labEnvironment(this.id),
      stdio: [stdin, 'pipe', 'pipe'],
      detached: true,
    })
  }

  /** Counts SYNs and RSTs on the clients' wires from now on. False: there is no nft to do it. */
  startCounting(): boolean {
    try {
      countWire(this.space, this.record)
      this.#counting = true
    } catch (error) {
      if ((error as StackError).code !== 'ERR_LAB_NO_COUNTERS') throw error
    }
    return this.#counting
  }

  /** What startCounting has counted on the wire of client `client`; undefined when nothing counts. */
  wireCounts(client = 0): WireCounts | undefined {
    const entry = this.record.clients[client]
    if (!this.#counting || entry === undefined) return undefined
    return readWireCounts(this.space, entry)
  }

  /** Ends everything the lab has started and removes everything it has made. May be called twice. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const reaper = this.#reaper
    await tearDown(this.record, reaper?.pid === undefined ? [] : [reaper.pid])
    this.space.close()
    if (reaper === undefined || reaper.exitCode !== null) return
    reaper.ref()
    const gone = once(reaper, 'exit')
    reaper.stdin?.destroy()
    await Promise.race([gone, delay(2_000, undefined, { ref: false })])
  }

  #startReaper(): void {
    const reaper = spawn(process.execPath, [REAPER_PROGRAM, this.record.folder], {
      cwd: '/',
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    })
    reaper.stdin?.on('error', () => {})
    reaper.unref()
    this.#reaper = reaper
  }

  #prepareFolders(): void {
    fs.writeFileSync(join(this.record.folder, 'key'), `${randomBytes(32).toString('hex')}\n`, {
      mode: 0o600,
    })
    fs.mkdirSync(join(this.record.folder, 'shared'), { mode: 0o700 })
    for (const node of this.record.nodes) {
      fs.mkdirSync(join(this.record.folder, `node${node.id}`), { mode: 0o700 })
    }
    fs.mkdirSync(this.root, { recursive: true })
  }

  #nodeConfig(id: number): object {
    const { record } = this
    const entry = record.nodes.find((node) => node.id === id)
    const link = record.bridges.indexOf(entry?.bridge ?? '')
    return {
      id,
      cluster: `lab-${record.id}`,
      keyFile: join(record.folder, 'key'),
      tap: entry?.tap,
      mac: entry?.mac,
      binding: {
        id: link + 1,
        address: record.address,
        ports: record.shares[link],
      },
      ...(record.routers.length > 0 && { routers: record.routers.map(addressOf) }),
      control: { host: '127.0.0.1' },
      storeDir: join(record.folder, `node${id}`),
      sharedDir: join(record.folder, 'shared'),
      app: appConfig(record.app, record.port, this.root, this.#options.to),
      fence: this.#options.fence ?? 'port',
      operator: { socket: this.operatorSocket(id) },
      ...(this.#options.record === undefined
        ? {}
        : { record: join(this.#options.record, `node${id}.pcapng`) }),
      offload: (this.#options.offload ?? true) && this.#options.plainNodes?.includes(id) !== true,
      ...this.#options.configure?.(id),
    }
  }

  #hear(node: number, event: NodeEvent): void {
    const heard: HeardEvent = { ...event, node, heardAt: monotonicMs() }
    this.events.push(heard)
    this.#options.onEvent?.(heard)
    this.#owner.hear(node, event)
    this.#wake()
  }

  #lose(id: number): void {
    this.#owner.lose(id)
    this.#wake()
  }

  #wake(): void {
    for (const listener of this.#listeners) listener()
  }

  #running(id: number): NodeProcess {
    const node = this.#nodes.get(id)
    if (node === undefined && !this.record.nodes.some((entry) => entry.id === id)) {
      throw noSuchNode(id, this.record)
    }
    if (node === undefined || node.state === 'ended') {
      throw new StackError(
        'ERR_LAB_NODE',
        `node ${id} does not run: start it with \`understudy lab start ${id}\`.`,
      )
    }
    return node
  }

  #log(id: number): string {
    return join(this.record.folder, `node${id}.log`)
  }
}

function addressOf({ address }: LabRouter): string {
  return address.replace(/\/.*/, '')
}

function noSuchNode(id: number, record: LabRecord): StackError {
  const ids = record.nodes.map((node) => node.id).join(', ')
  return new StackError(
    'ERR_LAB_NODE',
    `there is no node ${id} in lab ${record.id}: it has ${ids}.`,
  )
}

async function within<T>(timeoutMs: number, promise: Promise<T>, otherwise: string): Promise<T> {
  const stop = new AbortController()
  const late = delay(timeoutMs, undefined, { signal: stop.signal }).then(() => {
    throw new StackError('ERR_LAB_TIMEOUT', `${otherwise} within ${timeoutMs / 1000} s.`)
  })
  late.catch(() => {})
  try {
    return await Promise.race([promise, late])
  } finally {
    stop.abort()
  }
}
