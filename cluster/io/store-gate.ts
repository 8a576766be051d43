/**
 * StoreGate: keeps processes from opening a shared LMDB environment while another one writes to it.
 *
 * LMDB 0.9.7x as `lmdb` has it (3.5.6, mdb_env_open2) stores the number of the last transaction in the lock file whenever a process
 * opens the environment, as it had read it some time before, and takes no lock for that. Whoever commits in between is forgotten: the
 * next writer begins from the snapshot before, and what was acknowledged is lost, or the file is destroyed. So who writes takes a share
 * of the gate for as long as the transaction lasts, and who opens takes the whole of it.
 *
 * The kernel lets go of a lock when its holder dies. A process that was stopped in the gate is killed by whoever waits for it; one that
 * merely takes long is waited for.
 */
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { StackError } from '../../stack/index.js'
import { native } from '../../stack/io/native.js'
import { isStopped, startTimeOf } from './process-table.js'

const GATE_FILE = 'understudy-store.gate'
const Kind = { NOTHING: 0, SHARE: 1, WHOLE: 2 } as const
type Kind = (typeof Kind)[keyof typeof Kind]
/** How long is slept between two tries. */
const NAP_MS = 1
/** After so many tries the holder is looked at. */
const LOOK_EVERY = 50
/** How long an opener waits for writers. */
const OPEN_PATIENCE_MS = 20_000

const NAP = new Int32Array(new SharedArrayBuffer(4))

export class StoreGate {
  readonly #fd: number
  readonly #file: string
  #depth = 0

  /** The gate of the store in the folder `path`, which is there. */
  constructor(path: string) {
    this.#file = join(path, GATE_FILE)
    this.#fd = openSync(this.#file, 'a+', 0o600)
  }

  /** Runs `open` while nobody writes. Throws ERR_STORE_BUSY, and what `open` throws. */
  opening<T>(open: () => T): T {
    const giveUpAt = performance.now() + OPEN_PATIENCE_MS
    while (!this.#take(Kind.WHOLE)) {
      if (performance.now() > giveUpAt) {
        throw new StackError(
          'ERR_STORE_BUSY',
          `another process has held ${this.#file} for ${OPEN_PATIENCE_MS / 1000} s: is a node stopped in the midst of a transaction? End it`,
        )
      }
      Atomics.wait(NAP, 0, 0, NAP_MS)
    }
    try {
      ftruncateSync(this.#fd)
      writeSync(this.#fd, `${process.pid} ${startTimeOf(process.pid)}\n`)
      return open()
    } finally {
      this.#take(Kind.NOTHING)
    }
  }

  /** Runs `write` while nobody opens the store. It may be called within itself. */
  writing<T>(write: () => T): T {
    this.enter()
    try {
      return write()
    } finally {
      this.leave()
    }
  }

  /** Takes a share, for a write that ends later; `leave` gives it back. */
  enter(): void {
    if (this.#depth++ > 0) return
    for (let tries = 1; !this.#take(Kind.SHARE); tries++) {
      if (tries % LOOK_EVERY === 0) this.#endStopped()
      Atomics.wait(NAP, 0, 0, NAP_MS)
    }
  }

  leave(): void {
    if (--this.#depth === 0) this.#take(Kind.NOTHING)
  }

  close(): void {
    closeSync(this.#fd)
  }

  #take(kind: Kind): boolean {
    return native().fileLock(this.#fd, kind)
  }

  // Who opens, and was stopped meanwhile, would stop every node of the set.
  #endStopped(): void {
    const [pid = '', start = ''] = readFileSync(this.#file, 'latin1').trim().split(' ')
    if (!isStopped(Number(pid), start)) return
    try {
      process.kill(Number(pid), 'SIGKILL')
    } catch {
      // It is gone, or is not ours to end: then it is waited for.
    }
  }
}
