/**
 * Connections that another node serves than the owner of their binding: the fail-over directive, and what follows from it. The nodes hear
 * each other and one client on a hub; what they say beside it is carried by hand.
 */
import t from 'tap'
import {
  decodeFlowMessage,
  encodeFlowMessage,
  FlowMessageKind,
} from '../../../cluster/flow-message.js'
import type { NodeReport, Ownership } from '../../../cluster/index.js'
import { MemoryCheckpointStorage } from '../../../cluster/memory-store.js'
import { Frame, parseIpv4Address } from '../../../stack/index.js'
import {
  ACK,
  encodeArp,
  encodeEthernet,
  encodeIp,
  encodeTcp,
  PROTOCOL,
  RST,
  SYN,
} from '../../packet/codec.js'
import { attend, ONE, type Party, party, TRUSTING } from './party.js'

const STEP = 10
const CLIENT = parseIpv4Address('10.0.0.9')
const VIRTUAL = parseIpv4Address('10.0.0.100')
const CLIENT_MAC = 0x02_00_00_00_00_99
const macOf = (id: number): number => 0x02_00_00_00_00_00 + id

/** What somebody said for the virtual address. */
interface Said {
  readonly by: number
  readonly port: number
  readonly flags: number
  readonly seq: number
}

class Cluster {
  readonly parties: Party[] = []
  readonly dead = new Set<Party>()
  readonly said: Said[] = []
  readonly reports: { readonly by: number; readonly report: NodeReport }[] = []
  now = 1000

  constructor(count: number) {
    const storage = new MemoryCheckpointStorage()
    for (let id = 1; id <= count; id++) this.parties.push(party(id, storage, ONE, macOf(id)))
    for (const each of this.parties) each.stack.listen(0 as never, 80)
    // What these tests let a node miss is not to be had any more: else it would be fetched, and nothing would be lacking.
    for (const { own } of this.parties) {
      if (own.snooper.repair !== null) own.snooper.repair.enabled = false
    }
    for (const { node } of this.parties) node.start(this.now)
    this.run(1000)
    for (const { nic } of this.parties) nic.neighbors.learn(CLIENT, CLIENT_MAC, this.now)
  }

  of(id: number): Party {
    return this.parties[id - 1] as Party
  }

  own(id: number): Ownership {
    return this.of(id).own
  }

  get living(): Party[] {
    return this.parties.filter((each) => !this.dead.has(each))
  }

  /** What the client says, heard by all but `deaf`. */
  says(fields: object, to: number, deaf: readonly number[] = []): void {
    const tcp = encodeTcp(
      { dstPort: 80, wnd: 9000, text: Buffer.alloc(0), ...fields } as never,
      CLIENT,
      VIRTUAL,
    )
    const ip = encodeIp(CLIENT, VIRTUAL, PROTOCOL.TCP, tcp)
    this.#hear(Buffer.from(encodeEthernet(macOf(to), CLIENT_MAC, 0x0800, ip)), 0, deaf)
    this.run(STEP)
  }

  asksWhoHas(): number[] {
    this.said.length = 0
    const arp = encodeArp({
      operation: 1,
      senderMac: CLIENT_MAC,
      senderIp: CLIENT,
      targetMac: 0,
      targetIp: VIRTUAL,
    })
    this.#hear(Buffer.from(encodeEthernet(0xffff_ffff_ffff, CLIENT_MAC, 0x0806, arp)), 0, [])
    const answered: number[] = []
    for (const each of this.living) {
      for (const frame of this.#frames(each)) {
        if (frame.readUInt16BE(12) === 0x0806 && frame.readUInt16BE(20) === 2)
          answered.push(each.node.options.id)
      }
    }
    return answered
  }

  /** One handshake of the client's, heard by all but `deaf`. */
  connects(port: number, deaf: readonly number[] = []): number {
    this.said.length = 0
    this.says({ srcPort: port, seq: 100, ack: 0, flags: SYN }, 1, deaf)
    const iss = this.said.find((each) => each.port === port)?.seq ?? 0
    this.says({ srcPort: port, seq: 101, ack: iss + 1, flags: ACK }, 1, deaf)
    return iss
  }

  run(ms: number): void {
    for (const end = this.now + ms; this.now < end; this.now += STEP) {
      for (const each of this.living) {
        const { node, stack } = each
        node.beginTurn(this.now)
        stack.handleTimeout(this.now)
        attend(node, this.now)
        for (let c = stack.pollReady(); c !== null; c = stack.pollReady()) c.events = 0
        for (const frame of this.#frames(each)) this.#hear(frame, node.options.id, [])
        for (const other of this.living) {
          if (other !== each) node.handleHeartbeat(other.node.options.id, this.now, this.now)
        }
      }
      for (const each of this.living) this.#act(each)
    }
  }

  /** The process ends; every fence around it is confirmed. */
  kill(id: number): void {
    this.dead.add(this.of(id))
    for (const { node } of this.living) node.handleChannel(id, false, this.now)
    this.run(600)
  }

  #act(from: Party): void {
    const { id } = from.node.options
    for (let a = from.node.pollAction(); a !== null; a = from.node.pollAction()) {
      if (a.kind === 'fence')
        from.node.handleFenced(a.node, this.dead.has(this.of(a.node)), this.now)
      else if (a.kind === 'report') this.reports.push({ by: id, report: a.report })
      else if (a.kind === 'send' || a.kind === 'tell') {
        for (const to of this.living) {
          if (to === from || (a.kind === 'tell' && a.node !== to.node.options.id)) continue
          to.node.handleMessage(id, a.bytes, this.now)
        }
      }
    }
  }

