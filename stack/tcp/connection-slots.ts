/**
 * ConnectionSlots: what is kept at a connection for those around it: its endpoints for the demultiplexer, its news for the
 * application, and the marks of the queues that it stands in. Nothing here has a part in the protocol.
 */

/** RFC 1122 §3.2.1.7. */
export const DEFAULT_HOP_LIMIT = 64

// What is true of a connection, or not.
const Mark = { OPENER: 1, RELEASED: 2, QUEUED: 4, RESTLESS: 8, STIRRED: 16, TRANSMITS: 32 } as const

export class ConnectionSlots {
  localAddress = 0
  localPort = 0
  remoteAddress = 0
  remotePort = 0
  /** Bits of {@link ConnectionEvent} that nobody has taken yet. */
  events = 0
  /** Stable code of what ended the connection: `ECONNRESET`, `ETIMEDOUT`, …; empty while it lives and after an orderly end. */
  error = ''
  /** What the network has said since the peer was last heard; the reason of a time-out, should it come to that. */
  softError = ''
  /** DSCP of what is sent, six bits (MUST-48; RFC 2474). It may change at any time. */
  dscp = 0
  /** TTL of what is sent (MUST-49). */
  hopLimit = DEFAULT_HOP_LIMIT
  /** A slot for the layer above; the stack never looks into it. */
  context: unknown = null
  /** What the application left behind on another node, for the layer above; null for a connection that was opened here. */
  resumption: unknown = null
  /** The other connection of a proxy's pair, whose input is this one's output and the other way round; or null. */
  partner: ConnectionSlots | null = null
  /** The listener that has this connection on its backlog, or null. */
  listener: unknown = null
  /** Of DeadlineHeap. */
  heapIndex = -1
  // Bits of Mark: that there are many connections is why each of these does not have a field of its own.
  #marks = 0

  /** True when the first SYN was ours. */
  get opener(): boolean {
    return (this.#marks & Mark.OPENER) !== 0
  }

  set opener(on: boolean) {
    this.#mark(Mark.OPENER, on)
  }

  /** True when the stack has let go of this connection: it sends nothing and takes nothing any more. */
  get released(): boolean {
    return (this.#marks & Mark.RELEASED) !== 0
  }

  set released(on: boolean) {
    this.#mark(Mark.RELEASED, on)
  }

  /** Of TouchedQueue. */
  get queued(): boolean {
    return (this.#marks & Mark.QUEUED) !== 0
  }

  set queued(on: boolean) {
    this.#mark(Mark.QUEUED, on)
  }

  /** Of RestQueue. */
  get restless(): boolean {
    return (this.#marks & Mark.RESTLESS) !== 0
  }

  set restless(on: boolean) {
    this.#mark(Mark.RESTLESS, on)
  }

  /** Of RestQueue: it has been at work since it came there. */
  get stirred(): boolean {
    return (this.#marks & Mark.STIRRED) !== 0
  }

  set stirred(on: boolean) {
    this.#mark(Mark.STIRRED, on)
  }

  /** Of the stack's list of those who may transmit. */
  get transmitQueued(): boolean {
    return (this.#marks & Mark.TRANSMITS) !== 0
  }

  set transmitQueued(on: boolean) {
    this.#mark(Mark.TRANSMITS, on)
  }

  #mark(mark: number, on: boolean): void {
    this.#marks = on ? this.#marks | mark : this.#marks & ~mark
  }
}
