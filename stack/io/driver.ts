// hot path: no allocation per frame
/**
 * Driver: the event loop of one stack. Frames come from links, time from a clock, writes from the application; each leads to
 * a turn: take in, tell the layer above, let the participants finish their own work, send, arm the one timer.
 *
 * Telling and sending are two steps, because what an application answers often comes in ticks and microtasks behind its
 * callback: when somebody was told something, sending waits for the end of the tick, so that an answer carries the
 * acknowledgement. A turn never starts inside another. Which stack this is the driver does not know.
 */
import { AssertionFailure } from '../base/assert.js'
import { type Clock, type Millis, NEVER } from '../base/time.js'
import type { FrameSink, LinkEndpoint } from '../link/link-endpoint.js'
import type { Frame } from '../wire/frame.js'

/** What stands in the `context` of a connection or a listener to hear its news. */
export interface ReadySink {
  /** `events` are the bits of ConnectionEvent that were set; 0 for a listener, which has connections to accept. */
  handleReady(events: number): void
}

/** A connection, as far as the driver is concerned. */
export interface ReadyConnection {
  events: number
  readonly context: unknown
}

/** A listener, as far as the driver is concerned. */
export interface ReadyListener {
  readonly context: unknown
}

/** The stack, as far as the driver is concerned. `Stack` is one. */
export interface Driven<N> {
  readonly txNic: N | null
  receive(nic: N, frame: Frame, now: Millis): void
  pollTransmit(now: Millis, lent?: Frame | null): Frame | null
  handleTimeout(now: Millis): void
  nextDeadline(): Millis
  pollReady(): ReadyConnection | null
  pollAccept(): ReadyListener | null
  /** A socket with datagrams to read, or with an error. */
  pollDatagrams?(): ReadyConnection | null
}

/** Somebody who has a part in each turn: the cluster, a mirror, a store of checkpoints. */
export interface Participant {
  /** When `handleTimeout` is to be called; NEVER when only input can change anything. */
  nextDeadline(): Millis
  handleTimeout(now: Millis): void
  /** A batch of frames has been taken in; the application has not been told yet. */
  afterReceive?(now: Millis): void
  /** The application has been told, and nothing has been sent yet: what must be durable before that is written here. */
  beforeTransmit?(now: Millis): void
}

export interface DriverOptions {
  /**
   * Takes an error of the stack or of a participant. The driver is closed already and speaks no more; as a rule the process
   * should end, because fail-over is the recovery. By default the error is thrown on. Errors of the application's own
   * callbacks never come here: they are thrown on as Node does it.
   */
  readonly onFailure?: (error: unknown) => void
}

/** Which part of a turn is running. */
const Stage = { IDLE: 0, TELLING: 1, SENDING: 2 } as const
type Stage = (typeof Stage)[keyof typeof Stage]

/**
 * How long the layer above is told of what is ready before the rest of a turn comes: when thousands of connections are promoted at
 * once, the first of them are not to wait for the last, and the loop is to turn.
 */
const TELL_MS: Millis = 10
/** Between two looks at the clock. */
const TELL_COUNT = 32

/** Batches that are taken in of a link before a timeout is handled: more may come than can be taken. */
const MAX_DRAINS = 4

// The longest delay that setTimeout takes.
const MAX_DELAY_MS = 2 ** 31 - 1

export class Driver<N> {
  readonly stack: Driven<N>
  readonly #clock: Clock
  readonly #onFailure: (error: unknown) => void
  readonly #ports: Port<N>[] = []
  readonly #participants: Participant[] = []
  readonly #turn = (): void => this.#handleKick()
  readonly #expire = (): void => this.#handleTimer()
  #stage: Stage = Stage.IDLE
  #kicked = false
  #closed = false
  // There is more to tell: an immediate goes on with it, behind what came in meanwhile.
  #more = false
  #timer: NodeJS.Timeout | null = null
  #timerAt: Millis = NEVER
  #refs = 0
  #anchor: NodeJS.Timeout | null = null
  /** Turns that sent, for statistics. */
  turns = 0

  constructor(stack: Driven<N>, clock: Clock, options: DriverOptions = {}) {
    this.stack = stack
    this.#clock = clock
    this.#onFailure = options.onFailure ?? rethrow
  }

  get closed(): boolean {
    return this.#closed
  }

  now(): Millis {
    return this.#clock.now()
  }

