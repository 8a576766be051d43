/**
 * Operations of NFSv4.0 on names in folders (RFC 7530 §16): LOOKUP, READDIR, CREATE, REMOVE, RENAME, LINK.
 */
import { FileType } from './attributes.js'
import { entryOf } from './listing.js'
import {
  checkReadable,
  FILEHANDLE,
  readBitmap,
  readFattr,
  writeBitmap,
  writeFattr,
} from './nfs4-attributes.js'
import { type Compound, type Operation, readComponent } from './nfs4-context.js'
import { NfsError, Status } from './status.js'
import type { XdrReader } from './xdr.js'

const MAX_TARGET = 4096
/** Octets of a listing at most. */
const MAX_LISTING = 256 * 1024
/** Octets of a READDIR's result beside its entries. */
const AROUND_ENTRIES = 16
const AUTH_NONE = 0
const AUTH_SYS = 1
const COOKIE_VERIFIER = new Uint8Array(8)

const lookup: Operation = (compound, args) => {
  const name = readComponent(args)
  compound.current = compound.context.tree.entry(compound.folder(), name).key
}

const lookupp: Operation = (compound) => {
  const { tree } = compound.context
  const folder = compound.folder()
  if (folder === tree.files.rootKey) throw new NfsError(Status.NOENT)
  compound.current = tree.parent(folder).key
}

const secinfo: Operation = (compound, args, out) => {
  const name = readComponent(args)
  compound.context.tree.entry(compound.folder(), name)
  out.u32(2).u32(AUTH_SYS).u32(AUTH_NONE)
}

const create: Operation = (compound, args, out) => {
  const { tree, journal } = compound.context
  const type = args.u32()
  const target = readTarget(args, type)
  const name = readComponent(args)
  const fattr = readFattr(args)
  const folder = compound.folder()
  if (type !== FileType.DIR && target === null) {
    throw new NfsError(type === FileType.REG || type > 9 ? Status.BADTYPE : Status.PERM)
  }
  const wanted = fattr.take()
  const told = compound.changing(folder, () => {
    const made =
      target === null
        ? tree.mkdir(folder, name, wanted, journal)
        : tree.symlink(folder, name, target, journal)
    compound.current = made.key
  })
  told(out)
  writeBitmap(out, target === null ? fattr.numbers : [])
}

// Where a link that is to be made leads; null for other files.
function readTarget(args: XdrReader, type: number): string | null {
  if (type === FileType.LNK) return args.text(MAX_TARGET)
  if (type === FileType.BLK || type === FileType.CHR) args.fixed(8)
  return null
}

const remove: Operation = (compound, args, out) => {
  const { tree, journal } = compound.context
  const name = readComponent(args)
  const folder = compound.folder()
  compound.changing(folder, () => tree.remove(folder, name, null, journal))(out)
}

const rename: Operation = (compound, args, out) => {
  const { tree, journal } = compound.context
  const name = readComponent(args)
  const newName = readComponent(args)
  const from = compound.savedKey()
  const to = compound.folder()
  let told = (_out: typeof out): void => undefined
  const toldFrom = compound.changing(from, () => {
    told = compound.changing(to, () => tree.rename(from, name, to, newName, journal))
  })
  toldFrom(out)
  told(out)
}

const link: Operation = (compound, args, out) => {
  const { tree, journal } = compound.context
  const name = readComponent(args)
  const file = compound.savedKey()
  const folder = compound.folder()
  compound.changing(folder, () => tree.link(file, folder, name, journal))(out)
}

const readdir: Operation = (compound, args, out) => {
  const { listings } = compound.context
  const cookie = args.u64()
  args.fixed(8)
  args.u32()
  const limit = Math.min(args.u32(), MAX_LISTING)
  const wanted = readBitmap(args)
  checkReadable(wanted)
  const folder = compound.folder()
  const from = cookie > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(cookie)
  const end = out.length + limit - AROUND_ENTRIES
  out.fixed(COOKIE_VERIFIER)
  let count = 0
  for (const entry of listings.behind(folder, from)) {
    const start = out.length
    if (!writeEntry(compound, folder, entry, wanted, out)) continue
    if (out.length > end) {
      out.truncate(start)
      if (count === 0) throw new NfsError(Status.TOOSMALL)
      out.bool(false).bool(false)
      return
    }
    count++
  }
  out.bool(false).bool(true)
}

// False when the entry has gone meanwhile.
function writeEntry(
  { context }: Compound,
  folder: string,
  { name, cookie }: { readonly name: string; readonly cookie: number },
  wanted: readonly number[],
  out: Parameters<Operation>[2],
): boolean {
  const found = entryOf(context.tree, folder, name, wanted.includes(FILEHANDLE))
  if (found === null) return false
  out.bool(true).u64(BigInt(cookie)).text(name)
  writeFattr(out, context.tree, found, wanted)
  return true
}

export const NAMES4: Readonly<Record<number, Operation>> = {
  6: create,
  11: link,
  15: lookup,
  16: lookupp,
  26: readdir,
  28: remove,
  29: rename,
  33: secinfo,
}
