/**
 * UDP: which socket a datagram is for, the bounds of the queues, and two stacks on a hub that speak UDP and IP fragments.
 */
import t from 'tap'
import { DropReason } from '../../../stack/base/counters.js'
import type { Rng } from '../../../stack/base/time.js'
import { Hub } from '../../../stack/link/hub.js'
import type { Nic, NicConfig } from '../../../stack/net/nic.js'
import { MAX_UDP_DATA, Udp, UdpEvent, type UdpSocket } from '../../../stack/net/udp.js'
import { Stack } from '../../../stack/stack.js'
import { EthernetHeader, EtherType, parseEthernet } from '../../../stack/wire/ethernet.js'
import { Frame } from '../../../stack/wire/frame.js'
import {
  emitIpv4,
  type Ipv4Address,
  Ipv4Header,
  parseIpv4,
  parseIpv4Address,
  UNSPECIFIED,
} from '../../../stack/wire/ipv4.js'
import { emitUdp } from '../../../stack/wire/udp.js'

const A = parseIpv4Address('10.0.0.1')
const B = parseIpv4Address('10.0.0.2')
const C = parseIpv4Address('10.0.0.3')

function seeded(): Rng {
  let state = 7
  return { u32: () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) }
}

function deliver(udp: Udp, src: Ipv4Address, srcPort: number, dst: Ipv4Address, port: number) {
  return udp.deliver(Buffer.from('x'), src, srcPort, dst, port, false)
}

t.test('T9: a datagram goes to the socket that is bound to the most', async (t) => {
  const udp = new Udp(seeded())
  t.equal(deliver(udp, B, 9, A, 53), DropReason.UDP_NO_PORT)
  const any = udp.bind(UNSPECIFIED, 53, true)
  const bound = udp.bind(A, 53, true)
  const younger = udp.bind(A, 53, true)
  const connected = udp.bind(UNSPECIFIED, 53, true)
  connected.remoteAddress = B
  connected.remotePort = 9
  const takes = (socket: UdpSocket): boolean => socket.receive() !== null && !socket.receive()
  t.equal(deliver(udp, B, 8, A, 53), DropReason.NONE)
  t.ok(takes(younger), 'the youngest of equals')
  t.notOk(takes(bound))
  deliver(udp, B, 9, C, 53)
  t.ok(takes(connected), 'connected to the sender')
  deliver(udp, B, 8, C, 53)
  t.ok(takes(any))
  udp.close(younger)
  deliver(udp, B, 8, A, 53)
  t.ok(takes(bound))
  for (const socket of [any, bound, connected]) udp.close(socket)
  t.equal(deliver(udp, B, 9, A, 53), DropReason.UDP_NO_PORT)
})

t.test('T9: a port is bound once, unless all agree; ephemeral ports differ', async (t) => {
  const udp = new Udp(seeded())
  udp.bind(A, 53)
  t.throws(() => udp.bind(A, 53), { code: 'EADDRINUSE' })
  t.throws(() => udp.bind(UNSPECIFIED, 53, true), { code: 'EADDRINUSE' })
  t.equal(udp.bind(B, 53).localPort, 53, 'another address')
  const ports = new Set(Array.from({ length: 500 }, () => udp.bind(UNSPECIFIED, 0).localPort))
  t.equal(ports.size, 500)
  t.ok(
    [...ports].every((port) => port >= 32_768 && port < 61_000),
    'RFC 6056',
  )
})

t.test('T6: what waits to be read and to be sent is bounded, empty datagrams too', async (t) => {
  const udp = new Udp(seeded())
  const socket = udp.bind(A, 53)
  socket.receiveLimit = 10_000
  let taken = 0
  while (udp.deliver(new Uint8Array(0), B, 9, A, 53, false) === DropReason.NONE) taken++
  t.ok(taken > 10 && taken < 100, `${taken} empty datagrams wait`)
  while (socket.receive() !== null) taken--
  t.equal(taken, 0)
  t.equal(udp.deliver(new Uint8Array(60_000), B, 9, A, 53, false), DropReason.NONE, 'one always')
  socket.sendLimit = 10_000
  const send = (length: number): void => udp.send(socket, new Uint8Array(length), A, B, 9)
  t.throws(() => send(MAX_UDP_DATA + 1), { code: 'EMSGSIZE' })
  send(4000)
  send(4000)
  t.throws(() => send(4000), { code: 'ENOBUFS' })
  t.same([socket.sendQueueOctets, socket.sendQueueCount], [8000, 2])
  while (udp.pollOutgoing() !== null);
  t.same([socket.sendQueueOctets, socket.sendQueueCount], [0, 0])
  send(4000)
})

