/**
 * NodeHost: a machine with one cluster node: a stack, a port on the bridge, stores, an application, and a process that can
 * crash between any two steps, be stopped, or have its event loop held up. A turn goes in the order of the real driver: is
 * the lease still held, what arrived, what is due, the application, checkpoints to disk, and only then the wire.
 */

import {
  ClusterNode,
  type NodeTiming,
  type Ownership,
  type ProxyHeader,
  smallestId,
} from '../../cluster/index.js'
import { handlePortOpened } from '../../cluster/link-gap.js'
import {
  type MemoryCheckpointStorage,
  MemoryCheckpointStore,
  MemoryMirrorStore,
} from '../../cluster/memory-store.js'
import type { Action } from '../../cluster/node-actions.js'
import { type Frame, type Millis, type Nic, Stack } from '../../stack/index.js'
import { type App, ServerApp, type ServerConfig } from './app.js'
import type { Bridge, BridgePort, SharedFrame } from './bridge.js'
import type { Control } from './control.js'
import type { Disk } from './disk.js'
import { AUTHENTICATOR, BINDING, SECRET } from './place.js'
import { ProxyApp } from './proxy-app.js'
import type { World } from './world.js'

/** Frames that wait for a process that is stopped. */
export const MAX_INBOX = 10_000
// The event loop turns at least so often.
const TICK_MS = 20
const STRICT = { peers: 1, alone: 'go-on' } as const
// A timer never fires sooner.
const LEAST_DELAY_MS = 0.2

/** Where in a turn a process ends or stops. */
export type Stage = 'declared' | 'received' | 'dispatched' | 'flushed' | 'sending'

/** What comes beside the bridge. */
export type ControlInput =
  | { readonly kind: 'message'; readonly from: number; readonly bytes: Uint8Array }
  | { readonly kind: 'channel'; readonly node: number; readonly up: boolean }
  | { readonly kind: 'fenced'; readonly node: number; readonly confirmed: boolean }

/** Who is told what a host does. */
export interface HostObserver {
  handleAction(host: NodeHost, action: Action): void
  handleReset(host: NodeHost, remotePort: number): void
  handleCrash(host: NodeHost): void
  handleInputLost(host: { readonly id: number }, remotePort: number): void
}

/** What all hosts share. */
export interface Site {
  readonly world: World
  readonly bridge: Bridge
  readonly storage: MemoryCheckpointStorage
  readonly disk: Disk
  readonly observer: HostObserver
  readonly timing: NodeTiming
  readonly server: ServerConfig
  readonly receiveLimit: number
  readonly sendLimit: number
  /** Clients are served by a machine behind the nodes. */
  readonly proxied: boolean
  /** What tells that machine whose connection it is. */
  readonly header: ProxyHeader | null
  /** Nodes ask for what they missed. */
  readonly repairs: boolean
  /** The owner acknowledges what its peers have; it goes on alone when there are none. */
  readonly strict: boolean
  /** The binding returns to the smallest id when that is back (P23). */
  readonly returns: boolean
  /** How many nodes the set has, of which more than half must be heard to own (D3); 0: no set is named. */
  readonly members: number
}

export class NodeHost {
  readonly id: number
  readonly port: BridgePort
  readonly site: Site
  control!: Control
  stack!: Stack
  nic!: Nic
  node!: ClusterNode
  app!: App
  /** Counts the processes that ran here; 0 before the first. */
  life = 0
  bornAt: Millis = 0
  running = false
  /** The whole process is stopped. */
  paused = false
  /** The event loop alone is held up; heartbeats go on. */
  stalled = false
  /** When the event loop turned last, in the world's time. */
  turnedAt: Millis = 0
  /** When its heartbeat's thread last sent: the lease counts from there. */
  beatAt: Millis = 0
  /** Frames sent or got that others could have and this host's state does not show. */
  lost = 0
  /** Ports of the connections that this process has promoted. */
  readonly adopted = new Set<number>()
  /** Ends the process in its next turn, at this stage; for `sending`, behind so many frames. */
  crashPlan: { stage: Stage; frames: number } | null = null
  /** Stops the process in its next turn, between its application and the wire. */
  stopPlan: { stage: Stage; ms: Millis } | null = null
  readonly #mirrorStore = new MemoryMirrorStore()
  #checkpoints!: MemoryCheckpointStore
  readonly #skew: Millis
  #expired = false
  #expiryTold = false
  #wakeAt: Millis = Number.POSITIVE_INFINITY
  #inbox: SharedFrame[] = []
  #controlInbox: ControlInput[] = []
  #beats = new Map<number, Millis>()
  #rest: (() => void) | null = null
  #missedAtBirth = 0

