/**
 * ClusterNode: one node's part in the ownership of one binding. It listens, declares, suspects, claims and yields; it knows no
 * socket and no clock. Frames come by the NIC's snoop hook, everything else by `handle…`; what the world has to do for it is
 * pulled as actions.
 *
 *              boot, nobody owns          owner suspected             fenced, or its lease has run out
 *   STANDBY ------------------> OWNER       STANDBY ----> CLAIMING ------------------------------> OWNER
 *   OWNER   -- a greater claim --> STANDBY      OWNER -- own lease lost --> FENCED -- nobody else owns --> OWNER
 */
import {
  DropReason,
  type EthernetHeader,
  EtherType,
  type Frame,
  type FrameSnoop,
  type Millis,
  NEVER,
} from '../stack/index.js'
import type { NodeId } from './binding.js'
import {
  clusterHash,
  compareClaims,
  DeclarationKind,
  decodeDeclaration,
  type OwnershipDeclaration,
} from './declaration.js'
import { FailureDetector } from './failure-detector.js'
import { Herald } from './herald.js'
import { Mirror } from './mirror.js'
import type { Action, ClaimCause, NodeReport } from './node-actions.js'
import { NOBODY, type NodeOptions, type NodeWorld } from './node-options.js'
import { Peers } from './peers.js'
import { Snooper } from './snooper.js'
import { Succession } from './succession.js'
import { announce, clientsHeard, demoteAll, type PromotionCount, promoteAll } from './takeover.js'

export type { Action, NodeReport } from './node-actions.js'
export {
  DEFAULT_TIMING,
  type NodeOptions,
  type NodeTiming,
  type NodeWorld,
} from './node-options.js'

export type OwnershipState = 'standby' | 'claiming' | 'owner' | 'fenced'

// Between the end of another's lease and our first word.
const LEASE_MARGIN_MS = 10

export class ClusterNode implements FrameSnoop {
  readonly options: NodeOptions
  readonly snooper: Snooper
  readonly detector: FailureDetector
  readonly peers = new Peers()
  state: OwnershipState = 'standby'
  /** The term of ownership that this node knows of, and its owner; 0 while nobody is known to own. */
  epoch = 0
  owner: NodeId = NOBODY
  readonly #world: NodeWorld
  readonly #mirror: Mirror
  readonly #succession: Succession
  readonly #cluster: number
  readonly #herald: Herald
  readonly #actions: Action[] = []
  #highestEpoch = 0
  // 0 once the node has listened long enough.
  #listenUntil: Millis = 0
  #renewAt: Millis = NEVER
  #orphanedAt: Millis = NEVER
  #claimAt: Millis = NEVER
  #cause: ClaimCause = 'boot'
  #yieldedBy: NodeId = NOBODY
  #suspectedAt: Millis = 0
  #turnedAt: Millis = 0
  #answer = false
  // The fence has been asked for, and has not been answered.
  #fencing = false

  constructor(options: NodeOptions, world: NodeWorld) {
    this.options = options
    this.#world = world
    this.#cluster = clusterHash(options.cluster)
    this.#herald = new Herald(options, world.nic, world.authenticator)
    this.snooper = new Snooper(options.binding, world.stack.drops)
    this.detector = new FailureDetector(options.timing)
    this.#succession = new Succession(options.id, options.binding, options.policy, this.peers)
    this.#mirror = new Mirror(world.mirrorStore, world.checkpoints, options.incarnation >>> 0)
  }

  /** Boots: watches the address, and asks everybody on the link who they are (P3). */
  start(now: Millis): void {
    const { nic, mirrorStore } = this.#world
    const { binding, timing } = this.options
    nic.setAddress(binding.address, binding.prefix, 'observed')
    nic.snoop = this
    this.#highestEpoch = mirrorStore.epoch(binding.id)
    // Those who know of no later term must hear of this one, lest they use it again.
    this.epoch = this.#highestEpoch
    // What an earlier life mirrored lacks what was said while nobody listened.
    for (const { key } of [...mirrorStore.flows(binding.id)]) mirrorStore.removeFlow(key)
    mirrorStore.flush()
    this.#turnedAt = now
    // Where there was a term there may be an owner whose event loop is held up: it speaks while its lease lasts.
    this.#listenUntil =
      now + (this.epoch > 0 ? Math.max(timing.bootMs, timing.turnLeaseMs) : timing.bootMs)
    this.#declare(DeclarationKind.PRESENT, true)
  }

  /**
   * The event loop turns. Comes before anything is received or sent in the turn, so that a node that was stopped finds out
   * before it speaks (D3).
   */
  beginTurn(now: Millis): void {
    const gap = now - this.#turnedAt
    this.#turnedAt = now
    if (gap > this.options.timing.turnLeaseMs) this.handleLeaseLost(now)
  }

