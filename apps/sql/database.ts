/**
 * Database: what the node has of PGlite. Its thread is loaded from the start; the data directory is open only while this node owns the
 * binding. Clients get their turns from here.
 */
import * as fs from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { StackError } from '../../stack/index.js'
import type { DataLock } from './data-lock.js'
import { type AttachResult, TEMPLATE, type UnitRequest, type UnitResult } from './jobs.js'
import type { SessionMemory } from './memory.js'
import { DatabaseThread, type Sink, ThreadEnded } from './thread.js'
import { Turns } from './turns.js'

/** How long a client waits for its turn: for a take-over, and for others' transactions. */
const TURN_MS = 60_000
const RETRY_MS = 500
/** When a thread that has nothing to do warms up; an owner that is the first is one by then. */
const WARM_MS = 1000
/**
 * How long a thread may take to open the database; twice as long for each that did not come to it. It takes less than a second, and some on a
 * machine that is busy; the first owner makes the data directory, too.
 */
const OPEN_MS = 30_000
const MAX_OPEN_MS = 240_000
/** How long a thread may take to end. */
const END_MS = 10_000

export interface DatabaseOptions {
  /** Folder that has the data directory in it. */
  readonly folder: string
  readonly lock: DataLock
  readonly onError: (error: Error) => void
  /** How long a client waits for its turn. */
  readonly turnMs?: number
  /** How long the first thread may take to open the database, in milliseconds. */
  readonly openMs?: number
  /** Makes a thread that loads; `onEnd` hears when it ends by itself. */
  readonly newThread?: (onEnd: (error: Error) => void) => DatabaseThread
}

export class Database {
  readonly turns: Turns
  readonly #options: DatabaseOptions
  #thread: DatabaseThread
  #owned = false
  /** This node does not own the address, and nobody else need: what it has of the database it keeps. */
  #kept = false
  /** The thread has opened the database. */
  #opened = false
  /** The term in which this node owns the binding, and the last in which another wanted the data. */
  #epoch = 0
  #deposed = 0
  #running = false
  #warming = false
  #closed = false
  /** Ends of threads that may still write. */
  #ending: Promise<void> = Promise.resolve()
  #warmTimer: NodeJS.Timeout | null = null
  /** How often the database has been opened: clients are made known to each anew. */
  generation = 0
  /** Threads in a row that were replaced because they did not come to open it. */
  #stalled = 0

  constructor(options: DatabaseOptions) {
    this.#options = options
    this.turns = new Turns(options.turnMs ?? TURN_MS)
    this.#thread = this.#newThread()
    this.#warmUp()
  }

  /** Whether this node may have the data directory open. */
  get owned(): boolean {
    return this.#owned
  }

