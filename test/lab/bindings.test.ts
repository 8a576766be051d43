/** Several owners on real devices: of one address by its ports (P25), and of one binding that returns to a recovered owner (P23). */
import t, { type Test } from 'tap'
import { Lab, type LabOptions } from '../../scripts/lab/lab.js'
import type { WireMonitor } from '../../scripts/lab/wire-monitor.js'
import { lowMac } from '../../scripts/lab/wire-progress.js'
import { askWhoHas, dialogue, macOf, numbersLines, playIn, whyNoLab } from './support.js'

const why = await whyNoLab()
const ADDRESS = '10.77.0.100/24'

async function inLab(
  t: Test,
  options: Omit<LabOptions, 'app' | 'program'>,
  ports: readonly number[],
  scene: (lab: Lab, monitor: WireMonitor) => Promise<void>,
): Promise<void> {
  const lab = await Lab.create({ ...options, app: 'echo', program: numbersLines(t, ports, true) })
  await playIn(t, lab, scene)
}

/** Who owns `binding` by the nodes' own words. */
function ownerOf(lab: Lab, binding: number): number {
  const claims = lab.events.filter((e) => e.event === 'owner' && e.binding === binding)
  const last = claims.reduce((a, b) => (Number(b.epoch) > Number(a?.epoch ?? 0) ? b : a), claims[0])
  return Number(last?.id ?? 0)
}

async function arpsOf(lab: Lab, monitor: WireMonitor, id: number): Promise<number> {
  const mac = lowMac(macOf(lab, id))
  return (await monitor.speakers()).find((each) => each.mac === mac)?.arp ?? 0
}

const [ARP_PORT, OTHER_PORT] = [7, 9]

t.test(
  'P25: two nodes own an address by its ports, of which one at a time answers ARP',
  { skip: why },
  (t) => {
    const bindings = [
      { id: 1, address: ADDRESS, ports: ARP_PORT, policy: { ordered: [1, 3] }, set: [1, 3] },
      { id: 2, address: ADDRESS, ports: OTHER_PORT, policy: { ordered: [2, 3] }, set: [2, 3] },
    ]
    const configure = () => ({ binding: undefined, bindings })
    const ports = [ARP_PORT, OTHER_PORT]
    return inLab(t, { nodes: 3, configure }, ports, async (lab, monitor) => {
      const settled = (a: number, b: number) => () => ownerOf(lab, 1) === a && ownerOf(lab, 2) === b
      await lab.until(() => ownerOf(lab, 1) > 0 && ownerOf(lab, 2) > 0, 10_000, 'nobody owns')
      t.ok(settled(1, 2)(), `owners are ${ownerOf(lab, 1)} and ${ownerOf(lab, 2)}`)
      const [one, other] = [dialogue(t, lab, ARP_PORT), dialogue(t, lab, OTHER_PORT)]
      await one.says('to the first', 1)
      await other.says('to the second', 1)
      t.equal(await askWhoHas(lab, other, 'whoever answers', 2), macOf(lab, 1))
      t.equal(await arpsOf(lab, monitor, 2), 0, 'the owner of the other ports says nothing by ARP')
      t.equal(await arpsOf(lab, monitor, 3), 0)

      await lab.kill(1)
      await lab.until(settled(3, 2), 10_000, 'the third has not taken the first part over')
      await one.says('to the third', 2)
      await other.says('to the second still', 3)
      t.equal(await askWhoHas(lab, other, 'whoever answers now', 4), macOf(lab, 3))
      t.equal(await arpsOf(lab, monitor, 2), 0)
      t.match((await monitor.count()).totals, { syns: 2, resets: 0 }, 'one SYN each, no RST')
    })
  },
)

t.test(
  'P2: a node owns several addresses, of both families, and each moves by its own policy',
  { skip: why },
  (t) => {
    const addresses = ['10.77.0.100', '10.77.0.101', 'fd77::100']
    const bindings = addresses.map((address, i) => ({
      id: i + 1,
      address: `${address}/${address.includes(':') ? 64 : 24}`,
      policy: { ordered: i === 1 ? [2, 3, 1] : [1, 3, 2] },
    }))
    const configure = () => ({ binding: undefined, bindings })
    return inLab(t, { nodes: 3, configure }, [ARP_PORT], async (lab, monitor) => {
      const client = lab.record.clients[0]?.namespace ?? ''
      const enable = 'echo 0 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6'
      lab.space.runScriptIn(client, `${enable}; ip address add fd77::9/64 dev eth0 nodad`)
      const owners = () => bindings.map(({ id }) => ownerOf(lab, id))
      await lab.until(() => owners().every((id) => id > 0), 10_000, 'an address has no owner')
      const hosts = addresses.map((each) => (each.includes(':') ? `[${each}]` : each))
      const talks = hosts.map((host) => dialogue(t, lab, ARP_PORT, host))
      const all = (n: number) => Promise.all(talks.map((talk) => talk.says(`the line ${n}`, n)))
      await all(1)
      await lab.kill(1)
      await lab.until(() => !owners().includes(1), 10_000, 'something is left with the dead node')
      t.same(owners(), [3, 2, 3], 'the next in each line')
      await all(2)
      await lab.kill(3)
      await lab.until(() => !owners().includes(3), 10_000, 'something is left with the dead node')
      t.same(owners(), [2, 2, 2])
      await all(3)
      const { syns, resets } = (await monitor.count()).totals
      t.same([syns, resets], [1, 0], 'of the address that is watched: one SYN, no RST')
    })
  },
)

t.test(
  'P23: a recovered owner has ARP and new connections again, and the old ones stay with its peer',
  { skip: why },
  (t) => {
    const configure = () => ({
      binding: { address: ADDRESS, policy: { ordered: [1, 2] }, recovery: 'return' },
    })
    return inLab(t, { nodes: 2, configure }, [ARP_PORT], async (lab, monitor) => {
      const [first, peer] = [1, 2]
      t.equal(await lab.awaitOwner(), first)
      const old = dialogue(t, lab, ARP_PORT)
      await old.says('to the owner', 1)
      await lab.kill(first)
      t.equal(await lab.awaitOwner(10_000), peer)
      await old.says('to its peer', 2)

      await lab.start(first)
      await lab.until(() => lab.owner === first, 20_000, 'the binding has not returned')
      const directive = lab.events.find(({ event }) => event === 'owner-recovery')
      t.match(directive, { node: peer, to: first, connections: 1 }, 'the directive names it')
      t.equal(await askWhoHas(lab, old, 'to the peer, which serves it', 3), macOf(lab, first))
      const fresh = dialogue(t, lab, ARP_PORT)
      await fresh.says('to the owner that is back', 1)

      await lab.kill(peer)
      await old.says('to the owner again', 4)
      await fresh.says('as before', 2)
      t.match((await monitor.count()).totals, { syns: 2, resets: 0 }, 'one SYN each, no RST')
    })
  },
)
