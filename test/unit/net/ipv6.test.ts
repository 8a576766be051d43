/**
 * IPv6 as a host has it: two stacks on a hub find each other by Neighbor Discovery and speak UDP and TCP; a third port sends by hand
 * what a stack would not, and sees what is answered.
 */
import t from 'tap'
import { DropReason } from '../../../stack/base/counters.js'
import type { Rng } from '../../../stack/base/time.js'
import { Hub } from '../../../stack/link/hub.js'
import type { Nic } from '../../../stack/net/nic.js'
import { Stack } from '../../../stack/stack.js'
import { ConnectionEvent } from '../../../stack/tcp/connection-event.js'
import { TcpState } from '../../../stack/tcp/state.js'
import {
  BROADCAST_MAC,
  EthernetHeader,
  emitEthernet,
  parseEthernet,
} from '../../../stack/wire/ethernet.js'
import { Frame } from '../../../stack/wire/frame.js'
import {
  dropAddress,
  formatIpAddress,
  holdAddress,
  inPrefix,
  parseIpAddress as ip,
  ipv6Address,
  isUnicast,
  MAX_IPV6_ADDRESSES,
} from '../../../stack/wire/ip-address.js'
import { UNSPECIFIED } from '../../../stack/wire/ipv4.js'

const A = 'fd77::100'
const B = 'fd77::9'
const MAC_A = 0x0200_0000_0001
const MAC_X = 0x0200_0000_00ff
const SOLICITED_A = 'ff02::1:ff00:100'
const GROUP_A = 0x3333_ff00_0100
const ALL_NODES_MAC = 0x3333_0000_0001

function seeded(): Rng {
  let state = 7
  return { u32: () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) }
}

/** An IPv6 packet as a third host saw it: without what the codecs of the stack think of it. */
interface Seen {
  readonly dstMac: number
  readonly next: number
  readonly hops: number
  readonly src: string
  readonly dst: string
  readonly payload: Buffer
}

class World {
  readonly hub = new Hub({ mtu: 1500 })
  readonly a: Stack
  readonly b: Stack
  readonly nicA: Nic
  now = 1000
  readonly seen: Seen[] = []
  readonly #ports: { transmit(frame: Frame): boolean }[] = []
  readonly #by

  constructor() {
    ;[this.a, this.nicA] = this.#add(A, MAC_A)
    ;[this.b] = this.#add(B, 0x0200_0000_0002)
    this.#by = this.hub.addPort(MAC_X)
    this.#by.attach({ onFrame: (frame) => this.#see(frame), onBatchEnd: () => {} })
  }

  #add(address: string, mac: number): [Stack, Nic] {
    const stack = new Stack({ rng: seeded(), secret: new Int32Array(4) })
    const nic = stack.addNic({ mac, mtu: this.hub.mtu })
    nic.setAddress(ip(address), 64, 'assigned')
    const port = this.hub.addPort(mac)
    port.attach({ onFrame: (f) => stack.receive(nic, f, this.now), onBatchEnd: () => {} })
    this.#ports.push(port)
    return [stack, nic]
  }

  #see(frame: Frame): void {
    const ethernet = new EthernetHeader()
    parseEthernet(ethernet, frame)
    if (ethernet.etherType !== 0x86dd) return
    const bytes = Buffer.from(frame.bytes.subarray(ethernet.payloadStart, frame.end))
    const address = (at: number) => formatIpAddress(fromOctets(bytes.subarray(at, at + 16)))
    const payload = bytes.subarray(40, 40 + bytes.readUInt16BE(4))
    const seen = { dstMac: ethernet.dst, next: bytes[6] ?? 0, hops: bytes[7] ?? 0, payload }
    this.seen.push({ ...seen, src: address(8), dst: address(24) })
  }

  run(): void {
    do {
      ;[this.a, this.b].forEach((stack, i) => {
        for (let f = stack.pollTransmit(this.now); f !== null; f = stack.pollTransmit(this.now)) {
          if (this.#ports[i]?.transmit(f) === false) throw new Error('a frame is too long')
        }
      })
    } while (this.hub.deliver() > 0)
  }

  /** The third host sends a packet; what is answered is in `seen`, which is emptied first. */
  send(dstMac: number, src: string, dst: string, next: number, payload: Buffer, hops = 64): void {
    this.seen.length = 0
    const frame = new Frame()
    frame.reset()
    const head = Buffer.alloc(40)
    head.writeUInt32BE(0x60000000)
    head.writeUInt16BE(payload.length, 4)
    head[6] = next
    head[7] = hops
    head.set(octets(src), 8)
    head.set(octets(dst), 24)
    frame.bytes.set(Buffer.concat([head, payload]), frame.start)
    frame.end = frame.start + head.length + payload.length
    emitEthernet(frame, dstMac, MAC_X, 0x86dd)
    this.#by.transmit(frame)
    this.hub.deliver()
    this.run()
    this.hub.deliver()
  }

  /** Like `send`, with the checksum of ICMPv6 filled in. */
  icmp(dstMac: number, src: string, dst: string, message: Buffer, hops = 255): void {
    message.writeUInt16BE(0, 2)
    message.writeUInt16BE(checksum(src, dst, 58, message), 2)
    this.send(dstMac, src, dst, 58, message, hops)
  }
}

