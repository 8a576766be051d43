/** One client of the database: its startup, and its messages as units of work. */
import { randomBytes, randomUUID } from 'node:crypto'
import type { Socket } from '../../stack/index.js'
import { Chunks } from '../chunks.js'
import { SILENCE_MS } from '../patience.js'
import { ClientSocket, type Store } from './client-socket.js'
import type { Database } from './database.js'
import { IDLE_TOO_LONG } from './failures.js'
import { newMemory } from './memory.js'
import { checkMessage } from './names.js'
import { type Opening, readOpening } from './startup.js'
import { splitStatements } from './statements.js'
import { ThreadEnded } from './thread.js'
import { TurnRefused } from './turns.js'
import { UnitRunner } from './unit-runner.js'
import {
  BodyReader,
  encode,
  errorResponse,
  type Failure,
  MAX_MESSAGE,
  type Message,
  readyForQuery,
  SqlProtocolError,
  uint32,
} from './wire.js'

/** Limits of a server; times are milliseconds. */
export interface ClientLimits {
  /** Clients at once. */
  readonly clients: number
  /** How long a client waits for its turn. */
  readonly turnMs: number
  /** How long an open transaction may do nothing, and an answer not be taken, while others wait. */
  readonly idleMs: number
  /** How long a client may take to begin. */
  readonly startupMs: number
  /** How long a client may be silent in the middle of a message. */
  readonly silenceMs: number
  /** How long a client waits whose connection this node serves, and not the address: it may come to be the owner. */
  readonly elsewhereMs: number
}

const LIMITS: ClientLimits = {
  clients: 1000,
  turnMs: 60_000,
  idleMs: 30_000,
  startupMs: 60_000,
  silenceMs: SILENCE_MS,
  elsewhereMs: 5000,
}

/** Characters of a query that may be a COPY FROM STDIN: to look through a longer one would keep the loop from turning. */
const MAX_COPY_QUERY = 64 * 1024

/** All clients of a server. */
export class Clients {
  readonly #database: Database
  readonly #store: Store
  readonly #onError: (error: Error) => void
  readonly #limits: ClientLimits
  readonly #clients = new Set<Client>()

  constructor(
    database: Database,
    store: Store,
    onError: (error: Error) => void,
    limits: Partial<ClientLimits>,
  ) {
    this.#database = database
    this.#store = store
    this.#onError = onError
    this.#limits = { ...LIMITS, ...limits }
  }

