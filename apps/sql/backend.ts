/**
 * Backend: carries the units of all clients out on the one session that PGlite has. A unit that stands for itself is put into a
 * transaction of ours, so that its mark is committed with it (marks.ts); one in a client's own block leaves a mark with its COMMIT.
 */
import { LOST, REST_LOST, UNDONE } from './failures.js'
import type { AttachResult, UnitRequest, UnitResult } from './jobs.js'
import {
  answerToCommit,
  askMarks,
  COMMITTED,
  controlsTransactions,
  dropMarks,
  leaveMark,
  type Mark,
  readMarks,
  SCHEMA,
  statusBehindCommit,
} from './marks.js'
import type { SessionMemory } from './memory.js'
import { type Batch, insteadOf, LiveStatements } from './names.js'
import { HeldAnswer, OutputReader, type Part, type Said } from './output.js'
import { ClientSession, SessionSwitch } from './session-switch.js'
import type { StatementKind } from './statements.js'
import { BodyReader, encode, encodeQuery, type TransactionStatus } from './wire.js'
import { groupsOf, readMessages, silent, Work } from './work.js'

/** A database session: hands what it says to `give`, octets that are lent, and returns when it has said all. */
export type Engine = (messages: Uint8Array, give: (octets: Uint8Array) => void) => void

/** What the backend needs of the node while it works on a unit. */
export interface BackendPort {
  /** Takes a part of the answer. `progress`: it cannot be given again. */
  give(octets: Uint8Array, progress: boolean): void
  /** Returns when it is stored that what comes now leaves no mark. */
  unmarked(): void
}

const BEGIN = encodeQuery('BEGIN')
const COMMIT = encodeQuery('COMMIT')
const ROLLBACK = encodeQuery('ROLLBACK')
const SYNC = encode('S')
const COPY_FAIL = encode('f', 'only asked how it begins')
const LOST_BLOCK = encodeQuery("DO $$BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = '40001'; END$$")
/** What says that it must not be in a transaction block, or that it ends transactions itself. */
const NOT_IN_BLOCK = new Set(['25001', '2D000'])

export class Backend {
  readonly #engine: Engine
  readonly #live = new LiveStatements()
  readonly #sessions = new Map<string, ClientSession>()
  readonly #switch: SessionSwitch
  #status: TransactionStatus = 'I'
  /** Behind Flush: the unit goes on, in a transaction of ours or not. */
  #open: { readonly wrapped: boolean } | null = null
  #count = 0

  constructor(engine: Engine) {
    this.#engine = engine
    this.#switch = new SessionSwitch((sql) => this.#ask(sql))
  }

  /** Makes what is needed in the database. */
  prepare(): void {
    const { error, messages } = this.#ask(SCHEMA)
    if (error !== null) throw new Error(`the schema of the marks: ${messages.map(String).join()}`)
    this.#switch.begin()
  }

  /** A client is there, or there again: what was known of it is forgotten. `database`: what it asks for, or null when it has been let in before. */
  attach(connection: string, memory: SessionMemory, database: string | null): AttachResult {
    const before = this.#sessions.get(connection)
    if (before !== undefined) {
      const octets = Buffer.concat([before.statements.closeAll(), SYNC])
      this.#run([{ octets, shown: false }], silent())
    }
    const session = new ClientSession(
      connection,
      `u${(++this.#count).toString(36)}_`,
      this.#live,
      memory,
    )
    const { parameters, refused } = this.#switch.letIn(session, database)
    if (refused === null) this.#sessions.set(connection, session)
    return { parameters, refused }
  }

  /** A client is gone. The transaction that it may have open is rolled back. */
  detach(connection: string): void {
    const session = this.#sessions.get(connection)
    if (session === undefined) return
    this.#sessions.delete(connection)
    if (this.#switch.current === session) {
      if (this.#open !== null) this.#endOpen(ROLLBACK)
      if (this.#status !== 'I') this.#run([{ octets: ROLLBACK, shown: false }], silent())
    }
    const closes = session.statements.closeAll()
    const parts: Uint8Array[] = [Buffer.concat([closes, SYNC])]
    if (session.marked) parts.push(dropMarks(connection))
    this.#run(
      parts.map((octets) => ({ octets, shown: false })),
      silent(),
    )
  }

  /** Carries a unit out, or a part of one. Throws when there is no such client. */
  unit(request: UnitRequest, port: BackendPort): UnitResult {
    const session = this.#sessions.get(request.connection)
    if (session === undefined) throw new Error(`no client ${request.connection}`)
    if (this.#status === 'I' && this.#open === null) this.#switch.enter(session)
    const work = new Work(request, session, port)
    if (request.recover || request.lost !== 'I' || request.instead !== null) this.#recover(work)
    if (!work.finished) this.#carryOut(work)
    return {
      answer: work.answer.take(),
      status: this.#status === 'I' ? work.status : this.#status,
      skips: work.finished && request.form === 'extended',
      memory: this.#status === 'I' && this.#open === null ? this.#switch.changed(session) : null,
    }
  }

  #carryOut(work: Work): void {
    const { form, messages } = work.request
    if (form === 'probe') this.#probe(work, messages)
    else if (form === 'copy') this.#step(work, 0, messages, 'other', 'COPY')
    else if (form === 'simple') this.#simple(work, messages)
    else this.#extended(work, messages)
  }

  // What an owner before us did of the unit.
  #recover(work: Work): void {
    const { connection, unit, lost, partial, recover, instead } = work.request
    if (recover) {
      const { rows } = this.#ask(askMarks(connection, unit))
      work.marks = readMarks(rows)
      if (work.marks.size > 0) work.session.marked = true
    }
    const first = work.marks.get(0)
    if (instead !== null && first === undefined) {
      work.fail(instead)
      if (lost !== 'I') this.#failBlock()
    } else if (partial) {
      if (lost === 'I') work.fail(first === undefined ? UNDONE : REST_LOST)
      else work.fail(first === undefined ? LOST : REST_LOST)
      if (first === undefined && lost !== 'I') this.#failBlock()
    } else if (lost !== 'I') {
      this.#lostBlock(work, lost, first)
    }
  }

