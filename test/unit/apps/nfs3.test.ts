/** NFSv3 without a network: each procedure, what must not be done twice, handles, and that nothing outside can be reached. */
import * as fs from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { XdrReader, XdrWriter } from '../../../apps/nfs/xdr.js'
import {
  attributes,
  type Client,
  createArguments,
  fattr,
  MOUNT,
  made,
  NFS,
  putAttributes,
  record,
  results,
  World,
} from './nfs-client.js'

const GETATTR = 1
const SETATTR = 2
const ACCESS = 4
const READLINK = 5
const READ = 6
const WRITE = 7
const CREATE = 8
const MKDIR = 9
const SYMLINK = 10
const MKNOD = 11
const REMOVE = 12
const RMDIR = 13
const RENAME = 14
const LINK = 15
const READDIR = 16
const READDIRPLUS = 17
const COMMIT = 21

function handleOf(found: Buffer | number): Buffer {
  if (typeof found === 'number') throw new Error(`status ${found}`)
  return found
}

function passChange(reply: XdrReader): void {
  if (reply.bool()) reply.fixed(24)
  attributes(reply)
}

function read(client: Client, file: Buffer, offset: number, count: number): string | number {
  const reply = client.call3(READ, (out) => out.opaque(file).u64(BigInt(offset)).u32(count))
  const status = reply.u32()
  if (status !== 0) return status
  attributes(reply)
  const length = reply.u32()
  const eof = reply.bool()
  const text = reply.text(length)
  return `${text}${eof ? '|' : ''}`
}

function write(client: Client, file: Buffer, offset: number, text: string, stable = 0): number[] {
  const put = (out: XdrWriter) =>
    out.opaque(file).u64(BigInt(offset)).u32(text.length).u32(stable).text(text)
  const reply = client.call3(WRITE, put)
  const status = reply.u32()
  if (status !== 0) return [status]
  passChange(reply)
  return [status, reply.u32(), reply.u32()]
}

/** The names in a folder, in parts of `count` octets. */
function list(client: Client, folder: Buffer, count: number, plus = false): string[] {
  const names: string[] = []
  for (let cookie = 0n; ; ) {
    const reply = client.call3(plus ? READDIRPLUS : READDIR, (out) => {
      out.opaque(folder).u64(cookie).fixed(new Uint8Array(8)).u32(count)
      if (plus) out.u32(count)
    })
    const status = reply.u32()
    if (status !== 0) return [String(status)]
    attributes(reply)
    reply.fixed(8)
    while (reply.bool()) {
      reply.u64()
      names.push(reply.text(255))
      cookie = reply.u64()
      if (!plus) continue
      attributes(reply)
      if (reply.bool()) reply.opaque(64)
    }
    if (reply.bool()) return names
  }
}

const status = (client: Client, procedure: number, put: (out: XdrWriter) => unknown): number =>
  client.call3(procedure, put).u32()

const commit = (client: Client, file: Buffer) =>
  client.callLater(NFS, 3, COMMIT, (out) => out.opaque(file).u64(0n).u32(0))

const setting = (file: Buffer, mode: number, size?: bigint) => (out: XdrWriter) => {
  putAttributes(out.opaque(file), mode, size)
  out.bool(false)
}

t.test('A6: files are made, written, read and listed over NFSv3', async (t) => {
  const world = new World(t)
  const client = world.client()
  const root = client.mount()
  const file = handleOf(client.create(root, 'file'))
  t.same(write(client, file, 0, 'hello world'), [0, 11, 0], 'unstable')
  t.same(write(client, file, 6, 'there', 2), [0, 5, 2], 'on the disk')
  t.equal(read(client, file, 0, 5), 'hello')
  t.equal(read(client, file, 6, 100), 'there|')
  t.equal(read(client, file, 100, 1), '|')
  t.equal(fs.readFileSync(world.path('file'), 'utf8'), 'hello there')
  t.equal(fs.statSync(world.path('file')).mode & 0o777, 0o640)
  t.equal((await commit(client, file)).u32(), 0)
  const getattr = client.call3(GETATTR, (out) => out.opaque(file))
  t.equal(getattr.u32(), 0)
  t.same(fattr(getattr), { type: 1, mode: 0o640, size: 11n })
  t.equal(status(client, SETATTR, setting(file, 0o600, 4n)), 0)
  t.equal(read(client, file, 0, 9), 'hell|')
  t.equal(
    status(client, SETATTR, (out) => {
      putAttributes(out.opaque(file))
      out.bool(true).u32(1).u32(1)
    }),
    10002,
    'a guard that does not hold: NOT_SYNC',
  )
  const access = client.call3(ACCESS, (out) => out.opaque(file).u32(0x3f))
  access.u32()
  attributes(access)
  t.equal(access.u32() & 0x0d, 0x0d, 'read, modify, extend')
  const folder = handleOf(
    made(client.call3(MKDIR, (out) => putAttributes(out.opaque(root).text('folder'), 0o755))),
  )
  t.equal(
    status(client, RENAME, (out) => out.opaque(root).text('file').opaque(folder).text('new')),
    0,
  )
  t.equal(read(client, file, 0, 2), 'he', 'the handle follows')
  t.equal(
    status(client, LINK, (out) => out.opaque(file).opaque(root).text('other')),
    0,
  )
  t.equal(fs.statSync(world.path('other')).nlink, 2)
  t.equal(
    status(client, REMOVE, (out) => out.opaque(folder).text('new')),
    0,
  )
  t.equal(read(client, file, 0, 2), 'he', 'by its other name')
  t.equal(
    status(client, RMDIR, (out) => out.opaque(root).text('folder')),
    0,
  )
  t.same(fs.readdirSync(world.root), ['other'])
})

