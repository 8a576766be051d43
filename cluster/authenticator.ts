/**
 * Authenticator: tells messages of this cluster from forged ones, with a key that all its nodes hold.
 */
export interface Authenticator {
  /** Octets of a tag. */
  readonly tagLength: number
  /** Writes the tag of `message` to `into` at `at`. */
  sign(message: Uint8Array, into: Uint8Array, at: number): void
  /** True when `tag` is the tag of `message`; takes the same time whatever the difference. */
  verify(message: Uint8Array, tag: Uint8Array): boolean
}
