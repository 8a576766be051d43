/**
 * The path's MTU (T7): what ICMP tells of it (RFC 1191, RFC 5927 §7), and what vanishing segments do (RFC 4821 §7.7).
 */
import t from 'tap'
import { encodeEthernet, encodeIcmp, encodeIp, encodeTcp, PROTOCOL } from './codec.js'
import {
  ACK,
  type Checks,
  established,
  IRS,
  ISS,
  LOCAL,
  LOCAL_MAC,
  LOCAL_PORT,
  octets,
  PEER,
  PEER_MAC,
  PEER_PORT,
  type Script,
  type ScriptOptions,
  SYN,
} from './peer.js'

/** Without Nagle's algorithm, so that nothing waits. */
function eager(t: Checks, options: ScriptOptions = {}): Script {
  const c = established(t, options)
  c.c.sender.noDelay = true
  return c
}

/** A router says that the segment with sequence number `seq` and `length` octets of text did not fit into `mtu`. */
function tooBig(c: Script, seq: number, mtu: number, length = 1460): void {
  const tcp = {
    srcPort: LOCAL_PORT,
    dstPort: PEER_PORT,
    seq: (c.iss + (seq - ISS)) >>> 0,
    ack: 0,
    flags: ACK,
    wnd: 0,
    text: Buffer.alloc(length),
  }
  const quote = encodeIp(LOCAL, PEER, PROTOCOL.TCP, encodeTcp(tcp, LOCAL, PEER)).subarray(0, 28)
  const icmp = encodeIcmp(3, 4, mtu, quote)
  const ip = encodeIp(PEER, LOCAL, PROTOCOL.ICMP, icmp)
  c.deliver(encodeEthernet(LOCAL_MAC, PEER_MAC, 0x0800, ip))
  c.drain()
}

function lengths(c: Script): number[] {
  return c.ignores().map((segment) => segment.length)
}

t.test(
  'T7: "fragmentation needed" makes segments shorter and sends them again at once (SHLD-6)',
  (t) => {
    for (const sack of [false, true]) {
      const c = eager(t, { sack })
      c.write(octets(4000))
      t.strictSame(lengths(c), [1460, 1460, 1080])
      const { cwnd } = c.c.sender.congestion
      tooBig(c, ISS + 1, 1300)
      tooBig(c, ISS + 1461, 1300)
      const again = c.sent.map(({ seq, length }) => [seq - ISS - 1, length])
      t.strictSame(again, [[0, 1260], [1260, 1260], [2520, 1260], [3780, 220]]) // biome-ignore format: one line
      t.equal(c.c.sender.congestion.cwnd, cwnd, 'too long is not too many')
      c.ignores()
      c.peerSends({ seq: IRS + 1, ack: ISS + 4001, flags: ACK })
      c.write(octets(2000))
      t.strictSame(lengths(c), [1260, 740], 'what is new is as short')
    }
    t.end()
  },
)

t.test(
  'T7: what quotes nothing in flight, or no shorter MTU, is not believed (RFC 5927 §7)',
  (t) => {
    const c = eager(t)
    c.write(octets(1460))
    c.peerSends({ seq: IRS + 1, ack: ISS + 1461, flags: ACK })
    c.write(octets(1460))
    c.ignores()
    tooBig(c, ISS + 1, 1300) // acknowledged before
    tooBig(c, ISS + 2921, 1300) // never sent
    tooBig(c, ISS + 1461, 67)
    tooBig(c, ISS + 1461, 1500)
    tooBig(c, ISS + 1461, 1400, 1360)
    c.expectsNothing()
    t.equal(c.drops('icmp-refused'), 5)
    t.end()
  },
)

t.test('T7: an old router says no MTU: the next plateau is tried (RFC 1191 §7.1)', (t) => {
  const c = eager(t)
  c.write(octets(1460))
  c.ignores()
  tooBig(c, ISS + 1, 0)
  t.strictSame(lengths(c), [1452, 8])
  tooBig(c, ISS + 1, 0, 1452)
  t.strictSame(lengths(c), [966, 494])
  t.end()
})

