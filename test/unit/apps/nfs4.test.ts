/** NFSv4.0 without a network: operations, clients and open files, and that the next node knows of all of them. */
import * as fs from 'node:fs'
import t, { type Test } from 'tap'
import type { XdrReader, XdrWriter } from '../../../apps/nfs/xdr.js'
import { type Client, NFS, record, results, World } from './nfs-client.js'

type Put = (out: XdrWriter) => unknown

const op =
  (number: number, put: Put = () => {}): Put =>
  (out) =>
    put(out.u32(number))

const ACCESS = 3
const COMMIT = 5
const CREATE = 6
const LINK = 11
const READ = 25
const READDIR = 26
const READLINK = 27
const WRITE = 38
const ROOT = op(24)
const GETFH = op(10)
const SAVEFH = op(32)
const RESTOREFH = op(31)
const putfh = (handle: Buffer) => op(22, (out) => out.opaque(handle))
const lookup = (name: string) => op(15, (out) => out.text(name))
const remove = (name: string) => op(28, (out) => out.text(name))
const ANONYMOUS = Buffer.alloc(16)

function bitmap(out: XdrWriter, numbers: readonly number[]): XdrWriter {
  let [low, high] = [0, 0]
  for (const number of numbers) {
    if (number < 32) low |= 1 << number
    else high |= 1 << (number - 32)
  }
  return out.u32(2).u32(low).u32(high)
}

const getattr = (...numbers: number[]) => op(9, (out) => bitmap(out, numbers))

/** The status and results of a COMPOUND of which all succeed. */
function done(t: Test, client: Client, ...operations: Put[]): XdrReader {
  const { status, results: reader } = client.compound(...operations)
  t.equal(status, 0)
  return reader
}

/** Passes over results that have nothing behind their status. */
function pass(reader: XdrReader, count: number): XdrReader {
  for (let i = 0; i < 2 * count; i++) reader.u32()
  return reader
}

const statusOf = (client: Client, ...operations: Put[]) => client.compound(...operations).status

/** Introduces a client by `name`, and returns its id. */
function introduce(t: Test, client: Client, name: string, verifier = 'verifier'): Buffer {
  const reader = done(
    t,
    client,
    op(35, (out) =>
      out.fixed(Buffer.from(verifier)).text(name).u32(1).text('tcp').text('0.0.0.0.0.0').u32(1),
    ),
  )
  pass(reader, 1)
  const id = Buffer.from(reader.fixed(8))
  const confirm = Buffer.from(reader.fixed(8))
  done(
    t,
    client,
    op(36, (out) => out.fixed(id).fixed(confirm)),
  )
  return id
}

interface OpenArguments {
  readonly seqid: number
  readonly access?: number
  readonly deny?: number
  readonly owner?: string
  /** 0: unchecked, 1: guarded, a verifier, or null: it must be there. */
  readonly how?: number | Buffer | null
}

function open(
  id: Buffer,
  name: string,
  { seqid, access = 3, deny = 0, owner = 'me', how = null }: OpenArguments,
): Put {
  return op(18, (out) => {
    out.u32(seqid).u32(access).u32(deny).fixed(id).text(owner)
    if (how === null) out.u32(0)
    else if (Buffer.isBuffer(how)) out.u32(1).u32(2).fixed(how)
    else bitmap(out.u32(1).u32(how), [33]).opaque(Buffer.from([0, 0, 1, 0o200]))
    out.u32(0).text(name)
  })
}

interface Opened {
  readonly stateid: Buffer
  readonly flags: number
  readonly handle: Buffer
}

function opened(t: Test, client: Client, id: Buffer, name: string, how: OpenArguments): Opened {
  const reader = pass(done(t, client, ROOT, open(id, name, how), GETFH), 2)
  const stateid = Buffer.from(reader.fixed(16))
  reader.fixed(20)
  const flags = reader.u32()
  for (let words = reader.u32(); words > 0; words--) reader.u32()
  t.equal(reader.u32(), 0, 'nothing is delegated')
  pass(reader, 1)
  return { stateid, flags, handle: Buffer.from(reader.opaque(128)) }
}

