/**
 * Vacancy: that nobody owns a binding, as far as this node knows: since when, by whose yield, and how long it listens before it acts.
 */
import { type Millis, NEVER } from '../stack/index.js'
import type { NodeId } from './binding.js'
import type { OwnershipDeclaration } from './declaration.js'
import { transferLimit } from './hand-over.js'
import { NOBODY, type NodeTiming } from './node-options.js'

export class Vacancy {
  /** Since when nobody owns; it lies ahead where the binding is left to one that may be stuck. NEVER until it is looked for. */
  since: Millis = NEVER
  /** Who gave the binding up in good order, or NOBODY. */
  yieldedBy: NodeId = NOBODY
  /** 0 once this node has listened long enough. */
  listenUntil: Millis = 0

  /** Nobody owns any more. */
  begin(now: Millis): void {
    this.since = now
  }

  /** The owner gave the binding up by `d`; who is named in it, if anybody, has it first. */
  yielded(d: OwnershipDeclaration, timing: NodeTiming, now: Millis): void {
    this.yieldedBy = d.node
    // The one that is named may be stuck, and goes on while its lease lasts.
    this.since = d.owner === NOBODY ? now : now + transferLimit(d.kind, timing)
  }

  /** Somebody owns. */
  end(): void {
    this.since = NEVER
    this.yieldedBy = NOBODY
  }

  isListening(now: Millis): boolean {
    return this.listenUntil > 0 && now < this.listenUntil
  }
}
