/**
 * Strict mode by hand (D2): nodes without a link, of which only the owner hears the client unless a test plays it to others.
 */
import t from 'tap'
import { MemoryCheckpointStorage } from '../../../cluster/memory-store.js'
import type { NodeReport } from '../../../cluster/node-actions.js'
import type { PermanencySet, StrictTerms } from '../../../cluster/node-options.js'
import type { Shadow } from '../../../cluster/shadow.js'
import { decodeStrictMessage, StrictEncoder } from '../../../cluster/strict-message.js'
import { LAG_MS, PASS_OVER_MS, type StrictMode, TURN_MS } from '../../../cluster/strict-mode.js'
import {
  type Connection,
  Frame,
  firstUnshared,
  OPENING,
  parseIpAddress,
  Segment,
  TCB_FIELDS,
  TcpState,
} from '../../../stack/index.js'
import {
  ACK,
  decodeEthernet,
  decodeIp,
  decodeTcp,
  encodeEthernet,
  encodeIp,
  encodeTcp,
  FIN,
  SYN,
  type TcpFields,
} from '../../packet/codec.js'
import { ONE, type Party, party, TRUSTING } from './party.js'

const CLIENT = parseIpAddress('10.0.0.7', 'client')
const ADDRESS = parseIpAddress('10.0.0.100', 'address')
const CLIENT_MAC = 0x02_00_00_00_aa_01
const PORT = 40_000
const IRS = 1000

type Fields = Partial<TcpFields> & Pick<TcpFields, 'flags'>

// Carries what the nodes tell each other until they are silent; `live` are those that hear and speak.
function carry(live: readonly Party[], now: number): void {
  for (const from of live) {
    for (const to of live) {
      if (to !== from) to.node.handleHeartbeat(from.node.options.id, now, now)
    }
  }
  for (let busy = true; busy; ) {
    busy = false
    for (const from of live) {
      from.node.beginTurn(now)
      from.node.handleTimeout(now)
      for (let a = from.node.pollAction(); a !== null; a = from.node.pollAction()) {
        if (a.kind === 'report') from.asked.push(a)
        if (a.kind === 'fence') from.node.handleFenced(a.node, true, now)
        if (a.kind !== 'send' && a.kind !== 'tell') continue
        for (const to of live) {
          if (to === from || (a.kind === 'tell' && a.node !== to.node.options.id)) continue
          busy = true
          to.node.handleMessage(from.node.options.id, a.bytes, now)
        }
      }
    }
  }
}

// Node 1 owns, others stand by and know everything.
function company(count: number, strict: StrictTerms): { all: Party[]; now: number } {
  const storage = new MemoryCheckpointStorage()
  const sets: PermanencySet[] = ONE.map((set) => ({ ...set, strict }))
  const all = Array.from({ length: count }, (_, i) => party(i + 1, storage, sets))
  for (const { node } of all) node.start(0)
  for (const now of [0, 400, 900, 1400]) carry(all, now)
  const [one] = all as [Party]
  one.stack.listen(ADDRESS, 80)
  one.nic.neighbors.learn(CLIENT, CLIENT_MAC, 1400)
  return { all, now: 1400 }
}

function clientSays({ stack, nic }: Party, now: number, fields: Fields): void {
  const tcp = {
    srcPort: PORT,
    dstPort: 80,
    seq: IRS + 1,
    ack: 0,
    wnd: 60_000,
    text: Buffer.alloc(0),
    ...fields,
  }
  const ip = encodeIp(CLIENT, ADDRESS, 6, encodeTcp(tcp, CLIENT, ADDRESS))
  const bytes = encodeEthernet(nic.mac, CLIENT_MAC, 0x0800, ip)
  const frame = new Frame()
  frame.reset()
  frame.bytes.set(bytes, frame.start)
  frame.end = frame.start + bytes.length
  stack.receive(nic, frame, now)
}

// TCP segments that `from` sends now.
function leaves({ stack }: Party, now: number): TcpFields[] {
  const sent: TcpFields[] = []
  for (let f = stack.pollTransmit(now); f !== null; f = stack.pollTransmit(now)) {
    const { etherType, payload } = decodeEthernet(Buffer.from(f.bytes.slice(f.start, f.end)))
    if (etherType !== 0x0800) continue
    const ip = decodeIp(payload)
    if (ip.protocol === 6) sent.push(decodeTcp(ip.payload, ip.src, ip.dst))
  }
  return sent
}

const connectionOf = ({ stack }: Party) => [...stack.tcp.demux.connections()][0] as Connection
const shadowOf = ({ own }: Party) => own.snooper.table.find(80, CLIENT, PORT) as Shadow
const strictOf = ({ own }: Party) => own.snooper.strict as StrictMode