  #frames({ stack }: Party): Buffer[] {
    const sent: Buffer[] = []
    for (let f = stack.pollTransmit(this.now); f !== null; f = stack.pollTransmit(this.now)) {
      sent.push(Buffer.from(f.bytes.subarray(f.start, f.end)))
    }
    return sent
  }

  #hear(bytes: Buffer, by: number, deaf: readonly number[]): void {
    if (by !== 0 && bytes.readUInt16BE(12) === 0x0800 && bytes[23] === PROTOCOL.TCP) {
      const tcp = 34
      this.said.push({
        by,
        port: bytes.readUInt16BE(tcp + 2),
        flags: bytes[tcp + 13] ?? 0,
        seq: bytes.readUInt32BE(tcp + 4),
      })
    }
    for (const { node, stack, nic } of this.living) {
      if (node.options.id === by || deaf.includes(node.options.id)) continue
      const frame = new Frame(2048)
      frame.bytes.set(bytes, frame.start)
      frame.end = frame.start + bytes.length
      stack.receive(nic, frame, this.now)
    }
  }

  events(name: string): { by: number; report: NodeReport }[] {
    return this.reports.filter(({ report }) => report.event === name)
  }
}

// Two connections; of the second the node `deaf` misses octets that the owner acknowledges.
function withGap(cluster: Cluster, deaf: readonly number[]): { first: number; second: number } {
  cluster.connects(4001)
  const second = cluster.connects(4002)
  cluster.says(
    { srcPort: 4002, seq: 101, ack: second + 1, flags: ACK, text: Buffer.from('question') },
    1,
    deaf,
  )
  cluster.run(100)
  return { first: 4001, second }
}

t.test('P20: what the new owner lacks another peer goes on with, and it alone', (t) => {
  const cluster = new Cluster(3)
  const { second } = withGap(cluster, [2])
  cluster.said.length = 0
  cluster.kill(1)
  t.equal(cluster.own(2).state, 'owner', 'the first of the policy owns the binding')
  t.equal(cluster.own(3).state, 'standby')
  t.match(cluster.events('takeover')[0]?.report, { to: 2, promoted: 1, passedOn: 1, givenUp: {} })
  t.match(cluster.events('flow-passed'), [{ by: 2, report: { node: 3, remote: '10.0.0.9:4002' } }])
  t.match(cluster.events('flow-carried'), [{ by: 3, report: { node: 2 } }])
  const speakers = (port: number) => [
    ...new Set(cluster.said.filter((x) => x.port === port).map(({ by }) => by)),
  ]
  t.same(speakers(4001), [2])
  t.same(speakers(4002), [3])
  t.ok(
    cluster.said.every(({ flags }) => (flags & RST) === 0),
    'nobody is reset',
  )
  // The client sends to whom ARP names, and is answered by who serves the connection.
  cluster.said.length = 0
  cluster.says(
    { srcPort: 4002, seq: 109, ack: second + 1, flags: ACK, text: Buffer.from('more') },
    2,
  )
  cluster.run(100)
  t.same(speakers(4002), [3])
  t.same(cluster.asksWhoHas(), [2], 'P13: one answers for the address')
  t.match(
    [2, 3].map((id) => cluster.of(id).nic.addressOf(VIRTUAL)?.state),
    ['assigned', 'shared'],
  )
  // New connections are the owner's.
  cluster.said.length = 0
  cluster.says({ srcPort: 4003, seq: 100, ack: 0, flags: SYN }, 2)
  t.same(speakers(4003), [2])
  t.end()
})

t.test('P20: a peer that lacks it too passes it on to the next one', (t) => {
  const cluster = new Cluster(4)
  withGap(cluster, [2, 3])
  cluster.kill(1)
  t.match(cluster.events('flow-passed'), [{ by: 2, report: { node: 4 } }])
  t.same(
    [3, 4].map((id) => cluster.of(id).stack.tcp.demux.size),
    [0, 1],
  )
  t.end()
})

