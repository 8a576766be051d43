/**
 * Super-frames (T8): what leaves in one piece when the device cuts segments, what never does, and what comes in so.
 * The pieces are looked at as the device would cut them.
 */
import t, { type Test } from 'tap'
import { DropReason } from '../../stack/base/counters.js'
import { Frame, parseIpv4Address, Stack } from '../../stack/index.js'
import { ChecksumState } from '../../stack/wire/frame.js'
import { ACK, encodeEthernet, encodeIp, encodeTcp, FIN, PROTOCOL, PSH, SYN } from './codec.js'

const LOCAL = parseIpv4Address('10.0.0.2')
const PEER = parseIpv4Address('10.0.0.1')
const MAC = 0x02_00_00_00_00_02
const PEER_MAC = 0x02_00_00_00_00_01
const MSS = 1448

interface Left {
  readonly seq: number
  readonly ack: number
  readonly flags: number
  readonly length: number
  readonly gsoSize: number
  readonly checksum: number
}

/** A stack on a device with offload, with one connection whose handshake is done. */
class World {
  // Not later than the first RTO, or the sender would take itself for idle.
  now = 100
  readonly stack = new Stack({
    rng: { u32: () => 5 },
    secret: new Int32Array(4),
    receiveLimit: 400_000,
    sendLimit: 1_000_000,
  })
  readonly nic = this.stack.addNic({
    mac: MAC,
    mtu: 1500,
    offload: { checksum: true, tso: true, uso: true },
  })
  readonly lent = new Frame()
  copies = 0
  seq = 1
  ack = 0
  iss = 0

  constructor() {
    this.nic.setAddress(LOCAL, 24, 'assigned')
    this.nic.neighbors.learn(PEER, PEER_MAC, this.now)
    this.stack.listen(LOCAL, 80)
    this.peer(SYN, 0, 65_535, [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7])
    this.poll()
    this.seq = 2
    this.ack = this.iss + 1
    this.peer(ACK, 0)
  }

  /** One segment of the peer with `length` octets of text; larger than an MSS it is a super-frame of a local sender. */
  peer(flags: number, length: number, wnd = 8192, rawOptions?: readonly number[]): void {
    const tcp = encodeTcp(
      {
        srcPort: 4000,
        dstPort: 80,
        seq: this.seq,
        ack: this.ack,
        flags,
        wnd,
        text: Buffer.alloc(length, 7),
        ...(rawOptions === undefined ? { ts: [2, 0] as const } : { rawOptions }),
      },
      PEER,
      LOCAL,
    )
    if (length > MSS) tcp.writeUInt16BE(0x1234, 16)
    const bytes = encodeEthernet(MAC, PEER_MAC, 0x0800, encodeIp(PEER, LOCAL, PROTOCOL.TCP, tcp))
    const frame = new Frame()
    frame.reset()
    frame.bytes.set(bytes, frame.start)
    frame.end = frame.start + bytes.length
    if (length > MSS) {
      frame.checksum = ChecksumState.PARTIAL
      frame.gsoSize = MSS
    }
    this.stack.receive(this.nic, frame, this.now)
    this.seq += length
  }

  poll(): Left[] {
    const left: Left[] = []
    for (;;) {
      const frame = this.stack.pollTransmit(this.now, this.lent)
      if (frame === null) return left
      if (frame !== this.lent) this.copies++
      const { view, start, end, gsoSize, checksum } = frame
      const tcp = start + 34
      const flags = view.getUint8(tcp + 13)
      if ((flags & SYN) !== 0) this.iss = view.getUint32(tcp + 4)
      const length = end - tcp - (view.getUint8(tcp + 12) >> 4) * 4
      left.push({
        seq: view.getUint32(tcp + 4) - this.iss - 1,
        ack: view.getUint32(tcp + 8),
        flags,
        length,
        gsoSize,
        checksum,
      })
    }
  }

  get connection() {
    const found = this.stack.tcp.demux.find(LOCAL, 80, PEER, 4000)
    if (found === undefined) throw new Error('no connection')
    return found
  }

  /** The peer has everything up to stream offset `to`. */
  acknowledge(to: number, wnd = 8192): void {
    this.ack = this.iss + 1 + to
    this.peer(ACK, 0, wnd)
  }
}

function total(left: readonly Left[]): number {
  return left.reduce((sum, each) => sum + each.length, 0)
}

/** What holds of every super-frame. */
function check(t: Test, left: readonly Left[]): void {
  for (const each of left) {
    t.equal(each.gsoSize, each.length > MSS ? MSS : 0, `a piece of ${each.length} octets`)
    t.equal(each.checksum, ChecksumState.PARTIAL)
    t.ok(each.length <= 65_455, 'an IPv4 datagram holds it')
  }
}

t.test('T8: the initial window leaves in one piece, and no more than it', (t) => {
  const w = new World()
  w.connection.write(new Uint8Array(500_000), 0, 500_000)
  const left = w.poll()
  check(t, left)
  t.strictSame(
    left.map((each) => each.length),
    [10 * MSS],
    'ten whole segments (RFC 6928)',
  )
  t.equal((left[0]?.flags ?? 0) & PSH, 0, 'more text waits')
  t.equal(w.copies, 0, 'built where the device wants it')
  t.end()
})

