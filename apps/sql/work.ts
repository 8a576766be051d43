/** Work: one unit while the backend carries it out, and its parts. */
import type { BackendPort } from './backend.js'
import type { UnitRequest } from './jobs.js'
import { controlsTransactions, type Mark } from './marks.js'
import { insteadOf } from './names.js'
import { HeldAnswer } from './output.js'
import type { ClientSession } from './session-switch.js'
import { type Statement, type StatementKind, splitStatements } from './statements.js'
import {
  BodyReader,
  errorResponse,
  type Failure,
  type Message,
  MessageReader,
  type TransactionStatus,
} from './wire.js'

/** One unit on its way through the backend. */
export class Work {
  readonly request: UnitRequest
  readonly session: ClientSession
  readonly port: BackendPort
  readonly answer: HeldAnswer
  marks = new Map<number, Mark>()
  /** The unit may write: what has been given of its answer cannot be given again. */
  writes = true
  finished = false
  status: TransactionStatus = 'I'
  #before = 0

  constructor(request: UnitRequest, session: ClientSession, port: BackendPort) {
    this.request = request
    this.session = session
    this.port = port
    this.answer = new HeldAnswer((octets) => port.give(octets, this.writes))
  }

  /** The octets that the step under way has said. */
  get held(): Uint8Array {
    return this.answer.held.subarray(this.#before)
  }

  stepDone(): void {
    this.#before = this.answer.held.length
  }

  /** Takes back what the step under way has said. */
  takeBack(): void {
    const kept = this.answer.take().subarray(0, this.#before)
    if (kept.length > 0) this.answer.add(kept)
  }

  recorded({ status }: Mark, answer: Uint8Array): void {
    this.answer.add(answer)
    this.status = status
    this.finished = this.request.form !== 'simple' || this.request.lost !== 'I'
    this.stepDone()
  }

  fail(failure: Failure): void {
    this.answer.add(errorResponse(failure))
    this.finished = true
  }

  noteText(text: string): void {
    if (/set_config/i.test(text)) this.session.dirty = true
  }

  /** The kinds of the unit's statements. */
  kinds(): readonly StatementKind[] {
    const { form, messages } = this.request
    const read = readMessages(messages)
    if (form === 'extended') return this.session.statements.translate(read).kinds
    const sql = new BodyReader(read[0]?.body ?? new Uint8Array([0])).text()
    return splitStatements(sql).map(({ kind }) => kind)
  }
}

/** Statements of a query that are run at once. */
export interface Group extends Statement {
  /** The group is the whole query. */
  readonly whole: boolean
}

/** The query in parts: what may be run at once is all of a query, unless it begins or ends transactions. */
export function groupsOf(sql: string): Group[] {
  const statements = splitStatements(sql)
  const special = statements.some(
    ({ kind }) => controlsTransactions([kind]) || insteadOf(kind) !== null,
  )
  if (statements.length <= 1 || !special) {
    const reads = statements.every(({ kind }) => kind === 'read')
    const kind =
      statements.length === 1 ? (statements[0]?.kind ?? 'read') : reads ? 'read' : 'other'
    return [{ kind, text: sql, whole: true }]
  }
  const groups: Group[] = []
  for (const { kind, text } of statements) {
    const last = groups.at(-1)
    const plain = kind === 'read' || kind === 'other'
    if (plain && last?.kind === 'other') {
      groups[groups.length - 1] = { kind: 'other', text: last.text + text, whole: false }
    } else {
      groups.push({ kind: plain ? 'other' : kind, text, whole: false })
    }
  }
  return groups
}

export function readMessages(octets: Uint8Array): Message[] {
  const reader = new MessageReader(false)
  reader.push(octets)
  const messages: Message[] = []
  for (let m = reader.next(); m !== null; m = reader.next()) messages.push(m)
  return messages
}

export function silent(): HeldAnswer {
  return new HeldAnswer(() => {})
}