  /** This node is the owner in the term `epoch`: the database is opened as soon as nobody else has it open. May be called at any time. */
  own(epoch: number): void {
    // One that had to let go may not have heard yet that it is the owner no more.
    if (this.#closed || epoch <= this.#deposed) return
    if (this.#holds && epoch > this.#epoch) this.#raise(epoch)
    if (this.#owned) return
    this.#owned = true
    this.#kept = false
    this.#epoch = epoch
    if (this.#opened) {
      this.#serve()
      return
    }
    // To begin anew is quicker than to wait for the end of it.
    if (this.#warming) this.#replace('it is needed now')
    void this.#run()
  }

  // It ceased to be the owner and became it again before that was told: whoever had the term between may not ask for the data any more.
  #raise(epoch: number): void {
    this.#epoch = epoch
    try {
      this.#options.lock.raise(epoch)
    } catch (error) {
      this.#options.onError(error as Error)
    }
  }

  /**
   * It does not know whether it is: its lease has run out. On a machine that is busy that may happen again and again to a node that is alone, and
   * to open the database takes longer than the time between: what is open, or about to be, stays so until another node asks for the lock. Where
   * a client has the session it is closed: what it does must not go on unheard.
   */
  pause(): void {
    if (!this.#owned) return
    if (this.turns.holder !== null) {
      void this.disown()
      return
    }
    this.#owned = false
    this.#kept = true
    this.turns.open = false
  }

  /** It is not any more. Nothing is written from the moment in which the promise resolves. */
  disown(): Promise<void> {
    if (this.#holds) {
      this.#owned = false
      this.#kept = false
      this.#stalled = 0
      this.#replace('this node does not own the address any more')
    }
    return this.#ending
  }

  // The lock is this node's, or about to be.
  get #holds(): boolean {
    return this.#owned || this.#kept
  }

  #letGo(): void {
    this.#deposed = this.#epoch
    this.#options.onError(new Error('another node has the data now: the database is closed here'))
    void this.disown()
  }

  /** Ends what the database is doing, and opens it again. */
  restart(why: string): void {
    if (this.#owned) this.#replace(why)
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#owned = false
    this.#kept = false
    this.turns.open = false
    const ended = this.#thread.end('the node is closed')
    await this.#ending
    await ended
    this.#options.lock.release()
  }

  attach(
    connection: string,
    memory: SessionMemory,
    database: string | null,
  ): Promise<AttachResult> {
    return this.#thread.ask<AttachResult>({ kind: 'attach', connection, memory, database }).result
  }

  detach(connection: string): Promise<null> {
    return this.#thread.ask<null>({ kind: 'detach', connection }).result
  }

  /** Carries a unit out. Rejects with ThreadEnded. */
  unit(request: UnitRequest, sink: Sink): { id: number; result: Promise<UnitResult> } {
    return this.#thread.ask<UnitResult>({ kind: 'unit', request }, sink)
  }

  /** Nobody wants the answer of unit `id` any more. */
  unwanted(id: number): void {
    this.#thread.unwanted(id)
  }

  #newThread(): DatabaseThread {
    const { onError, newThread = (onEnd) => new DatabaseThread(onEnd) } = this.#options
    const thread: DatabaseThread = newThread((error) => {
      onError(error)
      if (thread === this.#thread && !this.#closed) this.#replace(error.message)
    })
    return thread
  }

  // The lock stays until the thread has ended.
  #replace(why: string): void {
    this.turns.open = false
    this.#opened = false
    const old = this.#thread
    const before = this.#ending
    const late = setTimeout(() => this.#complain(`does not end in ${END_MS} ms`), END_MS).unref()
    this.#ending = Promise.all([before, old.end(why)]).then(() => {
      clearTimeout(late)
      if (!this.#holds) this.#release()
    })
    this.#thread = this.#newThread()
    if (this.#holds) void this.#run()
    else this.#warmUp()
  }

  // As long as it is not the owner, it has time for what makes the opening shorter. The first owner makes what it takes.
  #warmUp(): void {
    if (this.#warmTimer !== null) clearTimeout(this.#warmTimer)
    this.#warmTimer = setTimeout(() => {
      if (this.#holds || this.#closed) return
      const { folder } = this.#options
      if (!fs.existsSync(join(folder, TEMPLATE))) {
        this.#warmUp()
        return
      }
      this.#warming = true
      const warmed = (): void => {
        this.#warming = false
      }
      // What goes wrong with it is told by the thread's end.
      this.#thread.ask({ kind: 'warm', folder }).result.then(warmed, warmed)
    }, WARM_MS)
    this.#warmTimer.unref()
  }

  async #run(): Promise<void> {
    if (this.#running) return
    this.#running = true
    // Nothing may come between the last look and the end: who replaces the thread meanwhile relies on this.
    while (this.#holds && !this.#opened) {
      if (!(await this.#open())) await delay(RETRY_MS, undefined, { ref: false })
    }
    this.#running = false
  }

  // True when it is open. Never rejects.
  async #open(): Promise<boolean> {
    const { folder, lock, onError } = this.#options
    const thread = this.#thread
    try {
      await this.#ending
      if (
        !(await lock.acquire(
          () => this.#holds,
          this.#epoch,
          () => this.#letGo(),
        ))
      )
        return false
      if (thread !== this.#thread) return false
      const late = setTimeout(() => this.#giveUp(thread), this.#patienceMs).unref()
      await thread.ask({ kind: 'open', folder }).result.finally(() => clearTimeout(late))
    } catch (error) {
      if (!(error instanceof ThreadEnded)) onError(error as Error)
      if (!this.#holds) this.#release()
      return false
    }
    if (thread !== this.#thread || !this.#holds) return false
    this.#opened = true
    this.#stalled = 0
    if (this.#owned) this.#serve()
    return true
  }

  #serve(): void {
    this.generation++
    this.turns.open = true
  }

  // What cannot be read cannot be let go, and must not keep the next thread from its turn.
  #release(): void {
    try {
      this.#options.lock.release()
    } catch (error) {
      this.#options.onError(error as Error)
    }
  }

  get #patienceMs(): number {
    return Math.min((this.#options.openMs ?? OPEN_MS) * 2 ** this.#stalled, MAX_OPEN_MS)
  }

  // Another thread may come to it: clients wait for it, and nothing else would ever happen.
  #giveUp(thread: DatabaseThread): void {
    if (thread !== this.#thread || !this.#holds) return
    const what = thread.ready ? 'has not opened the data' : 'has not even begun'
    const why = `${what} in ${this.#patienceMs} ms`
    this.#stalled++
    this.#complain(`${why}, and is replaced for the ${this.#stalled}. time in a row`)
    this.#replace(why)
  }

  #complain(what: string): void {
    this.#options.onError(new StackError('ERR_SQL_THREAD', `the thread of the database ${what}`))
  }
}
