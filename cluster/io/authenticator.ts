/**
 * The Authenticator of the link: HMAC-SHA256 (RFC 2104), truncated to 16 octets, of which RFC 2104 §5 asks for at least
 * half the hash. It proves who made a message, not when: replay is the business of epoch and serial number.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { StackError } from '../../stack/index.js'
import type { Authenticator } from '../authenticator.js'

/** Octets of a tag on the link. */
export const TAG_LENGTH = 16

const SHORTEST_KEY = 16

export class HmacAuthenticator implements Authenticator {
  readonly tagLength = TAG_LENGTH
  readonly #key: Uint8Array

  /** `key` is copied. Throws ERR_KEY_LENGTH when it has fewer than 16 octets. */
  constructor(key: Uint8Array) {
    if (key.length < SHORTEST_KEY) {
      throw new StackError(
        'ERR_KEY_LENGTH',
        `a key of ${key.length} octets is too short: give at least ${SHORTEST_KEY}, as deriveKey() does`,
      )
    }
    this.#key = Uint8Array.from(key)
  }

  sign(message: Uint8Array, into: Uint8Array, at: number): void {
    into.set(this.#tag(message), at)
  }

  verify(message: Uint8Array, tag: Uint8Array): boolean {
    return tag.length === TAG_LENGTH && timingSafeEqual(this.#tag(message), tag)
  }

  #tag(message: Uint8Array): Uint8Array {
    return createHmac('sha256', this.#key).update(message).digest().subarray(0, TAG_LENGTH)
  }
}
