/**
 * Owner recovery: the binding returns to an owner that is back, and what is active stays with the peer that serves it.
 */
import t, { type Test } from 'tap'
import { orderedList } from '../../../cluster/failover-policy.js'
import {
  decodeRecoveryMessage,
  encodeRecoveryMessages,
  MAX_ACTIVE_FLOWS,
  MAX_FLOWS_NAMED,
} from '../../../cluster/recovery-message.js'
import { DropReason } from '../../../stack/index.js'
import { ACK, RST, SYN } from '../../packet/codec.js'
import { CLIENT, Cluster, VIRTUAL } from './linked.js'
import { ONE, TRUSTING } from './party.js'

const RETURNING = ONE.map((set) => ({ ...set, recovery: 'return' as const }))

/** Node 1 is killed with a connection, node 2 goes on with it, and node 1 is back. The ISS of the connection. */
function recovered(cluster: Cluster): number {
  const iss = cluster.connects(4001)
  cluster.kill(1)
  cluster.restart(1)
  return iss
}

function asks(cluster: Cluster, seq: number, iss: number, text: string, to = 1): number[] {
  cluster.said.length = 0
  const fields = { srcPort: 4001, seq, ack: iss + 1, flags: ACK, text: Buffer.from(text) }
  cluster.says(fields, to)
  cluster.run(100)
  return cluster.speakers(4001)
}

function opens(cluster: Cluster, port: number): number[] {
  cluster.said.length = 0
  cluster.says({ srcPort: port, seq: 900, ack: 0, flags: SYN }, 1)
  return cluster.speakers(port)
}

const statesOf = (cluster: Cluster, ids: readonly number[]) =>
  ids.map((id) => cluster.of(id).nic.addressOf(VIRTUAL)?.state)

t.test('P23: ARP and new connections return to an owner that is back, active ones stay', (t) => {
  const cluster = new Cluster(3, RETURNING)
  const iss = recovered(cluster)
  t.match(cluster.events('owner-recovery'), [{ by: 2, report: { to: 1, connections: 1 } }])
  t.equal(cluster.own(1).state, 'owner')
  t.equal(cluster.own(2).state, 'standby')
  t.same(statesOf(cluster, [1, 2, 3]), ['assigned', 'shared', 'observed'])
  t.same(cluster.asksWhoHas(), [1], 'P13: ARP goes back')
  t.same(asks(cluster, 101, iss, 'question'), [2], 'the peer serves what is active with it')
  t.same(asks(cluster, 109, iss, 'another', 2), [2], 'whomever the client takes for the owner')
  t.ok(cluster.said.every(({ flags }) => (flags & RST) === 0))
  t.same(opens(cluster, 4002), [1], 'a new connection is the owner’s')
  const shadow = cluster.own(1).snooper.table.find(80, CLIENT, 4001)
  t.equal(shadow?.verdict, 'ready', 'the owner snoops the rest')
  t.equal(shadow?.tcb.rcvNxtOffset, 15)
  t.end()
})

t.test(
  'P23: no connection begins between endpoints that the directive names until it ends',
  (t) => {
    const cluster = new Cluster(3, RETURNING)
    const iss = recovered(cluster)
    const { drops } = cluster.of(1).stack
    const before = drops.get(DropReason.TCP_QUIET)
    t.same(
      opens(cluster, 4001),
      [2],
      'a challenge by the peer (RFC 5961), and no answer of the owner',
    )
    t.equal(drops.get(DropReason.TCP_QUIET), before + 1, 'which counts the SYN')
    cluster.says({ srcPort: 4001, seq: 101, ack: iss + 1, flags: RST | ACK }, 1)
    cluster.run(300)
    t.match(cluster.own(1).carriage.counts, { away: 0 })
    t.match(cluster.own(2).carriage.counts, { carried: 0 })
    t.equal(cluster.of(2).nic.addressOf(VIRTUAL)?.state, 'observed')
    t.same(opens(cluster, 4001), [1], 'then they are the owner’s again')
    t.end()
  },
)

t.test('P23, D4: when the peer dies another goes on, and the owner last of all', (t) => {
  const cluster = new Cluster(3, RETURNING)
  const iss = recovered(cluster)
  cluster.kill(2)
  t.match(cluster.own(3).carriage.counts, { carried: 1 }, 'the policy would have named the owner')
  t.same(asks(cluster, 101, iss, 'question'), [3])
  cluster.kill(3)
  t.same(asks(cluster, 109, iss, 'another'), [1], 'nobody else has it')
  t.match(cluster.events('flow-lost'), [])
  t.end()
})

t.test('P23, D4: the owner goes on with what a peer refuses that has lost it, too', (t) => {
  const cluster = new Cluster(3, RETURNING)
  const iss = recovered(cluster)
  const { snooper } = cluster.own(3)
  for (const shadow of [...snooper.table.shadows()]) snooper.remove(shadow)
  cluster.kill(2)
  cluster.run(2000)
  t.match(cluster.events('flow-lost'), [])
  t.same(asks(cluster, 101, iss, 'question'), [1])
  t.end()
})

t.test(
  'P23, P1: the owner may die again: the peer goes on with its own and takes the others',
  (t) => {
    const cluster = new Cluster(3, RETURNING)
    const iss = recovered(cluster)
    const second = cluster.connects(4002)
    cluster.kill(1)
    t.equal(cluster.own(2).state, 'owner')
    t.same(asks(cluster, 101, iss, 'question', 2), [2])
    cluster.said.length = 0
    const fields = { srcPort: 4002, seq: 101, ack: second + 1, flags: ACK, text: Buffer.from('x') }
    cluster.says(fields, 2)
    cluster.run(100)
    t.same(cluster.speakers(4002), [2])
    t.match(cluster.own(3).carriage.counts, { carried: 0, away: 0 })
    cluster.restart(1)
    t.match(cluster.events('owner-recovery'), [{}, { by: 2, report: { to: 1, connections: 2 } }])
    t.end()
  },
)

