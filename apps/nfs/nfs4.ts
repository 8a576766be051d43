/**
 * NFS version 4.0 (RFC 7530): COMPOUND, and the operations on files. Those on names are in nfs4-names.ts, those on clients and open
 * files in nfs4-open.ts. There are no byte-range locks, delegations, named attributes or access control lists.
 */

import { Handles } from './handles.js'
import { accessBits } from './nfs3.js'
import { MAX_TRANSFER } from './nfs3-context.js'
import {
  checkReadable,
  hasAttributes,
  readBitmap,
  readFattr,
  writeBitmap,
  writeFattr,
} from './nfs4-attributes.js'
import {
  Compound,
  MAX_HANDLE4,
  type Nfs4Context,
  type Operation,
  readStateid,
} from './nfs4-context.js'
import { NAMES4 } from './nfs4-names.js'
import { OPEN4 } from './nfs4-open.js'
import type { Program } from './rpc.js'
import { NfsError, Status, statusOf } from './status.js'
import { XdrError, type XdrReader, type XdrWriter } from './xdr.js'

const MAX_TAG = 1024
/** Operations of one COMPOUND. */
const MAX_OPERATIONS = 128
/** Octets of the results of one COMPOUND: one READ of the greatest length, and what stands around it. */
const MAX_RESULTS = MAX_TRANSFER + 64 * 1024
const ACCESS_BITS = 0x3f
const READ = 1
const WRITE = 2
const STABLE = ['no', 'data', 'file'] as const

const access: Operation = (compound, args, out) => {
  const wanted = args.u32()
  const { key, stat } = compound.file()
  out.u32(wanted & ACCESS_BITS)
  out.u32(wanted & accessBits(compound.context.tree, key, stat))
}

const commit: Operation = (compound, args, out) => {
  args.u64()
  args.u32()
  const { tree, settle, writeVerifier } = compound.context
  const key = compound.key()
  tree.files.file(key, false)
  settle(key)
  tree.commit(key)
  out.fixed(writeVerifier)
}

const getattr: Operation = (compound, args, out) => {
  const wanted = readBitmap(args)
  checkReadable(wanted)
  writeFattr(out, compound.context.tree, compound.file(), wanted)
}

const getfh: Operation = (compound, _args, out) => {
  out.opaque(Handles.write(compound.key()))
}

const putfh: Operation = (compound, args) => {
  compound.current = compound.context.tree.at(args.opaque(MAX_HANDLE4)).key
}

const putrootfh: Operation = (compound) => {
  compound.current = compound.context.tree.files.rootKey
}

const savefh: Operation = (compound) => {
  compound.saved = compound.key()
}

const restorefh: Operation = (compound) => {
  if (compound.saved === null) throw new NfsError(Status.RESTOREFH)
  compound.current = compound.saved
}

const verify =
  (wanted: boolean): Operation =>
  (compound, args) => {
    const same = hasAttributes(compound.context.tree, compound.file(), args)
    if (same !== wanted) throw new NfsError(wanted ? Status.NOT_SAME : Status.SAME)
  }

const read: Operation = (compound, args, out) => {
  const { tree, state } = compound.context
  const stateid = readStateid(args)
  const offset = args.u64()
  const count = Math.min(args.u32(), MAX_TRANSFER)
  const { key, stat } = compound.file()
  state.allow(stateid, key, READ)
  const left = stat.size > offset ? Number(stat.size - offset) : 0
  const eofAt = out.length
  out.bool(false)
  const length = out.fill(Math.min(count, left), (into) => tree.read(key, offset, into))
  out.patch(eofAt, offset + BigInt(length) >= stat.size ? 1 : 0)
}

const write: Operation = (compound, args, out) => {
  const { tree, state, writeVerifier } = compound.context
  const stateid = readStateid(args)
  const offset = args.u64()
  const stable = args.u32()
  const data = args.opaque(MAX_TRANSFER)
  const how = STABLE[stable]
  if (how === undefined) throw new NfsError(Status.INVAL)
  const key = compound.key()
  state.allow(stateid, key, WRITE)
  tree.write(key, offset, data, how)
  out.u32(data.length).u32(stable).fixed(writeVerifier)
}

const readlink: Operation = (compound, _args, out) => {
  out.text(compound.context.tree.readlink(compound.key()))
}

const setattr: Operation = (compound, args, out) => {
  const { tree, state, journal } = compound.context
  const stateid = readStateid(args)
  const fattr = readFattr(args)
  const wanted = fattr.take()
  const key = compound.key()
  if (wanted.size !== null) state.allow(stateid, key, WRITE)
  journal.change()
  tree.set(key, wanted)
  writeBitmap(out, fattr.numbers)
}

const SETATTR = 34
const OPERATIONS: Readonly<Record<number, Operation>> = {
  3: access,
  5: commit,
  9: getattr,
  10: getfh,
  17: verify(false),
  22: putfh,
  23: putrootfh,
  24: putrootfh,
  25: read,
  27: readlink,
  31: restorefh,
  32: savefh,
  [SETATTR]: setattr,
  37: verify(true),
  38: write,
  // RELEASE_LOCKOWNER: there are no locks.
  39: (_compound, args) => {
    args.fixed(8)
    args.opaque(MAX_TAG)
  },
  ...NAMES4,
  ...OPEN4,
}

/** The numbers of the operations that version 4.0 has. */
const FIRST_OPERATION = 3
const LAST_OPERATION = 39
const OP_ILLEGAL = 10044

/** COMPOUND: operations in order, up to the first that fails (RFC 7530 §16.2). */
function compound(context: Nfs4Context, args: XdrReader, out: XdrWriter): void {
  const tag = args.opaque(MAX_TAG)
  const minor = args.u32()
  const count = args.u32()
  const statusAt = out.length
  out.u32(Status.OK).opaque(tag)
  const countAt = out.length
  out.u32(0)
  if (minor !== 0 || count > MAX_OPERATIONS) {
    out.patch(statusAt, minor === 0 ? Status.RESOURCE : Status.MINOR_VERS_MISMATCH)
    return
  }
  const under = new Compound(context)
  let status: number = Status.OK
  let done = 0
  const end = out.length + MAX_RESULTS
  while (done < count && status === Status.OK) {
    if (args.left < 4) {
      status = Status.BADXDR
      break
    }
    status = operate(under, args, out, end)
    done++
  }
  out.patch(statusAt, status)
  out.patch(countAt, done)
}

// Carries out the next operation, writes its result, and returns its status.
function operate(under: Compound, args: XdrReader, out: XdrWriter, end: number): number {
  const number = args.u32()
  if (number < FIRST_OPERATION || number > LAST_OPERATION) {
    out.u32(OP_ILLEGAL).u32(Status.OP_ILLEGAL)
    return Status.OP_ILLEGAL
  }
  out.u32(number)
  const start = out.length
  out.u32(Status.OK)
  let status: number
  try {
    const operation = Object.hasOwn(OPERATIONS, number) ? OPERATIONS[number] : undefined
    if (operation === undefined) throw new NfsError(Status.NOTSUPP)
    operation(under, args, out)
    if (out.length <= end) return Status.OK
    status = Status.RESOURCE
  } catch (error) {
    status = error instanceof XdrError ? Status.BADXDR : statusOf(error)
  }
  out.truncate(start)
  out.u32(status)
  // SETATTR tells in any case which attributes it has set.
  if (number === SETATTR) out.u32(0)
  return status
}

export const NFS4: Program<Nfs4Context> = {
  0: () => undefined,
  1: compound,
}
