/**
 * Gap repair by hand: three nodes without a link; what one of them misses is simply not played to it.
 */
import t from 'tap'
import { KEPT_INPUT, RESCUE_MS, SETTLE_MS } from '../../../cluster/gap-repair.js'
import { MemoryCheckpointStorage } from '../../../cluster/memory-store.js'
import {
  decodeRepairMessage,
  RepairEncoder,
  type RepairMessage,
} from '../../../cluster/repair-message.js'
import type { Shadow } from '../../../cluster/shadow.js'
import {
  ACK,
  DropReason,
  FIN,
  PSH,
  parseIpAddress,
  Segment,
  type Seq,
  StreamBuffer,
  SYN,
} from '../../../stack/index.js'
import { attend, type Party, party, TRUSTING } from './party.js'

const CLIENT = parseIpAddress('10.0.0.7', 'client')
const PORT = 40_000
const ISS = 5000
const IRS = 1000

interface Said {
  readonly inbound: boolean
  readonly flags: number
  readonly seq: number
  readonly ack: number
  readonly text: string
}

const inbound = (seq: number, ack: number, text: string, flags = ACK | PSH): Said => ({
  inbound: true, flags, seq, ack, text,
}) // biome-ignore format: one segment on a line
const outbound = (seq: number, ack: number, text: string, flags = ACK): Said => ({
  inbound: false, flags, seq, ack, text,
}) // biome-ignore format: one segment on a line

const OPENING = [
  inbound(IRS, 0, '', SYN),
  outbound(ISS, IRS + 1, '', SYN | ACK),
  inbound(IRS + 1, ISS + 1, '', ACK),
]

// `node` overhears `said`.
function hear({ own }: Party, said: readonly Said[], now: number): void {
  for (const { inbound, flags, seq, ack, text } of said) {
    const seg = new Segment()
    seg.seq = seq as Seq
    seg.ack = ack as Seq
    seg.flags = flags
    seg.wnd = 60_000
    seg.text = Buffer.from(text)
    seg.textEnd = text.length
    own.snooper.observe(seg, inbound ? 'inbound' : 'outbound', 80, CLIENT, PORT, 0, now)
  }
}

function shadowOf({ own }: Party): Shadow {
  return own.snooper.table.find(80, CLIENT, PORT) as Shadow
}

// Carries what the nodes tell each other until they are silent; `live` are those that still hear.
function carry(parties: readonly Party[], live: readonly Party[], now: number): RepairMessage[] {
  const carried: RepairMessage[] = []
  for (const from of live) {
    for (const to of live) {
      if (to !== from) to.node.handleHeartbeat(from.node.options.id, now, now)
    }
  }
  for (let busy = true; busy; ) {
    busy = false
    for (const from of live) {
      attend(from.node, now)
      for (let a = from.node.pollAction(); a !== null; a = from.node.pollAction()) {
        if (a.kind === 'report') from.asked.push(a)
        if (a.kind === 'fence') {
          from.node.handleFenced(a.node, true, now)
          busy = true
        }
        if (a.kind !== 'send' && a.kind !== 'tell') continue
        for (const to of parties) {
          if (to === from || !live.includes(to)) continue
          if (a.kind === 'tell' && a.node !== to.node.options.id) continue
          busy = true
          const repair = decodeRepairMessage(a.bytes, TRUSTING)
          if (repair !== null && repair.kind !== 'report') carried.push(repair)
          to.node.handleMessage(from.node.options.id, a.bytes, now)
        }
      }
    }
  }
  return carried
}

// Node 1 owns; 2 and 3 stand by and know that they know everything.
function trio(): { all: Party[]; one: Party; two: Party; three: Party } {
  const storage = new MemoryCheckpointStorage()
  const all = [1, 2, 3].map((id) => party(id, storage))
  const [one, two, three] = all as [Party, Party, Party]
  for (const { node } of all) node.start(0)
  carry(all, all, 0)
  carry(all, all, 400)
  for (const now of [900, 1400]) carry(all, all, now)
  return { all, one, two, three }
}

