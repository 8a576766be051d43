/** What a node runs on: devices and sockets, or stand-ins of them in one process. */
import type { LinkEndpoint, Millis, Nic, RecordingLink, Stack } from '../../stack/index.js'
import type { Driver } from '../../stack/io/driver.js'
import type { Authenticator } from '../authenticator.js'
import type { NodeId } from '../binding.js'
import type { CheckpointStore } from '../checkpoint.js'
import type { FenceTarget } from '../declaration.js'
import type { MirrorStore } from '../mirror-store.js'

/** Signs of life between nodes, and the lease that lets this one speak. `Heartbeat` is one. Instants are on its own clock. */
export interface Beats {
  readonly port: number
  /** How often the lease has run out so far. */
  readonly expirations: number
  addPeer(id: NodeId, address: string, port: number): void
  removePeer(id: NodeId): void
  /** `gone`: its port is closed, and so its process has ended. */
  peer(id: NodeId): { heard: boolean; lastHeardAt: Millis; turnAt: Millis; gone?: boolean } | null
  /** The event loop turns. */
  turn(): void
  /** The lease begins anew, unless it ran out more often than `seen` says. */
  renewLease(seen: number): void
  close(): void
}

/** Messages to nodes that have been met. `WsControl` is one. */
export interface ControlChannel {
  addPeer(id: NodeId, host: string, port: number): void
  /** False: there is no channel to the node now. */
  send(id: NodeId, bytes: Uint8Array): boolean
  close(): Promise<void> | void
}

/** Silences others. */
export interface Fence {
  /** Why `silence` was false the last time; empty when there is nothing to say. */
  readonly reason?: string
  /** True: it is certain that the node cannot be heard any more. */
  silence(target: FenceTarget, node: NodeId): Promise<boolean>
  /** Opens our own port again. True: it was shut. */
  open(): boolean
}

/** What a node runs on. */
export interface RuntimeParts {
  readonly stack: Stack
  readonly driver: Driver<Nic>
  readonly link: LinkEndpoint & { readonly received: number }
  readonly beats: Beats
  /** What the clock of `beats` lacks to the driver's. */
  readonly beatsOffset: Millis
  readonly control: ControlChannel
  readonly controlPort: number
  readonly fence: Fence
  readonly fenceTarget: FenceTarget
  readonly mirrorStore: MirrorStore
  readonly checkpointStore: CheckpointStore
  readonly authenticator: Authenticator
  /** Frames that the link lost for want of room at this node, null when that is not known; and those that the filter left out. */
  readonly linkLosses?: () => { readonly missed: number | null; readonly filtered: number }
  /** The capture of the link, which gets a remark for everything that the node reports. */
  readonly recording?: RecordingLink
  /** Hears whether this node owns a binding, and so answers clients. */
  setSpeaking?(owns: boolean): void
}
