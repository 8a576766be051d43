/** ONC RPC and XDR under the file server: any pieces, errors as RFC 5531 has them, and input that is none. */
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import fc from 'fast-check'
import t from 'tap'
import { BoundedTable } from '../../../apps/nfs/bounded-table.js'
import { MAX_RECORD, RecordReader } from '../../../apps/nfs/record.js'
import { createNfsServer } from '../../../apps/nfs/server.js'
import { XdrReader, XdrWriter } from '../../../apps/nfs/xdr.js'
import { MemoryCheckpointStore } from '../../../cluster/memory-store.js'
import type { Socket } from '../../../stack/socket/net.js'
import {
  Client,
  MemorySocket,
  MOUNT,
  made,
  NFS,
  putAttributes,
  record,
  World,
} from './nfs-client.js'

t.test('A6: XDR gives back what was written, and refuses what ends too early (RFC 4506)', (t) => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 2000 }),
      fc.nat(0xffff_ffff),
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      fc.boolean(),
      (octets, number, large, flag) => {
        const out = new XdrWriter()
        out.opaque(octets).u32(number).u64(large).bool(flag)
        out.fill(octets.length + 10, (into) => {
          into.set(octets)
          return octets.length
        })
        const bytes = Buffer.from(out.bytes)
        const reader = new XdrReader(bytes)
        t.ok(reader.opaque(2000).equals(octets))
        t.same([reader.u32(), reader.u64(), reader.bool()], [number, large, flag])
        t.ok(reader.opaque(2000).equals(octets))
        t.equal(reader.left, 0)
        const short = new XdrReader(bytes.subarray(0, bytes.length - 1))
        t.throws(
          () => {
            short.opaque(2000)
            short.u32()
            short.u64()
            short.bool()
            short.opaque(2000)
          },
          { message: /ends too early|allowed|boolean/ },
        )
      },
    ),
    { numRuns: 50 },
  )
  const number = (value: number) => new XdrReader(Buffer.from(new XdrWriter().u32(value).bytes))
  t.throws(() => number(2).bool(), { message: /ends too early|allowed|boolean/ })
  t.throws(() => number(11).opaque(10), { message: /ends too early|allowed|boolean/ })
  t.throws(() => number(0xffff_ffff).fixed(0xffff_fffe), {
    message: /ends too early|allowed|boolean/,
  })
  t.throws(() => number(9).list(8, () => 0), { message: /ends too early|allowed|boolean/ })
  t.end()
})

t.test('A6: records in any pieces and fragments (RFC 5531 §11)', (t) => {
  const fragment = (text: string, last: boolean) => {
    const bytes = Buffer.from(`....${text}`)
    bytes.writeUInt32BE((last ? 0x8000_0000 : 0) + text.length)
    return bytes
  }
  const stream = Buffer.concat([
    fragment('one', true),
    fragment('', true),
    fragment('tw', false),
    fragment('', false),
    fragment('o', true),
    fragment('3'.repeat(3000), true),
  ])
  for (const size of [1, 2, 3, 7, 64, 5000]) {
    const reader = new RecordReader()
    const found: string[] = []
    for (let at = 0; at < stream.length; at += size) {
      reader.push(stream.subarray(at, at + size))
      for (let r = reader.peek(); r !== null; r = reader.peek()) {
        found.push(String(r))
        reader.drop()
      }
    }
    t.same(found, ['one', '', 'two', '3'.repeat(3000)], `pieces of ${size}`)
    t.equal(reader.waiting, 0)
  }
  for (const bytes of [
    Buffer.from('ffffffff', 'hex'),
    Buffer.from('7fffffff', 'hex'),
    Buffer.alloc(MAX_RECORD + 4),
  ]) {
    const reader = new RecordReader()
    reader.push(bytes)
    t.throws(() => reader.peek(), { message: /more than/ })
  }
  t.end()
})

t.test('A6: fragments without octets cost what they weigh, however they come', (t) => {
  const reader = new RecordReader()
  const count = MAX_RECORD / 4 - 1
  const marks = Buffer.alloc(4)
  const before = process.cpuUsage()
  for (let i = 0; i < count; i++) {
    reader.push(marks)
    if (reader.peek() !== null) throw new Error('a record of nothing')
  }
  const { user } = process.cpuUsage(before)
  t.ok(user < 5_000_000, `${user} µs`)
  t.equal(reader.waiting, 4 * count)
  const more = Buffer.alloc(8)
  reader.push(more)
  t.throws(() => reader.peek(), { message: /more than/ })
  t.end()
})

