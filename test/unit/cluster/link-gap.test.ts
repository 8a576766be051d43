/**
 * Nodes that are cut off from the link for a while: what went by them they ask for, and whoever is cut off where it serves gives that up.
 */
import t from 'tap'
import { DeclarationKind, type OwnershipDeclaration } from '../../../cluster/declaration.js'
import { LATE_MS, LinkGap } from '../../../cluster/link-gap.js'
import type { Ownership } from '../../../cluster/ownership.js'
import { ACK, RST } from '../../packet/codec.js'
import { Cluster } from './linked.js'
import { ONE } from './party.js'

const RETURNING = ONE.map((set) => ({ ...set, recovery: 'return' as const }))

// A renewal of the owner's goes by node 2, and with it a question, a connection's end and another one's beginning.
function missesSome(cluster: Cluster): void {
  const first = cluster.connects(4001)
  const second = cluster.connects(4002)
  cluster.cut.add(2)
  const question = { flags: ACK, text: Buffer.from('question') }
  cluster.says({ srcPort: 4001, seq: 101, ack: first + 1, ...question }, 1)
  cluster.says({ srcPort: 4002, seq: 101, ack: second + 1, flags: RST | ACK }, 1)
  const third = cluster.connects(4003)
  cluster.says({ srcPort: 4003, seq: 101, ack: third + 1, ...question }, 1)
  cluster.run(250)
}

t.test('D1, P4: what went by a node on the link it has as soon as it hears again', (t) => {
  const cluster = new Cluster(2)
  missesSome(cluster)
  t.equal(cluster.own(2).complete, false, 'it knows that it lacks something, and says so')
  t.match(cluster.events('link-gap'), [{ by: 2, report: { owner: 1 } }])
  cluster.heal()
  cluster.connects(4004)
  cluster.run(30)
  t.equal(cluster.own(2).complete, true)
  const { table } = cluster.own(2).snooper
  const known = [...table.shadows()].map(({ key, verdict, tcb }) => [
    key.remotePort,
    verdict,
    tcb.rcvNxtOffset,
  ])
  t.same(known.sort(), [
    [4001, 'ready', 8],
    [4003, 'ready', 8],
    [4004, 'ready', 0],
  ])
  cluster.kill(1)
  t.match(cluster.events('takeover')[0]?.report, { to: 2, promoted: 3, givenUp: {} })
  t.equal(cluster.events('link-gap').length, 1)
  t.end()
})

t.test('D1, P4: a number that is passed over on the link tells of a cut of all ways', (t) => {
  const cluster = new Cluster(2)
  const first = cluster.connects(4001)
  const renewals = () => cluster.own(1).nextDeadline()
  cluster.run(renewals() - cluster.now - 20)
  cluster.cut.add(2)
  cluster.apart = true
  const question = { flags: ACK, text: Buffer.from('question') }
  cluster.says({ srcPort: 4001, seq: 101, ack: first + 1, ...question }, 1)
  cluster.run(60)
  t.equal(cluster.own(2).complete, true, 'it was too short for a suspicion')
  cluster.heal()
  cluster.run(300)
  const [shadow] = cluster.own(2).snooper.table.shadows()
  t.equal(shadow?.tcb.rcvNxtOffset, 8)
  t.equal(cluster.own(2).complete, true)
  t.end()
})

t.test('D1, P20: who is deaf to the link when the owner dies lets others go before it', (t) => {
  const cluster = new Cluster(3)
  missesSome(cluster)
  cluster.kill(1)
  t.equal(cluster.own(3).state, 'owner')
  t.match(cluster.events('takeover')[0]?.report, { to: 3, promoted: 2, givenUp: {} })
  t.end()
})

t.test(
  'P20, P23, D3: who carries a connection and hears nobody gives it up, as others take it',
  (t) => {
    const cluster = new Cluster(3, RETURNING)
    cluster.connects(4001)
    cluster.kill(1)
    cluster.restart(1)
    t.match(cluster.own(2).carriage.counts, { carried: 1 })
    cluster.cut.add(2)
    cluster.apart = true
    cluster.run(80)
    t.match(cluster.own(2).carriage.counts, { carried: 1 })
    cluster.run(40)
    t.match(cluster.own(2).carriage.counts, { carried: 0 })
    cluster.run(2000)
    t.match(cluster.own(3).carriage.counts, { carried: 1 })
    cluster.heal()
    cluster.run(1000)
    t.match(
      [2, 3].map((id) => cluster.own(id).carriage.counts.carried),
      [0, 1],
      'and does not take it back',
    )
    t.match(cluster.events('flow-lost'), [])
    t.end()
  },
)

t.test(
  'D3, S2: what one side of a cut served, and the other knows nothing of, ends by a reset',
  (t) => {
    const cluster = new Cluster(2)
    cluster.connects(4001)
    cluster.cut.add(1)
    cluster.apart = true
    // It boots behind the cut, and claims as nobody is heard.
    cluster.restart(2)
    t.match(
      [1, 2].map((id) => cluster.own(id).state),
      ['owner', 'owner'],
    )
    cluster.said.length = 0
    cluster.heal()
    cluster.run(10)
    // A number that was passed over meanwhile does not make it forget what it is to name.
    const { joining } = cluster.own(1).snooper
    t.equal(joining.complete, false)
    joining.doubt()
    joining.restart()
    cluster.run(1000)
    t.match(
      [1, 2].map((id) => cluster.own(id).state),
      ['standby', 'owner'],
      'the greater claim wins',
    )
    t.match(cluster.events('flow-lost'), [
      { by: 2, report: { remote: '10.0.0.9:4001', reason: 'untracked' } },
    ])
    t.match(cluster.said, [{ by: 2, port: 4001, flags: RST }])
    t.end()
  },
)

t.test('D1: a node that was held up itself looks again before it takes the link for cut', (t) => {
  let doubts = 0
  const joining = { complete: true, doubt: () => doubts++, restart: () => {} }
  const of = { state: 'standby', owner: 1, binding: { id: 1 }, snooper: { joining } }
  const declared = { node: 1, incarnation: 1, binding: 1, kind: DeclarationKind.RENEW }
  const begin = (): LinkGap => {
    const gap = new LinkGap({ act: () => {}, declare: () => {} })
    hear(gap, 7, true)
    hear(gap, 8, false)
    return gap
  }
  const hear = (gap: LinkGap, sequence: number, onLink: boolean): void => {
    const d = { ...declared, sequence } as OwnershipDeclaration
    gap.heard(d, onLink, 'new', of as unknown as Ownership, 0)
  }
  begin().handleTimeout(LATE_MS)
  t.equal(doubts, 1, 'in time')
  const late = begin()
  late.handleTimeout(200)
  t.equal(doubts, 1, 'too late to tell')
  hear(late, 8, true)
  late.handleTimeout(200 + LATE_MS)
  t.equal(doubts, 1, 'it lay in the queue')
  const cut = begin()
  cut.handleTimeout(200)
  cut.handleTimeout(200 + LATE_MS)
  t.equal(doubts, 2, 'and does not come')
  const slow = begin()
  for (let now = 200; now < 1400; now += 200) slow.handleTimeout(now)
  t.equal(doubts, 3, 'who is always late believes it at last')
  t.end()
})