function octets(text: string): Buffer {
  const [head = '', tail = ''] = text.split('::')
  const words = (part: string) => part.split(':').filter((word) => word !== '')
  const [front, back] = [words(head), words(tail)]
  const zeros = new Array(8 - front.length - back.length).fill('0')
  const all = [...front, ...(text.includes('::') ? zeros : []), ...back]
  return Buffer.from(all.map((word) => word.padStart(4, '0')).join(''), 'hex')
}

function fromOctets(bytes: Buffer) {
  return ipv6Address(
    bytes.readInt32BE(0),
    bytes.readInt32BE(4),
    bytes.readInt32BE(8),
    bytes.readInt32BE(12),
  )
}

function checksum(src: string, dst: string, next: number, message: Buffer): number {
  const pseudo = Buffer.concat([octets(src), octets(dst), Buffer.alloc(8)])
  pseudo.writeUInt32BE(message.length, 32)
  pseudo[39] = next
  const all = Buffer.concat([pseudo, message, Buffer.alloc(message.length % 2)])
  let sum = 0
  for (let i = 0; i < all.length; i += 2) sum += all.readUInt16BE(i)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}

function isGood({ src, dst, next, payload }: Seen): boolean {
  return checksum(src, dst, next, payload) === 0
}

function solicitation(target: string, option: number | null): Buffer {
  const message = Buffer.concat([Buffer.from([135, 0, 0, 0, 0, 0, 0, 0]), octets(target)])
  return option === null ? message : Buffer.concat([message, linkOption(1, option)])
}

function linkOption(type: number, mac: number): Buffer {
  const option = Buffer.from([type, 1, 0, 0, 0, 0, 0, 0])
  option.writeUIntBE(mac, 2, 6)
  return option
}

t.test('T1: addresses are read as RFC 4291 has them', async (t) => {
  for (const text of ['::', '::1', 'fd77::100', '1:2:3:4:5:6:7:8', 'fe80::1:0:0:1', '1::']) {
    t.equal(formatIpAddress(ip(text)), text)
  }
  t.equal(formatIpAddress(ip('FD77:0:0::0100')), 'fd77::100')
  t.equal(formatIpAddress(ip('::ffff:192.0.2.1')), '::ffff:192.0.2.1')
  for (const text of [
    '1:2:3',
    '1::2::3',
    '::12345',
    'fe80::1%eth0',
    '1:2:3:4:5:6:7:8:9',
    ':1',
    'g::',
  ]) {
    t.throws(() => ip(text, 'binding.address'), { code: 'ERR_INVALID_ADDRESS' }, text)
  }
  t.ok(inPrefix(ip('fd77::100'), ip('fd77::9'), 64))
  t.notOk(inPrefix(ip('fd77::100'), ip('fd78::100'), 64))
  t.ok(inPrefix(ip('fd77::101'), ip('fd77::100'), 127))
  t.notOk(inPrefix(ip('fd77::101'), ip('fd77::100'), 128))
  t.notOk(inPrefix(ip('10.0.0.1'), ip('fd77::1'), 0), 'families do not mix')
  for (const text of ['::', '::1', 'ff02::1', '::ffff:10.0.0.1']) t.notOk(isUnicast(ip(text)), text)
  t.ok(isUnicast(ip('fe80::1')))
})

