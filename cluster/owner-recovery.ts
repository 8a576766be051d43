/**
 * OwnerRecovery (P23): a binding returns to the owner that the policy prefers when that one is back, while the connections that are
 * active meanwhile stay with the peers that serve them, to their end.
 *
 * The peer tells all nodes which these are, by the owner recovery directive over the control channel; in the same turn it falls silent
 * for all others, and says on the link, behind all that it said, how many the directive names (YIELD). The owner claims when it knows of
 * every one: it snoops them, answers no SYN between their endpoints until they end, and is the last to go on with them when their peer
 * dies.
 */
import { type Millis, TcpState } from '../stack/index.js'
import { connectionsOf, type NodeId } from './binding.js'
import type { Carriage } from './carriage.js'
import type { OwnershipDeclaration } from './declaration.js'
import { NOBODY } from './node-options.js'
import type { CarriageTerm, OwnershipContext } from './ownership-context.js'
import {
  encodeRecoveryMessages,
  MAX_ACTIVE_FLOWS,
  type RecoveryMessage,
} from './recovery-message.js'
import type { Succession } from './succession.js'

/** Until an owner that did not take its binding is offered it again. */
const OFFER_AGAIN_MS: Millis = 5000

export class OwnerRecovery {
  readonly #term: CarriageTerm
  readonly #context: OwnershipContext
  readonly #carriage: Carriage
  readonly #succession: Succession
  readonly #onWhole: () => void
  #offerAt: Millis = 0
  // Who gave the binding away of its own accord, in this life: it is not to have it back by itself.
  #giver: NodeId = NOBODY
  #giverIncarnation = 0
  // What is known of a directive, and how much it names, once its maker has said that on the link.
  #from: NodeId = NOBODY
  #epoch = 0
  #named = 0
  readonly #pages = new Set<number>()
  #expected = Number.POSITIVE_INFINITY
  // Whom this node took for dead when it claimed, with all that it served.
  #outlived: NodeId = NOBODY
  #outlivedIncarnation = 0

  /** `onWhole` is called when this node knows all that a directive for it names: it is to claim the binding. */
  constructor(
    term: CarriageTerm,
    context: OwnershipContext,
    carriage: Carriage,
    succession: Succession,
    onWhole: () => void,
  ) {
    this.#term = term
    this.#context = context
    this.#carriage = carriage
    this.#succession = succession
    this.#onWhole = onWhole
  }

  /** This node owns the binding, after `from`, or again; `giver` is `from` when that gave it away of its own accord, else NOBODY. */
  handleClaimed(from: NodeId, giver: NodeId): void {
    this.forget()
    if (from !== NOBODY) this.#offerAt = 0
    this.#giver = giver
    this.#giverIncarnation = this.#context.peers.get(giver)?.incarnation ?? 0
    this.#outlived = giver === from ? NOBODY : from
    this.#outlivedIncarnation = this.#context.peers.get(from)?.incarnation ?? 0
  }

  /** The owner that is back, and to which this node is to return the binding now; else NOBODY. */
  recovered(now: Millis): NodeId {
    const { set, state, snooper } = this.#term
    if (set.recovery !== 'return' || state !== 'owner' || now < this.#offerAt) return NOBODY
    const { detector, options, peers, world } = this.#context
    const first = this.#succession.choose(this.#succession.up) ?? NOBODY
    if (first === NOBODY || first === options.id) return NOBODY
    if (!this.#succession.standingOf(first).complete) return NOBODY
    if (detector.suspects(first, now) !== null) return NOBODY
    if (first === this.#giver && peers.get(first)?.incarnation === this.#giverIncarnation) {
      return NOBODY
    }
    // A proxy's pairs are not passed on one by one, and what strict mode confirms it confirms for the owner.
    if (snooper.pairs.size > 0 || snooper.strict !== null) return NOBODY
    // Whoever is asked to go on with a connection answers to this node.
    if (this.#carriage.counts.lost > 0) return NOBODY
    return world.stack.tcp.demux.size > MAX_ACTIVE_FLOWS / 2 ? NOBODY : first
  }

  /**
   * The binding is about to return: this node keeps the connections that are active, and sends the directive. Returns how many it names.
   */
  begin(now: Millis): number {
    const { binding, epoch } = this.#term
    const { world } = this.#context
    this.#offerAt = now + OFFER_AGAIN_MS
    const active = connectionsOf(this.#term.set.binding, world.stack).filter(
      ({ tcb }) => tcb.synSent && tcb.state !== TcpState.CLOSED && tcb.state !== TcpState.TIME_WAIT,
    )
    const flows = this.#carriage.keep(active, now)
    for (const bytes of encodeRecoveryMessages(flows, binding.id, epoch, world.authenticator)) {
      this.#context.act({ kind: 'send', bytes })
    }
    return flows.length
  }

  /**
   * Takes a page of a directive. Its maker's own connections are believed whenever it comes, as what ends later is told behind it on the
   * same channel; those of third nodes only while it is news.
   */
  handle(from: NodeId, { epoch, page, flows }: RecoveryMessage): void {
    const term = this.#term
    // Its maker owns the binding again, and all that it served.
    if (term.owner === from && epoch < term.epoch) return
    if (this.#hasOutlived(from)) return
    const news = epoch + 1 >= term.epoch
    this.#carriage.leave(flows.filter(({ node }) => node === from || news))
    if (term.state !== 'standby' || epoch !== term.epoch) return
    if (this.#from !== from || this.#epoch !== epoch) this.#await(from, epoch)
    if (this.#pages.has(page)) return
    this.#pages.add(page)
    this.#named += flows.length
    this.#settle()
  }

  // It said so into a cut: its connections have been taken over since.
  #hasOutlived(from: NodeId): boolean {
    if (this.#term.state !== 'owner' || from !== this.#outlived) return false
    return this.#context.peers.get(from)?.incarnation === this.#outlivedIncarnation
  }

  /** The owner returns the binding to this node, and has named `d.connections`. */
  expect(d: OwnershipDeclaration): void {
    if (this.#from !== d.node || this.#epoch !== d.epoch) this.#await(d.node, d.epoch)
    this.#expected = d.connections
    this.#settle()
  }

  /** What was heard so far is stale. */
  forget(): void {
    this.#await(NOBODY, 0)
  }

  #await(from: NodeId, epoch: number): void {
    this.#from = from
    this.#epoch = epoch
    this.#named = 0
    this.#pages.clear()
    this.#expected = Number.POSITIVE_INFINITY
  }

  #settle(): void {
    // One that names none has a page, too.
    if (this.#pages.size === 0 || this.#named < this.#expected) return
    this.forget()
    // What the peer does not serve goes with the binding: it may not have known of it, or the client ends it.
    this.#onWhole()
  }
}
