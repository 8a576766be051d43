/**
 * The proxy in memory: nodes, a client and a server on one hub; neither of the two knows of the nodes. What passes through, what is
 * refused, and what a death in between changes: nothing.
 */
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startApp } from '../../apps/index.js'
import { parseTarget } from '../../apps/proxy/server.js'
import {
  type AppConfig,
  checkNodeConfig,
  MemoryCluster,
  type Net,
  type NodeReport,
  parseIpAddress,
  proxyHeader,
  type Server,
  type Socket,
} from '../../cluster/io/index.js'
import { body, sha256 } from '../unit/socket/world.js'

const VIRTUAL = '10.77.0.100'
const SERVER = '10.77.0.50'
const IDS = [1, 2, 3]
const PORT = 5432

class Place {
  readonly cluster = new MemoryCluster()
  readonly client: Net
  readonly machine: Net
  readonly reports: NodeReport[] = []
  readonly errors: string[] = []
  /** Connections that the server has accepted. */
  readonly served: Socket[] = []
  server: Server | null = null
  readonly #options: Partial<AppConfig>

  constructor(t: Test, options: Partial<AppConfig> = {}) {
    this.#options = options
    this.client = this.cluster.client(parseIpAddress('10.77.0.9'), 24)
    this.machine = this.cluster.client(parseIpAddress(SERVER), 24)
    t.teardown(() => this.cluster.close())
  }

  async open(serve: ((socket: Socket) => void) | null): Promise<this> {
    for (const id of IDS) await this.start(id)
    if (serve !== null) {
      this.server = this.machine.createServer({ allowHalfOpen: true }, (socket) => {
        socket.on('error', () => {})
        this.served.push(socket)
        serve(socket)
      })
      this.server.listen(PORT)
      await once(this.server, 'listening')
    }
    await this.owner()
    return this
  }

  async start(id: number): Promise<void> {
    const none = 'none'
    const names = { keyFile: none, tap: none, storeDir: none, sharedDir: none }
    const app = { name: 'proxy', port: PORT, to: `${SERVER}:${PORT}`, ...this.#options }
    const binding = { address: `${VIRTUAL}/24` }
    const config = checkNodeConfig({ id, cluster: 'test', ...names, binding, app }, 'test', '/')
    const runtime = this.cluster.start(config)
    runtime.on('report', (report) => this.reports.push(report))
    await startApp(config.app as AppConfig, runtime, ({ message }) => this.errors.push(message))
  }

  async owner(): Promise<number> {
    for (let i = 0; i < 500; i++) {
      const owner = IDS.find((id) => this.cluster.node(id)?.node.owns)
      if (owner !== undefined) return owner
      await delay(10)
    }
    throw new Error('nobody owns the address')
  }

  async crashOwner(): Promise<void> {
    const id = await this.owner()
    await this.cluster.crash(id)
    await this.owner()
  }

  connect(): Socket {
    const socket = this.client.connect({ port: PORT, host: VIRTUAL, allowHalfOpen: true })
    return socket
  }

  get lost(): unknown[] {
    return this.reports.flatMap((report) =>
      report.event === 'takeover' ? Object.keys(report.givenUp) : [],
    )
  }
}

/** All that a socket gives until its end; its own side stays as it is. */
function octetsOf(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  return new Promise((resolve) => socket.once('end', () => resolve(Buffer.concat(chunks))))
}

async function codeOf(socket: Socket): Promise<string> {
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException]
  return error.code ?? ''
}

t.test('A7: octets under way in both directions outlive two owners', async (t) => {
  const up = body(3_000_000, 1)
  const down = body(4_000_000, 2)
  let arrived: Promise<Buffer> | null = null
  const place = await new Place(t).open((socket) => {
    arrived = octetsOf(socket)
    socket.end(down)
  })
  const socket = place.connect()
  let got = 0
  let crashes = 0
  const whole: Buffer[] = []
  socket.on('data', (chunk: Buffer) => {
    whole.push(chunk)
    got += chunk.length
    if (crashes < 2 && got > ((crashes + 1) * down.length) / 3) {
      crashes++
      void place.crashOwner()
    }
  })
  socket.end(up)
  await once(socket, 'end')
  t.equal(crashes, 2)
  t.equal(sha256(Buffer.concat(whole)), sha256(down))
  t.equal(sha256(await (arrived as unknown as Promise<Buffer>)), sha256(up))
  t.equal(place.served.length, 1, 'the server was called once')
  const takeovers = place.reports.filter((report) => report.event === 'takeover')
  t.match(takeovers, Array(2).fill({ givenUp: {} }))
  t.match(takeovers[0], { connections: 2, promoted: 2, midStream: 2 })
})

t.test('A7: an end passes through, and the other direction goes on', async (t) => {
  const place = await new Place(t).open(async (socket) => {
    const asked = await octetsOf(socket)
    await delay(50)
    socket.end(`got ${asked}`)
  })
  const socket = place.connect()
  socket.end('question')
  await place.crashOwner()
  t.equal((await octetsOf(socket)).toString(), 'got question')
})

t.test('A7: a reset passes through, in both directions', async (t) => {
  const place = await new Place(t).open((socket) => socket.write('hello'))
  const first = place.connect()
  await once(first, 'data')
  place.served[0]?.resetAndDestroy()
  t.equal(await codeOf(first), 'ECONNRESET')
  const second = place.connect()
  await once(second, 'data')
  const code = codeOf(place.served[1] as Socket)
  second.resetAndDestroy()
  t.equal(await code, 'ECONNRESET')
})