t.test('A6: folders of any size are listed in parts, while they change', (t) => {
  const world = new World(t)
  const client = world.client()
  const root = client.mount()
  const names = Array.from({ length: 700 }, (_, i) => `file-${i}`)
  for (const name of names) fs.writeFileSync(world.path(name), '')
  for (const plus of [false, true]) {
    const found = list(client, root, 4000, plus)
    t.same(found.slice(0, 2), ['.', '..'])
    t.same(found.slice(2).sort(), [...names].sort(), `each once${plus ? ' with attributes' : ''}`)
  }
  t.same(list(client, root, 120), ['10005'], 'TOOSMALL')
  // Each is removed as soon as it is seen: the others stay where they are.
  for (;;) {
    const reply = client.call3(READDIR, (out) =>
      out.opaque(root).u64(2n).fixed(new Uint8Array(8)).u32(4000),
    )
    reply.u32()
    attributes(reply)
    reply.fixed(8)
    const part: string[] = []
    while (reply.bool()) {
      reply.u64()
      part.push(reply.text(255))
      reply.u64()
    }
    if (part.length === 0) break
    for (const name of part) {
      t.equal(
        status(client, REMOVE, (out) => out.opaque(root).text(name)),
        0,
      )
    }
  }
  t.same(fs.readdirSync(world.root), [])
  t.end()
})

t.test('A6: refusals have the status of RFC 1813 §2.6', (t) => {
  const world = new World(t)
  const client = world.client()
  const root = client.mount()
  fs.mkdirSync(world.path('folder'))
  fs.writeFileSync(world.path('folder/x'), '')
  fs.writeFileSync(world.path('file'), '')
  const folder = handleOf(client.lookup(root, 'folder'))
  const file = handleOf(client.lookup(root, 'file'))
  const removing = (procedure: number, name: string) =>
    status(client, procedure, (out) => out.opaque(root).text(name))
  t.equal(client.lookup(root, 'none'), 2, 'NOENT')
  t.equal(client.lookup(file, 'x'), 20, 'NOTDIR')
  t.equal(client.lookup(root, 'x'.repeat(300)), 63, 'NAMETOOLONG')
  t.equal(client.create(root, 'file'), 17, 'EXIST')
  t.equal(client.create(root, 'folder', 0), 17, 'EXIST as a folder')
  t.equal(removing(REMOVE, 'none'), 2)
  t.equal(removing(REMOVE, 'folder'), 21, 'ISDIR')
  t.equal(removing(RMDIR, 'file'), 20, 'NOTDIR')
  t.equal(removing(RMDIR, 'folder'), 66, 'NOTEMPTY')
  t.equal(removing(RMDIR, '.'), 22, 'INVAL')
  t.equal(read(client, folder, 0, 1), 21, 'ISDIR')
  t.same(write(client, folder, 0, 'x'), [21])
  t.same(write(client, file, 2 ** 53, 'x'), [27], 'FBIG')
  t.same(write(client, file, 0, 'x', 3), [22], 'INVAL')
  t.equal(
    status(client, LINK, (out) => out.opaque(folder).opaque(root).text('y')),
    21,
  )
  t.equal(
    status(client, READLINK, (out) => out.opaque(file)),
    22,
  )
  t.equal(
    status(client, RENAME, (out) => out.opaque(root).text('none').opaque(root).text('y')),
    2,
  )
  t.equal(
    status(client, MKNOD, (out) => out.opaque(root).text('fifo').u32(7)),
    10004,
    'NOTSUPP',
  )
  t.equal(
    status(client, GETATTR, (out) => out.opaque(Buffer.alloc(28))),
    10001,
    'BADHANDLE',
  )
  t.equal(
    status(client, GETATTR, (out) => out.opaque(Buffer.alloc(0))),
    10001,
  )
  fs.rmSync(world.path('file'))
  t.equal(read(client, file, 0, 1), 70, 'STALE')
  fs.writeFileSync(world.path('file'), 'another')
  t.equal(read(client, file, 0, 1), 70, 'another file of the same name is not taken for it')
  t.equal(client.call(MOUNT, 3, 1, (out) => out.text('/none')).u32(), 2)
  t.equal(client.call(MOUNT, 3, 1, (out) => out.text('/file')).u32(), 20)
  t.end()
})

