/**
 * The demo's world without devices: the same nodes and the same stack in one process on a hub in memory. The client is no kernel
 * but node:http on a stack of our own, and a node that is killed just falls silent; so this shows less than the real link.
 */
import * as fs from 'node:fs'
import * as http from 'node:http'
import { type Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { startApp } from '../../apps/index.js'
import { checkNodeConfig, MemoryCluster, OperatorServer } from '../../cluster/io/index.js'
import { type Net, parseIpAddress, StackError } from '../../stack/index.js'
import type { Stall } from '../lab/wire-monitor.js'
import { WireProgress } from '../lab/wire-progress.js'
import type { Cause, Failure, NodePhase, Transfer, World, WorldOptions } from './world.js'

const IPV4 = { virtual: '10.77.0.100', client: '10.77.0.9', prefix: 24 }
const IPV6 = { virtual: 'fd77::100', client: 'fd77::9', prefix: 64 }
const WAIT_MS = 15_000

/** Starts the nodes and a client on a hub in memory. */
export async function openMemoryWorld(options: WorldOptions): Promise<World> {
  const world = new MemoryWorld(options)
  await world.restore()
  await world.openPage()
  return world
}

class MemoryWorld implements World {
  readonly link = 'memory'
  readonly #options: WorldOptions
  readonly #cluster = new MemoryCluster()
  readonly #addresses: typeof IPV4
  readonly #progress: WireProgress
  readonly #client: Net
  readonly #ids: readonly number[]
  #page: OperatorServer | null = null

  constructor(options: WorldOptions) {
    this.#options = options
    this.#addresses = options.ipv6 ? IPV6 : IPV4
    const { virtual, client, prefix } = this.#addresses
    this.#progress = new WireProgress(virtual)
    this.#ids = Array.from({ length: options.nodes }, (_, i) => i + 1)
    this.#cluster.hub.addPort(0x02_6d_00_00_00_01).attach({
      onFrame: (f) => this.#progress.observe(f.bytes, f.view, f.start, f.end, performance.now()),
      onBatchEnd: () => {},
    })
    this.#client = this.#cluster.client(parseIpAddress(client), prefix)
  }

  async #start(id: number): Promise<void> {
    const { root, verbose } = this.#options
    const app = { name: 'http', port: 80, root }
    const none = 'none'
    const config = checkNodeConfig(
      {
        id,
        cluster: 'demo',
        keyFile: none,
        tap: none,
        storeDir: none,
        sharedDir: none,
        binding: { address: `${this.#addresses.virtual}/${this.#addresses.prefix}` },
        app,
      },
      'demo',
      root,
    )
    const runtime = this.#cluster.start(config)
    if (verbose)
      runtime.on('report', (report) => console.error(JSON.stringify({ node: id, ...report })))
    await startApp(app, runtime, (error) => {
      if (verbose)
        console.error(JSON.stringify({ node: id, event: 'app-error', message: error.message }))
    })
  }

  get page(): string | null {
    return this.#page?.url ?? null
  }

  /** Serves the live page; nothing can be done by it here. */
  async openPage(): Promise<void> {
    this.#page = await OperatorServer.open({
      address: { host: '127.0.0.1', port: 0 },
      view: () => ({
        nodes: this.#ids.flatMap((id) => this.#cluster.node(id)?.status() ?? []),
        verbs: [],
        processes: Object.fromEntries(
          this.#ids.map((id) => [id, this.#cluster.node(id) === undefined ? 'ended' : 'ready']),
        ),
      }),
    })
  }

  get owner(): number | undefined {
    return this.#ids.find((id) => this.#cluster.node(id)?.node.owns)
  }

  phases(): { id: number; phase: NodePhase }[] {
    return this.#ids.map((id) => {
      const node = this.#cluster.node(id)?.node
      if (node === undefined) return { id, phase: 'dead' }
      return { id, phase: node.owns ? 'owner' : 'standby' }
    })
  }

  download(name: string, to: string, rate: number): Transfer {
    const run = async (): Promise<void> => {
      const answer = await this.#request('GET', name, {}, null)
      await pipeline(answer, paced(rate), fs.createWriteStream(to))
    }
    return this.#transfer(run(), 'down')
  }

  upload(from: string, name: string, rate: number): Transfer {
    const run = async (): Promise<void> => {
      const { size } = fs.statSync(from)
      const body = fs.createReadStream(from).pipe(paced(rate))
      const answer = await this.#request('PUT', name, { 'Content-Length': size }, body)
      answer.resume()
    }
    return this.#transfer(run(), 'up')
  }

  #transfer(done: Promise<void>, direction: 'down' | 'up'): Transfer {
    const before = this.#progress.totals()[direction]
    return { bytes: () => this.#progress.totals()[direction] - before, done }
  }

  #request(
    method: string,
    name: string,
    headers: http.OutgoingHttpHeaders,
    body: Readable | null,
  ): Promise<http.IncomingMessage> {
    return new Promise((resolve, reject) => {
      // node:http asks for a socket of node:net; ours has its shape.
      const createConnection = () => this.#client.connect(80, this.#addresses.virtual) as never
      const request = http.request({ method, path: `/${name}`, headers, createConnection })
      const fail = (error: Error) => reject(new StackError('ERR_DEMO_CLIENT', error.message))
      request.once('error', fail)
      request.once('response', (answer) => {
        if ((answer.statusCode ?? 500) < 400) resolve(answer)
        else fail(new Error(`the server answered ${answer.statusCode}`))
      })
      if (body === null) request.end()
      else body.pipe(request)
    })
  }

  async awaitOwner(): Promise<number> {
    return this.#until(() => this.owner, 'no node owns the address')
  }

  async fail(cause: Cause): Promise<Failure> {
    const node = await this.awaitOwner()
    const at = performance.now()
    await this.#cluster.crash(node)
    return { node, cause, at }
  }

  awaitSuccessor(failure: Failure): Promise<number> {
    const successor = () => (this.owner === failure.node ? undefined : this.owner)
    return this.#until(successor, `no node has taken over from node ${failure.node}`)
  }

  async stall(failure: Failure): Promise<Stall | undefined> {
    const giveUpAt = performance.now() + WAIT_MS
    while (performance.now() < giveUpAt) {
      const ms = this.#progress.stall(failure.at, performance.now())
      if (ms !== undefined) return { ms, usualMs: this.#progress.usualSilence(failure.at) }
      await delay(10)
    }
    return undefined
  }

  async restore(): Promise<void> {
    for (const id of this.#ids) {
      if (this.#cluster.node(id) === undefined) await this.#start(id)
    }
    // A node listens before it takes part.
    await delay(500)
    await this.awaitOwner()
  }

  wire(): Promise<{ syns: number; resets: number }> {
    return Promise.resolve(this.#progress.totals())
  }

  close(): Promise<void> {
    return this.#cluster.close()
  }

  async #until(find: () => number | undefined, otherwise: string): Promise<number> {
    const giveUpAt = performance.now() + WAIT_MS
    while (performance.now() < giveUpAt) {
      const found = find()
      if (found !== undefined) return found
      await delay(2)
    }
    throw new StackError('ERR_DEMO_STUCK', `${otherwise} after ${WAIT_MS / 1000} s`)
  }
}

/** Lets `rate` octets a second through. */
function paced(rate: number): Transform {
  const since = performance.now()
  let passed = 0
  return new Transform({
    highWaterMark: 65_536,
    transform(chunk: Buffer, _encoding, done) {
      passed += chunk.length
      const due = since + (passed / rate) * 1000
      const wait = due - performance.now()
      if (wait < 2) done(null, chunk)
      else setTimeout(() => done(null, chunk), wait)
    },
  })
}
