/**
 * StrictMode (D2): an owner acknowledges input, and gives it to its application, only when the peers have it, and opens a connection only
 * when they know of it. Then output needs nobody's word: it follows from input that they have, or lies in a checkpoint.
 *
 * All peers that are in line are waited for, as any may be the next owner, and there must be as many as the terms say. One that does not
 * keep up for a second is passed over, in that connection, while enough others do. What a peer has not confirmed for a moment is said
 * to it again (`said-again.ts`): so a frame that it missed is never lost, whatever the client does.
 */
import {
  type Connection,
  confirm,
  levelOf,
  type Millis,
  NEVER,
  NO_CLAMP,
  Segment,
  UNKNOWN,
} from '../stack/index.js'
import { connectionsOf, type NodeId } from './binding.js'
import { flowKeyOf } from './flow-key.js'
import type { Action } from './node-actions.js'
import type { NodeWorld, PermanencySet, StrictTerms } from './node-options.js'
import type { Peers } from './peers.js'
import { sayAgain } from './said-again.js'
import type { Term } from './snapshot-exchange.js'
import { type Having, StrictEncoder, type StrictMessage } from './strict-message.js'
import { StrictPeer } from './strict-peer.js'
import type { Succession } from './succession.js'

/** How long a peer that hears the link may take to confirm, before it is taken to have missed something: as a rule. */
export const LAG_MS: Millis = 5
/** The same where peers are slow: so many times as long as they mostly take, up to a limit. What is said again costs them more. */
const LAG_FACTOR = 3
const MAX_LAG_MS: Millis = 100
/** When that time is over, the word may lie in a queue of this node, which was busy: so long it gets to be read. */
export const TURN_MS: Millis = 1
// Weight of the latest confirmation in how long they take.
const GAIN = 1 / 8
// How much later than expected one counts of which only is known that it was late.
const LATE = 1.25
/** Behind that what it lacks is said again: twice as late each time, up to a limit. */
export const SAY_AGAIN_MS: Millis = 20
const MAX_SAY_AGAIN_MS: Millis = 500
/** How long a peer is waited for in one connection; and how long there may be too few peers before that is reported. */
export const PASS_OVER_MS: Millis = 1000

/** What is known of the ownership of the binding, and who is in line for it. */
export interface StrictTerm extends Term {
  readonly set: PermanencySet
  readonly succession: Succession
}

/** kept: enough peers confirm. held: too few, and nothing is acknowledged. unprotected: too few, and the owner goes on with those. */
export type StrictState = 'kept' | 'held' | 'unprotected'

export interface StrictStats {
  /** Segments that were said to peers again. */
  said: number
  /** Times that a connection went on without a peer that did not keep up. */
  passedOver: number
  /** Times that input was acknowledged with too few peers. */
  unprotected: number
  /** Messages of another term, or about connections that are not known. */
  refused: number
}

// What others have of one connection.
interface Confirmations {
  readonly by: Map<NodeId, Pick<Having, 'received' | 'sent' | 'fin'>>
  // Peers that did not keep up.
  readonly passed: Set<NodeId>
  // Since when something up to `goal` is not confirmed, and when that is said again.
  since: Millis
  goal: number
  sayAt: Millis
  due: boolean
  tries: number
}

export class StrictMode {
  readonly stats: StrictStats = { said: 0, passedOver: 0, unprotected: 0, refused: 0 }
  readonly terms: StrictTerms
  readonly peer: StrictPeer
  state: StrictState = 'kept'
  readonly #term: StrictTerm
  readonly #world: NodeWorld
  readonly #peers: Peers
  readonly #act: (action: Action) => void
  // In which term, and in which of its lives, each peer has said that it tells.
  readonly #announced = new Map<NodeId, { epoch: number; incarnation: number }>()
  // In which term all have been asked to.
  #askedEpoch = -1
  readonly #waiting = new Set<Connection>()
  readonly #syn = new Segment()
  #counted: readonly NodeId[] = []
  #lookAt: Millis = NEVER
  // How long confirmations take.
  #takesMs: Millis = 0
  #shortSince: Millis = NEVER

