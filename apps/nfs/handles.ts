/**
 * File handles (RFC 1813 §2.3.3, RFC 7530 §4): what names a file for a client, the same on each node and behind a restart.
 *
 *   0 u32 magic   4 u64 device, as its difference from the root's   12 u64 inode   20 u64 time of birth
 *
 * The time of birth tells a file from an earlier one with the same inode. Since Node cannot open a file by its inode, a table in
 * the store keeps under which names each file was seen; a name counts only when the file that is there now is the one meant.
 * A file that was moved by someone other than this server is stale until it is looked up again.
 */
import type { BigIntStats } from 'node:fs'
import type { DataStore } from '../data-store.js'
import { BoundedTable } from './bounded-table.js'
import { NfsError, Status } from './status.js'

/** A handle in hexadecimal. */
export type HandleKey = string

/** A folder and a name in it. */
export type Place = readonly [folder: HandleKey, name: string]

const MAGIC = 0x554e_4653
const HANDLE_LENGTH = 28
/** Files whose names are known at once. The oldest are forgotten, and are stale to a client until it looks them up. */
const MAX_HANDLES = 1_000_000
/** Names under which one file is remembered: hard links. */
const MAX_NAMES = 8

export class Handles {
  readonly #names: BoundedTable<readonly Place[]>
  readonly #rootDevice: bigint

  constructor(store: DataStore, rootDevice: bigint) {
    this.#names = new BoundedTable(store.open('nfs-handles', 'json'), MAX_HANDLES)
    this.#rootDevice = rootDevice
  }

  keyOf({ dev, ino, birthtimeNs }: BigIntStats): HandleKey {
    const bytes = Buffer.alloc(HANDLE_LENGTH)
    bytes.writeUInt32BE(MAGIC)
    bytes.writeBigUInt64BE(dev ^ this.#rootDevice, 4)
    bytes.writeBigUInt64BE(ino, 12)
    bytes.writeBigUInt64BE(BigInt.asUintN(64, birthtimeNs), 20)
    return bytes.toString('hex')
  }

  /** Throws BADHANDLE for octets that are no handle of this server. */
  static read(handle: Uint8Array): HandleKey {
    const bytes = Buffer.from(handle.buffer, handle.byteOffset, handle.length)
    if (bytes.length !== HANDLE_LENGTH || bytes.readUInt32BE(0) !== MAGIC) {
      throw new NfsError(Status.BADHANDLE)
    }
    return bytes.toString('hex')
  }

  static write(key: HandleKey): Buffer {
    return Buffer.from(key, 'hex')
  }

  /** Where the file was seen, the latest first. */
  placesOf(key: HandleKey): readonly Place[] {
    return this.#names.get(key) ?? []
  }

  /** The file was seen at `place`. */
  seen(key: HandleKey, place: Place): void {
    const places = this.placesOf(key)
    const [first] = places
    if (first !== undefined && same(first, place)) return
    const others = places.filter((each) => !same(each, place))
    this.#names.put(key, [place, ...others].slice(0, MAX_NAMES))
  }

  /** The file is at `place` no more. */
  gone(key: HandleKey, place: Place): void {
    const places = this.placesOf(key)
    const left = places.filter((each) => !same(each, place))
    if (left.length === 0) this.#names.remove(key)
    else if (left.length < places.length) this.#names.put(key, left)
  }
}

function same(a: Place, b: Place): boolean {
  return a[0] === b[0] && a[1] === b[1]
}
