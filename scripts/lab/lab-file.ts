/**
 * What is written down about a lab, so that another process can look at it, join it or clear it away: one folder per
 * lab in a runtime folder of the user, with lab.json in it.
 *
 * Invariant: lab.json is written before the first thing it names is made, and removed after the last one is gone.
 */
import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { StackError } from '../../stack/base/errors.js'
import { bootId, isRunning, type ProcessIdentity } from './process-table.js'

/** Where the lab's namespaces live: in the host's own list, or in a user namespace that a holder process keeps. */
export type LabMode = 'root' | 'user'

export interface LabNode {
  readonly id: number
  readonly tap: string
  readonly mac: string
  /** The link that its TAP is on. */
  readonly bridge: string
  process?: ProcessIdentity
}

export interface LabClient {
  readonly namespace: string
  readonly address: string
  /** The bridge's end of the client's wire, in the switch namespace. The client's own end is `eth0`. */
  readonly port: string
}

/** A router between the nodes and the clients (P12). */
export interface LabRouter {
  readonly namespace: string
  /** Its address, with prefix, on the nodes' links and on the clients'. */
  readonly address: string
  readonly outerAddress: string
}

/** The content of lab.json. */
export interface LabRecord {
  readonly id: string
  readonly createdAt: string
  readonly bootId: string
  readonly mode: LabMode
  /** The process that made the lab and answers for it: a demo, a test, or the keeper of `lab up`. */
  readonly owner: ProcessIdentity
  holder?: ProcessIdentity
  readonly folder: string
  /** Folders outside of `folder` that go when the lab goes. */
  readonly scratch: string[]
  readonly switchNamespace: string
  /** The nodes' links; the first of them has the monitor. */
  readonly bridges: readonly string[]
  /** The ports that each of them serves, as `1-65535`. */
  readonly shares: readonly string[]
  /** They learn who is where, and so are no hubs. */
  readonly learning: boolean
  /** The clients' own link, where there are routers; null: they are on the nodes'. */
  readonly outerBridge: string | null
  readonly routers: readonly LabRouter[]
  readonly monitorTap: string
  readonly address: string
  readonly port: number
  readonly app: string
  readonly root: string | null
  readonly clients: LabClient[]
  readonly nodes: LabNode[]
}

const ID_PATTERN = /^[0-9a-z]{4}$/

/** A fresh lab id: four letters or digits, so that interface names built on it stay below 15 characters. */
export function freshLabId(): string {
  for (;;) {
    const id = randomBytes(4).readUInt32LE().toString(36).padStart(7, '0').slice(-4)
    if (!fs.existsSync(join(runtimeFolder(), id))) return id
  }
}

/** The user's folder of labs; made, private to the user, when it is missing. */
export function runtimeFolder(): string {
  const uid = process.getuid?.() ?? 0
  // Not $XDG_RUNTIME_DIR: it lies below /run, which a lab of an ordinary user covers with a file system of its own.
  const folder = ownsRun() ? '/run/understudy' : join(tmpdir(), `understudy-${uid}`)
  fs.mkdirSync(folder, { recursive: true, mode: 0o700 })
  const stat = fs.lstatSync(folder)
  if (!stat.isDirectory() || stat.uid !== uid) {
    throw new StackError(
      'ERR_LAB_FOLDER',
      `${folder} belongs to somebody else: remove it, or set TMPDIR to a folder of your own.`,
    )
  }
  return folder
}

/** Whether this process may make network namespaces in the host's own list. */
export function ownsRun(): boolean {
  if (process.getuid?.() !== 0) return false
  try {
    fs.accessSync('/run', fs.constants.W_OK)
    return true
  } catch {
    return false
  }
}

/** Writes lab.json anew; a reader sees the old one or the new one, never half of it. */
export function writeLab(lab: LabRecord): void {
  const path = join(lab.folder, 'lab.json')
  fs.writeFileSync(`${path}.new`, `${JSON.stringify(lab, null, 2)}\n`, { mode: 0o600 })
  fs.renameSync(`${path}.new`, path)
}

/** Reads lab.json in `folder`; undefined when there is none or it is not one. */
export function readLab(folder: string): LabRecord | undefined {
  try {
    const lab = JSON.parse(fs.readFileSync(join(folder, 'lab.json'), 'utf8')) as LabRecord
    return ID_PATTERN.test(lab.id) && lab.folder === folder ? lab : undefined
  } catch {
    return undefined
  }
}

/** All labs of this user, the most recent one last, dead ones included. */
export function listLabs(): LabRecord[] {
  const labs: LabRecord[] = []
  const folder = runtimeFolder()
  for (const name of fs.readdirSync(folder)) {
    const lab = readLab(join(folder, name))
    if (lab !== undefined) labs.push(lab)
  }
  return labs.sort((a, b) => a.createdAt.localeCompare(b.createdAt))
}

/** Whether the process that answers for `lab` still runs. */
export function isLive(lab: LabRecord): boolean {
  return lab.bootId === bootId() && isRunning(lab.owner)
}

/** The socket on which the keeper of `lab` takes commands. A lab of a demo or of a test has none. */
export function controlSocket(lab: LabRecord): string {
  return join(lab.folder, 'control.sock')
}

/** The labs that `understudy lab up` has made and that are up, the most recent one last. */
export function keptLabs(): LabRecord[] {
  return listLabs().filter((lab) => isLive(lab) && fs.existsSync(controlSocket(lab)))
}

/** The live lab `id`, or the most recent one that `understudy lab up` has made. Throws ERR_LAB_NOT_FOUND. */
export function findLab(id: string | undefined): LabRecord {
  const live = id === undefined ? keptLabs() : listLabs().filter(isLive)
  const lab = id === undefined ? live.at(-1) : live.find((each) => each.id === id)
  if (lab !== undefined) return lab
  const names = live.map((each) => each.id).join(', ')
  throw new StackError(
    'ERR_LAB_NOT_FOUND',
    id === undefined
      ? 'no lab is up: start one with `understudy lab up`.'
      : `no lab ${id} is up (${names === '' ? 'none is' : `up: ${names}`}): see \`understudy lab status\`.`,
  )
}
