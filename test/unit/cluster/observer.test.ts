/** The observer on hand-made traces: what it makes of each connection, whoever its endpoints are. */
import t from 'tap'
import { Observer } from '../../../cluster/observer.js'
import type { TraceConnection } from '../../../cluster/trace-connection.js'
import { DropCounters, DropReason, Frame, parseIpv4Address } from '../../../stack/index.js'
import {
  ACK,
  encodeIp,
  encodeTcp,
  FIN,
  PROTOCOL,
  PSH,
  RST,
  SYN,
  type TcpFields,
} from '../../packet/codec.js'

const CLIENT = parseIpv4Address('10.0.0.1')
const SERVER = parseIpv4Address('10.0.0.2')

type Part = Partial<Omit<TcpFields, 'text'>> & { readonly text?: string; readonly ip?: Buffer }

/** A trace between two hosts: sequence numbers as they stand, times one millisecond apart. */
class Trace {
  readonly texts: { c2s: string; s2c: string }[] = []
  readonly drops = new DropCounters()
  readonly observer: Observer
  #now = 0

  constructor(trustChecksums = false) {
    this.observer = new Observer(
      {
        trustChecksums,
        sinksFor: () => {
          const text = { c2s: '', s2c: '' }
          this.texts.push(text)
          return {
            c2s: (bytes, from, to) => {
              text.c2s += Buffer.from(bytes.subarray(from, to)).toString()
            },
            s2c: (bytes, from, to) => {
              text.s2c += Buffer.from(bytes.subarray(from, to)).toString()
            },
          }
        },
      },
      this.drops,
    )
  }

  get connections(): readonly TraceConnection[] {
    return this.observer.connections
  }

  client(part: Part): DropReason {
    return this.#put(CLIENT, SERVER, 4000, 80, part)
  }

  server(part: Part): DropReason {
    return this.#put(SERVER, CLIENT, 80, 4000, part)
  }

  /** SYN, SYN-ACK and ACK; the client's ISS is 1000, the server's 5000. */
  handshake(offers: Part = {}): this {
    this.client({ flags: SYN, seq: 1000, ...offers })
    this.server({ flags: SYN | ACK, seq: 5000, ack: 1001, ...offers })
    this.client({ flags: ACK, seq: 1001, ack: 5001 })
    return this
  }

  /** The datagram as octets, for traces that cut or change it. */
  datagram(src: number, dst: number, srcPort: number, dstPort: number, part: Part): Buffer {
    const { text = '', ...fields } = part
    const tcp: TcpFields = {
      srcPort,
      dstPort,
      seq: 0,
      ack: 0,
      flags: ACK,
      wnd: 60_000,
      ...fields,
      text: Buffer.from(text),
    }
    return encodeIp(src, dst, PROTOCOL.TCP, encodeTcp(tcp, src, dst))
  }

  take(ip: Buffer): DropReason {
    const frame = new Frame(ip.length + 8)
    frame.bytes.set(ip, 4)
    this.#now++
    return this.observer.observeIpv4(frame, 4, 4 + ip.length, this.#now)
  }

  #put(src: number, dst: number, srcPort: number, dstPort: number, part: Part): DropReason {
    return this.take(part.ip ?? this.datagram(src, dst, srcPort, dstPort, part))
  }
}

t.test('O2: a connection from its SYN to its end', async (t) => {
  const trace = new Trace().handshake({
    mss: 1460,
    windowScale: 7,
    sackPermitted: true,
    ts: [1, 0],
  })
  const [connection] = trace.connections
  t.equal(connection?.final, 'open')
  trace.client({ seq: 1001, ack: 5001, flags: PSH | ACK, text: 'hello', ts: [2, 1] })
  trace.server({ seq: 5001, ack: 1006, text: 'world', ts: [2, 1] })
  trace.client({ seq: 1006, ack: 5006, flags: FIN | ACK, ts: [3, 1] })
  t.equal(connection?.final, 'half-closed')
  trace.server({ seq: 5006, ack: 1007, flags: FIN | ACK, ts: [3, 1] })
  t.match(connection, {
    final: 'closed',
    verdict: 'ready',
    client: { address: CLIENT, port: 4000 },
    c2s: {
      octets: 5,
      offers: { mss: 1460, windowScale: 7, sackPermitted: true, timestamps: true },
    },
    s2c: { octets: 5, segments: 3, retransmissions: 0 },
  })
  t.same(trace.texts, [{ c2s: 'hello', s2c: 'world' }])
})

t.test(
  'what comes out of order, twice and overlapping: the first copy of an octet counts',
  async (t) => {
    const trace = new Trace().handshake()
    trace.client({ seq: 1005, text: 'EFGH', ack: 5001 })
    trace.client({ seq: 1003, text: 'cdXX', ack: 5001 })
    trace.client({ seq: 1001, text: 'AB', ack: 5001 })
    trace.client({ seq: 1001, text: 'zzzz', ack: 5001 })
    trace.client({ seq: 1008, text: 'yIJ', ack: 5001 })
    t.same(trace.texts[0]?.c2s, 'ABcdEFGHIJ')
    t.match(trace.connections[0]?.c2s, { retransmissions: 1, octets: 10, hasHole: false })
  },
)

t.test(
  'a hole: what lies before it counts, and the shadow knows what its owner acknowledged',
  async (t) => {
    const trace = new Trace().handshake()
    trace.client({ seq: 1001, text: 'abc', ack: 5001 })
    trace.client({ seq: 1007, text: 'ghi', ack: 5001 })
    trace.server({ seq: 5001, ack: 1010 })
    t.equal(trace.texts[0]?.c2s, 'abc')
    t.match(trace.connections[0], {
      verdict: 'gap',
      gapLength: 6,
      c2s: { octets: 3, hasHole: true },
    })
  },
)

