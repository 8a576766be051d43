/**
 * NFS version 3 (RFC 1813 §3): procedures about names in folders.
 */
import {
  attempt,
  readNewAttributes,
  statOf,
  writeAttributes,
  writeChange,
  writeLater,
} from './attributes.js'
import { type HandleKey, Handles } from './handles.js'
import { entryOf } from './listing.js'
import { type GivenHandle, type Nfs3Context, readHandle } from './nfs3-context.js'
import type { Found } from './open-files.js'
import type { Procedure, Program } from './rpc.js'
import { NfsError, Status } from './status.js'
import { type CreateMode, NO_ATTRIBUTES, type Tree } from './tree.js'
import type { XdrReader, XdrWriter } from './xdr.js'

type Procedure3 = Procedure<Nfs3Context>

/** Octets of a name as it comes; longer ones than a file system has are refused with a status. */
const MAX_NAME_ARGUMENT = 4096
const MAX_TARGET = 4096
/** Octets of a listing at most. */
const MAX_LISTING = 256 * 1024
const COOKIE_VERIFIER = new Uint8Array(8)
const SYMLINK_TYPES = new Set([3, 4, 6, 7])

function readName(args: XdrReader): string {
  return args.text(MAX_NAME_ARGUMENT)
}

const lookup: Procedure3 = ({ tree }, args, out) => {
  const folder = readHandle(args)
  const name = readName(args)
  attempt(
    out,
    () => {
      const found = tree.entry(folder.require(), name)
      out.u32(Status.OK).opaque(Handles.write(found.key)).bool(true)
      writeAttributes(out, found.stat)
      writeLater(out, tree, folder.key)
    },
    (status) => writeLater(out.u32(status), tree, folder.key),
  )
}

/** Answers for a procedure that makes an entry of a folder. */
function making(
  out: XdrWriter,
  tree: Tree,
  folder: GivenHandle,
  make: (folder: HandleKey) => Found,
): void {
  const before = statOf(tree, folder.key)
  attempt(
    out,
    () => {
      const found = make(folder.require())
      out.u32(Status.OK).bool(true).opaque(Handles.write(found.key)).bool(true)
      writeAttributes(out, found.stat)
      writeChange(out, tree, folder.key, before)
    },
    (status) => writeChange(out.u32(status), tree, folder.key, before),
  )
}

const create: Procedure3 = ({ tree, journal }, args, out) => {
  const folder = readHandle(args)
  const name = readName(args)
  const how = args.u32()
  const wanted = how < 2 ? readNewAttributes(args) : NO_ATTRIBUTES
  const mode: CreateMode = how === 0 ? 'unchecked' : how === 1 ? 'guarded' : args.fixed(8)
  making(out, tree, folder, (key) => tree.create(key, name, mode, wanted, journal))
}

const mkdir: Procedure3 = ({ tree, journal }, args, out) => {
  const folder = readHandle(args)
  const name = readName(args)
  const wanted = readNewAttributes(args)
  making(out, tree, folder, (key) => tree.mkdir(key, name, wanted, journal))
}

const symlink: Procedure3 = ({ tree, journal }, args, out) => {
  const folder = readHandle(args)
  const name = readName(args)
  readNewAttributes(args)
  const target = args.text(MAX_TARGET)
  making(out, tree, folder, (key) => tree.symlink(key, name, target, journal))
}

const mknod: Procedure3 = ({ tree }, args, out) => {
  const folder = readHandle(args)
  readName(args)
  const status = SYMLINK_TYPES.has(args.u32()) ? Status.NOTSUPP : Status.BADTYPE
  writeChange(out.u32(status), tree, folder.key, statOf(tree, folder.key))
}

function removing(kind: 'file' | 'folder'): Procedure3 {
  return ({ tree, journal }, args, out) => {
    const folder = readHandle(args)
    const name = readName(args)
    const before = statOf(tree, folder.key)
    attempt(
      out,
      () => {
        tree.remove(folder.require(), name, kind, journal)
        writeChange(out.u32(Status.OK), tree, folder.key, before)
      },
      (status) => writeChange(out.u32(status), tree, folder.key, before),
    )
  }
}