t.test('A6: no path leads out of the folder that is served', (t) => {
  const world = new World(t)
  fs.mkdirSync(`${world.folder}/outside`)
  fs.writeFileSync(`${world.folder}/outside/secret`, 'secret')
  fs.symlinkSync('../outside', world.path('link'))
  fs.symlinkSync('../outside/secret', world.path('secret'))
  const client = world.client()
  const root = client.mount()
  t.ok(handleOf(client.lookup(root, '..')).equals(root), 'the root is above itself')
  for (const name of ['../outside', 'link/secret', '/etc/passwd', '..\0', '']) {
    t.equal(client.lookup(root, name), 22, JSON.stringify(name))
    t.equal(client.create(root, name), 22)
  }
  t.equal(client.create(root, '..'), 22)
  for (const path of ['/..', '/../outside', '/link', 'link/..']) {
    t.not(client.call(MOUNT, 3, 1, (out) => out.text(path)).u32(), 0, path)
  }
  const link = handleOf(client.lookup(root, 'link'))
  t.equal(client.lookup(link, 'secret'), 20, 'a link is no folder')
  const secret = handleOf(client.lookup(root, 'secret'))
  t.equal(read(client, secret, 0, 10), 22, 'a link is not read through')
  t.same(write(client, secret, 0, 'x'), [22])
  t.equal(client.create(root, 'secret', 0), 17, 'nor written')
  t.same(list(client, link, 4000), ['20'])
  const target = client.call3(READLINK, (out) => out.opaque(secret))
  t.equal(target.u32(), 0)
  attributes(target)
  t.equal(target.text(100), '../outside/secret', 'what it says is the client’s to follow')
  const mode = fs.statSync(`${world.folder}/outside/secret`).mode
  status(client, SETATTR, setting(secret, 0o777))
  t.equal(fs.statSync(`${world.folder}/outside/secret`).mode, mode)

  // A folder is exchanged for a link behind the server's back.
  fs.mkdirSync(world.path('folder'))
  fs.writeFileSync(world.path('folder/secret'), 'mine')
  const folder = handleOf(client.lookup(root, 'folder'))
  const mine = handleOf(client.lookup(folder, 'secret'))
  const fresh = world.client()
  fs.renameSync(world.path('folder'), world.path('moved'))
  fs.symlinkSync('../outside', world.path('folder'))
  t.equal(fresh.lookup(folder, 'secret'), 70, 'STALE')
  t.equal(read(fresh, mine, 0, 10), 70)
  t.equal(fresh.create(folder, 'planted'), 70)
  t.same(fs.readdirSync(`${world.folder}/outside`), ['secret'])
  t.equal(fs.readFileSync(`${world.folder}/outside/secret`, 'utf8'), 'secret')
  t.end()
})

t.test('A6: links are made and told of, in any octets', (t) => {
  const world = new World(t)
  const client = world.client()
  const root = client.mount()
  const name = 'na\xefve \xff'
  const link = (out: XdrWriter) => {
    putAttributes(out.opaque(root).text(name))
    out.text('/any/where')
  }
  const handle = handleOf(made(client.call3(SYMLINK, link)))
  const target = client.call3(READLINK, (out) => out.opaque(handle))
  target.u32()
  attributes(target)
  t.equal(target.text(100), '/any/where')
  t.same(list(client, root, 4000), ['.', '..', name])
  t.same(fs.readdirSync(world.root, 'latin1' as never), [name])
  t.equal(
    status(client, REMOVE, (out) => out.opaque(root).text(name)),
    0,
  )
  t.end()
})