  /** Our lease ran out while we were stopped: others may have taken over. */
  handleLeaseLost(now: Millis): void {
    this.detector.grace(now)
    if (this.state === 'claiming') this.state = 'standby'
    this.#suspectedAt = 0
    const owned = this.state === 'owner'
    if (owned) {
      this.#stepDown(now)
      this.state = 'fenced'
      this.owner = NOBODY
      this.#orphanedAt = now
      this.#listenUntil = now + this.options.timing.bootMs
    }
    // Peers may have written us off meanwhile.
    this.#declare(DeclarationKind.PRESENT, true)
    if (!owned) return
    this.#report({ event: 'fenced', epoch: this.epoch })
  }

  /** Sees every frame of the link. `frame` and `ethernet` are borrowed. */
  onFrame(frame: Frame, ethernet: EthernetHeader, now: Millis): void {
    const node = this.peers.idOf(ethernet.src)
    if (node !== NOBODY) this.detector.heard(node, now)
    if (ethernet.etherType === EtherType.IPV4) this.snooper.onFrame(frame, ethernet, now)
    else if (ethernet.etherType === EtherType.EXPERIMENTAL) {
      const { payloadStart, payloadEnd } = ethernet
      this.handleDeclaration(frame.bytes.subarray(payloadStart, payloadEnd), now)
    }
  }

  /** Takes a declaration from the link or from a control channel. `bytes` is borrowed. */
  handleDeclaration(bytes: Uint8Array, now: Millis): void {
    const { authenticator, stack } = this.#world
    const d = decodeDeclaration(bytes, this.#cluster, authenticator)
    if (typeof d === 'number') {
      stack.drops.count(d)
      return
    }
    if (d.node === this.options.id) {
      if (d.incarnation !== this.options.incarnation) this.#report({ event: 'duplicate-id' })
      return
    }
    const notice = this.peers.note(d)
    if (notice === 'again') return
    if (notice === 'replayed' || notice === 'full') {
      stack.drops.count(DropReason.DECLARATION_REPLAYED)
      return
    }
    this.#meet(d, notice === 'new', now)
    if (d.binding !== this.options.binding.id) return
    if (d.epoch > this.#highestEpoch) this.#highestEpoch = d.epoch
    if (d.kind === DeclarationKind.CLAIM || d.kind === DeclarationKind.RENEW) {
      this.#handleClaim(d, d.node, now)
    } else if (
      d.kind === DeclarationKind.PRESENT &&
      d.owner !== NOBODY &&
      d.owner !== this.options.id
    ) {
      this.#handleHearsay(d, now)
    } else if (this.state === 'owner' && d.epoch > this.epoch) {
      this.#outbid(d.epoch)
    } else if (d.kind === DeclarationKind.YIELD && d.node === this.owner) {
      if (this.state === 'claiming') this.state = 'standby'
      this.#fencing = false
      this.#yieldedBy = d.node
      this.owner = NOBODY
      this.#orphanedAt = now
    }
  }

  #meet(d: OwnershipDeclaration, fresh: boolean, now: Millis): void {
    if (fresh) {
      this.detector.forget(d.node)
      this.#succession.met(d.node, d.incarnation, now)
      const { node, controlAddress, controlPort, heartbeatPort } = d
      this.#actions.push({ kind: 'meet', node, controlAddress, controlPort, heartbeatPort })
      this.#report({ event: 'peer', node: d.node })
      // It may come from behind a cut, where it owned the address too: the clients may have heard its last word.
      if (this.state === 'owner') this.#world.nic.announce(this.options.binding.address, now)
    }
    this.detector.watch(d.node, now)
    this.detector.heard(d.node, now)
    // P4: whoever asks, and whoever is new here, hears of us.
    if (d.solicit || fresh) this.#answer = true
  }

  // Who else owns the binding is known from one that knows it, when the owner itself cannot be heard: it counts when it is
  // news. An owner of which that is all we know is given the time in which it could still speak.
  #handleHearsay(d: OwnershipDeclaration, now: Millis): void {
    if (compareClaims(d.epoch, d.owner, this.epoch, this.owner) <= 0) return
    const { stuckMs, silenceMs } = this.options.timing
    this.#handleClaim(d, d.owner, now)
    this.#succession.ownerNamed()
    this.detector.watch(d.owner, now + stuckMs - silenceMs)
  }

