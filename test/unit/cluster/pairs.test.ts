/**
 * Active opens as overheard (P16), and the pairs of a proxy (A7): who belongs to whom, what is kept, and what a take-over makes of it.
 */
import t from 'tap'
import { DoubtfulData } from '../../../cluster/declaration.js'
import { type ProxyHeader, parseBinding } from '../../../cluster/index.js'
import { passedOn, producedTo } from '../../../cluster/pairs.js'
import { hasStray, Promotion, refusesAlone, refusesPair } from '../../../cluster/promotion.js'
import { purge } from '../../../cluster/retention.js'
import type { Shadow } from '../../../cluster/shadow.js'
import { Snooper } from '../../../cluster/snooper.js'
import { decodeTcbRecord, encodeTcbRecord, type TcbRecord } from '../../../cluster/tcb-record.js'
import {
  ACK,
  DropCounters,
  parseIpv4Address,
  RST,
  Segment,
  type Seq,
  SYN,
  seq,
  TcpState,
} from '../../../stack/index.js'

const CLIENT = parseIpv4Address('10.0.0.1')
const SERVER = parseIpv4Address('10.0.0.2')
const CLIENT_IRS = 100
const CLIENT_ISS = 5000
const SERVER_IRS = 90_000
/** What the keyed hash would give. */
const PAIRED = 777_000 as Seq

function segment(flags: number, seqNo: number, ackNo: number, text = ''): Segment {
  const seg = new Segment()
  seg.flags = flags
  seg.seq = seq(seqNo)
  seg.ack = seq(ackNo)
  seg.wnd = 1000
  seg.text = Buffer.from(text)
  seg.textEnd = text.length
  return seg
}

class Wire {
  readonly snooper = new Snooper(parseBinding(1, '10.0.0.100/24'), new DropCounters(), () => PAIRED)
  #now = 1

  constructor(header?: ProxyHeader) {
    const target = { address: SERVER, port: 8080 }
    this.snooper.pairs.add(80, header === undefined ? target : { ...target, header })
  }

