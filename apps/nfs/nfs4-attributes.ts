/**
 * Attributes of files as NFSv4 has them (RFC 7530 §5): each has a number, and a bitmap tells which are meant. Owners are numbers
 * in decimal, as RFC 7530 §5.9 allows.
 */
import type { BigIntStats, BigIntStatsFs } from 'node:fs'
import { deviceOf, maskMode, typeOf } from './attributes.js'
import { Handles } from './handles.js'
import { MAX_FILE_SIZE, MAX_TRANSFER } from './nfs3-context.js'
import { LEASE_SECONDS } from './nfs4-state.js'
import type { Found } from './open-files.js'
import { NfsError, Status } from './status.js'
import { type NewAttributes, NO_ATTRIBUTES, type Tree } from './tree.js'
import { type XdrReader, XdrWriter } from './xdr.js'

/** Words of a bitmap at most: more attributes than there are. */
const MAX_WORDS = 8
/** Octets of attribute values that a client gives at most. */
const MAX_VALUES = 4096
const MAX_OWNER = 1024
const SECOND = 1_000_000_000n

const SIZE = 4
const MODE = 33
export const FILEHANDLE = 19
const OWNER = 36
const OWNER_GROUP = 37
const TIME_ACCESS_SET = 48
const TIME_MODIFY_SET = 54
const WRITE_ONLY: ReadonlySet<number> = new Set([TIME_ACCESS_SET, TIME_MODIFY_SET])
/** Those that a client may set. */
const SETTABLE: ReadonlySet<number> = new Set([SIZE, MODE, OWNER, OWNER_GROUP, ...WRITE_ONLY])
/** Those that tell of an exclusive creation's verifier. */
export const VERIFIER_ATTRIBUTES = [TIME_ACCESS_SET, TIME_MODIFY_SET]

/** What values are taken from. */
interface Source {
  readonly key: string
  readonly stat: BigIntStats
  readonly space: BigIntStatsFs
}

type Write = (out: XdrWriter, source: Source) => void

function writeTime(out: XdrWriter, ns: bigint): void {
  out.u64(ns / SECOND).u32(Number(ns % SECOND))
}

const yes: Write = (out) => out.bool(true)
const no: Write = (out) => out.bool(false)
const nothing: Write = (out) => out.u32(0)

/** Attributes by number, in order. */
const READABLE: Readonly<Record<number, Write>> = {
  0: (out) => writeBitmap(out, SUPPORTED),
  1: (out, { stat }) => out.u32(typeOf(stat)),
  // fh_expire_type: never.
  2: nothing,
  3: (out, { stat }) => out.u64(changeOf(stat)),
  [SIZE]: (out, { stat }) => out.u64(stat.size),
  5: yes,
  6: yes,
  7: no,
  8: (out, { stat }) => out.u64(stat.dev).u64(0n),
  9: yes,
  10: (out) => out.u32(LEASE_SECONDS),
  11: nothing,
  13: nothing,
  15: yes,
  16: no,
  17: yes,
  18: yes,
  [FILEHANDLE]: (out, { key }) => out.opaque(Handles.write(key)),
  20: (out, { stat }) => out.u64(stat.ino),
  21: (out, { space }) => out.u64(space.ffree),
  22: (out, { space }) => out.u64(space.ffree),
  23: (out, { space }) => out.u64(space.files),
  26: yes,
  27: (out) => out.u64(MAX_FILE_SIZE),
  28: (out) => out.u32(32_000),
  29: (out) => out.u32(255),
  30: (out) => out.u64(BigInt(MAX_TRANSFER)),
  31: (out) => out.u64(BigInt(MAX_TRANSFER)),
  [MODE]: (out, { stat }) => out.u32(Number(stat.mode & 0o7777n)),
  34: yes,
  35: (out, { stat }) => out.u32(Number(stat.nlink)),
  [OWNER]: (out, { stat }) => out.text(String(stat.uid)),
  [OWNER_GROUP]: (out, { stat }) => out.text(String(stat.gid)),
  41: (out, { stat }) => {
    const [major, minor] = deviceOf(stat.rdev)
    out.u32(major).u32(minor)
  },
  42: (out, { space }) => out.u64(space.bavail * space.bsize),
  43: (out, { space }) => out.u64(space.bfree * space.bsize),
  44: (out, { space }) => out.u64(space.blocks * space.bsize),
  45: (out, { stat }) => out.u64(stat.blocks * 512n),
  47: (out, { stat }) => writeTime(out, stat.atimeNs),
  51: (out) => writeTime(out, 1n),
  52: (out, { stat }) => writeTime(out, stat.ctimeNs),
  53: (out, { stat }) => writeTime(out, stat.mtimeNs),
  55: (out, { stat }) => out.u64(stat.ino),
}