interface End {
  readonly stack: Stack
  readonly nic: Nic
  readonly frames: string[]
}

/** Stacks on one segment; `run` carries frames until nobody has any. */
class Segment {
  readonly hub: Hub
  readonly ends: End[] = []
  now = 1000

  constructor(mtu = 1500) {
    this.hub = new Hub({ mtu })
  }

  add(address: Ipv4Address, config: Partial<NicConfig> = {}): End {
    const mac = 0x0200_0000_0000 + this.ends.length + 1
    const stack = new Stack({ rng: seeded(), secret: new Int32Array(4) })
    const nic = stack.addNic({ mac, mtu: this.hub.mtu, ...config })
    nic.setAddress(address, 24, 'assigned')
    const port = this.hub.addPort(mac)
    const frames: string[] = []
    port.attach({
      onFrame: (frame) => {
        frames.push(describe(frame))
        stack.receive(nic, frame, this.now)
      },
      onBatchEnd: () => {},
    })
    const end = { stack, nic, frames }
    this.ends.push(end)
    this.#ports.push(port)
    return end
  }

  readonly #ports: { transmit(frame: Frame): boolean }[] = []

  run(): void {
    do {
      this.ends.forEach(({ stack }, i) => {
        for (let f = stack.pollTransmit(this.now); f !== null; f = stack.pollTransmit(this.now)) {
          if (this.#ports[i]?.transmit(f) === false) throw new Error('a frame is too long')
        }
      })
    } while (this.hub.deliver() > 0)
  }
}

const ethernet = new EthernetHeader()
const ip = new Ipv4Header()

function describe(frame: Frame): string {
  parseEthernet(ethernet, frame)
  if (ethernet.etherType === EtherType.ARP) return 'arp'
  parseIpv4(ip, frame.view, ethernet.payloadStart, ethernet.payloadEnd)
  const where = ip.isFragment ? ` at ${ip.fragmentOffset}${ip.flags & 1 ? '+' : ''}` : ''
  const code = ip.protocol === 1 ? `/${frame.view.getUint16(ip.payloadStart).toString(16)}` : ''
  return `${ip.protocol}${code} ${ip.payloadEnd - ip.payloadStart}${where}`
}

function textOf(length: number): Buffer {
  return Buffer.from(Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8)) & 255))
}

t.test('T1 T9: datagrams of every length arrive, the long ones as fragments', async (t) => {
  const s = new Segment()
  const a = s.add(A)
  const b = s.add(B)
  const from = a.stack.udp.bind(UNSPECIFIED, 5000)
  const to = b.stack.udp.bind(B, 53)
  for (const length of [0, 1, 1471, 1472, 1473, 2952, 2953, 9000, 65_507]) {
    const data = textOf(length)
    a.stack.sendDatagram(from, data, B, 53)
    s.run()
    const got = to.receive()
    t.match(got, { address: A, port: 5000 })
    t.ok(data.equals(got?.data ?? Buffer.alloc(1)), `${length} octets`)
    const sent = b.frames.splice(0).filter((f) => f !== 'arp')
    t.equal(sent.length, Math.ceil((length + 8) / 1480), `${length}: ${sent[0]}`)
    if (length === 2953) t.same(sent, ['17 1480 at 0+', '17 1480 at 1480+', '17 1 at 2960'])
  }
  t.match(b.stack.pollDatagrams(), { events: UdpEvent.READABLE })
  t.throws(() => a.stack.sendDatagram(from, textOf(65_508), B, 53), { code: 'EMSGSIZE' })
  t.same(b.stack.drops.toJSON(), {})
})

