/**
 * What the demo needs of the world it plays in: nodes that can fail, a client that downloads and uploads, and a wire that
 * is watched. The lab on TAP devices is one such world, the in-memory hub another; the demo cannot tell them apart.
 */

import type { Stall } from '../lab/wire-monitor.js'

export type Cause = 'kill' | 'stop'

/** A transfer on its way. */
export interface Transfer {
  /** Octets of the file that have got across so far, as seen on the wire. */
  bytes(): number
  /** Resolves when the client is content; rejects with ERR_DEMO_CLIENT and the client's words when it is not. */
  readonly done: Promise<void>
}

/** A failure that the demo has caused. */
export interface Failure {
  readonly node: number
  readonly cause: Cause
  /** Milliseconds of the world's clock. */
  readonly at: number
}

export type NodePhase = 'owner' | 'standby' | 'starting' | 'stopped' | 'dead'

export interface WorldOptions {
  readonly nodes: number
  readonly app: 'http'
  /** The folder that every node serves; uploads arrive there. */
  readonly root: string
  /** Folders to remove with the world, whatever happens. */
  readonly scratch: readonly string[]
  readonly verbose: boolean
  /** The virtual address and the client's are of IPv6. */
  readonly ipv6: boolean
}

export interface World {
  readonly link: 'tap' | 'memory'
  /** Where a browser sees the world live (O3). */
  readonly page: string | null
  /** The node that owns the virtual address, if one does at this moment. */
  readonly owner: number | undefined
  phases(): { readonly id: number; readonly phase: NodePhase }[]
  /** Fetches `name` from the virtual address into the file `to`, at no more than `rate` octets a second. */
  download(name: string, to: string, rate: number): Transfer
  /** Stores the file `from` as `name`. */
  upload(from: string, name: string, rate: number): Transfer
  /** Resolves with the owner. Throws when there is none in time. */
  awaitOwner(): Promise<number>
  /** Lets the owner fail now. */
  fail(cause: Cause): Promise<Failure>
  /** Resolves with the node that has taken over. Throws when none does in time. */
  awaitSuccessor(failure: Failure): Promise<number>
  /** How long the client got nothing new; undefined when it never got anything again. */
  stall(failure: Failure): Promise<Stall | undefined>
  /** Starts the nodes that have failed anew; a stopped one is killed first. Resolves when all are ready and one owns. */
  restore(): Promise<void>
  /** Connection requests and resets on the client's wire since the world began. */
  wire(): Promise<{ readonly syns: number; readonly resets: number }>
  close(): Promise<void>
}
