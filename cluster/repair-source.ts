/**
 * RepairSource: answers a node that has missed text of a connection (D1): from the connection itself where this node owns it, else from
 * what its shadow keeps. It tells what it has of the ranges that were asked for, and says so when it has nothing.
 */
import { type Connection, diff, type Millis, type Stack, type TcbParts } from '../stack/index.js'
import type { Binding } from './binding.js'
import type { Flow } from './flow-key.js'
import { MAX_RUN, type Range, type RepairEncoder, type RepairMessage } from './repair-message.js'
import type { Snooper } from './snooper.js'

/** Octets that one answer has at most: the rest is asked for again. */
export const MAX_ANSWER = 1024 * 1024
/** Octets of all answers within RATE_MS at most. */
export const MAX_RATE = 8 * 1024 * 1024
const RATE_MS: Millis = 100

type Ask = Extract<RepairMessage, { kind: 'ask' }>

/** Where the connection may be found. */
export interface Held {
  readonly binding: Binding
  readonly owned: boolean
  readonly snooper: Snooper
}

export class RepairSource {
  readonly #held: Held
  readonly #stack: Stack
  #windowAt: Millis = 0
  #octets = 0

  constructor(held: Held, stack: Stack) {
    this.#held = held
    this.#stack = stack
  }

  /** The messages that answer `ask`, none when too much has been told of late; each is the caller's. */
  answer(ask: Ask, encoder: RepairEncoder, now: Millis): Uint8Array[] {
    if (now - this.#windowAt >= RATE_MS) {
      this.#windowAt = now
      this.#octets = 0
    }
    if (this.#octets >= MAX_RATE) return []
    const parts = this.#find(ask)
    const messages: Uint8Array[] = []
    let left = MAX_ANSWER
    for (const range of parts === null ? [] : ask.ranges) {
      for (const { offset, length, fin } of runsOf(parts as TcbParts, range)) {
        if (left <= 0) break
        left -= length
        const text = (parts as TcbParts).buffers[range.side]
        messages.push(
          encoder.text(ask, { side: range.side, offset, fin }, length, (into, at) =>
            text.copyTo(offset, length, into, at),
          ),
        )
      }
    }
    this.#octets += MAX_ANSWER - left
    if (messages.length === 0) messages.push(encoder.none(ask))
    return messages
  }

  #find({ key, iss, irs }: Flow): TcbParts | null {
    const { binding, owned, snooper } = this.#held
    const { localPort, remoteAddress, remotePort } = key
    let parts: Pick<Connection, 'tcb' | 'buffers'> | undefined
    if (owned)
      parts = this.#stack.tcp.demux.find(binding.address, localPort, remoteAddress, remotePort)
    if (parts === undefined) {
      const shadow = snooper.table.find(localPort, remoteAddress, remotePort)
      if (shadow !== undefined && shadow.verdict !== 'untracked') parts = shadow
    }
    return parts !== undefined && parts.tcb.iss === iss && parts.tcb.irs === irs ? parts : null
  }
}

// What is here of `range`, in pieces of a message each.
function* runsOf(
  { tcb, buffers }: TcbParts,
  { side, from, to }: Range,
): Generator<{ offset: number; length: number; fin: boolean }> {
  const text = buffers[side]
  const fins = side === 'received' && tcb.rcvFinSeen !== 0
  // The FIN's place.
  const finAt = fins ? tcb.rcvNxtOffset + diff(tcb.rcvFin, tcb.rcvNxt) : Number.POSITIVE_INFINITY
  const end = Math.min(to, finAt, text.end)
  let told = false
  for (let at = Math.max(from, text.floor); at < end; ) {
    // What was let go of is in one piece with what follows.
    const present = at < text.start ? Math.min(text.start, end) - at : text.presentFrom(at, end)
    if (present < 0) {
      at -= present
      continue
    }
    const length = Math.min(present, MAX_RUN)
    told = finAt < to && at + length === finAt
    yield { offset: at, length, fin: told }
    at += length
  }
  if (!told && finAt >= from && finAt < to) yield { offset: finAt, length: 0, fin: true }
}
