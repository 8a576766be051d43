/**
 * Clears a lab away from nothing but what is written down about it: by its maker at the end, by the reaper when the
 * maker was killed, by the next `lab up` when both were. It may be called twice.
 *
 * Invariant: only processes that carry the lab's mark, that run in its namespaces or that are named with their start
 * time are ended; only namespaces and folders named in lab.json are removed.
 */
import * as fs from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { isLive, type LabRecord, listLabs } from './lab-file.js'
import {
  bootId,
  isRunning,
  processesInNamespace,
  processesOfLab,
  signalProcess,
} from './process-table.js'
import { Space } from './space.js'

/** How long processes get to die; a process in the midst of a large write takes a while to free its memory. */
const PATIENCE_MS = 5_000

/** Ends the processes of `lab` but `spared`, removes its namespaces and its folders. */
export async function tearDown(lab: LabRecord, spared: readonly number[] = []): Promise<void> {
  if (lab.bootId === bootId()) {
    await endProcesses(lab, spared)
    if (lab.mode === 'root') removeNamespaces(lab)
    else if (lab.holder !== undefined) await endHolder(lab)
  }
  for (const folder of [...lab.scratch, lab.folder]) {
    fs.rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
  }
}

/** Clears away the labs whose makers are gone. Returns their ids. */
export async function reapDeadLabs(): Promise<string[]> {
  const reaped: string[] = []
  for (const lab of listLabs()) {
    if (isLive(lab)) continue
    await tearDown(lab)
    reaped.push(lab.id)
  }
  return reaped
}

async function endProcesses(lab: LabRecord, spared: readonly number[]): Promise<void> {
  const holder = lab.holder?.pid
  const giveUpAt = Date.now() + PATIENCE_MS
  for (;;) {
    const pids = new Set([...processesOfLab(lab.id), ...processesInNamespaces(lab)])
    for (const pid of [holder, ...spared]) if (pid !== undefined) pids.delete(pid)
    if (pids.size === 0 || Date.now() > giveUpAt) return
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // It ended by itself in the meantime.
      }
    }
    await delay(5)
  }
}

function processesInNamespaces(lab: LabRecord): number[] {
  if (lab.mode !== 'root') return []
  const found: number[] = []
  for (const name of namespaces(lab)) {
    const stat = fs.statSync(`/run/netns/${name}`, { throwIfNoEntry: false })
    if (stat !== undefined) found.push(...processesInNamespace(stat.ino, namespaceOf))
  }
  return found
}

function namespaceOf(pid: number): string {
  try {
    return fs.readlinkSync(`/proc/${pid}/ns/net`)
  } catch {
    return ''
  }
}

function removeNamespaces(lab: LabRecord): void {
  const space = Space.join(lab.id, 'root', undefined)
  for (const name of namespaces(lab)) {
    const path = `/run/netns/${name}`
    // Somebody else may be clearing the same dead lab away: gone is good, whoever did it.
    if (fs.existsSync(path)) space.runScript(`ip netns del ${name} || [ ! -e ${path} ]`)
  }
}

async function endHolder(lab: LabRecord): Promise<void> {
  if (lab.holder === undefined) return
  signalProcess(lab.holder, 'SIGKILL')
  const giveUpAt = Date.now() + PATIENCE_MS
  while (isRunning(lab.holder) && Date.now() < giveUpAt) await delay(5)
}

function namespaces(lab: LabRecord): string[] {
  const around = [...lab.clients, ...lab.routers].map(({ namespace }) => namespace)
  return [...around, lab.switchNamespace]
}
