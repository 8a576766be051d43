/** Three nodes on a hub in memory with one application, and clients of it: for tests of what outlives an owner. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Test } from 'tap'
import {
  checkNodeConfig,
  MemoryCluster,
  type Net,
  type NodeReport,
  type NodeRuntime,
  parseIpv4Address,
  type Socket,
} from '../../cluster/io/index.js'

export const VIRTUAL = '10.77.0.100'
const IDS = [1, 2, 3]
const NONE = 'none'

export class Company {
  readonly cluster = new MemoryCluster()
  readonly reports: NodeReport[] = []
  readonly client: Net
  readonly #serve: (node: NodeRuntime) => void
  readonly #terms: object

  /** `serve` lets a node serve; `terms` are those of the binding besides its address. */
  constructor(t: Test, serve: (node: NodeRuntime) => void, terms: object = {}) {
    this.#serve = serve
    this.#terms = terms
    t.teardown(() => this.cluster.close())
    for (const id of IDS) this.start(id)
    this.client = this.cluster.client(parseIpv4Address('10.77.0.9'), 24)
  }

  start(id: number): void {
    const names = { cluster: 'test', keyFile: NONE, tap: NONE, storeDir: NONE, sharedDir: NONE }
    const binding = { address: `${VIRTUAL}/24`, ...this.#terms }
    const node = this.cluster.start(checkNodeConfig({ id, ...names, binding }, 'test', '/'))
    node.on('report', (report) => this.reports.push(report))
    this.#serve(node)
  }

  async owner(): Promise<number> {
    for (let i = 0; i < 1000; i++) {
      const owner = IDS.find((id) => this.cluster.node(id)?.node.owns)
      if (owner !== undefined) return owner
      await delay(5)
    }
    throw new Error('nobody owns the address')
  }

  /** Lets the owner die, and resolves when another owns. */
  async crashOwner(): Promise<void> {
    await this.cluster.crash(await this.owner())
    await this.owner()
  }

  /** Resolves when both standbys have been told of the owner's connections. */
  async joined(): Promise<void> {
    const joined = () => this.reports.filter(({ event }) => event === 'joined')
    await until(() => joined().length === IDS.length - 1, 'joined')
  }

  get takeovers(): Extract<NodeReport, { event: 'takeover' }>[] {
    return this.reports.filter((report) => report.event === 'takeover')
  }

  /** Connections that were given up at a take-over. */
  get givenUp(): number {
    return this.takeovers
      .flatMap(({ givenUp }) => Object.values(givenUp))
      .reduce((sum, each) => sum + each, 0)
  }
}

/** One connection, and what it has heard so far, octet by octet. */
export interface Talk {
  readonly socket: Socket
  heard: string
  error: Error | null
  closed: boolean
}

/** Connects a client to `port` of the virtual address. An error is nobody's but the test's own, unless it `mayFail`. */
export function talk({ client }: Company, port: number, mayFail = false): Talk {
  const socket = client.connect(port, VIRTUAL)
  const talk: Talk = { socket, heard: '', error: null, closed: false }
  socket.setEncoding('latin1')
  socket.on('data', (text: string) => {
    talk.heard += text
  })
  if (mayFail) {
    socket.on('error', (error) => {
      talk.error = error
    })
  }
  socket.on('close', () => {
    talk.closed = true
  })
  return talk
}

/** Resolves when `condition` holds; throws after ten seconds. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 2000; i++) {
    if (condition()) return
    await delay(5)
  }
  throw new Error(`not ${what} in ten seconds`)
}
