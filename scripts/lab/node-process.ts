/**
 * One node of a lab as a child process: started in the switch's namespace with a configuration file, heard through the
 * JSON lines on its standard output, ended or stopped by signals. Everything it says is kept in a log file.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import * as fs from 'node:fs'
import { StackError } from '../../stack/base/errors.js'
import { identify, type ProcessIdentity } from './process-table.js'

/** A line that a node prints. Which fields there are depends on `event`. */
export interface NodeEvent {
  readonly event: string
  readonly [field: string]: unknown
}

export type NodeState = 'starting' | 'ready' | 'stopped' | 'ended'

export interface NodeProcessOptions {
  readonly id: number
  /** The complete command line, from the space's joining command to the node's arguments. */
  readonly argv: readonly string[]
  readonly env: NodeJS.ProcessEnv
  readonly log: string
  readonly onEvent: (event: NodeEvent) => void
  /** Called once when the process is gone, however it went. */
  readonly onEnd: () => void
}

export class NodeProcess {
  readonly id: number
  readonly identity: ProcessIdentity
  readonly ready: Promise<void>
  readonly ended: Promise<void>
  #state: NodeState = 'starting'
  readonly #child: ChildProcess
  readonly #log: number
  #rest = ''

  constructor(options: NodeProcessOptions) {
    this.id = options.id
    this.#log = fs.openSync(options.log, 'a', 0o600)
    const [command = '', ...args] = options.argv
    // In a process group of its own, so that Ctrl-C on the terminal does not end it before the lab is taken down.
    this.#child = spawn(command, args, {
      env: options.env,
      stdio: ['ignore', 'pipe', this.#log],
      detached: true,
    })
    const pid = this.#child.pid
    this.identity = (pid === undefined ? undefined : identify(pid)) ?? { pid: 0, startTime: '' }
    this.ended = new Promise((resolve) => {
      this.#child.once('close', () => {
        this.#state = 'ended'
        fs.closeSync(this.#log)
        resolve()
        options.onEnd()
      })
      this.#child.once('error', () => resolve())
    })
    this.ready = this.#awaitReady(options)
    this.ready.catch(() => {})
  }

  get state(): NodeState {
    return this.#state
  }

  /** Ends the process at once, whether it runs or is stopped. */
  kill(): void {
    this.#child.kill('SIGKILL')
  }

  /** Lets the process go in order. */
  terminate(): void {
    this.#child.kill('SIGTERM')
  }

  /** Freezes the process: it keeps its memory, its sockets and its TAP, and does nothing. */
  stop(): void {
    this.#child.kill('SIGSTOP')
    this.#state = 'stopped'
  }

  continue(): void {
    this.#child.kill('SIGCONT')
    if (this.#state === 'stopped') this.#state = 'ready'
  }

  #awaitReady(options: NodeProcessOptions): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#child.once('error', (error) => reject(failed(options, error.message)))
      this.#child.once('exit', (code, signal) => {
        this.#state = 'ended'
        reject(failed(options, `ended with ${signal ?? code}: ${lastLines(options.log)}`))
      })
      this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
        this.#take(text, (event) => {
          if (event.event === 'ready') {
            this.#state = 'ready'
            resolve()
          }
          options.onEvent(event)
        })
      })
    })
  }

  #take(text: string, onEvent: (event: NodeEvent) => void): void {
    fs.writeSync(this.#log, text)
    const lines = (this.#rest + text).split('\n')
    this.#rest = lines.pop() ?? ''
    for (const line of lines) {
      const event = parseEvent(line)
      if (event !== undefined) onEvent(event)
    }
  }
}

/** Reads one line of a node's output; undefined for a line that is no event. */
export function parseEvent(line: string): NodeEvent | undefined {
  if (!line.startsWith('{')) return undefined
  try {
    const value = JSON.parse(line) as NodeEvent
    return typeof value.event === 'string' ? value : undefined
  } catch {
    return undefined
  }
}

function failed(options: NodeProcessOptions, reason: string): StackError {
  return new StackError('ERR_LAB_NODE', `node ${options.id} ${reason} (log: ${options.log})`)
}

function lastLines(log: string): string {
  try {
    return (
      fs.readFileSync(log, 'utf8').trim().split('\n').slice(-5).join(' | ') || 'it said nothing'
    )
  } catch {
    return 'its log cannot be read'
  }
}
