/**
 * Fencing: an owner that is believed dead is silenced before another node speaks in its place, because the end of a
 * channel is an event and no proof.
 *
 * On one host two things are done: the process is killed, and its bridge port is set to `state 0`, where the kernel takes
 * its frames and drops them. The bridge(8) process that sets it is started beforehand and reads commands from a pipe, so
 * that acting costs about 0.1 ms; what it did is read back from sysfs. On other hosts a configured command acts.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { StackError } from '../../stack/index.js'
import { isRunning, startTimeOf } from './process-table.js'

export interface LocalFenceOptions {
  /** The command that reads bridge(8) batch lines from its standard input. */
  readonly command?: readonly string[]
  /** Where sysfs is mounted. It must be that of the network namespace of the bridge. */
  readonly sysfs?: string
  /** How long a port may take to be in its new state, in milliseconds. Default 50. */
  readonly confirmMs?: number
}

/** States of a bridge port that matter here. */
const PORT_DISABLED = 0
const PORT_FORWARDING = 3

const CONFIRM_MS = 50
const REPEAT_MS = 10
const KILL_CONFIRM_MS = 500
const RESPAWN_MS = 100
const CLOSE_MS = 500
const COMMAND = ['bridge', '-force', '-batch', '-'] as const

export class LocalFence {
  readonly #confirmMs: number
  /** Why the last call returned false; empty when none has. */
  reason = ''
  readonly #command: readonly string[]
  readonly #sysfs: string
  #child: ChildProcess | null = null
  #respawn: NodeJS.Timeout | null = null
  #missing = ''
  #closed = false

  /** Starts the batch process. A missing bridge(8) shows in the answers of fencePort, not here. */
  constructor(options: LocalFenceOptions = {}) {
    this.#command = options.command ?? COMMAND
    this.#sysfs = options.sysfs ?? '/sys'
    this.#confirmMs = options.confirmMs ?? CONFIRM_MS
    this.#start()
  }

  /** The id of the batch process, or 0 while there is none. */
  get batchPid(): number {
    return this.#child?.pid ?? 0
  }

  /** Shuts the bridge port of `ifname`. True once the kernel confirms it; false, with `reason`, after 50 ms. */
  fencePort(ifname: string): Promise<boolean> {
    return this.#setPort(ifname, PORT_DISABLED)
  }

  /** True while the bridge port of `ifname` is shut. */
  isShut(ifname: string): boolean {
    checkName(ifname)
    return readState(this.#stateOf(ifname)) === PORT_DISABLED
  }

  /** Opens the bridge port of `ifname` again. */
  openPort(ifname: string): Promise<boolean> {
    return this.#setPort(ifname, PORT_FORWARDING)
  }

  /**
   * Kills process `pid` if it is still the one that started at `startTime`, in clock ticks since boot. True once that
   * process runs no more, also when it had ended before; another process with its id is left alone.
   */
  async killProcess(pid: number, startTime: number): Promise<boolean> {
    const started = String(startTime)
    if (!isRunning(pid, started)) return true
    try {
      process.kill(pid, 'SIGKILL')
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ESRCH') return true
      return this.#fail(`cannot kill process ${pid}: ${(cause as Error).message}`)
    }
    const gone = await confirm(KILL_CONFIRM_MS, () => !isRunning(pid, started))
    return gone || this.#fail(`process ${pid} still runs ${KILL_CONFIRM_MS} ms after SIGKILL`)
  }

  /** Ends the batch process. */
  async close(): Promise<void> {
    this.#closed = true
    if (this.#respawn !== null) clearTimeout(this.#respawn)
    const child = this.#child
    this.#child = null
    // Without an id it never ran: there is only the 'error' to come, and no 'exit'.
    if (child?.pid === undefined) return
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
    child.stdin?.end()
    const late = setTimeout(() => child.kill('SIGKILL'), CLOSE_MS)
    await ended
    clearTimeout(late)
  }

  async #setPort(ifname: string, state: number): Promise<boolean> {
    checkName(ifname)
    const file = this.#stateOf(ifname)
    if (!existsSync(file)) return this.#fail(`${ifname} is no bridge port here (no ${file})`)
    const line = `link set dev ${ifname} state ${state}\n`
    let writtenAt = Number.NEGATIVE_INFINITY
    const done = await confirm(this.#confirmMs, () => {
      if (readState(file) === state) return true
      const now = performance.now()
      if (now - writtenAt >= REPEAT_MS && this.#write(line)) writtenAt = now
      return false
    })
    if (done) return true
    if (this.#missing !== '') return this.#fail(this.#missing)
    return this.#fail(
      `${ifname} did not reach state ${state} within ${this.#confirmMs} ms: not permitted?`,
    )
  }

  #stateOf(ifname: string): string {
    return `${this.#sysfs}/class/net/${ifname}/brport/state`
  }

