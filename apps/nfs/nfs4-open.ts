/**
 * Operations of NFSv4.0 on clients and open files (RFC 7530 §16): SETCLIENTID, OPEN, CLOSE and what belongs to them. Nothing is
 * delegated. There are no byte-range locks.
 */

import type { HandleKey } from './handles.js'
import { readFattr, VERIFIER_ATTRIBUTES, writeBitmap } from './nfs4-attributes.js'
import {
  type Compound,
  type Operation,
  readClientId,
  readComponent,
  readStateid,
  writeStateid,
} from './nfs4-context.js'
import { Nfs4State, nextSeqid, type Open, type Owner } from './nfs4-state.js'
import { NfsError, Status, statusOf } from './status.js'
import { type CreateMode, NO_ATTRIBUTES } from './tree.js'
import { type XdrReader, XdrWriter } from './xdr.js'

const MAX_ID = 1024
const MAX_NETWORK_ADDRESS = 128
const OPEN4_CREATE = 1
const CLAIM_NULL = 0
const CLAIM_PREVIOUS = 1
const RESULT_CONFIRM = 2
const RESULT_LOCKTYPE_POSIX = 4
const DELEGATE_NONE = 0

const setclientid: Operation = ({ context }, args, out) => {
  const verifier = args.fixed(8).toString('hex')
  const name = args.opaque(MAX_ID)
  args.u32()
  args.text(MAX_NETWORK_ADDRESS)
  args.text(MAX_NETWORK_ADDRESS)
  args.u32()
  context.journal.change()
  const { id, confirm } = context.state.introduce(name, verifier)
  out.fixed(Buffer.from(id, 'hex')).fixed(Buffer.from(confirm, 'hex'))
}

const setclientidConfirm: Operation = ({ context }, args) => {
  const id = readClientId(args)
  const confirm = args.fixed(8).toString('hex')
  context.journal.change()
  context.state.confirm(id, confirm)
}

const renew: Operation = ({ context }, args) => context.state.heard(readClientId(args))

/** Errors behind which an owner's seqid stays (RFC 7530 §9.1.7). */
const KEEP_SEQID: ReadonlySet<number> = new Set([
  Status.STALE_CLIENTID,
  Status.STALE_STATEID,
  Status.BAD_STATEID,
  Status.BAD_SEQID,
  Status.RESOURCE,
  Status.NOFILEHANDLE,
])

/** Who asks, and with which seqid. */
interface Turn {
  readonly client: string
  readonly owner: string
  readonly seqid: number
  /** The operation is OPEN. */
  readonly opens: boolean
}

/**
 * Carries out `body` as the owner's next operation, or answers as before when it comes again. An owner that is not confirmed may
 * begin anew with any seqid, by OPEN. `body` returns whether the owner is confirmed then.
 */
function inTurn(
  compound: Compound,
  { client, owner, seqid, opens }: Turn,
  out: XdrWriter,
  body: (known: Owner | null, result: XdrWriter) => boolean,
): void {
  const { state, journal } = compound.context
  journal.change()
  const known = state.owner(client, owner)
  if (known?.last != null && seqid === known.seqid) {
    compound.current = known.last.key
    if (known.last.status !== Status.OK) throw new NfsError(known.last.status)
    out.fixed(Buffer.from(known.last.body, 'latin1'))
    return
  }
  const begins = opens && known?.confirmed !== true
  if (!begins && (known === null || seqid !== nextSeqid(known.seqid))) {
    throw new NfsError(Status.BAD_SEQID)
  }
  const result = new XdrWriter()
  let status: number = Status.OK
  let confirmed = known?.confirmed ?? false
  try {
    confirmed = body(known, result)
  } catch (error) {
    status = statusOf(error)
    if (KEEP_SEQID.has(status)) throw error
  }
  const text = status === Status.OK ? result.bytes.toString('latin1') : ''
  state.putOwner(client, owner, {
    seqid,
    confirmed,
    last: { status, body: text, key: compound.current ?? '' },
  })
  if (status !== Status.OK) throw new NfsError(status)
  out.fixed(result.bytes)
}

/** How OPEN makes a file; null: it must be there. */
interface Creation {
  readonly mode: CreateMode
  readonly attributes: ReturnType<typeof readFattr> | null
}

