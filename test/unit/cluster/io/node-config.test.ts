/** What a configuration may say, and that an error names file, field, value and fix; incarnations; what is a hub. */
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { type FailoverPolicy, termsOf } from '../../../../cluster/failover-policy.js'
import { hubFault, type LinkInfo, requireHub } from '../../../../cluster/io/hub-check.js'
import { nextIncarnation } from '../../../../cluster/io/incarnation.js'
import { LmdbMirrorStore } from '../../../../cluster/io/lmdb-mirror-store.js'
import { checkNodeConfig, FIELDS, readNodeConfig } from '../../../../cluster/io/node-config.js'
import { NODE_CONFIG_SCHEMA } from '../../../../cluster/io/node-config-schema.js'
import { DEFAULT_TIMING } from '../../../../cluster/node.js'

const RIGHT = {
  id: 1,
  cluster: 'main',
  keyFile: 'key',
  tap: 'us0',
  binding: { address: '10.77.0.100/24' },
  storeDir: 'mirror',
  sharedDir: '/srv/shared',
}
const check = (value: unknown) => checkNodeConfig(value, 'node.json', '/etc/understudy')

t.test('paths are relative to the file, and what is not said has a default', async (t) => {
  const config = check({ ...RIGHT, app: { name: 'http', port: 80, root: 'www' } })
  t.match(config, {
    id: 1,
    mac: null,
    keyFile: '/etc/understudy/key',
    storeDir: '/etc/understudy/mirror',
    sharedDir: '/srv/shared',
    controlHost: '127.0.0.1',
    fence: 'port',
    hub: 'checked',
    offload: true,
    bindings: [{ id: 1, prefix: 24, firstPort: 1, lastPort: 65_535 }],
    app: { root: '/etc/understudy/www' },
  })
  t.same(config.timing, DEFAULT_TIMING)
  t.match(check({ ...RIGHT, binding: { address: '10.0.0.1/24', ports: 80 } }).bindings, [
    { firstPort: 80, lastPort: 80 },
  ])
  t.match(
    check({
      ...RIGHT,
      binding: undefined,
      bindings: [
        { address: '10.0.0.1/24', ports: 80 },
        { id: 7, address: '10.0.0.1/24', ports: '81-90' },
      ],
    }).bindings,
    [
      { id: 1, firstPort: 80, lastPort: 80 },
      { id: 7, firstPort: 81, lastPort: 90 },
    ],
    'P2: several bindings',
  )
  t.same(config.routers, [], 'P12: without routers all clients are on the link')
  t.equal(check({ ...RIGHT, routers: ['10.77.0.1', '10.77.0.2'] }).routers.length, 2)
  const ipv6 = { ...RIGHT, binding: { address: 'fd77::100/64' } }
  t.equal(check({ ...ipv6, routers: ['fe80::1', 'fd77::1'] }).routers.length, 2)
  t.equal(check({ ...RIGHT, timing: { renewMs: 100 } }).timing.renewMs, 100)
  t.equal(check({ ...RIGHT, hub: 'unchecked' }).hub, 'unchecked')
  t.equal(check({ ...RIGHT, offload: false }).offload, false)
})

