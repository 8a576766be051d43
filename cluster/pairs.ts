// hot path: no allocation per frame
/**
 * Pairs: which two connections of a binding a proxy has joined, as overheard (A7). The owner says so in the server's connection itself:
 * its ISS is a keyed hash of the client's connection (`pairedSequenceNumber`), so the pair is known with the SYN, before the server
 * has seen it, and nothing else has to be sent or stored.
 */
import { holdAddress, type IpAddress, type Seq, TcpState } from '../stack/index.js'
import type { FlowKey } from './flow-key.js'
import type { Shadow } from './shadow.js'

/** Where a proxy takes the connections of one port. */
export interface ProxyTarget {
  readonly address: IpAddress
  readonly port: number
}

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
    join(client, shadow)
  }

  /** The connection has left the table. */
  forget(shadow: Shadow): void {
    const { pairNumber } = shadow
    if (pairNumber !== null && this.#waiting.get(pairNumber) === shadow) {
      this.#waiting.delete(pairNumber)
    }
  }
}

/** The two are a pair: what one receives the other sends. */
export function join(a: Shadow, b: Shadow): void {
  a.partner = b
  b.partner = a
}

/** Stream offset before which the input of a connection with this partner is needed no more: it has departed to the partner's peer. */
export function passedOn({ tcb, buffers }: Shadow): number {
  return Math.max(tcb.ackedOffset, buffers.sent.contiguousEnd)
}
