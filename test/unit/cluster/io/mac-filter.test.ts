/** P12: which stations a node listens to, and that it listens to all while it does not know one of its routers. */
import t from 'tap'
import type { OwnershipDeclaration } from '../../../../cluster/declaration.js'
import { ASK_MS, MacFilter } from '../../../../cluster/io/mac-filter.js'
import { Peers } from '../../../../cluster/peers.js'
import { Hub, type MacAddress, parseIpv4Address, Stack } from '../../../../stack/index.js'
import { decodeArp } from '../../../packet/codec.js'

const OWN = 0x02_00_00_00_00_01
const PEER = 0x02_00_00_00_00_02
const ROUTER = 0x02_00_00_00_00_51
const NAMED = 0x02_00_5e_00_01_64
const [first, second] = [parseIpv4Address('10.0.0.51'), parseIpv4Address('10.0.0.52')]

t.test('P12: the stations of a filter are the nodes and all of the routers', (t) => {
  const stack = new Stack({ rng: { u32: () => 7 }, secret: new Int32Array(4) })
  const port = new Hub().addPort(OWN)
  const nic = stack.addNic({ mac: OWN, mtu: port.mtu })
  nic.setAddress(parseIpv4Address('10.0.0.100'), 24, 'observed', { named: NAMED })
  for (const router of [first, second]) nic.routes.addGateway(router)
  const set: (readonly MacAddress[] | null)[] = []
  port.setFilter = (macs) => set.push(macs === null ? null : [...macs].sort())
  const peers = new Peers()
  const filter = new MacFilter(port, nic, peers, [first, second])
  const asked = (): number[] => {
    const found: number[] = []
    for (let f = stack.pollTransmit(0); f !== null; f = stack.pollTransmit(0)) {
      const { operation, senderIp, targetIp } = decodeArp(
        Buffer.from(f.bytes.subarray(f.start + 14, f.end)),
      )
      t.same([operation, senderIp, f.leased], [1, 0, false], "a probe, in nobody's name")
      found.push(targetIp)
    }
    return found
  }
  filter.update(0)
  t.same(set, [], 'all is taken from the start')
  t.same(asked(), [first, second])
  nic.neighbors.learn(first, ROUTER, 0)
  filter.update(ASK_MS - 1)
  t.same(asked(), [], 'it asks once a second')
  filter.update(ASK_MS)
  t.equal(asked().length, 2)
  t.same(set, [], 'one router is not known yet')
  nic.neighbors.learn(second, ROUTER + 1, 0)
  filter.update(ASK_MS + 1)
  t.same(set.splice(0), [[OWN, ROUTER, ROUTER + 1, NAMED].sort()])
  filter.update(ASK_MS + 2)
  t.same(set, [], 'said once')
  peers.note({
    node: 2,
    mac: PEER,
    incarnation: 1,
    sequence: 1,
    binding: 1,
  } as OwnershipDeclaration)
  filter.update(ASK_MS + 3)
  t.ok(set.splice(0)[0]?.includes(PEER), 'whoever is there may own')
  nic.neighbors.forget(first)
  filter.update(ASK_MS + 4)
  t.same(set, [null], 'without one of them all is taken again')
  t.end()
})