  constructor(site: Site, id: number) {
    this.site = site
    this.id = id
    this.port = site.bridge.attach(`n${id}`, true)
    this.port.deliver = (shared) => this.#arrive(shared)
    this.#skew = site.world.random.below(2) * site.world.random.below(1_000_000)
  }

  /** The host's own clock. */
  get now(): Millis {
    return this.site.world.now + this.#skew
  }

  /** Its part in the one binding. */
  get own(): Ownership {
    return this.node.ownerships[0] as Ownership
  }

  /** True while this node has seen and shown all that its peers could, from its first start. */
  get exact(): boolean {
    // What is said again to one that only lags comes in another order.
    if ((this.own.snooper.strict?.peer.heardAgain ?? 0) > 0) return false
    return this.life === 1 && this.lost === 0 && this.port.missed === this.#missedAtBirth
  }

  /** True when frames were kept from this process. */
  get wasDeaf(): boolean {
    return this.lost > 0 || this.port.missed !== this.#missedAtBirth
  }

  /** True when nothing waits to be taken in. */
  get idle(): boolean {
    return this.#inbox.length === 0 && !this.paused && !this.stalled && this.#rest === null
  }

  /** True when this node owns the address as far as it knows, and its device would let it speak. */
  get maySpeak(): boolean {
    return this.running && this.own.state === 'owner' && this.mayCarry
  }

