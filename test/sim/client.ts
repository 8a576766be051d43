/**
 * Client: a machine beside the cluster that knows nothing of it: our stack with its own clock, timestamps and sequence
 * numbers, and one session per stream, which checks every octet it reads (law 2).
 */
import {
  type Connection,
  ConnectionEvent,
  type Millis,
  NEVER,
  type Nic,
  Stack,
} from '../../stack/index.js'
import type { Bridge, BridgePort, SharedFrame } from './bridge.js'
import { CLIENT_ADDRESS, CLIENT_MAC, VIRTUAL_ADDRESS } from './place.js'
import type { StreamSpec } from './workload.js'
import type { World } from './world.js'

/** The client's way to the bridge. */
export interface AccessLink {
  readonly delay: Millis
  readonly jitter: Millis
  readonly loss: number
  readonly duplicate: number
  readonly reorder: number
}

export type SessionState = 'waiting' | 'open' | 'done' | 'failed'

export class ClientSession {
  readonly spec: StreamSpec
  readonly index: number
  state: SessionState = 'waiting'
  error = ''
  connection: Connection | null = null
  establishedAt: Millis = NEVER
  written = 0
  read = 0
  #ended = false
  #sleptUntil: Millis = -1
  #nextReadAt: Millis = 0
  #nextWriteAt: Millis = 0

  constructor(spec: StreamSpec, index: number) {
    this.spec = spec
    this.index = index
  }

  get over(): boolean {
    return this.state === 'done' || this.state === 'failed'
  }

  get localPort(): number {
    return this.connection?.localPort ?? 0
  }

  nextDeadline(startedAt: Millis, now: Millis): Millis {
    if (this.state === 'waiting') return startedAt + this.spec.startAt
    if (this.over) return NEVER
    let at: Millis = NEVER
    if (this.written < this.spec.input.length && this.#nextWriteAt > now) at = this.#nextWriteAt
    if (this.#nextReadAt > now) at = Math.min(at, this.#nextReadAt)
    return at
  }

  /** Reads and writes what it may now. */
  pump(world: World, now: Millis, buffer: Uint8Array): void {
    const c = this.connection
    if (c === null || this.over) return
    if (now >= this.#nextReadAt) this.#readSome(c, world, now, buffer)
    const { input, writeMax, writeEvery, endsEarly } = this.spec
    if (this.written < input.length && now >= this.#nextWriteAt) {
      const to = Math.min(this.written + writeMax, input.length)
      this.written += c.write(input, this.written, to)
      if (writeEvery > 0) this.#nextWriteAt = now + writeEvery
      else if (this.written === to && to < input.length) this.#nextWriteAt = now + 0.1
    }
    const complete = this.read === this.spec.output.length
    if (!this.#ended && this.written === input.length && (endsEarly || complete)) {
      this.#ended = true
      c.shutdown()
    }
    if (complete && this.#ended && c.inputEnded) {
      this.state = 'done'
      world.note(`client's stream ${this.index} is done`)
      c.detach(now)
    } else if (c.inputEnded && !complete) {
      world.violate(
        `stream: stream ${this.index} ended at ${this.read} of ${this.spec.output.length}`,
      )
    }
  }

  #readSome(c: Connection, world: World, now: Millis, buffer: Uint8Array): void {
    const { output, readMax, readEvery, sleepsAt, sleepMs } = this.spec
    if (sleepsAt >= 0 && this.read >= sleepsAt && this.#sleptUntil < 0) {
      this.#sleptUntil = now + sleepMs
      this.#nextReadAt = this.#sleptUntil
      return
    }
    const length = c.read(buffer, 0, Math.min(readMax, buffer.length))
    if (length === 0) return
    if (this.read + length > output.length) {
      world.violate(`stream: stream ${this.index} got more than ${output.length} octets`)
      return
    }
    for (let i = 0; i < length; i++) {
      if (buffer[i] === output[this.read + i]) continue
      world.violate(`stream: octet ${this.read + i} of stream ${this.index} is wrong`)
      return
    }
    this.read += length
    this.#nextReadAt = now + Math.max(readEvery, 0.1)
  }
}

export class Client {
  readonly sessions: ClientSession[]
  readonly port: BridgePort
  readonly stack: Stack
  readonly #nic: Nic
  readonly #world: World
  readonly #bridge: Bridge
  readonly #link: AccessLink
  readonly #skew: Millis
  readonly #buffer = new Uint8Array(65_536)
  readonly #startedAt: Millis
  #inbox: SharedFrame[] = []
  #wakeAt: Millis = NEVER
  #lastUpAt: Millis = 0
  /** Called when a session failed, with its error in place. */
  onFailed: (session: ClientSession) => void = () => {}

  constructor(
    world: World,
    bridge: Bridge,
    link: AccessLink,
    specs: readonly StreamSpec[],
    receiveLimit: number,
  ) {
    this.#world = world
    this.#bridge = bridge
    this.#link = link
    this.#skew = world.random.below(5_000_000)
    this.#startedAt = world.now + this.#skew
    this.port = bridge.attach('client', false)
    this.port.deliver = (shared) => this.#arrive(shared)
    this.port.minDelay = link.delay
    this.port.maxDelay = link.delay + link.jitter
    this.port.loss = link.loss
    this.port.duplicate = link.duplicate
    this.port.reorder = link.reorder
    const secret = Int32Array.from([world.random.u32(), world.random.u32(), 3, 4])
    this.stack = new Stack({ rng: world.random, secret, receiveLimit, sendLimit: 262_144 })
    this.#nic = this.stack.addNic({ mac: CLIENT_MAC, mtu: 1500 })
    this.#nic.setAddress(CLIENT_ADDRESS, 24, 'assigned')
    this.sessions = specs.map((spec, index) => new ClientSession(spec, index))
    this.#wake(0)
  }

  get now(): Millis {
    return this.#world.now + this.#skew
  }

  get over(): boolean {
    return this.sessions.every((session) => session.over)
  }

  sessionAt(port: number): ClientSession | undefined {
    return this.sessions.find((session) => session.localPort === port)
  }

  #arrive(shared: SharedFrame): void {
    this.#inbox.push(shared)
    this.#wake(0.01)
  }

  #wake(delay: Millis): void {
    const at = this.#world.now + delay
    if (at >= this.#wakeAt) return
    this.#wakeAt = at
    this.#world.at(at, () => {
      if (this.#wakeAt !== at) return
      this.#wakeAt = NEVER
      this.#turn()
    })
  }