t.test('T8: pieces stop at 64 KB, at whole segments, and at the window of the peer', (t) => {
  const w = new World()
  w.connection.sender.congestion.cwnd = 1_000_000
  w.connection.write(new Uint8Array(500_000), 0, 500_000)
  w.connection.sender.noDelay = true
  w.acknowledge(0, 1000)
  const left = w.poll()
  check(t, left)
  t.equal(
    total(left),
    1000 * 128 - ((1000 * 128) % MSS),
    'whole segments within the window of 128000',
  )
  t.equal(left[0]?.length, 65_455 - (65_455 % MSS))
  for (const each of left.slice(0, -1)) t.equal(each.length % MSS, 0)
  t.end()
})

t.test('T8: FIN and PSH go with the last piece only, and Nagle holds the short rest back', (t) => {
  const w = new World()
  w.connection.sender.congestion.cwnd = 1_000_000
  w.connection.write(new Uint8Array(1), 0, 1)
  t.equal(total(w.poll()), 1)
  w.connection.write(new Uint8Array(100_000), 0, 100_000)
  const first = w.poll()
  t.equal(total(first), 100_000 - (100_000 % MSS), 'a short one is in flight')
  w.connection.shutdown()
  const rest = w.poll()
  t.strictSame(
    rest.map((each) => [each.length, each.flags & FIN, each.flags & PSH]),
    [[100_000 % MSS, FIN, PSH]],
  )
  t.notOk(first.some((each) => (each.flags & (FIN | PSH)) !== 0))
  const u = new World()
  u.connection.sender.congestion.cwnd = 1_000_000
  u.connection.write(new Uint8Array(100_000), 0, 100_000)
  t.equal(total(u.poll()), 100_000, 'behind full ones it does not wait (RFC 9293 §A.3)')
  const v = new World()
  v.connection.sender.congestion.cwnd = 1_000_000
  v.connection.write(new Uint8Array(100_000), 0, 100_000)
  v.connection.shutdown()
  const all = v.poll()
  check(t, all)
  t.equal(total(all), 100_000)
  t.strictSame(
    all.map((each) => each.flags & (FIN | PSH)),
    [0, FIN | PSH],
  )
  t.end()
})

/** Lets the tail loss probe leave (RFC 8985 §7), and then the retransmission timer expire. */
function afterTailProbe(w: World): void {
  for (let i = 0; i < 2; i++) {
    if (i > 0) w.poll()
    w.now += 3000
    w.stack.handleTimeout(w.now)
  }
}

t.test('T8: what is lost leaves again in whole segments, within the congestion window', (t) => {
  const w = new World()
  w.connection.sender.congestion.cwnd = 100 * MSS
  w.connection.write(new Uint8Array(200 * MSS), 0, 200 * MSS)
  t.equal(total(w.poll()), 100 * MSS)
  afterTailProbe(w)
  const first = w.poll()
  t.strictSame(
    first.map((each) => [each.seq, each.length]),
    [[0, MSS]],
    'one segment behind a time-out (RFC 5681)',
  )
  w.acknowledge(MSS)
  const second = w.poll()
  t.ok(second.length > 0, 'and it goes on')
  check(t, second)
  t.end()
})

t.test(
  'T8: a super-frame of a local sender is taken whole, its checksum on trust, and acknowledged once',
  (t) => {
    const w = new World()
    w.poll()
    w.peer(ACK | PSH, 40 * MSS)
    w.peer(ACK | PSH, 40 * MSS)
    const left = w.poll()
    t.strictSame(
      left.map((each) => [each.length, each.ack]),
      [[0, w.seq]],
    )
    t.equal(w.connection.readable, 80 * MSS)
    t.end()
  },
)

t.test('T8: with a NIC that cuts nothing no super-frame leaves by any', (t) => {
  const w = new World()
  w.stack.addNic({ mac: MAC + 1, mtu: 1500 })
  w.connection.write(new Uint8Array(50_000), 0, 50_000)
  t.strictSame(
    w.poll().map((each) => each.length),
    new Array(10).fill(MSS),
  )
  t.end()
})

t.test(
  'T8: a super-frame does not fit where frames wait for an address: it is dropped, counted, and sent again',
  (t) => {
    const w = new World()
    w.nic.neighbors.forget(PEER)
    w.connection.write(new Uint8Array(100_000), 0, 100_000)
    t.equal(total(w.poll().filter((each) => each.length > MSS)), 0)
    t.ok(w.stack.drops.get(DropReason.NEIGHBOR_QUEUE_FULL) > 0)
    w.nic.neighbors.learn(PEER, PEER_MAC, w.now)
    afterTailProbe(w)
    t.strictSame(
      w.poll().map((each) => [each.seq, each.length]),
      [[0, MSS]],
    )
    t.end()
  },
)
