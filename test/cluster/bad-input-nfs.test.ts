/**
 * Bad input for the NFS server: what is no record, no call and no argument, half calls, and clients that do not read. Each is answered as
 * RFC 5531 and RFC 7530 say or dropped, nothing of it is kept for ever, and a well-behaved client beside them notices nothing.
 */
import { randomFillSync } from 'node:crypto'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startApp } from '../../apps/index.js'
import { MAX_RECORD } from '../../apps/nfs/record.js'
import { createNfsServer } from '../../apps/nfs/server.js'
import type { XdrWriter } from '../../apps/nfs/xdr.js'
import { MOUNT, NFS, record, results } from '../unit/apps/nfs-client.js'
import { Company, type Talk, talk, until } from './company.js'

const PORT = 2049
const MIB = 1024 * 1024

function folder(t: Test): string {
  const root = fs.mkdtempSync(join(tmpdir(), 'understudy-bad-nfs-'))
  t.teardown(() => fs.rmSync(root, { recursive: true, force: true }))
  fs.writeFileSync(join(root, 'file'), Buffer.alloc(MIB))
  return root
}

/** What came back as records, each as its words. */
function replies({ heard }: Talk): number[][] {
  const octets = Buffer.from(heard, 'latin1')
  const found: number[][] = []
  for (let at = 0; at + 4 <= octets.length; ) {
    const length = octets.readUInt32BE(at) & 0x7fff_ffff
    if (at + 4 + length > octets.length) break
    const words = Math.min(length, 64) / 4
    found.push(Array.from({ length: words }, (_, i) => octets.readUInt32BE(at + 4 + 4 * i)))
    at += 4 + length
  }
  return found
}

/** A client that asks for the root's handle, and is answered each time. */
async function goodClient(lab: Company): Promise<{ ask: () => Promise<void>; talk: Talk }> {
  await lab.owner()
  const good = talk(lab, PORT)
  let asked = 0
  const ask = async (): Promise<void> => {
    good.socket.write(record(++asked, MOUNT, 3, 1, (out) => out.text('/')))
    await until(() => replies(good).length === asked, `answered beside it (${asked})`)
  }
  await ask()
  return { ask, talk: good }
}

function fragment(length: number, last = false): Buffer {
  const octets = Buffer.alloc(4 + length)
  octets.writeUInt32BE((last ? 0x8000_0000 : 0) + length)
  return octets
}

const ACCEPTED = [7, 1, 0, 0, 0]
const [GARBAGE_ARGS, NFS4ERR_RESOURCE, NFS4ERR_BADXDR, NFS4ERR_OP_ILLEGAL] = [
  4, 10018, 10036, 10044,
]

/** The operations that come behind `count`, and the answer's status. */
function compound(count: number, put: (out: XdrWriter) => void): Buffer {
  return record(7, NFS, 4, 1, (out) => {
    out.text('').u32(0).u32(count)
    put(out)
  })
}

/** Whole calls, each with what its answer begins with. */
const REFUSED: readonly (readonly [string, Buffer, readonly number[]])[] = [
  ['an unknown program', record(7, 0xffff_ffff, 3, 0), [...ACCEPTED, 1]],
  ['an unknown version', record(7, NFS, 0xffff_ffff, 0), [...ACCEPTED, 2, 3, 4]],
  ['an unknown procedure', record(7, NFS, 3, 0xffff_ffff), [...ACCEPTED, 3]],
  [
    'a path of four billion octets',
    record(7, MOUNT, 3, 1, (out) => out.u32(0xffff_ffff)),
    [...ACCEPTED, GARBAGE_ARGS],
  ],
  [
    'a path beyond its record',
    record(7, MOUNT, 3, 1, (out) => out.u32(1000).fixed(Buffer.from('/'))),
    [...ACCEPTED, GARBAGE_ARGS],
  ],
  [
    'a handle that is too long',
    record(7, NFS, 3, 1, (out) => out.opaque(Buffer.alloc(65))),
    [...ACCEPTED, GARBAGE_ARGS],
  ],
  [
    'a handle of nobody',
    record(7, NFS, 3, 1, (out) => out.opaque(randomFillSync(Buffer.alloc(40)))),
    [...ACCEPTED, 0, 10001],
  ],
  [
    'a tag of four billion octets',
    record(7, NFS, 4, 1, (out) => out.u32(0xffff_ffff)),
    [...ACCEPTED, GARBAGE_ARGS],
  ],
  [
    'thousands of operations',
    compound(10_000, (out) => {
      for (let i = 0; i < 10_000; i++) out.u32(24)
    }),
    [...ACCEPTED, 0, NFS4ERR_RESOURCE, 0, 0],
  ],
  [
    'fewer operations than were announced',
    compound(100, (out) => out.u32(24)),
    [...ACCEPTED, 0, NFS4ERR_BADXDR, 0, 1],
  ],
  [
    'an operation that there is not',
    compound(2, (out) => out.u32(24).u32(12345)),
    [...ACCEPTED, 0, NFS4ERR_OP_ILLEGAL, 0, 2],
  ],
  [
    'a name of four billion octets',
    compound(2, (out) => out.u32(24).u32(15).u32(0xffff_ffff)),
    [...ACCEPTED, 0, NFS4ERR_BADXDR, 0, 2],
  ],
]

