/**
 * HandOver: a planned transfer of one binding (P24), as its giver and as its taker see it. The giver falls silent, and says on the
 * link how many connections go with the binding. The taker has by then overheard all that the giver said, as one link keeps its
 * order; it takes the binding only when it can go on with every connection, and else gives it back: nothing that lives is lost.
 */
import { type Millis, TcpState } from '../stack/index.js'
import type { NodeId } from './binding.js'
import type { CheckpointStore } from './checkpoint.js'
import { DeclarationKind, type OwnershipDeclaration } from './declaration.js'
import { NOBODY, type NodeTiming } from './node-options.js'
import type { OwnerRecovery } from './owner-recovery.js'
import { refusesAlone, refusesPair } from './promotion.js'
import { type GivenUp, resumePoint } from './resume-point.js'
import type { Shadow } from './shadow.js'
import type { Snooper } from './snooper.js'
import { leaseOverAt } from './suspicion.js'

export class HandOver {
  readonly #snooper: Snooper
  readonly #checkpoints: CheckpointStore
  #to: NodeId = NOBODY
  #refuseUntil: Millis = 0
  /** The binding is to be claimed without waiting. */
  accepted = false

  constructor(snooper: Snooper, checkpoints: CheckpointStore) {
    this.#snooper = snooper
    this.#checkpoints = checkpoints
  }

  /** The giver has fallen silent. Returns how many connections go to `to`. */
  begin(to: NodeId): number {
    this.#to = to
    return this.#living().length
  }

  /** True while the binding is on its way to `node`. */
  isTo(node: NodeId): boolean {
    return node !== NOBODY && this.#to === node
  }

  /** What this node hears of until `until` may be stale: it was stopped. */
  refuseUntil(until: Millis): void {
    this.#refuseUntil = until
    this.accepted = false
  }

  /** What is heard now may be long over. */
  isStale(now: Millis): boolean {
    return now < this.#refuseUntil
  }

  /**
   * The giver of `d` gives the binding to this node. True: it is taken, or will be as soon as `recovery` knows of all that stays with
   * others; false: it is to be given back.
   */
  take(d: OwnershipDeclaration, recovery: OwnerRecovery, now: Millis): boolean {
    if (this.isStale(now)) return false
    if (d.kind === DeclarationKind.RETURN) {
      recovery.expect(d)
      return true
    }
    if (!this.canTake(d.connections, now)) return false
    this.accept()
    return true
  }

  /** True when this node could go on with all of the giver's `connections`. */
  canTake(connections: number, now: Millis): boolean {
    if (this.isStale(now)) return false
    for (const shadow of this.#snooper.table.shadows()) shadow.settle(now)
    const living = this.#living()
    if (living.length !== connections) return false
    if (living.some(({ verdict }) => verdict !== 'ready')) return false
    return living.every((each) => refusesResume(each, this.#snooper, this.#checkpoints) === null)
  }

  /** The binding is this node's: as its taker, or because the taker has given it back. */
  accept(): void {
    this.accepted = true
    this.#to = NOBODY
  }

  /** Somebody owns the binding. */
  end(): void {
    this.accepted = false
    this.#to = NOBODY
  }

  // Those a client could miss: what nobody answered yet is begun again, and what has ended ends at each node in its own time.
  #living(): Shadow[] {
    return [...this.#snooper.table.shadows()].filter((shadow) => {
      // What another node serves stays with it.
      if (this.#snooper.isAway(shadow.key)) return false
      if (shadow.verdict === 'untracked') return true
      const { tcb } = shadow
      return tcb.synSent && !shadow.closed && tcb.state !== TcpState.TIME_WAIT
    })
  }
}

/** How long a binding that was given by a `kind` is left to whom it was given, which may be stuck. */
export function transferLimit(kind: DeclarationKind, timing: NodeTiming): Millis {
  // What a directive names may not be known here: whoever returns a binding is to have it back first.
  const others = kind === DeclarationKind.RETURN ? 10 * timing.patienceMs : 0
  return leaseOverAt(0, timing.turnLeaseMs) + others
}

/** How long whoever gave a binding leaves it to others, of whom one is to have it. */
export function giverRest(timing: NodeTiming): Millis {
  return transferLimit(DeclarationKind.YIELD, timing) + 4 * timing.patienceMs
}

/** Why this node could not go on with a connection whose owner lives, and knows of all there are; null: it could. */
export function refusesResume(
  shadow: Shadow,
  snooper: Snooper,
  checkpoints: CheckpointStore,
): GivenUp | null {
  const { partner, key } = shadow
  if (partner !== null) return refusesPair(shadow, partner)
  // With all of them ready none leads to a server unheard.
  const reason = refusesAlone(shadow, snooper.pairs, false)
  if (reason !== null) return reason
  const point = resumePoint(shadow, checkpoints.get(key))
  return typeof point === 'string' ? point : null
}
