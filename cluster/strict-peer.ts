// hot path: no allocation per frame
/**
 * StrictPeer: a peer's part in strict mode (D2): behind each batch of frames it tells the owner how far it has the connections of which
 * it has heard something new. It does so of its own accord: what an owner asks costs a round trip.
 */
import { levelOf, type Millis, SYN, UNKNOWN } from '../stack/index.js'
import type { Action } from './node-actions.js'
import { NOBODY, type NodeWorld } from './node-options.js'
import { type Shadow, UNTOLD } from './shadow.js'
import type { Term } from './snapshot-exchange.js'
import { type Having, MAX_FLOWS_TOLD, StrictEncoder, type StrictMessage } from './strict-message.js'

export class StrictPeer {
  readonly #term: Term
  readonly #world: NodeWorld
  readonly #act: (action: Action) => void
  /** Segments without SYN that the owner has said again. */
  heardAgain = 0
  readonly #moved: Shadow[] = []
  // In which term, and to whom, all has been told.
  #epoch = -1
  #owner = NOBODY

  constructor(term: Term, world: NodeWorld, act: (action: Action) => void) {
    this.#term = term
    this.#world = world
    this.#act = act
  }

  /** Behind each change of a shadow: there may be more of it here than was told. */
  note(shadow: Shadow): void {
    if (shadow.telling || newsOf(shadow) === shadow.told) return
    shadow.telling = true
    this.#moved.push(shadow)
  }

  /** What was told before may not have come: all is told anew. */
  restart(): void {
    this.#epoch = -1
  }

  /** Tells the owner what has changed since the last call; at the end of a turn. */
  // allocates: per turn, not per frame
  tell(): void {
    const { owner, owned, epoch, snooper } = this.#term
    const able = !owned && owner !== NOBODY && snooper.joining.complete
    const moved = this.#takeMoved()
    if (!able) this.restart()
    else if (epoch !== this.#epoch || owner !== this.#owner) {
      this.#epoch = epoch
      this.#owner = owner
      // Of none, too: the owner is to know that this node will tell. allocates: once per term
      this.#send([...snooper.table.shadows()], true)
    } else if (moved.length > 0) this.#send(moved, false)
  }

  // Those that were noted; a shadow that cannot be told of now will be, with all others.
  #takeMoved(): readonly Shadow[] {
    if (this.#moved.length === 0) return NONE
    const moved = this.#moved.splice(0)
    for (const shadow of moved) shadow.telling = false
    return moved
  }

  #send(shadows: readonly Shadow[], always: boolean): void {
    // allocates: a message per turn
    const flows: Having[] = []
    for (const shadow of shadows) {
      const level = shadowLevel(shadow)
      shadow.told = newsOf(shadow)
      if (level === UNKNOWN) continue
      const { key, tcb, buffers } = shadow
      const sent = buffers.sent.contiguousEnd
      // allocates: a message per turn
      flows.push({
        key,
        iss: tcb.iss,
        irs: tcb.irs,
        received: level,
        sent,
        fin: tcb.sndFinSent !== 0,
      })
    }
    const { binding, owner, epoch } = this.#term
    const encoder = new StrictEncoder(this.#world.authenticator, binding.id, epoch)
    let at = 0
    if (flows.length === 0 && !always) return
    do {
      const bytes = encoder.have(flows.slice(at, at + MAX_FLOWS_TOLD))
      // allocates: a message per turn
      this.#act({ kind: 'tell', node: owner, bytes })
      at += MAX_FLOWS_TOLD
    } while (at < flows.length)
  }

  /** The owner asks for all. False: it is not the owner. */
  handleTell(from: number, epoch: number): boolean {
    const { owner, owned } = this.#term
    if (owned || from !== owner || epoch !== this.#term.epoch) return false
    this.restart()
    return true
  }

  /** What this node has not heard, as the owner says it again. Whatever came of it is told. False: it is not the owner's to say. */
  // allocates: only for what was missed
  handleSaid(
    from: number,
    { key, direction, seg, epoch }: Extract<StrictMessage, { kind: 'said' }>,
    now: Millis,
  ): boolean {
    const { owner, owned, snooper } = this.#term
    if (owned || from !== owner || epoch !== this.#term.epoch) return false
    if (!seg.has(SYN)) this.heardAgain++
    const { localPort, remoteAddress, remotePort } = key
    const { table } = snooper
    const known = table.find(localPort, remoteAddress, remotePort)
    // What goes on with no connection that is known here began unheard, or is over.
    if (known === undefined && !seg.has(SYN)) return true
    // The octets are what counts: that they come late is no sign of age (RFC 7323 §5.3).
    if (direction === 'inbound' && known?.tcb.tsOk === true) seg.tsVal = known.tcb.tsRecent
    snooper.observe(seg, direction, localPort, remoteAddress, remotePort, 0, now)
    const shadow = table.find(localPort, remoteAddress, remotePort)
    if (shadow === undefined) return true
    shadow.told = UNTOLD
    this.note(shadow)
    return true
  }
}

const NONE: readonly Shadow[] = []

// What the owner waits to be told of, as one number.
function newsOf(shadow: Shadow): number {
  return 2 * shadowLevel(shadow) + shadow.tcb.sndFinSent
}

/** How much of its connection a shadow has: a level as the stack's `strict.ts` has them. */
export function shadowLevel(shadow: Shadow): number {
  return shadow.verdict === 'untracked' || shadow.closed ? UNKNOWN : levelOf(shadow.tcb)
}
