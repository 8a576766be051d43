/** What the node asks of the thread that has the database, and what it answers. */
import type { SessionMemory } from './memory.js'
import type { Failure, TransactionStatus } from './wire.js'

/** How the messages of a unit are meant: `probe` asks how COPY FROM STDIN begins. */
export type UnitForm = 'simple' | 'extended' | 'copy' | 'probe'

/**
 * One unit of work, or a part of one: what a client sends until it waits for ReadyForQuery. Units of a connection are numbered; the
 * number and the connection's id name the mark that a transaction leaves when it is committed.
 */
export interface UnitRequest {
  readonly connection: string
  readonly unit: number
  readonly form: UnitForm
  /** The client's messages, as they came. */
  readonly messages: Uint8Array
  /** The first unit behind a take-over: an owner before may have carried it out. */
  readonly recover: boolean
  /** What the client's transaction was when its owner died: it is lost. */
  readonly lost: TransactionStatus
  /** A part of the answer has been given, which cannot be given again. */
  readonly partial: boolean
  /** What the client is told in place of carrying the unit out, unless it has left a mark. */
  readonly instead: Failure | null
}

/** What comes of a unit. `answer`: what is not with the client yet, without ReadyForQuery. */
export interface UnitResult {
  readonly answer: Uint8Array
  readonly status: TransactionStatus
  /** What follows up to Sync is to be passed over. */
  readonly skips: boolean
  /** What is to be remembered of the client, when that has changed. */
  readonly memory: SessionMemory | null
}

export interface AttachResult {
  /** ParameterStatus messages, or none when it is refused. */
  readonly parameters: Uint8Array
  readonly refused: Failure | null
}

export type Request =
  | { readonly kind: 'open' | 'prepare' | 'warm'; readonly folder: string }
  | {
      readonly kind: 'attach'
      readonly connection: string
      readonly memory: SessionMemory
      readonly database: string | null
    }
  | { readonly kind: 'detach'; readonly connection: string }
  | { readonly kind: 'unit'; readonly request: UnitRequest }

/** A request on its way; answers carry its number. */
export type ToThread = Request & { readonly id: number }

export type FromThread =
  | { readonly kind: 'ready' }
  | { readonly kind: 'done'; readonly id: number; readonly result: unknown }
  | { readonly kind: 'failed'; readonly id: number; readonly message: string }
  /** A part of an answer. `progress`: it cannot be given again, as the unit writes. */
  | {
      readonly kind: 'chunk'
      readonly id: number
      readonly octets: Uint8Array
      readonly progress: boolean
    }
  /** What comes now leaves no mark: the thread waits until that is stored. */
  | { readonly kind: 'unmarked'; readonly id: number }

/** Words of the memory that the two threads share. */
export const Shared = {
  /** Octets of answers that the node has not passed on. */
  BEHIND: 0,
  /** Counts what was acknowledged of `unmarked`. */
  STORED: 1,
  /** Nobody wants the answer of the request with this number. */
  UNWANTED: 2,
} as const

/** Octets of an answer that may be under way between the threads. */
export const WINDOW = 1024 * 1024

/** A data directory as it was when it was made, packed, beside it. */
export const TEMPLATE = 'template.tar.gz'
