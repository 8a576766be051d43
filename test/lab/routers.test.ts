/**
 * Clients beyond the nodes' link (P12): behind two routers, either of which takes frames of one connection and may fail; and behind a
 * layer-4 switch that spreads one address over two links, each with an owner and a peer of its own.
 */
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { fetchView } from '../../cluster/io/operator-client.js'
import { Lab } from '../../scripts/lab/lab.js'
import { portOf } from '../../scripts/lab/routers.js'
import {
  askWhoHas,
  curl,
  dialogue,
  hashOf,
  killOwner,
  numbersLines,
  playIn,
  randomFile,
  reach,
  whyNoLab,
} from './support.js'

const why = await whyNoLab()
const hasNft = spawnSync('nft', ['--version']).error === undefined
/** Of the tests whose routers must be told what they usually would not do. */
const whyNoRules = why || (hasNft ? false : 'there is no nft: install nftables')
const SIZE = 12 * 2 ** 20

/** The client sends by router `n` from now on. */
function routeBy(lab: Lab, n: number): void {
  const { routers, clients, address } = lab.record
  const via = routers[n - 1]?.outerAddress.split('/')[0]
  const network = address.includes(':') ? 'fd77::/64' : '10.77.0.0/24'
  lab.space.runScript(`ip -n ${clients[0]?.namespace} route replace ${network} via ${via}`)
}

/** Router `n` is dead, or is back: both of its wires are cut. */
function setRouter(lab: Lab, n: number, state: 'up' | 'down'): void {
  const router = lab.record.routers[n - 1]
  if (router === undefined) throw new Error(`there is no router ${n}`)
  for (const device of ['out', 'in1']) {
    const port = portOf(router, device)
    lab.space.runScript(`ip -n ${lab.record.switchNamespace} link set ${port} ${state}`)
  }
}

for (const ipv6 of [false, true]) {
  t.test(
    `P12, P1: behind two routers${ipv6 ? ', over IPv6,' : ''} a download outlives its owner, and a router`,
    { skip: why },
    async (t) => {
      const folder = fs.mkdtempSync(join(tmpdir(), 'understudy-routers-'))
      t.teardown(() => fs.rmSync(folder, { recursive: true, force: true }))
      const lab = await Lab.create({ nodes: 3, app: 'http', routers: 2, ipv6 })
      await playIn(t, lab, async (lab, monitor) => {
        const wanted = randomFile(join(lab.root, 'file'), SIZE)
        const copy = join(folder, 'copy')
        const down = curl(lab, '-g', '--limit-rate', '6M', '-o', copy, `${lab.url}/file`)
        await reach(monitor, 'down', SIZE / 6)
        routeBy(lab, 2)
        await killOwner(lab)
        await reach(monitor, 'down', SIZE / 3)
        // The nodes send by the first router still: it is found to be silent.
        setRouter(lab, 1, 'down')
        await reach(monitor, 'down', (2 * SIZE) / 3)
        await killOwner(lab)
        t.match(await down, { code: 0, stderr: '' })
        t.equal(hashOf(copy), wanted)
        t.match((await monitor.count()).totals, { syns: 1, resets: 0 }, 'one SYN, no RST')
      })
    },
  )
}

t.test(
  'P12: a peer that takes only what goes to nodes and routers takes over as any, and leaves the rest unread',
  { skip: why },
  async (t) => {
    const configure = () => ({ macFilter: true })
    const program = numbersLines(t, [7], true)
    const lab = await Lab.create({ nodes: 3, app: 'echo', routers: 2, configure, program })
    await playIn(t, lab, async (lab, monitor) => {
      const talk = dialogue(t, lab, 7)
      await talk.says('to the first', 1)
      // A router talks to some other station of the link, which is none of the nodes' business.
      const router = lab.record.routers[0]?.namespace ?? ''
      const say = 'for i in $(seq 20); do echo hello >/dev/udp/10.77.0.77/9 || true; done'
      const station = 'neigh add 10.77.0.77 lladdr 02:00:00:00:00:77 dev in1'
      lab.space.runScript(`ip -n ${router} ${station}`)
      const chat = () => lab.space.runScriptIn(router, `bash -c '${say}' 2>/dev/null`)
      const filtered = async (id: number): Promise<number> => {
        const view = await fetchView({ socket: lab.operatorSocket(id) })
        return view.nodes[0]?.framesFiltered ?? 0
      }
      for (const n of [2, 4]) {
        for (let i = 0; i < 50 && (await filtered(3)) < 10 * n; i++) chat()
        t.ok((await filtered(3)) >= 10 * n, 'what goes by')
        await killOwner(lab)
        await talk.says('to the next', n)
        routeBy(lab, n === 2 ? 2 : 1)
        await talk.says('by another router', n + 1)
      }
      t.match((await monitor.count()).totals, { syns: 1, resets: 0 }, 'one SYN, no RST')
    })
  },
)