t.test('A7: a client that does not read holds the server back', async (t) => {
  let written = 0
  const chunk = body(65_536, 3)
  const place = await new Place(t).open((socket) => {
    const more = (): void => {
      while (socket.write(chunk)) written += chunk.length
      written += chunk.length
    }
    socket.on('drain', more)
    more()
  })
  const socket = place.connect()
  socket.on('error', () => {})
  socket.pause()
  let held = -1
  while (held !== written) {
    held = written
    await delay(400)
  }
  t.ok(held < 20 * 1024 * 1024, `${held} octets, and no more`)
  for (let crashes = 0; crashes < 2; crashes++) {
    await place.crashOwner()
    await delay(500)
  }
  t.ok(written < held + 6 * 1024 * 1024, 'take-overs make no room')
  let got = 0
  socket.on('data', (octets: Buffer) => {
    if (!octets.equals(expected(chunk, got, octets.length))) t.fail(`octet ${got} is wrong`)
    got += octets.length
    if (got > 2 * held) socket.destroy()
  })
  socket.resume()
  await once(socket, 'close')
  t.ok(got > 2 * held, 'all of it comes when it is read')
})

function expected(chunk: Buffer, from: number, length: number): Buffer {
  const at = from % chunk.length
  const copies = Math.ceil((at + length) / chunk.length)
  return Buffer.concat(Array(copies).fill(chunk)).subarray(at, at + length)
}

t.test('A7: a server that is down is told at once, and by a reset', async (t) => {
  const place = await new Place(t).open(null)
  const started = performance.now()
  t.equal(await codeOf(place.connect()), 'ECONNRESET')
  t.ok(performance.now() - started < 1000)
  t.equal(await codeOf(place.connect()), 'ECONNRESET')
  t.match(place.errors, [/10\.77\.0\.50:5432 cannot be reached \(ECONNREFUSED\)/], 'and named once')
})

t.test('A7: no more clients than are allowed', async (t) => {
  const place = await new Place(t, { maxConnections: 2 }).open((socket) => {
    socket.on('end', () => socket.end())
    socket.write('hello')
  })
  const allowed = [place.connect(), place.connect()]
  for (const socket of allowed) await once(socket, 'data')
  t.equal(await codeOf(place.connect()), 'ECONNRESET')
  allowed[0]?.destroy()
  await delay(50)
  const next = place.connect()
  await once(next, 'data')
  for (const socket of [...allowed, next]) socket.destroy()
})

t.test('A7: who says nothing for too long is reset, on both sides', async (t) => {
  const place = await new Place(t, { idleMs: 400 }).open((socket) => socket.write('hello'))
  const socket = place.connect()
  await once(socket, 'data')
  const served = codeOf(place.served[0] as Socket)
  t.equal(await codeOf(socket), 'ECONNRESET')
  t.equal(await served, 'ECONNRESET')
})

t.test('A7: the server is told who the client is, once, whoever goes on', async (t) => {
  for (const proxyProtocol of ['v1', 'v2'] as const) {
    const place = await new Place(t, { proxyProtocol }).open(async (socket) => {
      const heard = await octetsOf(socket)
      socket.end(heard)
    })
    const socket = place.connect()
    await once(socket, 'connect')
    const { localPort } = socket
    socket.write('first ')
    while (place.served.length === 0) await delay(1)
    for (let crashes = 0; crashes < 2; crashes++) {
      await place.crashOwner()
      socket.write(`${crashes} `)
    }
    const heard = octetsOf(socket)
    socket.end('last')
    const remoteAddress = parseIpAddress('10.77.0.9')
    const localAddress = parseIpAddress(VIRTUAL)
    const ends = { localAddress, localPort: PORT, remoteAddress, remotePort: localPort ?? 0 }
    const wanted = Buffer.concat([proxyHeader(proxyProtocol, ends), Buffer.from('first 0 1 last')])
    t.equal((await heard).toString('latin1'), wanted.toString('latin1'))
    t.same(place.lost, [])
  }
})

t.test('A7: a server is told of a client that says nothing', async (t) => {
  const place = await new Place(t, { proxyProtocol: 'v1' }).open((socket) => {
    socket.once('data', (chunk) => socket.end(chunk))
  })
  const heard = await octetsOf(place.connect())
  t.match(heard.toString(), /^PROXY TCP4 10\.77\.0\.9 10\.77\.0\.100 \d+ 5432\r\n$/)
})

t.test('A7: what is configured wrongly is named, with what to write', async (t) => {
  for (const to of [undefined, '', '10.0.0.1', '10.0.0.1:0', '10.0.0.1:70000', 'a b:1']) {
    t.throws(() => parseTarget(to), { code: 'ERR_CONFIG' }, String(to))
  }
  t.same(parseTarget('db.local:5432'), { host: 'db.local', port: 5432 })
  const place = new Place(t, { to: '10.78.0.1:80' })
  await t.rejects(place.start(1), { code: 'ERR_PROXY_TARGET', message: /not on the network/ })
  const itself = new Place(t, { to: `${VIRTUAL}:80` })
  await t.rejects(itself.start(1), { code: 'ERR_PROXY_TARGET', message: /virtual address itself/ })
})
