/**
 * The TAP device on a real kernel. Run by tap.test.ts in a network namespace of its own, which takes all devices with it
 * when it ends.
 */
import { fork, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { Heartbeat } from '../../stack/io/heartbeat.js'
import { derivedMac, removePersistentTap, Tap, TapError } from '../../stack/io/tap.js'
import { ChecksumState, Frame } from '../../stack/wire/frame.js'
import {
  bytesOf,
  Collector,
  EXPERIMENTAL,
  exists,
  hub,
  ip,
  numbered,
  sleep,
  superFrame,
  tcpSum,
  until,
} from './lab.js'

const OWNER = fileURLToPath(new URL('./stopped-owner.js', import.meta.url))

// The host's own IPv6 chatter would take places in the queues.
const NO_IPV6 = '/proc/sys/net/ipv6/conf/default/disable_ipv6'
if (existsSync(NO_IPV6)) writeFileSync(NO_IPV6, '1')

function codeOf(open: () => unknown): TapError {
  try {
    open()
  } catch (error) {
    if (error instanceof TapError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

t.test('open and close leave nothing; a persistent device stays until told', async (t) => {
  const tap = new Tap()
  t.ok(exists(tap.name), 'the kernel named it')
  t.equal(tap.mtu, 1500)
  t.equal(tap.queueLength, 32_768)
  t.not(tap.mac, tap.kernelMac)
  t.equal(tap.mac, derivedMac(tap.kernelMac))
  t.equal(Math.floor(tap.mac / 2 ** 40) & 3, 2, 'unicast and locally administered')
  t.match(ip(`-o link show ${tap.name}`), /UP/)
  tap.close()
  tap.close()
  t.notOk(exists(tap.name))
  t.notOk(tap.transmit(numbered(new Frame(), 1, 60)), 'a closed device takes nothing')

  new Tap({ name: 'us-keep', persist: true, mtu: 1400, txQueueLen: 77 }).close()
  t.ok(exists('us-keep'))
  const again = new Tap({ name: 'us-keep', txQueueLen: 0 })
  t.equal(again.mtu, 1400)
  t.equal(again.queueLength, 77)
  again.close()
  removePersistentTap('us-keep')
  t.notOk(exists('us-keep'))
})

t.test('errors carry code, errno, device and what to do', async (t) => {
  t.match(
    codeOf(() => new Tap({ name: 'sixteen-letters-' })),
    { code: 'ERR_TAP_NAME_TOO_LONG', device: 'sixteen-letters-' },
  )
  t.match(
    codeOf(() => new Tap({ name: 'a b' })),
    { code: 'ERR_TAP_NAME', errno: 'EINVAL' },
  )
  const first = new Tap({ name: 'us-busy' })
  const busy = codeOf(() => new Tap({ name: 'us-busy' }))
  t.match(busy, { code: 'ERR_TAP_BUSY', errno: 'EBUSY', device: 'us-busy' })
  t.match(
    busy.message,
    new RegExp(`process .*\\b${process.pid}\\b`),
    'it names who holds the device',
  )
  first.close()
  t.match(
    codeOf(() => new Tap({ name: 'lo' })),
    { code: 'ERR_TAP_NOT_A_TAP', errno: 'EINVAL' },
  )
  t.match(
    codeOf(() => new Tap({ name: 'us-mtu', mtu: 20 })),
    { code: 'ERR_TAP_MTU' },
  )
  t.notOk(exists('us-mtu'), 'a failed open leaves nothing')
  const kernelMac = new Tap({ name: 'us-mac', persist: true })
  kernelMac.close()
  t.match(
    codeOf(() => new Tap({ name: 'us-mac', mac: kernelMac.kernelMac })),
    { code: 'ERR_TAP_MAC' },
  )
  removePersistentTap('us-mac')
  const opener =
    'import(process.argv[1]).then(({ Tap }) => new Tap()).catch((e) => console.log(e.code, e.errno))'
  const module = new URL('../../stack/io/tap.js', import.meta.url).href
  const drop = [
    '--bounding-set=-net_admin',
    '--inh-caps=-net_admin',
    process.execPath,
    '-e',
    opener,
    module,
  ]
  const poor = spawnSync('setpriv', drop, { encoding: 'utf8' })
  if (poor.error === undefined)
    t.match(poor.stdout, /ERR_TAP_PERMISSION EPERM/, 'without CAP_NET_ADMIN')
  else t.comment(`not tried without CAP_NET_ADMIN: ${poor.error.message}`)
})

t.test('what waits is taken in at once when it is asked for', async (t) => {
  const a = new Tap({ name: 'us-da', slots: 16 })
  const b = new Tap({ name: 'us-db', slots: 16 })
  t.teardown(() => a.close())
  hub('us-dbr', 'us-da', 'us-db')
  const got = new Collector()
  let within: boolean | null = null
  b.attach({
    onFrame: (frame) => got.onFrame(frame),
    onBatchEnd: () => {
      got.onBatchEnd()
      within = b.drain()
    },
  })
  // A fresh bridge port learns and forwards at once; what the host says of itself is not counted.
  for (let i = 0; i < 40; i++) a.transmit(numbered(new Frame(), i, 60))
  a.flush()
  for (const end = Date.now() + 3000; got.frames.length < 40 && Date.now() < end; ) b.drain()
  t.equal(got.frames.length, 40, 'without a turn of the event loop')
  t.equal(within, false, 'from within a batch nothing')
  t.equal(b.drain(), true, 'nothing waits any more')
  b.close()
  t.equal(b.drain(), false, 'nor is a closed device known to be empty')
})

t.test('P12: with a filter only frames to its stations and to groups are taken', async (t) => {
  for (const join of [false, true]) {
    const [from, to, bridge] = [
      `us-fa${Number(join)}`,
      `us-fb${Number(join)}`,
      `us-fbr${Number(join)}`,
    ]
    const a = new Tap({ name: from, slots: 16 })
    const b = new Tap({ name: to, slots: 16, join })
    hub(bridge, from, to)
    const got = new Collector()
    b.attach(got)
    const [one, other] = [0x02_00_00_00_00_01, 0x02_00_00_00_00_02]
    const send = (number: number, ...macs: number[]): void => {
      for (const mac of macs) {
        const frame = numbered(new Frame(), number, 60)
        frame.view.setUint16(frame.start, Math.floor(mac / 2 ** 32))
        frame.view.setUint32(frame.start + 2, mac % 2 ** 32)
        a.transmit(frame)
      }
      a.flush()
    }
    const group = 0x03_00_00_00_00_09
    const numbers = () => got.frames.map((frame) => frame.readUInt32BE(14))
    b.setFilter(new Set([one]))
    send(1, one, other, 0xffff_ffff_ffff, group)
    t.ok(await until(() => got.frames.length === 3 && b.stats().rxDrops.filtered > 0))
    b.setFilter(new Set([one, other]))
    send(2, one, other)
    t.ok(await until(() => got.frames.length === 5))
    b.setFilter(null)
    send(3, one, 0x02_00_00_00_00_03)
    t.ok(await until(() => got.frames.length === 7))
    t.same(numbers(), [1, 1, 1, 2, 2, 3, 3])
    t.equal(b.stats().rxDrops.filtered, 1)
    a.close()
    b.close()
  }
})

t.test('frames cross a hub intact, in order, one callback per batch', async (t) => {
  const a = new Tap({ name: 'us-a', slots: 16 })
  const b = new Tap({ name: 'us-b', slots: 16 })
  t.teardown(() => a.close())
  t.teardown(() => b.close())
  hub('us-br', 'us-a', 'us-b')
  const got = new Collector()
  b.attach(got)
  const sent: Buffer[] = []
  const own = new Frame()
  // 100 frames through 16 slots: full arenas are written on the way, full rings are delivered and used again.
  for (let i = 0; i < 100; i++) {
    const frame = numbered(i % 2 === 0 ? own : a.txFrame(), i, 60 + ((i * 149) % 1455))
    sent.push(bytesOf(frame))
    t.ok(a.transmit(frame))
  }
  a.flush()
  t.equal(got.frames.length, 0, 'nothing arrives from within flush')
  t.ok(await until(() => got.frames.length === 100), `${got.frames.length} of 100 arrived`)
  t.strictSame(got.frames, sent)
  t.ok(
    Math.max(...got.batches) > 1 && Math.max(...got.batches) <= 16,
    `batches of ${got.batches.join(' ')}`,
  )
  const stats = a.stats()
  t.match(stats, { txFrames: 100, txBytes: sent.reduce((n, f) => n + f.length, 0), leaseDrops: 0 })
  t.strictSame(stats.txDrops, { full: 0, down: 0, invalid: 0, oversize: 0, other: 0 })
  t.equal(b.stats().kernelDrops, 0)

  const count = got.frames.length
  const { txFrames } = a.stats()
  t.notOk(a.transmit(numbered(own, 1, 3000)), 'longer than a slot')
  t.ok(a.transmit(numbered(own, 2, 60)))
  own.reset()
  own.end = own.start + 10
  a.transmit(own)
  a.flush()
  t.match(a.stats(), { txFrames: txFrames + 1, txDrops: { oversize: 1, invalid: 1 } })
  ip('link set us-a down')
  a.transmit(numbered(own, 3, 60))
  a.flush()
  t.match(a.stats(), { txFrames: txFrames + 1, txDrops: { down: 1 } })
  ip('link set us-a up')
  t.ok(await until(() => got.frames.length > count))

  b.close()
  const heard = got.frames.length
  a.transmit(numbered(own, 4, 60))
  a.flush()
  await sleep(20)
  t.equal(got.frames.length, heard, 'a closed device calls nobody back')
})

t.test('closing inside the callback ends the batch', async (t) => {
  const a = new Tap({ name: 'us-a' })
  const b = new Tap({ name: 'us-b' })
  t.teardown(() => a.close())
  hub('us-br2', 'us-a', 'us-b')
  let frames = 0
  let ends = 0
  const closing = {
    onFrame: (frame: Frame) => {
      if (frame.view.getUint16(frame.start + 12) !== EXPERIMENTAL) return
      frames++
      b.close()
    },
    onBatchEnd: () => {
      if (frames > 0) ends++
    },
  }
  b.attach(closing)
  for (let i = 0; i < 5; i++) a.transmit(numbered(a.txFrame(), i, 60))
  a.flush()
  t.ok(await until(() => frames > 0))
  await sleep(10)
  t.strictSame([frames, ends], [1, 0])
  ip('link del us-br2')
})

t.test('a queue that overflows is counted; a full ring is not a loss', async (t) => {
  const a = new Tap({ name: 'us-a' })
  const b = new Tap({ name: 'us-b', txQueueLen: 50, slots: 4 })
  t.teardown(() => a.close())
  t.teardown(() => b.close())
  hub('us-br3', 'us-a', 'us-b')
  const got = new Collector()
  b.attach(got)
  await sleep(20)
  const before = b.stats().kernelDrops ?? 0
  for (let i = 0; i < 200; i++) a.transmit(numbered(a.txFrame(), i, 60))
  a.flush()
  t.ok(await until(() => got.frames.length > 0))
  await sleep(20)
  const lost = (b.stats().kernelDrops ?? 0) - before
  t.equal(
    lost,
    200 - got.frames.length,
    `${lost} dropped by the kernel, ${got.frames.length} received`,
  )
  t.equal(got.frames.length, 50, 'as many as the queue holds')
  t.ok(Math.max(...got.batches) <= 4)
  ip('link del us-br3')
})

t.test('a device that is removed under us is reported once', async (t) => {
  const errors: TapError[] = []
  const tap = new Tap({ name: 'us-gone', onLost: (error) => errors.push(error) })
  ip('link del us-gone')
  t.ok(await until(() => errors.length > 0))
  t.match(errors[0], { code: 'ERR_TAP_LOST', device: 'us-gone' })
  await sleep(10)
  t.equal(errors.length, 1)
  t.equal(tap.stats().kernelDrops, null)
})

t.test(
  'virtio-net header: checksums are finished and super-frames cut by the kernel',
  async (t) => {
    const a = new Tap({ name: 'us-a', offload: true, slots: 8 })
    const b = new Tap({ name: 'us-b', slots: 64, join: false, cut: false })
    const c = new Tap({ name: 'us-c', offload: true, slots: 8 })
    for (const tap of [a, b, c]) t.teardown(() => tap.close())
    hub('us-br4', 'us-a', 'us-b', 'us-c')
    t.ok(a.offload.checksum && a.offload.tso)
    const plain: Buffer[] = []
    const large: { length: number; checksum: number; gsoSize: number }[] = []
    const isTcp = (f: Frame) =>
      f.view.getUint16(f.start + 12) === 0x0800 && f.bytes[f.start + 23] === 6
    b.attach({
      onFrame: (f) => isTcp(f) && plain.push(bytesOf(f)),
      onBatchEnd: () => {},
    })
    c.attach({
      onFrame: (f) =>
        isTcp(f) && large.push({ length: f.length, checksum: f.checksum, gsoSize: f.gsoSize }),
      onBatchEnd: () => {},
    })
    a.transmit(superFrame(a.txFrame(), 20_000, 1448))
    a.flush()
    t.match(a.stats(), { txFrames: 1, txDrops: { invalid: 0 } })
    t.ok(
      await until(() => plain.length === 14 && large.length === 1),
      `${plain.length} segments, ${large.length} super-frames`,
    )
    t.strictSame(large, [{ length: 54 + 20_000, checksum: ChecksumState.PARTIAL, gsoSize: 1448 }])
    t.equal(
      plain.reduce((sum, f) => sum + f.length - 54, 0),
      20_000,
    )
    for (const f of plain) t.equal(tcpSum(f), 0xffff, 'the checksum of each segment is right')
    // The same super-frame with its text left where it lies.
    const gathered = superFrame(a.txFrame(), 20_000, 1448)
    t.ok(gathered.gathers)
    const text = gathered.bytes.slice(gathered.end - 20_001, gathered.end)
    gathered.bytes.fill(0, gathered.end - 20_000, gathered.end)
    gathered.text = text
    gathered.textFrom = 1
    gathered.textLength = 20_000
    a.transmit(gathered)
    a.flush()
    t.ok(await until(() => plain.length === 28), `${plain.length} segments`)
    for (let i = 0; i < 14; i++) {
      const [first, second] = [plain[i] as Buffer, plain[i + 14] as Buffer]
      t.ok(first.subarray(54).equals(second.subarray(54)), 'the same text')
      t.equal(tcpSum(second), 0xffff)
    }
    const short = superFrame(a.txFrame(), 20_000, 1448)
    short.text = text
    short.textFrom = 2
    short.textLength = 20_000
    a.transmit(short)
    a.flush()
    t.match(a.stats(), { txDrops: { invalid: 1 } }, 'text that is not all there')
    plain.length = 14
    a.transmit(superFrame(a.txFrame(), 100, 0))
    a.flush()
    t.ok(await until(() => plain.length === 15))
    t.equal(tcpSum(plain[14] ?? Buffer.alloc(0)), 0xffff)

    const wrong = a.txFrame()
    numbered(wrong, 1, 60).checksum = ChecksumState.PARTIAL
    a.transmit(wrong)
    a.flush()
    t.match(a.stats(), { txDrops: { invalid: 2 } }, 'no transport header, no offload')
    b.transmit(superFrame(b.txFrame(), 100, 0))
    b.flush()
    t.match(b.stats(), { txDrops: { invalid: 1 } }, 'no offload without the header')
    ip('link del us-br4')
  },
)

t.test('D3: leased frames are dropped while the lease does not hold, others pass', async (t) => {
  const a = new Tap({ name: 'us-a' })
  t.teardown(() => a.close())
  const heartbeat = new Heartbeat({
    id: 1,
    key: new Uint8Array(16),
    leaseMs: 2000,
    turnLeaseMs: 2000,
  })
  t.teardown(() => heartbeat.close())
  const send = (leased: boolean) => {
    const { txFrames } = a.stats()
    const frame = numbered(a.txFrame(), 1, 60)
    frame.leased = leased
    a.transmit(frame)
    a.flush()
    return a.stats().txFrames - txFrames
  }
  t.equal(send(true), 1, 'no lease is attached')
  a.setLease(heartbeat)
  heartbeat.turn()
  t.equal(send(true), 1)
  heartbeat.leaseUntil = 1
  t.strictSame([send(true), send(false), a.stats().leaseDrops], [0, 1, 1], 'past leaseUntil')
  heartbeat.leaseUntil = Number.POSITIVE_INFINITY
  t.equal(send(true), 1)
  heartbeat.close()
  t.strictSame([send(true), send(false), a.stats().leaseDrops], [0, 1, 2], 'a closed heartbeat')
  a.setLease(null)
  t.equal(send(true), 1)
})

t.test('D3: a stopped owner that wakes sends no leased frame until it renews', async (t) => {
  const a = new Tap({ name: 'us-a' })
  t.teardown(() => a.close())
  const got = new Collector()
  a.attach(got)
  const owner = fork(OWNER, ['us-o'], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  t.teardown(() => owner.kill('SIGKILL'))
  await once(owner, 'message')
  hub('us-br5', 'us-a', 'us-o')
  type State = {
    expired: boolean
    held: boolean
    expirations: number
    leaseDrops: number
    txFrames: number
  }
  const ask = async (question: string): Promise<State> => {
    owner.send(question)
    return (await once(owner, 'message'))[0] as State
  }
  await ask('renew')
  t.ok(await until(() => got.frames.length > 20), 'it speaks')
  for (let round = 1; round <= 3; round++) {
    const before = await ask('state')
    owner.kill('SIGSTOP')
    await sleep(300)
    const heard = got.frames.length
    owner.kill('SIGCONT')
    await sleep(60)
    t.equal(got.frames.length, heard, 'nothing is sent after waking')
    const after = await ask('state')
    t.match(after, { expired: true, held: false })
    t.ok(after.expirations > before.expirations)
    t.ok(after.leaseDrops > before.leaseDrops, `${after.leaseDrops} frames held back`)
    t.ok(after.txFrames >= before.txFrames)
    const renewed = await ask('renew')
    t.notOk(renewed.expired)
    t.ok(await until(() => got.frames.length > heard + 20), 'it speaks again')
  }
  await ask('close')
  await sleep(5)
  const heard = got.frames.length
  await sleep(30)
  t.equal(got.frames.length, heard)
})