  /** True when its device would let it speak. */
  get mayCarry(): boolean {
    if (!this.running || this.#expired) return false
    // One that stands still is judged by what it says when it goes on.
    if (this.port.isolated || this.paused || this.stalled) return false
    const { world, timing } = this.site
    if (world.now - this.beatAt > timing.leaseMs) return false
    return world.now - this.turnedAt <= timing.turnLeaseMs
  }

  start(): void {
    const { world, receiveLimit, sendLimit } = this.site
    this.life++
    this.bornAt = world.now
    this.beatAt = world.now
    this.running = true
    this.#missedAtBirth = this.port.missed
    // What came before the first start is nobody's loss.
    if (this.life === 1) this.lost = 0
    this.#expired = false
    this.#expiryTold = false
    this.#wakeAt = Number.POSITIVE_INFINITY
    this.port.isolated = false
    this.stack = new Stack({ rng: world.random, secret: SECRET, receiveLimit, sendLimit })
    this.nic = this.stack.addNic({ mac: 0x020000000000 + this.id, mtu: 1500 })
    this.#checkpoints = new MemoryCheckpointStore(this.site.storage)
    const { reset } = this.stack
    this.stack.reset = (ends, seq) => {
      this.site.observer.handleReset(this, ends.remotePort)
      reset.call(this.stack, ends, seq)
    }
    this.adopted.clear()
    const { adopt } = this.stack
    this.stack.adopt = (parts, nic, ends, ...rest) => {
      this.adopted.add(ends.remotePort)
      return adopt.call(this.stack, parts, nic, ends, ...rest)
    }
    this.#startNode()
    this.#wake(0)
  }

  #startNode(): void {
    const { stack, nic, id, site } = this
    this.node = new ClusterNode(
      {
        id,
        incarnation: 1_000_000 + Math.floor(site.world.now),
        cluster: 'simulation',
        sets: [
          {
            binding: BINDING,
            policy: smallestId,
            recovery: site.returns ? 'return' : 'stay',
            ...(site.strict && { strict: STRICT }),
            ...(site.members > 0 && {
              members: Array.from({ length: site.members }, (_, i) => i + 1),
              quorum: Math.floor(site.members / 2) + 1,
            }),
          },
        ],
        controlAddress: 0x7f000001,
        controlPort: 7000 + id,
        heartbeatPort: 8000 + id,
        fence: { host: 1, pid: id, startTime: this.life, port: `n${id}` },
        application: 'simulation',
        timing: site.timing,
      },
      {
        stack,
        nic,
        mirrorStore: this.#mirrorStore,
        checkpoints: this.#checkpoints,
        authenticator: AUTHENTICATOR,
      },
    )
    for (const { snooper } of this.node.ownerships) {
      if (snooper.repair !== null) snooper.repair.enabled = site.repairs
    }
    this.turnedAt = site.world.now
    if (site.proxied) {
      const proxy = new ProxyApp(this)
      proxy.declare()
      this.app = proxy
    } else {
      this.app = new ServerApp(this, this.#checkpoints, site.server)
    }
    this.node.start(this.now)
  }

  /** The process dies at once: memory is gone, what was flushed stays. */
  crash(): void {
    if (!this.running) return
    this.site.world.note(`n${this.id} crashes`)
    this.running = false
    this.paused = false
    this.stalled = false
    this.crashPlan = null
    this.stopPlan = null
    this.#rest = null
    for (const shared of this.#inbox) this.site.bridge.release(shared)
    this.#inbox = []
    this.#controlInbox = []
    this.#beats.clear()
    this.#mirrorStore.crash()
    this.#checkpoints.crash()
    this.site.observer.handleCrash(this)
    this.control.closeAll(this)
  }

  restart(): void {
    if (this.running) return
    this.site.world.note(`n${this.id} starts again`)
    this.start()
  }

  /** The process stands still; what comes meanwhile waits and is there all at once. */
  pause(ms: Millis): void {
    if (!this.running || this.paused || this.stalled) return
    this.site.world.note(`n${this.id} is stopped for ${ms.toFixed(1)} ms`)
    this.paused = true
    this.#resumeAfter(ms)
  }

  /** The event loop stands still, while the heartbeat's thread goes on. */
  stall(ms: Millis): void {
    if (!this.running || this.paused || this.stalled) return
    this.site.world.note(`n${this.id}'s event loop is held up for ${ms.toFixed(1)} ms`)
    this.stalled = true
    this.#resumeAfter(ms)
  }

  #resumeAfter(ms: Millis): void {
    const life = this.life
    this.site.world.after(ms, () => {
      if (this.life !== life || !this.running) return
      const { world, timing } = this.site
      world.note(`n${this.id} goes on`)
      if (world.now - this.beatAt > timing.leaseMs) this.#expired = true
      this.paused = false
      this.stalled = false
      for (const [id, turnedAt] of this.#beats) this.takeBeat(id, turnedAt)
      this.#beats.clear()
      const rest = this.#rest
      this.#rest = null
      if (rest !== null) rest()
      if (this.running) this.#wake(0)
    })
  }

  #arrive(shared: SharedFrame): void {
    if (!this.running || this.#inbox.length >= MAX_INBOX) {
      this.lost++
      this.site.bridge.release(shared)
      return
    }
    this.#inbox.push(shared)
    this.#wake(this.site.world.random.between(0.002, 0.02))
  }

  takeControl(input: ControlInput): void {
    this.#controlInbox.push(input)
    this.#wake(0)
  }

  takeBeat(id: number, turnedAt: Millis): void {
    if (this.paused) this.#beats.set(id, turnedAt)
    else this.node.handleHeartbeat(id, this.now, turnedAt + this.#skew)
  }

  // A turn in `delay` or sooner.
  #wake(delay: Millis): void {
    const at = this.site.world.now + delay
    if (at >= this.#wakeAt) return
    this.#wakeAt = at
    const life = this.life
    this.site.world.at(at, () => {
      if (this.life !== life || this.#wakeAt !== at) return
      this.#wakeAt = Number.POSITIVE_INFINITY
      if (this.running && !this.paused && !this.stalled) this.#turn()
    })
  }

  #turn(): void {
    const { node, stack, site } = this
    const now = this.now
    this.turnedAt = site.world.now
    node.beginTurn(now)
    if (this.#expired && !this.#expiryTold) {
      this.#expiryTold = true
      node.handleLeaseLost(now)
    }
    if (site.world.random.chance(0.5)) this.#takeControlInputs(now)
    const inbox = this.#inbox
    this.#inbox = []
    for (const shared of inbox) {
      stack.receive(this.nic, shared.frame, now)
      site.bridge.release(shared)
    }
    this.#takeControlInputs(now)
    stack.handleTimeout(now)
    if (node.nextDeadline() <= now) node.handleTimeout(now)
    this.#act()
    if (node.nextDeadline() > now) {
      this.#dispatch(now)
      return
    }
    // A claim has been declared.
    if (this.#endsAt('declared')) return
    this.#stopOr('declared', () => {
      node.handleTimeout(now)
      this.#act()
      this.#dispatch(now)
    })
  }

  #dispatch(now: Millis): void {
    if (this.#endsAt('received')) return
    this.app.dispatch(now)
    if (this.#endsAt('dispatched')) return
    this.#stopOr('dispatched', () => {
      this.#checkpoints.flush()
      if (this.#endsAt('flushed')) return
      this.#stopOr('flushed', () => this.#transmit(now))
    })
  }

  #takeControlInputs(now: Millis): void {
    const inputs = this.#controlInbox
    this.#controlInbox = []
    for (const input of inputs) {
      if (input.kind === 'message') this.node.handleMessage(input.from, input.bytes, now)
      else if (input.kind === 'channel') this.node.handleChannel(input.node, input.up, now)
      else this.node.handleFenced(input.node, input.confirmed, now)
    }
  }