t.test('D1: a peer that missed input asks for exactly that, and has it from another peer', (t) => {
  const { all, two, three } = trio()
  hear(two, OPENING, 1500)
  hear(three, OPENING, 1500)
  const said = [
    inbound(IRS + 1, ISS + 1, 'abcde'),
    inbound(IRS + 6, ISS + 1, 'fgh'),
    inbound(IRS + 9, ISS + 1, 'ij'),
  ]
  const acked = outbound(ISS + 1, IRS + 11, '')
  hear(three, [...said, acked], 1501)
  hear(two, [said[0], said[2], acked] as Said[], 1501)
  t.equal(shadowOf(two).verdict, 'gap')
  t.same(carry(all, all, 1501), [], 'it may have been the order only')
  const carried = carry(all, all, 1501 + SETTLE_MS)
  // The owner holds no such connection, so the other peer is asked next.
  t.same(
    carried.map(({ kind }) => kind),
    ['ask', 'none', 'ask', 'text'],
  )
  t.match(carried[0], { ranges: [{ side: 'received', from: 5, to: 8 }] })
  t.match(carried[3], { offset: 5, bytes: Buffer.from('fgh') })
  t.equal(shadowOf(two).verdict, 'ready')
  const text = new Uint8Array(10)
  shadowOf(two).buffers.received.copyTo(0, 10, text, 0)
  t.equal(Buffer.from(text).toString(), 'abcdefghij')
  t.match(two.own.snooper.repair?.stats, { seen: 1, repaired: 1, vain: 0, refused: 0 })
  t.end()
})

t.test('D1: a missed FIN and missed output are asked for, too', (t) => {
  const { all, two, three } = trio()
  const said = [
    ...OPENING,
    inbound(IRS + 1, ISS + 1, 'abc'),
    outbound(ISS + 1, IRS + 4, 'one '),
    outbound(ISS + 5, IRS + 4, 'two '),
    inbound(IRS + 4, ISS + 1, 'd', ACK | FIN),
    outbound(ISS + 9, IRS + 6, 'three'),
  ]
  hear(three, said, 1500)
  hear(
    two,
    said.filter((_, index) => index !== 4 && index !== 6),
    1500,
  )
  carry(all, all, 1500 + SETTLE_MS)
  const { tcb, buffers, verdict } = shadowOf(two)
  t.equal(verdict, 'ready')
  t.equal(tcb.finReceived, true)
  t.equal(tcb.state, shadowOf(three).tcb.state)
  t.equal(tcb.rcvNxtOffset, shadowOf(three).tcb.rcvNxtOffset)
  t.equal(buffers.sent.contiguousEnd, 13)
  t.end()
})

t.test('D1: what nobody has stays a gap, which is counted, and is not asked for again', (t) => {
  const { all, two, three } = trio()
  const said = [...OPENING, outbound(ISS + 1, IRS + 4, '')]
  hear(two, said, 1500)
  hear(three, said, 1500)
  carry(all, all, 1500 + SETTLE_MS)
  t.equal(shadowOf(two).verdict, 'gap')
  t.match(two.own.snooper.repair?.stats, { seen: 1, repaired: 0, vain: 1 })
  t.same(carry(all, all, 1600), [])
  t.equal(two.own.snooper.repair?.protection.percent(1600), 0, 'and is no protection')
  t.end()
})

t.test(
  'D1: answers that nobody asked for, of another term or connection, are refused and counted',
  (t) => {
    const { all, two, three } = trio()
    hear(two, OPENING, 1500)
    hear(three, OPENING, 1500)
    const { key } = shadowOf(two)
    const { epoch } = two.own
    const tell = (term: number, iss: number, irs: number): void => {
      const encoder = new RepairEncoder(TRUSTING, 1, term)
      const run = { side: 'received', offset: 0, fin: false } as const
      const bytes = encoder.text({ key, iss, irs }, run, 3, (into, at) => into.set([1, 2, 3], at))
      two.node.handleMessage(3, bytes, 1500)
    }
    tell(epoch, ISS, IRS)
    t.equal(two.own.snooper.repair?.stats.refused, 1, 'not asked for')
    hear(two, [outbound(ISS + 1, IRS + 4, '')], 1500)
    attend(two.node, 1500 + SETTLE_MS)
    tell(epoch + 1, ISS, IRS)
    tell(epoch, ISS + 1, IRS)
    tell(epoch, ISS, IRS + 1)
    t.equal(two.own.snooper.repair?.stats.refused, 4)
    t.equal(shadowOf(two).verdict, 'gap')
    tell(epoch, ISS, IRS)
    t.equal(shadowOf(two).verdict, 'ready', 'and the right one is taken')
    void all
    t.end()
  },
)

t.test('D1: a malformed message is no message', (t) => {
  const encoder = new RepairEncoder(TRUSTING, 1, 7)
  const key = {
    binding: 1,
    localAddress: CLIENT,
    localPort: 1,
    remoteAddress: CLIENT,
    remotePort: 2,
  }
  const ask = encoder.ask({ key, iss: 1, irs: 2 }, [{ side: 'sent', from: 3, to: 9 }])
  t.match(decodeRepairMessage(ask, TRUSTING), {
    kind: 'ask',
    ranges: [{ side: 'sent', from: 3, to: 9 }],
  })
  for (let length = 0; length < ask.length; length++) {
    t.equal(decodeRepairMessage(ask.subarray(0, length), TRUSTING), null)
  }
  const empty = encoder.ask({ key, iss: 1, irs: 2 }, [{ side: 'sent', from: 9, to: 9 }])
  t.equal(decodeRepairMessage(empty, TRUSTING), null)
  t.end()
})

