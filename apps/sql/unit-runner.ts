/**
 * UnitRunner: carries one client's units out in the database, and keeps its checkpoints: what it is to be remembered by, and how far a
 * unit has come. Behind a take-over, and when the database had to be opened again, it finds out what became of the unit under way.
 */
import type { ClientSocket, ClientState } from './client-socket.js'
import type { Database } from './database.js'
import { CANCELLED, CRASHED, ELSEWHERE, LOST, TOO_SLOW, UNKNOWN } from './failures.js'
import type { AttachResult, UnitForm, UnitRequest, UnitResult } from './jobs.js'
import type { SessionMemory } from './memory.js'
import { type Sink, ThreadEnded } from './thread.js'
import { TurnRefused } from './turns.js'
import { errorResponse, type Failure, type TransactionStatus } from './wire.js'

/** How often a unit is looked for in a database that had to be opened again. */
const MAX_TRIES = 3

/** Times, in milliseconds. */
interface UnitLimits {
  /** How long an answer may not be taken while others wait. */
  readonly idleMs: number
  /** How long a client waits for a database that is open at another node. */
  readonly elsewhereMs: number
}

export class UnitRunner {
  readonly process: number
  readonly key: number
  readonly #io: ClientSocket
  readonly #database: Database
  readonly #id: string
  readonly #limits: UnitLimits
  #memory: SessionMemory
  #unit: number
  #status: TransactionStatus
  /** What the transaction was in a database session that is no more. */
  #lost: TransactionStatus = 'I'
  #partial: boolean
  #unmarked: boolean
  /** The unit may have been carried out by an owner before us. */
  #recover: boolean
  #begun = false
  /** Where the unit began in the input. */
  #start = 0
  /** In which opening of the database the client is known there. */
  #generation = -1
  #running: number | null = null
  /** A part of the unit has been carried out, and the rest of it is to come. */
  #open = false
  #waits = false
  #cancelled = false
  #first: boolean

