/**
 * The native addon: where it lies, and the types of its calls. Built from stack/native by scripts/build-native.mjs.
 *
 * The lists of slots below repeat enums of stack/native/tap.c and heartbeat.h: both sides read the same memory.
 * Only tap.ts and heartbeat.ts call the addon; everyone else uses their classes.
 */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { StackError } from '../base/errors.js'
import type { Millis } from '../base/time.js'

declare const handleOf: unique symbol
/** A native object as JavaScript holds it. */
export type Handle<Kind extends string> = { readonly [handleOf]: Kind }
export type TapHandle = Handle<'tap'>
export type HeartbeatHandle = Handle<'heartbeat'>

/** What tapOpen is asked for. Numbers that stand for yes or no are 1 and 0. */
export interface TapConfig {
  /** Empty: the kernel picks a new one. */
  name: string
  slots: number
  txSlots: number
  /** Octets of the largest frame; raised to what the device's MTU allows. */
  frameSize: number
  txFrameSize: number
  /** 1: super-frames are cut and checksums completed behind `tapWrite`. */
  cut: number
  /** Octets kept free in front of each frame to send. */
  headroom: number
  /** 0, 10 or 12. */
  vnetHeaderSize: number
  persist: number
  offload: number
  /** Segments that follow each other are joined into super-frames. */
  join: number
  /** 0: leave as it is. */
  txQueueLength: number
  /** 0: leave as it is. */
  mtu: number
  up: number
}

/** What tapOpen returns: the device as it is, and the memory shared with it. */
export interface TapParts {
  readonly handle: TapHandle
  readonly name: string
  readonly kernelMac: number
  readonly mtu: number
  readonly queueLength: number
  readonly rxSlotSize: number
  readonly txSlotSize: number
  readonly uso: number
  readonly ring: ArrayBuffer
  readonly arena: ArrayBuffer
  readonly rxMeta: ArrayBuffer
  readonly txMeta: ArrayBuffer
  readonly stats: ArrayBuffer
}

/** Words of metadata of a slot, int32. */
export const Meta = {
  START: 0,
  END: 1,
  CHECKSUM: 2,
  GSO: 3,
  LEASED: 4,
  TEXT_FROM: 5,
  TEXT_LENGTH: 6,
  WORDS: 8,
} as const

/** Counters of a device, float64. */
export const TapStat = {
  RX_FRAMES: 0,
  RX_BYTES: 1,
  RX_BATCHES: 2,
  RX_OVERSIZE: 3,
  RX_RUNT: 4,
  TX_FRAMES: 5,
  TX_BYTES: 6,
  TX_DROP_FULL: 7,
  TX_DROP_DOWN: 8,
  TX_DROP_INVALID: 9,
  TX_DROP_LEASE: 10,
  TX_DROP_OTHER: 11,
  RX_FILTERED: 12,
} as const

export interface HeartbeatConfig {
  id: number
  address: string
  port: number
  key: Uint8Array
  priority: number
  intervalMs: number
  leaseMs: number
  turnLeaseMs: number
  silenceMs: number
  stuckMs: number
}

export interface HeartbeatParts {
  readonly handle: HeartbeatHandle
  readonly port: number
  readonly priority: number
  readonly table: ArrayBuffer
}

/** The head of the heartbeat's table, float64. JavaScript writes the first four, the thread the others. */
export const BeatSlot = {
  TURN: 0,
  TURN_AT: 1,
  RENEWED: 2,
  LEASE_UNTIL: 3,
  EXPIRATIONS: 4,
  LAST_BEAT_AT: 5,
  SEQ: 6,
  WORST_GAP: 7,
  SENT: 8,
  SEND_ERRORS: 9,
  RECEIVED: 10,
  BAD_PACKET: 11,
  BAD_TAG: 12,
  UNKNOWN: 13,
  REPLAYED: 14,
  UNPROVEN: 15,
  HEADER: 32,
} as const

/** One peer's row of the table, float64. */
export const PeerSlot = {
  ID: 0,
  LAST_HEARD_AT: 1,
  TURN: 2,
  TURN_AT: 3,
  ECHO_SEQ: 4,
  ECHO_SENT_AT: 5,
  FLAGS: 6,
  SEQ: 7,
  RECEIVED: 8,
  SIZE: 16,
} as const