function differences(connection: Connection, shadow: Shadow): string[] {
  const tolerated = ['tsOffset', 'tsRecentAt']
  return TCB_FIELDS.filter(
    (field) => !tolerated.includes(field) && connection.tcb[field] !== shadow.tcb[field],
  ).map((field) => `${field}: ${connection.tcb[field]}, ${shadow.tcb[field]}`)
}

const OPTIONS = { mss: 1400, windowScale: 5, sackPermitted: true, ts: [77, 0] as [number, number] }

// A connection that only the owner has heard; its handshake is done.
function opened(
  strict: StrictTerms,
  count = 3,
): { all: Party[]; one: Party; iss: number; now: number } {
  const { all, now } = company(count, strict)
  const one = all[0] as Party
  clientSays(one, now, { seq: IRS, flags: SYN, ...OPTIONS })
  carry(all, now)
  const [answer] = leaves(one, now)
  const iss = (answer as TcpFields).seq
  clientSays(one, now, { flags: ACK, ack: iss + 1, ts: [78, 0] })
  carry(all, now)
  leaves(one, now)
  return { all, one, iss, now }
}

t.test('D2: a SYN that no peer has heard is answered when all know of the connection', (t) => {
  const { all, now } = company(3, { peers: 1, alone: 'hold' })
  const [one, two, three] = all as [Party, Party, Party]
  clientSays(one, now, { seq: IRS, flags: SYN, ...OPTIONS })
  t.same(leaves(one, now), [], 'nothing leaves by itself')
  carry([one, two], now)
  t.equal(leaves(one, now).length, 0, 'node 3 is in line, too, and has not heard of it')
  carry(all, now + 30)
  const [answer] = leaves(one, now + 30)
  t.match(answer, { flags: SYN | ACK, ack: IRS + 1 })
  for (const peer of [two, three]) {
    t.same(differences(connectionOf(one), shadowOf(peer)), [], 'the shadow is as if it had heard')
    t.equal(shadowOf(peer).tcb.state, TcpState.SYN_RECEIVED)
  }
  t.end()
})

t.test('D2: text and FIN that no peer has heard are said to them, and acknowledged then', (t) => {
  const { all, one, iss, now } = opened({ peers: 1, alone: 'hold' })
  const text = Buffer.from('only the owner hears this')
  clientSays(one, now, { flags: ACK | FIN, ack: iss + 1, text, ts: [79, 0] })
  carry(all, now)
  t.equal(leaves(one, now).length, 0, 'a moment is left to them to hear it')
  t.equal(connectionOf(one).readable, 0)
  carry(all, now + LAG_MS)
  carry(all, now + LAG_MS + TURN_MS)
  t.match(leaves(one, now + LAG_MS + TURN_MS), [{ ack: IRS + 1 + text.length + 1 }])
  t.equal(connectionOf(one).readable, text.length)
  for (const peer of all.slice(1)) {
    const { tcb, buffers } = shadowOf(peer)
    t.equal(tcb.state, TcpState.CLOSE_WAIT)
    const heard = Buffer.alloc(text.length)
    buffers.received.copyTo(0, text.length, heard, 0)
    t.equal(heard.toString(), text.toString())
  }
  t.ok(strictOf(one).stats.said >= 4)
  t.equal(strictOf(one).waiting, 0)
  t.end()
})

t.test('D2: who hears by itself says so at the end of its turn, once', (t) => {
  const { all, one, iss, now } = opened({ peers: 2, alone: 'hold' })
  const seg = new Segment()
  Object.assign(seg, { seq: IRS + 1, ack: iss + 1, flags: ACK, wnd: 1800, hasTimestamps: true })
  Object.assign(seg, { tsVal: 80, text: Buffer.from('heard'), textEnd: 5 })
  clientSays(one, now, {
    flags: ACK,
    ack: iss + 1,
    wnd: 1800,
    text: Buffer.from('heard'),
    ts: [80, 0],
  })
  const [, two, three] = all as [Party, Party, Party]
  const said = strictOf(one).stats.said
  two.own.snooper.observe(seg, 'inbound', 80, CLIENT, PORT, CLIENT_MAC, now)
  carry(all, now)
  t.equal(leaves(one, now).length, 0, 'one of two')
  three.own.snooper.observe(seg, 'inbound', 80, CLIENT, PORT, CLIENT_MAC, now)
  carry(all, now)
  t.match(leaves(one, now), [{ ack: IRS + 6 }])
  t.equal(strictOf(one).stats.said, said, 'nothing had to be said again')
  two.node.beginTurn(now)
  t.equal(two.node.pollAction(), null, 'what was told is not told again')
  t.end()
})

