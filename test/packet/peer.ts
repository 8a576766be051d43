/**
 * A scripted peer against a whole Stack with one NIC, on virtual time: every segment is a frame that goes through
 * `Stack.receive` and `pollTransmit`. Sequence numbers in a script are small: the stack's ISS is written 10000 and the
 * peer's 20000, whatever they are on the wire, so that a script reads the same near the wrap of sequence space.
 */
import type { Test } from 'tap'
import {
  type Connection,
  ConnectionEvent,
  Frame,
  type Millis,
  NEVER,
  type Nic,
  parseIpv4Address,
  Stack,
  type TcpListener,
  TcpState,
} from '../../stack/index.js'
import {
  ACK,
  type ArpFields,
  decodeArp,
  decodeEthernet,
  decodeIp,
  decodeTcp,
  encodeArp,
  encodeEthernet,
  encodeIp,
  encodeTcp,
  PROTOCOL,
  PSH,
  SYN,
  type TcpFields,
} from './codec.js'

export { ACK, CWR, ECE, FIN, PSH, RST, SYN, URG } from './codec.js'

export const LOCAL = parseIpv4Address('10.0.0.2')
export const PEER = parseIpv4Address('10.0.0.1')
export const LOCAL_MAC = 0x02_00_00_00_00_02
export const PEER_MAC = 0x02_00_00_00_00_01
export const BROADCAST = 0xffff_ffff_ffff
export const LOCAL_PORT = 80
export const PEER_PORT = 40_000
/** How the two initial sequence numbers are written in a script. */
export const ISS = 10_000
export const IRS = 20_000

/** What the checks report to: a tap test. */
export type Checks = Pick<Test, 'equal' | 'match' | 'fail'>

export interface ScriptOptions {
  readonly receiveLimit?: number
  readonly sendLimit?: number
  readonly maxConnections?: number
  readonly backlog?: number
  readonly congestion?: 'cubic' | 'reno'
  readonly ecn?: 'off' | 'accept' | 'offer'
  readonly mtu?: number
  /** Real sequence numbers behind 10000 and 20000. */
  readonly iss?: number
  readonly irs?: number
  /** What the peer's SYN offers. */
  readonly mss?: number | null
  readonly windowScale?: number | null
  readonly sack?: boolean
  readonly timestamps?: boolean
  /** The window field of the peer's segments unless told otherwise. */
  readonly wnd?: number
}

/** A segment from the peer, in the script's numbers. */
export interface PeerSegment {
  readonly flags: number
  readonly seq?: number
  readonly ack?: number
  readonly wnd?: number
  readonly text?: string | Buffer
  readonly mss?: number
  readonly windowScale?: number
  readonly sackPermitted?: boolean
  /** Null: without timestamps although they were agreed on. */
  readonly ts?: readonly [number, number] | null
  readonly sack?: readonly (readonly [number, number])[]
  readonly rawOptions?: readonly number[]
  readonly srcPort?: number
  readonly dstPort?: number
  readonly dstMac?: number
  readonly dstIp?: number
  /** The ECN field of the IP header. */
  readonly ecn?: number
  /** Octet of the frame to invert, to spoil a checksum. */
  readonly spoil?: number
}

/** A segment from the stack, in the script's numbers. */
export interface StackSegment {
  seq: number
  ack: number
  flags: number
  wnd: number
  text: string
  length: number
  at: Millis
  ident: number
  ecn: number
  mss: number | undefined
  windowScale: number | undefined
  sackPermitted: boolean
  ts: readonly [number, number] | undefined
  sack: readonly (readonly [number, number])[]
  srcPort: number
  dstPort: number
  srcMac: number
  dstMac: number
}

/** A frame of the stack that is no TCP segment. */
export interface OtherFrame {
  readonly at: Millis
  readonly dst: number
  readonly src: number
  readonly etherType: number
  readonly payload: Buffer
}

export class Script {
  readonly t: Checks
  readonly options: ScriptOptions
  readonly stack: Stack
  readonly nic: Nic
  now: Millis
  readonly sent: StackSegment[] = []
  readonly others: OtherFrame[] = []
  connection: Connection | null = null
  listener: TcpListener | null = null
  /** Real ISS of the stack's connection; known once its SYN was seen. */
  iss: number
  irs: number
  readonly start: Millis
  #issKnown = false
  #timestamps = false
  #lastTsVal = 0
  readonly #frame = new Frame()

