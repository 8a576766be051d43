/** P12: a peer beyond the link, behind one or two routers of which each may fail (RFC 1122 §3.3.1.4). */
import t from 'tap'
import { Frame, type Nic, parseIpv4Address, Stack } from '../../stack/index.js'
import { type ArpFields, decodeArp, decodeEthernet, encodeArp, encodeEthernet } from './codec.js'
import { LOCAL, LOCAL_MAC } from './peer.js'

const FIRST = { ip: parseIpv4Address('10.0.0.51'), mac: 0x02_00_00_00_00_51 }
const SECOND = { ip: parseIpv4Address('10.0.0.52'), mac: 0x02_00_00_00_00_52 }
const BEYOND = parseIpv4Address('192.0.2.9')

class World {
  readonly stack = new Stack({ rng: { u32: () => 7 }, secret: new Int32Array(4) })
  readonly nic: Nic
  now = 0
  /** Routers that answer. */
  readonly up = new Set([FIRST, SECOND])
  /** By whom each segment left, and when. */
  readonly left: { at: number; by: typeof FIRST | undefined }[] = []
  readonly asked: number[] = []

  constructor(...routers: (typeof FIRST)[]) {
    this.nic = this.stack.addNic({ mac: LOCAL_MAC, mtu: 1500 })
    this.nic.setAddress(LOCAL, 24, 'assigned')
    for (const { ip } of routers) this.nic.routes.addGateway(ip)
  }

  run(ms: number): void {
    for (const end = this.now + ms; this.now < end; this.now += 10) {
      this.stack.handleTimeout(this.now)
      for (let f = this.stack.pollTransmit(this.now); f !== null; ) {
        this.#take(Buffer.from(f.bytes.subarray(f.start, f.end)))
        f = this.stack.pollTransmit(this.now)
      }
    }
  }

  #take(bytes: Buffer): void {
    const { dst, etherType, payload } = decodeEthernet(bytes)
    if (etherType !== 0x0806) {
      this.left.push({ at: this.now, by: [FIRST, SECOND].find(({ mac }) => mac === dst) })
      return
    }
    const { operation, targetIp } = decodeArp(payload)
    if (operation !== 1) return
    this.asked.push(targetIp)
    for (const router of this.up) if (router.ip === targetIp) this.speaks(router, 2)
  }

  /** A router answers, or asks for us. */
  speaks({ ip, mac }: typeof FIRST, operation: number): void {
    this.hears(LOCAL_MAC, {
      operation,
      senderMac: mac,
      senderIp: ip,
      targetMac: 0,
      targetIp: LOCAL,
    })
  }

  hears(dst: number, arp: ArpFields): void {
    const bytes = encodeEthernet(dst, arp.senderMac, 0x0806, encodeArp(arp))
    const frame = new Frame()
    frame.bytes.set(bytes, frame.start)
    frame.end = frame.start + bytes.length
    this.stack.receive(this.nic, frame, this.now)
  }
}

t.test('P12: what goes beyond the link leaves by the preferred router', (t) => {
  const w = new World(FIRST, SECOND)
  w.stack.connect(BEYOND, 80, w.now)
  w.run(500)
  t.same(w.asked, [FIRST.ip])
  t.same(w.left, [{ at: 0, by: FIRST }])
  t.end()
})

t.test(
  'P12: a router that has died is found out by what is not answered, and the next one is used',
  (t) => {
    const w = new World(FIRST, SECOND)
    w.speaks(FIRST, 1)
    w.run(1500)
    w.up.delete(FIRST)
    w.stack.connect(BEYOND, 80, w.now)
    w.run(4000)
    t.same(
      w.left.map(({ by }) => by),
      [FIRST, FIRST, SECOND],
      'the SYN again after a second finds nobody, and three seconds later its next repetition another way',
    )
    t.same(w.asked.slice(0, 4), [FIRST.ip, FIRST.ip, FIRST.ip, SECOND.ip])
    w.up.add(FIRST)
    w.speaks(FIRST, 1)
    w.run(5000)
    t.equal(w.left.at(-1)?.by, FIRST, 'the preferred one is back as soon as it says something')
    t.end()
  },
)

t.test('P12: where only the peer is silent its router is asked, answers, and stays', (t) => {
  const w = new World(FIRST, SECOND)
  w.speaks(FIRST, 1)
  w.run(1500)
  w.stack.connect(BEYOND, 80, w.now)
  w.run(4000)
  t.same(
    w.left.map(({ by }) => by),
    [FIRST, FIRST, FIRST],
  )
  t.ok(w.asked.length > 0)
  t.ok(w.asked.every((ip) => ip === FIRST.ip))
  t.end()
})

t.test('P12: when no router answers, a connection that is being opened learns it', (t) => {
  const w = new World(FIRST, SECOND)
  w.up.clear()
  const connection = w.stack.connect(BEYOND, 80, w.now)
  w.run(2900)
  t.equal(connection.error, '')
  w.run(4000)
  t.equal(connection.error, 'EHOSTUNREACH')
  t.same(w.asked.slice(0, 6), [...Array(3).fill(FIRST.ip), ...Array(3).fill(SECOND.ip)])
  t.end()
})

t.test('P12: who does not speak from an address learns its routers by listening', (t) => {
  const w = new World(FIRST, SECOND)
  w.nic.setAddress(LOCAL, 24, 'observed')
  const other = 0x02_00_00_00_00_77
  const arp = {
    operation: 2,
    senderMac: SECOND.mac,
    senderIp: SECOND.ip,
    targetMac: other,
    targetIp: LOCAL,
  }
  w.hears(other, arp)
  t.equal(w.nic.neighbors.lookup(SECOND.ip), SECOND.mac)
  w.hears(other, { ...arp, senderIp: parseIpv4Address('10.0.0.9') })
  t.equal(w.nic.neighbors.size, 1, 'but nobody else')
  w.nic.hops.learn(BEYOND, SECOND.mac, w.now)
  t.equal(w.nic.neighbors.lookup(FIRST.ip), SECOND.mac, 'who has brought frames is there')
  w.nic.hops.learn(BEYOND, FIRST.mac, w.now)
  t.equal(w.nic.neighbors.lookup(FIRST.ip), SECOND.mac, 'and need not be the one that is preferred')
  t.end()
})