t.test('A6: what cannot be carried out is answered as RFC 5531 §9 says', (t) => {
  const client = new World(t).client()
  const answer = (bytes: Buffer) => {
    const words = client.ask(bytes)
    return Array.from({ length: words.length / 4 }, (_, i) => words.readUInt32BE(4 * i))
  }
  const edited = (at: number, value: number) => {
    const bytes = record(7, NFS, 3, 0)
    bytes.writeUInt32BE(value, at)
    return bytes
  }
  t.same(answer(record(7, NFS, 3, 0)), [7, 1, 0, 0, 0, 0], 'NULL')
  t.same(answer(record(7, 100004, 3, 0)), [7, 1, 0, 0, 0, 1], 'PROG_UNAVAIL')
  t.same(answer(record(7, NFS, 2, 0)), [7, 1, 0, 0, 0, 2, 3, 4], 'PROG_MISMATCH')
  t.same(answer(record(7, MOUNT, 1, 0)), [7, 1, 0, 0, 0, 2, 3, 3], 'PROG_MISMATCH of MOUNT')
  t.same(answer(record(7, NFS, 3, 22)), [7, 1, 0, 0, 0, 3], 'PROC_UNAVAIL')
  t.same(answer(record(7, NFS, 4, 2)), [7, 1, 0, 0, 0, 3], 'PROC_UNAVAIL in version 4')
  for (const procedure of [1, 2, 3, 6, 7, 8, 14, 17, 21]) {
    t.same(answer(record(7, NFS, 3, procedure)), [7, 1, 0, 0, 0, 4], 'GARBAGE_ARGS')
  }
  t.same(answer(edited(12, 3)), [7, 1, 1, 0, 2, 2], 'RPC_MISMATCH')
  t.same(answer(edited(28, 6)), [7, 1, 1, 1, 5], 'RPCSEC_GSS is refused')
  t.same(answer(edited(60, 17)), [7, 1, 1, 1, 1], 'a credential that is none')
  t.same(answer(edited(32, 401)), [7, 1, 1, 1, 1], 'a credential that is too long')
  t.end()
})

t.test('A6: what is no call ends the connection, and only that', (t) => {
  const world = new World(t)
  const serve = world.serve()
  const bad = ['ffffffff', '80000000', '8000000400000007', '80000008000000070000000100000000']
  for (const hex of bad) {
    const socket = new MemorySocket()
    serve(socket)
    socket.send(Buffer.from(hex, 'hex'))
    t.ok(socket.destroyed || socket.ended, hex)
    t.same(socket.replies(), [])
  }
  const half = new MemorySocket()
  serve(half)
  half.send(record(1, NFS, 3, 0).subarray(0, 30))
  t.same([half.destroyed, half.ended, half.committed], [false, false, 0], 'half a request waits')
  half.send(record(1, NFS, 3, 0).subarray(30))
  t.equal(half.replies().length, 1)
  t.equal(half.committed, half.inputOffset)
  t.same(world.errors, [])
  t.end()
})

t.test('A6: a client that does not read is not read from', (t) => {
  const socket = new MemorySocket()
  new World(t).serve()(socket)
  socket.writableNeedDrain = true
  socket.send(Buffer.concat([record(1, NFS, 3, 0), record(2, NFS, 3, 0)]))
  t.same([socket.replies().length, socket.paused, socket.committed], [0, true, 0])
  socket.writableNeedDrain = false
  socket.emit('drain')
  t.same([socket.replies().length, socket.paused], [2, false])
  t.equal(socket.committed, socket.inputOffset)
  t.end()
})

t.test('A6: clients beyond the limit are turned away', (t) => {
  const serve = new World(t).serve()
  const sockets = Array.from({ length: 1025 }, () => new MemorySocket())
  for (const socket of sockets) serve(socket)
  t.equal(sockets.filter((socket) => socket.destroyed).length, 1)
  sockets[0]?.destroy()
  const next = new MemorySocket()
  serve(next)
  t.notOk(next.destroyed, 'one that leaves makes room')
  t.end()
})

