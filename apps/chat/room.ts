/** A room of the chat: who is in it, and what was said last, which lies in the shared store. */
import type { StateTable } from '../../cluster/io/index.js'
import type { Member } from './member.js'

/** Lines that a new member is shown. */
const MAX_HISTORY = 50
const MAX_MEMBERS = 1000

export interface Line {
  readonly name: string
  readonly text: string
  /** The node that passed it on. */
  readonly node: number
}

export class Room {
  readonly name: string
  readonly #table: StateTable<Line[]>
  readonly #members = new Set<Member>()

  constructor(name: string, table: StateTable<Line[]>) {
    this.name = name
    this.#table = table
  }

  get isFull(): boolean {
    return this.#members.size >= MAX_MEMBERS
  }

  get isEmpty(): boolean {
    return this.#members.size === 0
  }

  get history(): readonly Line[] {
    return this.#table.get(this.name) ?? []
  }

  add(member: Member): void {
    this.#members.add(member)
  }

  remove(member: Member): void {
    this.#members.delete(member)
  }

  /** Tells everybody, in one transaction with the history: after a crash all have it, or it is said again. */
  say(line: Line): void {
    this.#table.put(this.name, [...this.history, line].slice(-MAX_HISTORY))
    for (const member of this.#members) member.tell(line)
  }
}