  constructor(io: ClientSocket, database: Database, state: ClientState, limits: UnitLimits) {
    this.#io = io
    this.#database = database
    this.#limits = limits
    const resumed = io.resumed !== null
    this.process = state.process
    this.key = state.key
    this.#id = state.id
    this.#memory = state.memory
    this.#unit = state.unit
    this.#status = state.status
    this.#lost = resumed ? state.status : 'I'
    this.#partial = state.partial
    this.#unmarked = state.unmarked
    this.#recover = resumed
    this.#first = state.begun
    io.socket.on('close', () => this.#dropAnswer())
  }

  /** The transaction as the client knows it. */
  get status(): TransactionStatus {
    return this.#status
  }

  /** Begins a session. Rejects with TurnRefused, ThreadEnded. */
  async begin(memory: SessionMemory, database: string): Promise<AttachResult> {
    this.#memory = memory
    await this.#takeTurn(false)
    try {
      const result = await this.#database.attach(this.#id, memory, database)
      if (result.refused === null) this.#generation = this.#database.generation
      return result
    } finally {
      this.#database.turns.end(this)
    }
  }

  /** A unit begins at this offset of the input. */
  start(input: number): void {
    this.#start = input
    this.#begun = false
  }

  /** Carries a part of the unit out, or all of it. Rejects with TurnRefused, ThreadEnded. */
  async run(form: UnitForm, messages: Uint8Array): Promise<UnitResult> {
    this.#cancelled = false
    let instead: Failure | null = this.#unmarked ? UNKNOWN : null
    for (let tries = 1; ; tries++) {
      await this.#takeTurn(this.#first)
      const generation = this.#database.generation
      try {
        if (generation !== this.#generation) {
          if (this.#open) instead ??= LOST
          await this.#attachAgain()
        }
        const result = await this.#carryOut({
          connection: this.#id,
          unit: this.#unit,
          form,
          messages,
          recover: this.#recover,
          lost: this.#lost,
          partial: this.#partial,
          instead,
        })
        this.#status = result.status
        this.#lost = 'I'
        this.#open = form === 'extended'
        if (result.memory !== null) this.#memory = result.memory
        return result
      } catch (error) {
        if (!(error instanceof ThreadEnded) || this.#io.gone || tries >= MAX_TRIES) throw error
        this.#recover = true
        instead = this.#cancelled ? CANCELLED : this.#unmarked ? UNKNOWN : CRASHED
        // The address is gone, and the connection with it; or it stays here (P20, P23), and the data may come back. The unit is not to blame.
        if (!this.#database.owned && !this.#unmarked) instead = null
      }
    }
  }

  /** What comes of the unit next has to wait for the client: others may go first. */
  pause(): void {
    this.#open = false
    if (this.#status === 'I') this.#database.turns.end(this)
  }

  /** The unit has ended, and its answer is written. */
  finish(): void {
    this.#unit++
    this.#recover = false
    this.#partial = false
    this.#unmarked = false
    this.#open = false
    this.#first = false
    this.#start = this.#io.consumed
    this.#begun = false
    this.commit()
    if (this.#status === 'I') this.#database.turns.end(this)
  }

  /** Stores how far the client has come. */
  commit(now = false): void {
    this.#io.commit(
      {
        id: this.#id,
        process: this.process,
        key: this.key,
        unit: this.#unit,
        begun: this.#begun,
        status: this.#lost !== 'I' ? this.#lost : this.#status,
        partial: this.#partial,
        unmarked: this.#unmarked,
        memory: this.#memory,
      },
      this.#start,
      now,
    )
  }

  /** Ends what the client waits for. */
  cancel(): void {
    if (this.#waits) this.#database.turns.leave(this, new TurnRefused(CANCELLED))
    if (this.#running === null) return
    this.#cancelled = true
    this.#database.restart('a client cancels its statement')
  }

  /** The client is gone. Its statements are closed when there is time for it. */
  async leave(): Promise<void> {
    const { turns, generation } = this.#database
    try {
      if (!this.#database.owned || this.#generation !== generation) return
      await this.#takeTurn(false)
      if (this.#generation === this.#database.generation) await this.#database.detach(this.#id)
    } catch (error) {
      if (!(error instanceof ThreadEnded) && !(error instanceof TurnRefused)) throw error
    } finally {
      turns.end(this)
    }
  }

  async #takeTurn(first: boolean): Promise<void> {
    const { turns } = this.#database
    this.#waits = true
    const timer = setInterval(() => {
      if (!this.#database.owned) turns.leave(this, new TurnRefused(ELSEWHERE))
    }, this.#limits.elsewhereMs)
    try {
      await turns.take(this, first)
    } catch (error) {
      const untold = error instanceof TurnRefused && this.#recover && this.#first
      throw untold ? new TurnRefused({ ...error.failure, ...UNKNOWN }) : error
    } finally {
      clearInterval(timer)
      this.#waits = false
    }
  }

  // The database does not know the client: it has been opened since.
  async #attachAgain(): Promise<void> {
    if (this.#lost === 'I') this.#lost = this.#status
    const { generation } = this.#database
    await this.#database.attach(this.#id, this.#memory, null)
    this.#generation = generation
  }

  async #carryOut(request: UnitRequest): Promise<UnitResult> {
    if (!this.#begun) {
      this.#begun = true
      // It need not be stored before something of the answer leaves.
      this.commit()
    }
    const sink: Sink = {
      chunk: (octets, progress, taken) => this.#giveChunk(octets, progress, taken),
      unmarked: () => {
        this.#unmarked = true
        this.commit(true)
      },
    }
    const { id, result } = this.#database.unit(request, sink)
    this.#running = id
    if (this.#io.socket.destroyed) this.#dropAnswer()
    try {
      return await result
    } finally {
      this.#running = null
    }
  }

  #giveChunk(octets: Uint8Array, progress: boolean, taken: () => void): void {
    const timer = setInterval(() => {
      if (this.#database.turns.waiting === 0) return
      this.#io.end(errorResponse(TOO_SLOW))
      this.#io.socket.destroy()
    }, this.#limits.idleMs)
    this.#io.write(octets, () => {
      clearInterval(timer)
      taken()
    })
    if (!progress) return
    this.#partial = true
    this.commit()
  }

  #dropAnswer(): void {
    if (this.#running !== null) this.#database.unwanted(this.#running)
    this.#database.turns.leave(this, new ThreadEnded('the client is gone'))
  }
}
