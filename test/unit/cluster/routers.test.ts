/** A client beyond the link, behind two routers (P12). */
import t from 'tap'
import { parseIpv4Address } from '../../../stack/index.js'
import { ACK } from '../../packet/codec.js'
import { Cluster } from './linked.js'

const ROUTERS = [51, 52].map((n) => ({
  ip: parseIpv4Address(`10.0.0.${n}`),
  mac: 0x02_00_00_00_00_00 + n,
}))

function routed(): Cluster {
  const cluster = new Cluster(3)
  for (const { nic } of cluster.parties) for (const { ip } of ROUTERS) nic.routes.addGateway(ip)
  cluster.client = parseIpv4Address('192.0.2.9')
  return cluster
}

t.test(
  'P12, P1: frames of one connection come through either router, and it outlives its owner',
  (t) => {
    const cluster = routed()
    const [first = ROUTERS[0], second] = ROUTERS
    if (first === undefined || second === undefined) throw new Error('there are two')
    cluster.clientMac = first.mac
    // The routers ask for the address, as whoever has something for it does: all hear it.
    for (const router of ROUTERS) cluster.asksWhoHas(router)
    const iss = cluster.connects(4001)
    t.equal(cluster.said.at(-1)?.to, first.mac, 'the answer goes by the preferred one')
    cluster.clientMac = second.mac
    const text = Buffer.from('half of it')
    cluster.says({ srcPort: 4001, seq: 101, ack: iss + 1, flags: ACK, text }, 1)
    cluster.run(100)
    t.equal(cluster.own(2).snooper.lacking(), 0)
    cluster.kill(1)
    t.equal(cluster.own(2).state, 'owner')
    const [connection] = [...cluster.of(2).stack.tcp.demux.connections()]
    t.equal(connection?.tcb.rcvNxtOffset, text.length)
    cluster.said.length = 0
    cluster.clientMac = first.mac
    cluster.says({ srcPort: 4001, seq: 101 + text.length, ack: iss + 1, flags: ACK, text }, 2)
    cluster.run(100)
    t.same(cluster.speakers(4001), [2])
    t.equal(connection?.tcb.rcvNxtOffset, 2 * text.length)
    t.equal(cluster.said.at(-1)?.to, first.mac, 'which is known to the successor, too')
    t.end()
  },
)

t.test(
  'P12: a successor that has heard of no router answers to whoever brought the last frame',
  (t) => {
    const cluster = routed()
    const { mac } = ROUTERS[1] ?? { mac: 0 }
    cluster.of(1).nic.neighbors.learn(ROUTERS[0]?.ip ?? (0 as never), mac, cluster.now)
    cluster.clientMac = mac
    const iss = cluster.connects(4001)
    cluster.kill(1)
    cluster.said.length = 0
    cluster.says({ srcPort: 4001, seq: 101, ack: iss + 1, flags: ACK, text: Buffer.from('on') }, 2)
    cluster.run(100)
    t.same(cluster.speakers(4001), [2])
    t.equal(cluster.said.at(-1)?.to, mac)
    t.end()
  },
)
