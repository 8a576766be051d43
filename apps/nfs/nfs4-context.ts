/**
 * A COMPOUND of NFSv4 under way (RFC 7530 §16.2): the current and the saved handle, and what its operations work with.
 */

import { statOf } from './attributes.js'
import type { HandleKey } from './handles.js'
import type { Nfs3Context } from './nfs3-context.js'
import { changeOf } from './nfs4-attributes.js'
import type { Nfs4State, Stateid } from './nfs4-state.js'
import type { Found } from './open-files.js'
import { NfsError, Status } from './status.js'
import type { XdrReader, XdrWriter } from './xdr.js'

export interface Nfs4Context extends Nfs3Context {
  readonly state: Nfs4State
}

/** Octets of a handle in NFSv4 at most. */
export const MAX_HANDLE4 = 128
const MAX_NAME_ARGUMENT = 4096

/**
 * Carries one operation out: takes its arguments, and writes the result behind the status. Throws NfsError for another status than
 * OK, and XdrError for arguments that are none.
 */
export type Operation = (compound: Compound, args: XdrReader, out: XdrWriter) => void

export class Compound {
  readonly context: Nfs4Context
  current: HandleKey | null = null
  saved: HandleKey | null = null

  constructor(context: Nfs4Context) {
    this.context = context
  }

  /** The current file. Throws NOFILEHANDLE, STALE. */
  file(): Found {
    return this.context.tree.files.find(this.key())
  }

  key(): HandleKey {
    if (this.current === null) throw new NfsError(Status.NOFILEHANDLE)
    return this.current
  }

  savedKey(): HandleKey {
    if (this.saved === null) throw new NfsError(Status.NOFILEHANDLE)
    return this.saved
  }

  /** The current file, which must be a folder to look into. Throws NOTDIR, SYMLINK, NOFILEHANDLE, STALE. */
  folder(): HandleKey {
    const { key, stat } = this.file()
    if (stat.isSymbolicLink()) throw new NfsError(Status.SYMLINK)
    if (!stat.isDirectory()) throw new NfsError(Status.NOTDIR)
    return key
  }

  /** Runs `change`, and returns how to tell that the folder was changed by it (change_info4). */
  changing(folder: HandleKey, change: () => void): (out: XdrWriter) => void {
    const before = this.#change(folder)
    change()
    const after = this.#change(folder)
    return (out) => out.bool(false).u64(before).u64(after)
  }

  #change(folder: HandleKey): bigint {
    const stat = statOf(this.context.tree, folder)
    return stat === null ? 0n : changeOf(stat)
  }
}

/** The name of an entry. Throws INVAL, BADNAME. */
export function readComponent(args: XdrReader): string {
  const name = args.text(MAX_NAME_ARGUMENT)
  if (name === '') throw new NfsError(Status.INVAL)
  if (name === '.' || name === '..' || /[/\0]/.test(name)) throw new NfsError(Status.BADNAME)
  return name
}

export function readStateid(args: XdrReader): Stateid {
  return { seqid: args.u32(), other: args.fixed(12).toString('hex') }
}

export function writeStateid(out: XdrWriter, { seqid, other }: Stateid): void {
  out.u32(seqid).fixed(Buffer.from(other, 'hex'))
}

/** A client's id, as it is kept. */
export function readClientId(args: XdrReader): string {
  return args.fixed(8).toString('hex')
}