/** Opens as an owner that is new, and confirms it by seqid + 1. */
function openedAndConfirmed(t: Test, client: Client, id: Buffer, name: string, how: OpenArguments) {
  const first = opened(t, client, id, name, how)
  t.equal(first.flags & 2, 2, 'to be confirmed')
  const reader = done(
    t,
    client,
    putfh(first.handle),
    op(20, (out) => out.fixed(first.stateid).u32(how.seqid + 1)),
  )
  return { ...first, stateid: Buffer.from(pass(reader, 2).fixed(16)) }
}

const write = (stateid: Buffer, text: string, offset = 0n) =>
  op(WRITE, (out) => out.fixed(stateid).u64(offset).u32(0).text(text))
const read = (stateid: Buffer, count = 100) =>
  op(READ, (out) => out.fixed(stateid).u64(0n).u32(count))
const close = (stateid: Buffer, seqid: number) => op(4, (out) => out.u32(seqid).fixed(stateid))

t.test(
  'A6: a file is opened, written, read and closed over NFSv4, by one node after the other',
  async (t) => {
    const world = new World(t)
    const client = world.client()
    const id = introduce(t, client, 'one')
    const { stateid, handle } = openedAndConfirmed(t, client, id, 'file', { seqid: 1, how: 1 })
    t.equal(fs.statSync(world.path('file')).mode & 0o777, 0o600, 'the mode as wanted')
    t.equal(stateid.readUInt32BE(0), 2)

    const next = world.client()
    const commit = op(COMMIT, (out) => out.u64(0n).u32(0))
    const { status } = await next.compoundLater(putfh(handle), write(stateid, 'hello'), commit)
    t.equal(status, 0)
    const reader = pass(done(t, world.client(), putfh(handle), read(stateid)), 2)
    t.equal(reader.bool(), true, 'the end')
    t.equal(reader.text(100), 'hello')

    const again = opened(t, next, id, 'file', { seqid: 3, access: 1 })
    t.equal(again.flags & 2, 0, 'confirmed already')
    t.same(again.stateid.subarray(4), stateid.subarray(4), 'the same owner: the same state')
    t.equal(statusOf(next, putfh(handle), read(stateid)), 10024, 'OLD_STATEID')
    const ended = pass(done(t, next, putfh(handle), close(again.stateid, 4)), 2)
    t.equal(ended.fixed(16).readUInt32BE(0), 4)
    t.equal(statusOf(next, putfh(handle), read(again.stateid)), 10025, 'BAD_STATEID')
    done(
      t,
      next,
      op(30, (out) => out.fixed(id)),
    )
    t.equal(
      statusOf(
        next,
        op(30, (out) => out.fixed(Buffer.alloc(8))),
      ),
      10022,
      'STALE_CLIENTID',
    )
  },
)

t.test(
  'A6: an owner’s operations come in turn, and one that comes again is answered as before',
  (t) => {
    const world = new World(t)
    const client = world.client()
    const id = introduce(t, client, 'one')
    const first = openedAndConfirmed(t, client, id, 'file', { seqid: 7, how: 0 })
    const { handle, stateid } = first
    const guarded = { seqid: 9, how: 1 }
    const made = opened(t, client, id, 'new', guarded)
    t.same(opened(t, client, id, 'new', guarded), made, 'by another xid')
    t.same(opened(t, world.client(), id, 'new', guarded), made, 'by another node')
    t.equal(statusOf(client, ROOT, open(id, 'new', { seqid: 12 })), 10026, 'BAD_SEQID')
    t.equal(statusOf(client, ROOT, open(id, 'none', { seqid: 10 })), 2, 'a failure counts too')
    t.equal(statusOf(client, ROOT, open(id, 'none', { seqid: 10 })), 2)
    const ended = [putfh(handle), close(stateid, 11)]
    done(t, client, ...ended)
    done(t, client, ...ended)
    t.equal(statusOf(client, putfh(handle), close(stateid, 12)), 10025)
    t.equal(statusOf(client, putfh(handle), close(Buffer.alloc(16, 7), 12)), 10025)

    const unconfirmed = opened(t, client, id, 'file', { seqid: 5, owner: 'other' })
    t.equal(statusOf(client, putfh(handle), close(unconfirmed.stateid, 6)), 10025)
    t.equal(
      opened(t, client, id, 'file', { seqid: 50, owner: 'other' }).flags & 2,
      2,
      'begins anew',
    )
    t.end()
  },
)

