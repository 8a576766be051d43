/**
 * Promotion: how one shadow, or a pair of them, becomes live again, or why it cannot (P1, A7, D5).
 *
 * A proxy's pair needs no checkpoint: octet n of what one connection receives is octet n of what the other one sends. So how much was
 * consumed is seen on the wire: it has departed to the other side. What was received and has not departed is put where it departs from.
 */
import {
  arrivedUnseen,
  type Connection,
  type Millis,
  type Nic,
  type Stack,
} from '../stack/index.js'
import type { CheckpointStore } from './checkpoint.js'
import type { DoubtfulData } from './declaration.js'
import { type Pairs, passedOn, producedTo } from './pairs.js'
import { type GivenUp, isOutputFinished, resumePoint } from './resume-point.js'
import type { Shadow } from './shadow.js'

/**
 * Connections that say something at once at most when nothing has to be said. One segment for each of many holds up those that wait for
 * an answer.
 */
const MAX_SPOKEN = 256

/** What became of the connections. */
export interface PromotionCount {
  connections: number
  promoted: number
  /** Of the promoted, those with text under way in either direction. */
  midStream: number
  /** Connections that this node lacks and another may have: it is asked (P20). */
  passedOn: number
  /** Connections that could not be saved, by reason (D5). */
  readonly givenUp: Partial<Record<GivenUp, number>>
}

/** Takes a connection that this node lacks, to ask others for it. False: there is nobody to ask. */
export type TakeLost = (shadow: Shadow, reason: GivenUp) => boolean

export class Promotion {
  readonly count: PromotionCount = {
    connections: 0,
    promoted: 0,
    midStream: 0,
    passedOn: 0,
    givenUp: {},
  }
  readonly #stack: Stack
  readonly #nic: Nic
  readonly #now: Millis
  readonly #takeLost: TakeLost
  readonly #doubtful: DoubtfulData
  readonly #orderly: boolean

  /** `orderly`: the last owner fell silent of its own accord, and told of it when all that it had said had been heard (P24). */
  constructor(
    stack: Stack,
    nic: Nic,
    now: Millis,
    doubtful: DoubtfulData,
    takeLost: TakeLost = () => false,
    orderly = false,
  ) {
    this.#orderly = orderly
    this.#doubtful = doubtful
    this.#stack = stack
    this.#nic = nic
    this.#now = now
    this.#takeLost = takeLost
  }

  /** A connection that stands for itself. */
  promote(shadow: Shadow, checkpoints: CheckpointStore): void {
    const point = resumePoint(shadow, checkpoints.get(shadow.key), this.#doubtful)
    if (typeof point === 'string') {
      this.giveUp(shadow, point)
      return
    }
    this.#adopt(shadow, point.input, point.output, point.resumption)
  }

  /** A proxy's pair, of which both connections live. The client's goes to its listener, with the server's as its partner. */
  promotePair(client: Shadow, server: Shadow): void {
    const reason = refusesPair(client, server)
    if (reason !== null) {
      this.giveUp(client, reason)
      this.giveUp(server, reason)
      return
    }
    const toServer = this.#adoptPaired(server, client, PAIRED)
    // It waits for no listener.
    this.#stack.tcp.openings.forget(toServer)
    const toClient = this.#adoptPaired(client, server, PAIRED)
    toClient.partner = toServer
    toServer.partner = toClient
  }

  /** One of a pair, of which the other connection, `gone`, is over. */
  promoteRest(shadow: Shadow, gone: Shadow): void {
    if (gone.distrusted) {
      // It ended unheard, and well, as the owner went on with this one: but what was still to be passed on nobody here knows.
      const finished = shadow.verdict === 'ready' && isOutputFinished(shadow)
      if (finished) this.#adoptPaired(shadow, gone, null).shutdown()
      else this.giveUp(shadow, 'partner-lost')
      return
    }
    if (!endedWell(gone)) {
      // The reset is passed on.
      this.#adoptPaired(shadow, gone, null).abort()
      return
    }
    const reason = shadow.verdict === 'untracked' ? shadow.verdict : carry(gone, shadow, true)
    if (reason !== null) {
      this.giveUp(shadow, reason)
      return
    }
    // All that there will be to say is here, and nobody is left to hear any more.
    this.#adoptPaired(shadow, gone, null).shutdown()
  }

  giveUp(shadow: Shadow, reason: GivenUp): void {
    const lacks = reason === 'untracked' || reason === 'gap'
    if (lacks && shadow.partner === null && this.#takeLost(shadow, reason)) {
      this.count.passedOn++
      return
    }
    const { givenUp } = this.count
    givenUp[reason] = (givenUp[reason] ?? 0) + 1
    this.#stack.reset(shadow.key, shadow.resetSeq)
  }

  #adoptPaired(shadow: Shadow, partner: Shadow, resumption: unknown): Connection {
    const input = Math.min(passedOn(partner), shadow.buffers.received.contiguousEnd)
    return this.#adopt(shadow, input, producedTo(shadow), resumption)
  }

