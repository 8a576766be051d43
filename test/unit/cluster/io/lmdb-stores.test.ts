import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import type { FlowKey } from '../../../../cluster/flow-key.js'
import { LmdbCheckpointStore } from '../../../../cluster/io/lmdb-checkpoint-store.js'
import { LmdbMirrorStore } from '../../../../cluster/io/lmdb-mirror-store.js'
import type { Ipv4Address } from '../../../../stack/index.js'

const scratch = mkdtempSync(join(tmpdir(), 'understudy-lmdb-'))
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }))
const directory = () => mkdtempSync(join(scratch, 'store-'))
const mirror = (path: string, node = 1, cluster = 'c') =>
  new LmdbMirrorStore({ path, cluster, node })
const checkpoints = (path: string, cluster = 'c') => new LmdbCheckpointStore({ path, cluster })

const KEY: FlowKey = {
  binding: 1,
  localAddress: 1 as Ipv4Address,
  localPort: 80,
  remoteAddress: 2 as Ipv4Address,
  remotePort: 4000,
}

async function untilKilled(
  kind: string,
  path: string,
): Promise<{ child: ChildProcess; flushed: number }> {
  const writer = fileURLToPath(new URL('./store-writer.js', import.meta.url))
  const child = fork(writer, [kind, path])
  let flushed = 0
  child.on('message', (n) => {
    flushed = Number(n)
  })
  while (flushed < 50) await once(child, 'message')
  child.kill('SIGKILL')
  await once(child, 'exit')
  return { child, flushed }
}

t.test('P27: what is set aside is so for the next life, too', async (t) => {
  const path = directory()
  const store = mirror(path)
  store.putEpochSync(1, 3)
  store.reserveEpochs(1, 4, 20)
  while (store.reservedEpoch(1) === 0) await delay(1)
  store.close()
  await delay(10)
  const next = mirror(path)
  t.teardown(() => next.close())
  t.strictSame([next.epoch(1), next.reservedEpoch(1), next.reservedEpoch(2)], [4, 20, 0])
})

t.test('P27: kill -9 of the writer loses nothing that was flushed', async (t) => {
  const path = directory()
  const { flushed } = await untilKilled('mirror', path)
  const store = mirror(path)
  t.teardown(() => store.close())
  const [stored] = [...store.flows(1)]
  t.ok(Buffer.from(stored?.record ?? '').readUInt32BE() >= flushed, `${flushed} were reported`)
  t.ok(store.epoch(1) >= flushed)
  const text = Buffer.concat([...store.text(KEY, 'sent')].map(({ bytes }) => bytes))
  t.ok(text.length >= flushed * 1000)
  t.ok(text.every((octet, at) => octet === Math.floor(at / 1000) % 256))
  t.equal(store.stats().textBytes, text.length)
})

t.test('A2: kill -9 of a node leaves its checkpoints to the others, with the state', async (t) => {
  const path = directory()
  const peer = checkpoints(path)
  t.teardown(() => peer.close())
  const { flushed } = await untilKilled('checkpoints', path)
  peer.refresh()
  const found = peer.get(KEY)
  t.ok((found?.input ?? 0) >= flushed)
  t.equal(peer.open('app').get('input'), found?.input, 'both of one transaction')
  peer.put(KEY, { input: 1, output: 2, unsent: new Uint8Array(0), state: null, iss: 0, irs: 0 })
  peer.flush()
  t.equal(peer.get(KEY)?.input, 1, 'the lock of the dead writer is free')
})

t.test('a foreign directory is refused by name', async (t) => {
  const path = directory()
  mirror(path).close()
  t.throws(() => mirror(path, 2), { code: 'ERR_STORE_FOREIGN', message: path })
  t.throws(() => mirror(path, 1, 'other'), { code: 'ERR_STORE_FOREIGN' })
  t.throws(() => checkpoints(path), { code: 'ERR_STORE_FOREIGN' })
  const used = directory()
  writeFileSync(join(used, 'letter.txt'), 'dear')
  t.throws(() => mirror(used), { code: 'ERR_STORE_FOREIGN', message: 'letter.txt' })
  const layout = directory()
  writeFileSync(
    join(layout, 'understudy-store.json'),
    JSON.stringify({ store: 'mirror', layout: 99, cluster: 'c', node: 1 }),
  )
  t.throws(() => mirror(layout), { code: 'ERR_STORE_FOREIGN', message: 'layout 99' })
  mirror(path).close()
})

