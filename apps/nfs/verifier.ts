/**
 * The write verifier (RFC 1813 §3.3.7): it changes when writes that were not stable may have been lost. They lie in the host's
 * memory and outlive the server, so it is the same on all nodes until the host itself starts anew.
 */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { DataStore } from '../data-store.js'

interface Stored {
  /** The start of the host for which it holds. */
  readonly boot: string
  readonly verifier: string
}

/** Eight octets, from `store`. */
export function writeVerifier(store: DataStore): Buffer {
  const table = store.open<Stored>('nfs-verifier', 'json')
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
  const stored = store.transaction(() => {
    const before = table.get('write')
    if (before?.boot === boot) return before
    const fresh = { boot, verifier: randomBytes(8).toString('hex') }
    table.put('write', fresh)
    return fresh
  })
  return Buffer.from(stored.verifier, 'hex')
}