t.test('A6: a bounded table keeps the newest entries', (t) => {
  const store = new MemoryCheckpointStore()
  const table = new BoundedTable<number>(store.open('t'), 3)
  for (const key of ['a', 'b', 'c']) table.put(key, 1)
  table.put('a', 2)
  t.ok(table.remove('b'))
  t.notOk(table.remove('b'))
  table.put('d', 4)
  t.same([...table.keys()], ['a', 'c', 'd'])
  table.put('e', 5)
  t.same([table.get('a'), table.get('c'), table.size], [undefined, 1, 3])
  for (let i = 0; i < 100; i++) table.put(`x${i}`, i)
  t.same([...table.keys()].sort(), ['x97', 'x98', 'x99'])
  t.equal([...store.open('t').entries()].length, 7, 'nothing is left of what has gone')
  t.end()
})

t.test('A6: no input makes the server throw, and it serves on', (t) => {
  const world = new World(t)
  fs.writeFileSync(world.path('file'), 'content')
  fs.writeFileSync(`${world.folder}/outside`, 'secret')
  const serve = world.serve()
  const send = (bytes: Buffer) => {
    const socket = new MemorySocket()
    serve(socket)
    socket.send(bytes)
    socket.destroy()
  }
  const octets = fc.uint8Array({ maxLength: 300 })
  const handle = Buffer.from(worldHandle(world))
  const call = fc.tuple(
    fc.constantFrom(NFS, NFS, MOUNT),
    fc.integer({ min: 3, max: 4 }),
    fc.integer({ min: 0, max: 23 }),
    octets,
    fc.boolean(),
  )
  fc.assert(
    fc.property(call, ([program, version, procedure, rest, withHandle]) => {
      send(
        record(1, program, version, procedure, (out) => {
          if (withHandle) out.opaque(handle)
          out.fixed(rest)
        }),
      )
    }),
    { numRuns: 1500 },
  )
  const operation = fc.tuple(fc.integer({ min: 0, max: 42 }), octets)
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 6 }), (operations) => {
      send(
        record(1, NFS, 4, 1, (out) => {
          out
            .text('')
            .u32(0)
            .u32(operations.length + 1)
            .u32(24)
          for (const [number, rest] of operations) out.u32(number).fixed(rest)
        }),
      )
    }),
    { numRuns: 1500 },
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => send(Buffer.from(bytes))),
    { numRuns: 500 },
  )
  t.same(world.errors, [], 'nothing was thrown')
  t.ok(world.client().mount().equals(handle))
  t.equal(fs.readFileSync(`${world.folder}/outside`, 'utf8'), 'secret')
  t.same(fs.readdirSync(world.folder).sort(), ['outside', 'root'])
  t.end()
})

function worldHandle(world: World): Buffer {
  return world.client().mount()
}

/** Requests of a client that does a little of everything. */
function session(world: World): Buffer[] {
  const client = world.client()
  const root = client.mount()
  const name = (text: string) => (out: XdrWriter) => out.opaque(root).text(text)
  client.create(root, 'made', 0)
  client.lookup(root, 'file')
  client.call3(9, (out) => putAttributes(name('folder')(out), 0o755))
  client.call3(14, (out) => name('made')(out).opaque(root).text('moved'))
  client.call3(12, name('moved'))
  client.call3(13, name('folder'))
  client.call3(6, (out) => out.opaque(root).u64(0n).u32(100))
  client.call3(17, (out) => out.opaque(root).u64(0n).u64(0n).u32(500).u32(5000))
  client.call3(10, (out) => {
    putAttributes(name('link')(out))
    out.text('../outside')
  })
  const id = Buffer.alloc(8)
  client.compound(
    (out) => out.u32(35).fixed(id).text('me').u32(1).text('tcp').text('0').u32(1),
    (out) => out.u32(24),
    (out) => out.u32(15).text('file'),
    (out) => out.u32(9).u32(2).u32(0xff).u32(0xff),
    (out) => out.u32(34).u32(0).fixed(Buffer.alloc(12)).u32(1).u32(16).opaque(Buffer.alloc(8)),
    (out) => out.u32(18).u32(1).u32(3).u32(0).fixed(id).text('o').u32(0).u32(0).text('file'),
  )
  client.compound(
    (out) => out.u32(24),
    (out) => out.u32(32),
    (out) => out.u32(29).text('link').text('other'),
    (out) => out.u32(26).u64(0n).u64(0n).u32(500).u32(500).u32(1).u32(2),
    (out) => out.u32(28).text('other'),
  )
  return client.asked
}