  #endsAt(stage: Stage): boolean {
    const plan = this.crashPlan
    if (plan === null || plan.stage !== stage) return false
    if (stage === 'sending' && plan.frames-- > 0) return false
    this.crash()
    return true
  }

  // Goes on with `rest`, or stops the process before it.
  #stopOr(stage: Stage, rest: () => void): void {
    const plan = this.stopPlan
    if (plan === null || plan.stage !== stage) {
      rest()
      return
    }
    this.stopPlan = null
    this.#rest = rest
    this.pause(plan.ms)
  }

  #transmit(now: Millis): void {
    const { stack } = this
    // As the real driver does it: a turn that was held up looks again before it speaks (D3).
    this.node.beginTurn(this.now)
    // Likewise, what the application has opened is told of before it leaves.
    if (this.site.strict) this.#act()
    for (let f = stack.pollTransmit(now); f !== null; f = stack.pollTransmit(now)) {
      this.#send(f)
      if (!this.running || this.#endsAt('sending')) return
    }
    this.#act()
    const at = Math.min(stack.nextDeadline(), this.node.nextDeadline(), this.app.nextDeadline())
    const idle = this.#inbox.length === 0 && this.#controlInbox.length === 0
    const delay = Math.min(Math.max(at - this.now, LEAST_DELAY_MS), TICK_MS)
    this.#wake(idle ? delay : LEAST_DELAY_MS)
  }

  // What the device asks right before each write: a leased frame leaves only while the lease holds (D3).
  #send(frame: Frame): void {
    const { world, timing, bridge } = this.site
    const beats = world.now - this.beatAt <= timing.leaseMs
    const held = !this.#expired && beats && world.now - this.turnedAt <= timing.turnLeaseMs
    if ((frame.leased && !held) || this.port.isolated) {
      this.lost++
      return
    }
    bridge.transmit(this.port, frame)
  }

  #openPort(): void {
    const wasShut = this.port.isolated
    this.port.isolated = false
    if (wasShut) handlePortOpened(this.node, this.now)
  }

  #act(): void {
    for (let a = this.node.pollAction(); a !== null; a = this.node.pollAction()) {
      if (a.kind === 'send') this.control.send(this, a.bytes)
      else if (a.kind === 'tell') this.control.send(this, a.bytes, a.node)
      else if (a.kind === 'meet') this.control.open(this, a.node)
      else if (a.kind === 'unfence') this.#openPort()
      else if (a.kind === 'renew-lease') {
        this.#expired = false
        this.#expiryTold = false
      }
      this.site.observer.handleAction(this, a)
    }
  }
}
