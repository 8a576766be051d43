/**
 * Connections that another node serves than the owner of their binding: the fail-over directive, and what follows from it. The nodes hear
 * each other and one client on a hub; what they say beside it is carried by hand.
 */
import t from 'tap'
import {
  decodeFlowMessage,
  encodeFlowMessage,
  FlowMessageKind,
} from '../../../cluster/flow-message.js'
import { ACK, RST, SYN } from '../../packet/codec.js'
import { CLIENT, Cluster, macOf, VIRTUAL } from './linked.js'
import { TRUSTING } from './party.js'

// Two connections; of the second the node `deaf` misses octets that the owner acknowledges.
function withGap(cluster: Cluster, deaf: readonly number[]): { first: number; second: number } {
  cluster.connects(4001)
  const second = cluster.connects(4002)
  cluster.says(
    { srcPort: 4002, seq: 101, ack: second + 1, flags: ACK, text: Buffer.from('question') },
    1,
    deaf,
  )
  cluster.run(100)
  return { first: 4001, second }
}

t.test('P20: what the new owner lacks another peer goes on with, and it alone', (t) => {
  const cluster = new Cluster(3)
  const { second } = withGap(cluster, [2])
  cluster.said.length = 0
  cluster.kill(1)
  t.equal(cluster.own(2).state, 'owner', 'the first of the policy owns the binding')
  t.equal(cluster.own(3).state, 'standby')
  t.match(cluster.events('takeover')[0]?.report, { to: 2, promoted: 1, passedOn: 1, givenUp: {} })
  t.match(cluster.events('flow-passed'), [{ by: 2, report: { node: 3, remote: '10.0.0.9:4002' } }])
  t.match(cluster.events('flow-carried'), [{ by: 3, report: { node: 2 } }])
  const speakers = (port: number) => [
    ...new Set(cluster.said.filter((x) => x.port === port).map(({ by }) => by)),
  ]
  t.same(speakers(4001), [2])
  t.same(speakers(4002), [3])
  t.ok(
    cluster.said.every(({ flags }) => (flags & RST) === 0),
    'nobody is reset',
  )
  // The client sends to whom ARP names, and is answered by who serves the connection.
  cluster.said.length = 0
  cluster.says(
    { srcPort: 4002, seq: 109, ack: second + 1, flags: ACK, text: Buffer.from('more') },
    2,
  )
  cluster.run(100)
  t.same(speakers(4002), [3])
  t.same(cluster.asksWhoHas(), [2], 'P13: one answers for the address')
  t.match(
    [2, 3].map((id) => cluster.of(id).nic.addressOf(VIRTUAL)?.state),
    ['assigned', 'shared'],
  )
  // New connections are the owner's.
  cluster.said.length = 0
  cluster.says({ srcPort: 4003, seq: 100, ack: 0, flags: SYN }, 2)
  t.same(speakers(4003), [2])
  t.end()
})

t.test('P20: a peer that lacks it too passes it on to the next one', (t) => {
  const cluster = new Cluster(4)
  withGap(cluster, [2, 3])
  cluster.kill(1)
  t.match(cluster.events('flow-passed'), [{ by: 2, report: { node: 4 } }])
  t.same(
    [3, 4].map((id) => cluster.of(id).stack.tcp.demux.size),
    [0, 1],
  )
  t.end()
})

t.test('P20, S2: when nobody can go on with it the connection ends at once, by its reset', (t) => {
  const cluster = new Cluster(3)
  const { second } = withGap(cluster, [2, 3])
  cluster.said.length = 0
  cluster.kill(1)
  const resets = cluster.said.filter(({ flags }) => (flags & RST) !== 0)
  t.match(resets, [{ by: 2, port: 4002, seq: (second + 1) >>> 0 }])
  t.match(cluster.events('flow-lost'), [{ by: 2, report: { reason: 'gap', localPort: 80 } }])
  t.end()
})