  #adopt(shadow: Shadow, input: number, output: number, resumption: unknown): Connection {
    const { tcb, buffers } = shadow
    if (tcb.flightSize > 0 || buffers.received.contiguousEnd > input) this.count.midStream++
    this.count.promoted++
    const parts = shadow.release()
    const connection = this.#stack.adopt(
      parts,
      this.#nic,
      shadow.key,
      this.#now,
      input,
      output,
      resumption,
      this.#orderly,
    )
    connection.opener = shadow.opener
    // The rest is asked within a second or two anyway, each at another instant.
    if (this.count.promoted > MAX_SPOKEN) connection.receiver.rest(tcb)
    return connection
  }
}

/** What a pair is resumed with: no more than that it is one. */
const PAIRED = Object.freeze({ paired: true })

/** Both sides have ended, and been acknowledged. */
function endedWell({ tcb }: Shadow): boolean {
  return tcb.finReceived && tcb.finAcked
}

/** Why the two cannot go on, or null: then each goes on sending from where the other's input is to be read. */
export function refusesPair(a: Shadow, b: Shadow): GivenUp | null {
  if (a.verdict === 'untracked' || b.verdict === 'untracked') return 'untracked'
  return carry(a, b, false) ?? carry(b, a, false)
}

/**
 * What has departed to `to` was consumed from `from`, whether it was heard arriving or not; where it departed unheard it is put back.
 * The rest waits to be read from `from`, unless that is `gone`: then all of it is put where it will depart from.
 */
function carry(from: Shadow, to: Shadow, gone: boolean): GivenUp | null {
  const { received } = from.buffers
  const { sent } = to.buffers
  const { preface } = to
  if (sent.contiguousEnd < to.tcb.ackedOffset) sent.trim(to.tcb.ackedOffset)
  for (;;) {
    const end = sent.contiguousEnd
    const due = gone || end < to.tcb.sndNxtOffset
    if (end < preface.length) {
      if (!due) break
      if (!sent.put(end, preface, end, preface.length)) return 'output-lost'
      continue
    }
    const at = end - preface.length
    arrivedUnseen(from.tcb, from.buffers, at)
    const length = received.runFrom(at)
    if (length === 0 || !due) break
    const place = received.placeOf(at, length)
    if (!sent.put(end, received.memory, place, place + length)) return 'output-lost'
  }
  if (from.verdict !== 'ready') return from.verdict
  return received.start > passedOn(to) ? 'input-lost' : null
}

/**
 * Why a connection without partner that should have one, or comes to have one, cannot go on; null for any other. One that a proxy has
 * taken begins anew when nothing of it can have reached the server: `stray` tells that there are connections to the server of which
 * nobody here knows whose they are.
 */
export function refusesAlone(shadow: Shadow, pairs: Pairs, stray: boolean): GivenUp | null {
  // Nothing is left to be passed on: only the protocol is to be finished.
  if (endedWell(shadow)) return null
  if (shadow.opener) return 'no-partner'
  if (!pairs.isProxied(shadow.key) || shadow.verdict === 'untracked') return null
  const { tcb, buffers } = shadow
  const untouched = buffers.received.start === 0 && tcb.sndNxtOffset === 0
  return untouched && !(stray && buffers.received.end > 0) ? null : 'partner-lost'
}

/** True when one of these leads to a proxy's server, and its beginning was not heard. */
export function hasStray(pairs: Pairs, shadows: Iterable<Shadow>): boolean {
  for (const { verdict, key } of shadows) {
    if (verdict === 'untracked' && pairs.isServerSide(key)) return true
  }
  return false
}
