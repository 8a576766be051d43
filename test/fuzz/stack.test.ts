/**
 * Whatever comes in, `Stack.receive` never throws, answers no more than it was asked, counts each frame that it does not
 * take at most once, and keeps its memory within its limits.
 */
import t from 'tap'
import { type Connection, TcpState } from '../../stack/index.js'
import { Random } from '../law/random.js'
import { encodeArp, encodeEthernet, encodeIcmp, encodeIp, PROTOCOL } from '../packet/codec.js'
import {
  ACK,
  established,
  FIN,
  IRS,
  ISS,
  LOCAL,
  LOCAL_MAC,
  octets,
  PEER,
  PEER_MAC,
  PSH,
  RST,
  Script,
  SYN,
  URG,
} from '../packet/peer.js'

const SEEDS = [1, 2, 3, 4, 5, 6]
const FLAGS = [
  ACK,
  ACK | PSH,
  SYN,
  SYN | ACK,
  FIN | ACK,
  RST,
  RST | ACK,
  FIN,
  0,
  SYN | FIN,
  URG | ACK,
  0xff,
]

function total(c: Script): number {
  return Object.values(c.stack.drops.toJSON()).reduce((a, b) => a + b, 0)
}

/** A frame that is right in all but what a hostile peer chooses. */
function hostile(c: Script, random: Random): Buffer {
  const kind = random.below(12)
  const arp = {
    operation: 1 + random.below(3),
    senderMac: PEER_MAC,
    senderIp: PEER,
    targetMac: 0,
    targetIp: LOCAL,
  }
  if (kind === 0) return encodeEthernet(LOCAL_MAC, PEER_MAC, 0x0806, encodeArp(arp))
  if (kind === 1) {
    const icmp = encodeIcmp(
      random.below(20),
      random.below(16),
      random.u32(),
      Buffer.from(random.bytes(random.below(80))),
    )
    return encodeEthernet(LOCAL_MAC, PEER_MAC, 0x0800, encodeIp(PEER, LOCAL, PROTOCOL.ICMP, icmp))
  }
  const near = (base: number): number =>
    base + (random.chance(0.5) ? random.below(3000) - 300 : random.u32())
  return c.frameOf({
    flags: FLAGS[random.below(FLAGS.length)] as number,
    seq: near(IRS),
    ack: near(ISS),
    wnd: random.below(65_536),
    text: octets(random.chance(0.5) ? 0 : random.below(1400)),
    srcPort: random.chance(0.8) ? 40_000 : random.below(65_536),
    dstPort: random.chance(0.9) ? 80 : random.below(65_536),
    ...(random.chance(0.3) ? { rawOptions: [...random.bytes(4 * random.below(10))] } : {}),
    ...(random.chance(0.2)
      ? {
          sack: [
            [near(ISS), near(ISS)],
            [near(ISS), near(ISS)],
          ] as const,
        }
      : {}),
  })
}

function mutated(frame: Buffer, random: Random): Buffer {
  let bytes = Buffer.from(frame)
  for (let i = random.below(4); i >= 0; i--) {
    const at = random.below(Math.max(bytes.length, 1))
    const how = random.below(4)
    if (how === 0) bytes[at] = random.below(256)
    else if (how === 1) bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8))
    else if (how === 2) bytes = Buffer.from(bytes.subarray(0, at))
    else bytes = Buffer.concat([bytes, Buffer.from(random.bytes(random.below(40)))])
  }
  return bytes
}

/** Checks what may be said of any stack at any time. */
function sane(c: Script): string {
  for (const connection of c.stack.tcp.demux.connections()) {
    const wrong = broken(connection)
    if (wrong !== '') return wrong
  }
  return ''
}

function broken(connection: Connection): string {
  const { tcb, buffers } = connection
  if (tcb.state === TcpState.LISTEN) return 'a connection in LISTEN'
  if (tcb.flightSize < 0 || tcb.rcvWnd < 0) return `flight ${tcb.flightSize}, window ${tcb.rcvWnd}`
  if (buffers.received.end - buffers.received.start > 130_000) return 'more text than may be kept'
  if (tcb.synSent && tcb.state !== TcpState.SYN_RECEIVED) {
    const received = buffers.received.contiguousEnd + (tcb.finReceived ? 1 : 0)
    if (received !== tcb.rcvNxtOffset)
      return `RCV.NXT at ${tcb.rcvNxtOffset}, text up to ${received}`
  }
  return ''
}

/** Feeds one frame; returns what is wrong. */
function feed(c: Script, frame: Buffer): string {
  const before = total(c)
  c.deliver(frame)
  const counted = total(c) - before
  if (counted > 1) return `counted ${counted} times: ${frame.toString('hex')}`
  return ''
}

t.test('T6: random octets never throw, and are all counted', (t) => {
  for (const seed of SEEDS) {
    const random = new Random(seed)
    const c = new Script(t)
    c.listens()
    for (let i = 0; i < 4000; i++) {
      const frame = Buffer.from(random.bytes(random.below(120)))
      if (random.chance(0.7) && frame.length >= 14) {
        frame.writeUIntBE(LOCAL_MAC, 0, 6)
        frame.writeUInt16BE([0x0800, 0x0806, 0x8100, 0x86dd][random.below(4)] as number, 12)
      }
      const wrong = feed(c, frame)
      if (wrong !== '') t.fail(`seed ${seed}, frame ${i}: ${wrong}`)
    }
    t.equal(total(c), 4000, `seed ${seed}: each of 4000 frames is counted`)
    c.drain()
    c.expectsNothing('nothing is answered')
  }
  t.end()
})