/** Numbers of all attributes that are known here. */
const SUPPORTED: readonly number[] = [...Object.keys(READABLE).map(Number), ...WRITE_ONLY].sort(
  (a, b) => a - b,
)

/** What tells one content of a file from another. */
export function changeOf(stat: BigIntStats): bigint {
  return stat.ctimeNs
}

/** The numbers in a bitmap, in order. */
export function readBitmap(args: XdrReader): number[] {
  const words = args.list(MAX_WORDS, () => args.u32())
  return words.flatMap((word, at) =>
    Array.from({ length: 32 }, (_, bit) => at * 32 + bit).filter((n) => (word >>> (n & 31)) & 1),
  )
}

export function writeBitmap(out: XdrWriter, numbers: readonly number[]): void {
  const words: number[] = []
  for (const number of numbers) {
    while (words.length <= number >> 5) words.push(0)
    words[number >> 5] = (words[number >> 5] ?? 0) | (1 << (number & 31))
  }
  out.u32(words.length)
  for (const word of words) out.u32(word)
}

/** Writes a fattr4 with those of the attributes `wanted` that are known. */
export function writeFattr(
  out: XdrWriter,
  tree: Tree,
  found: Found,
  wanted: readonly number[],
): void {
  const given = wanted.filter((number) => Object.hasOwn(READABLE, number))
  writeBitmap(out, given)
  const lengthAt = out.length
  out.u32(0)
  writeValues(out, tree, found, given)
  out.patch(lengthAt, out.length - lengthAt - 4)
}

function writeValues(
  out: XdrWriter,
  tree: Tree,
  { key, stat }: Found,
  numbers: readonly number[],
): void {
  // The space is asked for only when it is wanted.
  const source = {
    key,
    stat,
    get space() {
      return tree.space(key)
    },
  }
  for (const number of numbers) READABLE[number]?.(out, source)
}

/** Throws INVAL when attributes are asked for that can only be set. */
export function checkReadable(wanted: readonly number[]): void {
  if (wanted.some((number) => WRITE_ONLY.has(number))) throw new NfsError(Status.INVAL)
}

/** Whether the file has the attributes of the fattr4 in `args`. Throws ATTRNOTSUPP. */
export function hasAttributes(tree: Tree, found: Found, args: XdrReader): boolean {
  const numbers = readBitmap(args)
  const values = args.opaque(MAX_VALUES)
  checkReadable(numbers)
  if (numbers.some((number) => !Object.hasOwn(READABLE, number))) {
    throw new NfsError(Status.ATTRNOTSUPP)
  }
  const out = new XdrWriter()
  writeValues(out, tree, found, numbers)
  return out.bytes.equals(values)
}

/** What a fattr4 sets, and the numbers of its attributes. */
export interface NewFattr {
  readonly numbers: readonly number[]
  /** Throws ATTRNOTSUPP, INVAL, BADOWNER: only when the operation has come that far. */
  take(): NewAttributes
}

export function readFattr(args: XdrReader): NewFattr {
  const numbers = readBitmap(args)
  const values = args.nested(MAX_VALUES)
  return { numbers, take: () => newAttributes(numbers, values) }
}

function newAttributes(numbers: readonly number[], values: XdrReader): NewAttributes {
  const unknown = numbers.some((number) => !SUPPORTED.includes(number))
  if (unknown) throw new NfsError(Status.ATTRNOTSUPP)
  if (numbers.some((number) => !SETTABLE.has(number))) throw new NfsError(Status.INVAL)
  const wanted: { -readonly [name in keyof NewAttributes]: NewAttributes[name] } = {
    ...NO_ATTRIBUTES,
  }
  for (const number of numbers) {
    if (number === SIZE) wanted.size = values.u64()
    if (number === MODE) wanted.mode = maskMode(values.u32())
    if (number === OWNER) wanted.uid = ownerOf(values.text(MAX_OWNER))
    if (number === OWNER_GROUP) wanted.gid = ownerOf(values.text(MAX_OWNER))
    if (number === TIME_ACCESS_SET) wanted.atime = readNewTime(values)
    if (number === TIME_MODIFY_SET) wanted.mtime = readNewTime(values)
  }
  return wanted
}

function ownerOf(text: string): number {
  const id = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN
  if (id < 0xffff_ffff) return id
  throw new NfsError(Status.BADOWNER)
}

function readNewTime(values: XdrReader): number | 'now' {
  if (values.u32() === 0) return 'now'
  const seconds = BigInt.asIntN(64, values.u64())
  return Number(seconds) + values.u32() / 1e9
}