t.test('P20, S2: when nobody can go on with it the connection ends at once, by its reset', (t) => {
  const cluster = new Cluster(3)
  const { second } = withGap(cluster, [2, 3])
  cluster.said.length = 0
  cluster.kill(1)
  const resets = cluster.said.filter(({ flags }) => (flags & RST) !== 0)
  t.match(resets, [{ by: 2, port: 4002, seq: (second + 1) >>> 0 }])
  t.match(cluster.events('flow-lost'), [{ by: 2, report: { reason: 'gap', localPort: 80 } }])
  t.end()
})

t.test('P20, D4: when the peer that took it dies another one does, and the last resets it', (t) => {
  const cluster = new Cluster(4)
  const { second } = withGap(cluster, [2])
  cluster.kill(1)
  t.match(cluster.events('flow-passed'), [{ report: { node: 3 } }])
  cluster.kill(3)
  t.match(cluster.events('flow-passed'), [{}, { report: { node: 4 } }])
  cluster.said.length = 0
  cluster.says({ srcPort: 4002, seq: 109, ack: second + 1, flags: ACK, text: Buffer.from('x') }, 2)
  cluster.run(100)
  t.same([...new Set(cluster.said.filter((x) => x.port === 4002).map(({ by }) => by))], [4])
  cluster.kill(4)
  t.match(cluster.events('flow-lost'), [{ by: 2 }])
  t.end()
})

t.test(
  'P20, D3: the next owner leaves it to the peer that serves it, and inherits the rest',
  (t) => {
    const cluster = new Cluster(4)
    withGap(cluster, [2])
    cluster.kill(1)
    cluster.kill(2)
    t.equal(cluster.own(3).state, 'owner', 'which is the one that serves it')
    t.match(cluster.own(3).carriage.counts, { carried: 0, away: 0 })
    t.equal(cluster.of(3).stack.tcp.demux.size, 2)
    t.equal(cluster.of(4).stack.tcp.demux.size, 0)
    t.end()
  },
)

t.test(
  'P20, P12: who serves it hears what is sent to the address of whoever owns the binding next',
  (t) => {
    const cluster = new Cluster(4)
    withGap(cluster, [2])
    cluster.kill(1)
    t.equal(cluster.own(2).state, 'owner')
    t.match(cluster.own(3).carriage.counts, { carried: 1 })
    t.equal(cluster.of(3).nic.takes(macOf(2)), true)
    t.equal(cluster.of(3).nic.takes(macOf(4)), false)
    cluster.of(2).node.switchover(4, cluster.now)
    cluster.run(200)
    t.equal(cluster.own(4).state, 'owner')
    t.match(cluster.own(3).carriage.counts, { carried: 1 })
    t.equal(cluster.of(3).nic.takes(macOf(4)), true)
    t.end()
  },
)

t.test('P20: when the connection is over its endpoints are the owner’s again', (t) => {
  const cluster = new Cluster(3)
  const { second } = withGap(cluster, [2])
  cluster.kill(1)
  cluster.said.length = 0
  cluster.says({ srcPort: 4002, seq: 100, ack: 0, flags: SYN }, 2)
  t.ok(
    cluster.said.every(({ by }) => by === 3),
    'no new connection while it lasts',
  )
  cluster.says({ srcPort: 4002, seq: 109, ack: second + 1, flags: RST | ACK }, 2)
  cluster.run(300)
  t.match(cluster.own(3).carriage.counts, { carried: 0 })
  t.match(cluster.own(2).carriage.counts, { away: 0 })
  t.equal(cluster.of(3).nic.addressOf(VIRTUAL)?.state, 'observed')
  cluster.said.length = 0
  cluster.says({ srcPort: 4002, seq: 900, ack: 0, flags: SYN }, 2)
  t.match(cluster.said, [{ by: 2, port: 4002 }])
  t.end()
})

t.test('P20, D3: a peer that was stopped serves it no more, until it is asked again', (t) => {
  const cluster = new Cluster(3)
  withGap(cluster, [2])
  cluster.kill(1)
  cluster.of(3).node.handleLeaseLost(cluster.now)
  t.match(cluster.own(3).carriage.counts, { carried: 0 })
  t.equal(cluster.of(3).stack.tcp.demux.size, 0)
  cluster.run(2000)
  t.match(cluster.own(3).carriage.counts, { carried: 1 })
  t.match(cluster.events('flow-lost'), [])
  t.end()
})

t.test('P20: a message that is damaged is none', (t) => {
  const key = {
    binding: 1,
    localAddress: VIRTUAL,
    localPort: 80,
    remoteAddress: CLIENT,
    remotePort: 4002,
  } as never
  const message = { kind: FlowMessageKind.TAKE, epoch: 7, key, iss: -5, irs: 9 }
  const bytes = encodeFlowMessage(message, TRUSTING)
  t.same(decodeFlowMessage(bytes, TRUSTING), message)
  t.equal(decodeFlowMessage(bytes.subarray(1), TRUSTING), null)
  t.equal(decodeFlowMessage(bytes, { ...TRUSTING, verify: () => false }), null)
  bytes[4] = 9
  t.equal(decodeFlowMessage(bytes, TRUSTING), null)
  t.end()
})
