/**
 * What happened to a connection, kept as bits until somebody looks: the stack calls nobody upward.
 */

/** Bits of `Connection.events`. */
export const ConnectionEvent = {
  /** The handshake is complete. */
  CONNECTED: 1,
  /** There is something to read. */
  READABLE: 2,
  /** There is room to write again after a write that was cut short. */
  WRITABLE: 4,
  /** The peer will send no more; what came before may still be unread. */
  ENDED: 8,
  /** The connection is gone; `error` tells why, or is empty after an orderly close. */
  CLOSED: 16,
} as const
