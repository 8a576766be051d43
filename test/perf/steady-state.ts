/**
 * A program for allocation.test.ts: two stacks exchange a stream for so many frames. Printed is, slice by slice, what the heap grew
 * by per frame, and how large a view of an array is, which is what a copy costs. Started with --expose-gc and a young generation so large that nothing is collected in between.
 */
import { type Connection, Frame, type Nic, parseIpv4Address, Stack } from '../../stack/index.js'

const CLIENT = parseIpv4Address('10.0.0.1')
const SERVER = parseIpv4Address('10.0.0.2')
const SLICES = 10

interface Host {
  readonly stack: Stack
  readonly nic: Nic
  /** Where the device would lend its frames. */
  readonly lent: Frame
}

const [, , frames = '1000000', mode = 'plain'] = process.argv
const offload = { checksum: mode === 'offload', tso: mode === 'offload', uso: false }

function host(address: typeof CLIENT, other: typeof CLIENT, mac: number): Host {
  const stack = new Stack({ rng: { u32: () => 7 }, secret: new Int32Array(4) })
  const nic = stack.addNic({ mac, mtu: 1500, offload })
  nic.setAddress(address, 24, 'assigned')
  nic.neighbors.learn(other, 3 - mac, 0)
  return { stack, nic, lent: new Frame() }
}

const client = host(CLIENT, SERVER, 1)
const server = host(SERVER, CLIENT, 2)
const chunk = new Uint8Array(65_536)
let now = 1_000_000
let count = 0
let texts = 0

function carry(from: Host, to: Host): boolean {
  let carried = false
  for (;;) {
    const frame = from.stack.pollTransmit(now, from.lent)
    if (frame === null) return carried
    to.stack.receive(to.nic, frame, now)
    count++
    if (frame.end - frame.start > 100) texts++
    carried = true
  }
}

function exchange(): void {
  while (carry(client, server) || carry(server, client));
  while (client.stack.pollReady() !== null || server.stack.pollReady() !== null);
}

const listener = server.stack.listen(SERVER, 80)
const source = client.stack.connect(SERVER, 80, now, CLIENT)
exchange()
server.stack.pollAccept()
const sink = listener.accept() as Connection

function stream(to: number): void {
  while (count < to) {
    now += 0.125
    source.write(chunk, 0, chunk.length)
    exchange()
    while (sink.read(chunk, 0, chunk.length) > 0);
    exchange()
    client.stack.handleTimeout(now)
    server.stack.handleTimeout(now)
  }
}

// The compiler has seen it all, and every buffer has its size, before the first slice.
stream(Number(frames) / 2)
const growth: number[] = []
const VIEWS = 100_000
const views: Uint8Array[] = new Array(VIEWS)
globalThis.gc?.()
const without = process.memoryUsage().heapUsed
for (let i = 0; i < VIEWS; i++) views[i] = chunk.subarray(i & 0xff)
const view = (process.memoryUsage().heapUsed - without) / VIEWS
views.length = 0
const [countBefore, textsBefore] = [count, texts]
for (let slice = 0; slice < SLICES; slice++) {
  globalThis.gc?.()
  const [before, first] = [process.memoryUsage().heapUsed, count]
  stream(count + Number(frames) / SLICES)
  growth.push((process.memoryUsage().heapUsed - before) / (count - first))
}
const share = (texts - textsBefore) / (count - countBefore)
console.log(JSON.stringify({ frames: count, received: sink.inputOffset, growth, view, share }))
