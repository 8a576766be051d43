// hot path: no allocation per frame
/**
 * What the wire tells about a transfer, without taking part in it: when the virtual address last brought a client
 * forward (text it had not sent before, or an acknowledgement of text not acknowledged before), from which MAC address
 * that came, and how many SYNs and RSTs went by. Stalls are computed from this alone.
 *
 * Sequence numbers: RFC 9293 §3.4, compared modulo 2^32. Retransmissions are not progress.
 */

const ETHERTYPE_IPV4 = 0x0800
const PROTOCOL_TCP = 6
const FIN = 1
const SYN = 2
const RST = 4
const ACK = 16
/** Instants of progress that are remembered; at one per batch of frames this is minutes. */
const MAX_INSTANTS = 1 << 16
/** In this span after a failure the longest silence is looked for when the MAC address tells nothing. */
const SILENCE_SPAN_MS = 2_000
const USUAL_SPAN_MS = 1_000

/** One connection of a client with the virtual address: how far the latter has got. */
class Flow {
  hasSent = false
  sentUpTo = 0
  hasAcked = false
  ackedUpTo = 0
}

export interface WireTotals {
  readonly frames: number
  /** Octets of text that the virtual address sent, each once. */
  readonly down: number
  /** Octets of text of the clients that the virtual address acknowledged. */
  readonly up: number
  readonly syns: number
  readonly resets: number
}

export class WireProgress {
  readonly #virtual: number
  readonly #flows = new Map<number, Flow>()
  readonly #at = new Float64Array(MAX_INSTANTS)
  /** The low 32 bits of the MAC address that the progress came from. */
  readonly #mac = new Int32Array(MAX_INSTANTS)
  #instants = 0
  #frames = 0
  #down = 0
  #up = 0
  #syns = 0
  #resets = 0

  /** `virtual` is the IPv4 address as an int32. */
  constructor(virtual: number) {
    this.#virtual = virtual | 0
  }

  totals(): WireTotals {
    // allocates: asked for a few times a second, not per frame
    return {
      frames: this.#frames,
      down: this.#down,
      up: this.#up,
      syns: this.#syns,
      resets: this.#resets,
    }
  }

  /** Takes note of the Ethernet frame `bytes[start, end)`, heard at `now`; `view` covers the same memory. */
  observe(bytes: Uint8Array, view: DataView, start: number, end: number, now: number): void {
    this.#frames++
    if (end - start < 54 || view.getUint16(start + 12) !== ETHERTYPE_IPV4) return
    const ip = start + 14
    if (bytes[ip + 9] !== PROTOCOL_TCP) return
    const headerLength = ((bytes[ip] ?? 0) & 15) * 4
    const tcp = ip + headerLength
    if (headerLength < 20 || tcp + 20 > end) return
    const flags = bytes[tcp + 13] ?? 0
    if (view.getInt32(ip + 16) === this.#virtual) {
      if ((flags & (SYN | ACK)) === SYN) this.#noteSyn(view, ip, tcp)
      if ((flags & RST) !== 0) this.#resets++
    } else if (view.getInt32(ip + 12) === this.#virtual) {
      if ((flags & RST) !== 0) this.#resets++
      else this.#noteDeparture(bytes, view, start, ip, tcp, flags, now)
    }
  }