t.test(
  'P12: with a group address for each way the switch may be one that learns, and a download outlives its owner',
  { skip: whyNoRules },
  async (t) => {
    const folder = fs.mkdtempSync(join(tmpdir(), 'understudy-groups-'))
    t.teardown(() => fs.rmSync(folder, { recursive: true, force: true }))
    const [mac, routersMac] = ['03:00:5e:00:01:64', '03:00:5e:00:01:65']
    const binding = { address: '10.77.0.100/24', mac, routersMac }
    const configure = () => ({ binding })
    const lab = await Lab.create({ nodes: 3, app: 'http', routers: 1, learning: true, configure })
    await playIn(t, lab, async (lab, monitor) => {
      const router = lab.record.routers[0]?.namespace ?? ''
      // A router that is in the group takes what is sent to it; the kernel does so only when it is told.
      const rule = `ether daddr ${routersMac} meta pkttype set host`
      const chain = `chain c { type filter hook prerouting priority raw; ${rule}; }`
      lab.space.runScriptIn(router, `nft 'table inet groups { ${chain}; }'`)
      const wanted = randomFile(join(lab.root, 'file'), SIZE)
      const copy = join(folder, 'copy')
      const down = curl(lab, '--limit-rate', '8M', '-o', copy, `${lab.url}/file`)
      for (const part of [3, 1.5]) {
        await reach(monitor, 'down', SIZE / part)
        await killOwner(lab)
      }
      t.match(await down, { code: 0, stderr: '' })
      t.equal(hashOf(copy), wanted)
      const known = lab.space.runScriptIn(router, 'ip neigh show to 10.77.0.100')
      t.match(known, new RegExp(`lladdr ${mac}`), 'the router sends to the group')
      t.match((await monitor.count()).totals, { syns: 1, resets: 0 }, 'one SYN, no RST')
    })
  },
)

t.test(
  'P12, P13: with a virtual Ethernet address neighbours need not learn anew where the address is',
  { skip: why },
  async (t) => {
    const mac = '02:00:5e:00:01:64'
    const configure = () => ({ binding: { address: '10.77.0.100/24', mac } })
    const program = numbersLines(t, [7], true)
    const lab = await Lab.create({ nodes: 3, app: 'echo', configure, program })
    await playIn(t, lab, async (lab, monitor) => {
      const talk = dialogue(t, lab, 7)
      await talk.says('to the first', 1)
      t.equal(await askWhoHas(lab, talk, 'whoever it is', 2), mac)
      for (const n of [3, 5]) {
        await killOwner(lab)
        await talk.says('to the next', n)
        t.equal(await askWhoHas(lab, talk, 'whoever it is now', n + 1), mac)
      }
      t.match((await monitor.count()).totals, { syns: 1, resets: 0 }, 'one SYN, no RST')
    })
  },
)

/** Who owns the address on the link with this index, by the nodes' own words. */
function ownerOn(lab: Lab, link: number): number {
  const claims = lab.events.filter(
    ({ event, binding }) => event === 'owner' && binding === link + 1,
  )
  return Number(claims.at(-1)?.id ?? 0)
}

t.test(
  'P12, P25: one address on two links, each with its share of the ports, outlives an owner on each',
  { skip: whyNoRules },
  async (t: Test) => {
    const [first, second] = [7, 9]
    const lab = await Lab.create({
      nodes: 4,
      app: 'echo',
      routers: 1,
      shares: ['1-8', '9-65535'],
      program: numbersLines(t, [first, second], true),
    })
    await playIn(t, lab, async (lab, monitor) => {
      const owners = () => [ownerOn(lab, 0), ownerOn(lab, 1)]
      await lab.until(() => owners().every((id) => id > 0), 20_000, 'a link has no owner')
      const [one, other] = [dialogue(t, lab, first), dialogue(t, lab, second)]
      await one.says('on the first link', 1)
      await other.says('on the second link', 1)
      const before = owners()
      t.same(
        before.map((id) => (id - 1) % 2),
        [0, 1],
        'each is on its own link',
      )
      for (const [link, id] of before.entries()) {
        await lab.kill(id)
        await lab.until(() => owners()[link] !== id, 10_000, `nobody owns link ${link + 1} now`)
        await one.says('still there', link + 2)
        await other.says('still there', link + 2)
      }
      const { syns, resets } = (await monitor.count()).totals
      t.same([syns, resets], [1, 0], 'the first link has carried its own connection alone')
    })
  },
)