t.test('A6: handles and the write verifier hold on each node and behind a restart', async (t) => {
  const world = new World(t)
  const client = world.client()
  const root = client.mount()
  client.call3(MKDIR, (out) => putAttributes(out.opaque(root).text('a'), 0o755))
  const a = handleOf(client.lookup(root, 'a'))
  const file = handleOf(client.create(a, 'file'))
  write(client, file, 0, 'text')
  const verifier = async (from: Client) => {
    const reply = await commit(from, file)
    reply.u32()
    passChange(reply)
    return reply.fixed(8).toString('hex')
  }
  const other = world.client()
  t.ok(other.mount().equals(root))
  t.equal(read(other, file, 0, 9), 'text|')
  t.equal(await verifier(other), await verifier(client))
  t.equal(
    status(other, RENAME, (out) => out.opaque(root).text('a').opaque(root).text('b')),
    0,
  )
  const third = world.client()
  t.equal(read(third, file, 0, 9), 'text|', 'what lies in a renamed folder stays')
  t.ok(handleOf(third.lookup(a, 'file')).equals(file))
  t.ok(handleOf(third.lookup(a, '..')).equals(root))
})

t.test('A6: a request that comes again is answered, and not carried out again', (t) => {
  const world = new World(t)
  const client = world.client()
  const root = client.mount()
  fs.writeFileSync(world.path('victim'), '')
  const removal = record(77, NFS, 3, REMOVE, (out) => out.opaque(root).text('victim'))
  const first = client.ask(removal)
  t.equal(results(first).u32(), 0)
  fs.writeFileSync(world.path('victim'), 'another')
  t.ok(client.ask(removal).equals(first))
  client.reconnect()
  t.ok(client.ask(removal).equals(first), 'over another connection')
  t.ok(world.client().ask(removal).equals(first), 'and by another node')
  t.ok(fs.existsSync(world.path('victim')))
  const same = record(77, NFS, 3, REMOVE, (out) => out.opaque(root).text('others'))
  t.equal(results(client.ask(same)).u32(), 2, 'another request with the same xid is none of it')
  world.now += 121_000
  t.equal(results(client.ask(removal)).u32(), 0, 'and an old one neither')
  t.notOk(fs.existsSync(world.path('victim')))
  t.end()
})

/** Changes of which each fails when it is carried out twice. */
const CHANGES: readonly [
  string,
  number,
  (world: World, root: Buffer) => (out: XdrWriter) => unknown,
][] = [
  ['CREATE', CREATE, (_world, root) => createArguments(root, 'new', 1)],
  [
    'exclusive CREATE',
    CREATE,
    (_world, root) => createArguments(root, 'n', Buffer.from('abcdefgh')),
  ],
  ['MKDIR', MKDIR, (_world, root) => (out) => putAttributes(out.opaque(root).text('new'), 0o700)],
  [
    'SYMLINK',
    SYMLINK,
    (_world, root) => (out) => {
      putAttributes(out.opaque(root).text('new'))
      out.text('to')
    },
  ],
  ['REMOVE', REMOVE, (_world, root) => (out) => out.opaque(root).text('file')],
  ['RMDIR', RMDIR, (_world, root) => (out) => out.opaque(root).text('folder')],
  [
    'RENAME',
    RENAME,
    (_world, root) => (out) => out.opaque(root).text('file').opaque(root).text('new'),
  ],
  [
    'RENAME over another',
    RENAME,
    (_world, root) => (out) => out.opaque(root).text('file').opaque(root).text('more'),
  ],
  [
    'LINK',
    LINK,
    (world, root) => {
      const file = handleOf(world.client().lookup(root, 'file'))
      return (out) => out.opaque(file).opaque(root).text('new')
    },
  ],
  [
    'SETATTR with a guard',
    SETATTR,
    (world, root) => {
      const file = handleOf(world.client().lookup(root, 'file'))
      const { ctimeNs } = fs.statSync(world.path('file'), { bigint: true })
      return (out) => {
        putAttributes(out.opaque(file), 0o611)
        out.bool(true).u32(Number(ctimeNs / 1_000_000_000n))
        out.u32(Number(ctimeNs % 1_000_000_000n))
      }
    },
  ],
]

