/**
 * FailureDetector (P8): who shows signs of life. It is told what was heard and when; it never asks.
 *
 * Three limits differ, because what they see differs: the end of the control channel shows a dead process at once; silence of
 * the native heartbeat shows a stopped one; a heartbeat whose turn counter stands still shows a stuck event loop. Any frame of
 * a node counts as life.
 */
import { type Millis, NEVER } from '../stack/index.js'
import type { NodeId } from './binding.js'

/** How a node was found dead. */
export type Cause = 'eof' | 'silence' | 'stuck'

/** When a sign of life is overdue. The owner's leases must not be longer (D3). */
export interface DetectorOptions {
  /** Without any sign for so long, a node is suspected of having stopped. */
  readonly silenceMs: Millis
  /** With a heartbeat but no turn of its event loop for so long, it is suspected of being stuck. */
  readonly stuckMs: Millis
}

/** How long a buried node that shows life is given to declare itself before it is asked once more. */
const ASK_AGAIN_MS: Millis = 100

interface Signs {
  heardAt: Millis
  turnedAt: Millis
  channelLost: boolean
  /** Its heartbeat port was found closed, and no beat came behind that. */
  gone: boolean
  /** It counts as dead, and from when on turns of its event loop would be news; NEVER: it is not buried. */
  buriedAt: Millis
}

export class FailureDetector {
  readonly #options: DetectorOptions
  readonly #signs = new Map<NodeId, Signs>()
  // When the last heartbeat of each came, by the clock of the thread that heard it: in whichever life.
  readonly #beats = new Map<NodeId, Millis>()

  constructor(options: DetectorOptions) {
    this.#options = options
  }

  /** Starts to watch a node, which counts as heard now. */
  watch(node: NodeId, now: Millis): void {
    if (this.#signs.has(node)) return
    this.#signs.set(node, {
      heardAt: now,
      turnedAt: now,
      channelLost: false,
      gone: false,
      buriedAt: NEVER,
    })
  }

  /** The node is taken for dead. Whoever is not sure of it goes on asking when it was heard last. */
  bury(node: NodeId, now: Millis): void {
    const signs = this.#signs.get(node)
    if (signs !== undefined) signs.buriedAt = now
  }

  /**
   * True when the event loop of a buried node has turned since: it may not know that it was taken for dead, and is to be asked to declare
   * itself. Not true again for some time behind that.
   */
  findsLife(now: Millis): boolean {
    let found = false
    for (const signs of this.#signs.values()) {
      if (signs.turnedAt <= signs.buriedAt) continue
      signs.buriedAt = now + ASK_AGAIN_MS
      found = true
    }
    return found
  }

  forget(node: NodeId): void {
    this.#signs.delete(node)
  }

  /** A frame of the node was heard at `at`: both its process and its event loop are alive. */
  heard(node: NodeId, at: Millis): void {
    const signs = this.#signs.get(node)
    if (signs === undefined) return
    if (at > signs.heardAt) signs.heardAt = at
    if (at > signs.turnedAt) signs.turnedAt = at
  }

  /**
   * A heartbeat was heard at `heardAt` from a node whose event loop last turned at `turnedAt`. `gone`: its port has been found closed since,
   * which shows that its process has ended, as the end of its channel does, and earlier.
   */
  heartbeat(node: NodeId, heardAt: Millis, turnedAt: Millis, gone = false): void {
    const signs = this.#signs.get(node)
    if (signs === undefined) return
    if (heardAt > signs.heardAt) signs.heardAt = heardAt
    if (heardAt > this.lastBeatAt(node)) this.#beats.set(node, heardAt)
    if (turnedAt > signs.turnedAt) signs.turnedAt = turnedAt
    signs.gone = gone
  }

  /** The control channel to the node ended, or is there again. */
  channel(node: NodeId, up: boolean, now: Millis): void {
    const signs = this.#signs.get(node)
    if (signs === undefined) return
    signs.channelLost = !up
    if (!up) return
    signs.gone = false
    this.heard(node, now)
  }

  /** When the node was heard last. */
  lastHeardAt(node: NodeId): Millis {
    return this.#signs.get(node)?.heardAt ?? 0
  }

  /** When the last heartbeat of the node came, whatever else was heard; 0: none did. */
  lastBeatAt(node: NodeId): Millis {
    return this.#beats.get(node) ?? 0
  }

  /** When the node's event loop last turned, as far as was heard. */
  lastTurnedAt(node: NodeId): Millis {
    return this.#signs.get(node)?.turnedAt ?? 0
  }

  /** Why the node is suspected, or null while it is not. */
  suspects(node: NodeId, now: Millis): Cause | null {
    const signs = this.#signs.get(node)
    if (signs === undefined || signs.buriedAt !== NEVER) return null
    if (signs.channelLost || signs.gone) return 'eof'
    if (now - signs.heardAt >= this.#options.silenceMs) return 'silence'
    if (now - signs.turnedAt >= this.#options.stuckMs) return 'stuck'
    return null
  }

  /** We were stopped ourselves: what we did not hear meanwhile proves nothing. */
  grace(now: Millis): void {
    for (const signs of this.#signs.values()) {
      signs.heardAt = now
      signs.turnedAt = now
      if (signs.buriedAt !== NEVER) signs.buriedAt = Math.max(signs.buriedAt, now)
    }
  }

  /**
   * When the next node becomes suspect unless it is heard; 0 when one is already, by the end of its channel or port, or when a buried
   * one shows life.
   */
  nextDeadline(): Millis {
    let earliest = NEVER
    for (const { heardAt, turnedAt, channelLost, gone, buriedAt } of this.#signs.values()) {
      if (turnedAt > buriedAt) return 0
      if (buriedAt !== NEVER) continue
      if (channelLost || gone) return 0
      earliest = Math.min(
        earliest,
        heardAt + this.#options.silenceMs,
        turnedAt + this.#options.stuckMs,
      )
    }
    return earliest
  }
}
