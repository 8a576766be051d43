/**
 * Heartbeat: signs of life between nodes from a native thread, and the lease that lets this node speak (requirement D3).
 *
 * The thread sends and hears beats whatever JavaScript does; JavaScript reads what it heard from shared memory, with no
 * native call, and is called back once when a peer falls silent or its event loop is stuck. The lease holds while beats
 * go out, the event loop turns, and no longer stop was noticed since the last renewal; a Tap asks it before each leased
 * frame. All instants are CLOCK_MONOTONIC milliseconds: see monotonicMs.
 */
import { StackError } from '../base/errors.js'
import type { Millis } from '../base/time.js'
import type { HeartbeatHandle, HeartbeatParts } from './native.js'
import { BeatSlot, isSystemError, monotonicMs, native, PeerFlag, PeerSlot } from './native.js'

export interface HeartbeatOptions {
  /** This node, 0 .. 2^32 - 1. */
  readonly id: number
  /** IPv4 address to bind. Default 127.0.0.1. */
  readonly address?: string
  /** UDP port; 0 (the default) takes a free one. */
  readonly port?: number
  /** The cluster key: 16 octets, copied. */
  readonly key: Uint8Array
  /** Between two beats. Default 3. */
  readonly intervalMs?: number
  /** No beat for so long: this node has lost its lease. Must not exceed the peers' `silenceMs`. Default 40. */
  readonly leaseMs?: number
  /** No turn of the event loop for so long: the same. Must not exceed the peers' `stuckMs`. Default 800. */
  readonly turnLeaseMs?: number
  /** A peer not heard for so long is silent. Default 50. */
  readonly silenceMs?: number
  /** A peer that is heard, but whose event loop has not turned for so long, is stuck. Default 1000. */
  readonly stuckMs?: number
  /** SCHED_FIFO priority to ask for; 0 asks for none. Default 10. */
  readonly priority?: number
  /** Called once per silence. The peer was last heard at `since`. */
  readonly onSilent?: (peer: number, since: Millis) => void
  /** Called once each time a peer's loop gets stuck; it last turned at `since`. */
  readonly onStuck?: (peer: number, since: Millis) => void
  /** Called once each time a peer's port is found closed: its process has ended. It was last heard at `since`. */
  readonly onGone?: (peer: number, since: Millis) => void
}

/** What is known of a peer. */
export interface PeerBeat {
  readonly id: number
  /** False until the first beat was believed: `lastHeardAt` and the others are 0 then. */
  readonly heard: boolean
  readonly lastHeardAt: Millis
  /** Its event loop's turn counter, and when that last changed. */
  readonly turn: number
  readonly turnAt: Millis
  /** The highest of our sequence numbers it has heard, and when we sent that beat; 0: none. */
  readonly echoSeq: number
  readonly echoSentAt: Millis
  readonly silent: boolean
  readonly stuck: boolean
  /** Its port refused our beats, and nothing has been heard since. */
  readonly gone: boolean
  /** It says that its own lease has run out. */
  readonly expired: boolean
  readonly seq: number
  readonly received: number
}

export interface HeartbeatStats {
  readonly sent: number
  readonly sendErrors: number
  readonly received: number
  /** The longest pause of the thread, in ms. */
  readonly worstGapMs: Millis
  readonly drops: {
    readonly badPacket: number
    readonly badTag: number
    readonly unknown: number
    readonly replayed: number
    /** From a new incarnation that has not yet shown that it hears us. A few at each start are normal. */
    readonly unproven: number
  }
}

export class Heartbeat {
  readonly id: number
  /** The bound port. */
  readonly port: number
  /** The SCHED_FIFO priority of the thread, or 0 when that was not permitted. */
  readonly priority: number
  readonly leaseMs: Millis
  readonly turnLeaseMs: Millis
  /** For Tap.setLease. */
  readonly handle: HeartbeatHandle
  readonly #table: Float64Array
  readonly #rows = new Map<number, number>()
  #closed = false

