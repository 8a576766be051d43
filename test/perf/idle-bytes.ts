/**
 * A program for idle-bytes.test.ts: clients open connections, exchange a line of text on each and say no more. Printed is what one of
 * them takes at the server, without a socket or with one, or at a standby that has overheard it: heap and buffers behind a
 * collection, and of these what is text that must be kept. The clients' part is thrown away. Started with --expose-gc.
 */
import { writeHeapSnapshot } from 'node:v8'
import { parseBinding } from '../../cluster/binding.js'
import { NO_CHECKPOINT, purge } from '../../cluster/retention.js'
import { Snooper } from '../../cluster/snooper.js'
import { Wiretap } from '../../cluster/wiretap.js'
import {
  type Connection,
  DropCounters,
  type IpAddress,
  type Nic,
  parseIpAddress,
  Stack,
} from '../../stack/index.js'
import { createNet } from '../../stack/socket/net.js'

const SERVER = parseIpAddress('10.0.0.1')
const PORTS = { first: 20_000, count: 10_000 }
/** Opened at a time, before the event loop turns. */
const BATCH = 200
const LINE = new TextEncoder().encode('a line of text that is answered by the same line again\r\n')

const [, , mode = 'connection', total = '10000', snapshot] = process.argv
const count = Number(total)
// Clocks have fractions, which the engine keeps apart from integers.
let now = 1_000_000.25

interface Host {
  readonly stack: Stack
  readonly nic: Nic
}

function host(mac: number): Host {
  const stack = new Stack({ rng: { u32: () => 7 }, secret: new Int32Array(4) })
  return { stack, nic: stack.addNic({ mac, mtu: 1500 }) }
}

let server = newServer()
const snooper = new Snooper(parseBinding(1, '10.0.0.1/8', '1-65535'), new DropCounters())
const wiretap = new Wiretap(snooper.drops)
wiretap.add(snooper)
const standby = mode === 'shadow' ? host(3) : null
if (standby !== null) {
  standby.nic.snoop = { onFrame: (frame, ethernet, at) => wiretap.onFrame(frame, ethernet, at) }
}

function carry(from: Host, to: Host): boolean {
  let carried = false
  for (;;) {
    const frame = from.stack.pollTransmit(now)
    if (frame === null) return carried
    to.stack.receive(to.nic, frame, now)
    standby?.stack.receive(standby.nic, frame, now)
    carried = true
  }
}

function newServer(): Host {
  const made = host(1)
  made.nic.setAddress(SERVER, 8, 'assigned')
  return made
}

interface Ready {
  handleReady(events: number): void
}

function tell(): void {
  const { stack } = server
  for (let l = stack.pollAccept(); l !== null; l = stack.pollAccept()) {
    ;(l.context as Ready).handleReady(0)
  }
  for (let c = stack.pollReady(); c !== null; c = stack.pollReady()) {
    const { events } = c
    if (events === 0 || c.context === null) continue
    c.events = 0
    ;(c.context as Ready).handleReady(events)
  }
}

function exchange(client: Host): void {
  do {
    while (carry(client, server) || carry(server, client));
    tell()
  } while (carry(client, server) || carry(server, client))
}

function serve(): void {
  server = newServer()
  if (mode === 'socket') serveSockets()
  else serveBare()
}

/** Echo without sockets. */
function serveBare(): void {
  const listener = server.stack.listen(SERVER, 7)
  const chunk = new Uint8Array(4096)
  const echo = (c: Connection): void => {
    const length = c.read(chunk, 0, chunk.length)
    if (length > 0) c.write(chunk, 0, length)
  }
  listener.context = {
    handleReady(): void {
      for (let c = listener.accept(); c !== null; c = listener.accept()) {
        c.context = BARE
        echo(c)
      }
    },
  }
  const BARE = {
    handleReady(): void {},
  }
  const poll = server.stack.pollReady.bind(server.stack)
  server.stack.pollReady = () => {
    for (let c = poll(); c !== null; c = poll()) {
      c.events = 0
      echo(c)
    }
    return null
  }
}

function serveSockets(): void {
  const net = createNet({ stack: server.stack, now: () => now, kick: () => {} })
  net
    .createServer({ noDelay: true }, (socket) => {
      socket.on('error', () => {})
      socket.on('data', (chunk) => socket.write(chunk))
    })
    .listen({ port: 7, host: '10.0.0.1', backlog: 4096 })
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

async function open(client: Host, address: IpAddress, ports: number): Promise<void> {
  for (let first = 0; first < ports; first += BATCH) {
    const opened: Connection[] = []
    for (let i = first; i < Math.min(first + BATCH, ports); i++) {
      opened.push(client.stack.connect(SERVER, 7, now, address, PORTS.first + i))
    }
    exchange(client)
    await turn()
    for (const c of opened) c.write(LINE, 0, LINE.length)
    for (let i = 0; i < 4; i++) {
      exchange(client)
      await turn()
    }
    for (const c of opened) {
      const got = new Uint8Array(2 * LINE.length)
      if (c.read(got, 0, got.length) !== LINE.length) throw new Error('no answer')
    }
    now += 100.25
    client.stack.handleTimeout(now)
    server.stack.handleTimeout(now)
    exchange(client)
    for (const c of opened) client.stack.release(c)
    while (client.stack.pollReady() !== null);
    purgeAll()
  }
}

/** Time in which nobody says anything. */
function pass(ms: number): void {
  const { stack } = server
  const until = now + ms
  while (stack.nextDeadline() < until) {
    now = Math.max(now, stack.nextDeadline())
    stack.handleTimeout(now)
    while (stack.pollTransmit(now) !== null);
  }
  now = until
}

function purgeAll(): void {
  for (const shadow of snooper.dirty) {
    purge(shadow, NO_CHECKPOINT)
    shadow.dirty = false
  }
  snooper.dirty.length = 0
}

async function openAll(from: number, connections: number): Promise<void> {
  for (let opened = 0, n = from; opened < connections; opened += PORTS.count, n++) {
    const client = host(2)
    const address = parseIpAddress(`10.1.0.${n}`)
    client.nic.setAddress(address, 8, 'assigned')
    client.nic.neighbors.learn(SERVER, 1, now)
    server.nic.neighbors.learn(address, 2, now)
    await open(client, address, Math.min(PORTS.count, connections - opened))
  }
  pass(100_000)
  snooper.handleTimeout(now)
  await turn()
  // What the owner has is not the standby's.
  if (standby !== null) serve()
}

async function octets(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    globalThis.gc?.()
    await turn()
  }
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

serve()
// The compiler has seen it all, and tables have their first size.
await openAll(1, 2000)
const before = await octets()
await openAll(10, count)
let retained = 0
for (const { buffers } of snooper.table.shadows()) {
  retained += buffers.received.readable + buffers.sent.readable
}
const held = standby === null ? server.stack.tcp.demux.size : snooper.table.size
if (snapshot !== undefined) writeHeapSnapshot(snapshot)
const taken = (await octets()) - before
console.log(
  JSON.stringify({ mode, held, octets: taken / count, retained: retained / Math.max(held, 1) }),
)
process.exit(0)