  client(direction: 'inbound' | 'outbound', ...args: Parameters<typeof segment>): void {
    this.snooper.observe(segment(...args), direction, 80, CLIENT, 4000, 1, this.#now++)
  }

  server(direction: 'inbound' | 'outbound', ...args: Parameters<typeof segment>): void {
    this.snooper.observe(segment(...args), direction, 40_000, SERVER, 8080, 2, this.#now++)
  }

  get clientSide() {
    return this.snooper.table.find(80, CLIENT, 4000)
  }

  get serverSide() {
    return this.snooper.table.find(40_000, SERVER, 8080)
  }

  openClient(): void {
    this.client('inbound', SYN, CLIENT_IRS, 0)
    this.client('outbound', SYN | ACK, CLIENT_ISS, CLIENT_IRS + 1)
    this.client('inbound', ACK, CLIENT_IRS + 1, CLIENT_ISS + 1)
  }

  openServer(): void {
    this.server('outbound', SYN, PAIRED, 0)
    this.server('inbound', SYN | ACK, SERVER_IRS, PAIRED + 1)
    this.server('outbound', ACK, PAIRED + 1, SERVER_IRS + 1)
  }
}

t.test('P16: an active open is followed from the owner’s SYN on', (t) => {
  const wire = new Wire()
  wire.server('outbound', SYN, PAIRED, 0)
  t.equal(wire.serverSide?.tcb.state, TcpState.SYN_SENT)
  wire.server('outbound', SYN, PAIRED, 0)
  t.equal(wire.serverSide?.tcb.sndNxtOffset, 0, 'a repeated SYN changes nothing')
  wire.server('inbound', SYN | ACK, SERVER_IRS, PAIRED + 1)
  t.equal(wire.serverSide?.tcb.state, TcpState.ESTABLISHED)
  wire.server('outbound', ACK, PAIRED + 1, SERVER_IRS + 1, 'abc')
  t.match(wire.serverSide, { verdict: 'ready', opener: true, tcb: { sndNxtOffset: 3 } })
  t.end()
})

t.test('P16: the answer to a SYN may be heard before it', (t) => {
  const wire = new Wire()
  wire.server('inbound', SYN | ACK, SERVER_IRS, PAIRED + 1)
  wire.server('outbound', SYN, PAIRED, 0)
  t.match(wire.serverSide, { verdict: 'ready', opener: true, tcb: { state: TcpState.ESTABLISHED } })
  t.end()
})

t.test('P16 P20: when the answer is never heard, the connection is not tracked', (t) => {
  const wire = new Wire()
  wire.server('outbound', SYN, PAIRED, 0)
  wire.server('outbound', ACK, PAIRED + 1, SERVER_IRS + 1, 'abc')
  wire.serverSide?.settle(50)
  t.equal(wire.serverSide?.verdict, 'untracked')
  t.equal(wire.serverSide?.resetSeq, PAIRED + 4, 'its reset is exact')
  t.end()
})

t.test('P16: a new SYN of the owner between the same endpoints begins anew', (t) => {
  const wire = new Wire()
  wire.openServer()
  const old = wire.serverSide
  wire.server('outbound', SYN, PAIRED + 5000, 0)
  t.not(wire.serverSide, old)
  t.match(wire.serverSide, { opener: true, tcb: { state: TcpState.SYN_SENT, iss: PAIRED + 5000 } })
  t.end()
})

t.test('P16: a simultaneous open is followed', (t) => {
  const wire = new Wire()
  wire.server('outbound', SYN, PAIRED, 0)
  wire.server('inbound', SYN, SERVER_IRS, 0)
  t.equal(wire.serverSide?.tcb.state, TcpState.SYN_RECEIVED)
  wire.server('outbound', SYN | ACK, PAIRED, SERVER_IRS + 1)
  wire.server('inbound', SYN | ACK, SERVER_IRS, PAIRED + 1)
  t.match(wire.serverSide, { verdict: 'ready', tcb: { state: TcpState.ESTABLISHED } })
  t.end()
})

t.test('A7: the pair is known with the SYN, before the server can have seen it', (t) => {
  const wire = new Wire()
  wire.openClient()
  t.equal(wire.clientSide?.partner, null)
  wire.server('outbound', SYN, PAIRED, 0)
  t.equal(wire.clientSide?.partner, wire.serverSide)
  t.equal(wire.serverSide?.partner, wire.clientSide)
  t.end()
})

t.test('A7: a connection with another ISS is nobody’s partner', (t) => {
  const wire = new Wire()
  wire.openClient()
  wire.server('outbound', SYN, PAIRED + 1, 0)
  t.equal(wire.clientSide?.partner, null)
  const { serverSide, clientSide } = wire
  if (serverSide === undefined || clientSide === undefined) throw new Error('no shadows')
  const { pairs } = wire.snooper
  t.equal(refusesAlone(serverSide, pairs, false), 'no-partner')
  t.equal(refusesAlone(clientSide, pairs, false), null, 'nothing of it can have reached the server')
  wire.client('inbound', ACK, CLIENT_IRS + 1, CLIENT_ISS + 1, 'x')
  t.equal(refusesAlone(clientSide, pairs, false), null)
  t.equal(refusesAlone(clientSide, pairs, true), 'partner-lost', 'it may have, by one unheard')
  wire.client('outbound', ACK, CLIENT_ISS + 1, CLIENT_IRS + 2, 'answer')
  t.equal(refusesAlone(clientSide, pairs, false), 'partner-lost', 'it has been answered')
  t.end()
})

/** What an owner would tell of the connection as it is now, `ahead` octets further on. */
function recordOf(shadow: Shadow | undefined, ahead = 0): TcbRecord {
  const record = decodeTcbRecord(encodeTcbRecord((shadow as Shadow).tcb, 7, 1))
  if (record === null) throw new Error('no record')
  record.tcb.rcvNxtOffset += ahead
  return record
}

/** A node in doubt is told of the connection to the server alone. */
function tellOfServer({ snooper, serverSide }: Wire, record: TcbRecord): void {
  const { joining } = snooper
  joining.doubt()
  joining.restart()
  joining.asked(1)
  const { round } = joining
  const { key } = serverSide as Shadow
  const head = { binding: 1, epoch: 1, round } as const
  joining.handle({ ...head, kind: 'flow', key, opener: true, record, received: 0, sent: 0 }, 1)
  joining.handle({ ...head, kind: 'install' }, 1)
}

t.test('A7 P27: a pair stays one when the owner lacks the answer of its server', (t) => {
  const wire = new Wire()
  wire.openClient()
  wire.server('outbound', SYN, PAIRED, 0)
  const told = recordOf(wire.serverSide)
  wire.server('inbound', SYN | ACK, SERVER_IRS, PAIRED + 1)
  const { serverSide, clientSide } = wire
  tellOfServer(wire, told)
  t.equal(wire.serverSide, serverSide, 'what was heard is not given up for less')
  t.equal(clientSide?.partner, serverSide)
  t.end()
})

t.test('A7 P27: a pair stays one when the snapshot of one connection takes its place', (t) => {
  const wire = new Wire()
  wire.openClient()
  wire.openServer()
  const { serverSide, clientSide } = wire
  tellOfServer(wire, recordOf(serverSide, 2 ** 31))
  t.not(wire.serverSide, serverSide, 'it is a long way on')
  t.equal(clientSide?.partner, wire.serverSide)
  t.equal(wire.serverSide?.partner, clientSide)
  t.end()
})

t.test('A7: a connection to the server that began unheard is a stray', (t) => {
  const wire = new Wire()
  t.equal(hasStray(wire.snooper.pairs, wire.snooper.table.shadows()), false)
  wire.server('inbound', ACK, 1, 1)
  t.equal(hasStray(wire.snooper.pairs, wire.snooper.table.shadows()), true)
  t.end()
})

t.test(
  'A7 P17: input is kept until it has departed to the other side, and from then on there',
  (t) => {
    const wire = introduced()
    const { serverSide, clientSide } = wire
    if (serverSide === undefined || clientSide === undefined) throw new Error('no shadows')
    purge(clientSide, passedOn(serverSide))
    t.equal(clientSide.buffers.received.start, 0, 'acknowledged to the client, and all here')
    wire.server('outbound', ACK, PAIRED + 1, SERVER_IRS + 1, '0123')
    purge(clientSide, passedOn(serverSide))
    purge(serverSide, passedOn(clientSide))
    t.equal(clientSide.buffers.received.start, 4)
    t.ok(serverSide.buffers.sent.has(0, 4), 'what has departed waits for the server')
    t.equal(refusesPair(clientSide, serverSide), null)
    t.ok(clientSide.buffers.received.has(4, 10), 'and the rest waits to be read')
    t.equal(serverSide.buffers.sent.contiguousEnd, 4)
    t.end()
  },
)

t.test('A7 D1: what the proxy passed on is proof of what it received unheard', (t) => {
  const wire = new Wire()
  wire.openClient()
  wire.openServer()
  // '0123' went by unheard.
  wire.client('inbound', ACK, CLIENT_IRS + 5, CLIENT_ISS + 1, '4567')
  wire.client('outbound', ACK, CLIENT_ISS + 1, CLIENT_IRS + 9)
  const { serverSide, clientSide } = wire
  if (serverSide === undefined || clientSide === undefined) throw new Error('no shadows')
  t.equal(clientSide.verdict, 'gap')
  t.equal(refusesPair(clientSide, serverSide), 'gap')
  wire.server('outbound', ACK, PAIRED + 1, SERVER_IRS + 1, '0123')
  t.equal(refusesPair(clientSide, serverSide), null)
  t.equal(clientSide.verdict, 'ready')
  const text = new Uint8Array(8)
  serverSide.buffers.sent.copyTo(0, 4, text, 0)
  clientSide.buffers.received.copyTo(4, 4, text, 4)
  t.equal(Buffer.from(text).toString(), '01234567')
  t.end()
})

t.test('A7 P22: what departed unheard is filled in from the other side', (t) => {
  const wire = new Wire()
  wire.openClient()
  wire.openServer()
  wire.client('inbound', ACK, CLIENT_IRS + 1, CLIENT_ISS + 1, '01234567')
  // '0123' departed unheard.
  wire.server('outbound', ACK, PAIRED + 5, SERVER_IRS + 1, '45')
  const { serverSide, clientSide } = wire
  if (serverSide === undefined || clientSide === undefined) throw new Error('no shadows')
  purge(clientSide, passedOn(serverSide))
  t.equal(refusesPair(clientSide, serverSide), null)
  const text = new Uint8Array(8)
  serverSide.buffers.sent.copyTo(0, 8, text, 0)
  t.equal(Buffer.from(text).toString(), '01234567')
  t.end()
})

t.test('A7: a partner stays known when its connection is over', (t) => {
  const wire = new Wire()
  wire.openClient()
  wire.openServer()
  const server = wire.serverSide
  wire.server('inbound', RST | ACK, SERVER_IRS + 1, PAIRED + 1)
  t.equal(wire.serverSide, undefined)
  t.equal(wire.clientSide?.partner, server)
  t.end()
})

const HEADER = 'PROXY TCP4 10.0.0.1 10.0.0.100 4000 80\r\n'

/** A pair whose client has said ten octets. */
function introduced(header?: ProxyHeader): Wire {
  const wire = new Wire(header)
  wire.openClient()
  wire.openServer()
  wire.client('inbound', ACK, CLIENT_IRS + 1, CLIENT_ISS + 1, '0123456789')
  wire.client('outbound', ACK, CLIENT_ISS + 1, CLIENT_IRS + 11)
  return wire
}

function sentBy(wire: Wire): string {
  const sent = wire.serverSide?.buffers.sent
  if (sent === undefined) throw new Error('no shadow')
  const text = new Uint8Array(sent.contiguousEnd)
  sent.copyTo(0, text.length, text, 0)
  return Buffer.from(text).toString('latin1')
}

t.test('A7: a header for the server is no input of the client', (t) => {
  const wire = introduced('v1')
  const { serverSide, clientSide } = wire
  if (serverSide === undefined || clientSide === undefined) throw new Error('no shadows')
  t.equal(Buffer.from(serverSide.preface).toString('latin1'), HEADER)
  t.equal(passedOn(serverSide), 0)
  // An owner that dies in the middle of it leaves the rest of it to the next.
  wire.server('outbound', ACK, PAIRED + 1, SERVER_IRS + 1, HEADER.slice(0, 20))
  t.equal(refusesPair(clientSide, serverSide), null)
  t.equal(passedOn(serverSide), 0)
  t.equal(producedTo(serverSide), 20, 'from here on the header is said')
  wire.server('outbound', ACK, PAIRED + 21, SERVER_IRS + 1, `${HEADER.slice(20)}0123`)
  purge(clientSide, passedOn(serverSide))
  t.equal(clientSide.buffers.received.start, 4, 'behind it come the client’s octets')
  t.equal(refusesPair(clientSide, serverSide), null)
  t.ok(clientSide.buffers.received.has(4, 10))
  t.equal(passedOn(clientSide), 0, 'the other way there is none')
  t.end()
})

t.test('A7 P22: what departed unheard of a header, and behind it, is filled in', (t) => {
  const wire = introduced('v1')
  const { serverSide, clientSide } = wire
  if (serverSide === undefined || clientSide === undefined) throw new Error('no shadows')
  wire.server('outbound', ACK, PAIRED + 1, SERVER_IRS + 1, HEADER.slice(0, 5))
  wire.server('outbound', ACK, PAIRED + 1 + HEADER.length + 4, SERVER_IRS + 1, '45')
  t.equal(refusesPair(clientSide, serverSide), null)
  t.equal(sentBy(wire).slice(0, HEADER.length + 6), `${HEADER}012345`)
  t.end()
})

t.test('A7 D1: what was passed on behind a header is proof of what arrived unheard', (t) => {
  const wire = new Wire('v1')
  wire.openClient()
  wire.openServer()
  wire.client('inbound', ACK, CLIENT_IRS + 5, CLIENT_ISS + 1, '4567')
  wire.client('outbound', ACK, CLIENT_ISS + 1, CLIENT_IRS + 9)
  const { serverSide, clientSide } = wire
  if (serverSide === undefined || clientSide === undefined) throw new Error('no shadows')
  wire.server('outbound', ACK, PAIRED + 1, SERVER_IRS + 1, HEADER)
  t.equal(refusesPair(clientSide, serverSide), 'gap', 'the header proves nothing')
  wire.server('outbound', ACK, PAIRED + 1 + HEADER.length, SERVER_IRS + 1, '0123')
  t.equal(refusesPair(clientSide, serverSide), null)
  t.equal(clientSide.verdict, 'ready')
  t.ok(clientSide.buffers.received.has(4, 8))
  t.end()
})

t.test(
  'A7 D1 D5: a partner that ended unheard is nothing to go on from, and that has a name',
  (t) => {
    const wire = new Wire()
    wire.openClient()
    wire.openServer()
    const [client, server] = [wire.clientSide, wire.serverSide]
    if (client === undefined || server === undefined) throw new Error('both are open')
    wire.snooper.joining.end()
    t.equal(wire.snooper.coverage().lacks, false)
    wire.snooper.forgetUnnamed(server)
    t.equal(wire.serverSide, undefined)
    t.equal(wire.snooper.coverage().lacks, true, 'others go first')
    const resets: number[] = []
    const stack = { reset: (ends: { remotePort: number }) => resets.push(ends.remotePort) }
    const promotion = new Promotion(stack as never, {} as never, 100, DoubtfulData.DELIVER)
    promotion.promoteRest(client, server)
    t.same(promotion.count.givenUp, { 'partner-lost': 1 })
    t.same(resets, [4000])
    t.end()
  },
)
