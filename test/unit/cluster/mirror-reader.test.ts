/** What a process mirrored another attaches to: with what the owner says it is whole, and by itself it is nothing to go on from. */
import t from 'tap'
import type { NodeReport } from '../../../cluster/index.js'
import { ACK } from '../../packet/codec.js'
import { Cluster } from './linked.js'

const PORT = 4001
const HELLO = Buffer.from('hello')
const WORLD = Buffer.from(' world')

/** The client has said `hello`, which node 1 has read and not committed, and node 2 has mirrored; then node 2's process ends. */
function begin(): { cluster: Cluster; iss: number } {
  const cluster = new Cluster(2)
  cluster.repairs = true
  for (const { own } of cluster.parties) {
    if (own.snooper.repair !== null) own.snooper.repair.enabled = true
  }
  const iss = cluster.connects(PORT)
  says(cluster, iss, 101, HELLO)
  read(cluster)
  cluster.run(100)
  cluster.dead.add(cluster.of(2))
  cluster.of(1).node.handleChannel(2, false, cluster.now)
  cluster.run(200)
  return { cluster, iss }
}

function says(cluster: Cluster, iss: number, seq: number, text: Buffer): void {
  cluster.says({ srcPort: PORT, seq, ack: iss + 1, flags: ACK, text }, 1)
}

// The owner's application reads all that there is.
function read(cluster: Cluster): void {
  const { stack } = cluster.of(1)
  for (const connection of stack.tcp.demux.connections()) {
    const { received } = connection.buffers
    connection.consume(received.contiguousEnd - received.start)
  }
}

/** The first `length` octets of what node 2's connection has received. */
function inputAt(cluster: Cluster, length: number): string {
  const [connection] = [...cluster.of(2).stack.tcp.demux.connections()]
  const text = Buffer.alloc(length)
  connection?.buffers.received.copyTo(0, length, text, 0)
  return String(text)
}

function takeover(cluster: Cluster, from: number): NodeReport | undefined {
  const own = cluster.reports.slice(from).filter(({ by }) => by === 2)
  return own.map(({ report }) => report).find(({ event }) => event === 'takeover')
}

t.test('P27: another process goes on with what the one that snooped had mirrored', (t) => {
  const { cluster } = begin()
  cluster.restart(2)
  const from = cluster.reports.length
  cluster.kill(1)
  t.match(takeover(cluster, from), { promoted: 1, givenUp: {} })
  t.equal(inputAt(cluster, HELLO.length), 'hello', 'the owner had let go of it')
  t.end()
})

t.test('P27, D1: what it missed meanwhile, and the owner has read, it asks for', (t) => {
  const { cluster, iss } = begin()
  says(cluster, iss, 106, WORLD)
  read(cluster)
  cluster.restart(2)
  const from = cluster.reports.length
  cluster.kill(1)
  t.match(takeover(cluster, from), { promoted: 1, givenUp: {} })
  t.equal(inputAt(cluster, HELLO.length + WORLD.length), 'hello world')
  t.end()
})

t.test('P27, S2: what was mirrored is nothing to go on from while no owner has named it', (t) => {
  const { cluster, iss } = begin()
  says(cluster, iss, 106, WORLD)
  cluster.dead.add(cluster.of(1))
  const from = cluster.reports.length
  cluster.said.length = 0
  cluster.restart(2)
  cluster.run(2000)
  t.match(takeover(cluster, from), { promoted: 0, givenUp: { untracked: 1 } })
  t.equal(cluster.of(2).stack.tcp.demux.size, 0)
  t.match(cluster.said, [{ by: 2, port: PORT, flags: 4, seq: iss + 1 }], 'its client is told so')
  t.end()
})

t.test('P27: what has ended meanwhile the owner does not name, and nobody keeps', (t) => {
  const { cluster, iss } = begin()
  cluster.says({ srcPort: PORT, seq: 106, ack: iss + 1, flags: 4 }, 1)
  cluster.restart(2)
  t.equal(cluster.own(2).snooper.table.size, 0)
  t.same([...cluster.of(2).node.world.mirrorStore.flows(1)], [])
  t.end()
})

t.test('P27, P22: what the owner sent meanwhile is in the snapshot, and is not asked for', (t) => {
  const { cluster } = begin()
  const [connection] = [...cluster.of(1).stack.tcp.demux.connections()]
  const answer = Buffer.from('an answer that nobody has acknowledged')
  connection?.write(answer, 0, answer.length)
  cluster.run(20)
  cluster.restart(2)
  const from = cluster.reports.length
  cluster.kill(1)
  t.match(takeover(cluster, from), { promoted: 1, givenUp: {} })
  const [mine] = [...cluster.of(2).stack.tcp.demux.connections()]
  t.equal(mine?.buffers.sent.contiguousEnd, answer.length)
  t.equal(mine?.buffers.received.start, 0, 'and the input is whole')
  t.end()
})