const rename: Procedure3 = ({ tree, journal }, args, out) => {
  const from = readHandle(args)
  const name = readName(args)
  const to = readHandle(args)
  const newName = readName(args)
  const before = statOf(tree, from.key)
  const toBefore = statOf(tree, to.key)
  const told = (status: number) => {
    writeChange(out.u32(status), tree, from.key, before)
    writeChange(out, tree, to.key, toBefore)
  }
  attempt(
    out,
    () => {
      tree.rename(from.require(), name, to.require(), newName, journal)
      told(Status.OK)
    },
    told,
  )
}

const link: Procedure3 = ({ tree, journal }, args, out) => {
  const file = readHandle(args)
  const folder = readHandle(args)
  const name = readName(args)
  const before = statOf(tree, folder.key)
  const told = (status: number) => {
    writeLater(out.u32(status), tree, file.key)
    writeChange(out, tree, folder.key, before)
  }
  attempt(
    out,
    () => {
      tree.link(file.require(), folder.require(), name, journal)
      told(Status.OK)
    },
    told,
  )
}

/** Cookies of the two entries that every folder has. */
const SELF = 1
const PARENT = 2

function readCookie(args: XdrReader): number {
  const cookie = args.u64()
  args.fixed(8)
  return cookie > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(cookie)
}

/** Everything in a folder behind `cookie`, `.` and `..` among it. */
function* entriesOf(
  { tree, listings }: Nfs3Context,
  folder: HandleKey,
  cookie: number,
): Iterable<{ name: string; cookie: number }> {
  if (!tree.files.find(folder).stat.isDirectory()) throw new NfsError(Status.NOTDIR)
  if (cookie < SELF) yield { name: '.', cookie: SELF }
  if (cookie < PARENT) yield { name: '..', cookie: PARENT }
  yield* listings.behind(folder, cookie)
}

/** Writes entries by `each` as long as they leave the answer within `limit` octets from here. */
function writeEntries(
  context: Nfs3Context,
  folder: HandleKey,
  cookie: number,
  out: XdrWriter,
  limit: number,
  each: (name: string, cookie: number) => boolean,
): void {
  writeLater(out.u32(Status.OK), context.tree, folder)
  out.fixed(COOKIE_VERIFIER)
  const end = out.length + Math.min(limit, MAX_LISTING) - 8
  let count = 0
  for (const entry of entriesOf(context, folder, cookie)) {
    const before = out.length
    const goesOn = each(entry.name, entry.cookie)
    if (out.length > end || !goesOn) {
      out.truncate(before)
      if (count === 0) throw new NfsError(Status.TOOSMALL)
      out.bool(false).bool(false)
      return
    }
    count++
  }
  out.bool(false).bool(true)
}

const readdir: Procedure3 = (context, args, out) => {
  const { tree } = context
  const folder = readHandle(args)
  const cookie = readCookie(args)
  const count = args.u32()
  attempt(
    out,
    () => {
      const key = folder.require()
      writeEntries(context, key, cookie, out, count - 100, (name, at) => {
        const ino = inodeOf(tree, key, name)
        if (ino !== null) out.bool(true).u64(ino).text(name).u64(BigInt(at))
        return true
      })
    },
    (status) => writeLater(out.u32(status), tree, folder.key),
  )
}

const readdirplus: Procedure3 = (context, args, out) => {
  const { tree } = context
  const folder = readHandle(args)
  const cookie = readCookie(args)
  let room = args.u32()
  const limit = args.u32() - 100
  attempt(
    out,
    () => {
      const key = folder.require()
      writeEntries(context, key, cookie, out, limit, (name, at) => {
        const found = entryOf(tree, key, name, true)
        if (found === null) return true
        out.bool(true).u64(found.stat.ino).text(name).u64(BigInt(at))
        room -= 24 + name.length
        out.bool(true)
        writeAttributes(out, found.stat)
        out.bool(true).opaque(Handles.write(found.key))
        return room >= 0
      })
    },
    (status) => writeLater(out.u32(status), tree, folder.key),
  )
}

function inodeOf(tree: Tree, folder: HandleKey, name: string): bigint | null {
  return entryOf(tree, folder, name, false)?.stat.ino ?? null
}

export const NAMES3: Program<Nfs3Context> = {
  3: lookup,
  8: create,
  9: mkdir,
  10: symlink,
  11: mknod,
  12: removing('file'),
  13: removing('folder'),
  14: rename,
  15: link,
  16: readdir,
  17: readdirplus,
}