t.test('P20, D4: when the peer that took it dies another one does, and the last resets it', (t) => {
  const cluster = new Cluster(4)
  const { second } = withGap(cluster, [2])
  cluster.kill(1)
  t.match(cluster.events('flow-passed'), [{ report: { node: 3 } }])
  cluster.kill(3)
  t.match(cluster.events('flow-passed'), [{}, { report: { node: 4 } }])
  cluster.said.length = 0
  cluster.says({ srcPort: 4002, seq: 109, ack: second + 1, flags: ACK, text: Buffer.from('x') }, 2)
  cluster.run(100)
  t.same([...new Set(cluster.said.filter((x) => x.port === 4002).map(({ by }) => by))], [4])
  cluster.kill(4)
  t.match(cluster.events('flow-lost'), [{ by: 2 }])
  t.end()
})

t.test(
  'P20, D3: the next owner leaves it to the peer that serves it, and inherits the rest',
  (t) => {
    const cluster = new Cluster(4)
    withGap(cluster, [2])
    cluster.kill(1)
    cluster.kill(2)
    t.equal(cluster.own(3).state, 'owner', 'which is the one that serves it')
    t.match(cluster.own(3).carriage.counts, { carried: 0, away: 0 })
    t.equal(cluster.of(3).stack.tcp.demux.size, 2)
    t.equal(cluster.of(4).stack.tcp.demux.size, 0)
    t.end()
  },
)

t.test(
  'P20, P12: who serves it hears what is sent to the address of whoever owns the binding next',
  (t) => {
    const cluster = new Cluster(4)
    withGap(cluster, [2])
    cluster.kill(1)
    t.equal(cluster.own(2).state, 'owner')
    t.match(cluster.own(3).carriage.counts, { carried: 1 })
    t.equal(cluster.of(3).nic.takes(macOf(2)), true)
    t.equal(cluster.of(3).nic.takes(macOf(4)), false)
    cluster.of(2).node.switchover(4, cluster.now)
    cluster.run(200)
    t.equal(cluster.own(4).state, 'owner')
    t.match(cluster.own(3).carriage.counts, { carried: 1 })
    t.equal(cluster.of(3).nic.takes(macOf(4)), true)
    t.end()
  },
)

t.test('P20: when the connection is over its endpoints are the owner’s again', (t) => {
  const cluster = new Cluster(3)
  const { second } = withGap(cluster, [2])
  cluster.kill(1)
  cluster.said.length = 0
  cluster.says({ srcPort: 4002, seq: 100, ack: 0, flags: SYN }, 2)
  t.ok(
    cluster.said.every(({ by }) => by === 3),
    'no new connection while it lasts',
  )
  cluster.says({ srcPort: 4002, seq: 109, ack: second + 1, flags: RST | ACK }, 2)
  cluster.run(300)
  t.match(cluster.own(3).carriage.counts, { carried: 0 })
  t.match(cluster.own(2).carriage.counts, { away: 0 })
  t.equal(cluster.of(3).nic.addressOf(VIRTUAL)?.state, 'observed')
  cluster.said.length = 0
  cluster.says({ srcPort: 4002, seq: 900, ack: 0, flags: SYN }, 2)
  t.match(cluster.said, [{ by: 2, port: 4002 }])
  t.end()
})

t.test('P20, D3: a peer that was stopped serves it no more, until it is asked again', (t) => {
  const cluster = new Cluster(3)
  withGap(cluster, [2])
  cluster.kill(1)
  cluster.of(3).node.handleLeaseLost(cluster.now)
  t.match(cluster.own(3).carriage.counts, { carried: 0 })
  t.equal(cluster.of(3).stack.tcp.demux.size, 0)
  cluster.run(2000)
  t.match(cluster.own(3).carriage.counts, { carried: 1 })
  t.match(cluster.events('flow-lost'), [])
  t.end()
})

t.test('P20: a message that is damaged is none', (t) => {
  const key = {
    binding: 1,
    localAddress: VIRTUAL,
    localPort: 80,
    remoteAddress: CLIENT,
    remotePort: 4002,
  } as never
  const message = { kind: FlowMessageKind.TAKE, epoch: 7, key, iss: -5, irs: 9 }
  const bytes = encodeFlowMessage(message, TRUSTING)
  t.same(decodeFlowMessage(bytes, TRUSTING), message)
  t.equal(decodeFlowMessage(bytes.subarray(1), TRUSTING), null)
  t.equal(decodeFlowMessage(bytes, { ...TRUSTING, verify: () => false }), null)
  bytes[4] = 9
  t.equal(decodeFlowMessage(bytes, TRUSTING), null)
  t.end()
})