t.test('A6: shares that exclude each other, and what an open file allows', (t) => {
  const world = new World(t)
  const client = world.client()
  fs.writeFileSync(world.path('file'), 'text')
  const one = introduce(t, client, 'one')
  const two = introduce(t, client, 'two')
  const { stateid, handle } = openedAndConfirmed(t, client, one, 'file', {
    seqid: 1,
    access: 1,
    deny: 2,
  })
  t.equal(statusOf(client, ROOT, open(two, 'file', { seqid: 1, access: 2 })), 10015, 'SHARE_DENIED')
  t.equal(statusOf(client, putfh(handle), write(stateid, 'x')), 10038, 'OPENMODE')
  t.equal(statusOf(client, ROOT, write(stateid, 'x')), 10025, 'another file: BAD_STATEID')
  t.equal(statusOf(client, ROOT, open(one, 'file', { seqid: 3, access: 0 })), 22)
  const more = opened(t, client, one, 'file', { seqid: 4, access: 2, deny: 2 })
  done(t, client, putfh(handle), write(more.stateid, 'TE'))
  const downgrade = op(21, (out) => out.fixed(more.stateid).u32(5).u32(1).u32(0))
  const less = pass(done(t, client, putfh(handle), downgrade), 2).fixed(16)
  t.equal(statusOf(client, putfh(handle), write(Buffer.from(less), 'x')), 10038)
  opened(t, client, two, 'file', { seqid: 2, access: 2 })
  t.end()
})

t.test('A6: the share of a client that fell silent gives way', (t) => {
  const world = new World(t)
  const client = world.client()
  fs.writeFileSync(world.path('file'), 'text')
  const one = introduce(t, client, 'one')
  const { stateid, handle } = openedAndConfirmed(t, client, one, 'file', { seqid: 1, deny: 3 })
  world.now += 80_000
  done(t, client, putfh(handle), read(stateid))
  world.now += 80_000
  const two = introduce(t, client, 'two')
  t.equal(statusOf(client, ROOT, open(two, 'file', { seqid: 1 })), 10015, 'it was heard meanwhile')
  world.now += 11_000
  opened(t, client, two, 'file', { seqid: 2 })
  t.equal(statusOf(client, putfh(handle), read(stateid)), 10025)
  t.end()
})

t.test('A6: a client that was restarted begins anew', (t) => {
  const client = new World(t).client()
  const before = introduce(t, client, 'one')
  const { stateid, handle } = openedAndConfirmed(t, client, before, 'f', {
    seqid: 1,
    how: 0,
    deny: 3,
  })
  t.same(introduce(t, client, 'one'), before, 'the same verifier: the same client')
  const after = introduce(t, client, 'one', 'restartd')
  t.notSame(after, before)
  t.equal(statusOf(client, putfh(handle), read(stateid)), 10022, 'STALE_CLIENTID')
  opened(t, client, after, 'f', { seqid: 1 })
  t.equal(
    statusOf(
      client,
      op(36, (out) => out.fixed(after).fixed(Buffer.alloc(8))),
    ),
    10022,
  )
  for (let i = 0; i < 1200; i++) introduce(t, client, `client ${i}`)
  t.equal(
    statusOf(
      client,
      op(30, (out) => out.fixed(after)),
    ),
    10022,
    'the oldest make room',
  )
  t.end()
})

