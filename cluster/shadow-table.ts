// hot path: no allocation per frame
/**
 * ShadowTable: the shadows of one binding, by remote and local endpoint, with a limit and with the only timers that a shadow
 * has: the handshake's and TIME-WAIT's (P18, P19).
 */
import {
  dropAddress,
  endpointKey,
  holdAddress,
  type Millis,
  NEVER,
  TcpState,
} from '../stack/index.js'
import { EndedFlows } from './ended-flows.js'
import type { Shadow } from './shadow.js'

/** Shadows of one binding at most; further connections are not tracked, and counted. */
export const MAX_SHADOWS = 200_000
/** A handshake that has not ended by now will not. */
export const HANDSHAKE_MS: Millis = 75_000
/** The owner's TIME-WAIT and a little more (P18). */
export const TIME_WAIT_MS: Millis = 66_000

/**
 * Handshakes under way, and connections that the owner has said nothing in, that are remembered at most: a flood of either must not
 * take the room of connections that live. The oldest makes way.
 */
export const MAX_HALF_OPEN = 8192

interface Expiry {
  readonly shadow: Shadow
  readonly at: Millis
}

export class ShadowTable {
  /** What strays in behind their ends opens nothing. */
  readonly ended = new EndedFlows()
  // By local port and remote endpoint.
  readonly #byPort = new Map<number, Map<number, Shadow>>()
  #handshakes: Expiry[] = []
  // What lies before it has been dealt with.
  #firstHandshake = 0
  #waits: Expiry[] = []
  #size = 0
  // The one that was found last: the next segment is often for it, too, and to look among many costs more than to compare.
  #last: Shadow | null = null

  get size(): number {
    return this.#size
  }

  get full(): boolean {
    return this.#size >= MAX_SHADOWS
  }

  find(localPort: number, remoteAddress: number, remotePort: number): Shadow | undefined {
    const last = this.#last
    if (last !== null) {
      const { key } = last
      const same = key.remotePort === remotePort && key.remoteAddress === remoteAddress
      if (same && key.localPort === localPort) return last
    }
    const found = this.#byPort.get(localPort)?.get(endpointKey(remoteAddress, remotePort))
    if (found !== undefined) this.#last = found
    return found
  }

  /**
   * Adds a shadow, in place of an earlier one between the same endpoints. Returns the one that has left the table to make room,
   * or null.
   */
  add(shadow: Shadow, now: Millis): Shadow | null {
    const { localPort, remoteAddress, remotePort } = shadow.key
    let flows = this.#byPort.get(localPort)
    if (flows === undefined) {
      flows = new Map()
      this.#byPort.set(localPort, flows)
    }
    const key = endpointKey(remoteAddress, remotePort)
    if (!flows.has(key)) {
      this.#size++
      holdAddress(remoteAddress)
    }
    flows.set(key, shadow)
    this.#last = null
    // allocates: once per connection
    this.#handshakes.push({ shadow, at: now + HANDSHAKE_MS })
    return this.#handshakes.length - this.#firstHandshake > MAX_HALF_OPEN ? this.#makeRoom() : null
  }

  // Only a handshake that is under way still is in the way of others.
  #makeRoom(): Shadow | null {
    const { shadow } = this.#handshakes[this.#firstHandshake++] as Expiry
    if (this.#firstHandshake > MAX_HALF_OPEN) {
      this.#handshakes = this.#handshakes.slice(this.#firstHandshake)
      this.#firstHandshake = 0
    }
    if (!isHalfOpen(shadow)) return null
    this.remove(shadow)
    return shadow
  }

  remove(shadow: Shadow): void {
    const { localPort, remoteAddress, remotePort } = shadow.key
    const flows = this.#byPort.get(localPort)
    const key = endpointKey(remoteAddress, remotePort)
    if (flows?.get(key) !== shadow) return
    flows.delete(key)
    this.#last = null
    if (flows.size === 0) this.#byPort.delete(localPort)
    this.#size--
    dropAddress(remoteAddress)
  }

  /** The shadow has entered TIME-WAIT. */
  startWait(shadow: Shadow, now: Millis): void {
    // allocates: once per connection
    this.#waits.push({ shadow, at: now + TIME_WAIT_MS })
  }

  *shadows(): Generator<Shadow> {
    for (const flows of this.#byPort.values()) yield* flows.values()
  }

  nextDeadline(): Millis {
    return Math.min(
      this.#handshakes[this.#firstHandshake]?.at ?? NEVER,
      this.#waits[0]?.at ?? NEVER,
    )
  }

  /** Removes what has expired and returns it. */
  // allocates: on a timer, not per frame
  expire(now: Millis): Shadow[] {
    const expired: Shadow[] = []
    const handshakes = takeDue(this.#handshakes, this.#firstHandshake, now)
    this.#firstHandshake = 0
    for (const { shadow } of handshakes) if (isHalfOpen(shadow)) expired.push(shadow)
    for (const { shadow } of takeDue(this.#waits, 0, now)) {
      if (shadow.tcb.state === TcpState.TIME_WAIT) expired.push(shadow)
    }
    for (const shadow of expired) this.remove(shadow)
    return expired
  }
}

function isHalfOpen(shadow: Shadow): boolean {
  return shadow.verdict === 'untracked'
    ? !shadow.ownerSpoke
    : shadow.tcb.state < TcpState.ESTABLISHED
}

// From `from` on. Deadlines were appended in order, as each list has one duration. What lies before `from` goes, too.
// allocates: on a timer, not per frame
function takeDue(list: Expiry[], from: number, now: Millis): Expiry[] {
  let due = from
  while (due < list.length && (list[due] as Expiry).at <= now) due++
  return list.splice(0, due).slice(from)
}
