/** Heartbeats between threads on 127.0.0.1: belief, authentication, silence, a stuck loop, the lease. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { readdirSync, readlinkSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import type { Test } from 'tap'
import t from 'tap'
import { StackError } from '../../stack/base/errors.js'
import type { HeartbeatOptions } from '../../stack/io/heartbeat.js'
import { Heartbeat } from '../../stack/io/heartbeat.js'
import { monotonicMs, native } from '../../stack/io/native.js'

const KEY = Uint8Array.from({ length: 16 }, (_, i) => i)
const LOCAL = '127.0.0.1'
/** Generous, as the machine may be busy: none of these tests is about speed. */
const CALM = { key: KEY, intervalMs: 2, silenceMs: 150, leaseMs: 2000, turnLeaseMs: 5000 }

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

async function until(holds: () => boolean, ms = 3000): Promise<boolean> {
  for (const end = Date.now() + ms; Date.now() < end; await sleep(2)) if (holds()) return true
  return holds()
}

function pair(t: Test, a: Partial<HeartbeatOptions> = {}, b: Partial<HeartbeatOptions> = {}) {
  const one = new Heartbeat({ id: 1, ...CALM, ...a })
  const two = new Heartbeat({ id: 2, ...CALM, ...b })
  t.teardown(() => one.close())
  t.teardown(() => two.close())
  one.addPeer(2, LOCAL, two.port)
  two.addPeer(1, LOCAL, one.port)
  return { one, two }
}

function block(ms: number): void {
  for (const end = monotonicMs() + ms; monotonicMs() < end; );
}

t.test('two nodes hear each other, with turn counters and echoes', async (t) => {
  const { one, two } = pair(t)
  t.comment(one.priority > 0 ? `SCHED_FIFO ${one.priority}` : 'no real-time priority here')
  for (let i = 0; i < 7; i++) one.turn()
  t.ok(await until(() => two.peer(1)?.turn === 7 && one.peer(2)?.heard === true))
  t.ok(await until(() => (one.peer(2)?.echoSeq ?? 0) > 10))
  const peer = one.peer(2)
  const now = monotonicMs()
  t.ok(
    peer !== null && now - peer.lastHeardAt >= 0 && now - peer.lastHeardAt < 1000,
    'on the clock of process.hrtime',
  )
  t.ok(peer !== null && peer.echoSentAt > 0 && peer.echoSentAt <= now)
  t.match(peer, { silent: false, stuck: false, expired: false })
  t.equal(one.lastHeardAt(3), 0)
  const stats = one.stats()
  t.ok(stats.received > 0 && stats.sent >= stats.received - 5)
  t.match(stats.drops, { badPacket: 0, badTag: 0, unknown: 0, replayed: 0 })
  one.removePeer(2)
  t.equal(one.peer(2), null)
  const unknown = one.stats().drops.unknown
  t.ok(await until(() => one.stats().drops.unknown > unknown), 'a stranger is counted')
})

t.test('the thread beats while the event loop is blocked', async (t) => {
  const { one, two } = pair(t)
  t.ok(await until(() => one.peer(2)?.heard === true))
  const before = two.stats().received
  block(200)
  t.ok(two.stats().received > before + 20, `${two.stats().received - before} beats in 200 ms`)
})

t.test(
  'a port that is closed tells that the process has ended, until it beats again',
  async (t) => {
    const gone: number[] = []
    const { one, two } = pair(t, { silenceMs: 60_000, onGone: (peer) => gone.push(peer) })
    const three = new Heartbeat({ id: 3, ...CALM })
    t.teardown(() => three.close())
    one.addPeer(3, LOCAL, three.port)
    three.addPeer(1, LOCAL, one.port)
    t.ok(await until(() => one.peer(2)?.heard === true && one.peer(3)?.heard === true))
    const { port } = two
    two.close()
    t.ok(await until(() => gone.length > 0))
    t.strictSame(gone, [2], 'it is told once, and of that peer alone')
    t.match(one.peer(2), { gone: true, silent: false })
    const heard = one.peer(3)?.received ?? 0
    t.ok(
      await until(() => (one.peer(3)?.received ?? 0) > heard + 20),
      'refusals keep no beat from the others',
    )
    t.ok(await until(() => (three.peer(1)?.received ?? 0) > heard + 20))
    t.strictSame(gone, [2])
    const again = new Heartbeat({ id: 2, ...CALM, port })
    t.teardown(() => again.close())
    again.addPeer(1, LOCAL, one.port)
    t.ok(await until(() => one.peer(2)?.gone === false))
  },
)

