/** A program in a lab's client namespace, and what it has printed so far. */
import type { ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { StackError } from '../../stack/base/errors.js'

/** A client that prints nothing new for so long is stuck. */
const PATIENCE_MS = 30_000
/** Octets of the output that are kept as text. */
const KEPT = 1 << 20

export class Client {
  readonly child: ChildProcess
  /** Octets it has printed. */
  octets = 0
  /** The first of them, as text. */
  text = ''
  /** What it said on stderr. */
  said = ''
  readonly #name: string
  readonly #hash = createHash('sha256')
  readonly #closed: Promise<number>
  #code: number | undefined
  #digest: string | undefined

  /** `name` is for messages. Takes over the pipes of `child`. */
  constructor(name: string, child: ChildProcess) {
    this.#name = name
    this.child = child
    child.stdout?.on('data', (chunk: Buffer) => {
      this.octets += chunk.length
      if (this.text.length < KEPT) this.text += chunk
      this.#hash.update(chunk)
    })
    child.stderr?.on('data', (chunk) => {
      if (this.said.length < KEPT) this.said += chunk
    })
    child.stdin?.on('error', () => {})
    this.#closed = new Promise((resolve, reject) => {
      child.once('error', (error) => reject(new StackError('ERR_DEMO_CLIENT', error.message)))
      child.once('close', (code) => {
        this.#code = code ?? -1
        resolve(this.#code)
      })
    })
    this.#closed.catch(() => {})
  }

  /** SHA-256 of all it has printed; ask when it has ended. */
  get digest(): string {
    this.#digest ??= this.#hash.digest('hex')
    return this.#digest
  }

  /** Resolves with its exit code. */
  ended(): Promise<number> {
    return this.#closed
  }

  /** Resolves when it has ended well. Throws ERR_DEMO_CLIENT. */
  async succeeded(): Promise<void> {
    if ((await this.#closed) !== 0) throw this.#failure()
  }

  #failure(): StackError {
    const said = this.said.trim().slice(-2000)
    return new StackError('ERR_DEMO_CLIENT', `${this.#name} ended with ${this.#code}: ${said}`)
  }

  /** Resolves when it has printed so much. Throws ERR_DEMO_CLIENT, ERR_DEMO_STUCK. */
  async reaches(octets: number): Promise<void> {
    let last = this.octets
    let movedAt = performance.now()
    while (this.octets < octets) {
      if (this.#code !== undefined) throw this.#failure()
      if (this.octets !== last) {
        last = this.octets
        movedAt = performance.now()
      } else if (performance.now() - movedAt > PATIENCE_MS) {
        const text = `${this.#name} has printed nothing for ${PATIENCE_MS / 1000} s`
        throw new StackError('ERR_DEMO_STUCK', text)
      }
      await delay(1)
    }
  }

  /** Gives it a line, and resolves when it has printed a line more. */
  async ask(line: string): Promise<void> {
    const lines = this.#lines() + 1
    this.child.stdin?.write(`${line}\n`)
    while (this.#lines() < lines) await this.reaches(this.octets + 1)
  }

  #lines(): number {
    return this.text.split('\n').length - 1
  }
}