  #failBlock(): void {
    this.#run(
      [BEGIN, LOST_BLOCK].map((octets) => ({ octets, shown: false })),
      silent(),
    )
  }

  // The client is in a block that is no more.
  #lostBlock(work: Work, lost: TransactionStatus, mark: Mark | undefined): void {
    const kinds = work.kinds()
    if (mark !== undefined) {
      if (mark.answer === null) work.fail(REST_LOST)
      else work.recorded(mark, mark.answer)
      return
    }
    if (kinds[0] !== 'commit' || lost === 'E') this.#failBlock()
    // Of a block that has failed the client knows that nothing comes of it.
    if (kinds[0] === 'rollback' || lost === 'E') return
    work.fail(LOST)
  }

  #simple(work: Work, message: Uint8Array): void {
    if (this.#open !== null) {
      work.port.unmarked()
      this.#endOpen(COMMIT)
    }
    this.#live.forgetUnnamed()
    if (work.session.statements.forgetUnnamed()) work.session.changed = true
    const [query] = readMessages(message)
    const sql = new BodyReader(query?.body ?? new Uint8Array([0])).text()
    for (const [step, { kind, text, whole }] of groupsOf(sql).entries()) {
      const instead = insteadOf(kind)
      const octets = instead !== null ? encodeQuery(instead) : whole ? message : encodeQuery(text)
      if (!this.#step(work, step, octets, kind, text)) return
    }
  }

  // True when the next step is to follow.
  #step(work: Work, step: number, octets: Uint8Array, kind: StatementKind, text: string): boolean {
    const mark = work.marks.get(step)
    if (mark !== undefined) {
      if (mark.answer === null) work.fail(REST_LOST)
      else work.recorded(mark, mark.answer)
      return mark.answer !== null
    }
    work.noteText(text)
    if (kind === 'commit' && this.#status === 'T') {
      this.#markCommit(work, step, { status: statusBehindCommit(text), answer: COMMITTED })
    } else if (this.#status === 'I' && !controlsTransactions([kind])) {
      work.writes = kind !== 'read'
      return this.#alone(work, step, octets)
    }
    work.writes = true
    return this.#shown(work, [{ octets, shown: true }])[0]?.error === null
  }

  #markCommit(work: Work, step: number, mark: Mark): void {
    const { connection, unit } = work.request
    work.session.marked = true
    this.#run([{ octets: leaveMark(connection, unit, step, mark), shown: false }], silent())
  }

  // A statement outside of a block, with its mark. True when it went well.
  #alone(work: Work, step: number, octets: Uint8Array): boolean {
    const [, said] = this.#shown(work, [
      { octets: BEGIN, shown: false },
      { octets, shown: true },
    ])
    return this.#commitAlone(work, step, said, [{ octets, shown: true }])
  }

  // `again` runs it by itself, when it cannot be in a transaction.
  #commitAlone(work: Work, step: number, said: Said | undefined, again: readonly Part[]): boolean {
    const { answer, request, session } = work
    if (this.#status === 'E' || said === undefined) {
      this.#run([{ octets: ROLLBACK, shown: false }], silent())
      if (answer.given || !NOT_IN_BLOCK.has(said?.error ?? '')) return false
      // All by itself then, and without a mark.
      work.takeBack()
      work.port.unmarked()
      return this.#shown(work, again).at(-1)?.error === null
    }
    const mark: Mark = { status: 'I', answer: answer.given ? null : work.held }
    const [left, done] = this.#run(
      [leaveMark(request.connection, request.unit, step, mark), COMMIT].map((part) => ({
        octets: part,
        shown: false,
      })),
      silent(),
    )
    if (left?.rows[0]?.[0] !== null) session.marked = true
    // A constraint that is looked at in the end.
    const failed = done?.error !== null ? done : left?.error !== null ? left : undefined
    if (failed === undefined) {
      work.stepDone()
      return true
    }
    answer.dropComplete()
    for (const message of failed.messages) answer.add(message)
    return false
  }

  #extended(work: Work, octets: Uint8Array): void {
    const messages = readMessages(octets)
    const batch = work.session.statements.translate(messages)
    const ends = messages.at(-1)?.kind === 'S'
    this.#prepareMissing(work.session, batch)
    for (const { kind, body } of messages) {
      if (kind === 'P') work.noteText(new BodyReader(body.subarray(body.indexOf(0) + 1)).text())
    }
    const mark = work.marks.get(0)
    if (ends && mark !== undefined) {
      if (mark.answer === null) work.fail(REST_LOST)
      else work.recorded(mark, mark.answer)
      if (this.#open !== null) this.#endOpen(ROLLBACK)
      return
    }
    const controls = controlsTransactions(batch.kinds)
    const starts = this.#open === null
    const wrapped = this.#open?.wrapped ?? (this.#status === 'I' && !controls)
    // In a block nothing can be given again.
    work.writes = !wrapped || !batch.kinds.every((kind) => kind === 'read')
    if (batch.kinds.includes('commit')) {
      if (this.#status === 'T' && !wrapped) {
        this.#markCommit(work, 0, { status: 'I', answer: answerToCommit(messages, batch) })
      } else if (this.#status === 'I') {
        work.port.unmarked()
      }
    }
    const parts: Part[] = [{ octets: batch.octets, shown: true }]
    if (wrapped && starts) parts.unshift({ octets: BEGIN, shown: false })
    const said = this.#shown(work, parts).at(-1)
    if (work.session.statements.learn(messages, said?.parses ?? 0, said?.closes ?? 0)) {
      work.session.changed = true
    }
    this.#open = ends ? null : { wrapped }
    if (!ends || !wrapped) return
    const closes = batch.parsed.map((name) => work.session.statements.closeOf(name))
    this.#commitAlone(work, 0, said, [
      { octets: Buffer.concat([...closes, SYNC]), shown: false },
      { octets: batch.octets, shown: true },
    ])
  }

  // Ends a unit of which only a part was sent.
  #endOpen(how: Uint8Array): void {
    const wrapped = this.#open?.wrapped === true
    const parts = wrapped ? [SYNC, how] : [SYNC]
    this.#open = null
    this.#run(
      parts.map((octets) => ({ octets, shown: false })),
      silent(),
    )
  }

  // One that cannot be prepared any more is missed by what uses it.
  #prepareMissing(session: ClientSession, { missing }: Batch): void {
    if (missing.length === 0 || this.#open !== null || this.#status === 'E') return
    for (const { name, message } of missing) {
      const [said] = this.#run([{ octets: Buffer.concat([message, SYNC]), shown: false }], silent())
      if (said?.error === null) this.#live.set(session.statements.prefix, name, true)
    }
  }

  // How COPY FROM STDIN begins, without its data: the database would wait for it.
  #probe(work: Work, message: Uint8Array): void {
    const idle = this.#status === 'I'
    const before = idle
      ? [BEGIN]
      : this.#status === 'T'
        ? [encodeQuery('SAVEPOINT understudy')]
        : []
    const answer = new HeldAnswer(() => {})
    const parts = before.map((octets) => ({ octets, shown: false }))
    this.#run([...parts, { octets: Buffer.concat([message, COPY_FAIL]), shown: true }], answer)
    const said = readMessages(answer.take())
    const begins = said.find(({ kind }) => kind === 'G')
    const undo = idle ? ROLLBACK : encodeQuery('ROLLBACK TO understudy; RELEASE understudy')
    if (idle || begins !== undefined) this.#run([{ octets: undo, shown: false }], silent())
    if (begins !== undefined) work.answer.add(encode('G', begins.body))
    else for (const { kind, body } of said) work.answer.add(encode(kind, body))
  }

  #shown(work: Work, parts: readonly Part[]): Said[] {
    const said = this.#run(parts, work.answer, work.request.form === 'copy')
    for (const { tags } of said) work.session.noteTags(tags, this.#live)
    return said
  }

  #ask(sql: string | Uint8Array): Said {
    const octets = typeof sql === 'string' ? encodeQuery(sql) : sql
    const [said] = this.#run([{ octets, shown: false }], silent())
    if (said === undefined) throw new Error('the database says nothing')
    return said
  }

  #run(parts: readonly Part[], answer: HeldAnswer, copies = false): Said[] {
    const reader = new OutputReader(parts, answer, copies)
    const octets = parts.length === 1 ? parts[0]?.octets : undefined
    this.#engine(octets ?? Buffer.concat(parts.map((part) => part.octets)), (chunk) =>
      reader.feed(chunk),
    )
    if (reader.ended) this.#status = reader.status
    return reader.said
  }
}
