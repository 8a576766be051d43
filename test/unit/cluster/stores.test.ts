import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import type { Checkpoint, CheckpointStore } from '../../../cluster/checkpoint.js'
import type { FlowKey } from '../../../cluster/flow-key.js'
import { LmdbCheckpointStore } from '../../../cluster/io/lmdb-checkpoint-store.js'
import { LmdbMirrorStore } from '../../../cluster/io/lmdb-mirror-store.js'
import {
  MemoryCheckpointStorage,
  MemoryCheckpointStore,
  MemoryMirrorStore,
} from '../../../cluster/memory-store.js'
import { MAX_CHUNK, MAX_QUEUED_BYTES } from '../../../cluster/mirror-queue.js'
import type { MirrorStore, TextSide } from '../../../cluster/mirror-store.js'
import type { StateTable } from '../../../cluster/state-table.js'
import type { Ipv4Address } from '../../../stack/index.js'

const scratch = mkdtempSync(join(tmpdir(), 'understudy-stores-'))
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }))
const directory = () => mkdtempSync(join(scratch, 'store-'))

function flow(remotePort: number, binding = 1): FlowKey {
  return {
    binding,
    localAddress: 0x0a4d0064 as Ipv4Address,
    localPort: 80,
    remoteAddress: -1 as Ipv4Address,
    remotePort,
  }
}

const octets = (text: string) => new TextEncoder().encode(text)
const textOf = (store: MirrorStore, key: FlowKey, side: TextSide) =>
  [...store.text(key, side)].map(({ offset, bytes }) => [offset, Buffer.from(bytes).toString()])
const ports = (store: MirrorStore, binding: number) =>
  [...store.flows(binding)].map(({ key }) => key.remotePort).sort((a, b) => a - b)

const mirrors: Readonly<Record<string, () => MirrorStore>> = {
  'in memory': () => new MemoryMirrorStore(),
  'in LMDB': () => new LmdbMirrorStore({ path: directory(), cluster: 'c', node: 1 }),
}