  #fail(reason: string): false {
    this.reason = reason
    return false
  }

  #write(line: string): boolean {
    if (this.#child === null) this.#start()
    return this.#child?.stdin?.write(line) !== undefined
  }

  #start(): void {
    const [file, ...args] = this.#command
    if (file === undefined || this.#closed) return
    if (this.#respawn !== null) clearTimeout(this.#respawn)
    this.#respawn = null
    const child = spawn(file, args, { stdio: ['pipe', 'ignore', 'ignore'] })
    this.#child = child
    // A pipe that breaks is told by 'exit' as well.
    child.stdin?.on('error', () => undefined)
    child.once('spawn', () => {
      this.#missing = ''
    })
    child.once('error', (cause) => {
      this.#missing = `cannot run ${file}: ${cause.message}; install it with: apt-get install iproute2`
      this.#lost(child)
    })
    child.once('exit', () => this.#lost(child))
    child.unref()
  }

  #lost(child: ChildProcess): void {
    if (this.#child !== child) return
    this.#child = null
    if (this.#closed) return
    this.#respawn = setTimeout(() => this.#start(), RESPAWN_MS)
    this.#respawn.unref()
  }
}

/** The start time of process `pid` in clock ticks since boot, or null when it is gone. */
export function readStartTime(pid: number): number | null {
  const text = startTimeOf(pid)
  return text === null ? null : Number(text)
}

// A name goes into a line of commands, so it must be one word.
function checkName(ifname: string): void {
  if (/^[\w.:][\w.:-]{0,14}$/.test(ifname) && ifname !== '.' && ifname !== '..') return
  throw new StackError(
    'ERR_FENCE_INTERFACE',
    `${JSON.stringify(ifname)} is no name of an interface: give 1 to 15 letters, digits or ._:-`,
  )
}

function readState(file: string): number {
  try {
    // Nothing is no state: it must not be taken for 0, which is the fence.
    return Number(readFileSync(file, 'latin1').trim() || -1)
  } catch {
    return -1
  }
}

// Looks again at once for two milliseconds, which is what it usually takes, and then each millisecond.
async function confirm(limitMs: number, holds: () => boolean): Promise<boolean> {
  const startedAt = performance.now()
  for (;;) {
    if (holds()) return true
    const elapsed = performance.now() - startedAt
    if (elapsed > limitMs) return false
    await new Promise((resolve) => {
      if (elapsed < 2) setImmediate(resolve)
      else setTimeout(resolve, 1)
    })
  }
}

/** Fences a node on another host by a command of the operator's. */
export class FenceCommand {
  /** Why the last fence was not confirmed; empty when none failed. */
  reason = ''
  readonly #argv: readonly string[]
  readonly #timeoutMs: number

  /** `argv` is run without a shell; each `{node}` in it becomes the node's id. */
  constructor(argv: readonly string[], timeoutMs = 5000) {
    if (argv.length === 0) {
      throw new StackError(
        'ERR_FENCE_COMMAND',
        'the fence command is empty: give a program and its arguments',
      )
    }
    this.#argv = argv
    this.#timeoutMs = timeoutMs
  }

  /** True when the command ended with 0 in time: then, and only then, the node is silent. */
  fence(node: number): Promise<boolean> {
    const [file, ...args] = this.#argv.map((part) => part.replaceAll('{node}', String(node)))
    return new Promise((resolve) => {
      const options = { timeout: this.#timeoutMs, killSignal: 'SIGKILL' } as const
      execFile(file as string, args, options, (error) => {
        const how = error?.killed === true ? `took more than ${this.#timeoutMs} ms` : error?.message
        this.reason = error === null ? '' : `the fence command for node ${node}: ${how}`
        resolve(error === null)
      })
    })
  }
}