  /** Starts beating. Throws StackError ERR_HEARTBEAT_KEY, ERR_HEARTBEAT_ADDRESS, ERR_HEARTBEAT_SYSTEM. */
  constructor(options: HeartbeatOptions) {
    this.id = options.id
    this.leaseMs = options.leaseMs ?? 40
    this.turnLeaseMs = options.turnLeaseMs ?? 800
    const parts = start(options, this.leaseMs, this.turnLeaseMs, (peer, kind, since) => {
      if (this.#closed) return
      if (kind === PeerFlag.SILENT) options.onSilent?.(peer, since)
      else if (kind === PeerFlag.GONE) options.onGone?.(peer, since)
      else options.onStuck?.(peer, since)
    })
    this.port = parts.port
    this.priority = parts.priority
    this.handle = parts.handle
    this.#table = new Float64Array(parts.table)
  }

  /** Sends beats to `id` at `address:port` and believes its beats, from wherever they come. At most 64 peers. */
  addPeer(id: number, address: string, port: number): void {
    if (this.#closed) return
    const row = native().heartbeatAddPeer(this.handle, id, address, port)
    if (row < 0)
      throw new StackError('ERR_HEARTBEAT_PEERS', 'a node has at most 64 peers: remove one')
    this.#rows.set(id, BeatSlot.HEADER + row * PeerSlot.SIZE)
  }

  removePeer(id: number): void {
    if (this.#rows.delete(id) && !this.#closed) native().heartbeatRemovePeer(this.handle, id)
  }

  /** What is known of peer `id`, or null when there is no such peer. */
  peer(id: number): PeerBeat | null {
    const row = this.#rows.get(id)
    if (row === undefined) return null
    const at = (slot: number) => this.#table[row + slot] ?? 0
    const flags = at(PeerSlot.FLAGS)
    return {
      id,
      heard: (flags & PeerFlag.HEARD) !== 0,
      lastHeardAt: at(PeerSlot.LAST_HEARD_AT),
      turn: at(PeerSlot.TURN),
      turnAt: at(PeerSlot.TURN_AT),
      echoSeq: at(PeerSlot.ECHO_SEQ),
      echoSentAt: at(PeerSlot.ECHO_SENT_AT),
      silent: (flags & PeerFlag.SILENT) !== 0,
      stuck: (flags & PeerFlag.STUCK) !== 0,
      gone: (flags & PeerFlag.GONE) !== 0,
      expired: (flags & PeerFlag.EXPIRED) !== 0,
      seq: at(PeerSlot.SEQ),
      received: at(PeerSlot.RECEIVED),
    }
  }

  /** When peer `id` was last heard; 0: never. Allocates nothing. */
  lastHeardAt(id: number): Millis {
    const row = this.#rows.get(id)
    return row === undefined ? 0 : this.#at(row + PeerSlot.LAST_HEARD_AT)
  }

  /** Tells that the event loop turned: to be called at each turn, before anything is sent in it. No native call. */
  turn(now: Millis = monotonicMs()): void {
    // A loop that stood still for too long must not hide it by turning again.
    if (now - this.#at(BeatSlot.TURN_AT) > this.turnLeaseMs && !this.#closed) {
      native().heartbeatExpire(this.handle)
    }
    this.#table[BeatSlot.TURN_AT] = now
    this.#table[BeatSlot.TURN] = this.#at(BeatSlot.TURN) + 1
  }

  /** How often the lease has run out. */
  get expirations(): number {
    return this.#at(BeatSlot.EXPIRATIONS)
  }

  /** True from the moment the lease ran out until it is renewed. */
  get expired(): boolean {
    return this.#at(BeatSlot.EXPIRATIONS) !== this.#at(BeatSlot.RENEWED)
  }

  /** True while this node may speak: what the TAP asks too. */
  leaseHeld(now: Millis = monotonicMs()): boolean {
    return (
      !this.#closed &&
      now - this.#at(BeatSlot.LAST_BEAT_AT) <= this.leaseMs &&
      now - this.#at(BeatSlot.TURN_AT) <= this.turnLeaseMs &&
      now <= this.#at(BeatSlot.LEASE_UNTIL) &&
      !this.expired
    )
  }

  /**
   * Takes the lease anew. `seen` is the value of `expirations` when it was decided that this node may speak: an expiry
   * that happened since then stays in force.
   */
  renewLease(seen: number = this.expirations): void {
    this.#table[BeatSlot.TURN_AT] = monotonicMs()
    this.#table[BeatSlot.RENEWED] = seen
  }

  /** An instant at which the lease ends whatever else holds, such as what a quorum has granted. Default: never. */
  set leaseUntil(at: Millis) {
    this.#table[BeatSlot.LEASE_UNTIL] = at
  }

  get leaseUntil(): Millis {
    return this.#at(BeatSlot.LEASE_UNTIL)
  }

  get lastBeatAt(): Millis {
    return this.#at(BeatSlot.LAST_BEAT_AT)
  }

  stats(): HeartbeatStats {
    return {
      sent: this.#at(BeatSlot.SENT),
      sendErrors: this.#at(BeatSlot.SEND_ERRORS),
      received: this.#at(BeatSlot.RECEIVED),
      worstGapMs: this.#at(BeatSlot.WORST_GAP),
      drops: {
        badPacket: this.#at(BeatSlot.BAD_PACKET),
        badTag: this.#at(BeatSlot.BAD_TAG),
        unknown: this.#at(BeatSlot.UNKNOWN),
        replayed: this.#at(BeatSlot.REPLAYED),
        unproven: this.#at(BeatSlot.UNPROVEN),
      },
    }
  }

  /** Ends the thread; the lease is gone for good and nothing is called back any more. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    native().heartbeatClose(this.handle)
  }

  #at(slot: number): number {
    return this.#table[slot] ?? 0
  }
}

function start(
  options: HeartbeatOptions,
  leaseMs: Millis,
  turnLeaseMs: Millis,
  onNotice: (peer: number, kind: number, since: Millis) => void,
): HeartbeatParts {
  if (options.key.length !== 16) {
    const message = `the cluster key has ${options.key.length} octets: it must have 16`
    throw new StackError('ERR_HEARTBEAT_KEY', message)
  }
  const address = options.address ?? '127.0.0.1'
  const port = options.port ?? 0
  try {
    return native().heartbeatStart(
      {
        id: options.id,
        address,
        port,
        key: options.key,
        priority: options.priority ?? 10,
        intervalMs: options.intervalMs ?? 3,
        leaseMs,
        turnLeaseMs,
        silenceMs: options.silenceMs ?? 50,
        stuckMs: options.stuckMs ?? 1000,
      },
      onNotice,
    )
  } catch (cause) {
    if (!isSystemError(cause)) throw cause
    const bad = ['EADDRINUSE', 'EADDRNOTAVAIL', 'EINVAL', 'EACCES'].includes(cause.errno)
    const advice = bad ? ': use an IPv4 address of this host and a free port' : ''
    const code = bad ? 'ERR_HEARTBEAT_ADDRESS' : 'ERR_HEARTBEAT_SYSTEM'
    const message = `heartbeats cannot use ${address}:${port}: ${cause.message}${advice}`
    throw new StackError(code, message, { cause })
  }
}
