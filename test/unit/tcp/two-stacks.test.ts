/**
 * Two whole stacks on one lossy link: a stream in each direction arrives whole and in order.
 */
import t from 'tap'
import {
  type Connection,
  ConnectionEvent,
  Frame,
  type Millis,
  NEVER,
  type Nic,
  parseIpv4Address,
  Stack,
} from '../../../stack/index.js'

const CLIENT = parseIpv4Address('10.0.0.1')
const SERVER = parseIpv4Address('10.0.0.2')

function mulberry(seed: number): () => number {
  let a = seed
  return () => {
    a = (a + 0x6d2b79f5) | 0
    let x = Math.imul(a ^ (a >>> 15), 1 | a)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return (x ^ (x >>> 14)) >>> 0
  }
}

interface Host {
  readonly stack: Stack
  readonly nic: Nic
}

function host(address: typeof CLIENT, mac: number, random: () => number): Host {
  const stack = new Stack({ rng: { u32: random }, secret: new Int32Array([1, 2, 3, mac]) })
  const nic = stack.addNic({ mac, mtu: 1500 })
  nic.setAddress(address, 24, 'assigned')
  return { stack, nic }
}

/** Runs both ends until the streams are done; returns what the server and the client received. */
function exchange(
  seed: number,
  loss: number,
  up: Uint8Array,
  down: Uint8Array,
): [Buffer, Buffer, Millis] {
  const random = mulberry(seed)
  const a = host(CLIENT, 0x020000000001, random)
  const b = host(SERVER, 0x020000000002, random)
  // Three lost ARP requests would end the opening (RFC 1122 §2.4): here it is TCP that has to bear the loss.
  a.nic.neighbors.learn(SERVER, b.nic.mac, 1_000_000)
  const listener = b.stack.listen(SERVER, 80)
  let now: Millis = 1_000_000
  const client = a.stack.connect(SERVER, 80, now)
  let server: Connection | null = null
  const events: { at: Millis; to: Host; frame: Frame }[] = []
  const got: [number[], number[]] = [[], []]
  const written = [0, 0]
  const chunk = new Uint8Array(65536)
  const pump = (c: Connection, out: Uint8Array, which: 0 | 1): void => {
    for (;;) {
      const n = c.read(chunk, 0, chunk.length)
      if (n === 0) break
      for (let i = 0; i < n; i++) got[1 - which]!.push(chunk[i]!)
    }
    if (c.closed) return
    const at = written[which]!
    if (at < out.length) {
      written[which]! += c.write(out, at, out.length)
      if (written[which] === out.length) c.shutdown()
    }
  }
  for (let turn = 0; turn < 2_000_000; turn++) {
    for (const h of [a, b]) {
      for (let f = h.stack.pollTransmit(now); f !== null; f = h.stack.pollTransmit(now)) {
        if ((random() % 1000) / 1000 < loss) continue
        const copy = new Frame(2048)
        copy.copyFrom(f)
        events.push({ at: now + 0.1 + (random() % 100) / 1000, to: h === a ? b : a, frame: copy })
      }
      for (let c = h.stack.pollReady(); c !== null; c = h.stack.pollReady()) c.events = 0
    }
    for (let l = b.stack.pollAccept(); l !== null; l = b.stack.pollAccept())
      server = l.accept() ?? server
    if (client.events & ConnectionEvent.CLOSED || client.closed) break
    if (got[0].length === up.length && got[1].length === down.length) break
    events.sort((x, y) => x.at - y.at)
    const deadline = Math.min(
      a.stack.nextDeadline(),
      b.stack.nextDeadline(),
      events[0]?.at ?? NEVER,
    )
    if (deadline === NEVER) break
    now = Math.max(now, deadline)
    while (events.length > 0 && events[0]!.at <= now) {
      const { to, frame } = events.shift()!
      to.stack.receive(to.nic, frame, now)
    }
    a.stack.handleTimeout(now)
    b.stack.handleTimeout(now)
    if (client.tcb.state >= 4) pump(client, up, 0)
    if (server !== null) pump(server, down, 1)
  }
  void listener
  return [Buffer.from(got[0]), Buffer.from(got[1]), now - 1_000_000]
}

function bytes(length: number, seed: number): Uint8Array {
  const random = mulberry(seed)
  return Uint8Array.from({ length }, () => random() & 255)
}

for (const loss of [0, 0.01, 0.05, 0.2]) {
  t.test(`T2 T4: streams both ways arrive whole with ${loss * 100} % loss`, (t) => {
    for (let seed = 1; seed <= 10; seed++) {
      const up = bytes(200_000, seed)
      const down = bytes(300_000, seed + 1000)
      const [atServer, atClient, took] = exchange(seed, loss, up, down)
      t.ok(
        atServer.equals(up),
        `seed ${seed}: the server has ${atServer.length} of ${up.length} octets after ${took} ms`,
      )
      t.ok(
        atClient.equals(down),
        `seed ${seed}: the client has ${atClient.length} of ${down.length} octets`,
      )
    }
    t.end()
  })
}