t.test('T6: in a full table of addresses those that nobody holds make way', async (t) => {
  const held = ip('2001:db8:ffff::1')
  holdAddress(held)
  const passing = ip('2001:db8:ffff::2')
  for (let i = 0; i < MAX_IPV6_ADDRESSES + 10_000; i++) ipv6Address(0x2001_0db9, i, i * 7, 1)
  t.equal(ip('2001:db8:ffff::1'), held, 'what is held keeps its number')
  t.equal(formatIpAddress(held), '2001:db8:ffff::1')
  t.not(formatIpAddress(passing), '2001:db8:ffff::2', 'what is not held gave its number away')
  const recent = Array.from({ length: 5000 }, (_, i) => ipv6Address(0x2001_0dba, i, 0, 1))
  t.equal(new Set(recent).size, 5000)
  t.ok(recent.every((n, i) => ipv6Address(0x2001_0dba, i, 0, 1) === n))
  dropAddress(held)
})

t.test('T1 T9: neighbours are found, and datagrams of every length arrive', async (t) => {
  const w = new World()
  const from = w.a.udp.bind(UNSPECIFIED, 5000)
  const to = w.b.udp.bind(ip(B), 53)
  for (const length of [0, 1, 1452, 1453, 9000, 65_000]) {
    w.seen.length = 0
    const data = Buffer.from(Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8)) & 255))
    w.a.sendDatagram(from, data, ip(B), 53)
    w.run()
    w.hub.deliver()
    const got = to.receive()
    t.match(got, { address: ip(A), port: 5000 })
    t.ok(data.equals(got?.data ?? Buffer.alloc(1)), `${length} octets`)
    const sent = w.seen.filter(({ next }) => next !== 58)
    t.equal(sent.length, length <= 1452 ? 1 : Math.ceil((length + 8) / 1448), `${length}`)
    if (length <= 1452) t.ok(sent.every(isGood))
    else t.ok(sent.every(({ next }) => next === 44))
    if (length === 0) {
      const [asks, tells] = w.seen
      t.match(asks, { dstMac: 0x3333_ff00_0009, dst: 'ff02::1:ff00:9', src: A, hops: 255 })
      t.match(tells, { dstMac: MAC_A, dst: A, src: B, hops: 255 })
      t.ok(isGood(asks as Seen) && isGood(tells as Seen))
      t.equal(tells?.payload[4], 0x60, 'solicited, override')
    }
  }
  t.same(w.b.drops.toJSON(), {})
  const wrong = w.a.udp.bind(UNSPECIFIED, 5001)
  wrong.remoteAddress = ip(B)
  wrong.remotePort = 9
  w.a.sendDatagram(wrong, Buffer.from('x'), ip(B), 9)
  w.run()
  t.equal(wrong.error, 'ECONNREFUSED', 'no such port')
})

t.test('T1 T2: a connection carries text both ways, with the MSS of IPv6', async (t) => {
  const w = new World()
  const listener = w.b.listen(UNSPECIFIED, 80)
  const c = w.a.connect(ip(B), 80, w.now)
  w.run()
  const s = listener.accept()
  t.match(s, { remoteAddress: ip(A), localAddress: ip(B), state: TcpState.ESTABLISHED })
  t.match([c.sender.mss, s?.tcb.sndMss], [1428, 1440], '12 octets are the timestamps')
  const data = Buffer.from(
    Uint8Array.from({ length: 300_000 }, (_, i) => (i * 13 + (i >> 9)) & 255),
  )
  const got: Buffer[] = []
  for (let sent = 0; Buffer.concat(got).length < data.length; ) {
    sent += c.write(data, sent, data.length)
    w.run()
    const into = Buffer.alloc(65_536)
    const n = s?.read(into, 0, into.length) ?? 0
    if (n > 0) got.push(into.subarray(0, n))
    w.now += 1
    w.a.handleTimeout(w.now)
    w.b.handleTimeout(w.now)
  }
  t.ok(Buffer.concat(got).equals(data))
  c.shutdown()
  w.run()
  t.ok(s?.inputEnded)
  const refused = w.a.connect(ip(B), 81, w.now)
  w.run()
  t.match(refused, { closed: true, error: 'ECONNREFUSED' })
  t.ok((refused.events & ConnectionEvent.CLOSED) !== 0)
})

