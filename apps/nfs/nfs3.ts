/**
 * NFS version 3 (RFC 1813 §3): reading, writing, and what is told of files. Names are in nfs3-names.ts.
 */
import type { BigIntStats } from 'node:fs'
import {
  attempt,
  readGuard,
  readNewAttributes,
  statOf,
  writeAttributes,
  writeChange,
  writeLater,
} from './attributes.js'
import type { HandleKey } from './handles.js'
import { MAX_FILE_SIZE, MAX_TRANSFER, type Nfs3Context, readHandle } from './nfs3-context.js'
import { NAMES3 } from './nfs3-names.js'
import type { Procedure, Program } from './rpc.js'
import { NfsError, Status } from './status.js'
import type { Tree } from './tree.js'

/** Octets that a folder is best read in. */
const LISTING_TRANSFER = 64 * 1024
/** RFC 1813 §3.3.19: hard links, symbolic links, one set of values for all files, and times that can be set. */
const FSF_ALL = 0x1b

type Procedure3 = Procedure<Nfs3Context>

const ACCESS3 = { READ: 1, LOOKUP: 2, MODIFY: 4, EXTEND: 8, DELETE: 16, EXECUTE: 32 } as const

const getattr: Procedure3 = ({ tree }, args, out) => {
  const file = readHandle(args)
  attempt(
    out,
    () => writeAttributes(out.u32(Status.OK), tree.files.find(file.require()).stat),
    (status) => out.u32(status),
  )
}

const setattr: Procedure3 = ({ tree, journal }, args, out) => {
  const file = readHandle(args)
  const wanted = readNewAttributes(args)
  const guard = readGuard(args)
  const before = statOf(tree, file.key)
  attempt(
    out,
    () => {
      const key = file.require()
      const { stat } = tree.files.find(key)
      // A change of its own changes the time: only the first look counts.
      if (guard !== null && !journal.before(() => stat.ctimeNs === guard)) {
        throw new NfsError(Status.NOT_SYNC)
      }
      tree.set(key, wanted)
      writeChange(out.u32(Status.OK), tree, key, before)
    },
    (status) => writeChange(out.u32(status), tree, file.key, before),
  )
}

const access: Procedure3 = ({ tree }, args, out) => {
  const file = readHandle(args)
  const wanted = args.u32()
  attempt(
    out,
    () => {
      const key = file.require()
      const { stat } = tree.files.find(key)
      writeLater(out.u32(Status.OK), tree, key)
      out.u32(wanted & accessBits(tree, key, stat))
    },
    (status) => writeLater(out.u32(status), tree, file.key),
  )
}

/** The bits of ACCESS (RFC 1813 §3.3.4, RFC 7530 §16.1) that are granted. */
export function accessBits(tree: Tree, key: HandleKey, stat: BigIntStats): number {
  const { read, write, execute } = tree.access(key)
  const folder = stat.isDirectory()
  let bits = read ? ACCESS3.READ : 0
  if (write) bits |= ACCESS3.MODIFY | ACCESS3.EXTEND | (folder ? ACCESS3.DELETE : 0)
  if (execute) bits |= folder ? ACCESS3.LOOKUP : ACCESS3.EXECUTE
  return bits
}

const readlink: Procedure3 = ({ tree }, args, out) => {
  const file = readHandle(args)
  attempt(
    out,
    () => {
      const target = tree.readlink(file.require())
      writeLater(out.u32(Status.OK), tree, file.key)
      out.text(target)
    },
    (status) => writeLater(out.u32(status), tree, file.key),
  )
}

const read: Procedure3 = ({ tree }, args, out) => {
  const file = readHandle(args)
  const offset = args.u64()
  const count = Math.min(args.u32(), MAX_TRANSFER)
  attempt(
    out,
    () => {
      const key = file.require()
      const { stat } = tree.files.find(key)
      out.u32(Status.OK).bool(true)
      writeAttributes(out, stat)
      const countAt = out.length
      out.u32(0).bool(false)
      const left = stat.size > offset ? Number(stat.size - offset) : 0
      const length = out.fill(Math.min(count, left), (into) => tree.read(key, offset, into))
      out.patch(countAt, length)
      out.patch(countAt + 4, offset + BigInt(length) >= stat.size ? 1 : 0)
    },
    (status) => writeLater(out.u32(status), tree, file.key),
  )
}