t.test('T1: a long echo request is answered, in fragments, as it came', async (t) => {
  const s = new Segment()
  const a = s.add(A)
  const b = s.add(B)
  const request = Buffer.concat([Buffer.from([8, 0, 0, 0, 1, 2, 3, 4]), textOf(5000)])
  let sum = 0
  for (let i = 0; i < request.length; i += 2) sum += request.readUInt16BE(i)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  request.writeUInt16BE(~sum & 0xffff, 2)
  a.stack.connect(B, 1, s.now)
  s.run()
  const frame = new Frame()
  for (let at = 0; at < request.length; at += 1480) {
    frame.reset()
    const piece = request.subarray(at, at + 1480)
    frame.bytes.set(piece, frame.start)
    frame.end = frame.start + piece.length
    emitIpv4(frame, A, B, 1, 77, 64, at + 1480 < request.length ? 1 : 0, 0, at)
    a.nic.egress(frame, A, B, s.now)
    b.stack.receive(b.nic, frame, s.now)
  }
  a.frames.length = 0
  s.run()
  t.same(a.frames, [
    '1/0 1480 at 0+',
    `1/${request.readUInt16BE(8 + 1472).toString(16)} 1480 at 1480+`,
    `1/${request.readUInt16BE(2960).toString(16)} 1480 at 2960+`,
    `1/${request.readUInt16BE(4440).toString(16)} 568 at 4440`,
  ])
})

t.test(
  'T1 F2: a datagram that never becomes whole is reported when its first fragment is there',
  async (t) => {
    const s = new Segment()
    const a = s.add(A)
    const b = s.add(B)
    const from = a.stack.udp.bind(A, 5000)
    b.stack.udp.bind(B, 53)
    a.stack.sendDatagram(from, textOf(10), B, 53)
    s.run()
    for (const lost of [0, 1]) {
      a.stack.sendDatagram(from, textOf(2000), B, 53)
      for (let i = 0; i < 2; i++) {
        const frame = a.stack.pollTransmit(s.now)
        if (frame !== null && i !== lost) b.stack.receive(b.nic, frame, s.now)
      }
    }
    a.frames.length = 0
    t.equal(b.stack.nextDeadline(), s.now + 30_000)
    s.now += 30_000
    b.stack.handleTimeout(s.now)
    s.run()
    t.same(a.frames, ['1/b01 556'], 'time exceeded, code 1, about one of them')
    t.equal(b.stack.drops.get(DropReason.IP_FRAGMENT_TIMEOUT), 2)
  },
)

t.test('T9: nobody on the port: the sender is told, if it has one peer', async (t) => {
  const s = new Segment()
  const a = s.add(A)
  const b = s.add(B)
  const socket = a.stack.udp.bind(UNSPECIFIED, 5000)
  a.stack.sendDatagram(socket, textOf(5), B, 53)
  s.run()
  t.equal(a.stack.pollDatagrams(), null)
  socket.remoteAddress = B
  socket.remotePort = 53
  a.stack.sendDatagram(socket, textOf(5), B, 53)
  s.run()
  t.equal(a.stack.pollDatagrams(), socket)
  t.match(socket, { error: 'ECONNREFUSED', events: UdpEvent.ERROR })
  t.equal(b.stack.drops.get(DropReason.UDP_NO_PORT), 2)
})

t.test(
  'T9: a broadcast reaches all sockets of all hosts, is allowed first, and never reported',
  async (t) => {
    const s = new Segment()
    const a = s.add(A)
    const others = [s.add(B), s.add(C)]
    const from = a.stack.udp.bind(UNSPECIFIED, 5000)
    const all = parseIpv4Address('10.0.0.255')
    t.throws(() => a.stack.sendDatagram(from, textOf(5), all, 67), { code: 'EACCES' })
    from.broadcast = true
    const sockets = others.flatMap(({ stack }) => [
      stack.udp.bind(UNSPECIFIED, 67, true),
      stack.udp.bind(UNSPECIFIED, 67, true),
    ])
    for (const dst of [all, parseIpv4Address('255.255.255.255')]) {
      for (const length of [5, 3000]) {
        a.stack.sendDatagram(from, textOf(length), dst, 67)
        s.run()
        t.ok(sockets.every((socket) => socket.receive()?.data.length === length))
      }
    }
    a.stack.sendDatagram(from, textOf(5), all, 68)
    s.run()
    t.same(a.frames, [], 'no ARP, no ICMP')
    t.equal(others[0]?.stack.drops.get(DropReason.UDP_NO_PORT), 1)
  },
)

