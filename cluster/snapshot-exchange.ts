/**
 * SnapshotExchange: both sides of the snapshots of one binding, as it is owned here or elsewhere (P27): an owner answers, a node that
 * came up late asks until it knows of every connection.
 */
import { type Millis, NEVER } from '../stack/index.js'
import type { Binding, NodeId } from './binding.js'
import { tellForsaken } from './forsaken.js'
import type { Action } from './node-actions.js'
import { NOBODY, type NodeWorld } from './node-options.js'
import type { Shadow } from './shadow.js'
import { SnapshotEncoder, type SnapshotMessage } from './snapshot.js'
import { SnapshotSource } from './snapshot-source.js'
import type { Snooper } from './snooper.js'

/** What is known of the ownership of the binding. */
export interface Term {
  readonly binding: Binding
  readonly snooper: Snooper
  readonly epoch: number
  readonly owner: NodeId
  readonly owned: boolean
}

export class SnapshotExchange {
  readonly #term: Term
  readonly #world: NodeWorld
  readonly #act: (action: Action) => void
  readonly #source: SnapshotSource

  constructor(term: Term, world: NodeWorld, act: (action: Action) => void) {
    this.#term = term
    this.#world = world
    this.#act = act
    this.#source = new SnapshotSource(world.stack, term.binding, world.authenticator)
  }

  /** A channel to `node` is there, over which it can be asked. */
  handleChannel(node: NodeId): void {
    if (node === this.#term.owner) this.#term.snooper.joining.restart()
  }

  /** Takes a part of a snapshot of this term, or a request for one. */
  handle(from: NodeId, message: SnapshotMessage, now: Millis): void {
    const { epoch, owner, owned, snooper } = this.#term
    if (message.epoch !== epoch) return
    if (message.kind === 'request') {
      if (!owned) return
      for (const bytes of this.#source.answer(from, message, now)) {
        this.#act({ kind: 'tell', node: from, bytes })
      }
      return
    }
    const { joining } = snooper
    if (from !== owner || owned || joining.complete) return
    if (joining.handle(message, now)) this.#ask(false)
  }

  #ask(fromStart: boolean): void {
    const { binding, epoch, owner, snooper } = this.#term
    const encoder = new SnapshotEncoder(
      this.#world.authenticator,
      binding.id,
      epoch,
      snooper.joining.round,
    )
    this.#act({ kind: 'tell', node: owner, bytes: encoder.request(fromStart) })
  }

  nextDeadline(): Millis {
    const { owner, owned, snooper } = this.#term
    if (owner === NOBODY || owned) return NEVER
    return Math.min(snooper.joining.askAt, snooper.joining.settleAt)
  }

  /** Asks when that is due. True: from now on this node knows of every connection. */
  handleTimeout(now: Millis): boolean {
    if (now < this.nextDeadline()) return false
    const { binding, owner, snooper } = this.#term
    const { joining } = snooper
    if (now >= joining.askAt) {
      joining.asked(now)
      this.#ask(true)
    }
    if (!joining.settle((shadow) => this.#consumedTo(shadow), now)) return false
    const connections = joining.installed
    const report = { event: 'joined', binding: binding.id, owner, connections } as const
    this.#act({ kind: 'report', report })
    tellForsaken(joining.forsaken, this.#term, this.#world, this.#act)
    joining.forsaken = []
    return true
  }

  // Of a proxy's connections the other one tells what was consumed.
  #consumedTo({ key, tcb, partner }: Shadow): number {
    const { pairs } = this.#term.snooper
    if (partner !== null || pairs.isProxied(key) || pairs.isServerSide(key)) return NEVER
    return this.#world.checkpoints.inputOffset(key, tcb.iss, tcb.irs)
  }

  /** This node owns the binding now. */
  end(): void {
    this.#term.snooper.joining.end()
    this.#source.end()
  }
}