t.test('sequence numbers wrap', async (t) => {
  const trace = new Trace()
  trace.client({ flags: SYN, seq: 0xffff_fffe })
  trace.server({ flags: SYN | ACK, seq: 0xffff_fff0, ack: 0xffff_ffff })
  trace.client({ seq: 0xffff_ffff, ack: 0xffff_fff1, text: 'ab' })
  trace.client({ seq: 3, ack: 0xffff_fff1, text: 'ef' })
  trace.client({ seq: 1, ack: 0xffff_fff1, text: 'cd' })
  t.equal(trace.texts[0]?.c2s, 'abcdef')
})

t.test('a connection that was under way: from where the first segment stands', async (t) => {
  const trace = new Trace()
  trace.server({ seq: 700, ack: 300, text: 'later' })
  trace.client({ seq: 300, ack: 705, text: 'ok' })
  const [connection] = trace.connections
  t.match(connection, { verdict: 'untracked', final: 'open', client: { address: SERVER } })
  t.same(trace.texts, [{ c2s: 'later', s2c: 'ok' }])
})

t.test('a SYN-ACK without its SYN is the server’s', async (t) => {
  const trace = new Trace()
  trace.server({ flags: SYN | ACK, seq: 5000, ack: 1001 })
  t.match(trace.connections[0], {
    client: { address: CLIENT },
    final: 'opening',
    verdict: 'untracked',
  })
})

t.test('a SYN repeated is the same connection, a new one another', async (t) => {
  const trace = new Trace()
  trace.client({ flags: SYN, seq: 1000 })
  trace.handshake()
  trace.client({ flags: RST, seq: 1001 })
  trace.client({ flags: SYN, seq: 9000 })
  t.same(
    trace.connections.map((c) => c.final),
    ['reset', 'opening'],
  )
})

t.test(
  'P16: two SYNs that cross are one connection; a SYN of a server that has spoken is another',
  async (t) => {
    const crossing = new Trace()
    crossing.client({ flags: SYN, seq: 1000 })
    crossing.server({ flags: SYN, seq: 5000 })
    t.equal(crossing.connections.length, 1)
    const split = new Trace()
    split.client({ flags: SYN, seq: 1000 })
    split.server({ flags: ACK, seq: 2000, ack: 1001 })
    split.server({ flags: SYN, seq: 3000 })
    split.client({ flags: SYN | ACK, seq: 1000, ack: 3001 })
    t.match(split.connections[1], { client: { address: SERVER, port: 80 } })
  },
)

t.test(
  'text on a SYN counts, and the shadow takes it where the server did (RFC 7413)',
  async (t) => {
    const trace = new Trace()
    trace.client({ flags: SYN, seq: 1000, text: 'early' })
    trace.server({ flags: SYN | ACK, seq: 5000, ack: 1006 })
    trace.client({ seq: 1006, ack: 5001, text: '!' })
    t.equal(trace.texts[0]?.c2s, 'early!')
    t.equal(trace.connections[0]?.verdict, 'ready')
  },
)

t.test(
  'a wrong checksum is dropped and counted, or trusted where the capture is known for it',
  async (t) => {
    for (const trusted of [false, true]) {
      const trace = new Trace(trusted).handshake()
      const ip = trace.datagram(CLIENT, SERVER, 4000, 80, { seq: 1001, ack: 5001, text: 'x' })
      ip.writeUInt16BE(0, 20 + 16)
      trace.take(ip)
      t.equal(trace.texts[0]?.c2s, trusted ? 'x' : '')
      t.equal(trace.drops.get(DropReason.TCP_BAD_CHECKSUM), trusted ? 0 : 1)
    }
  },
)

t.test('a host that leaves the work to its device records no length and no checksum', async (t) => {
  const trace = new Trace(true).handshake()
  const ip = trace.datagram(CLIENT, SERVER, 4000, 80, { seq: 1001, ack: 5001, text: 'super' })
  ip.writeUInt16BE(0, 2)
  ip.writeUInt16BE(0, 10)
  t.equal(trace.take(ip), DropReason.NONE)
  t.equal(trace.texts[0]?.c2s, 'super')
})

t.test('fragments, even such as no endpoint takes, are put together', async (t) => {
  const trace = new Trace(true).handshake()
  const whole = trace.datagram(CLIENT, SERVER, 4000, 80, { seq: 1001, ack: 5001, text: 'pieces' })
  const payload = whole.subarray(20)
  for (let at = 0; at < payload.length; at += 8) {
    const piece = Buffer.concat([whole.subarray(0, 20), payload.subarray(at, at + 8)])
    piece.writeUInt16BE(piece.length, 2)
    piece.writeUInt16BE((at + 8 < payload.length ? 0x2000 : 0) | (at >> 3), 6)
    trace.take(piece)
  }
  t.equal(trace.texts[0]?.c2s, 'pieces')
})

t.test('what no window can hold is nobody’s', async (t) => {
  const trace = new Trace().handshake()
  trace.client({ seq: 1001 + 2 ** 25, ack: 5001, text: 'far' })
  trace.client({ seq: 1001 - 2 ** 30 - 2 ** 29, ack: 5001, text: 'far' })
  t.match(trace.connections[0]?.c2s, { octets: 0, refused: 6 })
})