function crashTest(t: Test, place: number): void {
  const [name = '', procedure = 0, argumentsOf] = CHANGES[place] ?? []
  const world = new World(t)
  fs.writeFileSync(world.path('file'), '')
  fs.writeFileSync(world.path('more'), '')
  fs.mkdirSync(world.path('folder'))
  const client = world.client()
  const root = client.mount()
  const request = record(5, NFS, 3, procedure, argumentsOf?.(world, root))
  const before = fs.readdirSync(world.root).join()
  world.crashes = true
  client.socket.send(request)
  t.ok(client.socket.destroyed, name)
  if (procedure !== SETATTR) t.not(fs.readdirSync(world.root).join(), before, 'it was done')
  world.crashes = false
  const next = world.client()
  t.equal(results(next.ask(request)).u32(), 0, `${name}: the next owner says that it was done`)
  const after = fs.readdirSync(world.root).join()
  t.equal(results(next.ask(request)).u32(), 0)
  t.equal(fs.readdirSync(world.root).join(), after)
  const other = record(6, NFS, 3, procedure, argumentsOf?.(world, root))
  if (!/LINK|SETATTR|over|RENAME|REMOVE|exclusive|RMDIR/.test(name)) {
    t.equal(results(next.ask(other)).u32(), 17, `${name}: another request finds it there`)
  }
  t.same(
    world.errors.map(({ message }) => message),
    ['the node has died'],
  )
}

t.test('A6: the next owner knows whether a change was made when the owner died', (t) => {
  for (let i = 0; i < CHANGES.length; i++) crashTest(t, i)
  t.end()
})

t.test('A6: an exclusive creation comes again with its verifier (RFC 1813 §3.3.8)', (t) => {
  const client = new World(t).client()
  const root = client.mount()
  const one = Buffer.from('01234567')
  const file = handleOf(client.create(root, 'x', one))
  t.ok(handleOf(client.create(root, 'x', one)).equals(file))
  t.equal(client.create(root, 'x', Buffer.from('76543210')), 17)
  t.end()
})

t.test('A6: a COMMIT waits for the disk, and what follows waits for it', async (t) => {
  const world = new World(t)
  const client = world.client()
  const root = client.mount()
  const file = handleOf(client.create(root, 'file'))
  write(client, file, 0, 'text')
  const { socket } = client
  const committing = record(1, NFS, 3, COMMIT, (out) => out.opaque(file).u64(0n).u32(0))
  const before = socket.committed
  socket.send(Buffer.concat([committing, record(2, NFS, 3, 0)]))
  socket.send(record(3, NFS, 3, 0))
  socket.emit('end')
  t.same([socket.replies().length, socket.paused, socket.ended], [0, true, false])
  t.equal(socket.committed, before, 'the next owner would hear all of them')
  while (!socket.ended) await setImmediate()
  t.same(
    socket.replies().map((reply) => reply.readUInt32BE(0)),
    [1, 2, 3],
  )
  t.equal(socket.committed, socket.inputOffset)
  t.equal((await commit(world.client(), root)).u32(), 21, 'a folder cannot be committed')
  t.same(world.errors, [])
})

t.test('A6: the greatest values are answered, and end nothing', (t) => {
  const world = new World(t)
  const client = world.client()
  const root = client.mount()
  const file = handleOf(client.create(root, 'file', 0))
  const most = 0xffff_ffff
  const set = (out: XdrWriter, owner: boolean) => {
    out.bool(true).u32(most).bool(owner)
    if (owner) out.u32(most)
    out.bool(owner)
    if (owner) out.u32(most)
    out.bool(false).u32(2).u32(most).u32(most).u32(2).u32(most).u32(most)
  }
  const statuses = [
    status(client, MKDIR, (out) => set(out.opaque(root).text('folder'), true)),
    status(client, CREATE, (out) => set(out.opaque(root).text('new').u32(1), true)),
    status(client, SETATTR, (out) => {
      set(out.opaque(file), false)
      out.bool(false)
    }),
    status(client, SETATTR, (out) => {
      putAttributes(out.opaque(file), null, 2n ** 64n - 1n)
      out.bool(true).u32(most).u32(most)
    }),
    status(client, READ, (out) =>
      out
        .opaque(file)
        .u64(2n ** 64n - 1n)
        .u32(most),
    ),
    status(client, WRITE, (out) =>
      out
        .opaque(file)
        .u64(2n ** 64n - 1n)
        .u32(1)
        .u32(0)
        .text('x'),
    ),
    status(client, READDIR, (out) =>
      out
        .opaque(root)
        .u64(2n ** 64n - 1n)
        .u64(0n)
        .u32(most),
    ),
    status(client, ACCESS, (out) => out.opaque(file).u32(most)),
  ]
  t.same(statuses, [0, 0, 0, 10002, 0, 27, 0, 0])
  t.same(world.errors, [])
  t.end()
})