t.test(
  'P2, P7: a binding has a policy and a set, and what is wrong with them is named',
  async (t) => {
    const of = (binding: object, id = 1) =>
      check({ ...RIGHT, id, binding: { address: '10.0.0.1/24', ...binding } }).sets[0]
    const nameOf = (policy: unknown) => termsOf(of({ policy })?.policy as FailoverPolicy).name
    t.equal(termsOf(of({})?.policy as FailoverPolicy).name, 'smallest-id')
    t.equal(nameOf('election'), 'election')
    t.equal(nameOf({ ordered: [3, 1] }), 'ordered 3,1')
    t.equal(nameOf({ master: 2 }), 'master 2 election')
    t.equal(nameOf({ master: 2, by: 'spread' }), 'master 2 spread')
    t.match(of({ set: [1, 2], doubtful: 'drop' }), { members: [1, 2], doubtful: 2 })
    t.equal(of({})?.strict, undefined, 'D2: no acknowledgement waits unless told to')
    t.same(of({ strict: 2 })?.strict, { peers: 2, alone: 'hold' })
    t.same(of({ strict: { peers: 1, alone: 'go-on' } })?.strict, { peers: 1, alone: 'go-on' })
    t.equal(of({})?.recovery, 'stay', 'P23: an owner that is back is a standby')
    t.equal(of({ recovery: 'return', policy: { ordered: [2, 1] } })?.recovery, 'return')
    const macs = { mac: '03:00:5e:00:01:64', routersMac: '03:00:5e:00:01:65' }
    t.same(of(macs)?.macs, { named: 0x03_00_5e_00_01_64, sendTo: 0x03_00_5e_00_01_65 }, 'P12')
    t.equal(of({})?.macs, undefined)
    t.equal(of({})?.quorum, undefined, 'D3: one node serves alone unless told otherwise')
    t.equal(of({ set: [1, 2, 3], quorum: 'majority' })?.quorum, 2)
    t.equal(of({ set: [1, 2, 3, 4], quorum: 'majority' })?.quorum, 3)
    t.equal(of({ set: [1, 2, 3], quorum: 3 })?.quorum, 3)
    const parts = (...last: object[]) =>
      check({
        ...RIGHT,
        binding: undefined,
        bindings: [80, 81].map((ports, i) => ({ address: '10.0.0.1/24', ports, ...last[i] })),
      }).sets.map(({ arp }) => arp)
    t.same(parts(), ['here', 'elsewhere'], 'P25: the first binding of an address answers for it')
    t.same(parts({}, { arp: true }), ['elsewhere', 'here'])
    t.equal(of({})?.arp, undefined)
    t.throws(() => parts({ mac: '02:00:00:00:00:01' }), {
      message: /bindings\[0\].mac: the bindings of one address have one: write it in each/,
    })
    t.throws(() => parts({ arp: true }, { arp: true }), {
      code: 'ERR_CONFIG',
      message: /bindings\[1\].arp: another binding of this address answers for it already/,
    })
    const two = [
      { address: '10.0.0.1/24', ports: 80, set: [1, 2] },
      { address: '10.0.0.1/24', ports: 81, set: [2, 3] },
    ]
    const bindings = (id: number) =>
      check({ ...RIGHT, id, binding: undefined, bindings: two }).bindings
    t.match(bindings(3), [{ id: 2, firstPort: 81 }], 'a node has the bindings of its sets only')
    t.equal(bindings(2).length, 2)
    const wrong: [object, RegExp][] = [
      [
        { policy: 'biggest' },
        /binding.policy: 'biggest' is no policy .* there are smallest-id, .*namePolicy/,
      ],
      [{ policy: 7 }, /binding.policy: must be one of smallest-id, election, spread, .*, not 7/],
      [{ policy: { ordered: [1], master: 1 } }, /binding.policy: must be one of .*, not {/],
      [{ policy: { ordered: [] } }, /binding.policy.ordered: must be a list of node ids/],
      [{ policy: { ordered: [1, 1] } }, /binding.policy.ordered: \[1,1\] names a node twice/],
      [{ policy: { master: 0 } }, /binding.policy.master: must be a list of node ids/],
      [{ policy: { master: 1, by: 'x' } }, /binding.policy.by: 'x' is no policy/],
      [{ set: 'all' }, /binding.set: must be a list of node ids, as \[1, 2, 3\], not "all"/],
      [{ set: [2] }, /binding.set: node 1 is in the set of no binding/],
      [{ doubtful: 'keep' }, /binding.doubtful: must be one of deliver, drop, not "keep"/],
      [{ recovery: 'return', policy: 'spread' }, /binding.recovery: "return" needs the policy/],
      [
        { recovery: 'return', policy: { master: 1 } },
        /binding.recovery: .*, not master 1 election/,
      ],
      [{ recovery: 'return', strict: 1 }, /binding.recovery: "return" and strict mode exclude/],
      [{ strict: 0 }, /binding.strict: must be the number of peers .* from 1 to 63, not 0/],
      [{ strict: 'all' }, /binding.strict: must be 1, or { "peers": 1, .*, not "all"/],
      [{ strict: { peer: 1 } }, /binding.strict: must be 1, or .*, not {"peer":1}/],
      [{ strict: { alone: 'hold' } }, /binding.strict.peers: must be the number .*, not nothing/],
      [
        { strict: { peers: 1, alone: 1 } },
        /binding.strict.alone: must be one of hold, go-on, not 1/,
      ],
      [
        { mac: '03:00:00:00:00:01', routersMac: '02:00:00:00:00:01' },
        /binding.routersMac: "02:00:00:00:00:01" is one station's; write that of a group/,
      ],
      [{ quorum: 2 }, /binding.quorum: needs the nodes by name: give "set": \[1, 2, 3\]/],
      [{ set: [1, 2], quorum: 'majority' }, /binding.quorum: .*of fewer than three none can tell/],
      [
        { set: [1, 2, 3, 4], quorum: 2 },
        /binding.quorum: must be "majority" or 3 to 4 with a set of 4, not 2/,
      ],
      [{ set: [1, 2, 3], quorum: 'half' }, /binding.quorum: must be "majority" or 2 to 3/],
      [{ set: [1, 2], strict: 2 }, /binding.strict: must be .* from 1 to 1, not 2/],
    ]
    for (const [binding, message] of wrong)
      t.throws(() => of(binding), { code: 'ERR_CONFIG', message })
  },
)

t.test('each field that is wrong is named with its value and what to write', async (t) => {
  const wrong: [object, RegExp][] = [
    [{ id: 0 }, /id: must be an integer, different on each node, from 1 to 4294967295, not 0/],
    [{ id: '1' }, /id: must be .*, not "1"/],
    [{ cluster: '' }, /cluster: must be a text, as "main", not ""/],
    [{ keyFile: 7 }, /keyFile: must be a text, as "cluster.key", not 7/],
    [{ tap: undefined }, /tap: must be a text, as "us0", not nothing/],
    [{ mac: 'xx' }, /mac.*xx/],
    [{ binding: {} }, /binding.address: must be a text, as "10.77.0.100\/24", not nothing/],
    [{ binding: { address: '10.77.0.1/77' } }, /binding.address: '10.77.0.1\/77' needs a prefix/],
    [{ binding: { address: '10.77.0/24' } }, /binding.address.*10.77.0/],
    [{ binding: { address: '10.77.0.1/24', ports: '9-1' } }, /binding.ports: '9-1'/],
    [{ binding: { address: '10.77.0.1/24', ports: [] } }, /binding.ports: \[\] is no range/],
    [{ bindings: [] }, /binding: give either "binding" or "bindings"/],
    [{ binding: undefined, bindings: [] }, /bindings: must be a list of 1 to 64 bindings/],
    [{ binding: undefined, bindings: [{}] }, /bindings\[0\].address: must be a text/],
    [
      { binding: undefined, bindings: [{ id: 3, address: '10.0.0.1/24', ports: [] }] },
      /bindings\[0\].ports: \[\] is no range/,
    ],
    [
      {
        binding: undefined,
        bindings: [
          { address: '10.0.0.1/24', ports: 80 },
          { address: '10.0.0.1/24', ports: '1-99' },
        ],
      },
      /bindings\[1\]: the ports 1-99 and 80-80 of one address overlap/,
    ],
    [
      {
        binding: undefined,
        bindings: [
          { id: 2, address: '10.0.0.1/24', ports: 80 },
          { address: '10.0.0.1/24', ports: 81 },
        ],
      },
      /bindings\[1\].id: 2 is another binding's id/,
    ],
    [{ binding: 'here' }, /binding: must be an object, not "here"/],
    [{ control: { host: 'localhost' } }, /control.host.*localhost/],
    [{ control: [] }, /control: must be an object, not \[\]/],
    [{ storeDir: null }, /storeDir: must be a text, as "mirror", not null/],
    [{ sharedDir: '' }, /sharedDir: must be a text, as "shared", not ""/],
    [{ fence: 'high' }, /fence: must be one of port, kill, none, not "high"/],
    [
      { routers: [] },
      /routers: must be a list of 1 to 8 addresses, as \["10.77.0.1", .*, not \[\]/,
    ],
    [{ routers: '10.77.0.1' }, /routers: must be a list .*, not "10.77.0.1"/],
    [{ routers: ['10.77.0'] }, /routers: "10.77.0" is no address; write one as "10.77.0.1"/],
    [{ routers: ['10.77.0.1', '10.77.0.1'] }, /routers: .* names a router twice/],
    [{ routers: ['10.77.0.100'] }, /routers: 10.77.0.100 is a virtual address of this node/],
    [{ routers: ['10.78.0.1'] }, /routers: 10.78.0.1 is on the network of no binding/],
    [{ routers: ['fe80::1'] }, /routers: fe80::1 is on the network of no binding/],
    [{ offload: 'yes' }, /offload: must be true or false, not "yes"/],
    [{ hub: 'no' }, /hub: must be one of checked, unchecked, not "no"/],
    [{ app: { port: 80 } }, /app.name: must be a text, as "http", not nothing/],
    [{ app: { name: 'http', port: 0 } }, /app.port: must be a port from 1 to 65535, not 0/],
    [{ app: { name: 'http', port: 80, root: 3 } }, /app.root: must be a text, as "www", not 3/],
    [{ timing: { leaseMs: '80' } }, /timing.leaseMs: must be milliseconds .*, not "80"/],
    [{ timing: { leaseMs: 500 } }, /timing.leaseMs: must be at most silenceMs \(120\), not 500/],
    [{ timing: { turnLeaseMs: 1500 } }, /timing.turnLeaseMs: must be at most stuckMs \(1000\)/],
    [{ sharedir: 'x' }, /sharedir: there is no such field; there are id, .*sharedDir/],
    [{ binding: { adress: 'x' } }, /binding.adress: there is no such field; there are id, address/],
    [{ app: { name: 'http', port: 80, Root: '/' } }, /app.Root: there is no such field/],
    [{ timing: { bootms: 3 } }, /timing.bootms: there is no such field; there are bootMs/],
  ]
  for (const [change, message] of wrong) {
    const expected = { code: 'ERR_CONFIG', message }
    t.throws(() => check({ ...RIGHT, ...change }), expected, JSON.stringify(change))
    t.throws(() => check({ ...RIGHT, ...change }), { message: /^node\.json: / })
  }
  t.throws(() => check(null), { message: 'node.json: must be an object, not null' })
  t.throws(() => check([]), { message: 'node.json: must be an object, not []' })
})

// A wrong value of every field there is, and a part of what the error says to do.
const WRONG: Readonly<Record<string, readonly [unknown, RegExp]>> = {
  id: [0, /must be an integer, different on each node, from 1 to/],
  cluster: [7, /must be a text, as "main"/],
  keyFile: [[], /must be a text, as "cluster.key"/],
  tap: ['', /must be a text, as "us0"/],
  mac: ['02:00', /write six pairs of hexadecimal digits/],
  offload: ['yes', /must be true or false/],
  routers: ['10.77.0.1', /must be a list of 1 to 8 addresses/],
  binding: ['10.77.0.100', /must be an object/],
  'binding.id': [0, /must be the same number on each node, from 1 to 65535/],
  'binding.address': ['10.77.0.100/99', /needs a prefix from 1 to 32, as 10.77.0.100\/24/],
  'binding.ports': ['90-80', /write 80 or 1-65535/],
  'binding.policy': ['biggest', /there are smallest-id, election, spread/],
  'binding.set': [[], /must be a list of node ids, as \[1, 2, 3\]/],
  'binding.doubtful': [true, /must be one of deliver, drop/],
  'binding.recovery': [true, /must be one of stay, return/],
  'binding.strict': [true, /must be 1, or { "peers": 1, "alone": "go-on" }/],
  'binding.arp': ['yes', /must be true or false/],
  macFilter: [true, /needs "routers" of IPv4: frames to clients on the link itself would/],
  'binding.mac': ['here', /must be an Ethernet address, as "03:00:5e:00:01:64"/],
  'binding.routersMac': ['03:00:00:00:00:01', /goes with "mac", the group by which the nodes/],
  'binding.quorum': [2, /needs the nodes by name: give "set"/],
  fenceCommand: [['reboot'], /write {node} where its id belongs/],
  bindings: [{}, /must be a list of 1 to 64 bindings/],
  control: ['127.0.0.1', /must be an object/],
  'control.host': ['localhost', /write four numbers|as 10/],
  storeDir: [1, /must be a text, as "mirror"/],
  sharedDir: [false, /must be a text, as "shared"/],
  app: ['http', /must be an object/],
  'app.name': [80, /must be a text, as "http"/],
  'app.port': ['80', /must be a port from 1 to 65535/],
  'app.root': [{}, /must be a text, as "www"/],
  'app.to': [5432, /must be a text, as "10.77.0.50:5432"/],
  'app.maxConnections': [0, /must be an integer from 1 to/],
  'app.connectMs': [1.5, /must be an integer from 1 to/],
  'app.idleMs': [-1, /must be an integer from 0 to/],
  'app.proxyProtocol': ['v3', /must be one of v1, v2, not/],
  fence: ['bridge', /must be one of port, kill, none/],
  hub: ['on', /must be one of checked, unchecked/],
  record: [true, /must be a text, as "node1.pcapng"/],
  operator: [9090, /must be an object/],
  'operator.host': [1, /must be a text, as "127.0.0.1"/],
  'operator.port': [65_536, /must be a port, or 0 for any free one, from 0 to 65535/],
  'operator.socket': [`/run/${'x'.repeat(120)}`, /is longer than the 107 octets/],
  timing: [[], /must be an object/],
  ...Object.fromEntries(
    Object.keys(DEFAULT_TIMING).map((name) => [
      `timing.${name}`,
      ['soon', /must be milliseconds from 1 to 3600000/],
    ]),
  ),
}

function wrongFile(field: string, value: unknown): object {
  const right: Record<string, unknown> = structuredClone({
    ...RIGHT,
    binding: { ...RIGHT.binding },
  })
  const [outer = '', inner] = field.split('.')
  if (outer === 'bindings') right.binding = undefined
  if (inner === undefined) return { ...right, [outer]: value }
  const required = { app: { name: 'http', port: 80 }, operator: {}, control: {}, timing: {} }
  const around = outer === 'operator' && inner === 'host' ? { port: 0 } : {}
  const section = right[outer] ?? required[outer as keyof typeof required]
  return { ...right, [outer]: { ...(section as object), ...around, [inner]: value } }
}

t.test(
  'O4: a wrong value of each field is an error with file, line, field, value and fix',
  async (t) => {
    const known = Object.entries(FIELDS).flatMap(([section, names]) =>
      names.map((name: string) => (section === '' ? name : `${section}.${name}`)),
    )
    t.same(
      known.filter((field) => WRONG[field] === undefined),
      [],
      'each field is tried',
    )
    const folder = fs.mkdtempSync(join(tmpdir(), 'understudy-config-'))
    t.teardown(() => fs.rmSync(folder, { recursive: true }))
    const file = join(folder, 'node.json')
    for (const [field, [value, fix]] of Object.entries(WRONG)) {
      const text = JSON.stringify(wrongFile(field, value), null, 2)
      fs.writeFileSync(file, text)
      const name = `"${field.split('.').at(-1)}":`
      const from = field.includes('.') ? text.indexOf(`"${field.split('.')[0]}":`) : 0
      const line = text.slice(0, text.indexOf(name, from)).split('\n').length
      let said = ''
      try {
        readNodeConfig(file)
      } catch (error) {
        said = (error as Error).message
      }
      t.equal(
        said.startsWith(`${file}:${line}: ${field}: `),
        true,
        `${field}, line ${line}: ${said}`,
      )
      t.match(said, fix)
      const shown = typeof value === 'string' ? value : JSON.stringify(value)
      t.equal(said.includes(shown), true, `${field}: ${shown} in ${said}`)
    }
  },
)

t.test(
  'O4: a field that does not exist, is missing or is there twice has its line, too',
  async (t) => {
    const folder = fs.mkdtempSync(join(tmpdir(), 'understudy-config-'))
    t.teardown(() => fs.rmSync(folder, { recursive: true }))
    const file = join(folder, 'node.json')
    const fails = (text: string, message: RegExp) => {
      fs.writeFileSync(file, text)
      t.throws(() => readNodeConfig(file), { code: 'ERR_CONFIG', message })
    }
    const text = JSON.stringify(RIGHT, null, 2)
    fails(text.replace('"tap"', '"Tap"'), /node.json:5: Tap: there is no such field; there are id/)
    fails(
      text.replace('"tap": "us0",', ''),
      /node.json:1: tap: must be a text, as "us0", not nothing/,
    )
    fails(text.replace('"tap": "us0"', '"id": 2'), /node.json:5: id: is given twice; take one out/)
    fails(
      text.replace('"us0",', '"us0"'),
      /node.json:6: is not JSON: a comma is missing before this/,
    )
    fails(`${text}}`, /node.json:11: is not JSON: nothing may follow the closing }/)
    fails(`// a node\n${text}`, /node.json:1: is not JSON: JSON has no comments/)
    fails('', /node.json:1: is not JSON: a value is missing here/)
    const bindings = [
      { address: '10.0.0.1/24', ports: 80 },
      { address: '10.0.0.1/24', ports: '0-9' },
    ]
    fails(
      JSON.stringify({ ...RIGHT, binding: undefined, bindings }, null, 2),
      /node.json:15: bindings\[1\].ports: '0-9' is no range of ports; write 80 or 1-65535/,
    )
  },
)

t.test('O4: the schema has the fields that are read, and no others', async (t) => {
  const { properties } = NODE_CONFIG_SCHEMA as unknown as { properties: Record<string, object> }
  t.same(Object.keys(properties), FIELDS[''])
  for (const [section, names] of Object.entries(FIELDS)) {
    if (section === '') continue
    const found = properties[section] as { properties: object; additionalProperties: boolean }
    t.same(Object.keys(found.properties), names, section)
    t.equal(found.additionalProperties, false)
    for (const field of Object.values(found.properties)) t.match(field, { description: String })
  }
})

t.test('a file that cannot be read or is no JSON is named', async (t) => {
  const folder = fs.mkdtempSync(join(tmpdir(), 'understudy-config-'))
  t.teardown(() => fs.rmSync(folder, { recursive: true }))
  const file = join(folder, 'node.json')
  t.throws(() => readNodeConfig(file), { code: 'ERR_CONFIG', message: /node.json: cannot be read/ })
  fs.writeFileSync(file, '{\n "id": 1,')
  const message = /node.json:2: is not JSON: a field name in double quotes is expected here/
  t.throws(() => readNodeConfig(file), { code: 'ERR_CONFIG', message })
  fs.writeFileSync(file, JSON.stringify(RIGHT))
  t.equal(readNodeConfig(file).keyFile, join(folder, 'key'))
})

t.test('P27: incarnations grow although the clock is set back between two lives', async (t) => {
  const path = fs.mkdtempSync(join(tmpdir(), 'understudy-incarnation-'))
  t.teardown(() => fs.rmSync(path, { recursive: true }))
  const live = (now: number) => {
    const store = new LmdbMirrorStore({ path: join(path, 'mirror'), cluster: 'c', node: 1 })
    const incarnation = nextIncarnation(store, now)
    store.close()
    return incarnation
  }
  t.equal(live(1_000_000.7), 1_000_000)
  t.equal(live(400_000), 1_000_001, 'the clock is set back')
  t.equal(live(400_100), 1_000_002)
  t.equal(live(2_000_000), 2_000_000, 'and right again')
})

const bridge = (ageing_time: number, mcast_snooping: number): LinkInfo => ({
  ifname: 'br0',
  linkinfo: { info_kind: 'bridge', info_data: { ageing_time, mcast_snooping } },
})

t.test(
  'a bridge that learns or filters is no hub, and the command that mends it is told',
  async (t) => {
    const tap: LinkInfo = { ifname: 'us0', master: 'br0', linkinfo: { info_kind: 'tun' } }
    const command = /`ip link set br0 type bridge ageing_time 0 mcast_snooping 0`/
    t.equal(hubFault([tap, bridge(0, 0)], 'us0'), null)
    t.match(hubFault([tap, bridge(30_000, 0)], 'us0'), /learns addresses \(ageing_time 30000\)/)
    t.match(hubFault([tap, bridge(0, 1)], 'us0'), /filters multicast \(mcast_snooping 1\)/)
    t.match(hubFault([tap, bridge(30_000, 1)], 'us0'), command)
    t.match(hubFault([tap, bridge(30_000, 1)], 'us0'), /"hub": "unchecked"/)
    t.equal(hubFault([{ ifname: 'us0' }, bridge(30_000, 1)], 'us0'), null, 'no port of a bridge')
    t.equal(hubFault([], 'us0'), null)
  },
)

t.test('where nobody can tell whether there is a hub, the node does not start', async (t) => {
  await t.rejects(requireHub('us0', 'no-such-command'), {
    code: 'ERR_HUB_UNKNOWN',
    message: /iproute2.*"hub": "unchecked"/,
  })
})

t.test('O3: where the operator is served, and what is wrong with it', async (t) => {
  t.equal(check(RIGHT).operator, null)
  t.same(check({ ...RIGHT, operator: { port: 9477 } }).operator, { host: '127.0.0.1', port: 9477 })
  t.same(check({ ...RIGHT, operator: { socket: 'n.sock' } }).operator, {
    socket: '/etc/understudy/n.sock',
  })
  const wrong = (operator: unknown, message: RegExp) =>
    t.throws(() => check({ ...RIGHT, operator }), { code: 'ERR_CONFIG', message })
  wrong({ port: 70_000 }, /^node\.json: operator\.port: must be a port, or 0 .* not 70000$/)
  wrong({ socket: 'n.sock', port: 1 }, /operator\.socket: goes without host and port/)
  wrong({ socket: `/${'x'.repeat(110)}` }, /operator\.socket: .* is longer than/)
  wrong({ path: 'n.sock' }, /operator\.path: there is no such field/)
  wrong(9477, /operator: must be an object, not 9477/)
})