t.test('A6: names over NFSv4', (t) => {
  const world = new World(t)
  const client = world.client()
  const noAttributes: Put = (out) => out.u32(0).u32(0)
  const create = (type: number, name: string, target?: string): Put =>
    op(CREATE, (out) => {
      out.u32(type)
      if (target !== undefined) out.text(target)
      noAttributes(out.text(name))
    })
  done(t, client, ROOT, create(2, 'folder'), create(5, 'link', '../any'))
  t.equal(statusOf(client, ROOT, create(2, 'folder')), 17)
  t.equal(statusOf(client, ROOT, create(7, 'fifo')), 1)
  t.equal(statusOf(client, ROOT, create(1, 'file')), 10007, 'BADTYPE')
  const at = [ROOT, lookup('folder')]
  const target = pass(done(t, client, ...at, lookup('link'), op(READLINK)), 4)
  t.equal(target.text(100), '../any')
  t.equal(statusOf(client, ...at, lookup('link'), lookup('x')), 10029, 'SYMLINK')
  t.equal(statusOf(client, ...at, lookup('..')), 10041, 'BADNAME')
  t.equal(statusOf(client, ...at, lookup('a/b')), 10041)
  t.equal(statusOf(client, ...at, lookup('')), 22)
  t.equal(statusOf(client, ROOT, op(16)), 2, 'nothing is above the root')
  const [up, root] = [[...at, op(16)], [ROOT]].map((path) =>
    Buffer.from(pass(done(t, client, ...path, GETFH), path.length + 1).opaque(128)),
  )
  t.same(up, root)

  fs.writeFileSync(world.path('file'), 'text')
  const rename = op(29, (out) => out.text('file').text('moved'))
  done(t, client, ROOT, SAVEFH, lookup('folder'), rename)
  t.ok(fs.existsSync(world.path('folder/moved')))
  const link = op(LINK, (out) => out.text('second'))
  done(t, client, ...at, lookup('moved'), SAVEFH, ROOT, link, RESTOREFH, getattr(35))
  t.equal(fs.statSync(world.path('second')).nlink, 2)
  t.equal(statusOf(client, ROOT, remove('folder')), 66, 'NOTEMPTY')
  done(t, client, ...at, remove('moved'), remove('link'), ROOT, remove('folder'))
  t.same(fs.readdirSync(world.root), ['second'])
  t.equal(statusOf(client, RESTOREFH), 10030)
  t.equal(statusOf(client, GETFH), 10020, 'NOFILEHANDLE')
  t.equal(statusOf(client, putfh(Buffer.alloc(5))), 10001, 'BADHANDLE')
  const flavors = done(
    t,
    client,
    ROOT,
    op(33, (out) => out.text('second')),
  )
  t.same([pass(flavors, 2).u32(), flavors.u32(), flavors.u32()], [2, 1, 0])
  t.end()
})

t.test('A6: attributes are told, set and compared (RFC 7530 §5)', (t) => {
  const world = new World(t)
  const client = world.client()
  fs.writeFileSync(world.path('file'), 'text')
  const at = [ROOT, lookup('file')]
  const reader = pass(done(t, client, ...at, getattr(1, 4, 33, 36)), 3)
  t.equal(reader.u32(), 2)
  reader.u64()
  const values = reader.nested(1000)
  t.same(
    [values.u32(), values.u64(), values.u32() & 0o600, values.text(20), values.left],
    [1, 4n, 0o600, String(process.getuid?.()), 0],
  )
  const every = Array.from({ length: 64 }, (_, i) => i).filter((i) => i !== 48 && i !== 54)
  done(t, client, ...at, getattr(...every))
  t.equal(statusOf(client, ...at, getattr(48)), 22, 'what can only be set')
  const setattr = (numbers: number[], hex: string) =>
    op(34, (out) => bitmap(out.fixed(ANONYMOUS), numbers).opaque(Buffer.from(hex, 'hex')))
  done(t, client, ...at, setattr([4, 33], '0000000000000002000001b4'))
  t.equal(fs.readFileSync(world.path('file'), 'utf8'), 'te')
  t.equal(fs.statSync(world.path('file')).mode & 0o777, 0o664)
  done(t, client, ...at, setattr([54], '00000001000000000000000f00000000'))
  t.equal(fs.statSync(world.path('file')).mtimeMs, 15_000)
  for (const hex of ['7fffffffffffffffffffffff', '8000000000000000ffffffff']) {
    client.compound(...at, setattr([48, 54], `00000001${hex}00000001${hex}`))
  }
  t.equal(statusOf(client, ...at, setattr([4], 'ffffffffffffffff')), 27, 'FBIG')
  done(t, client, ...at, setattr([33], 'ffffffff'), setattr([33], '000001b4'))
  t.equal(statusOf(client, ...at, setattr([1], '00000001')), 22, 'not to be set')
  t.equal(statusOf(client, ...at, setattr([12], '00000000')), 10032, 'ATTRNOTSUPP')
  t.equal(statusOf(client, ...at, setattr([36], '0000000161000000')), 10039, 'BADOWNER')
  t.equal(statusOf(client, ...at, setattr([4], '0000')), 10036, 'BADXDR')
  const verify = (number: number, hex: string) =>
    op(number, (out) => bitmap(out, [4]).opaque(Buffer.from(hex, 'hex')))
  done(t, client, ...at, verify(37, '0000000000000002'), verify(17, '0000000000000003'))
  t.equal(statusOf(client, ...at, verify(37, '0000000000000003')), 10027, 'NOT_SAME')
  t.equal(statusOf(client, ...at, verify(17, '0000000000000002')), 10009, 'SAME')
  const access = pass(
    done(
      t,
      client,
      ...at,
      op(ACCESS, (out) => out.u32(0xff)),
    ),
    3,
  )
  t.equal(access.u32(), 0x3f)
  t.equal(access.u32() & 0x0d, 0x0d)
  t.end()
})

