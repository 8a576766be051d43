/**
 * MOUNT version 3 (RFC 1813 §5): how a client of NFSv3 gets its first handle. It is served on NFS's own port. Nobody is kept in a
 * list of mounts, since no client is bound to tell when it leaves.
 */
import { Handles } from './handles.js'
import type { Nfs3Context } from './nfs3-context.js'
import type { Program } from './rpc.js'
import { NfsError, Status, statusOf } from './status.js'
import type { Tree } from './tree.js'
import type { XdrWriter } from './xdr.js'

const MAX_PATH = 1024
const AUTH_NONE = 0
const AUTH_SYS = 1

export const MOUNT3: Program<Nfs3Context> = {
  0: () => undefined,
  1: ({ tree }, args, out) => mount(tree, args.text(MAX_PATH), out),
  2: (_context, _args, out) => void out.bool(false),
  3: (_context, args) => void args.text(MAX_PATH),
  4: () => undefined,
  5: (_context, _args, out) => void out.bool(true).text('/').bool(false).bool(false),
}

function mount(tree: Tree, path: string, out: XdrWriter): void {
  let status: number
  try {
    const key = folderAt(tree, path)
    out.u32(Status.OK).opaque(Handles.write(key))
    out.u32(2).u32(AUTH_SYS).u32(AUTH_NONE)
    return
  } catch (error) {
    status = statusOf(error)
  }
  out.u32(status === Status.STALE ? Status.NOENT : status)
}

// No step leads up, and none through a link.
function folderAt(tree: Tree, path: string): string {
  let found = tree.root
  for (const name of path.split('/')) {
    if (name === '' || name === '.') continue
    if (name === '..') throw new NfsError(Status.ACCES)
    found = tree.entry(found.key, name)
    if (!found.stat.isDirectory()) throw new NfsError(Status.NOTDIR)
  }
  return found.key
}
