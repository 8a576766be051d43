/** What clients still send to the Ethernet address of the last owner its successor takes (P12). */
import t from 'tap'
import { ACK } from '../../packet/codec.js'
import { Cluster } from './linked.js'

t.test('P12, P13: text that is sent to the dead owner is taken by who took over', (t) => {
  const cluster = new Cluster(3)
  const iss = cluster.connects(4001)
  cluster.kill(1)
  t.equal(cluster.own(2).state, 'owner')
  cluster.said.length = 0
  const text = Buffer.from('late')
  cluster.says({ srcPort: 4001, seq: 101, ack: iss + 1, flags: ACK, text }, 1)
  const [connection] = [...cluster.of(2).stack.tcp.demux.connections()]
  t.equal(connection?.tcb.rcvNxtOffset, text.length)
  t.same(cluster.speakers(4001), [2], 'and is acknowledged by it alone')
  t.end()
})