t.test('P13: who asks for an address is told, who probes it is told with all', async (t) => {
  const w = new World()
  w.icmp(GROUP_A, 'fd77::77', SOLICITED_A, solicitation(A, MAC_X))
  t.match(w.seen, [{ dstMac: MAC_X, src: A, dst: 'fd77::77', next: 58, hops: 255 }])
  t.ok(isGood(w.seen[0] as Seen))
  t.equal(w.seen[0]?.payload.readUIntBE(26, 6), MAC_A)
  w.icmp(GROUP_A, '::', SOLICITED_A, solicitation(A, null))
  t.match(w.seen, [{ dstMac: ALL_NODES_MAC, dst: 'ff02::1', src: A }], 'RFC 4862 §5.4')
  t.equal(w.seen[0]?.payload[4], 0x20, 'override, but nobody has asked by name')
  w.icmp(GROUP_A, 'fd77::77', SOLICITED_A, solicitation(A, MAC_X), 254)
  t.same(w.seen, [], 'not from this link')
  w.icmp(GROUP_A, 'fd77::77', SOLICITED_A, solicitation('fd77::200', MAC_X))
  w.icmp(MAC_A, 'fd77::77', A, solicitation('fd77::101', MAC_X))
  t.same(w.seen, [], 'not ours')
  w.nicA.setAddress(ip(A), 64, 'observed')
  w.icmp(GROUP_A, 'fd77::77', SOLICITED_A, solicitation(A, MAC_X))
  t.same(w.seen, [], 'an observed address is silent')
})

t.test(
  'P13 D3: an address is announced; who claims it too is noticed, and answered once',
  async (t) => {
    const w = new World()
    w.nicA.announce(ip(A), w.now)
    w.run()
    w.hub.deliver()
    t.match(w.seen, [{ dstMac: ALL_NODES_MAC, src: A, dst: 'ff02::1', hops: 255 }])
    t.equal(w.seen[0]?.payload[4], 0x20)
    const claim = Buffer.concat([
      Buffer.from([136, 0, 0, 0, 0x20, 0, 0, 0]),
      octets(A),
      linkOption(2, MAC_X),
    ])
    w.icmp(ALL_NODES_MAC, 'fd77::77', 'ff02::1', claim)
    t.match(w.nicA, { conflicts: 1, conflictMac: MAC_X })
    w.icmp(ALL_NODES_MAC, A, 'ff02::1', claim)
    t.match(w.nicA, { conflicts: 2 }, 'also in our own name')
  },
)

t.test('T1: echo requests are answered, in fragments as they came', async (t) => {
  const w = new World()
  w.icmp(GROUP_A, 'fd77::77', SOLICITED_A, solicitation(A, MAC_X))
  const echo = Buffer.concat([Buffer.from([128, 0, 0, 0, 1, 2, 3, 4]), Buffer.alloc(3000, 'abc')])
  w.icmp(MAC_A, 'fd77::77', A, Buffer.from(echo.subarray(0, 200)), 64)
  t.match(w.seen, [{ src: A, dst: 'fd77::77', next: 58 }])
  t.ok(isGood(w.seen[0] as Seen))
  t.same(w.seen[0]?.payload.subarray(4), echo.subarray(4, 200))
  echo.writeUInt16BE(checksum('fd77::77', A, 58, echo), 2)
  const fragment = (from: number, to: number) => {
    const header = Buffer.from([58, 0, 0, 0, 0, 0, 0, 9])
    header.writeUInt16BE(from | (to < echo.length ? 1 : 0), 2)
    return Buffer.concat([header, echo.subarray(from, to)])
  }
  w.send(MAC_A, 'fd77::77', A, 44, fragment(1440, 2880))
  w.send(MAC_A, 'fd77::77', A, 44, fragment(2880, echo.length))
  t.same(w.seen, [])
  w.send(MAC_A, 'fd77::77', A, 44, fragment(0, 1440))
  t.match(w.seen, [{ next: 44 }, { next: 44 }, { next: 44 }])
  const text = Buffer.concat(w.seen.map(({ payload }) => payload.subarray(8)))
  t.same(text.subarray(4), echo.subarray(4))
  t.equal(checksum(A, 'fd77::77', 58, text), 0)
  t.same(w.a.drops.toJSON(), {})
})

