/**
 * GapRepair (D1): a node that missed what was said in a connection asks for exactly that: the owner first, then the other peers, and
 * behind the owner's death all peers at once. Until it has it, the shadow stays marked incomplete.
 *
 * At a take-over what lacks text waits for an answer a short time, alone: it is neither answered nor reset meanwhile, and all other
 * connections go on. The node asks only when it lacks something; an owner says nothing unasked (P5).
 */
import {
  arrivedElsewhere,
  diff,
  gt,
  hushedName,
  type Millis,
  NEVER,
  type StreamBuffer,
  TcpState,
} from '../stack/index.js'
import type { NodeId } from './binding.js'
import type { Action } from './node-actions.js'
import { doubtfulDataOf, NOBODY, type NodeWorld, type PermanencySet } from './node-options.js'
import type { Peers } from './peers.js'
import { Protection } from './protection.js'
import {
  MAX_RANGES_ASKED,
  type Range,
  RepairEncoder,
  type RepairMessage,
} from './repair-message.js'
import { RepairSource } from './repair-source.js'
import { resumePoint } from './resume-point.js'
import type { Shadow } from './shadow.js'
import type { Term } from './snapshot-exchange.js'
import { promoteShadows } from './takeover.js'

/** Octets of input that an owner keeps for its peers when its application has read them, by connection. */
export const KEPT_INPUT = 256 * 1024
/** How long a hole may be one of order only. */
export const SETTLE_MS: Millis = 2
/** How long an answer is waited for before the next request; twice as long each time. */
export const ASK_AGAIN_MS: Millis = 20
/** Requests for what one shadow lacks at most, before it counts as not repairable. */
export const MAX_TRIES = 6
/** Shadows that are repaired at a time, and requests of one turn, at most. */
export const MAX_PENDING = 4096
const MAX_ASKS = 64
/** How long a connection may wait for an answer behind a take-over before it is given up. */
export const RESCUE_MS: Millis = 60

/** What is known of the ownership of the binding. */
export interface RepairTerm extends Term {
  readonly set: PermanencySet
}

/** What came of it. */
export interface RepairStats {
  /** Shadows that lacked text for longer than order explains. */
  seen: number
  repaired: number
  /** Nobody had it, or nobody answered. */
  vain: number
  /** Messages that were not asked for, too late, or of another term or connection. */
  refused: number
}

interface Pending {
  at: Millis
  tries: number
  /** The term in which it was asked for. */
  epoch: number
  /** Nodes that do not have it. */
  readonly without: Set<NodeId>
}

export class GapRepair {
  readonly stats: RepairStats = { seen: 0, repaired: 0, vain: 0, refused: 0 }
  readonly protection: Protection
  /** Off: nothing is asked for, which tests compare with. */
  enabled = true
  readonly #id: NodeId
  readonly #term: RepairTerm
  readonly #world: NodeWorld
  readonly #peers: Peers
  readonly #act: (action: Action) => void
  readonly #source: RepairSource
  readonly #pending = new Map<Shadow, Pending>()
  // The owner is taken for dead: others are asked.
  #orphaned = false
  // Connections of this node's own that wait to be promoted.
  readonly #waiting = new Set<Shadow>()
  #waitUntil: Millis = NEVER

  constructor(
    id: NodeId,
    term: RepairTerm,
    world: NodeWorld,
    peers: Peers,
    act: (action: Action) => void,
  ) {
    this.#id = id
    this.#term = term
    this.#world = world
    this.#peers = peers
    this.#act = act
    this.#source = new RepairSource(term, world.stack)
    this.protection = new Protection(id, term, world, peers, act)
    world.stack.tcp.openings.keptInput = KEPT_INPUT
  }

  /** Connections of this node that wait for what they lack. */
  get waiting(): number {
    return this.#waiting.size
  }

  /** Behind each segment: `shadow` may have come to lack something. */
  note(shadow: Shadow, now: Millis): void {
    if (shadow.repair === 'pending' || !mayLack(shadow)) {
      if (shadow.repair === 'vain' && shadow.verdict === 'ready') shadow.repair = 'none'
      return
    }
    if (shadow.repair === 'vain' || !this.enabled || this.#pending.size >= MAX_PENDING) return
    this.#begin(shadow, now + SETTLE_MS)
  }

  // Asks at `at`, sooner than was meant where that had begun. allocates: once per hole
  #begin(shadow: Shadow, at: Millis): void {
    shadow.repair = 'pending'
    const begun = this.#pending.get(shadow)
    if (begun !== undefined) {
      begun.at = at
      return
    }
    this.#pending.set(shadow, { at, tries: 0, epoch: 0, without: new Set() })
  }

  /** The owner is suspected: what is still missing is asked for at once, of everybody else. */
  orphan(now: Millis): void {
    this.#orphaned = true
    if (!this.enabled) return
    for (const shadow of this.#term.snooper.table.shadows()) {
      if (shadow.verdict === 'untracked' || missingOf(shadow).length === 0) continue
      this.#begin(shadow, now)
    }
  }

