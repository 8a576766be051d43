/**
 * Protection: how many connections of a binding could be taken over if their owner died now (D5). A peer counts its own shadows, and
 * tells the owner twice a second. The owner knows no more than that: of several peers it takes the best one, which may be less than
 * what all of them could save together, and never more.
 */
import { isSynchronized, type Millis, NEVER, TcpState } from '../stack/index.js'
import { connectionsOf, type NodeId } from './binding.js'
import type { CheckpointStore } from './checkpoint.js'
import type { RepairTerm } from './gap-repair.js'
import type { Action } from './node-actions.js'
import { NOBODY, type NodeWorld } from './node-options.js'
import type { Pairs } from './pairs.js'
import type { Peers } from './peers.js'
import { RepairEncoder, type RepairMessage } from './repair-message.js'
import type { Shadow } from './shadow.js'

/** How often a peer tells the owner. */
export const REPORT_MS: Millis = 500
/** A report that is older counts for nothing. */
export const STALE_MS: Millis = 1500

interface Report {
  readonly epoch: number
  readonly ready: number
  readonly lacking: number
  readonly at: Millis
}

export class Protection {
  readonly #id: NodeId
  readonly #term: RepairTerm
  readonly #world: NodeWorld
  readonly #peers: Peers
  readonly #act: (action: Action) => void
  readonly #reports = new Map<NodeId, Report>()
  #reportAt: Millis = 0

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
  }

  /**
   * Per cent of the binding's connections that could be taken over: by this node, or where it owns them by the best of its live peers
   * as far as they have said. Rounded down; null when there are no connections.
   */
  percent(now: Millis): number | null {
    const { binding, owned } = this.#term
    if (!owned) {
      const { ready, lacking } = this.#count()
      return share(ready, ready + lacking)
    }
    const living = connectionsOf(binding, this.#world.stack).filter(({ state }) => lives(state))
    const up = this.#peers.upWith(this.#id)
    let best = 0
    for (const [node, { epoch, ready, lacking, at }] of this.#reports) {
      if (epoch !== this.#term.epoch || now - at > STALE_MS || !up.includes(node)) continue
      best = Math.max(best, Math.min(ready, living.length - lacking))
    }
    return share(best, living.length)
  }

  handle(from: NodeId, message: Extract<RepairMessage, { kind: 'report' }>, now: Millis): void {
    const { epoch, ready, lacking } = message
    this.#reports.set(from, { epoch, ready, lacking, at: now })
  }

  nextDeadline(): Millis {
    const { owner, owned } = this.#term
    return owned || owner === NOBODY ? NEVER : this.#reportAt
  }

  handleTimeout(now: Millis): void {
    if (now < this.nextDeadline()) return
    this.#reportAt = now + REPORT_MS
    const { binding, epoch, owner } = this.#term
    const { ready, lacking } = this.#count()
    const encoder = new RepairEncoder(this.#world.authenticator, binding.id, epoch)
    this.#act({ kind: 'tell', node: owner, bytes: encoder.report(ready, lacking) })
  }

  #count(): { ready: number; lacking: number } {
    const count = { ready: 0, lacking: 0 }
    const { snooper } = this.#term
    for (const shadow of snooper.table.shadows()) {
      if (shadow.verdict !== 'untracked' && !lives(shadow.tcb.state)) continue
      if (couldResume(shadow, snooper.pairs, this.#world.checkpoints)) count.ready++
      else count.lacking++
    }
    return count
  }
}

// A connection that its client could miss.
function lives(state: TcpState): boolean {
  return isSynchronized(state) && state !== TcpState.TIME_WAIT && state !== TcpState.CLOSED
}

function share(part: number, all: number): number | null {
  return all === 0 ? null : Math.floor((100 * Math.max(part, 0)) / all)
}

/** True when `shadow` could be taken over as it stands: cheaper than `resumePoint`, and never more hopeful. */
function couldResume(shadow: Shadow, pairs: Pairs, checkpoints: CheckpointStore): boolean {
  if (shadow.verdict !== 'ready') return false
  const { key, tcb, buffers, partner } = shadow
  if (partner !== null) return partner.verdict === 'ready'
  if (shadow.opener) return false
  const { start, contiguousEnd } = buffers.received
  // Nothing has come since its checkpoint was seen to lie at the end: most connections of many are idle, and a look into the store
  // takes microseconds for each of them, twice a second.
  if (shadow.restsAt === contiguousEnd && start <= contiguousEnd) return true
  if (pairs.isProxied(key)) return start === 0 && tcb.sndNxtOffset === 0
  const checkpoint = checkpoints.inputOffset(key, tcb.iss, tcb.irs)
  shadow.restsAt = checkpoint === contiguousEnd ? contiguousEnd : -1
  return checkpoint < 0 ? start === 0 : checkpoint >= start && checkpoint <= contiguousEnd
}
