/**
 * One address, shared by two owners by its ports, of which one answers ARP for it (P25): echo on both, real sockets, a hub in memory.
 */
import t, { type Test } from 'tap'
import { startApp } from '../../apps/index.js'
import {
  checkNodeConfig,
  MemoryCluster,
  type NodeReport,
  parseIpv4Address,
} from '../../cluster/io/index.js'
import { type Talk, talk, until, VIRTUAL } from './company.js'

const [ARP_PORT, OTHER_PORT] = [80, 81]
const ADDRESS = `${VIRTUAL}/24`
const BINDINGS = [
  { id: 1, address: ADDRESS, ports: ARP_PORT, policy: { ordered: [1, 3, 2] } },
  { id: 2, address: ADDRESS, ports: OTHER_PORT, policy: { ordered: [2, 3, 1] } },
]

class Shared {
  readonly cluster = new MemoryCluster()
  readonly reports: NodeReport[] = []
  readonly client = this.cluster.client(parseIpv4Address('10.77.0.9'), 24)

  constructor(t: Test) {
    t.teardown(() => this.cluster.close())
    for (const id of [1, 2, 3]) this.start(t, id)
  }

  start(t: Test, id: number): void {
    const none = { keyFile: 'none', tap: 'none', storeDir: 'none', sharedDir: 'none' }
    const config = { id, cluster: 'test', ...none, bindings: BINDINGS }
    const node = this.cluster.start(checkNodeConfig(config, 'test', '/'))
    node.on('report', (report) => this.reports.push(report))
    for (const port of [ARP_PORT, OTHER_PORT])
      void startApp({ name: 'echo', port }, node, (error) => t.comment(error.message))
  }

  owner(port: number): number {
    const address = parseIpv4Address(VIRTUAL)
    for (const id of [1, 2, 3]) {
      if (this.cluster.node(id)?.node.ownershipAt(address, port)?.owned === true) return id
    }
    return 0
  }

  /** The nodes that answer for the address. */
  answering(): number[] {
    const address = parseIpv4Address(VIRTUAL)
    return [1, 2, 3].filter((id) => this.cluster.node(id)?.node.world.nic.answersFor(address))
  }
}

async function echoes(talk: Talk, text: string): Promise<void> {
  const from = talk.heard.length
  talk.socket.write(text)
  await until(() => talk.heard.slice(from) === text, `echoed: ${text}`)
}

t.test('P25: two nodes own parts of one address, and one of them answers for it', async (t) => {
  const lab = new Shared(t)
  await until(() => lab.owner(ARP_PORT) === 1 && lab.owner(OTHER_PORT) === 2, 'owned by two')
  t.same(lab.answering(), [1])
  const [a, b] = [talk(lab as never, ARP_PORT), talk(lab as never, OTHER_PORT)]
  await echoes(a, 'to the one that answers')
  await echoes(b, 'to the other')
  const refused = talk(lab as never, 82, true)
  await until(() => refused.closed, 'refused')
  t.match(refused.error, { code: 'ECONNREFUSED' }, 'a port of nobody')

  // The other's death leaves the one that answers alone.
  await lab.cluster.crash(2)
  await until(() => lab.owner(OTHER_PORT) === 3, 'taken over')
  await echoes(a, 'still here')
  await echoes(b, 'here again')
  t.equal(lab.owner(ARP_PORT), 1)
  t.same(lab.answering(), [1])

  // The death of the one that answers moves ARP; the rest of the address stays where it is.
  lab.start(t, 2)
  await until(
    () => lab.reports.filter(({ event }) => event === 'joined').length >= 6,
    'told of all connections',
  )
  await lab.cluster.crash(1)
  await until(() => lab.owner(ARP_PORT) === 3, 'taken over')
  await echoes(a, 'and again')
  await echoes(b, 'undisturbed')
  t.same(lab.answering(), [3])
  await echoes(talk(lab as never, ARP_PORT), 'new')
  await echoes(talk(lab as never, OTHER_PORT), 'new, too')

  // Two owners again, of which neither is the first in the configuration.
  await lab.cluster.crash(3)
  await until(() => lab.owner(ARP_PORT) === 2 && lab.owner(OTHER_PORT) === 2, 'taken over')
  await echoes(a, 'a third time')
  await echoes(b, 'a second time')
  t.same(lab.answering(), [2])
  t.notOk(a.closed || b.closed)
})

t.test('P25: what is left of an address keeps its connections without its ARP', async (t) => {
  const lab = new Shared(t)
  await until(() => lab.owner(ARP_PORT) === 1 && lab.owner(OTHER_PORT) === 2, 'owned by two')
  const b = talk(lab as never, OTHER_PORT)
  await echoes(b, 'before')
  await lab.cluster.crash(1)
  await until(() => lab.owner(ARP_PORT) === 3, 'taken over')
  // The client still believes in the dead node's Ethernet address, or has heard of the next one: both are not its owner's.
  await echoes(b, 'behind')
  t.equal(lab.owner(OTHER_PORT), 2)
  await echoes(talk(lab as never, OTHER_PORT), 'new')
})
