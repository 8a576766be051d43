// hot path: no allocation per frame
/**
 * Observer: every connection of a trace, whoever its endpoints are (O2). It is the snooper without a binding: the same headers,
 * the same reassembly of fragments, the same folds, for a link of which no address is ours.
 */
import {
  ACK,
  type DropCounters,
  DropReason,
  endpointKey,
  type Frame,
  type IpAddress,
  IpProtocol,
  Ipv4Header,
  Ipv6Header,
  type Millis,
  parseIpv4,
  parseIpv6,
  parseSegment,
  Reassembler,
  Segment,
  SYN,
  verifyTransport,
} from '../stack/index.js'
import { TraceConnection, type TraceSinks } from './trace-connection.js'

export interface ObserverOptions {
  /** Take segments with a wrong checksum, as a capturing host writes them whose device completes them. */
  readonly trustChecksums: boolean
  /** Where the octets of a new connection go. */
  readonly sinksFor: (number: number) => TraceSinks
  /** Hears of each segment behind its fold; for printing. `seg` is borrowed. */
  readonly onSegment?: (connection: TraceConnection, seg: Segment, fromClient: boolean) => void
}

export class Observer {
  /** All connections of the trace, in the order of their first segments. */
  readonly connections: TraceConnection[] = []
  readonly drops: DropCounters
  segments = 0
  readonly #options: ObserverOptions
  // By the lower and then the higher endpoint of a connection.
  readonly #live = new Map<number, Map<number, TraceConnection>>()
  readonly #ip = new Ipv4Header()
  readonly #ip6 = new Ipv6Header()
  readonly #seg = new Segment()
  readonly #fragments: Reassembler

  constructor(options: ObserverOptions, drops: DropCounters) {
    this.#options = options
    this.drops = drops
    this.#fragments = new Reassembler(drops, true)
  }

  /** Takes the IPv4 datagram in `frame.bytes[start, end)`, padding allowed behind it. `frame` is borrowed. */
  observeIpv4(frame: Frame, start: number, end: number, now: Millis): DropReason {
    const ip = this.#ip
    const reason = parseIpv4(ip, frame.view, start, end, this.#options.trustChecksums)
    if (reason !== DropReason.NONE) return this.#drop(reason)
    while (this.#fragments.expire(now) !== null);
    if (!ip.isFragment) return this.#observeDatagram(ip, frame, now)
    const whole = this.#fragments.add(ip, frame, now)
    if (whole === null) return DropReason.NONE
    parseIpv4(ip, whole.view, whole.start, whole.end, true)
    return this.#observeDatagram(ip, whole, now)
  }

  /** Takes the IPv6 packet in `frame.bytes[start, end)`, padding allowed behind it. `frame` is borrowed. Fragments are dropped. */
  observeIpv6(frame: Frame, start: number, end: number, now: Millis): DropReason {
    const ip = this.#ip6
    const reason = parseIpv6(ip, frame.view, start, end)
    if (reason !== DropReason.NONE) return this.#drop(reason)
    if (ip.isFragment) return this.#drop(DropReason.IPV6_FRAGMENT)
    return this.#observeDatagram(ip, frame, now)
  }

  // The whole datagram with the header `ip`.
  #observeDatagram(ip: Ipv4Header | Ipv6Header, frame: Frame, now: Millis): DropReason {
    if (ip.protocol !== IpProtocol.TCP) return DropReason.NONE
    const reason = parseSegment(this.#seg, frame, ip)
    if (reason !== DropReason.NONE) return this.#drop(reason)
    const trusted = this.#options.trustChecksums
    const { payloadStart, payloadEnd, src, dst } = ip
    if (!trusted && !verifyTransport(frame, payloadStart, payloadEnd, src, dst, IpProtocol.TCP)) {
      return this.#drop(DropReason.TCP_BAD_CHECKSUM)
    }
    this.#observeSegment(this.#seg, src, dst, now)
    return DropReason.NONE
  }

  #observeSegment(seg: Segment, src: IpAddress, dst: IpAddress, now: Millis): void {
    this.segments++
    const from = endpointKey(src, seg.srcPort)
    const to = endpointKey(dst, seg.dstPort)
    const low = Math.min(from, to)
    const high = Math.max(from, to)
    let connection = this.#live.get(low)?.get(high)
    let fromClient = connection !== undefined && isFrom(connection, src, seg.srcPort)
    if (connection === undefined || connection.isReplacedBy(seg, fromClient)) {
      // The first SYN, or whoever spoke first, is the client's; a SYN-ACK is the server's.
      fromClient = !(seg.has(SYN) && seg.has(ACK))
      connection = this.#open(seg, src, dst, fromClient, now)
      this.#remember(low, high, connection)
    }
    connection.observe(seg, fromClient, now)
    this.#options.onSegment?.(connection, seg, fromClient)
  }

  // allocates: once per connection
  #open(
    seg: Segment,
    src: IpAddress,
    dst: IpAddress,
    fromClient: boolean,
    now: Millis,
  ): TraceConnection {
    const number = this.connections.length + 1
    const from = { address: src, port: seg.srcPort }
    const to = { address: dst, port: seg.dstPort }
    const hasSyn = seg.has(SYN) && !seg.has(ACK)
    const sinks = this.#options.sinksFor(number)
    const [client, server] = fromClient ? [from, to] : [to, from]
    const connection = new TraceConnection(number, client, server, sinks, hasSyn, now)
    this.connections.push(connection)
    return connection
  }

  // allocates: once per connection
  #remember(low: number, high: number, connection: TraceConnection): void {
    let others = this.#live.get(low)
    if (others === undefined) {
      others = new Map()
      this.#live.set(low, others)
    }
    others.set(high, connection)
  }

  #drop(reason: DropReason): DropReason {
    this.drops.count(reason)
    return reason
  }
}

function isFrom(connection: TraceConnection, address: IpAddress, port: number): boolean {
  return connection.client.port === port && connection.client.address === address
}