  /**
   * The milliseconds for which a client got nothing new after the owner failed at `failedAt`: from its last progress, or
   * the failure if that was later, to the first progress through another MAC address. When all progress comes from one
   * address, the longest silence in the two seconds behind the failure. Undefined: too early to tell at `now`.
   */
  stall(failedAt: number, now: number): number | undefined {
    const failure = this.#firstAfter(failedAt)
    if (failure === this.#oldest()) return undefined
    const mac = this.#mac[(failure - 1) % MAX_INSTANTS]
    let before = failedAt
    let longest: number | undefined
    for (let i = failure; i < this.#instants; i++) {
      const at = this.#at[i % MAX_INSTANTS] ?? 0
      if (this.#mac[i % MAX_INSTANTS] !== mac) return at - before
      if (before - failedAt <= SILENCE_SPAN_MS) longest = Math.max(longest ?? 0, at - before)
      before = at
    }
    return now - failedAt > SILENCE_SPAN_MS ? longest : undefined
  }

  /** The longest silence in the second before `failedAt`: how unsteady the client is by itself. */
  usualSilence(failedAt: number): number {
    let longest = 0
    for (let i = this.#firstAfter(failedAt) - 1; i > this.#oldest(); i--) {
      const at = this.#at[i % MAX_INSTANTS] ?? 0
      if (failedAt - at > USUAL_SPAN_MS) break
      const before = this.#at[(i - 1) % MAX_INSTANTS] ?? 0
      longest = Math.max(longest, at - Math.max(before, failedAt - USUAL_SPAN_MS))
    }
    return longest
  }

  #oldest(): number {
    return Math.max(0, this.#instants - MAX_INSTANTS)
  }

  /** The number of the first instant of progress after `at`. */
  #firstAfter(at: number): number {
    let next = this.#instants
    while (next > this.#oldest() && (this.#at[(next - 1) % MAX_INSTANTS] ?? 0) > at) next--
    return next
  }

  #noteSyn(view: DataView, ip: number, tcp: number): void {
    this.#syns++
    this.#flows.delete(flowKey(view.getInt32(ip + 12), view.getUint16(tcp)))
  }

  #noteDeparture(
    bytes: Uint8Array,
    view: DataView,
    start: number,
    ip: number,
    tcp: number,
    flags: number,
    now: number,
  ): void {
    const key = flowKey(view.getInt32(ip + 16), view.getUint16(tcp + 2))
    let flow = this.#flows.get(key)
    if (flow === undefined) {
      flow = new Flow()
      this.#flows.set(key, flow)
    }
    const length = view.getUint16(ip + 2) - (tcp - ip) - ((bytes[tcp + 12] ?? 0) >> 4) * 4
    const first = view.getInt32(tcp + 4)
    const sentUpTo = (first + length + (flags & (SYN | FIN) ? 1 : 0)) | 0
    const sent = flow.hasSent ? (sentUpTo - flow.sentUpTo) | 0 : length
    if (!flow.hasSent || sent > 0) flow.sentUpTo = sentUpTo
    flow.hasSent = true
    let acked = 0
    if ((flags & ACK) !== 0) {
      const ackedUpTo = view.getInt32(tcp + 8)
      acked = flow.hasAcked ? (ackedUpTo - flow.ackedUpTo) | 0 : 0
      if (!flow.hasAcked || acked > 0) flow.ackedUpTo = ackedUpTo
      flow.hasAcked = true
    }
    if (sent > 0) this.#down += sent
    if (acked > 0) this.#up += acked
    if (sent > 0 || acked > 0) this.#noteProgress(now, view.getInt32(start + 8))
  }

  #noteProgress(now: number, mac: number): void {
    const last = (this.#instants + MAX_INSTANTS - 1) % MAX_INSTANTS
    if (this.#instants > 0 && this.#at[last] === now && this.#mac[last] === mac) return
    const next = this.#instants % MAX_INSTANTS
    this.#at[next] = now
    this.#mac[next] = mac
    this.#instants++
  }
}

function flowKey(address: number, port: number): number {
  return (address >>> 0) * 65_536 + port
}

/** `10.77.0.100` as an int32. */
export function parseIpv4(text: string): number {
  let value = 0
  for (const part of text.split('.')) value = (value << 8) | Number(part)
  return value
}

/** The low 32 bits of `02:75:73:00:00:01` as an int32. */
export function lowMac(text: string): number {
  return Number.parseInt(text.replaceAll(':', '').slice(4), 16) | 0
}