t.test('T6 T7: no message makes segments tiny: below 552 octets routers cut instead', (t) => {
  const c = eager(t)
  c.write(octets(1000))
  c.ignores()
  tooBig(c, ISS + 1, 600, 1000)
  t.notOk(c.c.sender.path?.fragmentable)
  c.ignores()
  tooBig(c, ISS + 1, 68, 560)
  t.strictSame(lengths(c), [512, 488])
  t.ok(c.c.sender.path?.fragmentable)
  t.end()
})

t.test('T7: timestamps take their part of a segment on a narrow path', (t) => {
  const c = eager(t, { timestamps: true })
  c.write(octets(1448))
  c.ignores()
  tooBig(c, ISS + 1, 1300, 1448)
  t.strictSame(lengths(c), [1248, 200])
  t.end()
})

t.test('T7: the next connection to that peer knows; after ten minutes both try again', (t) => {
  const c = eager(t)
  c.write(octets(1460))
  c.ignores()
  tooBig(c, ISS + 1, 1300)
  c.peerSends({ seq: IRS + 1, ack: ISS + 1461, flags: ACK })
  const first = c.c
  c.peerSends({ seq: 1, flags: SYN, srcPort: 50_000, mss: 1460 })
  const syn = c.ignores().at(-1)
  t.equal(syn?.mss, 1460, 'what comes in is as long as ever')
  c.deliver(c.frameOf({ seq: 2, ack: (syn?.seq ?? 0) + 1, flags: ACK, srcPort: 50_000 }))
  c.drain()
  t.not(c.c, first)
  c.c.sender.noDelay = true
  c.write(octets(1460))
  t.strictSame(lengths(c), [1260, 200])
  c.advance(601_000)
  c.ignores()
  t.equal(first.sender.mss, 1460)
  t.end()
})

t.test('T7: full segments that vanish while short ones arrive are a black hole', (t) => {
  const c = eager(t)
  c.write(octets(3000))
  c.ignores()
  for (let n = 0; n < 3; n++) {
    c.advance(c.c.sender.rtoAt - c.now)
    c.expects({ seq: ISS + 1, length: 1460 })
  }
  c.advance(c.c.sender.rtoAt - c.now)
  c.expects({ seq: ISS + 1, length: 1024 })
  c.peerSends({ seq: IRS + 1, ack: ISS + 1025, flags: ACK })
  t.strictSame(lengths(c).slice(0, 1), [1024], 'it was the length')
  c.peerSends({ seq: IRS + 1, ack: ISS + 3001, flags: ACK })
  c.write(octets(1460))
  t.strictSame(lengths(c), [1024, 436])
  c.peerSends({ seq: IRS + 1, ack: ISS + 4461, flags: ACK })
  c.advance(601_000)
  c.write(octets(1460))
  t.strictSame(lengths(c), [1460], 'ten minutes later it is tried again')
  t.end()
})

t.test('T7: a path that was broken for a while is as wide as before', (t) => {
  const c = eager(t)
  c.write(octets(3000))
  c.ignores()
  for (let n = 0; n < 9; n++) c.advance(c.c.sender.rtoAt - c.now)
  t.strictSame(lengths(c), [1460, 1460, 1460, 1024, 1024, 512, 512, 216, 216])
  c.peerSends({ seq: IRS + 1, ack: ISS + 217, flags: ACK })
  t.strictSame(lengths(c).slice(0, 1), [1460])
  t.end()
})

t.test('T7: a short segment, a closed window or a SYN says nothing about the path', (t) => {
  const c = eager(t)
  c.write(octets(200))
  for (let n = 0; n < 5; n++) c.advance(c.c.sender.rtoAt - c.now)
  t.ok(lengths(c).every((length) => length === 200))
  t.equal(c.c.sender.mss, 1460)
  t.end()
})