  #turn(): void {
    const { stack } = this
    const now = this.now
    for (const shared of this.#inbox) {
      stack.receive(this.#nic, shared.frame, now)
      this.#bridge.release(shared)
    }
    this.#inbox.length = 0
    stack.handleTimeout(now)
    for (const session of this.sessions) {
      if (session.state !== 'waiting' || now < this.#startedAt + session.spec.startAt) continue
      session.state = 'open'
      session.connection = stack.connect(VIRTUAL_ADDRESS, session.spec.port, now)
      session.connection.context = session
    }
    for (let c = stack.pollReady(); c !== null; c = stack.pollReady()) this.#handleNews(c)
    for (const session of this.sessions) {
      if (session.establishedAt < NEVER) session.pump(this.#world, now, this.#buffer)
    }
    for (let f = stack.pollTransmit(now); f !== null; f = stack.pollTransmit(now)) this.#send(f)
    let at = stack.nextDeadline()
    for (const s of this.sessions) at = Math.min(at, s.nextDeadline(this.#startedAt, now))
    if (at < NEVER) this.#wake(Math.max(at - now, 0.1))
  }

  #handleNews(c: Connection): void {
    const session = c.context as ClientSession
    const events = c.events
    c.events = 0
    if ((events & ConnectionEvent.CONNECTED) !== 0 && session.establishedAt === NEVER) {
      session.establishedAt = this.#world.now
    }
    if ((events & ConnectionEvent.CLOSED) === 0 || session.over) return
    if (session.establishedAt === NEVER && c.error === 'EHOSTUNREACH') {
      // Nobody owns the address just now: as a client would, it tries again.
      session.connection = null
      session.state = 'waiting'
      return
    }
    session.pump(this.#world, this.now, this.#buffer)
    if (session.over) return
    session.state = 'failed'
    session.error = c.error === '' ? 'closed' : c.error
    this.#world.note(`client's stream ${session.index} failed: ${session.error}`)
    this.onFailed(session)
  }

  #send(frame: Parameters<Bridge['share']>[0]): void {
    const { random, now } = this.#world
    const link = this.#link
    if (random.chance(link.loss)) return
    const shared = this.#bridge.share(frame)
    let at = now + random.between(link.delay, link.delay + link.jitter + 0.001)
    if (!random.chance(link.reorder)) {
      at = Math.max(at, this.#lastUpAt)
      this.#lastUpAt = at
    }
    this.#world.at(at, () => {
      this.#bridge.transmit(this.port, shared.frame)
      this.#bridge.release(shared)
    })
  }
}
