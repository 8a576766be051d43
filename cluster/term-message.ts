/**
 * TermMessage: what messages of the control channel about one binding have in common: who may have made them, and in which term of
 * ownership. A message that is malformed is no message, never an exception.
 *
 *    0  magic       which messages these are
 *    4  kind        among them
 *    5  flags
 *    6  binding
 *    8  epoch       64-bit float
 *   16  the rest, and behind it the tag
 */
import type { Authenticator } from './authenticator.js'

/** Octets before what a kind of message has of its own. */
export const TERM_HEADER_LENGTH = 16

/** The head of a message, and how long the message is without its tag. */
export interface TermHead {
  readonly kind: number
  readonly flags: number
  readonly binding: number
  readonly epoch: number
  readonly length: number
}

/** True when `bytes` claim to be one of the messages of `magic`. */
export function isTermMessage(bytes: Uint8Array, magic: number): boolean {
  return bytes.length >= TERM_HEADER_LENGTH && viewOf(bytes).getUint32(0) === magic
}

/** The head of one of the messages of `magic` that a node of this cluster has made, or null. */
export function openTermMessage(
  bytes: Uint8Array,
  magic: number,
  authenticator: Authenticator,
): TermHead | null {
  const length = bytes.length - authenticator.tagLength
  if (length < TERM_HEADER_LENGTH || !isTermMessage(bytes, magic)) return null
  if (!authenticator.verify(bytes.subarray(0, length), bytes.subarray(length))) return null
  const view = viewOf(bytes)
  return {
    kind: view.getUint8(4),
    flags: view.getUint8(5),
    binding: view.getUint16(6),
    epoch: view.getFloat64(8),
    length,
  }
}

/** Begins and ends messages of one binding and term; each is the caller's. */
export class TermMessageEncoder {
  readonly #authenticator: Authenticator
  readonly #magic: number
  readonly #binding: number
  readonly #epoch: number

  constructor(authenticator: Authenticator, magic: number, binding: number, epoch: number) {
    this.#authenticator = authenticator
    this.#magic = magic
    this.#binding = binding
    this.#epoch = epoch
  }

  /** A message of `length` octets, with room for its tag behind them; what follows its header is 0. */
  begin(kind: number, flags: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length + this.#authenticator.tagLength)
    const view = viewOf(bytes)
    view.setUint32(0, this.#magic)
    view.setUint8(4, kind)
    view.setUint8(5, flags)
    view.setUint16(6, this.#binding)
    view.setFloat64(8, this.#epoch)
    return bytes
  }

  /** Writes the tag of what was begun. */
  seal(bytes: Uint8Array): Uint8Array {
    const length = bytes.length - this.#authenticator.tagLength
    this.#authenticator.sign(bytes.subarray(0, length), bytes, length)
    return bytes
  }
}

/** Whether a number that came is an offset in a stream. */
export function isOffset(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
}