for (const [where, open] of Object.entries(mirrors)) {
  t.test(`mirror ${where}`, async (t) => {
    const store = open()
    t.teardown(() => store.close())

    t.test('the last record of a turn is written by flush, and copied', async (t) => {
      const record = Uint8Array.of(1, 2)
      store.putTcb(flow(1), record)
      store.putTcb(flow(1), Uint8Array.of(3, 4))
      record.fill(9)
      t.same([...store.flows(1)], [], 'nothing before the flush')
      store.flush()
      const [stored] = [...store.flows(1)]
      t.same(stored?.key, flow(1))
      t.same([...(stored?.record ?? [])], [3, 4])
    })

    t.test('flows are found by their binding', async (t) => {
      store.putTcb(flow(5, 2), octets('x'))
      store.putTcb(flow(6, 65535), octets('x'))
      store.flush()
      t.same([ports(store, 1), ports(store, 2), ports(store, 65535)], [[1], [5], [6]])
    })

    t.test('runs of text that follow each other become one chunk', async (t) => {
      store.putText(flow(1), 'sent', 0, octets('abc'))
      store.putText(flow(1), 'sent', 3, octets('def'))
      store.putText(flow(1), 'sent', 10, octets('xyz'))
      store.putText(flow(1), 'received', 2 ** 40, octets('far'))
      store.flush()
      t.same(textOf(store, flow(1), 'sent'), [
        [0, 'abcdef'],
        [10, 'xyz'],
      ])
      t.same(textOf(store, flow(1), 'received'), [[2 ** 40, 'far']])
    })

    t.test('text wholly below an offset goes, a chunk across it stays', async (t) => {
      store.dropText(flow(1), 'sent', 5)
      store.flush()
      t.same(textOf(store, flow(1), 'sent'), [
        [0, 'abcdef'],
        [10, 'xyz'],
      ])
      store.putText(flow(1), 'sent', 6, octets('ghij'))
      store.dropText(flow(1), 'sent', 10)
      store.putText(flow(1), 'sent', 13, octets('!'))
      store.flush()
      t.same(textOf(store, flow(1), 'sent'), [
        [10, 'xyz'],
        [13, '!'],
      ])
      t.same(textOf(store, flow(1), 'received'), [[2 ** 40, 'far']])
    })

    t.test('a shorter repetition does not cut what is stored', async (t) => {
      store.putText(flow(1), 'sent', 10, octets('x'))
      store.flush()
      t.same(textOf(store, flow(1), 'sent')[0], [10, 'xyz'])
    })
  })

  t.test(`mirror ${where}: limits, removal, epochs`, async (t) => {
    const store = open()
    t.teardown(() => store.close())

    t.test('a run longer than a chunk is cut', async (t) => {
      const long = new Uint8Array(2.5 * MAX_CHUNK).map((_, at) => at % 251)
      store.putText(flow(2), 'received', 7, long)
      store.flush()
      const chunks = [...store.text(flow(2), 'received')]
      t.same(
        chunks.map(({ offset }) => offset),
        [7, 7 + MAX_CHUNK, 7 + 2 * MAX_CHUNK],
      )
      t.ok(Buffer.concat(chunks.map(({ bytes }) => bytes)).equals(long))
    })

    t.test('a flow goes with its text, and may come again in the same turn', async (t) => {
      store.putTcb(flow(1), octets('old'))
      store.putText(flow(1), 'received', 0, octets('old'))
      store.flush()
      store.putText(flow(1), 'sent', 20, octets('late'))
      store.removeFlow(flow(1))
      store.putTcb(flow(1), octets('new'))
      store.putText(flow(1), 'sent', 0, octets('again'))
      store.flush()
      t.same(textOf(store, flow(1), 'sent'), [[0, 'again']])
      t.same(textOf(store, flow(1), 'received'), [])
      t.same(ports(store, 1), [1])
      store.removeFlow(flow(1))
      store.flush()
      t.same(ports(store, 1), [])
    })

    t.test('too much waiting is flushed at once', async (t) => {
      const run = new Uint8Array(1024 * 1024)
      for (let at = 0; at <= MAX_QUEUED_BYTES; at += run.length) {
        store.putText(flow(3), 'sent', at, run)
      }
      t.ok(textOf(store, flow(3), 'sent').length > 0)
    })

    t.test('P27: an epoch counts at once and never goes back', async (t) => {
      t.equal(store.epoch(4), 0)
      store.putEpochSync(4, 2 ** 40)
      store.putEpochSync(4, 3)
      t.equal(store.epoch(4), 2 ** 40)
    })

    t.test('P27: epochs are set aside in a while, and beside those that are stored', async (t) => {
      t.equal(store.reservedEpoch(5), 0)
      store.reserveEpochs(5, 7, 20)
      t.equal(store.epoch(5), 7, 'it counts at once')
      while (store.reservedEpoch(5) === 0) await delay(1)
      t.equal(store.reservedEpoch(5), 20)
      store.reserveEpochs(5, 8, 30)
      store.putEpochSync(5, 40)
      while (store.reservedEpoch(5) === 20) await delay(1)
      t.strictSame([store.epoch(5), store.reservedEpoch(5)], [40, 30])
    })
  })
}

t.test('mirror in memory: a crash loses what was queued, no more', async (t) => {
  const store = new MemoryMirrorStore()
  store.putTcb(flow(1), octets('kept'))
  store.putText(flow(1), 'sent', 0, octets('kept'))
  store.flush()
  store.putTcb(flow(2), octets('lost'))
  store.removeFlow(flow(1))
  store.putEpochSync(1, 5)
  store.crash()
  store.flush()
  t.same(ports(store, 1), [1])
  t.same(textOf(store, flow(1), 'sent'), [[0, 'kept']])
  t.equal(store.epoch(1), 5)
})