  constructor(
    terms: StrictTerms,
    term: StrictTerm,
    world: NodeWorld,
    peers: Peers,
    act: (action: Action) => void,
  ) {
    this.terms = terms
    this.#term = term
    this.#world = world
    this.#peers = peers
    this.#act = act
    this.peer = new StrictPeer(term, world, act)
  }

  /** Connections that have something that is not confirmed. */
  get waiting(): number {
    return this.#waiting.size
  }

  /** The peers that confirm what this node owns. */
  get confirming(): readonly NodeId[] {
    return this.#counted.filter((node) => this.#tells(node))
  }

  /** A connection of the binding has something that is not confirmed. */
  take(connection: Connection, now: Millis): void {
    // One that this node carries for the owner has no peers that look at it (P20).
    if (!this.#term.owned) {
      confirm(connection, NO_CLAMP, now)
      return
    }
    if (connection.released || !this.#lacks(connection)) return
    const confirmations = confirmationsOf(connection)
    if (!this.#waiting.has(connection)) {
      this.#waiting.add(connection)
      this.#begin(confirmations, connection, now)
    }
    // Of a connection that opens nobody knows before its owner says so: our ISS is in no segment yet.
    if (connection.receiver.confirmed < 0 && confirmations.tries === 0) {
      if (!connection.tcb.synSent) connection.commitSyn(this.#syn, now, true)
      this.#begin(confirmations, connection, now)
      confirmations.sayAt = now
      confirmations.due = true
    }
    // It is there for the last time.
    if (connection.closed) confirmations.sayAt = now
    if (connection.closed) confirmations.due = true
    this.#lookAt = Math.min(this.#lookAt, confirmations.sayAt)
    this.#settle(connection, now)
  }

  // Something of it is not confirmed. That we have ended our side is to be known, but nothing waits for it.
  #lacks(connection: Connection): boolean {
    const { tcb, receiver } = connection
    if (receiver.confirmed < levelOf(tcb) || !tcb.synSent) return true
    if (tcb.sndFinSent === 0) return false
    const { by } = confirmationsOf(connection)
    return this.#counted.some((node) => by.get(node)?.fin !== true)
  }

  /** At the end of a turn, before anything is sent. */
  endTurn(now: Millis): void {
    if (!this.#term.owned) {
      this.peer.tell()
      return
    }
    if (this.#waiting.size > 0 && now >= this.#lookAt) this.#look(now)
  }

  /** The control channel to a node is up. */
  handleChannel(node: NodeId): void {
    if (node === this.#term.owner) this.peer.restart()
  }

  handle(from: NodeId, message: StrictMessage, now: Millis): void {
    const { owned, epoch } = this.#term
    if (message.kind === 'tell') {
      if (!this.peer.handleTell(from, message.epoch)) this.stats.refused++
    } else if (message.kind === 'said') {
      if (!this.peer.handleSaid(from, message, now)) this.stats.refused++
    } else if (!owned || message.epoch !== epoch) {
      this.stats.refused++
    } else {
      if (!this.#tells(from)) this.#admit(from, now)
      for (const having of message.flows) this.#note(from, having, now)
    }
  }

  // A peer tells from now on: what it had in an earlier life counts for nothing.
  #admit(from: NodeId, now: Millis): void {
    const { binding, epoch } = this.#term
    for (const { receiver } of connectionsOf(binding, this.#world.stack)) {
      ;(receiver.hold?.confirmations as Confirmations | null | undefined)?.by.delete(from)
    }
    this.#announced.set(from, { epoch, incarnation: this.#incarnationOf(from) })
    this.#recount(now)
  }

  #incarnationOf(node: NodeId): number {
    return this.#peers.get(node)?.incarnation ?? 0
  }

  #note(from: NodeId, having: Having, now: Millis): void {
    const { key, iss, irs, received, sent, fin } = having
    const { binding } = this.#term
    const { demux } = this.#world.stack.tcp
    const found = demux.find(binding.address, key.localPort, key.remoteAddress, key.remotePort)
    const known = found !== undefined && found.tcb.iss === iss
    if (!known || (received >= 0 && found.tcb.irs !== irs)) {
      this.stats.refused++
      return
    }
    const { by, passed, goal } = confirmationsOf(found)
    by.set(from, { received, sent, fin })
    if (received >= goal) passed.delete(from)
    let held = NO_CLAMP
    for (const node of this.#counted) {
      if (!passed.has(node)) held = Math.min(held, by.get(node)?.sent ?? 0)
    }
    if (found.receiver.hold !== null) found.receiver.hold.outputHeld = held
    this.#settle(found, now)
  }

  // Lets go on what may.
  #settle(connection: Connection, now: Millis): void {
    const needed = levelOf(connection.tcb)
    const upTo = this.#confirmedBy(connection, needed)
    if (upTo > connection.receiver.confirmed) {
      const confirmations = confirmationsOf(connection)
      if (connection.receiver.confirmed >= 0 && this.#waiting.has(connection)) {
        this.#learn(confirmations, now)
      }
      confirm(connection, upTo, now)
      this.#begin(confirmations, connection, now)
    }
    if (!this.#lacks(connection)) this.#waiting.delete(connection)
  }

  get #lagMs(): Millis {
    return Math.min(Math.max(LAG_MS, LAG_FACTOR * this.#takesMs), MAX_LAG_MS)
  }

  // Of one that came behind what was said again nobody knows which of the two it answers, as with Karn's algorithm.
  #learn({ since, tries }: Confirmations, now: Millis): void {
    const took = tries === 0 ? now - since : LATE * this.#lagMs
    this.#takesMs += (took - this.#takesMs) * GAIN
  }

  // What is here now is to be confirmed: the time for that begins.
  #begin(confirmations: Confirmations, { tcb }: Connection, now: Millis): void {
    confirmations.since = now
    confirmations.goal = levelOf(tcb)
    confirmations.sayAt = now + this.#lagMs
    confirmations.due = false
    confirmations.tries = 0
  }

  // What all that are waited for have; `needed` is all that there is.
  #confirmedBy(connection: Connection, needed: number): number {
    const { by, passed } = confirmationsOf(connection)
    const { peers, alone } = this.terms
    // Who was passed over is waited for again once too few are left.
    const left =
      passed.size === 0 ? this.#counted : this.#counted.filter((node) => !passed.has(node))
    const waited = left.length >= peers ? left : this.#counted
    let least = NO_CLAMP
    for (const node of waited) least = Math.min(least, by.get(node)?.received ?? UNKNOWN)
    if (this.#counted.length >= peers) return least
    if (alone === 'hold') return UNKNOWN
    if (least >= needed && connection.receiver.confirmed < needed) this.stats.unprotected++
    return Math.min(least, needed)
  }

  #tells(node: NodeId): boolean {
    const announced = this.#announced.get(node)
    if (announced === undefined) return false
    const { epoch, incarnation } = announced
    return epoch === this.#term.epoch && incarnation === this.#incarnationOf(node)
  }

