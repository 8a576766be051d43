/**
 * FlightList: connections that nobody serves while a node is asked to go on with them (P20), by name, each with whom is asked and until
 * when.
 */
import { type Millis, NEVER, type Seq } from '../stack/index.js'
import type { NodeId } from './binding.js'
import type { FlowKey } from './flow-key.js'
import { NOBODY } from './node-options.js'
import type { GivenUp } from './resume-point.js'

/** A connection that its binding's owner cannot go on with. */
export interface LostFlow {
  readonly key: FlowKey
  /** Why not. */
  readonly reason: GivenUp
  /** 0, both, when its handshake was not heard. */
  readonly iss: Seq
  readonly irs: Seq
  /** SND.NXT for its reset. */
  readonly resetSeq: Seq
  /** Who need not be asked any more. */
  readonly tried: Set<NodeId>
}

interface Flight {
  readonly flow: LostFlow
  asked: NodeId
  until: Millis
}

export class FlightList {
  readonly #flights = new Map<string, Flight>()

  get size(): number {
    return this.#flights.size
  }

  has(name: string): boolean {
    return this.#flights.has(name)
  }

  get(name: string): LostFlow | undefined {
    return this.#flights.get(name)?.flow
  }

  /** Who is being asked; NOBODY: no one, or the name is not known. */
  asked(name: string): NodeId {
    return this.#flights.get(name)?.asked ?? NOBODY
  }

  names(): string[] {
    return [...this.#flights.keys()]
  }

  add(name: string, flow: LostFlow): void {
    this.#flights.set(name, { flow, asked: NOBODY, until: NEVER })
  }

  /** `node` is asked, and has until `until` to answer. */
  ask(name: string, node: NodeId, until: Millis): void {
    const flight = this.#flights.get(name)
    if (flight === undefined) return
    flight.asked = node
    flight.until = until
  }

  remove(name: string): void {
    this.#flights.delete(name)
  }

  clear(): void {
    this.#flights.clear()
  }

  /** Whose time to answer is over. */
  due(now: Millis): string[] {
    if (this.#flights.size === 0) return []
    return this.names().filter((name) => now >= (this.#flights.get(name)?.until ?? NEVER))
  }

  nextDeadline(): Millis {
    let earliest = NEVER
    for (const { until } of this.#flights.values()) earliest = Math.min(earliest, until)
    return earliest
  }
}
