/**
 * Clients beyond the nodes' link (P12): behind two routers, either of which takes frames of one connection and may fail; and behind a
 * layer-4 switch that spreads one address over two links, each with an owner and a peer of its own.
 */
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Lab } from '../../scripts/lab/lab.js'
import { portOf } from '../../scripts/lab/routers.js'
import {
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

/** Who owns the address on the link with this index, by the nodes' own words. */
function ownerOn(lab: Lab, link: number): number {
  const claims = lab.events.filter(
    ({ event, binding }) => event === 'owner' && binding === link + 1,
  )
  return Number(claims.at(-1)?.id ?? 0)
}

t.test(
  'P12, P25: one address on two links, each with its share of the ports, outlives an owner on each',
  { skip: why },
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
