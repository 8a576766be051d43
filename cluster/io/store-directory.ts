/**
 * The directory of a store: whose it is, and that nobody else writes to it. A small file beside the databases names kind,
 * layout, cluster and node, so that a foreign directory is refused before a database in it is touched.
 *
 * LMDB maps its files and trusts them: one that is no database, or a cut one, ends the process with SIGSEGV or SIGBUS.
 * Therefore each file is checked before it is opened.
 */
import { randomUUID } from 'node:crypto'
import {
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { type Key, open, type RootDatabase, type RootDatabaseOptionsWithPath } from 'lmdb'
import { StackError } from '../../stack/index.js'
import { isRunning, startTimeOf } from './process-table.js'

/** What the file of identity holds. */
export interface StoreIdentity {
  readonly store: 'mirror' | 'checkpoints'
  readonly layout: number
  readonly cluster: string
  /** The node it is private to, or null when nodes share it. */
  readonly node: number | null
}

const IDENTITY_FILE = 'understudy-store.json'
const LOCK_FILE = 'understudy-store.lock'

/** Makes the directory when it is missing, and refuses one of another cluster, node, kind or layout. */
export function claimDirectory(path: string, identity: StoreIdentity): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 })
    const file = join(path, IDENTITY_FILE)
    if (!existsSync(file)) {
      refuseUsedDirectory(path)
      writeOnce(path, file, `${JSON.stringify(identity)}\n`)
    }
    compare(path, readIdentity(path, file), identity)
  } catch (cause) {
    if (cause instanceof StackError) throw cause
    throw new StackError(
      'ERR_STORE_ACCESS',
      `cannot use ${path} as a store: ${(cause as Error).message}; give a directory that this user may write`,
      { cause },
    )
  }
}

function refuseUsedDirectory(path: string): void {
  const strangers = readdirSync(path).filter((name) => !name.startsWith('understudy-store'))
  const first = strangers[0]
  if (first === undefined) return
  throw new StackError(
    'ERR_STORE_FOREIGN',
    `${path} holds ${first} and is no store of this program: give an empty directory`,
  )
}

// A link finds the name free or leaves what another node put there, so nodes that share a directory may race.
function writeOnce(directory: string, file: string, text: string): void {
  const draft = join(directory, `understudy-store.${process.pid}.${Date.now()}.draft`)
  const descriptor = openSync(draft, 'wx', 0o600)
  try {
    writeSync(descriptor, text)
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
  try {
    linkSync(draft, file)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause
  } finally {
    unlinkSync(draft)
  }
  syncDirectory(directory)
}

/** Makes new names in the directory durable. */
export function syncDirectory(path: string): void {
  const descriptor = openSync(path, 'r')
  try {
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

function readIdentity(path: string, file: string): Partial<StoreIdentity> {
  try {
    const parsed: unknown = JSON.parse(readFileSync(file, 'utf8'))
    if (typeof parsed === 'object' && parsed !== null) return parsed
  } catch (cause) {
    throw corrupt(path, `${IDENTITY_FILE} cannot be read`, cause)
  }
  throw corrupt(path, `${IDENTITY_FILE} is not an object`)
}

function compare(path: string, found: Partial<StoreIdentity>, wanted: StoreIdentity): void {
  for (const field of ['store', 'layout', 'cluster', 'node'] as const) {
    if (found[field] === wanted[field]) continue
    throw new StackError(
      'ERR_STORE_FOREIGN',
      `${path} belongs to ${field} ${found[field]}, not ${wanted[field]}: give each node a directory of its own, or remove this one if it is not needed`,
    )
  }
}

export function corrupt(path: string, what: string, cause?: unknown): StackError {
  return new StackError(
    'ERR_STORE_CORRUPT',
    `the store in ${path} is damaged (${what}): move the directory away and start the node again; an epoch that was lost is learnt from the peers' declarations`,
    { cause },
  )
}

/** Holds the directory for this process until the returned function is called, or the process ends. */
export function lockDirectory(path: string): () => void {
  const file = join(path, LOCK_FILE)
  const mine = `${process.pid} ${startTimeOf(process.pid)} ${randomUUID()}\n`
  // A holder that died leaves its file; whoever removes it competes for the next one on equal terms.
  for (let attempt = 0; attempt < 3; attempt++) {
    writeOnce(path, file, mine)
    const held = readFileSync(file, 'latin1')
    if (held === mine) return () => existsSync(file) && unlinkSync(file)
    const [pid, startTime] = held.trim().split(' ')
    if (isRunning(Number(pid), startTime ?? '')) {
      throw new StackError(
        'ERR_STORE_LOCKED',
        `${path} is in use by process ${pid}: two nodes must not share a mirror; stop that process or give another directory`,
      )
    }
    unlinkSync(file)
  }
  throw new StackError('ERR_STORE_LOCKED', `${path} is fought over by starting nodes: start one`)
}

const LMDB_MAGIC = 0xbeefc0de
const LMDB_DATA_VERSION = 2
const META_AT = 24
const META_LENGTH = 24 + 136
// The last pages of a transaction may have been given back before they were ever written.
const UNWRITTEN_TAIL = 1024 * 1024

/** Opens the LMDB file at `file` within `directory`. Throws ERR_STORE_CORRUPT rather than letting a damaged one crash. */
export function openDatabase(
  directory: string,
  name: string,
  options: RootDatabaseOptionsWithPath,
): RootDatabase<Uint8Array, Key> {
  const file = join(directory, name)
  checkDatabase(directory, name)
  try {
    return open<Uint8Array, Key>({
      ...options,
      path: file,
      noSubdir: true,
      encoding: 'binary',
      keyEncoding: 'binary',
    })
  } catch (cause) {
    throw corrupt(directory, `${name}: ${(cause as Error).message}`, cause)
  }
}

function checkDatabase(directory: string, name: string): void {
  const file = join(directory, name)
  if (!existsSync(file)) return
  const { size } = statSync(file)
  if (size === 0) return
  const first = readMeta(file, 0)
  if (first === null) throw corrupt(directory, `${name} is no LMDB file`)
  const second = readMeta(file, first.pageSize)
  if (second === null) throw corrupt(directory, `${name} has lost its second meta page`)
  const { pages, pageSize } = second.transaction > first.transaction ? second : first
  if (size + UNWRITTEN_TAIL < pages * pageSize) {
    throw corrupt(directory, `${name} is cut: ${size} octets instead of ${pages * pageSize}`)
  }
}

interface Meta {
  readonly pageSize: number
  readonly pages: number
  readonly transaction: number
}

function readMeta(file: string, at: number): Meta | null {
  const bytes = Buffer.alloc(META_LENGTH)
  const descriptor = openSync(file, 'r')
  try {
    if (readSync(descriptor, bytes, 0, META_LENGTH, at) < META_LENGTH) return null
  } finally {
    closeSync(descriptor)
  }
  // LMDB writes the host's byte order; every platform of this program is little-endian.
  if (bytes.readUInt32LE(META_AT) !== LMDB_MAGIC) return null
  if ((bytes.readUInt32LE(META_AT + 4) & 0xffff) !== LMDB_DATA_VERSION) return null
  const pageSize = bytes.readUInt32LE(48)
  if (pageSize < 512 || pageSize > 65536 || (pageSize & (pageSize - 1)) !== 0) return null
  const pages = Number(bytes.readBigUInt64LE(0x90)) + 1
  return { pageSize, pages, transaction: Number(bytes.readBigUInt64LE(0x98)) }
}
