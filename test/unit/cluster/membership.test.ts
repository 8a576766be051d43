/**
 * What a node owes its peers beside ownership: an answer to whoever asks, an identity that is not its network card, and silence while it
 * only listens.
 */
import t from 'tap'
import { clusterHash, decodeDeclaration } from '../../../cluster/declaration.js'
import type {
  ClusterNode,
  NodeReport,
  Ownership,
  OwnershipDeclaration,
} from '../../../cluster/index.js'
import { MemoryCheckpointStorage } from '../../../cluster/memory-store.js'
import { EtherType, Frame, NEVER, parseIpv4Address, type Stack } from '../../../stack/index.js'
import { EthernetHeader, parseEthernet } from '../../../stack/wire/ethernet.js'
import { ACK, encodeEthernet, encodeIp, encodeTcp, FIN, PROTOCOL, SYN } from '../../packet/codec.js'
import { attend, ONE, party, TRUSTING } from './party.js'

const VIRTUAL = '10.0.0.100'

class Member {
  readonly stack: Stack
  readonly node: ClusterNode
  readonly own: Ownership
  /** Declarations for the control channels. */
  readonly said: Uint8Array[] = []
  /** Messages for one node. */
  readonly told: Uint8Array[] = []
  readonly reports: NodeReport[] = []
  readonly #ethernet = new EthernetHeader()

  constructor(id: number, mac: number, incarnation = 1000) {
    const made = party(id, new MemoryCheckpointStorage(), ONE, mac, incarnation)
    this.stack = made.stack
    this.node = made.node
    this.own = made.own
  }

  /** Frames that leave the stack now. */
  frames(now: number): Buffer[] {
    for (let a = this.node.pollAction(); a !== null; a = this.node.pollAction()) {
      if (a.kind === 'send') this.said.push(a.bytes)
      else if (a.kind === 'tell') this.told.push(a.bytes)
      else if (a.kind === 'report') this.reports.push(a.report)
    }
    const sent: Buffer[] = []
    for (let f = this.stack.pollTransmit(now); f !== null; f = this.stack.pollTransmit(now)) {
      sent.push(Buffer.from(f.bytes.subarray(f.start, f.end)))
    }
    return sent
  }

