/**
 * Disk: the file system that all nodes share. It checks each octet written against what the client sent, so that an upload
 * is known to be a prefix of it at every instant (law 2).
 */
import { FNV_BASIS, fnv, patternAt } from './prng.js'
import type { World } from './world.js'

export class Disk {
  readonly #world: World
  readonly #files = new Map<number, { length: number; hash: number }>()

  constructor(world: World) {
    this.#world = world
  }

  /** Writes `bytes[from, to)` at `offset` of the file `name`, which holds the text of the seed `name`. */
  write(name: number, offset: number, bytes: Uint8Array, from: number, to: number): void {
    const file = this.#files.get(name) ?? { length: 0, hash: FNV_BASIS }
    this.#files.set(name, file)
    if (offset > file.length)
      this.#world.violate(`stream: a hole in file ${name} at ${file.length}`)
    for (let i = from; i < to; i++) {
      const at = offset + i - from
      if (bytes[i] === patternAt(name, at)) continue
      this.#world.violate(`stream: octet ${at} of file ${name} is wrong`)
      return
    }
    const end = offset + (to - from)
    if (end <= file.length) return
    file.hash = fnv(file.hash, bytes, from + (file.length - offset), to)
    file.length = end
  }

  length(name: number): number {
    return this.#files.get(name)?.length ?? 0
  }

  /** The hash of the whole file. */
  hash(name: number): number {
    return this.#files.get(name)?.hash ?? FNV_BASIS
  }
}
