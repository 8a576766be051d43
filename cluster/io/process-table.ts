/**
 * Processes as /proc shows them: a process is named by its id and its start time, because an id alone is used again.
 */
import { readFileSync } from 'node:fs'

/** Fields of /proc/PID/stat, counted from the state, which stands behind the command in brackets. */
const START_TIME_FIELD = 19
const FLAGS_FIELD = 6
/** Of the flags: the kernel is taking the process down (include/linux/sched.h). */
const PF_EXITING = 4

/** The start time of process `pid` in clock ticks since boot, as text; null when it is gone. A zombie still has one. */
export function startTimeOf(pid: number): string | null {
  return readStat(pid)?.[START_TIME_FIELD] ?? null
}

/** True when the process is there with that start time and may still run: a zombie may not. */
export function isRunning(pid: number, startTime: string): boolean {
  const stat = readStat(pid)
  return stat !== null && mayRun(stat, startTime)
}

/** True when the process is gone, or its end has begun: it runs no instruction any more, and the locks it had are or will be free. */
export function isEnding(pid: number, startTime: string): boolean {
  const stat = readStat(pid)
  if (stat === null || !mayRun(stat, startTime)) return true
  return (Number(stat[FLAGS_FIELD]) & PF_EXITING) !== 0
}

/** True when the process is there with that start time and is stopped, by a signal or by who traces it. */
export function isStopped(pid: number, startTime: string): boolean {
  const stat = readStat(pid)
  return stat?.[START_TIME_FIELD] === startTime && (stat[0] === 'T' || stat[0] === 't')
}

function mayRun(stat: readonly string[], startTime: string): boolean {
  return stat[START_TIME_FIELD] === startTime && stat[0] !== 'Z' && stat[0] !== 'X'
}

function readStat(pid: number): string[] | null {
  if (!Number.isInteger(pid) || pid <= 0) return null
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return text.slice(text.lastIndexOf(')') + 2).split(' ')
  } catch {
    return null
  }
}