  // Those in line: who knows of every connection, or tells already.
  #recount(now: Millis): void {
    const { succession } = this.#term
    const before = this.#counted
    this.#counted = succession.others.filter(
      (node) =>
        this.#peers.isUp(node) && (this.#tells(node) || succession.standingOf(node).complete),
    )
    const same =
      before.length === this.#counted.length && before.every((node, i) => node === this.#counted[i])
    if (same) return
    for (const connection of this.#waiting) this.#settle(connection, now)
  }

  nextDeadline(): Millis {
    if (!this.#term.owned) return NEVER
    const shortAt = this.state === 'kept' ? this.#shortSince + PASS_OVER_MS : NEVER
    return Math.min(this.#waiting.size > 0 ? this.#lookAt : NEVER, shortAt)
  }

  handleTimeout(now: Millis): void {
    if (!this.#term.owned) {
      this.#waiting.clear()
      this.#counted = []
      this.#shortSince = NEVER
      this.state = 'kept'
      return
    }
    if (this.#askedEpoch !== this.#term.epoch) this.#ask()
    this.#recount(now)
    this.#judge(now)
    if (this.#waiting.size > 0 && now >= this.#lookAt) this.#look(now)
  }

  // Whoever told before this node took over was not heard.
  #ask(): void {
    const { binding, epoch } = this.#term
    this.#askedEpoch = epoch
    const encoder = new StrictEncoder(this.#world.authenticator, binding.id, epoch)
    this.#act({ kind: 'send', bytes: encoder.tell() })
  }

  // Whether enough peers confirm, and whether that is to be told.
  #judge(now: Millis): void {
    const confirming = this.confirming.length
    const { peers, alone } = this.terms
    if (confirming >= peers) this.#shortSince = NEVER
    else if (this.#shortSince === NEVER) this.#shortSince = now
    const short = now - this.#shortSince >= PASS_OVER_MS
    const state = !short ? 'kept' : alone === 'hold' ? 'held' : 'unprotected'
    // Short again, but not for long enough to say so, is still what was said last.
    if (state === this.state || (state === 'kept' && confirming < peers)) return
    this.state = state
    const { binding, epoch } = this.#term
    const report = {
      event: 'strict',
      binding: binding.id,
      epoch,
      state,
      confirming,
      peers,
    } as const
    this.#act({ kind: 'report', report })
  }

  // Says again what is not confirmed in time, and passes over who does not keep up.
  #look(now: Millis): void {
    this.#lookAt = NEVER
    for (const connection of this.#waiting) {
      if (connection.released) {
        this.#waiting.delete(connection)
        continue
      }
      const confirmations = confirmationsOf(connection)
      if (now >= confirmations.sayAt && !confirmations.due) {
        confirmations.due = true
        confirmations.sayAt = now + TURN_MS
      }
      if (now >= confirmations.sayAt) {
        this.#sayAgain(connection, confirmations, now)
        const wait = Math.min(SAY_AGAIN_MS * 2 ** confirmations.tries, MAX_SAY_AGAIN_MS)
        confirmations.tries++
        confirmations.sayAt = now + wait
      }
      if (now - confirmations.since >= PASS_OVER_MS) this.#passOver(connection, confirmations, now)
      this.#lookAt = Math.min(this.#lookAt, confirmations.sayAt)
    }
  }

  #sayAgain(connection: Connection, { by }: Confirmations, now: Millis): void {
    const { binding, epoch } = this.#term
    const key = flowKeyOf(binding, connection)
    const encoder = new StrictEncoder(this.#world.authenticator, binding.id, epoch)
    const needed = levelOf(connection.tcb)
    for (const node of this.#counted) {
      const { received: known, fin } = by.get(node) ?? NOTHING
      if (known >= needed && (fin || connection.tcb.sndFinSent === 0)) continue
      sayAgain(connection, known, now, (direction, seg) => {
        this.stats.said++
        this.#act({ kind: 'tell', node, bytes: encoder.said(key, direction, seg) })
      })
    }
  }

  #passOver(connection: Connection, { by, passed, goal }: Confirmations, now: Millis): void {
    const keeps = (node: NodeId): boolean => (by.get(node)?.received ?? UNKNOWN) >= goal
    if (this.#counted.filter(keeps).length < this.terms.peers) return
    for (const node of this.#counted) {
      if (keeps(node) || passed.has(node)) continue
      passed.add(node)
      this.stats.passedOver++
    }
    this.#settle(connection, now)
  }
}

// What a peer has that has told nothing.
const NOTHING = { received: UNKNOWN, sent: 0, fin: false } as const

function confirmationsOf({ receiver: { hold } }: Connection): Confirmations {
  const found = hold?.confirmations as Confirmations | null | undefined
  if (found != null) return found
  const made: Confirmations = {
    by: new Map(),
    passed: new Set(),
    since: 0,
    goal: 0,
    sayAt: 0,
    due: false,
    tries: 0,
  }
  if (hold !== null) hold.confirmations = made
  return made
}