t.test('a damaged directory is refused, and the process lives', async (t) => {
  const broken = directory()
  writeFileSync(join(broken, 'understudy-store.json'), '{"store":')
  t.throws(() => mirror(broken), { code: 'ERR_STORE_CORRUPT', message: broken })

  const path = directory()
  const store = mirror(path)
  for (let n = 0; n < 100; n++) store.putText(KEY, 'sent', n * 65536, new Uint8Array(65536))
  store.close()
  const name = readdirSync(path).find((file) => /^mirror-.*\.lmdb$/.test(file)) ?? ''
  const whole = readFileSync(join(path, name))
  truncateSync(join(path, name), 16384)
  t.throws(() => mirror(path), { code: 'ERR_STORE_CORRUPT', message: 'cut' })
  writeFileSync(join(path, name), Buffer.alloc(20000, 5))
  t.throws(() => mirror(path), { code: 'ERR_STORE_CORRUPT', message: 'no LMDB file' })
  writeFileSync(join(path, name), 'short')
  t.throws(() => mirror(path), { code: 'ERR_STORE_CORRUPT' })
  writeFileSync(join(path, name), whole)
  const again = mirror(path)
  t.equal(again.stats().textBytes, 100 * 65536)
  again.close()

  const epochs = directory()
  mirror(epochs).close()
  writeFileSync(join(epochs, 'epochs.lmdb'), Buffer.alloc(40000, 1))
  t.throws(() => mirror(epochs), { code: 'ERR_STORE_CORRUPT', message: 'epochs.lmdb' })
})

t.test('a mirror has one writer', async (t) => {
  const path = directory()
  const first = mirror(path)
  t.throws(() => mirror(path), { code: 'ERR_STORE_LOCKED', message: String(process.pid) })
  first.close()
  mirror(path).close()
  writeFileSync(join(path, 'understudy-store.lock'), '4194304 1\n')
  mirror(path).close()
})

t.test('a path that cannot be a directory is told', async (t) => {
  const file = join(directory(), 'file')
  writeFileSync(file, '')
  t.throws(() => mirror(join(file, 'store')), { code: 'ERR_STORE_ACCESS', message: file })
})

t.test('what the mirror holds is counted', async (t) => {
  const store = mirror(directory())
  t.teardown(() => store.close())
  store.flush()
  t.match(store.stats(), { records: 0, textBytes: 0, flushes: 0 }, 'nothing queued, no flush')
  store.putTcb(KEY, new Uint8Array(100))
  store.putText(KEY, 'sent', 0, new Uint8Array(5000))
  store.putText(KEY, 'sent', 5000, new Uint8Array(1000))
  t.match(store.stats(), { queuedFlows: 1, queuedBytes: 6100 })
  store.flush()
  t.match(store.stats(), {
    records: 1,
    textBytes: 6000,
    queuedBytes: 0,
    queuedFlows: 0,
    flushes: 1,
  })
  store.dropText(KEY, 'sent', 6000)
  store.flush()
  t.match(store.stats(), { records: 1, textBytes: 0 })
})

t.test('an asynchronous transaction is refused', async (t) => {
  const store = checkpoints(directory())
  t.teardown(() => store.close())
  const table = store.open('app')
  const attempt = () =>
    store.transaction(async () => {
      table.put('a', 1)
    })
  t.throws(attempt, { code: 'ERR_STORE_ASYNC' })
  t.equal(table.get('a'), undefined)
  t.throws(() => store.open('a/b'), { code: 'ERR_STORE_TABLE' })
  t.throws(() => table.put('k'.repeat(2000), 1), { code: 'ERR_STORE_KEY' })
  const octets = store.open<Uint8Array>('raw', 'octets')
  octets.put('x', Uint8Array.of(0, 255))
  t.same([...(octets.get('x') ?? [])], [0, 255])
})
