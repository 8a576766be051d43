// hot path: no allocation per frame
/**
 * Pour: what one connection has received becomes what another one sends, with one copy from buffer to buffer. Octets are at each
 * instant in one of the two, so that an owner which steps down in between leaves none behind.
 */
import type { Connection } from './connection.js'

/** Moves what can be read from `from` to the send buffer of `to`, as far as there is room. Returns how many octets. */
export function pour(from: Connection, to: Connection): number {
  const received = from.buffers.received
  let moved = 0
  for (;;) {
    const start = received.start
    const length = Math.min(received.runFrom(start), from.readable)
    if (length === 0) return moved
    const at = received.placeOf(start, length)
    const taken = to.write(received.memory, at, at + length)
    from.consume(taken)
    moved += taken
    if (taken < length) return moved
  }
}