t.test('A6: folders are listed in parts over NFSv4', (t) => {
  const world = new World(t)
  const client = world.client()
  const names = Array.from({ length: 300 }, (_, i) => `file-${i}`)
  for (const name of names) fs.writeFileSync(world.path(name), '')
  const found: string[] = []
  let parts = 0
  let cookie = 0n
  for (let more = true; more; parts++) {
    const readdir = op(READDIR, (out) =>
      bitmap(out.u64(cookie).fixed(Buffer.alloc(8)).u32(1000).u32(2000), [1, 20]),
    )
    const reader = pass(done(t, client, ROOT, readdir), 2)
    reader.fixed(8)
    while (reader.bool()) {
      cookie = reader.u64()
      found.push(reader.text(255))
      for (let words = reader.u32(); words > 0; words--) reader.u32()
      t.equal(reader.opaque(100).length, 12)
    }
    more = !reader.bool()
  }
  t.same(found.sort(), names.sort())
  t.ok(parts > 5, `${parts} parts`)
  const small = op(READDIR, (out) => bitmap(out.u64(0n).fixed(Buffer.alloc(8)).u32(9).u32(30), []))
  t.equal(statusOf(client, ROOT, small), 10005, 'TOOSMALL')
  t.end()
})

t.test('A6: a COMPOUND ends with the first operation that fails, and says what it is', (t) => {
  const world = new World(t)
  const client = world.client()
  const failing = client.compound(ROOT, lookup('none'), GETFH)
  t.equal(failing.status, 2)
  t.same(pass(failing.results, 1).u32(), 15)
  t.equal(failing.results.u32(), 2)
  t.equal(failing.results.left, 0, 'nothing behind it')
  t.equal(statusOf(client, ROOT, op(12)), 10004, 'no locks: NOTSUPP')
  t.equal(statusOf(client, op(60)), 10044, 'OP_ILLEGAL')
  t.equal(
    statusOf(
      client,
      ROOT,
      op(15, (out) => out.u32(9999)),
    ),
    10036,
    'BADXDR',
  )
  t.equal(statusOf(client), 0, 'none at all')
  const minor = client.call(NFS, 4, 1, (out) => out.text('t').u32(1).u32(1).u32(24))
  t.same([minor.u32(), minor.text(9), minor.u32()], [10021, 't', 0], 'MINOR_VERS_MISMATCH')
  t.equal(statusOf(client, ...Array.from({ length: 129 }, () => ROOT)), 10018, 'RESOURCE')
  fs.writeFileSync(world.path('big'), Buffer.alloc(1024 * 1024))
  const twice = [read(ANONYMOUS, 1 << 20), read(ANONYMOUS, 1 << 20)]
  t.equal(statusOf(client, ROOT, lookup('big'), ...twice), 10018, 'too long an answer')
  t.end()
})

t.test('A6: a COMPOUND of several changes is carried out once, whenever the owner dies', (t) => {
  const world = new World(t)
  const client = world.client()
  fs.writeFileSync(world.path('a'), '')
  fs.writeFileSync(world.path('b'), '')
  const id = introduce(t, client, 'one')
  const operations = [
    ROOT,
    remove('a'),
    SAVEFH,
    op(29, (out) => out.text('b').text('c')),
    open(id, 'new', { seqid: 1, how: 1 }),
  ]
  const request = record(9, NFS, 4, 1, (out) => {
    out.text('').u32(0).u32(operations.length)
    for (const put of operations) put(out)
  })
  world.crashes = true
  client.socket.send(request)
  t.ok(client.socket.destroyed)
  t.same(fs.readdirSync(world.root).sort(), ['c', 'new'])
  world.crashes = false
  const next = world.client()
  const answer = next.ask(request)
  t.equal(results(answer).u32(), 0)
  t.ok(world.client().ask(request).equals(answer))
  t.same(fs.readdirSync(world.root).sort(), ['c', 'new'])
  t.end()
})
