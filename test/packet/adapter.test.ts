/**
 * `understudy adapter` as a player of scripts sees it: a process that is asked by JSON lines and answers each before the
 * next. Time is virtual, so nothing here waits.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { parseIpv4Address } from '../../stack/index.js'
import {
  ACK,
  decodeIp,
  decodeTcp,
  encodeIp,
  encodeTcp,
  FIN,
  PROTOCOL,
  PSH,
  RST,
  SYN,
  type TcpFields,
} from './codec.js'

const PROGRAM = fileURLToPath(new URL('../../scripts/understudy.js', import.meta.url))
const LOCAL = '192.168.0.1'
const REMOTE = '192.0.2.1'
const PORT = 8080
const PEER_PORT = 40_000
const IRS = 5000

interface Answer {
  readonly now: number
  readonly ret: number
  readonly errno?: string
  readonly data?: string
  readonly error?: string
  readonly states?: readonly string[]
  readonly unsupported?: string
  readonly fatal?: string
  readonly out: readonly (readonly [number, string])[]
}

/** The adapter, and what it has sent: each packet with its time. */
class Player {
  readonly #process: ChildProcessWithoutNullStreams
  readonly #lines: AsyncIterator<string>
  readonly sent: (TcpFields & { readonly at: number })[] = []
  iss = 0
  port = PORT

