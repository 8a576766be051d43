// hot path: no allocation per frame
/**
 * Pairs: which two connections of a binding a proxy has joined, as overheard (A7). The owner says so in the server's connection itself:
 * its ISS is a keyed hash of the client's connection (`pairedSequenceNumber`), so the pair is known with the SYN, before the server
 * has seen it, and nothing else has to be sent or stored.
 */
import { holdAddress, type IpAddress, type Seq, TcpState } from '../stack/index.js'
import type { FlowKey } from './flow-key.js'
import { type ProxiedEnds, type ProxyHeader, proxyHeader } from './proxy-header.js'
import type { Shadow } from './shadow.js'

/** Where a proxy takes the connections of one port. */
export interface ProxyTarget {
  readonly address: IpAddress
  readonly port: number
  /** What is said to the server before the client's octets; nothing when left out. */
  readonly header?: ProxyHeader
}

const NOTHING = new Uint8Array(0)

/** The ISS of the connection that belongs to the client's connection `shadow`. */
export type PairedIss = (shadow: Shadow) => Seq

export class Pairs {
  readonly #pairedIss: PairedIss
  readonly #targets = new Map<number, ProxyTarget>()
  // Clients' connections whose partner has not been heard of, by the ISS that it will have.
  readonly #waiting = new Map<Seq, Shadow>()

  constructor(pairedIss: PairedIss) {
    this.#pairedIss = pairedIss
  }

  /** What is said to `port` goes to `target` from now on, and back. */
  add(port: number, target: ProxyTarget): void {
    this.#targets.set(port, target)
    holdAddress(target.address)
  }

  /** Ports that a proxy serves. */
  get size(): number {
    return this.#targets.size
  }

  /** True when the local endpoint is one that a proxy serves. */
  isProxied(key: FlowKey): boolean {
    return this.#targets.has(key.localPort)
  }

  /** True when the connection leads from a proxy to its server. */
  // allocates: at a take-over, not per frame
  isServerSide(key: FlowKey): boolean {
    for (const { address, port } of this.#targets.values()) {
      if (address === key.remoteAddress && port === key.remotePort) return true
    }
    return false
  }

  /** Behind each segment of a connection without partner: it may tell what its partner is. */
  note(shadow: Shadow): void {
    if (this.#targets.size === 0 || !shadow.tcb.synSent) return
    const { tcb } = shadow
    if (!this.#targets.has(shadow.key.localPort)) {
      if (shadow.opener) this.#join(shadow)
    } else if (shadow.pairNumber === null && tcb.state >= TcpState.SYN_RECEIVED) {
      shadow.pairNumber = this.#pairedIss(shadow)
      this.#waiting.set(shadow.pairNumber, shadow)
    }
  }

  #join(shadow: Shadow): void {
    const client = this.#waiting.get(shadow.tcb.iss)
    if (client === undefined) return
    this.#waiting.delete(shadow.tcb.iss)
    this.join(client, shadow, client.key)
  }

  /** The two are a pair: what one receives the other sends, behind what the server is told of `ends`, the client's. */
  join(client: Shadow, server: Shadow, ends: ProxiedEnds): void {
    client.partner = server
    server.partner = client
    server.preface = this.prefaceFor(ends)
  }

  /** `told` has taken the place of `known`: if it is the same connection, its partner stays. */
  succeed(known: Shadow, told: Shadow): void {
    const { partner } = known
    if (partner === null || known.tcb.iss !== told.tcb.iss) return
    if (told.opener) this.join(partner, told, partner.key)
    else this.join(told, partner, told.key)
  }

  /** What a server is told before the octets of the client between these endpoints. */
  // allocates: once per connection
  prefaceFor(ends: ProxiedEnds): Uint8Array {
    const header = this.#targets.get(ends.localPort)?.header
    return header === undefined ? NOTHING : proxyHeader(header, ends)
  }

  /** The connection has left the table. */
  forget(shadow: Shadow): void {
    const { pairNumber } = shadow
    if (pairNumber !== null && this.#waiting.get(pairNumber) === shadow) {
      this.#waiting.delete(pairNumber)
    }
  }
}

/** Stream offset up to which a connection with a partner has produced its output. */
export function producedTo({ tcb, buffers }: Shadow): number {
  return Math.max(tcb.ackedOffset, buffers.sent.contiguousEnd)
}

/** Stream offset before which the input of a connection with this partner is needed no more: it has departed to the partner's peer. */
export function passedOn(partner: Shadow): number {
  return Math.max(producedTo(partner) - partner.preface.length, 0)
}
