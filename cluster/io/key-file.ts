/**
 * The cluster's key: 32 random octets in hexadecimal in a file that only its owner may read. Every key in use is derived
 * from it by HKDF (RFC 5869) with a purpose of its own, so that no two uses share one.
 */
import { hkdfSync, randomBytes } from 'node:crypto'
import {
  closeSync,
  fstatSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { StackError } from '../../stack/index.js'

/** Octets of the cluster's key. */
export const CLUSTER_KEY_LENGTH = 32

/** What a derived key is for, and its length in octets. */
const PURPOSES = {
  /** HMAC of ownership declarations on the link. */
  declaration: 32,
  /** Mutual proof on the control channel. */
  control: 32,
  /** SipHash of heartbeats. */
  heartbeat: 16,
  /** Secret of initial sequence numbers (RFC 6528), the same on every node. */
  isn: 16,
} as const

export type KeyPurpose = keyof typeof PURPOSES

/** The key for one purpose in one cluster: 32 octets, or 16 for `heartbeat` and `isn`. */
export function deriveKey(key: Uint8Array, purpose: KeyPurpose): Uint8Array {
  if (key.length !== CLUSTER_KEY_LENGTH) {
    throw new StackError(
      'ERR_KEY_LENGTH',
      `the cluster key has ${key.length} octets instead of ${CLUSTER_KEY_LENGTH}: read it with readKeyFile()`,
    )
  }
  return new Uint8Array(hkdfSync('sha256', key, '', `understudy ${purpose} 1`, PURPOSES[purpose]))
}

/**
 * The key in the file at `path`. Throws ERR_KEY_MISSING, ERR_KEY_EXPOSED (others than the owner may read or write it),
 * ERR_KEY_FORMAT or ERR_KEY_READ, each with what to do.
 */
export function readKeyFile(path: string): Uint8Array {
  const text = readPrivately(path)
  if (!/^[0-9a-fA-F]{64}\s*$/.test(text)) {
    throw new StackError(
      'ERR_KEY_FORMAT',
      `${path} is not a cluster key: it must hold 64 hexadecimal digits; make one with: openssl rand -hex 32`,
    )
  }
  return Uint8Array.from(Buffer.from(text.trim(), 'hex'))
}

function readPrivately(path: string): string {
  let descriptor = -1
  try {
    descriptor = openSync(path, 'r')
    const { mode } = fstatSync(descriptor)
    if ((mode & 0o077) !== 0) {
      const octal = (mode & 0o777).toString(8)
      throw new StackError(
        'ERR_KEY_EXPOSED',
        `${path} has mode ${octal}, so others than its owner can reach the cluster key: chmod 600 ${path}, and make a new key if it may have been read`,
      )
    }
    return readFileSync(descriptor, 'latin1')
  } catch (cause) {
    if (cause instanceof StackError) throw cause
    throw readFailure(path, cause as NodeJS.ErrnoException)
  } finally {
    if (descriptor >= 0) closeSync(descriptor)
  }
}

function readFailure(path: string, cause: NodeJS.ErrnoException): StackError {
  if (cause.code === 'ENOENT') {
    return new StackError(
      'ERR_KEY_MISSING',
      `there is no cluster key at ${path}: copy it from another node, or make the first one with: (umask 077; openssl rand -hex 32 > ${path})`,
      { cause },
    )
  }
  return new StackError(
    'ERR_KEY_READ',
    `cannot read the cluster key ${path}: ${cause.message}; it must be a file of the user that runs the node`,
    { cause },
  )
}

/** The key at `path`; a new one is made there, with mode 0600, when there is none. Two nodes that race get the same. */
export function ensureKeyFile(path: string): Uint8Array {
  try {
    return readKeyFile(path)
  } catch (error) {
    if (!(error instanceof StackError) || error.code !== 'ERR_KEY_MISSING') throw error
  }
  const draft = `${path}.${process.pid}.${randomBytes(4).toString('hex')}`
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    const descriptor = openSync(draft, 'wx', 0o600)
    try {
      writeSync(descriptor, `${randomBytes(CLUSTER_KEY_LENGTH).toString('hex')}\n`)
      fsyncSync(descriptor)
    } finally {
      closeSync(descriptor)
    }
  } catch (cause) {
    throw new StackError(
      'ERR_KEY_WRITE',
      `cannot make a cluster key at ${path}: ${(cause as Error).message}; give a path in a directory of yours`,
      { cause },
    )
  }
  // A link either finds the name free or leaves what another node put there: nobody sees half a key.
  try {
    linkSync(draft, path)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause
  } finally {
    unlinkSync(draft)
  }
  return readKeyFile(path)
}