t.test(
  'T1 T6: what a host must refuse is refused, and its sender told where it may be',
  async (t) => {
    const w = new World()
    w.icmp(GROUP_A, 'fd77::77', SOLICITED_A, solicitation(A, MAC_X))
    const option = (type: number) => Buffer.from([59, 0, type, 4, 0, 0, 0, 0])
    const asked = (payload: Buffer, next: number, dstMac = MAC_A): number[][] => {
      w.send(dstMac, 'fd77::77', A, next, payload)
      return w.seen.map(({ payload: p }) => [p[0] ?? 0, p[1] ?? 0, p.readUInt32BE(4)])
    }
    t.same(asked(option(0x1e), 60), [], 'an option to skip')
    t.same(asked(option(0x5e), 60), [], 'an option to drop for in silence')
    t.same(asked(option(0x9e), 60), [[4, 2, 42]], 'an option to tell of')
    t.same(asked(option(0x9e), 60, BROADCAST_MAC), [], 'not when many heard it')
    t.same(
      asked(Buffer.from([59, 2, 0, 1, 0, 0, 0, 0, ...octets(B)]), 43),
      [[4, 0, 42]],
      'RFC 5095',
    )
    t.same(asked(Buffer.alloc(20), 132), [[4, 1, 6]], 'no such protocol')
    const udp = Buffer.from([0, 9, 0, 9, 0, 8, 0, 0])
    t.same(asked(udp, 17), [], 'RFC 8200 §8.1: a datagram without checksum')
    udp.writeUInt16BE(checksum('fd77::77', A, 17, udp), 6)
    t.same(asked(udp, 17), [[1, 4, 0]], 'no such port')
    w.send(MAC_A, '::ffff:10.0.0.1'.replace('10.0.0.1', 'a00:1'), A, 17, udp)
    w.send(MAC_A, '::1', A, 17, udp)
    w.send(MAC_A, 'ff02::1', A, 17, udp)
    t.same(w.seen, [], 'no source that a host has')
    t.equal(w.a.drops.get(DropReason.IPV6_BAD_SOURCE), 3)
    w.send(MAC_A, 'fd77::77', 'fd77::5', 17, udp)
    t.equal(w.a.drops.get(DropReason.IPV6_NOT_OURS), 1)
  },
)

t.test('T7: Packet Too Big makes segments shorter, when it quotes what is under way', async (t) => {
  const w = new World()
  const listener = w.b.listen(UNSPECIFIED, 80)
  const c = w.a.connect(ip(B), 80, w.now)
  w.run()
  listener.accept()
  c.write(Buffer.alloc(1428, 'a'), 0, 1428)
  // It departs; nobody delivers it.
  t.ok(w.a.pollTransmit(w.now))
  const says = (type: number, code: number, seq: number, mtu = 0) => {
    const quote = Buffer.alloc(48)
    quote.writeUInt32BE(0x60000000)
    quote.writeUInt16BE(1460, 4)
    quote[6] = 6
    quote.set(octets(A), 8)
    quote.set(octets(B), 24)
    quote.writeUInt16BE(c.localPort, 40)
    quote.writeUInt16BE(80, 42)
    quote.writeInt32BE(seq, 44)
    const head = Buffer.from([type, code, 0, 0, 0, 0, 0, 0])
    head.writeUInt32BE(mtu, 4)
    return Buffer.concat([head, quote])
  }
  const tooBig = (seq: number, mtu: number) => says(2, 0, seq, mtu)
  w.icmp(MAC_A, 'fd77::1', A, tooBig((c.tcb.sndNxt + 5000) | 0, 1280), 64)
  t.equal(c.sender.mss, 1428, 'RFC 5927: not under way')
  w.icmp(MAC_A, 'fd77::1', A, tooBig(c.tcb.sndUna, 1500), 64)
  t.equal(c.sender.mss, 1428, 'no news')
  w.icmp(MAC_A, 'fd77::1', A, tooBig(c.tcb.sndUna, 100), 64)
  t.equal(c.sender.mss, 1280 - 60 - 12, 'RFC 8201: never less than every link carries')
  c.write(Buffer.alloc(10, 'b'), 0, 10)
  t.ok(w.a.pollTransmit(w.now))
  w.icmp(MAC_A, 'fd77::1', A, says(3, 1, c.tcb.sndUna), 64)
  t.equal(c.softError, '', 'a reassembly that ran out of time says nothing of the way')
  w.icmp(MAC_A, 'fd77::1', A, says(3, 0, c.tcb.sndUna), 64)
  t.equal(c.softError, 'EHOSTUNREACH', 'hops that ran out do (RFC 9293 §3.9.2.2)')
})

t.test('T6: malformed packets of all kinds are dropped and counted', async (t) => {
  const w = new World()
  let state = 99
  const random = (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return (state >>> 8) % below
  }
  for (let i = 0; i < 5000; i++) {
    const payload = Buffer.from(Array.from({ length: random(120) }, () => random(256)))
    const next = [0, 6, 17, 43, 44, 51, 58, 59, 60][random(9)] ?? 0
    w.send([MAC_A, GROUP_A, ALL_NODES_MAC][random(3)] ?? 0, 'fd77::77', A, next, payload)
  }
  const drops = w.a.drops.toJSON()
  t.ok((drops['ipv6-bad-header-chain'] ?? 0) > 100, JSON.stringify(drops))
  t.ok((drops['icmp-bad-checksum'] ?? 0) > 100)
})
