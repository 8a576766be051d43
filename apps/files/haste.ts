/**
 * Haste: what a client waits for behind a take-over is asked of the file system at once, and not of the threads that wait for it: three trips
 * to them take longer than all else that goes on with a download. What a slow disk keeps the loop from doing stays within a limit.
 */
import * as fs from 'node:fs'
import { stat } from 'node:fs/promises'

/** How long the loop may wait for the file system in a second. */
const BUDGET_MS = 20
const PERIOD_MS = 1000
/** Octets of a file that are read at once. */
const FIRST = 64 * 1024

let periodAt = 0
let spentMs = 0

/** Runs `task`, which waits for the file system, if there is time for it; else undefined. */
function atOnce<T>(task: () => T): T | undefined {
  const startedAt = performance.now()
  if (startedAt - periodAt >= PERIOD_MS) {
    periodAt = startedAt
    spentMs = 0
  }
  if (spentMs >= BUDGET_MS) return undefined
  try {
    return task()
  } finally {
    spentMs += performance.now() - startedAt
  }
}

/** What `file` is. `hurries`: a client has been waiting for it since a take-over. Rejects as `fs.stat` does. */
export async function lookAt(file: string, hurries: boolean): Promise<fs.Stats> {
  const info = hurries ? atOnce(() => fs.statSync(file)) : undefined
  return info ?? (await stat(file))
}

/** The octets `first` to `last` of a file that are there at once, and a stream of the rest, or null where that was all. */
export function openPart(
  file: string,
  first: number,
  last: number,
  hurries: boolean,
): { head: Uint8Array | null; rest: fs.ReadStream | null } {
  const begun = hurries ? atOnce(() => begin(file, first, last)) : undefined
  if (begun === undefined)
    return { head: null, rest: fs.createReadStream(file, { start: first, end: last }) }
  const { fd, head } = begun
  const start = first + head.length
  if (start > last) {
    fs.closeSync(fd)
    return { head, rest: null }
  }
  return { head, rest: fs.createReadStream(file, { fd, start, end: last }) }
}

function begin(file: string, first: number, last: number): { fd: number; head: Uint8Array } {
  const fd = fs.openSync(file, 'r')
  try {
    const head = Buffer.allocUnsafe(Math.min(FIRST, last - first + 1))
    return { fd, head: head.subarray(0, fs.readSync(fd, head, 0, head.length, first)) }
  } catch (error) {
    fs.closeSync(fd)
    throw error
  }
}
