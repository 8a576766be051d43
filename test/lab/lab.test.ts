/**
 * The lab on real namespaces, bridges and TAPs, with a stand-in for the node program: that it is a hub, that its nodes
 * are what they are said to be, and that nothing is left behind however its maker ends.
 */
import { spawn, spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { Lab, type LabOptions } from '../../scripts/lab/lab.js'
import { readLab, runtimeFolder } from '../../scripts/lab/lab-file.js'
import { parseCounters } from '../../scripts/lab/network.js'
import { parseEvent } from '../../scripts/lab/node-process.js'
import {
  identify,
  isRunning,
  processesOfLab,
  signalProcess,
} from '../../scripts/lab/process-table.js'
import { reapDeadLabs } from '../../scripts/lab/teardown.js'
import { WireMonitor } from '../../scripts/lab/wire-monitor.js'
import { gone, whyNoLab } from './support.js'

const scratch = fs.mkdtempSync(join(tmpdir(), 'understudy-lab-test-'))
t.teardown(() => fs.rmSync(scratch, { recursive: true, force: true }))

// Node 1 claims the address at once, a node that is started again does so with a higher epoch.
const STAND_IN = `
import { readFileSync, existsSync, writeFileSync } from 'node:fs'
const config = JSON.parse(readFileSync(process.argv[3]))
const say = (event) => process.stdout.write(JSON.stringify(event) + '\\n')
const file = config.sharedDir + '/epoch'
say({ event: 'ready', id: config.id, pid: process.pid })
if (config.id === 1) {
  const epoch = existsSync(file) ? Number(readFileSync(file)) + 1 : 1
  writeFileSync(file, String(epoch))
  say({ event: 'owner', epoch, id: 1, from: null, cause: 'boot' })
}
setInterval(() => {}, 1000)
`
const standIn = join(scratch, 'stand-in.mjs')
fs.writeFileSync(standIn, STAND_IN)

const options: LabOptions = { nodes: 2, app: 'echo', program: [process.execPath, standIn] }
const cli = fileURLToPath(new URL('../../scripts/understudy.js', import.meta.url))

function namespacesOf(lab: Lab): string {
  return lab.space.runScript('ip netns list')
}

t.test('a process is known by its start time as well', async (t) => {
  const me = identify(process.pid)
  t.ok(me !== undefined && isRunning(me))
  t.notOk(isRunning({ pid: process.pid, startTime: '1' }))
  t.notOk(signalProcess({ pid: process.pid, startTime: '1' }, 'SIGKILL'))
  t.equal(identify(2 ** 22 + 1), undefined)
})

t.test('lines of a node and of nft are read', async (t) => {
  t.match(parseEvent('{"event":"owner","epoch":3,"id":2}'), { event: 'owner', epoch: 3 })
  for (const line of ['', 'warning', '{"event":', '{"no":"event"}']) {
    t.equal(parseEvent(line), undefined, line)
  }
  const text = ['syns', 'resets_in', 'resets_out']
    .map((name, i) => `\tcounter ${name} {\n\t\tpackets ${i + 1} bytes 60\n\t}`)
    .join('\n')
  t.same(parseCounters(text), { syns: 1, resetsIn: 2, resetsOut: 3 })
  t.throws(() => parseCounters('table ip understudy {\n}'), { code: 'ERR_LAB_COMMAND' })
})

const why = await whyNoLab()

t.test(
  'O1: the bridge is a hub, and the monitor hears what others say',
  { skip: why },
  async (t) => {
    const lab = await Lab.create({ ...options, clients: 2 })
    try {
      const { record } = lab
      const names = [...record.bridges, record.monitorTap, ...record.nodes.map((node) => node.tap)]
      for (const name of names) t.ok(name.length <= 15, name)
      const bridge = lab.space.runScript(
        `ip -n ${record.switchNamespace} -d link show ${record.bridges[0]}`,
      )
      t.match(bridge, /ageing_time 0 /)
      t.match(bridge, /mcast_snooping 0 /)
      const taps = lab.space.runScript(`ip -n ${record.switchNamespace} link show`)
      t.equal(taps.match(/tap.* qlen 32768/g)?.length, 2)
      const addresses = lab.space.runScript(
        `ip -n ${record.switchNamespace} address show scope link`,
      )
      t.notMatch(addresses, /inet6 fe80/, 'the kernel has no address on the switch')

      const counting = lab.startCounting()
      const monitor = await WireMonitor.start(lab)
      const [, server] = record.clients
      lab.space.runScriptIn(server?.namespace ?? '', 'ip address add 10.77.0.100/24 dev eth0')
      const body = 'x'.repeat(300_000)
      const listening = lab.spawnInClient(
        [
          process.execPath,
          '-e',
          `require('node:net').createServer((s) => s.end('x'.repeat(${body.length})))` +
            `.listen(7, '10.77.0.100', () => console.log('up'))`,
        ],
        1,
      )
      await new Promise((resolve) => listening.stdout?.once('data', resolve))
      const reading = lab.spawnInClient([
        process.execPath,
        '-e',
        "let n = 0; require('node:net').connect(7, '10.77.0.100').on('data', (d) => { n += d.length }).on('end', () => console.log(n))",
      ])
      const read = await new Promise((resolve) => reading.stdout?.once('data', resolve))
      t.equal(String(read).trim(), String(body.length))
      const { totals, drops } = await monitor.count()
      t.match({ ...totals, drops }, { syns: 1, resets: 0, down: body.length + 1, drops: 0 })
      if (counting) t.same(lab.wireCounts(), { syns: 1, resetsIn: 0, resetsOut: 0 })
      else t.comment('skipped the kernel counters: nft is missing')
      monitor.close()
    } finally {
      await lab.close()
    }
    t.ok(await gone(lab.id))
  },
)

t.test('O1: nodes are started, killed, frozen and started again', { skip: why }, async (t) => {
  const lab = await Lab.create(options)
  try {
    t.equal(await lab.startAll(), 1)
    const config = JSON.parse(fs.readFileSync(join(lab.record.folder, 'node2.json'), 'utf8'))
    t.match(config, {
      id: 2,
      tap: lab.record.nodes[1]?.tap,
      binding: { address: '10.77.0.100/24' },
    })
    await lab.kill(1)
    t.equal(lab.owner, undefined)
    t.match(lab.status()[0], { state: 'ended', pid: null, owner: false })
    await t.rejects(lab.kill(1), { code: 'ERR_LAB_NODE' })
    await t.rejects(lab.kill(9), { code: 'ERR_LAB_NODE' })
    await lab.start(1)
    t.equal(await lab.awaitOwner(), 1)
    await t.rejects(lab.start(1), { code: 'ERR_LAB_NODE' })
    lab.stop(1)
    t.equal(lab.owner, undefined)
    t.match(lab.status()[0], { state: 'stopped' })
    lab.continue(1)
    t.match(lab.status()[0], { state: 'ready' })
    await t.rejects(lab.awaitOwner(50), { code: 'ERR_LAB_TIMEOUT' })
    await lab.terminate(2)
    t.match(lab.status()[1], { state: 'ended' })
    t.match(namespacesOf(lab), lab.record.switchNamespace)
  } finally {
    await lab.close()
  }
  t.ok(await gone(lab.id))
})

t.test('a node that does not start is an error with its last words', { skip: why }, async (t) => {
  const program = [process.execPath, '-e', "console.error('no such luck'); process.exit(3)", '--']
  const lab = await Lab.create({ ...options, program })
  try {
    await t.rejects(lab.startAll(), { code: 'ERR_LAB_NODE', message: /ended with 3.*no such luck/ })
  } finally {
    await lab.close()
  }
})

/** Makes a lab in a process of its own and resolves when its nodes run. */
async function labOfAnother(): Promise<{ id: string; kill: () => void }> {
  const labUrl = new URL('../../scripts/lab/lab.js', import.meta.url).href
  const script =
    `const { Lab } = await import(${JSON.stringify(labUrl)});` +
    `const lab = await Lab.create(${JSON.stringify(options)});` +
    'await lab.startAll(); console.log(lab.id)'
  const maker = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const id = await new Promise((resolve) => maker.stdout.once('data', resolve))
  return { id: String(id).trim(), kill: () => maker.kill('SIGKILL') }
}

function reaperOf(folder: string): number {
  for (const pid of fs.readdirSync('/proc')) {
    const path = `/proc/${pid}/cmdline`
    if (!/^\d+$/.test(pid) || !fs.existsSync(path)) continue
    const words = fs.readFileSync(path, 'utf8').split('\0')
    if (words[1]?.endsWith('/reaper.js') && words[2] === folder) return Number(pid)
  }
  throw new Error('the lab has no reaper')
}

t.test('O5: nothing is left when the maker is killed', { skip: why }, async (t) => {
  const { id, kill } = await labOfAnother()
  t.ok(processesOfLab(id).length >= 2)
  kill()
  t.ok(await gone(id))
})

t.test('O5: the next one clears up when the reaper was killed too', { skip: why }, async (t) => {
  const { id, kill } = await labOfAnother()
  const folder = join(runtimeFolder(), id)
  process.kill(reaperOf(folder), 'SIGKILL')
  kill()
  while (isRunning(readLab(folder)?.owner)) await delay(10)
  const live = await Lab.create(options)
  try {
    t.ok(fs.existsSync(folder), 'nobody has cleared up yet')
    t.ok((await reapDeadLabs()).includes(id))
    t.ok(await gone(id))
    t.ok(fs.existsSync(live.record.folder), 'a live lab is left alone')
  } finally {
    await live.close()
  }
})

t.test('O1: up, exec, kill and down from the command line', { skip: why }, async (t) => {
  const run = (...args: string[]) =>
    spawnSync(process.execPath, [cli, ...args], { encoding: 'utf8' })
  const program = `${process.execPath} ${standIn}`
  const up = run('lab', 'up', '--nodes', '2', '--app', 'echo', '--json', '--program', program)
  t.equal(up.status, 0, up.stderr)
  const lab = JSON.parse(up.stdout)
  t.match(lab, { address: '10.77.0.100', port: 7, owner: 1, nodes: [{ id: 1 }, { id: 2 }] })
  try {
    const here = ['--lab', lab.lab]
    const inside = run(
      'lab',
      'exec',
      ...here,
      'client',
      '--',
      'sh',
      '-c',
      'ip -4 -o addr show eth0; exit 7',
    )
    t.equal(inside.status, 7)
    t.match(inside.stdout, /10\.77\.0\.9\/24/)
    t.equal(run('lab', 'exec', ...here, 'nowhere', '--', 'true').status, 2)
    t.equal(run('lab', 'kill', ...here, 'owner').status, 0)
    const status = JSON.parse(run('lab', 'status', ...here, '--json').stdout)
    t.match(status, { owner: null, nodes: [{ pid: null }, { state: 'ready' }] })
    t.match(run('lab', 'kill', ...here, 'owner'), { status: 1, stderr: /ERR_LAB_NODE/ })
    t.equal(run('lab', 'start', ...here, '1').status, 0)
    t.equal(run('lab', 'stop', ...here, 'owner').status, 0)
    t.equal(run('lab', 'cont', ...here, 'owner').status, 0)
  } finally {
    t.equal(run('lab', 'down', '--lab', lab.lab).status, 0)
  }
  t.ok(await gone(lab.lab))
  t.match(run('lab', 'status', '--lab', lab.lab), { status: 1, stderr: /ERR_LAB_NOT_FOUND/ })
})

t.test('a wrong command line ends with 2 and says why', async (t) => {
  const wrong = [
    [],
    ['nonsense'],
    ['lab'],
    ['lab', 'nonsense'],
    ['lab', 'up', '--nodes', '0'],
    ['lab', 'up', '--app', 'gopher'],
    ['lab', 'up', '--fence', 'high'],
    ['lab', 'up', '--lab', 'too-long'],
    ['lab', 'exec', 'client'],
    ['lab', 'kill'],
    ['lab', 'start', 'owner'],
    ['demo', '--cause', 'boredom'],
    ['demo', '--size', 'huge'],
    ['demo', '--nonsense'],
  ]
  for (const args of wrong) {
    const result = spawnSync(process.execPath, [cli, ...args], { encoding: 'utf8' })
    t.equal(result.status, 2, args.join(' '))
    t.not(`${result.stdout}${result.stderr}`.trim(), '', args.join(' '))
  }
})
