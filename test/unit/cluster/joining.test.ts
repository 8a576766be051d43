/** A node that asks for a snapshot again takes nothing for its answer that answers an earlier request. */
import t from 'tap'
import { add } from '../../../stack/index.js'
import { ACK, RST } from '../../packet/codec.js'
import { Cluster } from './linked.js'

t.test('P27, D1: what is left of an earlier answer does not end the snapshot', (t) => {
  const cluster = new Cluster(2)
  cluster.connects(4001)
  const [one, two] = [cluster.of(1).node, cluster.of(2).node]
  const { joining } = cluster.own(2).snooper
  /** Node 2 doubts what it knows, and asks; resolves with what the owner answers. */
  const ask = (): Uint8Array[] => {
    joining.doubt()
    joining.restart()
    two.handleTimeout(cluster.now)
    for (let a = two.pollAction(); a !== null; a = two.pollAction()) {
      if (a.kind === 'tell') one.handleMessage(2, a.bytes, cluster.now)
    }
    const answers: Uint8Array[] = []
    for (let a = one.pollAction(); a !== null; a = one.pollAction()) {
      if (a.kind === 'tell') answers.push(a.bytes)
    }
    return answers
  }
  const take = (messages: readonly Uint8Array[]): void => {
    for (const bytes of messages) two.handleMessage(1, bytes, cluster.now)
    two.handleTimeout(cluster.now)
  }
  const first = ask()
  t.ok(first.length >= 3, 'a connection, and the end')
  take(first.slice(0, 1))
  const second = ask()
  take(first.slice(1))
  t.equal(joining.complete, false, 'that was the earlier one')
  take(second)
  t.equal(joining.complete, true)
  t.end()
})

/** The client's connection from `port` begins and ends, and node 2 hears of it only what the owner says. */
function passes(cluster: Cluster, port: number): void {
  const iss = cluster.connects(port, [2])
  cluster.says({ srcPort: port, seq: 101, ack: iss + 1, flags: RST | ACK }, 1, [2])
}

t.test('P27 P20: what has ended before a node came up keeps it from no turn', (t) => {
  const cluster = new Cluster(2)
  const { snooper } = cluster.own(2)
  passes(cluster, 4001)
  cluster.connects(4002, [2])
  t.same(snooper.coverage().lacks, true)
  snooper.joining.begin()
  cluster.run(200)
  t.ok(snooper.joining.complete)
  t.same(
    [...snooper.table.shadows()].map(({ key, verdict }) => [key.remotePort, verdict]),
    [[4002, 'ready']],
    'what lives was named',
  )
  t.equal(snooper.coverage().lacks, false)
  cluster.connects(4003, [2])
  t.equal(snooper.coverage().lacks, true, 'what begins unheard is met again')
  t.end()
})

t.test('P27 P20: what ends between a request and its answer is asked for once more', (t) => {
  const cluster = new Cluster(2)
  const [one, two] = [cluster.of(1).node, cluster.of(2).node]
  const { snooper } = cluster.own(2)
  snooper.joining.begin()
  two.handleTimeout(cluster.now)
  const asked: Uint8Array[] = []
  for (let a = two.pollAction(); a !== null; a = two.pollAction()) {
    if (a.kind === 'tell') asked.push(a.bytes)
  }
  passes(cluster, 4001)
  t.ok(asked.length > 0)
  for (const bytes of asked) one.handleMessage(2, bytes, cluster.now)
  cluster.run(20)
  t.equal(snooper.joining.complete, false)
  cluster.run(200)
  t.equal(snooper.joining.complete, true)
  t.equal(snooper.coverage().lacks, false)
  t.equal(snooper.table.size, 0)
  t.end()
})

t.test('P27, D1: who missed more than half of the sequence space is told anew', (t) => {
  const cluster = new Cluster(2)
  cluster.connects(4001)
  const [one, two] = [cluster.of(1).node, cluster.of(2).node]
  const [connection] = [...cluster.of(1).stack.tcp.demux.connections()]
  if (connection === undefined) throw new Error('no connection')
  // All of it has been acknowledged, too.
  const { tcb, buffers } = connection
  const octets = 3 * 2 ** 30
  tcb.sndNxt = add(tcb.sndNxt, octets)
  tcb.sndNxtOffset += octets
  tcb.sndUna = tcb.sndNxt
  buffers.sent.restart(tcb.sndNxtOffset)
  const { joining, table } = cluster.own(2).snooper
  joining.doubt()
  joining.restart()
  two.handleTimeout(cluster.now)
  for (const [from, to] of [
    [two, one],
    [one, two],
  ] as const) {
    for (let a = from.pollAction(); a !== null; a = from.pollAction()) {
      if (a.kind === 'tell') to.handleMessage(from.options.id, a.bytes, cluster.now)
    }
  }
  two.handleTimeout(cluster.now)
  const [shadow] = table.shadows()
  t.equal(shadow?.tcb.sndNxtOffset, tcb.sndNxtOffset)
  t.equal(shadow?.tcb.sndUna, tcb.sndUna)
  t.end()
})
