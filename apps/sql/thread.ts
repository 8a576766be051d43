/** DatabaseThread: the node's side of the thread that has the database. */
import { Worker } from 'node:worker_threads'
import { StackError } from '../../stack/index.js'
import { type FromThread, type Request, Shared } from './jobs.js'

/** What becomes of a request on its way. */
export interface Sink {
  /** Takes a part of the answer; `taken` is to be called when there is room for more. */
  chunk(octets: Uint8Array, progress: boolean, taken: () => void): void
  /** Returns when it is stored that what comes now leaves no mark. */
  unmarked(): void
}

interface Pending {
  readonly resolve: (result: never) => void
  readonly reject: (error: Error) => void
  readonly sink: Sink | null
}

/** The thread has ended, by itself or because it was to. */
export class ThreadEnded extends StackError {
  constructor(why: string) {
    super('ERR_SQL_THREAD', `the thread of the database has ended: ${why}`)
  }
}

export class DatabaseThread {
  readonly #worker: Worker
  readonly #shared = new Int32Array(new SharedArrayBuffer(4 * Object.keys(Shared).length))
  readonly #pending = new Map<number, Pending>()
  readonly #onEnd: (error: Error) => void
  #last = 0
  #ended = false
  #ready = false

  /** `onEnd` hears when the thread ends by itself. */
  constructor(onEnd: (error: Error) => void) {
    this.#onEnd = onEnd
    this.#worker = new Worker(new URL('./worker.js', import.meta.url), {
      workerData: this.#shared.buffer,
      // What the database prints of itself is no event of the node.
      stdout: true,
      stderr: true,
    })
    this.#worker.unref()
    this.#worker.on('message', (message: FromThread) => this.#take(message))
    this.#worker.on('error', (error) => this.#end(error.message))
    this.#worker.on('exit', (code) => this.#end(`exit code ${code}`))
  }

  /** It has loaded what it needs, and takes requests. */
  get ready(): boolean {
    return this.#ready
  }

  /** Asks, and resolves with the answer. Rejects with ThreadEnded. */
  ask<T>(request: Request, sink: Sink | null = null): { id: number; result: Promise<T> } {
    const id = ++this.#last
    const result = new Promise<T>((resolve, reject) => {
      if (this.#ended) return reject(new ThreadEnded('before it was asked'))
      this.#pending.set(id, { resolve, reject, sink })
      this.#worker.postMessage({ ...request, id })
    })
    return { id, result }
  }

  /** Nobody wants the answer to request `id` any more. It is carried out all the same. */
  unwanted(id: number): void {
    Atomics.store(this.#shared, Shared.UNWANTED, id)
    Atomics.notify(this.#shared, Shared.BEHIND)
  }

  /** Ends the thread wherever it is; resolves when it cannot write any more. */
  async end(why: string): Promise<void> {
    this.#ended = true
    this.#rejectAll(why)
    await this.#worker.terminate()
  }

  #end(why: string): void {
    if (this.#ended) return
    this.#ended = true
    this.#rejectAll(why)
    this.#onEnd(new ThreadEnded(why))
  }

  #rejectAll(why: string): void {
    const pending = [...this.#pending.values()]
    this.#pending.clear()
    for (const { reject } of pending) reject(new ThreadEnded(why))
  }

  #take(message: FromThread): void {
    if (message.kind === 'ready') this.#ready = true
    if (message.kind === 'ready' || this.#ended) return
    const pending = this.#pending.get(message.id)
    switch (message.kind) {
      case 'chunk':
        if (pending?.sink == null) this.#taken(message.octets.length)
        else
          pending.sink.chunk(message.octets, message.progress, () =>
            this.#taken(message.octets.length),
          )
        break
      case 'unmarked':
        pending?.sink?.unmarked()
        Atomics.add(this.#shared, Shared.STORED, 1)
        Atomics.notify(this.#shared, Shared.STORED)
        break
      case 'done':
        this.#pending.delete(message.id)
        pending?.resolve(message.result as never)
        break
      case 'failed':
        // It may have said half of what it meant: it is of no use any more.
        this.#end(message.message)
        void this.#worker.terminate()
        break
    }
  }

  #taken(length: number): void {
    Atomics.sub(this.#shared, Shared.BEHIND, length)
    Atomics.notify(this.#shared, Shared.BEHIND)
  }
}
