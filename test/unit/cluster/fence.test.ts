import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { FenceCommand, LocalFence, readStartTime } from '../../../cluster/io/fence.js'
import { isEnding } from '../../../cluster/io/process-table.js'

// A fence does not keep its process alive; a test that waits for one must do so itself.
const alive = setInterval(() => {}, 1000)
t.teardown(() => clearInterval(alive))

/** A sysfs with the bridge port tap0, and what sets its state there. */
function fakeBridge(): {
  sysfs: string
  setState: (name: string, state: number) => void
  state: () => string
} {
  const sysfs = mkdtempSync(join(tmpdir(), 'understudy-sysfs-'))
  process.on('exit', () => rmSync(sysfs, { recursive: true, force: true }))
  const port = join(sysfs, 'class/net/tap0/brport')
  mkdirSync(port, { recursive: true })
  writeFileSync(join(port, 'state'), '3\n')
  const setState = (name: string, state: number) =>
    writeFileSync(join(sysfs, 'class/net', name, 'brport/state'), `${state}\n`)
  const state = () => readFileSync(join(port, 'state'), 'latin1').trim()
  return { sysfs, setState, state }
}

t.test('D3: shuts a bridge port, confirms it, and opens it again', async (t) => {
  const { sysfs, setState, state } = fakeBridge()
  const fence = new LocalFence({ sysfs, setState })
  const startedAt = performance.now()
  t.equal(await fence.fencePort('tap0'), true)
  t.comment(`confirmed after ${(performance.now() - startedAt).toFixed(2)} ms`)
  t.equal(state(), '0')
  t.equal(fence.isShut('tap0'), true)
  t.equal(await fence.openPort('tap0'), true)
  t.equal(state(), '3')
  t.equal(fence.isShut('tap0'), false)
})

t.test('what cannot be confirmed is false, with a reason', async (t) => {
  const { sysfs } = fakeBridge()
  const refused = new LocalFence({
    sysfs,
    setState: () => {
      throw new Error('rtnetlink: Operation not permitted (EPERM)')
    },
  })
  t.equal(await refused.fencePort('tap0'), false)
  t.match(refused.reason, /did not reach state 0 within 50 ms: rtnetlink: .*EPERM/)
  const deaf = new LocalFence({ sysfs, setState: () => {} })
  const startedAt = performance.now()
  t.equal(await deaf.fencePort('tap0'), false)
  t.ok(performance.now() - startedAt >= 50)
  t.match(deaf.reason, /did not reach state 0/)
  t.equal(await deaf.fencePort('tap9'), false)
  t.match(deaf.reason, /tap9 is no bridge port/)
  for (const name of ['', 'a b', 'x\nlink set dev y', '../../etc', '-batch', 'sixteen-letters-']) {
    await t.rejects(deaf.fencePort(name), { code: 'ERR_FENCE_INTERFACE' })
  }
})

t.test('D3: kills a process, running or stopped, and no other with its id', async (t) => {
  const fence = new LocalFence()
  for (const stopped of [false, true]) {
    const child = spawn('sleep', ['60'])
    const pid = child.pid ?? 0
    const startTime = readStartTime(pid) ?? 0
    if (stopped) child.kill('SIGSTOP')
    t.equal(await fence.killProcess(pid, startTime + 1), true, 'that process is gone')
    t.equal(readStartTime(pid), startTime, 'this one was left alone')
    const ended = once(child, 'exit')
    t.equal(await fence.killProcess(pid, startTime), true)
    t.same(await ended, [null, 'SIGKILL'])
    t.equal(await fence.killProcess(pid, startTime), true, 'twice does no harm')
  }
})

t.test('a process that was killed is ending, whatever is left of it', async (t) => {
  const child = spawn('sleep', ['60'])
  const [pid, started] = [child.pid ?? 0, String(readStartTime(child.pid ?? 0))]
  t.equal(isEnding(pid, started), false)
  t.equal(isEnding(pid, `${started}1`), true, 'another process has its id')
  child.kill('SIGSTOP')
  t.equal(isEnding(pid, started), false, 'a stopped one may go on')
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
  t.equal(isEnding(pid, started), true)
})

t.test('D3: a command fences a node elsewhere: 0 and nothing else confirms', async (t) => {
  const run = (script: string, timeoutMs?: number) =>
    new FenceCommand(['sh', '-c', script, 'sh', 'node-{node}'], timeoutMs).fence(7)
  t.equal(await run('test "$1" = node-7'), true)
  t.equal(await run('exit 3'), false)
  t.equal(await run('exec sleep 60', 50), false, 'too late')
  const missing = new FenceCommand(['/nonexistent', '{node}'])
  t.equal(await missing.fence(7), false)
  t.match(missing.reason, /the fence command for node 7: .*ENOENT/)
  t.throws(() => new FenceCommand([]), { code: 'ERR_FENCE_COMMAND' })
})

const NAMESPACE = ['--user', '--map-root-user', '--net', '--mount']
const possible =
  spawnSync('unshare', [...NAMESPACE, 'sh', '-c', 'mount -t sysfs none /sys && command -v ip'])
    .status === 0

t.test(
  'D3: a real bridge port is shut and opened',
  { skip: possible ? false : 'this kernel or container gives no network namespace' },
  async (t) => {
    const module = JSON.stringify(new URL('../../../cluster/io/fence.js', import.meta.url).href)
    const program = `
      const { LocalFence } = await import(${module})
      const fence = new LocalFence({ confirmMs: 10_000 })
      const startedAt = performance.now()
      const shut = await fence.fencePort('p0')
      const ms = performance.now() - startedAt
      const open = await fence.openPort('p0')
      console.log(JSON.stringify({ shut, open, ms, reason: fence.reason }))`
    const setUp =
      'mount -t sysfs none /sys && ip link add b0 type bridge ageing_time 0 && ip link add p0 type veth peer name p1 && ' +
      'ip link set p0 master b0 && ip link set b0 up && ip link set p1 up && ip link set p0 up && exec "$@"'
    const args = [process.execPath, '--input-type=module', '-e', program]
    const ran = spawnSync('unshare', [...NAMESPACE, 'sh', '-c', setUp, 'sh', ...args])
    t.equal(ran.status, 0, ran.stderr.toString())
    const result = JSON.parse(ran.stdout.toString())
    t.match(result, { shut: true, open: true, reason: '' })
    t.comment(`shut and confirmed in ${result.ms.toFixed(2)} ms`)
  },
)
