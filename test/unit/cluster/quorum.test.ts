/**
 * Quorum (D3): who hears too few of the set owns nothing.
 */
import t from 'tap'
import { parseBinding, smallestId } from '../../../cluster/index.js'
import { MemoryCheckpointStorage } from '../../../cluster/memory-store.js'
import { Cluster } from './linked.js'
import { attend, ONE, party } from './party.js'

const OF_THREE = [
  { binding: parseBinding(1, '10.0.0.100/24'), policy: smallestId, members: [1, 2, 3], quorum: 2 },
]

t.test('D3: of a set of three two go on without the third, and one does not', (t) => {
  const cluster = new Cluster(3, OF_THREE)
  t.equal(cluster.own(1).state, 'owner')
  t.equal(cluster.own(1).quorum.heard(cluster.now), 3)
  cluster.kill(1)
  t.equal(cluster.own(2).state, 'owner')
  t.equal(cluster.own(2).quorum.heard(cluster.now), 2)
  cluster.kill(3)
  t.not(cluster.own(2).state, 'owner', 'it cannot know whether it is the one that is cut off')
  t.match(
    cluster.events('quorum-lost').map(({ report }) => report),
    [{ binding: 1, heard: 1, quorum: 2 }],
  )
  cluster.run(5000)
  t.not(cluster.own(2).state, 'owner', 'however long')
  cluster.restart(3)
  t.equal(cluster.own(2).state, 'owner', 'two are a quorum again')
  t.end()
})

t.test('D3: an owner without a quorum is silent before others may claim', (t) => {
  const cluster = new Cluster(3, OF_THREE)
  const { node, own } = cluster.of(1)
  const { leaseMs } = node.options.timing
  const heardAt = cluster.now - 10
  t.ok(own.quorum.endsAt() <= heardAt + 10 + leaseMs)
  node.handleTimeout(heardAt + leaseMs - 20)
  t.equal(own.state, 'owner')
  t.ok(node.nextDeadline() <= own.quorum.endsAt(), 'it wakes by itself')
  node.handleTimeout(own.quorum.endsAt())
  t.equal(own.state, 'fenced')
  t.end()
})

t.test('D3: a node that starts alone claims nothing until it hears a second', (t) => {
  const cluster = new Cluster(1, OF_THREE)
  cluster.run(5000)
  t.equal(cluster.own(1).state, 'standby')
  t.equal(cluster.own(1).owner, 0)
  t.equal(cluster.events('owner').length, 0)
  t.end()
})

t.test('D3: two that started behind a cut, and were not heard, find each other', (t) => {
  const storage = new MemoryCheckpointStorage()
  const parties = [2, 3].map((id) => party(id, storage, OF_THREE))
  let now = 1000
  let said = 0
  for (const { node } of parties) node.start(now)
  const run = (until: number, cut: boolean): void => {
    for (; now < until; now += 10) {
      for (const { node } of parties) {
        attend(node, now)
        for (let a = node.pollAction(); a !== null; a = node.pollAction()) {
          if (a.kind !== 'send') continue
          said++
          for (const other of parties) {
            if (other.node === node || cut) continue
            other.node.handleMessage(node.options.id, a.bytes, now)
            other.node.handleHeartbeat(node.options.id, now, now)
          }
        }
        for (const other of parties) {
          if (other.node !== node && !cut) other.node.handleHeartbeat(node.options.id, now, now)
        }
      }
    }
  }
  run(3000, true)
  t.ok(said < 30, `${said} words of theirs in two seconds: few enough to go on for ever`)
  run(5000, false)
  t.same(
    parties.map(({ own }) => own.state).sort(),
    ['owner', 'standby'],
    'they are more than half',
  )
  t.end()
})

t.test('D3: without a quorum that is asked for one node serves alone', (t) => {
  const cluster = new Cluster(1)
  t.equal(cluster.own(1).state, 'owner')
  t.equal(cluster.own(1).quorum.holds(cluster.now), true)
  t.equal(cluster.own(1).quorum.endsAt(), Number.POSITIVE_INFINITY)
  t.end()
})

/** The terms in which nodes claimed since the report `from`, and who did. */
function claims(cluster: Cluster, from: number): { by: number; epoch: number }[] {
  return cluster.reports.slice(from).flatMap(({ by, report }) => {
    return report.event === 'owner' ? [{ by, epoch: report.epoch }] : []
  })
}

t.test('D3: who is cut off right behind the death of the owner uses no term unheard', (t) => {
  const cluster = new Cluster(3, OF_THREE)
  const from = cluster.reports.length
  cluster.dead.add(cluster.of(1))
  cluster.cut.add(2)
  cluster.apart = true
  cluster.of(2).node.handleChannel(1, false, cluster.now)
  cluster.run(1000)
  t.same(claims(cluster, from), [], 'it counts the third as heard for a lease, and nobody consents')
  cluster.dead.delete(cluster.of(1))
  cluster.restart(1)
  cluster.run(2000)
  cluster.heal()
  cluster.run(1000)
  const terms = claims(cluster, from).map(({ epoch }) => epoch)
  t.ok(terms.length > 0, 'two that hear each other serve')
  t.equal(new Set(terms).size, terms.length, `each in a term of its own: ${terms.join(', ')}`)
  t.end()
})

t.test('D3: an owner whose loop was held up looks at its quorum before it speaks', (t) => {
  const cluster = new Cluster(3, OF_THREE)
  const { node, own } = cluster.of(1)
  const { leaseMs, turnLeaseMs } = node.options.timing
  const later = cluster.now + leaseMs + 50
  t.ok(later - cluster.now < turnLeaseMs, 'its lease holds')
  // What waited in its queue meanwhile, and was said before the cut.
  node.detector.heard(2, later)
  node.detector.heard(3, later)
  node.beginTurn(later)
  t.equal(own.state, 'fenced')
  t.end()
})

t.test(
  'D3: an owner that cannot be fenced is waited for as long as it may sleep over its quorum',
  (t) => {
    for (const [sets, leases] of [
      [OF_THREE, 2],
      [ONE, 1],
    ] as const) {
      const cluster = new Cluster(3, sets)
      const { leaseMs } = cluster.of(2).node.options.timing
      const heardAt = cluster.now
      cluster.cut.add(1)
      cluster.apart = true
      while (cluster.own(2).state !== 'owner' && cluster.now < heardAt + 1000) cluster.run(10)
      t.ok(cluster.now - heardAt >= leases * leaseMs, `${leases}: ${cluster.now - heardAt} ms`)
      t.ok(cluster.now - heardAt < 3 * leaseMs)
    }
    t.end()
  },
)
