/**
 * Processes as /proc shows them. A process is named by its id and its start time together, so that an id which the
 * kernel has given to somebody else is never signalled; and every process of a lab carries the lab's name in its
 * environment, so that a lab can be cleaned up even when nobody wrote down what was started last.
 */
import { readdirSync, readFileSync } from 'node:fs'

/** The environment variable that marks the processes of a lab; its value is the lab's id. */
export const LAB_MARK = 'UNDERSTUDY_LAB'

/** One process, distinguishable from a later one with the same id. */
export interface ProcessIdentity {
  readonly pid: number
  /** Clock ticks since boot, field 22 of /proc/PID/stat. */
  readonly startTime: string
}

/** The identity of the running process `pid`; undefined when there is none. A zombie counts as gone. */
export function identify(pid: number): ProcessIdentity | undefined {
  const stat = readProc(pid, 'stat')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const startTime = fields[19]
  if (startTime === undefined || fields[0] === 'Z' || fields[0] === 'X') return undefined
  return { pid, startTime }
}

/** Whether the very process that `identity` names still runs. */
export function isRunning(identity: ProcessIdentity | undefined): boolean {
  return identity !== undefined && identify(identity.pid)?.startTime === identity.startTime
}

/** Sends `signal` to the very process that `identity` names. False: it is gone. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!isRunning(identity)) return false
  try {
    process.kill(identity.pid, signal)
    return true
  } catch {
    return false
  }
}

/** The ids of all processes that carry the mark of lab `id`, this one excepted. */
export function processesOfLab(id: string): number[] {
  const mark = `${LAB_MARK}=${id}`
  const found: number[] = []
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry)
    if (!Number.isInteger(pid) || pid === process.pid) continue
    if (identify(pid) === undefined) continue
    if (readProc(pid, 'environ').split('\0').includes(mark)) found.push(pid)
  }
  return found
}

/** The ids of all processes in the network namespace with inode number `inode`, this one excepted. */
export function processesInNamespace(inode: number, link: (pid: number) => string): number[] {
  const found: number[] = []
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry)
    if (Number.isInteger(pid) && pid !== process.pid && link(pid) === `net:[${inode}]`)
      found.push(pid)
  }
  return found
}

/** The kernel's id of this boot: what was written before another boot names no process of this one. */
export function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
}

function readProc(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch {
    return ''
  }
}
