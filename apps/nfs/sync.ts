/**
 * Files put on the disk without standing still: what was written may be much, and a node whose loop stands is taken for dead. So a
 * COMMIT first lets the file be synced by a thread, is begun again then, and finds little left to do.
 */
import * as fs from 'node:fs'
import type { HandleKey } from './handles.js'

/** Thrown by a request that must wait until the file has been synced: begin it again then. It is no Error: nothing is wrong. */
export class NeedsSync {
  readonly key: HandleKey

  constructor(key: HandleKey) {
    this.key = key
  }
}

/** Syncs the open file `fd` by a thread and calls `done`, whatever comes of it: the request itself finds the error again. */
export function syncByThread(fd: number, done: () => void): void {
  // A descriptor of its own, since the other may be closed meanwhile.
  const own = fs.openSync(`/proc/self/fd/${fd}`, fs.constants.O_RDONLY)
  fs.fsync(own, () => {
    fs.close(own, () => {})
    done()
  })
}