type Store = CheckpointStore & { open(name: string): StateTable; refresh(): void }
const shared: Readonly<Record<string, () => readonly [Store, () => Store]>> = {
  'in memory': () => {
    const storage = new MemoryCheckpointStorage()
    return [new MemoryCheckpointStore(storage), () => new MemoryCheckpointStore(storage)]
  },
  'in LMDB': () => {
    const path = directory()
    const open = () => new LmdbCheckpointStore({ path, cluster: 'c' })
    return [open(), open]
  },
}

const checkpoint = (input: number): Checkpoint => ({
  input,
  output: 2 ** 40 + input,
  unsent: octets('tail'),
  state: { file: '/a b', part: [1, null, 'é'] },
  iss: -5,
  irs: 2 ** 31 - 1,
})

for (const [where, open] of Object.entries(shared)) {
  t.test(`checkpoints ${where}`, async (t) => {
    const [store, another] = open()
    t.teardown(() => store.close())

    t.test('A2: come back as they were put, queued or written', async (t) => {
      store.put(flow(1), checkpoint(3))
      t.same(store.get(flow(1)), checkpoint(3))
      t.equal(store.inputOffset(flow(1), -5, 2 ** 31 - 1), 3)
      store.flush()
      t.same(store.get(flow(1)), checkpoint(3))
      t.equal(store.inputOffset(flow(1), -5, 2 ** 31 - 1), 3)
      t.equal(store.get(flow(2)), null)
      t.equal(store.inputOffset(flow(2), -5, 2 ** 31 - 1), -1)
    })

    t.test('an earlier connection between the same endpoints is another one', async (t) => {
      t.equal(store.inputOffset(flow(1), -4, 2 ** 31 - 1), -1)
      t.equal(store.inputOffset(flow(1), -5, 0), -1)
    })

    t.test('A2: state and checkpoint are there both or neither', async (t) => {
      const table = store.open('app')
      store.put(flow(7), checkpoint(1))
      const result = store.transaction(() => {
        table.put('row', { n: 1 })
        store.put(flow(8), checkpoint(2))
        return 'done'
      })
      t.equal(result, 'done')
      t.same([table.get('row'), store.get(flow(8))?.input], [{ n: 1 }, 2])
      store.put(flow(9), checkpoint(4))
      const failing = () =>
        store.transaction(() => {
          table.put('row', { n: 2 })
          t.same(table.get('row'), { n: 2 }, 'seen inside')
          store.put(flow(8), checkpoint(3))
          throw new Error('no')
        })
      t.throws(failing, { message: 'no' })
      t.same([table.get('row'), store.get(flow(8))?.input], [{ n: 1 }, 2])
      t.equal(store.get(flow(9))?.input, 4, 'what was queued before is still queued')
    })

    t.test('tables: get, remove, entries by prefix', async (t) => {
      const table = store.open('files')
      for (const key of ['b/2', 'a', 'b/1', 'c', '']) table.put(key, key.length)
      t.same(
        [...table.entries('b/')],
        [
          ['b/1', 3],
          ['b/2', 3],
        ],
      )
      t.same([...table.entries()].length, 5)
      t.equal(table.remove('a'), true)
      t.equal(table.remove('a'), false)
      t.equal(table.get('a'), undefined)
    })

    t.test('another node sees what was committed, after refresh', async (t) => {
      const peer = another()
      t.teardown(() => peer.close())
      t.equal(peer.get(flow(1))?.input, 3)
      store.put(flow(1), checkpoint(50))
      store.flush()
      peer.refresh()
      t.equal(peer.inputOffset(flow(1), -5, 2 ** 31 - 1), 50)
      peer.remove(flow(1))
      t.equal(peer.get(flow(1)), null)
      peer.flush()
      store.refresh()
      t.equal(store.get(flow(1)), null)
    })
  })
}