  constructor(t: Test) {
    this.#process = spawn(process.execPath, [PROGRAM, 'adapter'])
    this.#lines = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]()
    t.teardown(() => this.#process.kill())
  }

  static async start(t: Test): Promise<Player> {
    const player = new Player(t)
    const init = { op: 'init', local: LOCAL, remote: REMOTE, mtu: 1500, seed: 1 }
    t.strictSame(await player.ask(init), { now: 0 })
    return player
  }

  async say(line: string): Promise<Answer> {
    this.#process.stdin.write(`${line}\n`)
    const answer = JSON.parse((await this.#lines.next()).value) as Answer
    for (const [at, hex] of answer.out ?? []) {
      const ip = decodeIp(Buffer.from(hex, 'hex'))
      if (ip.protocol !== PROTOCOL.TCP) continue
      const tcp = decodeTcp(ip.payload, ip.src, ip.dst)
      if ((tcp.flags & SYN) !== 0) this.iss = tcp.seq
      this.sent.push({ ...tcp, at })
    }
    return answer
  }

  ask(request: object): Promise<Answer> {
    return this.say(JSON.stringify(request))
  }

  call(fn: string, ...args: readonly unknown[]): Promise<Answer> {
    return this.ask({ op: 'call', fn, args })
  }

  advance(ms: number): Promise<Answer> {
    return this.ask({ op: 'advance', us: ms * 1000 })
  }

  /** A segment from the peer; `seq` and `ack` count from the two initial sequence numbers. */
  inject(flags: number, seq: number, ack: number, text = '', wnd = 30_000): Promise<Answer> {
    const src = parseIpv4Address(REMOTE)
    const dst = parseIpv4Address(LOCAL)
    const tcp: TcpFields = {
      srcPort: PEER_PORT,
      dstPort: this.port,
      seq: IRS + seq,
      ack: (flags & ACK) === 0 ? 0 : (this.iss + ack) >>> 0,
      flags,
      wnd,
      text: Buffer.from(text),
      ...((flags & SYN) === 0 ? {} : { mss: 1000 }),
    }
    const pkt = encodeIp(src, dst, PROTOCOL.TCP, encodeTcp(tcp, src, dst)).toString('hex')
    return this.ask({ op: 'inject', pkt })
  }

  /** Checks the next segment that was sent; without flags, that there is none. */
  expects(t: Test, flags?: number, seq = 0, ack = 0, text = ''): number {
    const found = this.sent.shift()
    if (flags === undefined) t.equal(found, undefined, 'nothing is sent')
    if (flags === undefined || found === undefined) {
      if (flags !== undefined) t.fail('a segment is expected')
      return -1
    }
    const acked = (found.flags & ACK) === 0 ? 0 : (found.ack - IRS) | 0
    const seen = [found.flags & ~PSH, (found.seq - this.iss) | 0, acked, found.text.toString()]
    t.strictSame(seen, [flags, seq, ack, text])
    return found.at
  }

  async quit(): Promise<number> {
    this.#process.stdin.write('{"op":"quit"}\n')
    const [code] = await once(this.#process, 'exit')
    return code
  }
}

/** A connection that the peer has opened; its descriptor is 4, the listener's 3. */
async function established(t: Test): Promise<Player> {
  const p = await Player.start(t)
  t.equal((await p.call('socket')).ret, 3)
  t.equal((await p.call('bind', 3, LOCAL, PORT)).ret, 0)
  t.equal((await p.call('listen', 3, 1)).ret, 0)
  t.match(await p.call('accept', 3), { ret: -1, errno: 'EAGAIN' })
  await p.inject(SYN, 0, 0)
  p.expects(t, SYN | ACK, 0, 1)
  await p.advance(100)
  await p.inject(ACK, 1, 1)
  t.equal((await p.call('accept', 3)).ret, 4)
  p.expects(t)
  return p
}

t.test('T2: the adapter accepts, reads what is asked for, and ends in order', async (t) => {
  const p = await established(t)
  t.strictSame((await p.ask({ op: 'state' })).states, ['LISTEN', 'ESTABLISHED'])
  await p.inject(PSH | ACK, 1, 1, 'hello')
  p.expects(t, ACK, 1, 6)
  t.match(await p.call('read', 4, 3, 'peek'), { ret: 3, data: Buffer.from('hel').toString('hex') })
  t.match(await p.call('read', 4, 100), { ret: 5, data: Buffer.from('hello').toString('hex') })
  t.match(await p.call('read', 4, 100), { ret: -1, errno: 'EAGAIN' })
  t.equal((await p.call('write', 4, Buffer.from('world').toString('hex'))).ret, 5)
  p.expects(t, ACK, 1, 6, 'world')
  await p.inject(FIN | ACK, 6, 6)
  p.expects(t, ACK, 6, 7)
  t.equal((await p.call('read', 4, 100)).ret, 0, 'the end of the stream')
  t.equal((await p.call('close', 4)).ret, 0)
  p.expects(t, FIN | ACK, 6, 7)
  t.match(await p.call('read', 4, 100), { ret: -1, errno: 'EBADF' })
  await p.inject(ACK, 7, 7)
  t.strictSame((await p.ask({ op: 'state' })).states, ['LISTEN'])
  t.equal(await p.quit(), 0)
})

t.test('T2: unread text closes the window; reading opens it', async (t) => {
  const p = await Player.start(t)
  await p.call('socket')
  t.equal((await p.call('setsockopt', 3, 'SOL_SOCKET', 'SO_RCVBUF', 1000)).ret, 0)
  await p.call('bind', 3, LOCAL, PORT)
  await p.call('listen', 3, 1)
  await p.inject(SYN, 0, 0)
  await p.inject(ACK, 1, 1)
  await p.call('accept', 3)
  await p.inject(PSH | ACK, 1, 1, 'x'.repeat(1000))
  t.equal(p.sent.at(-1)?.wnd, 0)
  t.equal((await p.call('read', 4, 4096)).ret, 1000)
  t.equal(p.sent.at(-1)?.wnd, 1000)
})

t.test('T4: timers act at their moment of virtual time, and at no other', async (t) => {
  const p = await established(t)
  t.equal((await p.call('write', 4, 100)).ret, 100)
  const text = p.sent[0]?.text.toString() ?? ''
  t.equal(text.length, 100)
  t.equal(p.expects(t, ACK, 1, 1, text), 100_000)
  t.equal((await p.advance(299)).now, 399_000)
  p.expects(t)
  t.equal((await p.advance(10_000)).now, 10_399_000)
  t.equal(p.expects(t, ACK, 1, 1, text), 400_000, '300 ms later')
  t.equal(p.expects(t, ACK, 1, 1, text), 1_000_000, 'and 600 ms later')
})

t.test('T2: connect tells EINPROGRESS, EALREADY, 0, EISCONN', async (t) => {
  const p = await Player.start(t)
  await p.call('socket')
  t.match(await p.call('connect', 3, REMOTE, PEER_PORT), { ret: -1, errno: 'EINPROGRESS' })
  p.port = p.sent[0]?.srcPort ?? 0
  p.expects(t, SYN)
  t.match(await p.call('connect', 3, REMOTE, PEER_PORT), { ret: -1, errno: 'EALREADY' })
  t.match(await p.call('write', 3, 10), { ret: -1, errno: 'EAGAIN' })
  await p.inject(SYN | ACK, 0, 1)
  p.expects(t, ACK, 1, 1)
  t.equal((await p.call('connect', 3, REMOTE, PEER_PORT)).ret, 0)
  t.match(await p.call('connect', 3, REMOTE, PEER_PORT), { ret: -1, errno: 'EISCONN' })
})

t.test('S3: errors are told once, by the call or by SO_ERROR', async (t) => {
  const p = await Player.start(t)
  await p.call('socket')
  await p.call('connect', 3, REMOTE, PEER_PORT)
  p.port = p.sent[0]?.srcPort ?? 0
  await p.inject(RST | ACK, 0, 1)
  t.equal((await p.call('error', 3)).error, 'ECONNREFUSED')
  t.equal((await p.call('error', 3)).error, '0')

  const q = await established(t)
  await q.inject(PSH | ACK, 1, 1, 'last')
  await q.inject(RST, 5, 0)
  t.equal((await q.call('read', 4, 100)).ret, 4, 'what came before can still be read')
  t.match(await q.call('read', 4, 100), { ret: -1, errno: 'ECONNRESET' })
  t.equal((await q.call('read', 4, 100)).ret, 0)
  t.match(await q.call('write', 4, 100), { ret: -1, errno: 'EPIPE' })
  t.match(await q.call('shutdown', 4, 'SHUT_WR'), { ret: -1, errno: 'ENOTCONN' })
})

t.test('T2: shutdown ends one side; SO_LINGER of 0 makes close a reset', async (t) => {
  const p = await established(t)
  const linger = [1, 0]
  t.equal((await p.call('setsockopt', 4, 'SOL_SOCKET', 'SO_LINGER', linger)).ret, 0)
  t.equal((await p.call('shutdown', 4, 'SHUT_WR')).ret, 0)
  p.expects(t, FIN | ACK, 1, 1)
  t.match(await p.call('write', 4, 10), { ret: -1, errno: 'EPIPE' })
  await p.inject(PSH | ACK, 1, 2, 'more')
  p.expects(t, ACK, 2, 5)
  t.equal((await p.call('read', 4, 10)).ret, 4)
  await p.call('close', 4)
  p.expects(t, RST | ACK, 2, 5)
  p.expects(t)
})

t.test('T2: SO_SNDBUF bounds what is taken; TCP_NODELAY and TCP_MAXSEG shape it', async (t) => {
  const p = await Player.start(t)
  await p.call('socket')
  t.equal((await p.call('setsockopt', 3, 'SOL_TCP', 'TCP_MAXSEG', 500)).ret, 0)
  t.equal((await p.call('setsockopt', 3, 'SOL_TCP', 'TCP_NODELAY', 1)).ret, 0)
  t.equal((await p.call('setsockopt', 3, 'SOL_SOCKET', 'SO_SNDBUF', 1200)).ret, 0)
  await p.call('bind', 3, LOCAL, PORT)
  await p.call('listen', 3, 1)
  await p.inject(SYN, 0, 0)
  t.equal(p.sent[0]?.mss, 500)
  await p.inject(ACK, 1, 1)
  await p.call('accept', 3)
  p.sent.length = 0
  t.equal((await p.call('write', 4, 5000)).ret, 1200)
  t.match(await p.call('write', 4, 5000), { ret: -1, errno: 'EAGAIN' })
  t.strictSame(
    p.sent.map((s) => s.text.length),
    [500, 500, 200],
  )
})

t.test('T2: TCP_MAXSEG, SO_RCVBUF, IP_TTL and IP_TOS of a socket that listens', async (t) => {
  const p = await Player.start(t)
  await p.call('socket')
  await p.call('bind', 3, LOCAL, PORT)
  await p.advance(10)
  await p.call('listen', 3, 1)
  t.equal((await p.call('setsockopt', 3, 'SOL_TCP', 'TCP_MAXSEG', 700)).ret, 0)
  t.equal((await p.call('setsockopt', 3, 'SOL_SOCKET', 'SO_RCVBUF', 3000)).ret, 0)
  t.equal((await p.call('setsockopt', 3, 'SOL_IP', 'IP_TTL', 9)).ret, 0)
  t.match(await p.call('setsockopt', 3, 'SOL_IP', 'IP_TTL', 256), { ret: -1, errno: 'EINVAL' })
  t.equal((await p.call('setsockopt', 3, 'SOL_IP', 'IP_TOS', 0xb8)).ret, 0)
  const { now, out } = await p.inject(SYN, 0, 0)
  t.equal(now, 10_000, 'the time that has passed stays passed')
  t.match(decodeIp(Buffer.from(out[0]?.[1] ?? '', 'hex')), { ttl: 9, tos: 0xb8 }, 'the SYN, too')
  t.match(p.sent.shift(), { flags: SYN | ACK, mss: 700, wnd: 3000 })
  t.match(await p.call('setsockopt', 3, 'SOL_TCP', 'TCP_MAXSEG', 600), { unsupported: /MAXSEG/ })
  await p.inject(ACK, 1, 1)
  t.equal((await p.call('accept', 3)).ret, 4)
  const written = await p.call('write', 4, 1400)
  const ip = written.out.map(([, hex]) => decodeIp(Buffer.from(hex, 'hex')))
  t.ok(ip.length === 2 && ip.every(({ ttl, tos }) => ttl === 9 && tos === 0xb8), 'and what follows')

  const q = await Player.start(t)
  await q.call('socket')
  t.equal((await q.call('setsockopt', 3, 'SOL_IP', 'IP_TTL', 4)).ret, 0)
  const syn = await q.call('connect', 3, REMOTE, PEER_PORT)
  t.match(decodeIp(Buffer.from(syn.out[0]?.[1] ?? '', 'hex')), { ttl: 4, tos: 0 })
})

t.test('T7: IP_TOS takes the names of code points, too', async (t) => {
  const p = await established(t)
  await p.call('setsockopt', 4, 'SOL_TCP', 'TCP_NODELAY', 1)
  const names = { CS1: 0x20, CS7: 0xe0, AF21: 0x48, AF43: 0x98, EF: 0xb8 }
  for (const [name, tos] of Object.entries(names)) {
    t.equal((await p.call('setsockopt', 4, 'SOL_IP', 'IP_TOS', `IPTOS_DSCP_${name}`)).ret, 0)
    const { out } = await p.call('write', 4, 1)
    t.match(decodeIp(Buffer.from(out[0]?.[1] ?? '', 'hex')), { tos }, name)
  }
  t.match(await p.call('setsockopt', 4, 'SOL_IP', 'IP_TOS', 'IPTOS_DSCP_AF51'), {
    unsupported: /AF51/,
  })
  t.match(await p.call('setsockopt', 4, 'SOL_TCP', 'TCP_MAXSEG', 'IPTOS_DSCP_EF'), {
    unsupported: /MAXSEG/,
  })
})

t.test('T2: TCP_KEEPINIT bounds the handshake, and nothing behind it', async (t) => {
  const p = await Player.start(t)
  await p.call('socket')
  t.match(await p.call('setsockopt', 3, 'SOL_TCP', 'TCP_KEEPINIT', 0), { errno: 'EINVAL' })
  t.equal((await p.call('setsockopt', 3, 'SOL_TCP', 'TCP_KEEPINIT', 363)).ret, 0)
  await p.call('connect', 3, REMOTE, PEER_PORT)
  await p.advance(362_999)
  t.equal(p.sent.length, 11, 'the SYN is sent again for as long')
  t.equal((await p.call('error', 3)).error, '0')
  await p.advance(1)
  t.equal((await p.call('error', 3)).error, 'ETIMEDOUT')

  const q = await Player.start(t)
  await q.call('socket')
  await q.call('setsockopt', 3, 'SOL_TCP', 'TCP_KEEPINIT', 1)
  await q.call('connect', 3, REMOTE, PEER_PORT)
  q.port = q.sent[0]?.srcPort ?? 0
  await q.inject(SYN | ACK, 0, 1)
  await q.advance(10_000)
  t.equal((await q.call('write', 3, 10)).ret, 10)
  await q.advance(5000)
  t.equal((await q.call('error', 3)).error, '0', 'text has more time')
})

t.test('T2: the smallest MTU that IPv4 knows is enough (RFC 791)', async (t) => {
  const p = new Player(t)
  await p.ask({ op: 'init', local: LOCAL, remote: REMOTE, mtu: 68, seed: 1 })
  t.type((await p.ask({ op: 'init', local: LOCAL, remote: REMOTE, mtu: 67 })).fatal, 'string')
  await p.call('socket')
  await p.call('connect', 3, REMOTE, PEER_PORT)
  t.match(p.sent.shift(), { flags: SYN, mss: 28 })
})

t.test('T7: what is not offered is said to be so; nonsense ends nothing', async (t) => {
  const p = await established(t)
  t.match(await p.call('setsockopt', 4, 'SOL_SOCKET', 'SO_PRIORITY', 1), {
    unsupported: /PRIORITY/,
  })
  t.equal(
    (await p.call('setsockopt', 4, 'SOL_SOCKET', 'SO_KEEPALIVE', 0)).ret,
    0,
    'keep-alive is off',
  )
  t.match(await p.call('sendfile', 4), { unsupported: /sendfile/ })
  t.match(await p.call('read', 99, 1), { ret: -1, errno: 'EBADF' })
  for (const line of [
    '{',
    '[]',
    '3',
    '{"op":"dance"}',
    '{"op":"inject","pkt":"xyz"}',
    '{"op":"advance","us":-1}',
  ]) {
    t.type((await p.say(line)).fatal, 'string', line)
  }
  t.strictSame(
    (await p.ask({ op: 'inject', pkt: '45' })).out,
    [],
    'a packet that is none is dropped',
  )
  t.equal((await p.advance(1)).now, 101_000)
})