t.test('RFC 1122 §4.1.3.4: without a checksum it is taken, with a wrong one not', async (t) => {
  const s = new Segment()
  const a = s.add(A)
  const socket = a.stack.udp.bind(A, 53)
  const datagram = (spoil: (frame: Frame) => void): void => {
    const frame = new Frame()
    frame.reset()
    frame.bytes.set(textOf(10), frame.start)
    frame.end = frame.start + 10
    emitUdp(frame, 9, 53, B, A, false)
    spoil(frame)
    emitIpv4(frame, B, A, 17, 1)
    frame.start -= 14
    frame.bytes.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0], frame.start)
    a.stack.receive(a.nic, frame, s.now)
  }
  datagram((frame) => frame.view.setUint16(frame.start + 6, 0))
  t.ok(socket.receive())
  datagram((frame) => frame.view.setUint8(frame.start + 12, 0xff))
  t.equal(socket.receive(), null)
  datagram((frame) => frame.view.setUint16(frame.start + 4, 19))
  datagram((frame) => frame.view.setUint16(frame.start + 4, 7))
  t.same(a.stack.drops.toJSON(), { 'udp-bad-checksum': 1, 'udp-malformed': 2 })
})

t.test('T1: hosts of a VLAN hear each other and nobody else', async (t) => {
  const s = new Segment()
  const a = s.add(A, { vlan: 5 })
  const b = s.add(B, { vlan: 5 })
  const plain = s.add(B)
  const other = s.add(B, { vlan: 6 })
  const from = a.stack.udp.bind(A, 5000)
  const got = [b, plain, other].map(({ stack }) => stack.udp.bind(UNSPECIFIED, 53))
  a.stack.sendDatagram(from, textOf(3000), B, 53)
  s.run()
  t.same(
    got.map((socket) => socket.receive()?.data.length),
    [3000, undefined, undefined],
  )
  for (const { stack } of [plain, other]) {
    t.same(stack.drops.toJSON(), { 'ethernet-other-vlan': 5 }, 'ARP both ways, three fragments')
  }
  for (const vlan of [0, 4095, 1.5, -1]) {
    t.throws(() => a.stack.addNic({ mac: 2, mtu: 1500, vlan }), { code: 'ERR_INVALID_VLAN' })
  }
})

t.test('T1: a priority tag names no VLAN, so it is no obstacle', async (t) => {
  for (const vlan of [undefined, 5]) {
    const nic = new Stack({ rng: seeded(), secret: new Int32Array(4) }).addNic({
      mac: 2,
      mtu: 1500,
      ...(vlan === undefined ? {} : { vlan }),
    })
    t.ok(nic.takesTag(0xe000))
    t.equal(nic.takesTag(0xe005), vlan === 5)
    t.equal(nic.takesTag(-1), vlan === undefined)
    t.notOk(nic.takesTag(6))
  }
})

t.test('T9: a socket reaches its own stack without a frame', async (t) => {
  const s = new Segment()
  const a = s.add(A)
  const from = a.stack.udp.bind(UNSPECIFIED, 5000)
  const to = a.stack.udp.bind(A, 53)
  a.stack.sendDatagram(from, textOf(65_507), A, 53)
  const got = to.receive()
  t.match(got, { address: A, port: 5000 })
  t.equal(got?.data.length, 65_507)
  t.equal(a.stack.pollTransmit(s.now), null)
  from.remoteAddress = A
  from.remotePort = 54
  a.stack.sendDatagram(from, textOf(1), A, 54)
  t.equal(from.error, 'ECONNREFUSED')
})

t.test('T9: a peer behind a neighbour that does not exist: its socket is told', async (t) => {
  const s = new Segment()
  const a = s.add(A)
  const socket = a.stack.udp.bind(UNSPECIFIED, 5000)
  const other = a.stack.udp.bind(UNSPECIFIED, 5001)
  socket.remoteAddress = C
  socket.remotePort = 53
  other.remoteAddress = B
  other.remotePort = 53
  a.stack.sendDatagram(socket, textOf(5), C, 53)
  for (let i = 0; i <= 3; i++) {
    s.run()
    t.equal(socket.error, '', `after ${i} s`)
    s.now += i < 3 ? 1000 : 0
    if (i === 3) a.stack.handleTimeout(s.now)
  }
  t.same([socket.error, other.error], ['EHOSTUNREACH', ''])
})