t.test('A6: requests with octets changed, cut off or added do no harm', (t) => {
  const world = new World(t)
  fs.writeFileSync(world.path('file'), 'content')
  fs.writeFileSync(`${world.folder}/outside`, 'secret')
  const requests = session(world)
  const serve = world.serve()
  const change = fc.record({
    request: fc.constantFrom(...requests),
    edits: fc.array(
      fc.tuple(fc.nat(400), fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 0x2e, 0x2f, 0x7f, 0xff))),
      { minLength: 1, maxLength: 4 },
    ),
    length: fc.oneof(fc.constant(0), fc.integer({ min: -40, max: 40 })),
  })
  fc.assert(
    fc.property(change, ({ request, edits, length }) => {
      const body = Buffer.alloc(Math.max(request.length - 4 + length, 0))
      request.copy(body, 0, 4)
      for (const [at, octet] of edits) if (at < body.length) body[at] = octet
      const mark = Buffer.alloc(4)
      mark.writeUInt32BE(0x8000_0000 + body.length)
      const socket = new MemorySocket()
      serve(socket)
      socket.send(Buffer.concat([mark, body]))
      socket.destroy()
    }),
    { numRuns: 4000 },
  )
  t.same(world.errors, [], 'nothing was thrown')
  t.same(fs.readdirSync(world.folder).sort(), ['outside', 'root'])
  t.equal(fs.readFileSync(`${world.folder}/outside`, 'utf8'), 'secret')
  t.ok(world.client().mount())
  t.end()
})

t.test('A6: folders below each other, deeper than any path', (t) => {
  const world = new World(t)
  const client = world.client()
  const chain = [client.mount()]
  for (let i = 0; i < 90; i++) {
    const folder = chain.at(-1) as Buffer
    const name = `${i}-${'x'.repeat(240)}`
    const reply = client.call3(9, (out) => putAttributes(out.opaque(folder).text(name), 0o755))
    chain.push(Buffer.from(made(reply) as Buffer))
  }
  const last = chain.at(-1) as Buffer
  t.type(world.client().create(last, 'file', 1), Buffer, 'found by a node that has nothing open')
  // Node's own removal cannot go so deep.
  t.equal(spawnSync('rm', ['-rf', world.path('')]).status, 0)
  t.end()
})

t.test('A6 P20: a call between two terms waits and is carried out once', async (t) => {
  const world = new World(t)
  const [carrier, owner] = [1, 2].map(() => new MemoryCheckpointStore(world.storage))
  if (carrier === undefined || owner === undefined) throw new Error('two stores')
  carrier.claim(1, 1)
  const onError = (error: Error) => t.fail(error.message)
  const serve = createNfsServer({ root: world.root, store: carrier, onError })
  const client = new Client((socket) => serve(socket as unknown as Socket))
  const root = client.mount()
  const moved = new MemorySocket()
  serve(moved as unknown as Socket)
  owner.claim(1, 2)
  const created = (name: string) =>
    record(client.xid++, NFS, 3, 8, (out) => {
      out.opaque(root).text(name).u32(1)
      putAttributes(out)
    })
  const { socket } = client
  const asked = created('carried')
  socket.send(asked.subarray(0, 40))
  socket.send(asked.subarray(40))
  moved.send(created('moved'))
  t.ok(socket.paused, 'no more is read')
  moved.destroy()
  t.same(socket.replies(), [], 'and nothing answered')
  t.same(fs.readdirSync(world.root), [])
  carrier.claim(1, 2)
  let replies: Buffer[] = []
  while (replies.length === 0) {
    await delay(1)
    replies = socket.replies()
  }
  t.equal(replies.length, 1)
  t.same(fs.readdirSync(world.root), ['carried'], 'whose connection has ended, is not served')
  t.notOk(socket.paused)
  t.equal(socket.committed, socket.inputOffset)
})

t.test("A6: a call on a connection that is another node's is left to that", (t) => {
  const world = new World(t)
  const client = world.client()
  const root = client.mount()
  client.socket.commit = () => {
    throw Object.assign(new Error('Socket is closed'), { code: 'ERR_SOCKET_CLOSED' })
  }
  client.socket.send(record(client.xid++, NFS, 3, 1, (out) => out.opaque(root)))
  t.same(world.errors, [])
  t.notOk(client.socket.destroyed, 'it is about to be told so')
  t.ok(client.socket.paused)
  t.end()
})