  #handleClaim(d: OwnershipDeclaration, owner: NodeId, now: Millis): void {
    const order = compareClaims(d.epoch, owner, this.epoch, this.owner)
    if (order < 0) {
      // A lesser claim: its maker has missed a greater one. It may have drawn the clients to its Ethernet address, too.
      this.#answer = true
      if (this.state === 'owner') this.#world.nic.announce(this.options.binding.address, now)
      return
    }
    this.#succession.ownerSpoke(now)
    if (order === 0) {
      // The owner lives after all. A fence that is on its way is gone through with: behind it nobody would hear the owner.
      if (this.state === 'claiming' && !this.#fencing) this.state = 'standby'
      if (this.state !== 'claiming') this.#suspectedAt = 0
      return
    }
    const before = this.state
    // No word of it: whoever claims has said all, and a YIELD of the old term could be taken for one of the new owner's.
    if (before === 'owner') this.#stepDown(now)
    this.#fencing = false
    this.epoch = d.epoch
    this.owner = owner
    this.state = 'standby'
    this.#claimAt = NEVER
    this.#suspectedAt = 0
    // So that this term is known here after a restart too.
    this.#world.mirrorStore.putEpochSync(d.binding, d.epoch)
    this.#actions.push({ kind: 'unfence' })
    this.#report({ event: 'standby', owner, epoch: d.epoch, yielded: before === 'owner' })
  }

  /** The control channel to a node is up, or has ended. */
  handleChannel(node: NodeId, up: boolean, now: Millis): void {
    this.detector.channel(node, up, now)
    if (up) this.#answer = true
  }

  /** A native heartbeat of `node` was heard at `heardAt`; its event loop last turned at `turnedAt`. */
  handleHeartbeat(node: NodeId, heardAt: Millis, turnedAt: Millis): void {
    this.detector.heartbeat(node, heardAt, turnedAt)
  }

  /** The fence around `node` stands, or could not be confirmed: then its lease must run out first. */
  handleFenced(node: NodeId, confirmed: boolean, now: Millis): void {
    if (this.state !== 'claiming' || node !== this.owner) return
    this.#fencing = false
    const { leaseMs, turnLeaseMs } = this.options.timing
    const over =
      this.#cause === 'stuck'
        ? this.detector.lastTurnedAt(node) + turnLeaseMs + LEASE_MARGIN_MS
        : this.detector.lastHeardAt(node) + leaseMs + LEASE_MARGIN_MS
    this.#claimAt = confirmed ? now : Math.max(now, over)
    this.handleTimeout(now)
  }