  hears(bytes: Buffer, now: number): void {
    const frame = new Frame(2048)
    frame.bytes.set(bytes, frame.start)
    frame.end = frame.start + bytes.length
    parseEthernet(this.#ethernet, frame)
    this.node.onFrame(frame, this.#ethernet, now)
    attend(this.node, now)
  }
}

function declarationOf(frame: Buffer): OwnershipDeclaration | null {
  if (frame.readUInt16BE(12) !== EtherType.EXPERIMENTAL) return null
  const decoded = decodeDeclaration(frame.subarray(14), clusterHash('test'), TRUSTING)
  return typeof decoded === 'object' && decoded !== null ? (decoded as OwnershipDeclaration) : null
}

/** Both hear each other's frames until `until`. */
function talk(members: readonly Member[], from: number, until: number): void {
  for (let now = from; now < until; now += 10) {
    for (const member of members) {
      attend(member.node, now)
      for (const frame of member.frames(now)) {
        for (const other of members) if (other !== member) other.hears(frame, now)
      }
      for (const other of members) {
        if (other !== member) member.node.handleHeartbeat(other.node.options.id, now, now)
      }
    }
  }
}

/** An owner and a peer that knows of all connections, at 2000. */
function joined(): { owner: Member; peer: Member } {
  const owner = new Member(1, 0x0200_0000_0001)
  const peer = new Member(2, 0x0200_0000_0002)
  owner.node.start(1000)
  peer.node.start(1000)
  talk([owner, peer], 1000, 2000)
  peer.own.snooper.joining.end()
  return { owner, peer }
}

t.test('P3, P4: who boots asks, and every node that is up answers whoever asks', (t) => {
  const owner = new Member(1, 0x0200_0000_0001)
  const peer = new Member(2, 0x0200_0000_0002)
  owner.node.start(1000)
  peer.node.start(1000)
  talk([owner, peer], 1000, 2000)
  const late = new Member(3, 0x0200_0000_0003)
  late.node.start(2000)
  const [asks = Buffer.alloc(14)] = late.frames(2000)
  t.match(declarationOf(asks), { node: 3, solicit: true, binding: 1, firstPort: 1 })
  t.equal(
    asks.subarray(0, 6).toString('hex'),
    'ffffffffffff',
    'by broadcast, without a list of peers',
  )
  for (const member of [owner, peer]) {
    member.frames(2000)
    member.hears(asks, 2000)
    const [answer] = member.frames(2000).map(declarationOf)
    t.match(answer, { node: member.node.options.id, owner: 1, solicit: false }, 'an answer at once')
    // The same again, from somebody who is known by now.
    member.hears(asks, 2000)
    t.same(member.frames(2000), [], 'what is played again asks for nothing')
  }
  // It was stopped, and asks once more: it is known, and not new.
  late.frames(2000)
  late.node.handleLeaseLost(2050)
  const [again = Buffer.alloc(14)] = late.frames(2050)
  t.match(declarationOf(again), { node: 3, solicit: true })
  for (const member of [owner, peer]) {
    member.hears(again, 2050)
    const [answer] = member.frames(2050).map(declarationOf)
    t.match(
      answer,
      { node: member.node.options.id, solicit: false },
      'who is known is answered, too',
    )
  }
  t.end()
})

t.test(
  'P4, D1: who was cut off from the link asks who has come meanwhile, and for all connections',
  (t) => {
    const { owner, peer } = joined()
    const late = new Member(3, 0x0200_0000_0003)
    late.node.start(2000)
    owner.said.length = 0
    for (let now = 2000; now < 3000; now += 10) {
      talk([owner, late], now, now + 10)
      // The control channel goes on, and tells of no one who is new.
      for (const bytes of owner.said.splice(0)) peer.node.handleMessage(1, bytes, now)
      peer.node.handleHeartbeat(1, now, now)
      attend(peer.node, now)
    }
    t.equal(peer.node.peers.get(3), undefined)
    t.equal(peer.own.complete, false, 'what it knows is in doubt, and it says so')
    peer.said.length = 0
    peer.frames(3000)
    talk([owner, peer, late], 3000, 3500)
    t.match(peer.node.peers.get(3), { id: 3, up: true })
    t.match(late.node.peers.get(2), { id: 2, up: true })
    t.ok(peer.told.length > 0, 'it asks the owner for a snapshot')
    talk([owner, peer, late], 3500, 5000)
    const gaps = peer.reports.filter(({ event }) => event === 'link-gap')
    t.same(gaps, [{ event: 'link-gap', binding: 1, owner: 1 }], 'and says so once')
    t.end()
  },
)

t.test(
  'P4, D1: who was merely busy was not cut off: what the link brought waits behind what the channel did',
  (t) => {
    const { owner, peer } = joined()
    owner.said.length = 0
    const frames: Buffer[] = []
    for (let now = 2000; now < 3000; now += 10) {
      owner.node.handleHeartbeat(2, now, now)
      attend(owner.node, now)
      frames.push(...owner.frames(now))
    }
    peer.node.handleHeartbeat(1, 3000, 3000)
    t.ok(owner.said.length > 3)
    for (const bytes of owner.said.splice(0)) peer.node.handleMessage(1, bytes, 3000)
    for (const frame of frames) peer.hears(frame, 3000)
    talk([owner, peer], 3000, 4000)
    t.equal(peer.own.complete, true)
    t.same(
      peer.reports.filter(({ event }) => event === 'link-gap'),
      [],
    )
    t.end()
  },
)

t.test('P6: ownership is tied to the node, not to its network card', (t) => {
  const peer = new Member(2, 0x0200_0000_0002)
  const owner = new Member(1, 0x0200_0000_0001)
  peer.node.start(1000)
  owner.node.start(1000)
  talk([owner, peer], 1000, 2000)
  t.equal(peer.own.owner, 1)
  // The card is exchanged before anybody has missed the owner: the node is the same, and so is its place in the line.
  const again = new Member(1, 0x0200_0000_0077, 2000)
  again.node.start(2000)
  talk([again, peer], 2000, 2700)
  t.same([peer.own.state, again.own.state].sort(), ['owner', 'standby'])
  t.equal(peer.own.owner, again.own.owner)
  t.same(
    [...peer.node.peers.macsOf(1)].includes(0x0200_0000_0077),
    true,
    'its new card is known as its',
  )
  t.end()
})

t.test('P19, P5, P11: who shadows a connection sends nothing and sets no timer for it', (t) => {
  const owner = new Member(1, 0x0200_0000_0001)
  const peer = new Member(2, 0x0200_0000_0002)
  owner.node.start(1000)
  peer.node.start(1000)
  talk([owner, peer], 1000, 2000)
  peer.frames(2000)
  const before = peer.stack.nextDeadline()
  const CLIENT = parseIpv4Address('10.0.0.9')
  const OWNER = parseIpv4Address(VIRTUAL)
  const says = (inbound: boolean, seq: number, ack: number, flags: number, text = ''): void => {
    const [src, dst] = inbound ? [CLIENT, OWNER] : [OWNER, CLIENT]
    const [srcPort, dstPort] = inbound ? [40_000, 80] : [80, 40_000]
    const tcp = encodeTcp(
      { srcPort, dstPort, seq, ack, flags, wnd: 9000, text: Buffer.from(text) },
      src,
      dst,
    )
    peer.hears(
      Buffer.from(encodeEthernet(9, 1, 0x0800, encodeIp(src, dst, PROTOCOL.TCP, tcp))),
      2000,
    )
  }
  says(true, 100, 0, SYN)
  says(false, 500, 101, SYN | ACK)
  says(true, 101, 501, ACK)
  says(true, 101, 501, ACK, 'question')
  says(false, 501, 109, ACK, 'answer')
  const shadow = peer.own.snooper.table.find(80, CLIENT, 40_000)
  t.match(shadow, { verdict: 'ready', tcb: { rcvNxtOffset: 8, sndNxtOffset: 6 } })
  t.equal(peer.stack.tcp.demux.size, 0, 'no connection of its own')
  t.equal(
    peer.stack.nextDeadline(),
    before,
    'no retransmission, no delayed acknowledgement, no keep-alive',
  )
  // The set-up has a time limit, which finds that the connection is open; beyond it there is none.
  peer.own.snooper.handleTimeout(peer.own.snooper.nextDeadline())
  t.equal(peer.own.snooper.nextDeadline(), NEVER, 'an open connection waits for nothing')
  t.equal(peer.own.snooper.table.size, 1)
  t.same(
    peer.frames(2000).filter((frame) => declarationOf(frame) === null),
    [],
    'not a word',
  )
  says(true, 109, 507, ACK | FIN)
  says(false, 507, 110, ACK | FIN)
  says(true, 110, 508, ACK)
  t.equal(peer.own.snooper.table.size, 0, 'it ends with the last word')
  t.same(
    peer.frames(2000).filter((frame) => declarationOf(frame) === null),
    [],
  )
  t.end()
})
