/**
 * The files that are served: what both versions of NFS do with them. Names are octets in latin1. Everything is done at once,
 * with the rights of the server's own user; errors are NfsError or those of the file system.
 */
import * as fs from 'node:fs'
import { type HandleKey, Handles } from './handles.js'
import type { Journal } from './journal.js'
import { type Found, type OpenFiles, octets } from './open-files.js'
import { NfsError, Status } from './status.js'

const { O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW } = fs.constants

const MAX_NAME = 255

/** What a client wants to change; null leaves it as it is. */
export interface NewAttributes {
  readonly mode: number | null
  readonly uid: number | null
  readonly gid: number | null
  readonly size: bigint | null
  /** Seconds since 1970. */
  readonly atime: number | 'now' | null
  readonly mtime: number | 'now' | null
}

export const NO_ATTRIBUTES: NewAttributes = {
  mode: null,
  uid: null,
  gid: null,
  size: null,
  atime: null,
  mtime: null,
}

/** How a file is made (RFC 1813 §3.3.8): a verifier is of eight octets. */
export type CreateMode = 'unchecked' | 'guarded' | Uint8Array

export class Tree {
  readonly files: OpenFiles

  constructor(files: OpenFiles) {
    this.files = files
  }

  get root(): Found {
    return this.files.find(this.files.rootKey)
  }

  /** The file that a client's handle means. Throws BADHANDLE, STALE. */
  at(handle: Uint8Array): Found {
    return this.files.find(Handles.read(handle))
  }

  /** The entry `name` of a folder, which can be found by its handle from now on. */
  entry(folder: HandleKey, name: string): Found {
    const found = this.glance(folder, name)
    if (name !== '.' && name !== '..') this.files.handles.seen(found.key, [folder, name])
    return found
  }

  /** The same for who does not tell the client its handle. */
  glance(folder: HandleKey, name: string): Found {
    if (name === '.') return this.files.find(folder)
    if (name === '..') return this.parent(folder)
    const path = `${this.files.folder(folder)}/${checked(name)}`
    const stat = fs.lstatSync(octets(path), { bigint: true })
    return { key: this.files.handles.keyOf(stat), path, stat }
  }

  /** The folder above; the root is above itself. */
  parent(folder: HandleKey): Found {
    if (folder === this.files.rootKey) return this.root
    const [place] = this.files.handles.placesOf(folder)
    if (place === undefined) throw new NfsError(Status.STALE)
    return this.files.find(place[0])
  }

  /** Reads into `into` from `offset`, and returns how many octets it got. */
  read(key: HandleKey, offset: bigint, into: Buffer): number {
    const fd = this.files.file(key, false)
    if (offset > MAX_OFFSET) return 0
    let length = 0
    while (length < into.length) {
      const got = fs.readSync(fd, into, length, into.length - length, Number(offset) + length)
      if (got === 0) break
      length += got
    }
    return length
  }

  /** Writes all of `data`; with `stable` it is on the disk afterwards. */
  write(key: HandleKey, offset: bigint, data: Uint8Array, stable: 'no' | 'data' | 'file'): void {
    const fd = this.files.file(key, true)
    if (offset + BigInt(data.length) > MAX_OFFSET) throw new NfsError(Status.FBIG)
    let length = 0
    while (length < data.length) {
      length += fs.writeSync(fd, data, length, data.length - length, Number(offset) + length)
    }
    if (stable === 'data') fs.fdatasyncSync(fd)
    if (stable === 'file') fs.fsyncSync(fd)
  }

  /** Puts what was written on the disk. */
  commit(key: HandleKey): void {
    fs.fsyncSync(this.files.file(key, false))
  }

  set(key: HandleKey, wanted: NewAttributes): void {
    const { path, stat } = this.files.find(key)
    const { mode, uid, gid, size, atime, mtime } = wanted
    const owner = [uid ?? -1, gid ?? -1] as const
    const times = [timeOf(atime, stat.atimeNs), timeOf(mtime, stat.mtimeNs)] as const
    const setsTimes = atime !== null || mtime !== null
    if (stat.isFile() || stat.isDirectory()) {
      if (size !== null) this.#truncate(key, size)
      const at = octets(stat.isDirectory() ? `${this.files.folder(key)}/.` : this.#reach(key))
      // In this order, as a change of owner takes the set-uid bits away.
      if (uid !== null || gid !== null) fs.chownSync(at, ...owner)
      if (mode !== null) fs.chmodSync(at, mode)
      if (setsTimes) fs.utimesSync(at, ...times)
      return
    }
    if (size !== null) throw new NfsError(Status.INVAL)
    // The mode of a link means nothing, and it is reached by its name: only a file that is open stands in the way of that.
    if (mode !== null && !stat.isSymbolicLink()) throw new NfsError(Status.INVAL)
    if (uid !== null || gid !== null) fs.lchownSync(octets(path), ...owner)
    if (setsTimes) fs.lutimesSync(octets(path), ...times)
  }

  // A path that leads to the open file itself, whatever has its name by now.
  #reach(key: HandleKey): string {
    return `/proc/self/fd/${this.files.file(key, false)}`
  }