t.test('a peer that was never heard is not gone', async (t) => {
  const gone: number[] = []
  const one = new Heartbeat({ id: 1, ...CALM, onGone: (peer) => gone.push(peer) })
  t.teardown(() => one.close())
  const free = new Heartbeat({ id: 2, ...CALM })
  one.addPeer(2, LOCAL, free.port)
  free.close()
  t.ok(await until(() => one.stats().sent > 50))
  t.match(one.peer(2), { heard: false, gone: false })
  t.strictSame(gone, [])
})

t.test('the socket is closed with its thread: nothing else of the process has it', async (t) => {
  const one = new Heartbeat({ id: 1, ...CALM })
  t.teardown(() => one.close())
  const tables = readdirSync('/proc/self/task').map((task) => {
    const folder = `/proc/self/task/${task}/fd`
    return readdirSync(folder).flatMap((fd) => {
      try {
        return [readlinkSync(`${folder}/${fd}`)]
      } catch {
        return []
      }
    })
  })
  const small = tables.filter((links) => links.length <= 3)
  t.equal(small.length, 1, 'one thread has files of its own')
  const socket = small[0]?.find((link) => link.startsWith('socket:'))
  t.ok(socket)
  t.equal(tables.filter((links) => socket !== undefined && links.includes(socket)).length, 1)
})

t.test('a wrong key is counted, never believed', async (t) => {
  const { one, two } = pair(t, {}, { key: KEY.map((x) => x ^ 1) })
  t.ok(await until(() => one.stats().drops.badTag > 5 && two.stats().drops.badTag > 5))
  t.match(one.peer(2), { heard: false, received: 0 })
})

t.test(
  'noise, recorded beats and beats for another node are counted, never believed',
  async (t) => {
    const socket = createSocket('udp4')
    t.teardown(() => socket.close())
    socket.bind(0, LOCAL)
    await once(socket, 'listening')
    const beats: Buffer[] = []
    socket.on('message', (beat) => beats.push(beat))
    const sender = new Heartbeat({ id: 2, ...CALM })
    sender.addPeer(1, LOCAL, socket.address().port)
    sender.addPeer(3, LOCAL, socket.address().port)
    t.ok(await until(() => beats.length > 10))
    sender.close()
    const { one, two } = pair(t)
    t.ok(await until(() => one.peer(2)?.heard === true))
    const send = (data: Uint8Array) =>
      new Promise((resolve) => socket.send(data, one.port, LOCAL, resolve))
    await send(Buffer.alloc(0))
    await send(Buffer.from('noise'))
    await send(Buffer.alloc(64, 0xaa))
    await send(Buffer.alloc(1400))
    t.ok(await until(() => one.stats().drops.badPacket >= 4), `${one.stats().drops.badPacket}`)
    const to1 = beats.filter((beat) => beat.readUInt32BE(12) === 1)
    const to3 = beats.filter((beat) => beat.readUInt32BE(12) === 3)
    const { unproven } = one.stats().drops
    for (const beat of to1) await send(beat)
    t.ok(
      await until(() => one.stats().drops.unproven >= unproven + to1.length),
      'an earlier life does not prove itself',
    )
    for (const beat of to3) await send(beat)
    t.ok(await until(() => one.stats().drops.unknown >= to3.length), 'addressed to another')
    const flipped = Buffer.from(to1[0] ?? [])
    flipped.writeUInt8(flipped.readUInt8(39) ^ 1, 39)
    await send(flipped)
    t.ok(await until(() => one.stats().drops.badTag === 1), 'one bit changed')
    const { received = 0 } = one.peer(2) ?? {}
    t.ok(
      await until(() => (one.peer(2)?.received ?? 0) > received + 5),
      'the living one is still heard',
    )
    two.close()
  },
)

t.test('a beat of the same life is believed once', async (t) => {
  const proxy = createSocket('udp4')
  t.teardown(() => proxy.close())
  proxy.bind(0, LOCAL)
  await once(proxy, 'listening')
  const one = new Heartbeat({ id: 1, ...CALM })
  const two = new Heartbeat({ id: 2, ...CALM })
  t.teardown(() => one.close())
  t.teardown(() => two.close())
  one.addPeer(2, LOCAL, two.port)
  two.addPeer(1, LOCAL, proxy.address().port)
  proxy.on('message', (beat) => {
    proxy.send(beat, one.port, LOCAL)
    proxy.send(beat, one.port, LOCAL)
  })
  t.ok(await until(() => (one.peer(2)?.received ?? 0) > 10))
  t.ok(await until(() => one.stats().drops.replayed > 10))
})

