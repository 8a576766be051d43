/**
 * TraceConnection: one connection of a trace, seen by somebody who took no part in it. The shadow of its server's side follows
 * its state by the folds that an owner uses, and says whether a peer that had heard just this trace could have taken it over; two
 * streams hold what was said.
 */
import {
  ACK,
  add,
  arrivedUnseen,
  FIN,
  type IpAddress,
  type Ipv4Address,
  type Millis,
  RST,
  type Segment,
  SYN,
  TcpState,
} from '../stack/index.js'
import { Shadow, type Verdict } from './shadow.js'
import { type TextSink, TraceStream } from './trace-stream.js'

export interface TraceEndpoint {
  readonly address: IpAddress
  readonly port: number
}

/** Where the octets of a connection go, in order. */
export interface TraceSinks {
  readonly c2s: TextSink
  readonly s2c: TextSink
}

/**
 * How a connection stood at the end of the trace: the handshake unfinished; neither, one or both sides finished; or reset.
 */
export type TraceFinal = 'opening' | 'open' | 'half-closed' | 'closed' | 'reset'

export class TraceConnection {
  /** Number in the trace, from 1 on, in the order of first segments. */
  readonly number: number
  readonly client: TraceEndpoint
  readonly server: TraceEndpoint
  readonly c2s: TraceStream
  readonly s2c: TraceStream
  readonly firstAt: Millis
  lastAt: Millis
  isReset = false
  readonly #shadow: Shadow
  #established = false
  // Octets of text in the client's SYN (RFC 7413), which the server takes or leaves.
  #synText = 0

  constructor(
    number: number,
    client: TraceEndpoint,
    server: TraceEndpoint,
    sinks: TraceSinks,
    hasSyn: boolean,
    now: Millis,
  ) {
    this.number = number
    this.client = client
    this.server = server
    this.c2s = new TraceStream(sinks.c2s)
    this.s2c = new TraceStream(sinks.s2c)
    this.firstAt = now
    this.lastAt = now
    const key = {
      binding: 0,
      localAddress: server.address as Ipv4Address,
      localPort: server.port,
      remoteAddress: client.address as Ipv4Address,
      remotePort: client.port,
    }
    this.#shadow = new Shadow(key, null, hasSyn)
    // A trace is read for its streams, which have buffers of their own.
    this.#shadow.buffers.sent.limit = 0
  }

  get final(): TraceFinal {
    if (this.isReset) return 'reset'
    if (this.c2s.finSeen && this.s2c.finSeen) return 'closed'
    if (this.c2s.finSeen || this.s2c.finSeen) return 'half-closed'
    return this.#established ? 'open' : 'opening'
  }

  get isFinished(): boolean {
    return this.isReset || (this.c2s.finSeen && this.s2c.finSeen)
  }

  get verdict(): Verdict {
    return this.#shadow.verdict
  }

  /** Octets that the server acknowledged and that the trace does not have. */
  get gapLength(): number {
    return this.#shadow.gapLength
  }

  /** The state of the server's side. */
  get state(): TcpState {
    return this.#shadow.tcb.state
  }

  /** True when a SYN, seen now, opens another connection between the same endpoints. */
  isReplacedBy(seg: Segment, fromClient: boolean): boolean {
    if (!seg.has(SYN) || seg.has(ACK)) return false
    const stream = fromClient ? this.c2s : this.s2c
    if (stream.offers !== null) return stream.isn !== seg.seq
    // From the server: a simultaneous open, as long as it has said nothing.
    return stream.segments > 0
  }

  /** Takes one segment. `seg` is borrowed. */
  observe(seg: Segment, fromClient: boolean, now: Millis): void {
    this.lastAt = now
    const stream = fromClient ? this.c2s : this.s2c
    stream.observe(seg, now)
    if (seg.has(RST)) this.isReset = true
    const plain = !seg.has(SYN) && !seg.has(RST)
    if (plain && (seg.has(ACK) || seg.has(FIN))) this.#established ||= fromClient || !this.#hasSyn
    this.#fold(seg, fromClient, now)
  }

  get #hasSyn(): boolean {
    return this.c2s.offers !== null || this.s2c.offers !== null
  }

  #fold(seg: Segment, fromClient: boolean, now: Millis): void {
    const shadow = this.#shadow
    if (fromClient && seg.has(SYN)) this.#synText = seg.textLength
    shadow.observe(seg, fromClient ? 'inbound' : 'outbound', now)
    const { tcb, buffers } = shadow
    // The folds leave the text of a SYN to be sent again, as our owners do. This server took it.
    const tookText = !fromClient && seg.has(SYN) && this.#synText > 0
    if (tookText && seg.ack === add(tcb.irs, 1 + this.#synText)) {
      arrivedUnseen(tcb, buffers, this.#synText)
    }
    buffers.received.trim(buffers.received.contiguousEnd)
    buffers.received.compact()
  }
}

/** The states' meaning for people is in TcpState; a trace that begins in the middle has none. */
export function isTracked(connection: TraceConnection): boolean {
  return connection.verdict !== 'untracked' && connection.state !== TcpState.CLOSED
}