const STABLE = ['no', 'data', 'file'] as const

const write: Procedure3 = ({ tree, writeVerifier }, args, out) => {
  const file = readHandle(args)
  const offset = args.u64()
  const count = args.u32()
  const stable = args.u32()
  const data = args.opaque(MAX_TRANSFER)
  const before = statOf(tree, file.key)
  attempt(
    out,
    () => {
      const key = file.require()
      const how = STABLE[stable]
      if (how === undefined || count > data.length) throw new NfsError(Status.INVAL)
      tree.write(key, offset, data.subarray(0, count), how)
      writeChange(out.u32(Status.OK), tree, key, before)
      out.u32(count).u32(stable).fixed(writeVerifier)
    },
    (status) => writeChange(out.u32(status), tree, file.key, before),
  )
}

const fsstat: Procedure3 = ({ tree }, args, out) => {
  const file = readHandle(args)
  attempt(
    out,
    () => {
      const { bsize, blocks, bfree, bavail, files, ffree } = tree.space(file.require())
      writeLater(out.u32(Status.OK), tree, file.key)
      for (const size of [blocks, bfree, bavail]) out.u64(size * bsize)
      out.u64(files).u64(ffree).u64(ffree).u32(0)
    },
    (status) => writeLater(out.u32(status), tree, file.key),
  )
}

const fsinfo: Procedure3 = ({ tree }, args, out) => {
  const file = readHandle(args)
  attempt(
    out,
    () => {
      tree.files.find(file.require())
      writeLater(out.u32(Status.OK), tree, file.key)
      for (let i = 0; i < 2; i++) out.u32(MAX_TRANSFER).u32(MAX_TRANSFER).u32(4096)
      out.u32(LISTING_TRANSFER).u64(MAX_FILE_SIZE).u32(0).u32(1).u32(FSF_ALL)
    },
    (status) => writeLater(out.u32(status), tree, file.key),
  )
}

const pathconf: Procedure3 = ({ tree }, args, out) => {
  const file = readHandle(args)
  attempt(
    out,
    () => {
      tree.files.find(file.require())
      writeLater(out.u32(Status.OK), tree, file.key)
      // linkmax, name_max, no_trunc, chown_restricted, case_insensitive, case_preserving
      out.u32(32_000).u32(255).bool(true).bool(true).bool(false).bool(true)
    },
    (status) => writeLater(out.u32(status), tree, file.key),
  )
}

const commit: Procedure3 = ({ tree, settle, writeVerifier }, args, out) => {
  const file = readHandle(args)
  // The part that is meant: all of the file is put on the disk.
  args.u64()
  args.u32()
  const before = statOf(tree, file.key)
  attempt(
    out,
    () => {
      const key = file.require()
      tree.files.file(key, false)
      settle(key)
      tree.commit(key)
      writeChange(out.u32(Status.OK), tree, file.key, before)
      out.fixed(writeVerifier)
    },
    (status) => writeChange(out.u32(status), tree, file.key, before),
  )
}

/** The procedure that may have to wait for the disk. */
export const COMMIT3 = 21

export const NFS3: Program<Nfs3Context> = {
  0: () => undefined,
  1: getattr,
  2: setattr,
  4: access,
  5: readlink,
  6: read,
  7: write,
  18: fsstat,
  19: fsinfo,
  20: pathconf,
  [COMMIT3]: commit,
  ...NAMES3,
}

/** Procedures that must not be carried out twice. */
export const CHANGES3: ReadonlySet<number> = new Set([2, 8, 9, 10, 11, 12, 13, 14, 15])
