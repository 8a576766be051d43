/**
 * Bad clients and bad servers at the two ends of the proxy: those that break off in the middle, speak nonsense, do not read or do not go.
 * The proxy knows no protocol: what one end does the other is told, octet for octet, and a well-behaved client beside them notices
 * nothing.
 */
import { randomFillSync } from 'node:crypto'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startApp } from '../../apps/index.js'
import { type AppConfig, type Net, parseIpAddress, type Socket } from '../../cluster/io/index.js'
import { Company, type Talk, talk, until, VIRTUAL } from './company.js'

const SERVER = '10.77.0.50'
const PORT = 80
const MIB = 1024 * 1024
const NOISE = randomFillSync(Buffer.alloc(100_000))

class Place {
  readonly lab: Company
  readonly machine: Net
  /** What the server heard and of whom, one after the other. */
  readonly served: { socket: Socket; heard: string; ended: boolean; code: string }[] = []
  readonly errors: string[] = []
  #good: Talk | null = null
  #asked = 0

  constructor(t: Test, options: Partial<AppConfig> = {}) {
    const app = { name: 'proxy', port: PORT, to: `${SERVER}:${PORT}`, ...options } as AppConfig
    this.lab = new Company(t, (node) => {
      void startApp(app, node, ({ message }) => this.errors.push(message))
    })
    this.machine = this.lab.cluster.client(parseIpAddress(SERVER), 24)
  }

  /** A server that does with a connection what its first line tells it. */
  async open(): Promise<this> {
    const server = this.machine.createServer({ allowHalfOpen: true }, (socket) => {
      const one = { socket, heard: '', ended: false, code: '' }
      this.served.push(one)
      socket.on('error', ({ code }: NodeJS.ErrnoException) => {
        one.code = code ?? ''
      })
      socket.on('end', () => {
        one.ended = true
      })
      socket.on('data', (chunk: Buffer) => {
        one.heard += chunk.toString('latin1')
        act(socket, chunk.toString('latin1'))
      })
    })
    server.listen(PORT)
    await once(server, 'listening')
    await this.lab.owner()
    return this
  }