  #truncate(key: HandleKey, size: bigint): void {
    if (size > MAX_OFFSET) throw new NfsError(Status.FBIG)
    fs.ftruncateSync(this.files.file(key, true), Number(size))
  }

  /** Makes a regular file, or takes the one that is there when `mode` allows. */
  create(
    folder: HandleKey,
    name: string,
    mode: CreateMode,
    wanted: NewAttributes,
    journal: Journal,
  ): Found {
    const path = octets(this.#fresh(folder, name))
    if (mode === 'unchecked') {
      const wasThere = exists(path)
      if (!wasThere) makeFile(path, wanted)
      const found = this.entry(folder, name)
      if (!found.stat.isFile()) throw new NfsError(Status.EXIST)
      const { size } = wanted
      this.set(found.key, wasThere ? { ...NO_ATTRIBUTES, size } : { ...wanted, mode: null })
      return this.files.find(found.key)
    }
    const verifier = mode === 'guarded' ? null : verifierTimes(mode)
    const wasThere = journal.before(() => exists(path))
    if (!exists(path)) makeFile(path, wanted)
    else if (wasThere && !(verifier !== null && hasTimes(path, verifier))) {
      throw new NfsError(Status.EXIST)
    }
    const found = this.entry(folder, name)
    if (!found.stat.isFile()) throw new NfsError(Status.EXIST)
    if (verifier !== null) this.set(found.key, { ...NO_ATTRIBUTES, ...verifier })
    else this.set(found.key, { ...wanted, mode: null })
    return this.files.find(found.key)
  }

  mkdir(folder: HandleKey, name: string, wanted: NewAttributes, journal: Journal): Found {
    const path = octets(this.#fresh(folder, name))
    const wasThere = journal.before(() => exists(path))
    if (!exists(path)) fs.mkdirSync(path, { mode: wanted.mode ?? 0o777 })
    else if (wasThere) throw new NfsError(Status.EXIST)
    const found = this.entry(folder, name)
    if (!found.stat.isDirectory()) throw new NfsError(Status.EXIST)
    this.set(found.key, { ...wanted, size: null })
    return this.files.find(found.key)
  }

  symlink(folder: HandleKey, name: string, target: string, journal: Journal): Found {
    if (target.length === 0 || target.includes('\0')) throw new NfsError(Status.INVAL)
    const path = octets(this.#fresh(folder, name))
    const wasThere = journal.before(() => exists(path))
    if (!exists(path)) fs.symlinkSync(octets(target), path)
    else if (wasThere) throw new NfsError(Status.EXIST)
    const found = this.entry(folder, name)
    if (!found.stat.isSymbolicLink()) throw new NfsError(Status.EXIST)
    return found
  }

  readlink(key: HandleKey): string {
    const { path, stat } = this.files.find(key)
    if (!stat.isSymbolicLink()) throw new NfsError(Status.INVAL)
    return fs.readlinkSync(octets(path), 'latin1')
  }

  /** `kind`: what may be removed; null: either. */
  remove(folder: HandleKey, name: string, kind: 'file' | 'folder' | null, journal: Journal): void {
    const path = octets(`${this.files.folder(folder)}/${checkedEntry(name)}`)
    const before = journal.before(() => this.#keyAt(path))
    const now = this.#keyAt(path)
    if (before !== null && now !== before) {
      this.#removed(before, folder, name)
      return
    }
    const stat = fs.lstatSync(path, { bigint: true })
    if (kind === 'folder' && !stat.isDirectory()) throw new NfsError(Status.NOTDIR)
    if (kind === 'file' && stat.isDirectory()) throw new NfsError(Status.ISDIR)
    if (stat.isDirectory()) fs.rmdirSync(path)
    else fs.unlinkSync(path)
    this.#removed(this.files.handles.keyOf(stat), folder, name)
  }

  rename(from: HandleKey, name: string, to: HandleKey, newName: string, journal: Journal): void {
    const source = octets(`${this.files.folder(from)}/${checkedEntry(name)}`)
    const target = octets(this.#fresh(to, newName))
    const before = journal.before(() => [this.#keyAt(source), this.#keyAt(target)])
    const moved = before[0] ?? null
    const replaced = before[1] ?? null
    const isDone = moved !== null && this.#keyAt(source) === null && this.#keyAt(target) === moved
    if (!isDone) fs.renameSync(source, target)
    // Two names of one file: both stay.
    if (moved === null || moved === replaced) return
    if (replaced !== null) this.#removed(replaced, to, newName)
    this.files.handles.seen(moved, [to, newName])
    this.files.handles.gone(moved, [from, name])
  }

  link(key: HandleKey, folder: HandleKey, name: string, journal: Journal): void {
    const { stat } = this.files.find(key)
    if (stat.isDirectory()) throw new NfsError(Status.ISDIR)
    const target = octets(this.#fresh(folder, name))
    const before = journal.before(() => this.#keyAt(target))
    if (before !== null) throw new NfsError(Status.EXIST)
    if (this.#keyAt(target) !== key) fs.linkSync(octets(this.#nameOf(key)), target)
    this.files.handles.seen(key, [folder, name])
  }

  /** Which of reading, writing and executing (or searching) the server's user may do. */
  access(key: HandleKey): { read: boolean; write: boolean; execute: boolean } {
    const { path, stat } = this.files.find(key)
    if (stat.isSymbolicLink()) return { read: true, write: true, execute: true }
    const { R_OK, W_OK, X_OK } = fs.constants
    return { read: may(path, R_OK), write: may(path, W_OK), execute: may(path, X_OK) }
  }

  space(key: HandleKey): fs.BigIntStatsFs {
    const { path, stat } = this.files.find(key)
    const at = stat.isSymbolicLink() ? this.root.path : path
    return fs.statfsSync(octets(at), { bigint: true })
  }

  // A path by a name of the file, since a link cannot be made of an open one.
  #nameOf(key: HandleKey): string {
    for (const [folder, name] of this.files.handles.placesOf(key)) {
      const path = `${this.files.folder(folder)}/${name}`
      if (this.#keyAt(octets(path)) === key) return path
    }
    throw new NfsError(Status.STALE)
  }

  #keyAt(path: Buffer): HandleKey | null {
    const stat = fs.lstatSync(path, { bigint: true, throwIfNoEntry: false })
    return stat === undefined ? null : this.files.handles.keyOf(stat)
  }

  // The path of an entry that may be there or not.
  #fresh(folder: HandleKey, name: string): string {
    return `${this.files.folder(folder)}/${checkedEntry(name)}`
  }

  #removed(key: HandleKey, folder: HandleKey, name: string): void {
    this.files.handles.gone(key, [folder, name])
    if (this.files.handles.placesOf(key).length === 0) this.files.forget(key)
  }
}

const MAX_OFFSET = BigInt(Number.MAX_SAFE_INTEGER)

function may(path: string, mode: number): boolean {
  try {
    fs.accessSync(octets(path), mode)
    return true
  } catch {
    return false
  }
}

// Throws for what cannot be the name of an entry.
function checked(name: string): string {
  if (name.length > MAX_NAME) throw new NfsError(Status.NAMETOOLONG)
  if (name === '' || name.includes('/') || name.includes('\0')) throw new NfsError(Status.INVAL)
  return name
}

// The same for a name that is made or removed.
function checkedEntry(name: string): string {
  if (name === '.' || name === '..') throw new NfsError(Status.INVAL)
  return checked(name)
}

function exists(path: Buffer): boolean {
  return fs.lstatSync(path, { throwIfNoEntry: false }) !== undefined
}

function makeFile(path: Buffer, { mode }: NewAttributes): void {
  fs.closeSync(fs.openSync(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode ?? 0o666))
  // The umask is the server's, and the client has applied its own.
  if (mode !== null) fs.chmodSync(path, mode)
}

function timeOf(wanted: number | 'now' | null, now: bigint): number {
  if (wanted === 'now') return Date.now() / 1000
  return wanted ?? Number(now) / 1e9
}

// RFC 1813 §3.3.8: the verifier of an exclusive creation lies in the file's times until the client sets them. Some file
// systems keep 31 bits of seconds.
function verifierTimes(verifier: Uint8Array): { atime: number; mtime: number } {
  const bytes = Buffer.from(verifier)
  return { atime: bytes.readUInt32BE(0) & 0x7fff_ffff, mtime: bytes.readUInt32BE(4) & 0x7fff_ffff }
}

function hasTimes(path: Buffer, { atime, mtime }: { atime: number; mtime: number }): boolean {
  const stat = fs.lstatSync(path)
  return stat.atimeMs === atime * 1000 && stat.mtimeMs === mtime * 1000
}