  constructor(t: Checks, options: ScriptOptions = {}, now: Millis = 1_000_000) {
    this.t = t
    this.options = options
    this.now = now
    this.start = now
    this.iss = 0
    this.irs = options.irs ?? IRS
    let state = 7
    const rng = { u32: () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) }
    this.stack = new Stack({
      rng,
      secret: new Int32Array([1, 2, 3, 4]),
      receiveLimit: options.receiveLimit ?? 60_000,
      sendLimit: options.sendLimit ?? 200_000,
      maxConnections: options.maxConnections ?? 1000,
      congestion: options.congestion ?? 'cubic',
      ...(options.ecn === undefined ? {} : { ecn: options.ecn }),
    })
    this.nic = this.stack.addNic({ mac: LOCAL_MAC, mtu: options.mtu ?? 1500 })
    this.nic.setAddress(LOCAL, 24, 'assigned')
    this.nic.neighbors.learn(PEER, PEER_MAC, now)
  }

  /** A passive open on the local port. */
  listens(port: number = LOCAL_PORT): TcpListener {
    this.listener = this.stack.listen(LOCAL, port, this.options.backlog ?? 16)
    return this.listener
  }

  /** An active open to the peer. */
  connects(): Connection {
    this.connection = this.stack.connect(PEER, PEER_PORT, this.now, LOCAL, LOCAL_PORT)
    this.drain()
    return this.connection
  }

  /** The options of the peer's SYN, as `ScriptOptions` has them. */
  synOptions(): Partial<PeerSegment> {
    const { mss = 1460, windowScale = null, sack = false, timestamps = false } = this.options
    return {
      ...(mss === null ? {} : { mss }),
      ...(windowScale === null ? {} : { windowScale }),
      ...(sack ? { sackPermitted: true } : {}),
      ...(timestamps ? { ts: [this.peerClock(), 0] as const } : {}),
    }
  }

  /** TSval of the peer. */
  peerClock(): number {
    return 5000 + Math.floor(this.now - this.start)
  }

  frameOf(segment: PeerSegment): Buffer {
    const { flags } = segment
    const dst = segment.dstIp ?? LOCAL
    const tcp: TcpFields = {
      srcPort: segment.srcPort ?? PEER_PORT,
      dstPort: segment.dstPort ?? LOCAL_PORT,
      seq: (this.irs + ((segment.seq ?? IRS) - IRS)) >>> 0,
      ack: segment.ack === undefined ? 0 : (this.iss + (segment.ack - ISS)) >>> 0,
      flags,
      wnd: segment.wnd ?? this.options.wnd ?? 65_535,
      text: Buffer.from(segment.text ?? ''),
      mss: segment.mss,
      windowScale: segment.windowScale,
      sackPermitted: segment.sackPermitted,
      rawOptions: segment.rawOptions,
      sack: segment.sack?.map(([l, r]) => [this.iss + (l - ISS), this.iss + (r - ISS)] as const),
    }
    if (segment.ts !== undefined && segment.ts !== null) tcp.ts = segment.ts
    else if (segment.ts === undefined && this.#timestamps)
      tcp.ts = [this.peerClock(), this.#lastTsVal]
    const ip = encodeIp(PEER, dst, PROTOCOL.TCP, encodeTcp(tcp, PEER, dst), segment.ecn)
    const frame = encodeEthernet(segment.dstMac ?? LOCAL_MAC, PEER_MAC, 0x0800, ip)
    if (segment.spoil !== undefined) frame[segment.spoil] = (frame[segment.spoil] as number) ^ 0xff
    return frame
  }

  /** The peer sends these segments back to back; the stack answers when it has taken all of them. */
  peerSends(...segments: readonly PeerSegment[]): this {
    for (const segment of segments) this.deliver(this.frameOf(segment))
    this.drain()
    return this
  }

  /** Gives the stack one frame and asks nothing of it. */
  deliver(frame: Buffer): void {
    this.#frame.reset()
    this.#frame.bytes.set(frame, this.#frame.start)
    this.#frame.end = this.#frame.start + frame.length
    this.stack.receive(this.nic, this.#frame, this.now)
  }

  /** Takes all that the stack has to send. */
  drain(): void {
    for (let n = 0; ; n++) {
      if (n > 5000) throw new Error('the stack sends without end')
      const frame = this.stack.pollTransmit(this.now)
      if (frame === null) break
      this.#take(Buffer.from(frame.bytes.slice(frame.start, frame.end)))
    }
    for (let l = this.stack.pollAccept(); l !== null; l = this.stack.pollAccept()) {
      for (let c = l.accept(); c !== null; c = l.accept()) this.connection = c
    }
    for (let c = this.stack.pollReady(); c !== null; c = this.stack.pollReady()) this.news(c)
  }

  /** News for the application, which these scripts look up in the connection itself. */
  news(_connection: Connection): void {}

  #take(bytes: Buffer): void {
    const ethernet = decodeEthernet(bytes)
    if (ethernet.etherType === 0x0806) {
      const arp = decodeArp(ethernet.payload)
      if (arp.operation === 1 && arp.targetIp === PEER) {
        this.#answerArp(arp)
        return
      }
    }
    const ip = ethernet.etherType === 0x0800 ? decodeIp(ethernet.payload) : null
    if (ip === null || ip.protocol !== PROTOCOL.TCP) {
      this.others.push({ at: this.now - this.start, ...ethernet })
      return
    }
    const tcp = decodeTcp(ip.payload, ip.src, ip.dst)
    if ((tcp.flags & SYN) !== 0 && !this.#issKnown && tcp.srcPort === LOCAL_PORT) {
      this.iss = tcp.seq
      this.#issKnown = true
    }
    if (tcp.ts !== undefined) {
      this.#lastTsVal = tcp.ts[0]
      if ((tcp.flags & SYN) !== 0) this.#timestamps = this.options.timestamps === true
    }
    const { src: srcMac, dst: dstMac } = ethernet
    this.sent.push({ ...this.#scripted(tcp, ip.ident, ip.ecn), srcMac, dstMac })
  }

  #scripted(tcp: TcpFields, ident: number, ecn: number): Omit<StackSegment, 'srcMac' | 'dstMac'> {
    const theirs = (n: number): number => ((n - this.irs) | 0) + IRS
    return {
      seq: tcp.seq === 0 && tcp.flags === 0x14 ? 0 : ((tcp.seq - this.iss) | 0) + ISS,
      ack: (tcp.flags & ACK) === 0 ? 0 : theirs(tcp.ack),
      flags: tcp.flags,
      wnd: tcp.wnd,
      text: tcp.text.toString('latin1'),
      length: tcp.text.length,
      at: this.now - this.start,
      ident,
      ecn,
      mss: tcp.mss,
      windowScale: tcp.windowScale,
      sackPermitted: tcp.sackPermitted ?? false,
      ts: tcp.ts,
      sack: (tcp.sack ?? []).map(([l, r]) => [theirs(l), theirs(r)] as const),
      srcPort: tcp.srcPort,
      dstPort: tcp.dstPort,
    }
  }

  #answerArp(request: ArpFields): void {
    const reply = {
      operation: 2,
      senderMac: PEER_MAC,
      senderIp: PEER,
      targetMac: LOCAL_MAC,
      targetIp: request.senderIp,
    }
    this.deliver(encodeEthernet(LOCAL_MAC, PEER_MAC, 0x0806, encodeArp(reply)))
  }

  /** Checks the next segment of the stack. PSH is compared only when it is asked for. Returns it. */
  expects(wanted: Partial<StackSegment>, message = ''): StackSegment {
    const found = this.sent.shift()
    if (found === undefined) {
      this.t.fail(`${message || 'a segment'} is expected, and the stack sends nothing`)
      return {} as StackSegment
    }
    const flags = wanted.flags === undefined ? {} : { flags: wanted.flags }
    const seen = { ...found }
    if (wanted.flags !== undefined && (wanted.flags & PSH) === 0) seen.flags &= ~PSH
    this.t.match(
      seen,
      { ...wanted, ...flags },
      message || `the stack sends ${JSON.stringify(wanted)}`,
    )
    return found
  }

  /** Checks that the stack has nothing more to say. */
  expectsNothing(message = 'the stack sends nothing'): void {
    this.t.equal(
      this.sent.length,
      0,
      `${message}${this.sent.length > 0 ? `: ${JSON.stringify(this.sent[0])}` : ''}`,
    )
    this.sent.length = 0
  }

  /** Forgets what the stack has sent. */
  ignores(): StackSegment[] {
    return this.sent.splice(0)
  }

  /** Lets time pass, with every timer at its moment. */
  advance(ms: Millis): this {
    const until = this.now + ms
    for (;;) {
      const deadline = this.stack.nextDeadline()
      if (deadline === NEVER || deadline > until) break
      this.now = Math.max(this.now, deadline)
      this.stack.handleTimeout(this.now)
      this.drain()
      if (this.stack.nextDeadline() <= this.now) throw new Error('a timer that is due stays due')
    }
    this.now = until
    return this
  }

  get c(): Connection {
    if (this.connection === null) throw new Error('there is no connection yet')
    return this.connection
  }

  get state(): keyof typeof TcpState {
    const state = this.c.state
    return (
      (Object.keys(TcpState) as (keyof typeof TcpState)[]).find((k) => TcpState[k] === state) ??
      'CLOSED'
    )
  }

  /** True when the application has been told of these ConnectionEvent bits. */
  hears(events: number): boolean {
    return (this.c.events & events) === events
  }

  get closed(): boolean {
    return this.hears(ConnectionEvent.CLOSED)
  }

  write(text: string | Buffer): number {
    const bytes = Buffer.from(text)
    const taken = this.c.write(bytes, 0, bytes.length)
    this.drain()
    return taken
  }

  read(length = 1 << 20): string {
    const into = Buffer.alloc(length)
    const count = this.c.read(into, 0, length)
    this.drain()
    return into.toString('latin1', 0, count)
  }

  shutdown(): void {
    this.c.shutdown()
    this.drain()
  }

  /** The application lets go of the connection. */
  close(): void {
    this.c.detach(this.now)
    this.drain()
  }

  abort(): void {
    this.c.abort()
    this.drain()
  }

  /** Drops of a reason since the beginning, by its name in the metrics. */
  drops(reason: string): number {
    return this.stack.drops.toJSON()[reason] ?? 0
  }
}

/** Octets that differ from their neighbours: `octets(100, 5)` is what a stream has from its fifth octet on. */
export function octets(length: number, from = 0): string {
  let text = ''
  for (let i = 0; i < length; i++) text += String.fromCharCode(97 + ((from + i) % 23))
  return text
}

/** A script with a listener behind which the handshake is done, by the peer's SYN. Nothing is left to expect. */
export function established(t: Checks, options: ScriptOptions = {}): Script {
  const c = new Script(t, options, startFor(t, options))
  c.listens()
  c.peerSends({ seq: IRS, flags: SYN, ...c.synOptions() })
  c.expects({ seq: ISS, ack: IRS + 1, flags: SYN | ACK })
  c.peerSends({ seq: IRS + 1, ack: ISS + 1, flags: ACK })
  c.t.equal(c.state, 'ESTABLISHED', 'the handshake is done')
  c.ignores()
  return c
}

/** The same by an active open. */
export function connected(t: Checks, options: ScriptOptions = {}): Script {
  const c = new Script(t, options, startFor(t, options))
  c.connects()
  c.expects({ seq: ISS, flags: SYN })
  c.peerSends({ seq: IRS, ack: ISS + 1, flags: SYN | ACK, ...c.synOptions() })
  c.expects({ seq: ISS + 1, ack: IRS + 1, flags: ACK })
  c.t.equal(c.state, 'ESTABLISHED', 'the handshake is done')
  c.ignores()
  return c
}

// The clock drives the ISS by 250 a millisecond, so the moment of the open chooses it to within that.
function startFor(t: Checks, options: ScriptOptions): Millis {
  if (options.iss === undefined) return 1_000_000
  const probe = new Script(t, {}, 1_000_000)
  probe.listens()
  probe.peerSends({ seq: IRS, flags: SYN })
  const ahead = (options.iss - probe.iss) >>> 0
  return 1_000_000 + Math.ceil(ahead / 250)
}

/** Somebody, the peer unless `fields` say otherwise, asks all for `targetIp`, and the stack answers. */
export function asks(c: Script, targetIp: number, fields: Partial<ArpFields> = {}): void {
  const arp = {
    operation: 1,
    senderMac: PEER_MAC,
    senderIp: PEER,
    targetMac: 0,
    targetIp,
    ...fields,
  }
  c.deliver(encodeEthernet(BROADCAST, arp.senderMac, 0x0806, encodeArp(arp)))
  c.drain()
}