  serve(socket: Socket): void {
    const client = new Client(
      new ClientSocket(socket, this.#store, this.#limits.silenceMs),
      this.#database,
      this,
      this.#limits,
    )
    this.#clients.add(client)
    client
      .serve(this.#clients.size > this.#limits.clients)
      .catch((error: Error) => {
        this.#onError(error)
        socket.destroy()
      })
      .finally(() => this.#clients.delete(client))
  }

  /** Ends what a client is waiting for, if `key` is right. */
  cancel(process: number, key: number): void {
    for (const client of this.#clients) {
      if (client.runner.process === process && client.runner.key === key) client.runner.cancel()
    }
  }
}

class Client {
  readonly runner: UnitRunner
  readonly #io: ClientSocket
  readonly #database: Database
  readonly #clients: Clients
  readonly #limits: ClientLimits
  /** Up to Sync nothing more is carried out. */
  #skipping = false

  constructor(io: ClientSocket, database: Database, clients: Clients, limits: ClientLimits) {
    this.#io = io
    this.#database = database
    this.#clients = clients
    this.#limits = limits
    const state = io.resumed ?? {
      id: randomUUID(),
      process: randomBytes(4).readUInt32BE() >>> 1,
      key: randomBytes(4).readUInt32BE(),
      unit: 1,
      begun: false,
      status: 'I',
      partial: false,
      unmarked: false,
      memory: newMemory({ user: '', database: '', settings: {} }),
    }
    this.runner = new UnitRunner(io, database, state, limits)
  }

  /** Resolves when the client is gone. */
  async serve(full: boolean): Promise<void> {
    try {
      if (this.#io.resumed !== null || (await this.#begin(full))) await this.#messages()
      this.#io.end()
    } catch (error) {
      // The address is gone, and the connection with it: another node answers.
      if (error instanceof ThreadEnded && this.#io.gone) return
      const failure = failureOf(error)
      if (failure === null) throw error
      this.#io.end(errorResponse({ ...failure, fatal: true }))
    } finally {
      await this.runner.leave()
    }
  }

  // True when a session has begun.
  async #begin(full: boolean): Promise<boolean> {
    const timer = setTimeout(() => this.#io.socket.destroy(), this.#limits.startupMs).unref()
    try {
      for (let tries = 0; tries < 3; tries++) {
        const first = await this.#io.next()
        if (first === null) return false
        const opening = readOpening(first.body)
        if (opening.kind === 'session') {
          clearTimeout(timer)
          if (full)
            throw new TurnRefused({ code: '53300', message: 'sorry, too many clients already' })
          return await this.#session(opening)
        }
        if (opening.kind === 'cancel') {
          this.#clients.cancel(opening.process, opening.key)
          return false
        }
        this.#io.write(Buffer.from('N'))
        this.#io.expectFirst()
      }
      throw new SqlProtocolError('no startup message behind requests for encryption')
    } finally {
      clearTimeout(timer)
    }
  }

  async #session({ startup, negotiated }: Opening & { kind: 'session' }): Promise<boolean> {
    const { runner } = this
    const { parameters, refused } = await runner.begin(newMemory(startup), startup.database)
    if (refused !== null) {
      this.#io.end(errorResponse(refused))
      return false
    }
    const welcome = [
      encode('R', uint32(0)),
      parameters,
      encode('K', uint32(runner.process, runner.key)),
    ]
    this.#io.write(Buffer.concat([negotiated, ...welcome, readyForQuery('I')]))
    // The startup message is not to be heard again.
    runner.start(this.#io.consumed)
    runner.commit()
    return true
  }

  async #messages(): Promise<void> {
    const { runner } = this
    for (;;) {
      const start = this.#io.consumed
      const message = await this.#next()
      if (message === null || message.kind === 'X') return
      runner.start(start)
      if (message.kind === 'Q') await this.#query(message)
      else if ('PBDECSH'.includes(message.kind)) await this.#extended(message)
      else if (message.kind === 'F') await this.#refuseCall()
      else if (message.kind === 'p') throw new SqlProtocolError('unexpected password message')
      // The rest of a COPY that has failed.
      else runner.commit()
    }
  }

  // The next message. Who has the database, by a transaction or by half a unit, and does nothing while others wait, is ended.
  async #next(): Promise<Message | null> {
    const { turns } = this.#database
    if (turns.holder !== this.runner) return await this.#io.next()
    const timer = setInterval(() => {
      if (turns.holder === this.runner && turns.waiting > 0) {
        this.#io.end(errorResponse(IDLE_TOO_LONG))
      }
    }, this.#limits.idleMs)
    try {
      return await this.#io.next()
    } finally {
      clearInterval(timer)
    }
  }

  async #query(message: Message): Promise<void> {
    checkMessage(message)
    const sql = new BodyReader(message.body).text()
    const octets = encode('Q', message.body)
    const statements = sql.length <= MAX_COPY_QUERY ? splitStatements(sql) : []
    const copies = statements.length === 1 && statements[0]?.kind === 'copy'
    if (copies) await this.#copy(octets)
    else await this.#run('simple', octets)
    await this.#io.drained()
  }

  // Asks how it begins, takes the data, and does it.
  async #copy(query: Uint8Array): Promise<void> {
    const begins = await this.#attempt('probe', query, (result) => result.answer[0] === 0x47)
    if (!begins) return
    const parts = new Chunks()
    parts.push(query)
    let length = query.length
    for (;;) {
      const message = await this.#next()
      if (message === null || message.kind === 'X') return
      const { kind, body } = message
      if (kind === 'S' || kind === 'H') continue
      if (kind !== 'd' && kind !== 'c' && kind !== 'f') {
        throw new SqlProtocolError(
          `unexpected message type 0x${kind.charCodeAt(0).toString(16)} during COPY from stdin`,
        )
      }
      length += body.length + 5
      if (length <= MAX_MESSAGE) parts.push(encode(kind, body))
      if (kind !== 'd') break
    }
    if (length > MAX_MESSAGE) {
      parts.drop(parts.length)
      parts.push(query)
      parts.push(encode('f', `more than ${MAX_MESSAGE} octets: copy in several parts`))
    }
    await this.#run('copy', parts.take(parts.length))
  }

  // Takes messages up to Sync, and carries out those before each Flush.
  async #extended(first: Message): Promise<void> {
    const parts = new Chunks()
    let length = 0
    for (let message: Message | null = first; message !== null; message = await this.#next()) {
      const { kind, body } = message
      if (kind === 'X') return
      if (!'PBDECSH'.includes(kind)) {
        if ('dcf'.includes(kind)) continue
        throw new SqlProtocolError(
          `unexpected message type 0x${kind.charCodeAt(0).toString(16)} before Sync`,
        )
      }
      checkMessage(message)
      length += body.length + 5
      if (length > MAX_MESSAGE) throw new SqlProtocolError('too much before Sync', '54000')
      if (!this.#skipping || kind === 'S') parts.push(encode(kind, body))
      if (kind === 'S') {
        this.#skipping = false
        await this.#run('extended', parts.take(parts.length))
        await this.#io.drained()
        return
      }
      if (kind !== 'H' || this.#skipping) continue
      await this.#attempt('extended', parts.take(parts.length), () => true)
    }
  }

  async #refuseCall(): Promise<void> {
    this.#io.write(
      errorResponse({ code: '0A000', message: 'function calls are not served: use SELECT' }),
    )
    this.#finish()
  }

  // The unit ends with it.
  async #run(form: 'simple' | 'extended' | 'copy', messages: Uint8Array): Promise<void> {
    try {
      this.#io.write((await this.runner.run(form, messages)).answer)
    } catch (error) {
      this.#io.write(errorResponse(softened(error)))
    }
    this.#skipping = false
    this.#finish()
  }