function readCreation(args: XdrReader): Creation | null {
  if (args.u32() !== OPEN4_CREATE) return null
  const how = args.u32()
  if (how === 2) return { mode: Uint8Array.from(args.fixed(8)), attributes: null }
  return { mode: how === 0 ? 'unchecked' : 'guarded', attributes: readFattr(args) }
}

const open: Operation = (compound, args, out) => {
  const { state } = compound.context
  const seqid = args.u32()
  const access = args.u32()
  const deny = args.u32()
  const client = readClientId(args)
  const owner = Nfs4State.ownerName(args.opaque(MAX_ID))
  const creation = readCreation(args)
  const claim = args.u32()
  if (claim === CLAIM_PREVIOUS) {
    args.u32()
    throw new NfsError(Status.NO_GRACE)
  }
  if (claim !== CLAIM_NULL) throw new NfsError(Status.NOTSUPP)
  const name = readComponent(args)
  state.heard(client)
  inTurn(compound, { client, owner, seqid, opens: true }, out, (known, result) => {
    if (access < 1 || access > 3 || deny > 3) throw new NfsError(Status.INVAL)
    const folder = compound.folder()
    let key: HandleKey = ''
    const told = compound.changing(folder, () => {
      key = fileToOpen(compound, folder, name, creation)
    })
    const opened = state.open(client, owner, key, access, deny)
    const confirmed = known?.confirmed ?? false
    compound.current = key
    writeStateid(result, opened)
    told(result)
    result.u32(RESULT_LOCKTYPE_POSIX | (confirmed ? 0 : RESULT_CONFIRM))
    writeBitmap(result, creation === null ? [] : attributesOf(creation))
    result.u32(DELEGATE_NONE)
    return confirmed
  })
}

function attributesOf({ attributes }: Creation): readonly number[] {
  return attributes?.numbers ?? VERIFIER_ATTRIBUTES
}

// The regular file that is meant, made when that is wanted.
function fileToOpen(
  { context }: Compound,
  folder: HandleKey,
  name: string,
  creation: Creation | null,
): HandleKey {
  const { tree, journal } = context
  if (creation !== null) {
    const wanted = creation.attributes?.take() ?? NO_ATTRIBUTES
    return tree.create(folder, name, creation.mode, wanted, journal).key
  }
  const { key, stat } = tree.entry(folder, name)
  if (stat.isDirectory()) throw new NfsError(Status.ISDIR)
  if (!stat.isFile()) throw new NfsError(Status.SYMLINK)
  return key
}

/**
 * Lets `change` store what becomes of the open file that the stateid names, as its owner's next operation. `confirms`: it is for
 * owners that are not confirmed, and for no others.
 */
function withOpen(
  compound: Compound,
  stateid: ReturnType<typeof readStateid>,
  seqid: number,
  out: XdrWriter,
  confirms: boolean,
  change: (open: Open) => Open,
): void {
  const { state } = compound.context
  const key = compound.key()
  const turn = { ...state.ownerOf(stateid), seqid, opens: false }
  inTurn(compound, turn, out, (known, result) => {
    const opened = state.find(stateid)
    if (opened.key !== key || known?.confirmed === confirms) throw new NfsError(Status.BAD_STATEID)
    writeStateid(result, change({ ...opened, seqid: nextSeqid(opened.seqid) }))
    return true
  })
}

const openConfirm: Operation = (compound, args, out) => {
  const stateid = readStateid(args)
  withOpen(compound, stateid, args.u32(), out, true, (opened) => {
    compound.context.state.putOpen(opened)
    return opened
  })
}

const openDowngrade: Operation = (compound, args, out) => {
  const stateid = readStateid(args)
  const seqid = args.u32()
  const access = args.u32()
  const deny = args.u32()
  withOpen(compound, stateid, seqid, out, false, (opened) => {
    const less = (access & ~opened.access) === 0 && (deny & ~opened.deny) === 0
    if (!less || access === 0) throw new NfsError(Status.INVAL)
    const after = { ...opened, access, deny }
    compound.context.state.putOpen(after)
    return after
  })
}

const close: Operation = (compound, args, out) => {
  const seqid = args.u32()
  withOpen(compound, readStateid(args), seqid, out, false, (opened) => {
    compound.context.state.close(opened)
    return opened
  })
}

export const OPEN4: Readonly<Record<number, Operation>> = {
  4: close,
  18: open,
  20: openConfirm,
  21: openDowngrade,
  30: renew,
  35: setclientid,
  36: setclientidConfirm,
}
