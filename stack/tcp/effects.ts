/**
 * Effects: what an arrived segment asks of an active endpoint, as bit flags. A shadow ignores them; an owner sets timers,
 * sends and wakes its application by them.
 */

/** Flags of an {@link EffectSet}. */
export const Effect = {
  NONE: 0,
  /** Acknowledge at once: the segment was unacceptable, out of order, filled a hole, or carried FIN. */
  ACK_NOW: 1,
  /** In-order text arrived: acknowledge now or a little later (RFC 9293 §3.8.6.3). */
  ACK_LATER: 2,
  /** RCV.NXT advanced over text. */
  TEXT: 4,
  /** SND.UNA advanced. */
  ACKED: 8,
  /** A duplicate acknowledgement in the sense of RFC 5681 §2. */
  DUP_ACK: 16,
  /** The peer's FIN is in order. */
  PEER_FIN: 32,
  /** The handshake is complete. */
  ESTABLISHED: 64,
  /** The peer reset the connection. */
  RESET: 128,
  /** The connection is closed in both directions and nothing is left to wait for. */
  CLOSED: 256,
  /** Send a challenge ACK (RFC 5961), rate-limited. */
  CHALLENGE: 512,
  /** Answer <SEQ=SEG.ACK><CTL=RST> (RFC 9293 §3.10.7); the connection goes on. */
  REPLY_RST: 1024,
  /** Nothing of the segment was taken. */
  DROPPED: 2048,
  /** The peer repeats its SYN: send our SYN again. */
  SYN_AGAIN: 4096,
  /** SND.WND changed. */
  WINDOW: 8192,
  /** Enter TIME-WAIT, or restart its timer. */
  TIME_WAIT: 16384,
  /** A new SYN takes the place of a connection in TIME-WAIT (RFC 9293 §3.6.1, RFC 6191). */
  REOPEN: 32768,
  /** The segment was dropped for its old timestamp (RFC 7323 §5.3). */
  PAWS: 65536,
} as const

/** An OR of {@link Effect} flags. */
export type EffectSet = number
