/**
 * How messages of this cluster are told from forged ones. The core knows no cryptography: it is given an authenticator.
 */

/** Tags messages with a key that all nodes of the cluster hold. */
export interface Authenticator {
  /** Octets of a tag. */
  readonly tagLength: number
  /** Writes the tag of `message` to `into` at `at`. */
  sign(message: Uint8Array, into: Uint8Array, at: number): void
  /** True when `tag` is the tag of `message`; takes the same time whatever the difference. */
  verify(message: Uint8Array, tag: Uint8Array): boolean
}