t.test(
  'D1 D4: behind the death of the owner a connection waits for its text, and is taken over with it',
  (t) => {
    const { all, one, two, three } = trio()
    const said = [...OPENING, inbound(IRS + 1, ISS + 1, 'abcde'), outbound(ISS + 1, IRS + 6, '')]
    hear(three, said, 1500)
    hear(
      two,
      said.filter((_, index) => index !== 3),
      1500,
    )
    two.node.handleChannel(1, false, 1501)
    carry(all, [two], 1501)
    t.equal(two.own.state, 'owner')
    t.equal(two.own.snooper.repair?.waiting, 1, 'it is neither promoted nor reset')
    t.equal(two.stack.tcp.demux.find(two.own.binding.address, 80, CLIENT, PORT), undefined)
    const late = new Segment()
    late.srcPort = PORT
    late.dstPort = 80
    late.flags = ACK
    two.stack.tcp.receive(late, two.own.binding.address, CLIENT, 1502, false)
    t.equal(two.stack.drops.get(DropReason.TCP_QUIET), 1, 'its client is not answered by a reset')
    // The third node has not heard of the claim yet, and answers nothing of a term that it does not know.
    two.own.answer = true
    carry(all, [two, three], 1500 + RESCUE_MS / 2)
    const live = two.stack.tcp.demux.find(two.own.binding.address, 80, CLIENT, PORT)
    t.equal(live?.readable, 5)
    t.equal(two.stack.tcp.hushed.size, 0)
    t.match(two.asked.at(-1), { report: { event: 'repaired', promoted: 1, givenUp: {} } })
    void one
    t.end()
  },
)

t.test('D1: and when no answer comes in time it is given up, and named', (t) => {
  const { all, two } = trio()
  hear(two, [...OPENING, outbound(ISS + 1, IRS + 6, '')], 1500)
  two.node.handleChannel(1, false, 1501)
  carry(all, [two], 1501)
  t.equal(two.own.snooper.repair?.waiting, 1)
  carry(all, [two], 1502 + RESCUE_MS)
  t.equal(two.own.snooper.repair?.waiting, 0)
  t.match(two.asked.at(-1), { report: { event: 'repaired', promoted: 0, givenUp: { gap: 1 } } })
  t.end()
})

t.test('D1: an owner keeps what its application has read, within a limit', (t) => {
  const text = new StreamBuffer(1 << 20)
  text.keep = KEPT_INPUT
  const chunk = new Uint8Array(10_000)
  let at = 0
  while (at < 3 * KEPT_INPUT) {
    for (let i = 0; i < chunk.length; i++) chunk[i] = (at + i) % 251
    text.put(at, chunk, 0, chunk.length)
    at += chunk.length
    text.trim(at)
  }
  t.equal(text.readable, 0)
  t.equal(text.floor, at - KEPT_INPUT)
  t.ok(text.size <= 4 * KEPT_INPUT)
  const kept = new Uint8Array(KEPT_INPUT)
  text.copyTo(text.floor, KEPT_INPUT, kept, 0)
  t.ok(kept.every((octet, i) => octet === (text.floor + i) % 251))
  t.end()
})

t.test('D5: of connections that rest at their checkpoint the store is not asked again', (t) => {
  const { all, one, two } = trio()
  let looks = 0
  const { checkpoints } = two.node.world
  const look = checkpoints.inputOffset.bind(checkpoints)
  checkpoints.inputOffset = (...flow) => {
    looks++
    return look(...flow)
  }
  hear(two, [...OPENING, inbound(IRS + 1, ISS + 1, 'ab'), outbound(ISS + 1, IRS + 3, '')], 1500)
  const { key, tcb } = shadowOf(two)
  const percent = (now: number) => two.own.snooper.repair?.protection.percent(now)
  const commit = (input: number): void => {
    const { iss, irs } = tcb
    const checkpoint = { iss, irs, input, output: 0, unsent: new Uint8Array(0), state: null }
    one.node.world.checkpoints.put(key, checkpoint)
    one.node.world.checkpoints.flush()
  }
  t.equal(percent(1501), 100)
  commit(2)
  for (const now of [1502, 1503, 1504]) t.equal(percent(now), 100)
  t.equal(looks, 2, 'until it rested')
  hear(two, [inbound(IRS + 3, ISS + 1, 'c'), outbound(ISS + 1, IRS + 4, '')], 1505)
  t.equal(percent(1506), 100)
  t.equal(looks, 3, 'and when more has come')
  // What was read before it was overheard here is not to be had.
  shadowOf(two).buffers.received.restart(3)
  t.equal(percent(1507), 0)
  carry(all, [two], 1508)
  t.end()
})
