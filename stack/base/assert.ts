/**
 * Assertions stay on in production. They guard our own invariants and end the node when one is broken, because
 * fail-over is the recovery; they are never used on data from the wire or from a user.
 */

/** The error of a broken invariant: a fault of this program, never of its input. */
export class AssertionFailure extends Error {
  override readonly name = 'AssertionFailure'
  readonly code = 'ERR_ASSERTION_FAILURE'
}

/** Throws {@link AssertionFailure} unless `condition` holds. `message` names the invariant. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionFailure(message)
}