t.test('D2: with too few peers the owner holds, or goes on and says so', (t) => {
  for (const alone of ['hold', 'go-on'] as const) {
    const { all, one, iss, now } = opened({ peers: 2, alone }, 3)
    const [, two] = all as [Party, Party]
    clientSays(one, now, { flags: ACK, ack: iss + 1, text: Buffer.from('text'), ts: [79, 0] })
    // Node 3 is silent from now on, and out of the line a while later.
    let acked = 0
    for (let at = now; at <= now + 3000; at += 20) {
      carry([one, two], at)
      acked += leaves(one, at).filter(({ ack }) => ack === IRS + 5).length
    }
    t.equal(one.node.peers.isUp(3), false)
    t.equal(acked > 0, alone === 'go-on', `${alone}: acknowledged ${acked} times`)
    t.equal(strictOf(one).stats.unprotected > 0, alone === 'go-on')
    const reports = one.asked.map((a) => (a as { report: NodeReport }).report)
    const state = alone === 'hold' ? 'held' : 'unprotected'
    t.match(
      reports.filter(({ event }) => event === 'strict'),
      [{ event: 'strict', state, confirming: 1, peers: 2 }],
      'told once',
    )
    // It comes back.
    for (let at = now + 3020; at <= now + 5000; at += 20) {
      carry(all, at)
      acked += leaves(one, at).filter(({ ack }) => ack === IRS + 5).length
    }
    t.ok(acked > 0, 'what was held goes on')
    t.equal(strictOf(one).state, 'kept')
  }
  t.end()
})

t.test('D2: a peer that does not keep up is passed over when enough others do', (t) => {
  for (const peers of [1, 2]) {
    const { all, one, iss, now } = opened({ peers, alone: 'hold' })
    const [, two, three] = all as [Party, Party, Party]
    // It lives, and takes nothing.
    strictOf(three).peer.handleSaid = () => true
    clientSays(one, now, { flags: ACK, ack: iss + 1, text: Buffer.from('text'), ts: [79, 0] })
    let ackedAt = 0
    for (let at = now; at <= now + 2 * PASS_OVER_MS; at += 10) {
      carry(all, at)
      const acks = leaves(one, at).filter(({ ack }) => ack === IRS + 5)
      if (acks.length > 0 && ackedAt === 0) ackedAt = at - now
    }
    t.equal(shadowOf(two).tcb.rcvNxtOffset, 4)
    t.equal(shadowOf(three).tcb.rcvNxtOffset, 0)
    if (peers === 1) t.ok(ackedAt >= PASS_OVER_MS, `passed over after ${ackedAt} ms`)
    else t.equal(ackedAt, 0, 'not when it is needed')
    t.equal(strictOf(one).stats.passedOver, peers === 1 ? 1 : 0)
  }
  t.end()
})

t.test('D2: output that a peer has not heard belongs into a checkpoint', (t) => {
  const { all, one, iss, now } = opened({ peers: 1, alone: 'hold' })
  const c = connectionOf(one)
  c.write(Buffer.from('an answer'), 0, 9)
  t.equal(leaves(one, now).length, 1)
  t.equal(firstUnshared(c), 0, 'sent, and heard by nobody')
  const [, two, three] = all as [Party, Party, Party]
  const seg = new Segment()
  Object.assign(seg, {
    seq: iss + 1,
    ack: IRS + 1,
    flags: ACK,
    wnd: 1000,
    text: Buffer.from('an answer'),
  })
  seg.textEnd = 9
  for (const peer of [two, three])
    peer.own.snooper.observe(seg, 'outbound', 80, CLIENT, PORT, 0, now)
  t.equal(firstUnshared(c), 0, 'nobody has said so yet: peers do not speak for output alone')
  clientSays(one, now, { flags: ACK, ack: iss + 1, text: Buffer.from('more'), ts: [79, 0] })
  carry(all, now)
  carry(all, now + LAG_MS)
  carry(all, now + LAG_MS + TURN_MS)
  t.equal(firstUnshared(c), 9, 'they do with the next input')
  t.end()
})

t.test('D2: behind a take-over the peers tell the new owner what they have', (t) => {
  const { all, now } = opened({ peers: 1, alone: 'hold' })
  const [, two, three] = all as [Party, Party, Party]
  two.stack.listen(ADDRESS, 80)
  for (let at = now; at <= now + 1500; at += 10) carry([two, three], at)
  t.equal(two.own.state, 'owner')
  const c = connectionOf(two)
  t.equal(c.receiver.confirmed, 0)
  t.same(strictOf(two).confirming, [3])
  t.equal(strictOf(two).waiting, 0)
  t.end()
})