  /** Joins a NIC of the stack and its link. The driver closes the link when it is closed itself. */
  attach(nic: N, link: LinkEndpoint): void {
    const port = new Port(this, nic, link)
    this.#ports.push(port)
    link.attach(port)
  }

  /** Gives `participant` a part in each turn, behind those added before it. */
  addParticipant(participant: Participant): void {
    this.#participants.push(participant)
    this.kick()
  }

  /** Schedules a turn for the end of the current tick: to be called when something was written, opened or closed. */
  kick(): void {
    if (this.#kicked || this.#closed) return
    this.#kicked = true
    process.nextTick(this.#turn)
  }

  /**
   * Sends at once what is due, before the layer above is told of anything: a connection that goes on here does not wait for its
   * application. Does nothing inside a turn, which sends anyway.
   */
  speak(): void {
    if (!this.#closed && this.#stage === Stage.IDLE) this.#send(this.#clock.now())
  }

  /** One more reason to keep the process alive: an open socket or server. */
  ref(): void {
    if (this.#refs++ > 0 || this.#closed) return
    // allocates: once per change between idle and in use
    this.#anchor = setInterval(nothing, MAX_DELAY_MS)
  }

  /** One reason less. */
  unref(): void {
    if (--this.#refs > 0 || this.#anchor === null) return
    clearInterval(this.#anchor)
    this.#anchor = null
  }

  /** Ends the loop and closes the links. Nothing is sent any more, nobody is told anything. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    if (this.#anchor !== null) clearInterval(this.#anchor)
    this.#timer = null
    this.#anchor = null
    for (let i = 0; i < this.#ports.length; i++) (this.#ports[i] as Port<N>).link.close()
  }

  /** Called by a port for each frame. */
  take(nic: N, frame: Frame, now: Millis): void {
    if (this.#closed) return
    try {
      this.stack.receive(nic, frame, now)
    } catch (error) {
      this.#fail(error)
    }
  }

  /** Called by a port behind each batch. */
  handleBatch(now: Millis): void {
    if (this.#closed || this.#stage !== Stage.IDLE) return
    try {
      for (let i = 0; i < this.#participants.length; i++) {
        this.#participants[i]?.afterReceive?.(now)
      }
    } catch (error) {
      this.#fail(error)
      return
    }
    if (this.#tell()) this.kick()
    else if (!this.#kicked) this.#send(now)
  }

  readonly #goOn = (): void => {
    this.#more = false
    this.kick()
  }

  #handleKick(): void {
    // Until the sending starts, another kick asks for nothing that does not come anyway.
    if (!this.#closed && this.#stage === Stage.IDLE) this.#tell()
    this.#kicked = false
    if (!this.#closed && this.#stage === Stage.IDLE) this.#send(this.#clock.now())
  }

  #handleTimer(): void {
    this.#timer = null
    this.#timerAt = NEVER
    if (this.#closed) return
    let now = this.#clock.now()
    let due = false
    try {
      if (this.stack.nextDeadline() <= now) {
        now = this.#hearFirst()
        if (this.#closed) return
      }
      if (this.stack.nextDeadline() <= now) {
        due = true
        this.stack.handleTimeout(now)
      }
      for (let i = 0; i < this.#participants.length; i++) {
        const participant = this.#participants[i] as Participant
        if (participant.nextDeadline() > now) continue
        due = true
        participant.handleTimeout(now)
      }
      // The timer is left behind when a deadline moves away, and it may fire a fraction of a millisecond early.
      if (!due) this.#arm(now)
    } catch (error) {
      this.#fail(error)
      return
    }
    if (!due) return
    if (this.#tell()) this.kick()
    else if (!this.#kicked) this.#send(now)
  }

  // A process that was kept from running has its timers called before its devices are read, where the very acknowledgement may lie
  // that a timer waits for: nothing is to be sent again for want of it. Returns the time.
  #hearFirst(): Millis {
    for (let i = 0; i < this.#ports.length; i++) {
      const { link } = this.#ports[i] as Port<N>
      for (let n = 0; n < MAX_DRAINS && !link.drain(); n++);
    }
    return this.#clock.now()
  }

  // Tells the layer above. True when somebody was told.
  #tell(): boolean {
    if (this.#more) return false
    let told = false
    let done = false
    this.#stage = Stage.TELLING
    try {
      let left = TELL_COUNT
      let until = NEVER
      for (let r = this.#nextReady(); r !== null; r = this.#nextReady()) {
        if (tellOne(r)) told = true
        if (--left > 0) continue
        left = TELL_COUNT
        const now = this.#clock.now()
        if (until === NEVER) until = now + TELL_MS
        else if (now >= until) {
          this.#more = true
          setImmediate(this.#goOn)
          break
        }
      }
      done = true
    } catch (error) {
      if (error instanceof AssertionFailure) this.#fail(error)
      else throw error
    } finally {
      this.#stage = Stage.IDLE
      // An application's error goes where Node sends it; if the process lives on, so do the other connections.
      if (!done) {
        this.#kicked = false
        this.kick()
      }
    }
    return told
  }

  // A listener, a connection or a socket for datagrams that has news, or null.
  #nextReady(): ReadyListener | ReadyConnection | null {
    return this.stack.pollAccept() ?? this.stack.pollReady() ?? this.stack.pollDatagrams?.() ?? null
  }

  #send(now: Millis): void {
    if (this.#closed) return
    this.#stage = Stage.SENDING
    this.turns++
    try {
      for (let i = 0; i < this.#participants.length; i++) {
        this.#participants[i]?.beforeTransmit?.(now)
      }
      if (this.#ports.length === 1) this.#transmitAll(this.#ports[0] as Port<N>, now)
      else this.#transmitByNic(now)
      for (let i = 0; i < this.#ports.length; i++) (this.#ports[i] as Port<N>).link.flush()
      this.#arm(now)
    } catch (error) {
      this.#fail(error)
    } finally {
      this.#stage = Stage.IDLE
    }
  }

  // With one link there is no doubt by which a frame leaves, so it can be built where the link wants it.
  #transmitAll(port: Port<N>, now: Millis): void {
    const { nic, link } = port
    for (;;) {
      const frame = this.stack.pollTransmit(now, link.txFrame?.() ?? null)
      if (frame === null) return
      if (this.stack.txNic === nic) link.transmit(frame)
    }
  }

  #transmitByNic(now: Millis): void {
    for (let f = this.stack.pollTransmit(now); f !== null; f = this.stack.pollTransmit(now)) {
      const link = this.#linkOf(this.stack.txNic)
      if (link !== null) link.transmit(f)
    }
  }

  #linkOf(nic: N | null): LinkEndpoint | null {
    for (let i = 0; i < this.#ports.length; i++) {
      const port = this.#ports[i] as Port<N>
      if (port.nic === nic) return port.link
    }
    return null
  }

  // One timer. When the deadline moves away it is left to fire too early: that is cheaper than a new timer per turn.
  #arm(now: Millis): void {
    let at = this.stack.nextDeadline()
    for (let i = 0; i < this.#participants.length; i++) {
      at = Math.min(at, (this.#participants[i] as Participant).nextDeadline())
    }
    if (at >= this.#timerAt) return
    if (this.#timer !== null) clearTimeout(this.#timer)
    const delay = Math.min(Math.max(Math.ceil(at - now), 1), MAX_DELAY_MS)
    this.#timerAt = at
    this.#timer = setTimeout(this.#expire, delay)
    this.#timer.unref()
  }

  // A broken invariant: whatever is wrong, it must not speak for anybody any more.
  #fail(error: unknown): void {
    this.close()
    this.#onFailure(error)
  }
}

/** Takes frames from one link, all of a batch with the same time. */
class Port<N> implements FrameSink {
  readonly nic: N
  readonly link: LinkEndpoint
  readonly #driver: Driver<N>
  #now: Millis = -1

  constructor(driver: Driver<N>, nic: N, link: LinkEndpoint) {
    this.#driver = driver
    this.nic = nic
    this.link = link
  }

  onFrame(frame: Frame): void {
    if (this.#now < 0) this.#now = this.#driver.now()
    this.#driver.take(this.nic, frame, this.#now)
  }

  onBatchEnd(): void {
    const now = this.#now < 0 ? this.#driver.now() : this.#now
    this.#now = -1
    this.#driver.handleBatch(now)
  }
}

function tellOne(ready: ReadyListener | ReadyConnection): boolean {
  // Nobody has accepted it yet: the news can wait.
  if (ready.context === null) return false
  let events = 0
  if ('events' in ready) {
    events = ready.events
    if (events === 0) return false
    ready.events = 0
  }
  ;(ready.context as ReadySink).handleReady(events)
  return true
}

function nothing(): void {}

function rethrow(error: unknown): never {
  throw error
}
