/**
 * Fencing: an owner that is believed dead is silenced before another node speaks in its place, because the end of a
 * channel is an event and no proof.
 *
 * On one host two things are done: the process is killed, and its bridge port is set to `state 0`, where the kernel takes
 * its frames and drops them, as `bridge link set dev PORT state 0` does. It is done when the kernel's answer is there; the state is
 * read back from sysfs all the same. On other hosts a configured command acts.
 */
import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { StackError } from '../../stack/index.js'
import { native } from '../../stack/io/native.js'
import { isRunning, startTimeOf } from './process-table.js'

export interface LocalFenceOptions {
  /** Sets the state of a bridge port, or throws. Default: by rtnetlink. */
  readonly setState?: (ifname: string, state: number) => void
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

export class LocalFence {
  readonly #confirmMs: number
  /** Why the last call returned false; empty when none has. */
  reason = ''
  readonly #setState: (ifname: string, state: number) => void
  readonly #sysfs: string

  constructor(options: LocalFenceOptions = {}) {
    this.#setState =
      options.setState ?? ((ifname, state) => native().bridgePortState(ifname, state))
    this.#sysfs = options.sysfs ?? '/sys'
    this.#confirmMs = options.confirmMs ?? CONFIRM_MS
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

  async #setPort(ifname: string, state: number): Promise<boolean> {
    checkName(ifname)
    const file = this.#stateOf(ifname)
    if (!existsSync(file)) return this.#fail(`${ifname} is no bridge port here (no ${file})`)
    let refusal = 'not permitted?'
    let triedAt = Number.NEGATIVE_INFINITY
    const done = await confirm(this.#confirmMs, () => {
      if (readState(file) === state) return true
      const now = performance.now()
      if (now - triedAt < REPEAT_MS) return false
      triedAt = now
      try {
        this.#setState(ifname, state)
      } catch (error) {
        refusal = (error as Error).message
      }
      return readState(file) === state
    })
    return (
      done ||
      this.#fail(`${ifname} did not reach state ${state} within ${this.#confirmMs} ms: ${refusal}`)
    )
  }

  #stateOf(ifname: string): string {
    return `${this.#sysfs}/class/net/${ifname}/brport/state`
  }

  #fail(reason: string): false {
    this.reason = reason
    return false
  }
}

/** The start time of process `pid` in clock ticks since boot, or null when it is gone. */
export function readStartTime(pid: number): number | null {
  const text = startTimeOf(pid)
  return text === null ? null : Number(text)
}

// A name goes into a path.
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