t.test('T6: hostile and mutated frames against live connections', (t) => {
  let answers = 0
  let frames = 0
  for (const seed of SEEDS) {
    const random = new Random(100 + seed)
    let c = established(t, {
      sack: seed % 2 === 0,
      timestamps: seed % 3 === 0,
      windowScale: seed % 2 ? 3 : null,
    })
    for (let i = 0; i < 3000; i++) {
      const frame = hostile(c, random)
      const wrong = feed(c, random.chance(0.3) ? mutated(frame, random) : frame)
      if (wrong !== '') t.fail(`seed ${seed}, frame ${i}: ${wrong}`)
      frames++
      if (random.chance(0.05)) c.c.write(Buffer.from(octets(3000)), 0, random.below(3000))
      if (random.chance(0.05)) c.c.read(Buffer.alloc(5000), 0, 5000)
      if (random.chance(0.01)) c.c.shutdown()
      c.drain()
      answers += c.ignores().length + c.others.splice(0).length
      if (random.chance(0.01)) c.advance(random.below(2000))
      c.ignores()
      const insane = sane(c)
      if (insane !== '') t.fail(`seed ${seed}, frame ${i}: ${insane}`)
      if (c.c.closed) c = established(t, { sack: seed % 2 === 0 })
    }
    t.pass(`seed ${seed}`)
  }
  t.ok(answers < 3 * frames, `${answers} answers to ${frames} frames: no amplification`)
  t.end()
})

t.test(
  'T6: one frame is answered by one segment at most, RST by none, outside of a connection',
  (t) => {
    const random = new Random(9)
    const c = new Script(t)
    for (let i = 0; i < 3000; i++) {
      const flags = FLAGS[random.below(FLAGS.length)] as number
      c.peerSends({
        flags,
        seq: random.u32(),
        ack: random.u32(),
        text: octets(random.below(50)),
        srcPort: random.below(65_536),
      })
      const answers = c.ignores()
      const allowed = (flags & RST) !== 0 ? 0 : 1
      if (answers.length !== allowed || answers.some((s) => (s.flags & RST) === 0))
        t.fail(`flags ${flags}: ${answers.length} answers`)
    }
    t.equal(c.stack.tcp.demux.size, 0)
    t.end()
  },
)

t.test('T6: a flood of SYNs holds no more than the backlog, and goes away', (t) => {
  const c = new Script(t, { backlog: 100 })
  c.listens()
  const random = new Random(5)
  for (let i = 0; i < 20_000; i++) {
    c.deliver(
      c.frameOf({ flags: SYN, seq: random.u32(), srcPort: random.below(65_536), mss: 1460 }),
    )
    if (i % 100 === 0) c.drain()
  }
  c.drain()
  t.ok(c.stack.tcp.demux.size <= 100, `${c.stack.tcp.demux.size} half-open connections`)
  t.ok(c.stack.tcp.openings.cookies.sent > 19_000)
  c.ignores()
  c.advance(600_000)
  t.equal(c.stack.tcp.demux.size, 0)
  t.equal(c.listener?.embryonic, 0)
  t.ok(c.ignores().length <= 100 * 9, 'each is answered a few times, not for ever')
  t.end()
})

t.test('T6: a flood of holes is bounded in intervals and octets, and the stream goes on', (t) => {
  const c = established(t, { receiveLimit: 60_000, sack: true })
  const random = new Random(6)
  for (let i = 0; i < 5000; i++) {
    const at = 2 + 2 * random.below(30_000)
    c.peerSends({ seq: IRS + 1 + at, ack: ISS + 1, flags: ACK, text: octets(1, at) })
    c.ignores()
  }
  const { received } = c.c.buffers
  t.ok(received.rangeCount <= 64)
  t.ok(received.size <= 1 << 17, `${received.size} octets of memory`)
  for (let at = 0; at < 60_000; at += 1000) {
    c.peerSends({ seq: IRS + 1 + at, ack: ISS + 1, flags: ACK, text: octets(1000, at) })
  }
  t.equal(c.read(), octets(60_000))
  t.end()
})

t.test(
  'T6: fragments that are never completed make way for each other, counted and unanswered',
  (t) => {
    const c = new Script(t)
    for (let i = 0; i < 1000; i++) {
      const ip = encodeIp(PEER, LOCAL, PROTOCOL.UDP, Buffer.alloc(64))
      ip.writeUInt16BE(i, 4)
      ip.writeUInt16BE(0x2000, 6)
      ip.writeUInt16BE(0, 10)
      let sum = 0
      for (let at = 0; at < 20; at += 2) sum += ip.readUInt16BE(at)
      ip.writeUInt16BE(~((sum & 0xffff) + (sum >>> 16)) & 0xffff, 10)
      c.deliver(encodeEthernet(LOCAL_MAC, PEER_MAC, 0x0800, ip))
    }
    c.drain()
    // One source may have sixteen datagrams under way.
    t.equal(c.drops('ip-fragment-limit'), 1000 - 16)
    t.strictSame(c.others, [])
    t.end()
  },
)
