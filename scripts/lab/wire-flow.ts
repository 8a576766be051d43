// hot path: no allocation per frame
/**
 * WireFlow: one connection between a client and the virtual address as the wire shows it: how far each side has got, and
 * whether it is the server's turn.
 *
 * Sequence numbers: RFC 9293 §3.4, compared modulo 2^32. The scale of the windows: RFC 7323 §2, in force only when both SYNs
 * offered it. Of a connection whose SYNs were not heard no window is known: it always has room.
 */

const FIN = 1
const SYN = 2
const ACK = 16
const OPTION_END = 0
const OPTION_NOP = 1
const OPTION_WINDOW_SCALE = 3
const MAX_SHIFT = 14
const UNKNOWN = -1
const NOT_OFFERED = -2

/** What a frame of the virtual address brought. */
export const Advance = { NONE: 0, TEXT: 1, ACKNOWLEDGEMENT: 2 } as const
export type Advance = (typeof Advance)[keyof typeof Advance]

/** One direction: who sends, how far, and what window it offers to the other. */
class Side {
  started = false
  /** Behind the highest octet sent. */
  sentUpTo = 0
  acking = false
  /** Behind the highest octet of the other side that it has acknowledged. */
  ackedUpTo = 0
  /** Behind the last octet that it lets the other side send. */
  edge = 0
  /** Octets of its largest segment. */
  segment = 1
  shift = UNKNOWN
  /** What the last segment added to `sentUpTo` and to `ackedUpTo`. */
  sent = 0
  acked = 0
  /** Octets of text that the last segment sent for a second time. */
  repeated = 0

  /** Takes text of this side in; `segment` is the length of its segments, `window` is shifted already. */
  take(
    seq: number,
    length: number,
    ack: number,
    window: number,
    flags: number,
    segment: number,
  ): void {
    const end = (seq + length + (flags & (SYN | FIN) ? 1 : 0)) | 0
    const old = this.started ? (this.sentUpTo - seq) | 0 : 0
    this.repeated = Math.max(0, Math.min(length, old))
    this.sent = this.started ? (end - this.sentUpTo) | 0 : length
    if (!this.started || this.sent > 0) this.sentUpTo = end
    this.started = true
    if (segment > this.segment) this.segment = segment
    this.acked = 0
    if ((flags & ACK) === 0) return
    this.acked = this.acking ? (ack - this.ackedUpTo) | 0 : 0
    if (!this.acking || this.acked > 0) this.ackedUpTo = ack
    const edge = (ack + window) | 0
    if (!this.acking || ((edge - this.edge) | 0) > 0) this.edge = edge
    this.acking = true
  }
}

export class WireFlow {
  readonly #client = new Side()
  readonly #server = new Side()
  #download = false

  /** Octets of text that the last segment of the virtual address sent for the first time; may be negative. */
  get sent(): number {
    return this.#server.sent
  }

  /** Octets of the client's text that the last segment of the virtual address acknowledged for the first time. */
  get acked(): number {
    return this.#server.acked
  }

  /** Octets of text that the last segment of `departs`, the virtual address or the client, repeated. */
  repeated(departs: boolean): number {
    return departs ? this.#server.repeated : this.#client.repeated
  }

  /**
   * A segment of the virtual address; its header starts at `tcp`, its text has `length` octets. In a super-frame `segment` is
   * how many each of its segments has.
   */
  depart(
    bytes: Uint8Array,
    view: DataView,
    tcp: number,
    length: number,
    segment = length,
  ): Advance {
    this.#observe(this.#server, this.#client, bytes, view, tcp, length, segment)
    if (this.#server.sent > 0) {
      this.#download = true
      return Advance.TEXT
    }
    if (this.#server.acked <= 0) return Advance.NONE
    this.#download = false
    return Advance.ACKNOWLEDGEMENT
  }

  /** A segment of the client. */
  arrive(bytes: Uint8Array, view: DataView, tcp: number, length: number, segment = length): void {
    this.#observe(this.#client, this.#server, bytes, view, tcp, length, segment)
  }

  /**
   * Whether the virtual address could bring the client forward. In a download: the client's window has room for a segment. In
   * an upload: the client has sent what is not acknowledged, or may not send because the virtual address offers no room.
   */
  get serversTurn(): boolean {
    if (this.#download) return hasRoom(this.#client, this.#server)
    const outstanding = (this.#client.sentUpTo - this.#server.ackedUpTo) | 0
    return !this.#client.started || outstanding > 0 || !hasRoom(this.#server, this.#client)
  }

  #observe(
    from: Side,
    to: Side,
    bytes: Uint8Array,
    view: DataView,
    tcp: number,
    length: number,
    segment: number,
  ): void {
    const flags = bytes[tcp + 13] ?? 0
    if ((flags & SYN) !== 0) from.shift = offeredShift(bytes, tcp)
    const scaled = (flags & SYN) === 0 && from.shift >= 0 && to.shift >= 0
    const window = view.getUint16(tcp + 14) << (scaled ? from.shift : 0)
    from.take(view.getInt32(tcp + 4), length, view.getInt32(tcp + 8), window, flags, segment)
  }
}

// Whether `receiver` lets `sender` send one more segment as large as its largest.
function hasRoom(receiver: Side, sender: Side): boolean {
  if (receiver.shift === UNKNOWN || sender.shift === UNKNOWN || !receiver.acking) return true
  return ((receiver.edge - sender.sentUpTo) | 0) >= sender.segment
}

// The Window Scale option of a SYN (RFC 7323 §2.2), NOT_OFFERED when there is none.
function offeredShift(bytes: Uint8Array, tcp: number): number {
  const end = tcp + ((bytes[tcp + 12] ?? 0) >> 4) * 4
  let at = tcp + 20
  while (at < end && at < bytes.length) {
    const kind = bytes[at] ?? OPTION_END
    if (kind === OPTION_END) break
    if (kind === OPTION_NOP) {
      at++
      continue
    }
    const length = bytes[at + 1] ?? 0
    if (length < 2) break
    if (kind === OPTION_WINDOW_SCALE) return Math.min(bytes[at + 2] ?? 0, MAX_SHIFT)
    at += length
  }
  return NOT_OFFERED
}