export const PeerFlag = { USED: 1, HEARD: 2, SILENT: 4, STUCK: 8, EXPIRED: 16, GONE: 32 } as const

export interface Native {
  tapOpen(config: TapConfig, onBatch: (count: number) => void): TapParts
  tapWrite(handle: TapHandle, count: number, texts: readonly (Uint8Array | null)[]): number
  tapSetLease(handle: TapHandle, lease: HeartbeatHandle | null): void
  tapSpin(handle: TapHandle, microseconds: number): void
  tapFilter(handle: TapHandle, macs: Uint8Array): void
  tapDrain(handle: TapHandle): boolean
  tapPersist(handle: TapHandle, on: boolean): void
  tapRef(handle: TapHandle, on: boolean): void
  tapClose(handle: TapHandle): void
  heartbeatStart(
    config: HeartbeatConfig,
    onNotice: (peer: number, kind: number, since: Millis) => void,
  ): HeartbeatParts
  heartbeatAddPeer(handle: HeartbeatHandle, id: number, address: string, port: number): number
  heartbeatRemovePeer(handle: HeartbeatHandle, id: number): void
  heartbeatExpire(handle: HeartbeatHandle): void
  heartbeatLeaseHeld(handle: HeartbeatHandle): boolean
  heartbeatClose(handle: HeartbeatHandle): void
  /** Advisory lock of an open file: 0 lets go, 1 asks for a share, 2 for the whole. True: it has it. Never waits; throws SystemError. */
  bridgePortState(name: string, state: number): void
  fileLock(fd: number, kind: 0 | 1 | 2): boolean
}

/** What the addon throws when the system refuses. */
export interface SystemError extends Error {
  /** Such as 'ENOENT'. */
  readonly errno: string
  readonly syscall: string
  readonly device: string
}

export function isSystemError(error: unknown): error is SystemError {
  return error instanceof Error && 'errno' in error && 'syscall' in error && 'device' in error
}

const ADDON = join('native', 'understudy.node')

/** Beside this file's own build, else in the `build` of a folder above: tests may be compiled elsewhere. */
function candidates(): string[] {
  const named = process.env.UNDERSTUDY_NATIVE
  if (named !== undefined && named !== '') return [named]
  const here = dirname(fileURLToPath(import.meta.url))
  const root = join(here, '..', '..')
  const paths = [join(root, ADDON), join(root, 'build', ADDON)]
  return [...paths, join(process.cwd(), 'build', ADDON)]
}

let loaded: Native | null = null

/**
 * The addon, loaded at the first call. Throws StackError: `ERR_NATIVE_MISSING` when it is not built, `ERR_NATIVE_LOAD`
 * when it was built for another Node or machine.
 */
export function native(): Native {
  if (loaded !== null) return loaded
  const paths = candidates()
  const path = paths.find((candidate) => existsSync(candidate))
  if (path === undefined) {
    const message = `the native addon is missing (looked for ${paths.join(', ')}): run \`npm run build\``
    throw new StackError('ERR_NATIVE_MISSING', message)
  }
  try {
    loaded = createRequire(import.meta.url)(path) as Native
  } catch (cause) {
    const message = `the native addon ${path} does not load: ${(cause as Error).message}; delete it and run \`npm run build\``
    throw new StackError('ERR_NATIVE_LOAD', message, { cause })
  }
  return loaded
}

/** How far CLOCK_MONOTONIC, which process.hrtime reads, lies ahead of performance.now: constant within a process. */
const MONOTONIC_OFFSET = monotonicOffset()

/** Each reading is taken between two of the other clock; the narrowest pair is the truest. */
function monotonicOffset(): number {
  let offset = 0
  let narrowest = Number.POSITIVE_INFINITY
  for (let i = 0; i < 16; i++) {
    const before = performance.now()
    const there = Number(process.hrtime.bigint()) / 1e6
    const after = performance.now()
    if (after - before >= narrowest) continue
    narrowest = after - before
    offset = there - (before + after) / 2
  }
  return offset
}

/** CLOCK_MONOTONIC in milliseconds: the clock of the addon's instants. */
export function monotonicMs(): Millis {
  return performance.now() + MONOTONIC_OFFSET
}
