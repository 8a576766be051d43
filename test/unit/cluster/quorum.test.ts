/**
 * Quorum (D3): who hears too few of the set owns nothing.
 */
import t from 'tap'
import { parseBinding, smallestId } from '../../../cluster/index.js'
import { Cluster } from './linked.js'

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

t.test('D3: without a quorum that is asked for one node serves alone', (t) => {
  const cluster = new Cluster(1)
  t.equal(cluster.own(1).state, 'owner')
  t.equal(cluster.own(1).quorum.holds(cluster.now), true)
  t.equal(cluster.own(1).quorum.endsAt(), Number.POSITIVE_INFINITY)
  t.end()
})
