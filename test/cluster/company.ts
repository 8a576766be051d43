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
} from '../../cluster/io/index.js'

export const VIRTUAL = '10.77.0.100'
const IDS = [1, 2, 3]
const NONE = 'none'

export class Company {
  readonly cluster = new MemoryCluster()
  readonly reports: NodeReport[] = []
  readonly client: Net

  /** `start` lets a node serve. */
  constructor(t: Test, start: (node: NodeRuntime) => void) {
    t.teardown(() => this.cluster.close())
    const names = { cluster: 'test', keyFile: NONE, tap: NONE, storeDir: NONE, sharedDir: NONE }
    for (const id of IDS) {
      const binding = { address: `${VIRTUAL}/24` }
      const node = this.cluster.start(checkNodeConfig({ id, ...names, binding }, 'test', '/'))
      node.on('report', (report) => this.reports.push(report))
      start(node)
    }
    this.client = this.cluster.client(parseIpv4Address('10.77.0.9'), 24)
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

  /** Connections that were given up at a take-over. */
  get givenUp(): number {
    return this.reports
      .flatMap((report) => (report.event === 'takeover' ? Object.values(report.givenUp) : []))
      .reduce((sum, each) => sum + each, 0)
  }
}

/** Resolves when `condition` holds; throws after ten seconds. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 2000; i++) {
    if (condition()) return
    await delay(5)
  }
  throw new Error(`not ${what} in ten seconds`)
}