  // A part of a unit. True when `goesOn` with it; otherwise it has ended, with its answer.
  async #attempt(
    form: 'probe' | 'extended',
    messages: Uint8Array,
    goesOn: (result: { readonly answer: Uint8Array }) => boolean,
  ): Promise<boolean> {
    try {
      const result = await this.runner.run(form, messages)
      this.#io.write(result.answer)
      if (form === 'extended') this.#skipping ||= result.skips
      if (goesOn(result)) {
        if (form === 'probe') this.runner.pause()
        return true
      }
    } catch (error) {
      this.#io.write(errorResponse(softened(error)))
      this.#skipping = form === 'extended'
      if (this.#skipping) return true
    }
    this.#finish()
    return false
  }

  #finish(): void {
    this.#io.write(readyForQuery(this.runner.status))
    this.runner.finish()
  }
}

// What the client is told, or null when it is no failure of that kind.
function failureOf(error: unknown): Failure | null {
  if (error instanceof TurnRefused) return error.failure
  if (error instanceof SqlProtocolError) return { code: error.sqlState, message: error.message }
  if (error instanceof ThreadEnded) return { code: '57P01', message: error.message }
  return null
}

// A failure with which the connection goes on.
function softened(error: unknown): Failure {
  if (error instanceof TurnRefused && error.failure.fatal !== true) return error.failure
  throw error
}
