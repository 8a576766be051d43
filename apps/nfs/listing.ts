/**
 * Folders read in parts (RFC 1813 §3.3.16, RFC 7530 §16.24). An entry's cookie is a hash of its name, and entries come in the
 * order of their cookies: so a part can be asked of any node, and entries that are made or removed meanwhile move no others.
 */
import * as fs from 'node:fs'
import type { HandleKey } from './handles.js'
import { type Found, type OpenFiles, octets } from './open-files.js'
import { statusOf } from './status.js'
import type { Tree } from './tree.js'

/** One entry; its cookie is where the next part goes on. */
export interface Entry {
  readonly name: string
  readonly cookie: number
}

/** Cookies below are those of `.` and `..`, or have a meaning in the protocol. */
const FIRST_COOKIE = 16
/** Folders whose entries are kept, for the next part. */
const MAX_KEPT = 8
/** Entries of all that are kept. */
const MAX_KEPT_ENTRIES = 500_000

interface Kept {
  /** The folder's change: its times. */
  readonly stamp: string
  readonly entries: readonly Entry[]
}

export class Listings {
  readonly #files: OpenFiles
  readonly #kept = new Map<HandleKey, Kept>()

  constructor(files: OpenFiles) {
    this.#files = files
  }

  /** The entries of a folder behind `cookie`, without `.` and `..`. */
  *behind(folder: HandleKey, cookie: number): Iterable<Entry> {
    const entries = this.#entries(folder)
    let low = 0
    let high = entries.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((entries[middle]?.cookie ?? 0) > cookie) high = middle
      else low = middle + 1
    }
    for (let i = low; i < entries.length; i++) yield entries[i] as Entry
  }

  #entries(folder: HandleKey): readonly Entry[] {
    const path = octets(`${this.#files.folder(folder)}/.`)
    const { mtimeNs, ctimeNs } = fs.statSync(path, { bigint: true })
    const stamp = `${mtimeNs} ${ctimeNs}`
    const kept = this.#kept.get(folder)
    if (kept?.stamp === stamp) return kept.entries
    const settled = isOld(ctimeNs)
    const entries = inOrder(fs.readdirSync(path, 'latin1'))
    this.#kept.delete(folder)
    if (settled) this.#kept.set(folder, { stamp, entries })
    this.#bound()
    return entries
  }

  #bound(): void {
    let total = 0
    for (const { entries } of this.#kept.values()) total += entries.length
    for (const [folder, { entries }] of this.#kept) {
      if (total <= MAX_KEPT_ENTRIES && this.#kept.size <= MAX_KEPT) return
      total -= entries.length
      this.#kept.delete(folder)
    }
  }
}

// A folder may change twice within one tick of the file system's clock; its time tells nothing before that is over.
function isOld(ctimeNs: bigint): boolean {
  return BigInt(Date.now()) * 1_000_000n - ctimeNs > 50_000_000n
}

function inOrder(names: readonly string[]): Entry[] {
  const hashed = names.map((name) => ({ name, cookie: hashOf(name) }))
  hashed.sort((a, b) => a.cookie - b.cookie || (a.name < b.name ? -1 : 1))
  let last = 0
  return hashed.map(({ name, cookie }) => {
    last = Math.max(cookie, last + 1)
    return { name, cookie: last }
  })
}

// 52 bits: two runs of FNV-1a with different beginnings.
function hashOf(name: string): number {
  let a = 0x811c_9dc5
  let b = 0x050c_5d1f
  for (let i = 0; i < name.length; i++) {
    const octet = name.charCodeAt(i)
    a = Math.imul(a ^ octet, 0x0100_0193)
    b = Math.imul(b ^ octet, 0x0100_0193) ^ (b >>> 15)
  }
  return (((a >>> 12) * 0x1_0000_0000 + (b >>> 0)) % (2 ** 52 - 2 ** 20)) + FIRST_COOKIE
}

/** An entry of a listing, or null when it has gone meanwhile. `named`: its handle is told. */
export function entryOf(tree: Tree, folder: HandleKey, name: string, named: boolean): Found | null {
  try {
    return named ? tree.entry(folder, name) : tree.glance(folder, name)
  } catch (error) {
    statusOf(error)
    return null
  }
}
