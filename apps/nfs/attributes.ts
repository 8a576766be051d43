/**
 * Attributes of files as NFSv3 has them (RFC 1813 §2.6): fattr3, sattr3, and what is told of a file beside a result.
 */
import type { BigIntStats } from 'node:fs'
import type { HandleKey } from './handles.js'
import { statusOf } from './status.js'
import type { NewAttributes, Tree } from './tree.js'
import type { XdrReader, XdrWriter } from './xdr.js'

/** ftype3, which RFC 7530 has kept. */
export const FileType = { REG: 1, DIR: 2, BLK: 3, CHR: 4, LNK: 5, SOCK: 6, FIFO: 7 } as const

export function typeOf(stat: BigIntStats): number {
  if (stat.isFile()) return FileType.REG
  if (stat.isDirectory()) return FileType.DIR
  if (stat.isSymbolicLink()) return FileType.LNK
  if (stat.isBlockDevice()) return FileType.BLK
  if (stat.isCharacterDevice()) return FileType.CHR
  return stat.isSocket() ? FileType.SOCK : FileType.FIFO
}

/** The device number of a file as a client has it: major and minor. */
export function deviceOf(rdev: bigint): [major: number, minor: number] {
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xffff_f000n)
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & 0xffff_ff00n)
  return [Number(major), Number(minor)]
}

const SECOND = 1_000_000_000n

function writeTime(out: XdrWriter, ns: bigint): void {
  out.u32(Number(BigInt.asUintN(32, ns / SECOND))).u32(Number(ns % SECOND))
}

export function writeAttributes(out: XdrWriter, stat: BigIntStats): void {
  const [major, minor] = deviceOf(stat.rdev)
  out
    .u32(typeOf(stat))
    .u32(Number(stat.mode & 0o7777n))
    .u32(Number(stat.nlink))
  out
    .u32(Number(stat.uid))
    .u32(Number(stat.gid))
    .u64(stat.size)
    .u64(stat.blocks * 512n)
  out.u32(major).u32(minor).u64(stat.dev).u64(stat.ino)
  writeTime(out, stat.atimeNs)
  writeTime(out, stat.mtimeNs)
  writeTime(out, stat.ctimeNs)
}

/** post_op_attr: attributes of the file as it is now, or nothing when it cannot be found. */
export function writeLater(out: XdrWriter, tree: Tree, key: HandleKey | null): void {
  const stat = statOf(tree, key)
  out.bool(stat !== null)
  if (stat !== null) writeAttributes(out, stat)
}

/** The file's attributes, or null when it cannot be found. */
export function statOf(tree: Tree, key: HandleKey | null): BigIntStats | null {
  if (key === null) return null
  try {
    return tree.files.find(key).stat
  } catch (error) {
    statusOf(error)
    return null
  }
}

/** wcc_data: what the file was `before`, and what it is now. */
export function writeChange(
  out: XdrWriter,
  tree: Tree,
  key: HandleKey | null,
  before: BigIntStats | null,
): void {
  out.bool(before !== null)
  if (before !== null) {
    out.u64(before.size)
    writeTime(out, before.mtimeNs)
    writeTime(out, before.ctimeNs)
  }
  writeLater(out, tree, key)
}

/** sattr3. */
export function readNewAttributes(args: XdrReader): NewAttributes {
  const optional = () => (args.bool() ? args.u32() : null)
  return {
    mode: maskMode(optional()),
    uid: optional(),
    gid: optional(),
    size: args.bool() ? args.u64() : null,
    atime: readNewTime(args),
    mtime: readNewTime(args),
  }
}

/** The bits of a mode that mean something: Node ends the process for others. */
export function maskMode(mode: number | null): number | null {
  return mode === null ? null : mode & 0o7777
}

function readNewTime(args: XdrReader): number | 'now' | null {
  const how = args.u32()
  if (how === 0) return null
  if (how === 1) return 'now'
  return readTime(args)
}

/** nfstime3, in seconds. */
export function readTime(args: XdrReader): number {
  return args.u32() + args.u32() / 1e9
}

/** sattrguard3: the ctime in nanoseconds that the file must have, or null. */
export function readGuard(args: XdrReader): bigint | null {
  return args.bool() ? BigInt(args.u32()) * SECOND + BigInt(args.u32()) : null
}

/** Octets of a handle in NFSv3 at most. */
export const MAX_HANDLE = 64

/** Runs `body`; when it fails, only the status that `fail` is given shows of it. */
export function attempt(out: XdrWriter, body: () => void, fail: (status: number) => void): void {
  const start = out.length
  try {
    body()
  } catch (error) {
    const status = statusOf(error)
    out.truncate(start)
    fail(status)
  }
}