t.test('D2: that our side has ended is said to who has not heard it', (t) => {
  const { all, one, iss, now } = opened({ peers: 1, alone: 'hold' })
  const c = connectionOf(one)
  c.shutdown()
  t.equal(leaves(one, now).length, 1, 'the FIN leaves, and nobody hears it')
  clientSays(one, now, { flags: ACK, ack: iss + 2, ts: [79, 0] })
  for (const at of [now, now + LAG_MS, now + LAG_MS + TURN_MS]) carry(all, at)
  for (const peer of all.slice(1)) {
    t.equal(shadowOf(peer).tcb.sndFinSent, 1)
    t.equal(shadowOf(peer).tcb.sndFin, c.tcb.sndFin)
  }
  t.equal(strictOf(one).waiting, 0)
  t.end()
})

t.test('D2: a peer that starts again confirms nothing by what it said in an earlier life', (t) => {
  const { all, one, iss, now } = opened({ peers: 1, alone: 'hold' }, 2)
  const storage = new MemoryCheckpointStorage()
  const text = Buffer.from('text')
  clientSays(one, now, { flags: ACK, ack: iss + 1, text, ts: [79, 0] })
  for (const at of [now, now + 10, now + 20]) carry(all, at)
  t.equal(connectionOf(one).receiver.confirmed, 4)
  const sets = ONE.map((set) => ({ ...set, strict: { peers: 1, alone: 'hold' } as const }))
  const again = party(2, storage, sets, 0x02_00_00_00_00_02, 2000)
  again.node.start(now + 3000)
  carry([one, again], now + 3000)
  t.same(strictOf(one).confirming, [], 'it has not told anything yet')
  for (let at = now + 3010; at < now + 6000; at += 10) carry([one, again], at)
  t.same(strictOf(one).confirming, [2], 'it has learned all from a snapshot, and tells')
  t.equal(shadowOf(again).tcb.rcvNxtOffset, 4)
  t.end()
})

t.test('D2: messages that are malformed, of another term or about nobody are refused', (t) => {
  const encoder = new StrictEncoder(TRUSTING, 1, 7)
  const key = {
    binding: 1,
    localAddress: ADDRESS,
    localPort: 80,
    remoteAddress: CLIENT,
    remotePort: PORT,
  }
  const flows = [
    { key, iss: 5, irs: -6, received: OPENING, sent: 0, fin: false },
    { key, iss: 5, irs: -6, received: 2 ** 40, sent: 9, fin: true },
  ]
  const have = encoder.have(flows)
  t.same(decodeStrictMessage(have, TRUSTING), { binding: 1, epoch: 7, kind: 'have', flows })
  const seg = new Segment()
  Object.assign(seg, { seq: -3, ack: 4, flags: SYN | ACK, wnd: 5, mss: 1400, windowScale: 7 })
  seg.text = Buffer.from('xtext')
  seg.textStart = 1
  seg.textEnd = 5
  const said = decodeStrictMessage(encoder.said(key, 'outbound', seg), TRUSTING)
  t.match(said, {
    kind: 'said',
    direction: 'outbound',
    key,
    seg: { seq: -3, mss: 1400, textLength: 4 },
  })
  for (let length = 0; length < have.length; length++) {
    // The authenticator of these tests believes everybody.
    const found = decodeStrictMessage(have.subarray(0, length), TRUSTING)
    t.ok(found === null || (found.kind === 'have' && found.flows.length < 2))
  }
  t.same(decodeStrictMessage(encoder.tell(), TRUSTING), { binding: 1, epoch: 7, kind: 'tell' })
  const bad = encoder.have([{ ...(flows[0] as (typeof flows)[0]), received: -2 }])
  t.equal(decodeStrictMessage(bad, TRUSTING), null, 'less than our SYN is nothing to tell of')
  const { all, one, iss } = opened({ peers: 1, alone: 'hold' })
  const before = strictOf(one).stats.refused
  const tell = (epoch: number, of: object) => {
    const message = new StrictEncoder(TRUSTING, 1, epoch).have([
      { ...(flows[0] as (typeof flows)[0]), ...of },
    ])
    one.node.handleMessage(2, message, 2000)
  }
  tell(one.own.epoch + 1, { iss, irs: IRS, received: 0 })
  tell(one.own.epoch, { iss: iss + 1, irs: IRS, received: 0 })
  tell(one.own.epoch, { iss, irs: IRS + 1, received: 0 })
  t.equal(strictOf(one).stats.refused, before + 3)
  const two = all[1] as Party
  two.node.handleMessage(
    3,
    new StrictEncoder(TRUSTING, 1, two.own.epoch).said(key, 'inbound', seg),
    2000,
  )
  t.equal(strictOf(two).stats.refused, 1, 'only the owner says again what was said')
  t.end()
})