  handleTimeout(now: Millis): void {
    if (this.#answer) this.#sendAnswer()
    this.#buryTheDead(now)
    this.snooper.handleTimeout(now)
    this.#mirror.write(this.snooper, now)
    if (this.state === 'owner') {
      if (now >= this.#renewAt) this.#renew(now)
      return
    }
    if (this.state === 'claiming') {
      if (now >= this.#claimAt) this.#claim(now)
      return
    }
    if (now >= this.#listenUntil) this.#considerClaim(now)
  }

  nextDeadline(): Millis {
    if (this.#answer) return 0
    const upkeep = Math.min(this.snooper.nextDeadline(), this.#mirror.nextDeadline(this.snooper))
    if (this.state === 'owner') return Math.min(upkeep, this.#renewAt)
    if (this.state === 'claiming') return Math.min(upkeep, this.#claimAt)
    if (this.#listenUntil > 0) return Math.min(upkeep, this.#listenUntil)
    if (this.owner === NOBODY) return Math.min(upkeep, this.#patienceEnds(this.#orphanedAt))
    if (this.#suspectedAt > 0) return Math.min(upkeep, this.#patienceEnds(this.#suspectedAt))
    return Math.min(upkeep, this.detector.nextDeadline())
  }

  // When it is this node's turn to act, after those before it in the policy's line had theirs.
  #patienceEnds(since: Millis): Millis {
    return (
      since + this.#succession.rank(this.owner, this.#yieldedBy) * this.options.timing.patienceMs
    )
  }

  #considerClaim(now: Millis): void {
    this.#listenUntil = 0
    if (this.owner === NOBODY) {
      if (this.#orphanedAt === NEVER) this.#orphanedAt = now
      if (now < this.#patienceEnds(this.#orphanedAt)) return
      this.#cause = this.#yieldedBy === NOBODY ? 'boot' : 'yield'
      this.#claim(now)
      return
    }
    const cause = this.detector.suspects(this.owner, now)
    if (cause === null) {
      this.#suspectedAt = 0
      return
    }
    if (this.#suspectedAt === 0) {
      this.#suspectedAt = now
      this.#report({ event: 'suspect', node: this.owner, cause })
    }
    if (now < this.#patienceEnds(this.#suspectedAt)) return
    this.#cause = cause
    this.state = 'claiming'
    this.#claimAt = NEVER
    this.#fencing = true
    const target = this.peers.get(this.owner)?.fence
    if (target === undefined) this.handleFenced(this.owner, false, now)
    else this.#actions.push({ kind: 'fence', node: this.owner, target })
  }

  /** Claims the binding: epoch, state, address, declaration, ARP; the connections speak at the next poll. */
  #claim(now: Millis): void {
    const { stack, nic, mirrorStore, checkpoints } = this.#world
    const { binding, id, timing } = this.options
    const from = this.owner === NOBODY ? this.#yieldedBy : this.owner
    const since = this.#suspectedAt > 0 ? this.#suspectedAt : now
    this.epoch = Math.max(this.#highestEpoch, this.epoch) + 1
    this.#highestEpoch = this.epoch
    // Durable before anything is sent: a term is never used twice.
    mirrorStore.putEpochSync(binding.id, this.epoch)
    checkpoints.claim(binding.id, this.epoch)
    const clients = clientsHeard(nic, this.snooper)
    stack.setQuiet(binding.address, true)
    const count = promoteAll(stack, nic, this.snooper, checkpoints, now)
    this.snooper.active = false
    nic.setAddress(binding.address, binding.prefix, 'assigned')
    // The clients go on sending to the last owner until they have heard of us: on a hub none of that need be lost.
    nic.otherMacs = this.peers.macsOf(from)
    stack.setQuiet(binding.address, false)
    if (this.owner !== NOBODY) this.#bury(this.owner)
    this.#yieldedBy = NOBODY
    this.owner = id
    this.state = 'owner'
    this.#claimAt = NEVER
    this.#orphanedAt = NEVER
    this.#suspectedAt = 0
    this.#renewAt = now + timing.renewMs
    // A peer that meant to claim, and died, may have shut our port.
    this.#actions.push({ kind: 'unfence' }, { kind: 'renew-lease' })
    this.#declare(DeclarationKind.CLAIM, false)
    announce(nic, binding, clients, now)
    this.#reportClaim(from, now - since, count)
  }

  // A later term was used while we could not hear of it: ours goes beyond it, or its user would not take us for the owner.
  #outbid(epoch: number): void {
    this.epoch = epoch + 1
    this.#highestEpoch = this.epoch
    const { mirrorStore, checkpoints } = this.#world
    mirrorStore.putEpochSync(this.options.binding.id, this.epoch)
    checkpoints.claim(this.options.binding.id, this.epoch)
    this.#declare(DeclarationKind.CLAIM, false)
  }

  #reportClaim(from: NodeId, ms: Millis, count: PromotionCount): void {
    const { id } = this.options
    const cause = this.#cause
    this.#report({
      event: 'owner',
      id,
      epoch: this.epoch,
      from: from === NOBODY ? null : from,
      cause,
    })
    // Without a last owner too: what we watched, or owned until our lease ran out, may have been given up (D5).
    if (from !== NOBODY || count.connections > 0) {
      this.#report({ event: 'takeover', from, to: id, epoch: this.epoch, cause, ms, ...count })
    }
  }

  #bury(node: NodeId): void {
    this.peers.markDown(node)
    this.detector.forget(node)
  }

  // Nodes other than the owner that show no life are out of the line until they declare themselves again.
  #buryTheDead(now: Millis): void {
    for (const peer of this.peers.all()) {
      if (!peer.up || peer.id === this.owner) continue
      const cause = this.detector.suspects(peer.id, now)
      if (cause === null) continue
      this.#bury(peer.id)
      this.#report({ event: 'peer-down', node: peer.id, cause })
    }
  }

  // The address falls silent, and what we held we watch again.
  #stepDown(now: Millis): void {
    const { stack, nic } = this.#world
    demoteAll(stack, nic, this.options.binding, this.snooper, now)
    nic.otherMacs = new Set()
    this.snooper.active = true
    this.#renewAt = NEVER
  }

  /** Gives the binding up in good order: for a shutdown. A peer claims it without waiting for our death. */
  yield(now: Millis): void {
    if (this.state !== 'owner') return
    this.#stepDown(now)
    this.state = 'standby'
    this.owner = NOBODY
    this.#declare(DeclarationKind.YIELD, false)
    // Others go first: whoever yields does not want it back at once.
    this.#orphanedAt = now + 4 * this.options.timing.patienceMs
  }

  #renew(now: Millis): void {
    this.#renewAt = now + this.options.timing.renewMs
    this.#declare(DeclarationKind.RENEW, false)
  }

  #sendAnswer(): void {
    this.#answer = false
    this.#declare(this.state === 'owner' ? DeclarationKind.RENEW : DeclarationKind.PRESENT, false)
  }

  #declare(kind: DeclarationKind, solicit: boolean): void {
    const bytes = this.#herald.declare(kind, solicit, this.epoch, this.owner)
    this.#actions.push({ kind: 'send', bytes })
  }

  /** The next thing the world has to do for this node, or null. */
  pollAction(): Action | null {
    return this.#actions.shift() ?? null
  }

  #report(report: NodeReport): void {
    this.#actions.push({ kind: 'report', report })
  }
}
