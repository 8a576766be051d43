/**
 * Open files, by handle. A folder is held open and its entries are reached through /proc/self/fd, so that no folder on the way
 * can be exchanged for a link that leads out of what is served; no link is ever followed.
 */
import * as fs from 'node:fs'
import type { HandleKey, Handles } from './handles.js'
import { NfsError, Status } from './status.js'

const { O_RDONLY, O_RDWR, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK } = fs.constants

/** Files that are held open at once. */
const MAX_OPEN = 512
/** Folders below each other at most: less than MAX_OPEN, so that those of one path are open together. */
const MAX_DEPTH = 100
const IDLE_MS = 5000

interface OpenFile {
  readonly fd: number
  readonly folder: boolean
  readonly writable: boolean
  usedAt: number
}

/** A file as it is now: how to reach it, and its attributes. */
export interface Found {
  readonly key: HandleKey
  /** For calls of the file system, which must not follow a link at its end. */
  readonly path: string
  readonly stat: fs.BigIntStats
}

export class OpenFiles {
  readonly handles: Handles
  readonly rootKey: HandleKey
  readonly #rootFd: number
  readonly #now: () => number
  // The most recently used last.
  readonly #open = new Map<HandleKey, OpenFile>()

  /** `handlesOf` makes the table of handles once the root's device is known. */
  constructor(root: string, handlesOf: (device: bigint) => Handles, now: () => number) {
    this.#now = now
    this.#rootFd = fs.openSync(root, O_RDONLY | O_DIRECTORY)
    const stat = fs.fstatSync(this.#rootFd, { bigint: true })
    this.handles = handlesOf(stat.dev)
    this.rootKey = this.handles.keyOf(stat)
    setInterval(() => this.#closeIdle(), IDLE_MS).unref()
  }

  /** The file itself. Throws STALE when it is not to be found. */
  find(key: HandleKey): Found {
    if (key === this.rootKey) {
      const path = pathOf(this.#rootFd)
      return { key, path, stat: fs.fstatSync(this.#rootFd, { bigint: true }) }
    }
    const open = this.#held(key)
    if (open !== null) return { key, path: pathOf(open.fd), stat: open.stat }
    for (const [folder, name] of this.handles.placesOf(key)) {
      const found = this.#at(key, folder, name)
      if (found !== null) return found
    }
    throw new NfsError(Status.STALE)
  }

  /** A path of the folder; an entry's is behind a slash. Throws NOTDIR, STALE. */
  folder(key: HandleKey): string {
    return pathOf(this.#folderFd(key, 0))
  }

  /** A descriptor of the regular file, for as long as nothing else is opened. Throws ISDIR, INVAL, STALE, ACCES, ROFS. */
  file(key: HandleKey, forWriting: boolean): number {
    const held = this.#held(key)
    if (held !== null && !held.folder && (held.writable || !forWriting)) return held.fd
    const { path, stat } = this.find(key)
    if (!stat.isFile()) throw new NfsError(stat.isDirectory() ? Status.ISDIR : Status.INVAL)
    return this.#openFile(key, path, forWriting)
  }

  /** Lets go of the file, as it has been removed. */
  forget(key: HandleKey): void {
    const open = this.#open.get(key)
    if (open === undefined) return
    this.#open.delete(key)
    fs.closeSync(open.fd)
  }

  close(): void {
    for (const key of [...this.#open.keys()]) this.forget(key)
    fs.closeSync(this.#rootFd)
  }

  // The file by the name `name` in `folder`, or null when there is another or none.
  #at(key: HandleKey, folder: HandleKey, name: string): Found | null {
    try {
      const path = `${this.folder(folder)}/${name}`
      const stat = fs.lstatSync(octets(path), { bigint: true })
      return this.handles.keyOf(stat) === key ? { key, path, stat } : null
    } catch (error) {
      if (isGone(error)) return null
      throw error
    }
  }

  // What is open already; a file without a name any more is closed.
  #held(key: HandleKey): (OpenFile & { readonly stat: fs.BigIntStats }) | null {
    const open = this.#open.get(key)
    if (open === undefined) return null
    const stat = fs.fstatSync(open.fd, { bigint: true })
    if (stat.nlink === 0n) {
      this.forget(key)
      return null
    }
    open.usedAt = this.#now()
    this.#open.delete(key)
    this.#open.set(key, open)
    return { ...open, stat }
  }

  #folderFd(key: HandleKey, depth: number): number {
    if (key === this.rootKey) return this.#rootFd
    const held = this.#held(key)
    if (held !== null) {
      if (held.folder) return held.fd
      throw new NfsError(Status.NOTDIR)
    }
    if (depth > MAX_DEPTH) throw new NfsError(Status.NAMETOOLONG)
    for (const [parent, name] of this.handles.placesOf(key)) {
      const fd = this.#openFolder(key, parent, name, depth)
      if (fd !== null) return fd
    }
    throw new NfsError(Status.STALE)
  }

  #openFolder(key: HandleKey, parent: HandleKey, name: string, depth: number): number | null {
    try {
      const path = octets(`${pathOf(this.#folderFd(parent, depth + 1))}/${name}`)
      const stat = fs.lstatSync(path, { bigint: true })
      if (this.handles.keyOf(stat) !== key) return null
      if (!stat.isDirectory()) throw new NfsError(Status.NOTDIR)
      const fd = fs.openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
      return this.#keep(key, { fd, folder: true, writable: false, usedAt: this.#now() })
    } catch (error) {
      if (isGone(error)) return null
      throw error
    }
  }

  #openFile(key: HandleKey, path: string, forWriting: boolean): number {
    const flags = O_NOFOLLOW | O_NONBLOCK
    const usedAt = this.#now()
    // A path of the table of open files is itself a link: a descriptor is opened anew through it.
    const again = this.#open.has(key) ? 0 : flags
    let fd: number
    let writable = true
    try {
      fd = fs.openSync(octets(path), O_RDWR | again)
    } catch (error) {
      if (forWriting) throw error
      fd = fs.openSync(octets(path), O_RDONLY | again)
      writable = false
    }
    return this.#keep(key, { fd, folder: false, writable, usedAt })
  }

  // Takes `open` in when it is the file that is meant.
  #keep(key: HandleKey, open: OpenFile): number {
    const stat = fs.fstatSync(open.fd, { bigint: true })
    if (this.handles.keyOf(stat) !== key) {
      fs.closeSync(open.fd)
      throw new NfsError(Status.STALE)
    }
    this.forget(key)
    this.#open.set(key, open)
    if (this.#open.size > MAX_OPEN) this.forget(this.#open.keys().next().value as HandleKey)
    return open.fd
  }

  #closeIdle(): void {
    const before = this.#now() - IDLE_MS
    for (const [key, { usedAt }] of this.#open) if (usedAt < before) this.forget(key)
  }
}

/** A path for calls of the file system: its characters are octets. */
export function octets(path: string): Buffer {
  return Buffer.from(path, 'latin1')
}

function pathOf(fd: number): string {
  return `/proc/self/fd/${fd}`
}

// The file is not where it was: it may be elsewhere.
function isGone(error: unknown): boolean {
  if (error instanceof NfsError) return error.status === Status.STALE
  const { code } = error as NodeJS.ErrnoException
  return code === 'ENOENT' || code === 'ENOTDIR' || code === 'ELOOP'
}
