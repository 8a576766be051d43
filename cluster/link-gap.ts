/**
 * LinkGap: finds out that this node was cut off from the link for a while although the control channels went on, or that some frames of
 * the link went by it (P4, D1). An owner says each of its declarations on both: one that the channel alone has brought, or a number that
 * is passed over on the link, tells of it. Whoever missed those has missed what connections said, and who came up meanwhile. It has to
 * ask for both: two nodes that do not know of each other would take over at the same time.
 */
import { type Millis, NEVER } from '../stack/index.js'
import type { NodeId } from './binding.js'
import { DeclarationKind, type OwnershipDeclaration } from './declaration.js'
import type { ClusterNode } from './node.js'
import type { NodeReport } from './node-actions.js'
import { NOBODY } from './node-options.js'
import type { Ownership } from './ownership.js'
import type { OwnershipContext } from './ownership-context.js'
import type { Notice } from './peers.js'

/**
 * How long the link may be silent altogether behind what a channel has brought, and it has yet to. Where anything comes it may be merely
 * late: then its next declaration tells, by its number, whether some were lost.
 */
export const LATE_MS: Millis = 50

/**
 * Whoever looks later than that was held up itself, and what the link has brought waits in its own queue, behind the channel's: it looks
 * once more, up to so many times.
 */
const HELD_UP_MS: Millis = 5
const MAX_LOOKS = 5

/** What of an owner's declarations the link has brought. */
interface Heard {
  incarnation: number
  /** The number of the last one. */
  sequence: number
}

/** A declaration that a channel has brought, and the link has yet to. */
interface Awaited {
  readonly node: NodeId
  readonly sequence: number
  until: Millis
  /** Looks that came too late to tell. */
  looks: number
  /** Frames that had come by then. */
  readonly frames: number
}

export class LinkGap {
  // Frames of the link that have come.
  #frames = 0
  readonly #context: Pick<OwnershipContext, 'act' | 'declare'>
  readonly #heard = new Map<number, Heard>()
  readonly #awaited = new Map<Ownership, Awaited>()
  readonly #deaf = new Set<Ownership>()

  constructor(context: Pick<OwnershipContext, 'act' | 'declare'>) {
    this.#context = context
  }

  /** Takes note of an authentic declaration about the binding `of`, and of what it was to the peers. */
  heard(
    d: OwnershipDeclaration,
    onLink: boolean,
    notice: Notice,
    of: Ownership,
    now: Millis,
  ): void {
    if (notice === 'full') return
    const key = d.node * 0x1_0000 + d.binding
    const last = this.#heard.get(key)
    const known = last?.incarnation === d.incarnation ? last : undefined
    if (!onLink) {
      const claims = d.kind === DeclarationKind.RENEW || d.kind === DeclarationKind.CLAIM
      // Of whom the link has never brought anything it need not bring this.
      if (last === undefined || !claims || notice === 'replayed') return
      const brought = known !== undefined && known.sequence >= d.sequence
      if (brought || this.#awaited.has(of)) return
      this.#awaited.set(of, {
        node: d.node,
        sequence: d.sequence,
        until: now + LATE_MS,
        looks: 0,
        frames: this.#frames,
      })
      return
    }
    // An old one that is played again.
    if (last !== undefined && d.incarnation < last.incarnation) return
    if (known !== undefined && d.sequence <= known.sequence) return
    // allocates: a few numbers per node and binding
    this.#heard.set(key, { incarnation: d.incarnation, sequence: d.sequence })
    const awaited = this.#awaited.get(of)
    if (awaited?.node === d.node && awaited.sequence <= d.sequence) this.#awaited.delete(of)
    const missed = known !== undefined && d.sequence > known.sequence + 1
    if (missed && d.node === of.owner && this.#doubt(of)) this.#ask(of)
  }

  /** A frame of the link has come. */
  hear(): void {
    this.#frames++
    if (this.#deaf.size === 0) return
    for (const each of this.#deaf) this.#ask(each)
    this.#deaf.clear()
  }

  // What is known may be behind what was said. Asking has no sense before what is said is heard again.
  #doubt(of: Ownership): boolean {
    const { state, owner, snooper, binding } = of
    if (state !== 'standby' || owner === NOBODY) return false
    const { joining } = snooper
    if (joining.complete) {
      const report = { event: 'link-gap', binding: binding.id, owner } as const
      this.#context.act({ kind: 'report', report })
    }
    joining.doubt()
    of.answer = true
    return true
  }

  #ask(of: Ownership): void {
    if (of.state !== 'standby') return
    of.snooper.joining.restart()
    this.#context.declare(DeclarationKind.PRESENT, true, of)
  }

  handleTimeout(now: Millis): void {
    for (const [of, awaited] of this.#awaited) {
      const { node, until, frames } = awaited
      if (now < until) continue
      if (now - until > HELD_UP_MS && frames === this.#frames && awaited.looks < MAX_LOOKS) {
        awaited.looks++
        awaited.until = now + LATE_MS
        continue
      }
      this.#awaited.delete(of)
      // Who died with a word on its lips has said it to the channels alone.
      if (node !== of.owner || frames !== this.#frames) continue
      if (this.#doubt(of)) this.#deaf.add(of)
    }
  }

  nextDeadline(): Millis {
    let earliest = NEVER
    for (const { until } of this.#awaited.values()) earliest = Math.min(earliest, until)
    return earliest
  }
}

/** The port of `node` was shut, and is open again: it has heard nothing meanwhile. */
export function handlePortOpened(node: Pick<ClusterNode, 'ownerships' | 'act'>, now: Millis): void {
  for (const each of node.ownerships) {
    if (each.owner === NOBODY) each.listen(now)
    distrustOf(each.owner, each, (report) => node.act({ kind: 'report', report }))
  }
}

/** What was heard of the binding lacks what `owner` said meanwhile, and nobody can tell of which connections. */
function distrustOf(owner: NodeId, ownership: Ownership, tell: (report: NodeReport) => void): void {
  if (ownership.state !== 'standby' || ownership.owner !== owner) return
  ownership.snooper.distrust()
  tell({ event: 'link-gap', binding: ownership.binding.id, owner })
}
