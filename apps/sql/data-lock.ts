/**
 * DataLock: keeps a second node out of a data directory, which PGlite does not do; two that write there destroy it. Which node may open it
 * is settled by the cluster; the lock is for what the cluster cannot see: the thread of an owner that was stopped, or hangs, would go on
 * writing when it wakes up. It is asked to let go, and if it does not, its process is killed before the directory is opened.
 */
import { randomUUID } from 'node:crypto'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { StackError } from '../../stack/index.js'

/** How long a holder that lives may take to let go, when it is asked to. */
const LET_GO_MS = 5000
const LOOK_MS = 5
/** How often a holder looks whether it is asked to. */
const ASKED_MS = 50
const DIES_MS = 2000

/** Who holds a lock. */
export interface Holder {
  readonly pid: number
  /** When the process began, in ticks since boot: ids are used again. */
  readonly start: string
  /** Which boot of this host. */
  readonly boot: string
  /** Nodes of one process differ. */
  readonly token: string
  /** The term in which it owns the binding: who has a later one goes first. */
  readonly epoch: number
  /** The folder of the checkpoints: only nodes of the same cluster may be killed. */
  readonly cluster: string
}

/** What a process is doing, as the kernel's letter, and when it began; null: there is none. */
export function lookAtProcess(pid: number): { state: string; start: string } | null {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The name stands in brackets, and may contain any.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const state = fields[0] ?? ''
    return state === 'Z' || state === 'X' ? null : { state, start: fields[19] ?? '' }
  } catch {
    return null
  }
}

export class DataLock {
  readonly #file: string
  readonly #wanted: string
  #self: Holder
  #watch: NodeJS.Timeout | null = null

  /** A lock on `folder` for a node of the cluster that `cluster` names. */
  constructor(folder: string, cluster: string) {
    this.#file = join(folder, 'owner.lock')
    this.#wanted = join(folder, 'owner.wanted')
    this.#self = {
      pid: process.pid,
      start: lookAtProcess(process.pid)?.start ?? '',
      boot: bootId(),
      token: randomUUID(),
      epoch: 0,
      cluster,
    }
  }

  /**
   * Resolves with true when this node has the lock, in its term `epoch`. A holder of an earlier term is asked to let go, and killed when it
   * does not. `wanted` tells whether to go on. `onAsked` is called when a node of a later term wants the lock. Throws ERR_SQL_LOCKED when
   * the holder has a later term, is of another cluster, or cannot be killed.
   */
  async acquire(wanted: () => boolean, epoch: number, onAsked: () => void): Promise<boolean> {
    this.#self = { ...this.#self, epoch }
    const since = performance.now()
    while (wanted()) {
      if (this.#take()) {
        this.#listen(onAsked)
        return true
      }
      const holder = this.#read()
      if (holder === null || this.#isMine(holder)) continue
      const alive = this.#alive(holder)
      if (alive === null) {
        this.#remove(holder)
        continue
      }
      if (holder.cluster !== this.#self.cluster) {
        throw locked(this.#file, holder, 'a node of another cluster')
      }
      const { epoch: own } = this.#self
      if (holder.epoch > own) throw locked(this.#file, holder, 'a node of a later term')
      fs.writeFileSync(this.#wanted, String(own))
      const stopped = alive === 'T' || alive === 't'
      if (stopped || performance.now() - since > LET_GO_MS) await this.#kill(holder)
      else await delay(LOOK_MS)
    }
    return false
  }

  /** This node owns the binding in the later term `epoch` by now: only a node of one later still may ask for the lock. */
  raise(epoch: number): void {
    this.#self = { ...this.#self, epoch }
    const holder = this.#read()
    if (holder === null || !this.#isMine(holder)) return
    const own = this.#writeOwn()
    fs.renameSync(own, this.#file)
  }

  /** Lets go. Only when nothing can write any more. */
  release(): void {
    if (this.#watch !== null) clearInterval(this.#watch)
    this.#watch = null
    const holder = this.#read()
    if (holder !== null && this.#isMine(holder)) fs.rmSync(this.#file, { force: true })
  }

  // A node whose port is fenced hears of its successor by this alone.
  #listen(onAsked: () => void): void {
    if (this.#watch !== null) clearInterval(this.#watch)
    fs.rmSync(this.#wanted, { force: true })
    this.#watch = setInterval(() => {
      if (this.#wantedBy() > this.#self.epoch) onAsked()
    }, ASKED_MS)
    this.#watch.unref()
  }

  // The term of the node that asks for the lock; 0: none does.
  #wantedBy(): number {
    try {
      return Number(fs.readFileSync(this.#wanted, 'utf8'))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0
      throw error
    }
  }

  #writeOwn(): string {
    const own = `${this.#file}.${this.#self.token}`
    fs.writeFileSync(own, JSON.stringify(this.#self))
    return own
  }

  // The file appears whole, or not at all.
  #take(): boolean {
    const own = this.#writeOwn()
    try {
      fs.linkSync(own, this.#file)
      return true
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      const holder = this.#read()
      return holder !== null && this.#isMine(holder)
    } finally {
      fs.rmSync(own, { force: true })
    }
  }

  #read(): Holder | null {
    try {
      return JSON.parse(fs.readFileSync(this.#file, 'utf8')) as Holder
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
      throw new StackError(
        'ERR_SQL_LOCKED',
        `${this.#file} cannot be read (${(error as Error).message}): remove it when no node runs`,
      )
    }
  }

  #isMine({ token }: Holder): boolean {
    return token === this.#self.token
  }

  // The letter of its state, or null when it is no more.
  #alive({ pid, start, boot }: Holder): string | null {
    if (boot !== this.#self.boot) return null
    const seen = lookAtProcess(pid)
    return seen === null || seen.start !== start ? null : seen.state
  }

  // Another node may have been quicker, and hold it by now: that one's is put back.
  #remove(dead: Holder): void {
    const aside = `${this.#file}.dead.${this.#self.token}`
    try {
      fs.renameSync(this.#file, aside)
      const moved = JSON.parse(fs.readFileSync(aside, 'utf8')) as Holder
      if (moved.token !== dead.token) fs.linkSync(aside, this.#file)
      fs.rmSync(aside, { force: true })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }

  async #kill(holder: Holder): Promise<void> {
    if (holder.pid === process.pid) throw locked(this.#file, holder, 'another node of this process')
    try {
      process.kill(holder.pid, 'SIGKILL')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EPERM') {
        throw locked(this.#file, holder, 'a process that this one may not kill')
      }
    }
    const until = performance.now() + DIES_MS
    while (this.#alive(holder) !== null) {
      if (performance.now() > until) throw locked(this.#file, holder, 'a process that does not die')
      await delay(LOOK_MS)
    }
  }
}

function bootId(): string {
  return fs.readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
}

function locked(file: string, { pid }: Holder, who: string): StackError {
  return new StackError(
    'ERR_SQL_LOCKED',
    `${file}: the data directory is held by process ${pid}, ${who}: end it, or give each cluster a folder of its own`,
  )
}