/** What cannot be answered: the connection ends. */
const DROPPED: readonly (readonly [string, Buffer])[] = [
  ['garbage', randomFillSync(Buffer.alloc(5000)).fill(0x7f, 0, 1)],
  ['another protocol', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
  ['a fragment of two billion octets', Buffer.from('ffffffff', 'hex')],
  ['a record of nothing', fragment(0, true)],
  [
    'a reply',
    Buffer.concat([fragment(0), Buffer.from('80000008' + '00000007' + '00000001', 'hex')]),
  ],
  ['fragments without an end', Buffer.concat(Array(70).fill(fragment(16_384)))],
  ['fragments without octets', Buffer.alloc(MAX_RECORD + 8)],
]

t.test('A6: bad input for the NFS server', { timeout: 60_000 }, async (t) => {
  const root = folder(t)
  const lab = new Company(t, (node) => {
    void startApp({ name: 'nfs', port: PORT, root }, node, (error) => t.fail(error.message))
  })
  const good = await goodClient(lab)
  const client = talk(lab, PORT)
  for (const [i, [what, octets, answer]] of REFUSED.entries()) {
    client.socket.write(octets)
    await until(() => replies(client).length === i + 1, `answered: ${what}`)
    t.same(replies(client).at(-1)?.slice(0, answer.length), answer, what)
  }
  for (const [what, octets] of DROPPED) {
    const bad = talk(lab, PORT, true)
    bad.socket.write(octets)
    await until(() => bad.closed || bad.socket.readableEnded, `dropped: ${what}`)
    t.equal(bad.heard, '', what)
    bad.socket.destroy()
    await good.ask()
  }
  const call = record(9, MOUNT, 3, 1, (out) => out.text('/'))
  const half = talk(lab, PORT)
  half.socket.write(call.subarray(0, 30))
  const left = talk(lab, PORT)
  left.socket.end(call.subarray(0, 30))
  await until(() => left.closed, 'let go who ended in mid-call')
  await lab.crashOwner()
  await good.ask()
  half.socket.write(call.subarray(30))
  await until(() => replies(half).length === 1, 'answered by another')
  t.same(replies(half)[0]?.slice(0, 6), [9, 1, 0, 0, 0, 0])
  t.equal(lab.givenUp, 0)
  for (const each of [good.talk, client, half]) each.socket.destroy()
})

t.test(
  'A6: a client that owes the rest of a call, or does not read',
  { timeout: 60_000 },
  async (t) => {
    const root = folder(t)
    const silenceMs = 300
    const lab = new Company(t, (node) => {
      const serve = createNfsServer({ root, store: node.store, silenceMs })
      node.net.createServer({ allowHalfOpen: true }, serve).listen(PORT)
    })
    const good = await goodClient(lab)
    const idle = talk(lab, PORT)
    idle.socket.write(record(1, NFS, 3, 0))
    const half = talk(lab, PORT, true)
    half.socket.write(fragment(100_000, true).subarray(0, 60_000))
    await until(() => half.closed, 'reset')
    t.match(half.error, { code: 'ECONNRESET' }, 'who owes the rest of a call')
    t.notOk(idle.closed, 'and not who has nothing to say')

    const handle = await handleOf(lab)
    const read = record(1, NFS, 3, 6, (out) => out.opaque(handle).u64(0n).u32(MIB))
    const deaf = lab.client.connect(PORT, '10.77.0.100')
    let error: Error | null = null
    deaf.on('error', (e) => {
      error = e
    })
    deaf.pause()
    let asked = 0
    while (!deaf.destroyed && asked < 100_000) {
      for (let i = 0; i < 100; i++) deaf.write(read)
      asked += 100
      await delay(5)
      if (deaf.writableLength > 4 * MIB) break
    }
    await until(() => error !== null || deaf.destroyed, 'reset')
    t.match(error, { code: 'ECONNRESET' }, 'who does not read')
    await good.ask()
    t.ok(process.memoryUsage().arrayBuffers < 400 * MIB)
    for (const each of [good.talk, idle]) each.socket.destroy()
  },
)

async function handleOf(lab: Company): Promise<Buffer> {
  const client = talk(lab, PORT)
  const ask = async (call: Buffer) => {
    client.heard = ''
    client.socket.write(call)
    await until(() => replies(client).length === 1, 'answered')
    const reply = results(Buffer.from(client.heard, 'latin1').subarray(4))
    if (reply.u32() !== 0) throw new Error('no handle')
    return reply.opaque(64)
  }
  const root = await ask(record(1, MOUNT, 3, 1, (out) => out.text('/')))
  const handle = await ask(record(2, NFS, 3, 3, (out) => out.opaque(root).text('file')))
  client.socket.destroy()
  return Buffer.from(handle)
}