function staysWith(t: Test, cluster: Cluster, id: number, why: string): void {
  cluster.run(6000)
  t.equal(cluster.own(id).state, 'owner', why)
  t.match(cluster.events('owner-recovery'), [])
}

t.test(
  'P23: the binding stays where it is unless told to return, and where an operator put it',
  (t) => {
    const staying = new Cluster(2)
    recovered(staying)
    staysWith(t, staying, 2, 'by default')
    const drained = new Cluster(2, RETURNING)
    drained.of(1).node.switchover(2, drained.now)
    staysWith(t, drained, 2, 'given away on command')
    drained.kill(1)
    drained.restart(1)
    t.equal(drained.own(1).state, 'owner', 'until its giver starts anew')
    const ordered = new Cluster(
      2,
      RETURNING.map((set) => ({ ...set, policy: orderedList([2, 1]) })),
    )
    ordered.run(2000)
    t.equal(ordered.own(2).state, 'owner', 'the first of the policy’s order')
    t.end()
  },
)

t.test('P23, D3: an owner that hears the declaration without the directive does not claim', (t) => {
  const cluster = new Cluster(3, RETURNING)
  cluster.connects(4001)
  cluster.kill(1)
  cluster.mute = true
  cluster.restart(1)
  t.match(cluster.events('owner-recovery'), [{ by: 2 }])
  t.equal(cluster.own(1).state, 'standby')
  cluster.run(3000)
  t.equal(cluster.own(2).state, 'owner', 'the peer has it back')
  t.equal(cluster.of(2).stack.tcp.demux.size, 1, 'with all connections')
  cluster.mute = false
  cluster.run(6000)
  t.equal(cluster.own(1).state, 'owner', 'and offers it again')
  t.end()
})

t.test('P23: a directive goes in pages, and one that is damaged or too long is none', (t) => {
  const flow = (remotePort: number) => ({
    key: { binding: 1, localAddress: VIRTUAL, localPort: 80, remoteAddress: CLIENT, remotePort },
    node: 2,
  })
  const flows = Array.from({ length: MAX_FLOWS_NAMED + 1 }, (_, i) => flow(i + 1))
  const pages = encodeRecoveryMessages(flows, 1, 7, TRUSTING)
  const read = pages.map((each) => decodeRecoveryMessage(each, TRUSTING))
  t.match(read, [
    { binding: 1, epoch: 7, page: 0 },
    { page: 1, flows: [flow(MAX_FLOWS_NAMED + 1)] },
  ])
  t.same(
    read.flatMap((each) => each?.flows),
    flows,
  )
  t.equal(encodeRecoveryMessages([], 1, 7, TRUSTING).length, 1, 'none is told of, too')
  const [, last = new Uint8Array()] = pages
  const damaged: [string, (bytes: Uint8Array, view: DataView) => Uint8Array | undefined][] = [
    ['cut short', (bytes) => bytes.subarray(0, -1)],
    ['another kind', (_, view) => view.setUint8(4, 2) as undefined],
    ['a key of another binding', (_, view) => view.setUint16(20, 9) as undefined],
    ['served by nobody', (_, view) => view.setUint32(20 + 38, 0) as undefined],
    ['no term', (_, view) => view.setFloat64(8, -1) as undefined],
    ['beyond all limits', (_, view) => view.setUint32(16, MAX_ACTIVE_FLOWS) as undefined],
  ]
  const cluster = new Cluster(1, RETURNING)
  const { node, stack } = cluster.of(1)
  for (const [what, damage] of damaged) {
    const copy = last.slice()
    const bytes = damage(copy, new DataView(copy.buffer)) ?? copy
    t.equal(decodeRecoveryMessage(bytes, TRUSTING), null, what)
    node.handleMessage(2, bytes, cluster.now)
  }
  const { RECOVERY_MALFORMED } = DropReason
  t.equal(stack.drops.get(RECOVERY_MALFORMED), damaged.length, 'and is counted')
  t.equal(decodeRecoveryMessage(last, { ...TRUSTING, verify: () => false }), null)
  t.end()
})

t.test('P23, D3: what a node has taken over is its own, whoever carried it before', (t) => {
  const cluster = new Cluster(4, RETURNING)
  const iss = recovered(cluster)
  cluster.kill(2)
  t.match(cluster.own(3).carriage.counts, { carried: 1, away: 0 })
  cluster.restart(2)
  cluster.kill(1)
  t.equal(cluster.own(2).state, 'owner')
  t.same(asks(cluster, 101, iss, 'question', 2), [3])
  cluster.kill(2)
  t.equal(cluster.own(3).state, 'owner')
  t.same(asks(cluster, 109, iss, 'another', 3), [3])
  t.match(cluster.own(4).carriage.counts, { carried: 0, away: 0 })
  t.end()
})

t.test(
  'P23, D4: a carrier that has started again before anybody missed it carries nothing',
  (t) => {
    const cluster = new Cluster(3, RETURNING)
    const iss = recovered(cluster)
    cluster.restart(2)
    t.same(asks(cluster, 101, iss, 'question'), [3])
    t.match(cluster.own(1).carriage.counts, { away: 1 })
    t.end()
  },
)
