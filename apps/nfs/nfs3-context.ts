/**
 * What all procedures of NFSv3 work with, and how they get their handles.
 */
import { MAX_HANDLE } from './attributes.js'
import { type HandleKey, Handles } from './handles.js'
import type { Journal } from './journal.js'
import type { Listings } from './listing.js'
import { NfsError, Status } from './status.js'
import type { Tree } from './tree.js'
import type { XdrReader } from './xdr.js'

/** Octets of one READ or WRITE at most. */
export const MAX_TRANSFER = 1024 * 1024

/** Octets of a file: what a number can hold exactly. */
export const MAX_FILE_SIZE = BigInt(Number.MAX_SAFE_INTEGER)

/** What procedures work with. */
export interface Nfs3Context {
  readonly tree: Tree
  readonly listings: Listings
  readonly journal: Journal
  /** Before the file is put on the disk: throws NeedsSync unless that was done a moment ago. */
  readonly settle: (key: HandleKey) => void
  /** Eight octets that change when unstable writes may have been lost. */
  readonly writeVerifier: Uint8Array
}

/** A handle of a call; null when it is none of this server's, which `require` tells the client by BADHANDLE. */
export interface GivenHandle {
  readonly key: HandleKey | null
  require(): HandleKey
}

export function readHandle(args: XdrReader): GivenHandle {
  const octets = args.opaque(MAX_HANDLE)
  let key: HandleKey | null = null
  try {
    key = Handles.read(octets)
  } catch {
    // Said when it is used: then the answer has the form of its procedure.
  }
  const require = () => {
    if (key === null) throw new NfsError(Status.BADHANDLE)
    return key
  }
  return { require, key }
}