  /** At the claim: true when `shadow` lacks something that may still come. It stays a shadow, and is promoted later. */
  retain(shadow: Shadow, now: Millis): boolean {
    if (!this.enabled || this.#candidates().length === 0) return false
    const { partner, key } = shadow
    // Whose connection to the server is not known here could not be told later.
    if (partner === null && (shadow.opener || this.#term.snooper.pairs.isProxied(key))) return false
    if (!this.#isLacking(shadow) && (partner === null || !this.#isLacking(partner))) return false
    this.#waiting.add(shadow)
    this.#waitUntil = now + RESCUE_MS
    if (missingOf(shadow).length > 0) this.#begin(shadow, now)
    const { localAddress, localPort, remoteAddress, remotePort } = key
    this.#world.stack.tcp.hushed.add(hushedName(localAddress, localPort, remoteAddress, remotePort))
    return true
  }

  #isLacking(shadow: Shadow): boolean {
    if (shadow.verdict === 'untracked' || shadow.closed || missingOf(shadow).length === 0)
      return false
    if (shadow.partner !== null) return true
    const point = resumePoint(shadow, this.#world.checkpoints.get(shadow.key))
    return point === 'gap' || point === 'output-lost'
  }

  /** This node owns the binding, or ceases to: who is to be asked changes, and nobody waits to be promoted any more. */
  handleSpeaker(): void {
    this.#orphaned = false
    if (this.#term.owned) return
    for (const shadow of this.#waiting) this.#unhush(shadow)
    this.#waiting.clear()
    this.#waitUntil = NEVER
  }

  #unhush({ key }: Shadow): void {
    const { localAddress, localPort, remoteAddress, remotePort } = key
    const name = hushedName(localAddress, localPort, remoteAddress, remotePort)
    this.#world.stack.tcp.hushed.delete(name)
  }

  // Whom to ask, the best first.
  #candidates(): NodeId[] {
    const { owner } = this.#term
    const others = this.#peers
      .upWith(this.#id)
      .filter((node) => node !== this.#id && node !== owner)
    const asksOwner = !this.#orphaned && owner !== NOBODY && owner !== this.#id
    return asksOwner ? [owner, ...others] : others
  }

  /** Takes a message of this binding. */
  handle(from: NodeId, message: RepairMessage, now: Millis): void {
    const { epoch, binding } = this.#term
    if (message.kind === 'report') {
      this.protection.handle(from, message, now)
      return
    }
    if (message.kind === 'ask') {
      if (message.epoch !== epoch) {
        this.stats.refused++
        return
      }
      const encoder = new RepairEncoder(this.#world.authenticator, binding.id, epoch)
      for (const bytes of this.#source.answer(message, encoder, now)) {
        this.#act({ kind: 'tell', node: from, bytes })
      }
      return
    }
    this.#handleAnswer(from, message, now)
  }

  #handleAnswer(
    from: NodeId,
    message: Extract<RepairMessage, { kind: 'text' | 'none' }>,
    now: Millis,
  ): void {
    const { key, iss, irs } = message
    const { snooper } = this.#term
    const shadow = snooper.table.find(key.localPort, key.remoteAddress, key.remotePort)
    const pending = shadow === undefined ? undefined : this.#pending.get(shadow)
    const known = shadow !== undefined && shadow.tcb.iss === iss && shadow.tcb.irs === irs
    if (pending === undefined || !known || pending.epoch !== message.epoch || pending.tries === 0) {
      this.stats.refused++
      return
    }
    if (message.kind === 'none') {
      pending.without.add(from)
      pending.at = now
    } else if (!take(shadow, message)) this.stats.refused++
    else if (missingOf(shadow).length === 0) {
      this.#end(shadow, 'none')
      this.stats.repaired++
      if (shadow.tcb.state === TcpState.TIME_WAIT) snooper.table.startWait(shadow, now)
      snooper.touch(shadow)
    }
    this.#promote(now)
  }

  #end(shadow: Shadow, how: 'none' | 'vain'): void {
    this.#pending.delete(shadow)
    shadow.repair = how
  }

  nextDeadline(): Millis {
    let earliest = Math.min(this.#waitUntil, this.protection.nextDeadline())
    for (const { at } of this.#pending.values()) if (at < earliest) earliest = at
    return earliest
  }

  handleTimeout(now: Millis): void {
    this.protection.handleTimeout(now)
    if (this.#pending.size > 0) this.#askForMissing(now)
    this.#promote(now)
  }

  #askForMissing(now: Millis): void {
    const candidates = this.#candidates()
    let asks = 0
    for (const [shadow, pending] of this.#pending) {
      if (now < pending.at || asks >= MAX_ASKS) continue
      const ranges = shadow.closed || shadow.verdict === 'untracked' ? [] : missingOf(shadow)
      // It was one of order only, or the client has said it again, or a checkpoint lies behind it.
      if (ranges.length === 0 || !this.#isKnown(shadow)) {
        this.#end(shadow, 'none')
        continue
      }
      if (pending.tries === 0) this.stats.seen++
      const left = candidates.filter((node) => !pending.without.has(node))
      if (left.length === 0 || pending.tries >= MAX_TRIES) {
        this.stats.vain++
        this.#end(shadow, 'vain')
        continue
      }
      asks++
      this.#ask(shadow, pending, ranges, left)
      // In a hurry the requests do not thin out.
      pending.at = now + ASK_AGAIN_MS * (this.#hurried ? 1 : 2 ** pending.tries)
      pending.tries++
    }
  }

  // The owner is gone: everybody is asked, not one after the other.
  get #hurried(): boolean {
    return this.#orphaned || this.#term.owned
  }

  #isKnown(shadow: Shadow): boolean {
    const { localPort, remoteAddress, remotePort } = shadow.key
    return this.#term.snooper.table.find(localPort, remoteAddress, remotePort) === shadow
  }

  #ask(shadow: Shadow, pending: Pending, ranges: Range[], left: NodeId[]): void {
    const { binding, epoch } = this.#term
    pending.epoch = epoch
    const { key, tcb } = shadow
    const flow = { key, iss: tcb.iss, irs: tcb.irs }
    const encoder = new RepairEncoder(this.#world.authenticator, binding.id, epoch)
    const nodes = this.#hurried ? left : [left[pending.tries % left.length] as NodeId]
    for (const node of nodes) this.#act({ kind: 'tell', node, bytes: encoder.ask(flow, ranges) })
  }

  // Of those that wait, what lacks nothing any more, or cannot be saved, is promoted or given up.
  #promote(now: Millis): void {
    if (this.#waiting.size === 0) return
    const over = now >= this.#waitUntil
    const due: Shadow[] = []
    for (const shadow of this.#waiting) {
      const { partner } = shadow
      const waits = this.#pending.has(shadow) || (partner !== null && this.#pending.has(partner))
      if (over || !waits) due.push(shadow)
    }
    if (due.length === 0) return
    const { stack, nic, checkpoints } = this.#world
    const { snooper, binding, epoch, set } = this.#term
    for (const shadow of due) {
      this.#waiting.delete(shadow)
      this.#pending.delete(shadow)
      this.#unhush(shadow)
      shadow.settle(now)
    }
    if (this.#waiting.size === 0) this.#waitUntil = NEVER
    const count = promoteShadows(stack, nic, snooper, checkpoints, due, now, doubtfulDataOf(set))
    this.#act({
      kind: 'report',
      report: { event: 'repaired', binding: binding.id, epoch, ...count },
    })
  }
}

/** What `shadow` lacks: input that the owner acknowledged, and output that its peer has not. The first holes of each. */
export function missingOf({ tcb, buffers, gapLength }: Shadow): Range[] {
  const ranges: Range[] = []
  const { rcvNxtOffset } = tcb
  let acked = rcvNxtOffset + gapLength
  if (tcb.rcvFinSeen !== 0) acked = Math.min(acked, rcvNxtOffset + diff(tcb.rcvFin, tcb.rcvNxt))
  addHoles(ranges, 'received', buffers.received, rcvNxtOffset, acked)
  const from = Math.max(tcb.ackedOffset, buffers.sent.start)
  addHoles(ranges, 'sent', buffers.sent, from, tcb.sndNxtOffset - tcb.sndFinSent)
  return ranges
}

function addHoles(
  ranges: Range[],
  side: Range['side'],
  text: StreamBuffer,
  from: number,
  to: number,
): void {
  for (let at = from; at < to && ranges.length < MAX_RANGES_ASKED; ) {
    const present = text.presentFrom(at, to)
    if (present < 0) ranges.push({ side, from: at, to: at - present })
    at += Math.abs(present)
  }
}

// Cheap, for each segment: false when `missingOf` is empty for sure.
function mayLack(shadow: Shadow): boolean {
  const { tcb, buffers } = shadow
  if (shadow.verdict === 'untracked') return false
  if (gt(tcb.lastAckSent, tcb.rcvNxt)) return true
  const { sent } = buffers
  if (sent.contiguousEnd >= tcb.sndNxtOffset - tcb.sndFinSent) return false
  return sent.rangeCount > 0 || tcb.ackedOffset < tcb.sndNxtOffset - tcb.sndFinSent
}

function take(shadow: Shadow, message: Extract<RepairMessage, { kind: 'text' }>): boolean {
  const { tcb, buffers } = shadow
  const { side, offset, bytes, fin } = message
  if (side === 'received') return arrivedElsewhere(tcb, buffers, offset, bytes, fin)
  if (offset + bytes.length > tcb.sndNxtOffset - tcb.sndFinSent) return false
  return buffers.sent.put(offset, bytes, 0, bytes.length)
}