  /** A client beside the others is served, on one connection. */
  async good(): Promise<void> {
    this.#good ??= talk(this.lab, PORT)
    const good = this.#good
    good.socket.write('ask\n')
    this.#asked++
    await until(() => good.heard === 'told\n'.repeat(this.#asked), 'served beside it')
  }

  say(words: string | Buffer): Talk {
    const client = talk(this.lab, PORT, true)
    client.socket.write(words)
    return client
  }

  /** The server's side of the connection that said `words`. */
  async side(words: string) {
    const found = () => this.served.find(({ heard }) => heard.startsWith(words))
    await until(() => found() !== undefined, `heard: ${words}`)
    return found() as NonNullable<ReturnType<typeof found>>
  }
}

function act(socket: Socket, said: string): void {
  if (said === 'ask\n') socket.write('told\n')
  else if (said === 'noise\n') socket.end(NOISE)
  else if (said === 'break\n') {
    socket.write('half an ans', () => setTimeout(() => socket.resetAndDestroy(), 20))
  } else if (said === 'end\n') socket.end('that was all')
  else if (said === 'deaf\n') socket.pause()
}

t.test('A7: ends that break off, speak nonsense or do not read', { timeout: 60_000 }, async (t) => {
  const place = await new Place(t).open()
  await place.good()

  const leaves = place.say('GET / HTTP/1.1\r\nHos')
  const left = await place.side('GET /')
  leaves.socket.end()
  await until(() => left.ended, 'told of the end in mid-head')
  left.socket.end()
  await until(() => leaves.closed, 'closed')
  await place.good()

  const breaks = place.say('PUT / HTTP/1.1\r\nHos')
  const broken = await place.side('PUT /')
  breaks.socket.resetAndDestroy()
  await until(() => broken.code !== '', 'told of the reset')
  t.equal(broken.code, 'ECONNRESET')
  await place.good()

  const garbled = place.say('noise\n')
  await until(() => garbled.socket.readableEnded, 'at its end')
  t.ok(garbled.heard === NOISE.toString('latin1'), 'noise of the server, octet for octet')
  garbled.socket.end()
  const noisy = place.say(NOISE)
  const heard = await place.side(NOISE.toString('latin1', 0, 100))
  await until(() => heard.heard.length === NOISE.length, 'heard')
  t.ok(heard.heard === NOISE.toString('latin1'), 'and of the client')
  noisy.socket.destroy()
  await place.good()

  const torn = place.say('break\n')
  await until(() => torn.closed, 'told of the reset')
  t.match(torn.error, { code: 'ECONNRESET' })
  t.equal(torn.heard, 'half an ans')

  const goesOn = stays(place, 'end\n')
  await until(() => goesOn.heard === 'that was all', 'told all')
  await place.lab.crashOwner()
  goesOn.socket.write('more of it')
  const listens = await place.side('end\n')
  await until(() => listens.heard === 'end\nmore of it', 'heard behind its own end')
  goesOn.socket.end()
  await place.good()

  const loud = place.say('deaf\n')
  await place.side('deaf\n')
  const chunk = Buffer.alloc(65_536, 'x')
  for (let taken = -1, still = 0; still < 20; ) {
    while (!loud.socket.writableNeedDrain && (loud.socket.bytesWritten ?? 0) < 64 * MIB) {
      loud.socket.write(chunk)
    }
    await delay(10)
    const now = (loud.socket.bytesWritten ?? 0) - loud.socket.writableLength
    still = now === taken ? still + 1 : 0
    taken = now
  }
  t.ok(loud.socket.writableLength > 0, 'a server that does not read holds the client back')
  t.ok((loud.socket.bytesWritten ?? 0) < 32 * MIB, `${loud.socket.bytesWritten} octets`)
  await place.good()
  loud.socket.resetAndDestroy()
  t.equal(place.lab.givenUp, 0)
  t.same(place.errors, [])
})

/** As `say`, with a client that goes on when the server has ended. */
function stays(place: Place, words: string): Talk {
  const socket = place.lab.client.connect({ port: PORT, host: VIRTUAL, allowHalfOpen: true })
  const client: Talk = { socket, heard: '', error: null, closed: false }
  socket.on('data', (chunk: Buffer) => {
    client.heard += chunk.toString('latin1')
  })
  socket.write(words)
  return client
}

t.test(
  'A7: clients that take the places of others and are silent',
  { timeout: 60_000 },
  async (t) => {
    const place = await new Place(t, { maxConnections: 4, idleMs: 1000 }).open()
    await place.good()
    const talking = setInterval(() => void place.good().catch(t.fail), 200)
    const silent = [place.say('x'), place.say('y'), place.say('z')]
    await until(() => place.served.length === 4, 'led to the server')
    const more = place.say('w')
    await until(() => more.closed, 'turned away')
    t.match(more.error, { code: 'ECONNRESET' })
    await until(() => silent.every(({ closed }) => closed), 'reset')
    const next = place.say('ask\n')
    await until(() => next.heard === 'told\n', 'served in their place')
    clearInterval(talking)
    await delay(100)
    await place.good()
    t.equal(place.served.length, 5)
    next.socket.destroy()
  },
)

t.test(
  'A7: a server that is not there, and one that never answers',
  { timeout: 60_000 },
  async (t) => {
    const place = new Place(t, { connectMs: 500 })
    await place.lab.owner()
    const refused = place.say('ask\n')
    await until(() => refused.closed, 'told')
    t.match(refused.error, { code: 'ECONNRESET' })
    await place.open()
    await place.good()
    const away = new Place(t, { to: '10.77.0.51:80', connectMs: 500 })
    await away.lab.owner()
    const waits = away.say('ask\n')
    await until(() => waits.closed, 'given up')
    t.match(waits.error, { code: 'ECONNRESET' })
    t.equal(away.errors.length, 1)
  },
)
