/**
 * Hostile traffic on a live link (T6): whatever a stranger on the bridge sends, a normal client notices nothing, no node changes
 * its part, and memory does not grow.
 */
import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import * as fs from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { Lab } from '../../scripts/lab/lab.js'
import { labEnvironment } from '../../scripts/lab/space.js'
import { ended, whyNoLab } from './support.js'

const why = await whyNoLab()
const ATTACKER = fileURLToPath(new URL('./attacker.js', import.meta.url))

/** Sends blocks and checks each echo, until its input ends; then prints how many octets came back and the longest wait. */
const CLIENT = `
  import { connect } from 'node:net'
  import { randomFillSync } from 'node:crypto'
  const [host, port] = process.argv.slice(1)
  const socket = connect({ host, port: Number(port), noDelay: true })
  let octets = 0, longest = 0, ending = false, sent = Buffer.alloc(0), got = 0, at = 0
  const next = () => {
    if (ending) return socket.end()
    sent = randomFillSync(Buffer.alloc(1 + Math.floor(Math.random() * 20000)))
    got = 0
    at = performance.now()
    socket.write(sent)
  }
  socket.on('connect', () => { console.log('ready'); next() })
  socket.on('data', (bytes) => {
    if (Buffer.compare(bytes, sent.subarray(got, got + bytes.length)) !== 0) throw new Error('another echo')
    got += bytes.length
    octets += bytes.length
    if (got < sent.length) return
    longest = Math.max(longest, performance.now() - at)
    setTimeout(next, 1)
  })
  socket.on('error', (error) => { console.error(error.code); process.exit(1) })
  socket.on('close', () => { console.log(JSON.stringify({ octets, longest })); process.exit(0) })
  process.stdin.resume().on('end', () => { ending = true })
`

function spawnIn(lab: Lab, namespace: string, argv: readonly string[]): ChildProcess {
  const [command = '', ...args] = lab.space.wrapIn(namespace, argv)
  return spawn(command, args, { env: labEnvironment(lab.id), stdio: 'pipe' })
}

function client(lab: Lab): ChildProcess {
  const [address = ''] = lab.record.address.split('/')
  const argv = [process.execPath, '--input-type=module', '-e', CLIENT]
  const namespace = lab.record.clients[0]?.namespace ?? ''
  return spawnIn(lab, namespace, [...argv, address, String(lab.record.port)])
}

function attack(lab: Lab): ChildProcess {
  const {
    bridges: [bridge = ''],
    address,
    port,
    clients,
    switchNamespace,
  } = lab.record
  const [virtual = ''] = address.split('/')
  const [own = ''] = clients[0]?.address.split('/') ?? []
  const argv = [process.execPath, ATTACKER, bridge, virtual, String(port), own]
  return spawnIn(lab, switchNamespace, argv)
}

function residentOf(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB/m.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))
  return Number(match?.[1] ?? 0) / 1024
}

t.test('T6: a battery of attacks changes nothing for a normal client', { skip: why }, async (t) => {
  const lab = await Lab.create({ nodes: 2, app: 'echo' })
  t.teardown(() => lab.close())
  await lab.startAll()
  const owner = lab.owner
  const before = lab.status()
  const victim = client(lab)
  const verdict = ended(victim)
  await delay(500)
  const sizes: number[][] = []
  for (const round of [1, 2]) {
    const attacker = await ended(attack(lab))
    t.equal(attacker.code, 0, attacker.stderr)
    const phases = attacker.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { frames: number })
    t.equal(phases.length, 15, `round ${round}: every attack was made`)
    t.ok(phases.every(({ frames }) => frames > 100))
    sizes.push(lab.status().map(({ pid }) => residentOf(pid ?? 0)))
  }
  victim.stdin?.end()
  const { code, stdout, stderr } = await verdict
  t.equal(code, 0, `the client: ${stderr}`)
  const { octets, longest } = JSON.parse(stdout.trim().split('\n').at(-1) ?? '{}')
  t.ok(octets > 1e6, `${octets} octets came back`)
  t.ok(longest < 3000, `the longest wait was ${Math.round(longest)} ms`)
  t.equal(lab.owner, owner, 'the owner is the same')
  t.strictSame(
    lab.status().map(({ id, pid, state }) => [id, pid, state]),
    before.map(({ id, pid, state }) => [id, pid, state]),
    'and so are all nodes',
  )
  // The tables are full behind the first round; what follows is the collector's taste.
  for (const node of [0, 1]) {
    const each = sizes.map((size) => Math.round(size[node] ?? 0))
    t.ok(Math.max(...each) < 300, `node ${node + 1}: ${each.join(', ')} MB`)
  }
  const late = client(lab)
  await delay(300)
  late.stdin?.end()
  t.equal((await ended(late)).code, 0, 'a new client is served')
})