t.test('silence is told once, and again only after life', async (t) => {
  const silences: [number, number][] = []
  const onSilent = (peer: number, since: number) => silences.push([peer, since])
  const { one, two } = pair(t, { onSilent })
  t.ok(await until(() => one.peer(2)?.heard === true))
  const port = two.port
  two.close()
  t.ok(await until(() => silences.length > 0))
  await sleep(200)
  t.strictSame(silences, [[2, one.lastHeardAt(2)]])
  t.equal(one.peer(2)?.silent, true)
  const reborn = new Heartbeat({ id: 2, ...CALM, port })
  t.teardown(() => reborn.close())
  reborn.addPeer(1, LOCAL, one.port)
  t.ok(await until(() => one.peer(2)?.silent === false), 'a new incarnation is believed')
  reborn.close()
  t.ok(await until(() => silences.length === 2))
})

t.test('a stuck event loop is told apart from a silent process', async (t) => {
  const seen: string[] = []
  const { one, two } = pair(t, {
    stuckMs: 100,
    onStuck: (peer) => seen.push(`stuck ${peer}`),
    onSilent: (peer) => seen.push(`silent ${peer}`),
  })
  two.turn()
  t.ok(await until(() => one.peer(2)?.turn === 1))
  t.ok(await until(() => seen.length > 0))
  t.strictSame(seen, ['stuck 2'])
  t.equal(one.peer(2)?.stuck, true)
  two.turn()
  t.ok(await until(() => one.peer(2)?.stuck === false))
})

t.test(
  'D3: the lease ends when the loop stands still, in either order, and stays ended',
  async (t) => {
    const one = new Heartbeat({ id: 1, ...CALM, leaseMs: 1000, turnLeaseMs: 60 })
    t.teardown(() => one.close())
    const held = () => [one.leaseHeld(), native().heartbeatLeaseHeld(one.handle)]
    one.renewLease()
    t.strictSame(held(), [true, true])
    const seen = one.expirations
    block(100)
    t.strictSame(held(), [false, false])
    t.ok(await until(() => one.expired), 'the thread notes it')
    one.turn()
    t.strictSame(held(), [false, false], 'turning again does not hide it')
    t.equal(one.expirations, seen + 1)
    one.renewLease(seen)
    t.strictSame(held(), [false, false], 'a renewal decided before the expiry is void')
    one.renewLease()
    t.strictSame(held(), [true, true])
    const later = monotonicMs() + 100
    one.turn(later)
    t.ok(one.expired, 'the loop itself notes it too')
    one.renewLease()
    one.leaseUntil = monotonicMs() - 1
    t.strictSame(held(), [false, false])
    one.leaseUntil = Number.POSITIVE_INFINITY
    t.strictSame(held(), [true, true])
    one.close()
    t.strictSame(held(), [false, false])
  },
)

t.test('an expired lease is seen by the peers', async (t) => {
  const { one, two } = pair(t, {}, { turnLeaseMs: 30 })
  t.ok(await until(() => one.peer(2)?.expired === true))
  const turning = setInterval(() => two.turn(), 2)
  t.teardown(() => clearInterval(turning))
  t.ok(
    await until(() => {
      two.renewLease()
      return one.peer(2)?.expired === false
    }),
  )
})

t.test('errors have codes', async (t) => {
  const one = new Heartbeat({ id: 1, ...CALM })
  t.teardown(() => one.close())
  const code = (options: Partial<HeartbeatOptions>) => {
    try {
      new Heartbeat({ id: 9, ...CALM, ...options }).close()
    } catch (error) {
      return error instanceof StackError ? error.code : error
    }
    return null
  }
  t.equal(code({}), null)
  t.equal(code({ key: new Uint8Array(15) }), 'ERR_HEARTBEAT_KEY')
  t.equal(code({ port: one.port }), 'ERR_HEARTBEAT_ADDRESS')
  t.equal(code({ address: '192.0.2.1' }), 'ERR_HEARTBEAT_ADDRESS')
  t.equal(code({ address: 'nowhere' }), 'ERR_HEARTBEAT_ADDRESS')
  for (let id = 100; id < 164; id++) one.addPeer(id, LOCAL, 9)
  t.throws(() => one.addPeer(164, LOCAL, 9), { code: 'ERR_HEARTBEAT_PEERS' })
})

t.test('a worker thread that ends takes its heartbeat with it', async (t) => {
  const module = new URL('../../stack/io/heartbeat.js', import.meta.url).href
  const code = `import(${JSON.stringify(module)}).then(({ Heartbeat }) => {
    const one = new Heartbeat({ id: 1, key: new Uint8Array(16) })
    require('node:worker_threads').parentPort.postMessage(one.port)
    setInterval(() => {}, 1000)
  })`
  const worker = new Worker(code, { eval: true })
  const [port] = await once(worker, 'message')
  await worker.terminate()
  const heir = new Heartbeat({ id: 1, key: KEY, port: port as number })
  t.equal(heir.port, port, 'its port is free again')
  heir.close()
})
