// hot path: no allocation per frame
/**
 * What the wire tells about a transfer, without taking part in it: when the virtual address brought a client forward (text it
 * had not sent before, or an acknowledgement of text not acknowledged before), from which MAC address that came, and how many
 * SYNs and RSTs went by. Retransmissions are not progress.
 *
 * A stall is the time for which the virtual address owed the client something. It begins at the latest of three instants: the
 * failure, the last progress, and the first instant after that progress at which the virtual address could bring the client
 * forward at all. In a download that is when the client's window has room for a segment: a client that limits its own rate
 * lets its window fill and rests, and no server may send then. In an upload it is when the client has sent something that is
 * not acknowledged. The stall ends with the first progress through another MAC address.
 */
import { ipv6Words, isIpv4, parseIpAddress } from '../../stack/wire/ip-address.js'
import { Advance, WireFlow } from './wire-flow.js'

const ETHERTYPE_IPV4 = 0x0800
const ETHERTYPE_ARP = 0x0806
const ETHERTYPE_IPV6 = 0x86dd
const PROTOCOL_TCP = 6
const ETHERNET_HEADER = 14
const IPV6_HEADER = 40
const SYN = 2
const RST = 4
const ACK = 16
/** Instants that are remembered; at one per batch of frames this is minutes. */
const MAX_INSTANTS = 1 << 16
/** MAC addresses that have spoken for the virtual address. */
const MAX_SPEAKERS = 64
/** In this span after a failure the longest silence is looked for when the MAC address tells nothing. */
const SILENCE_SPAN_MS = 2_000
const USUAL_SPAN_MS = 1_000

/** What happened at an instant: progress with which it is the client's turn, or still the server's. */
const CLIENTS_TURN = 0
const SERVERS_TURN = 1
/** It became the server's turn; a new connection was asked for, with which what came before is over. */
const TURN_CAME = 2
const OPENED = 3

export interface WireTotals {
  readonly frames: number
  /** Octets of text that the virtual address sent, each once. */
  readonly down: number
  /** Octets of text of the clients that the virtual address acknowledged. */
  readonly up: number
  /** Connections that clients have opened: a SYN that is sent again counts once. */
  readonly syns: number
  readonly resets: number
  /** Frames of either side with text that had gone over the wire before. */
  readonly repeats: number
}

/** Frames that one MAC address sent in the name of the virtual address: as source of IP, or as sender of ARP. */
export interface Speaker {
  /** The low 32 bits of the MAC address. */
  readonly mac: number
  readonly ip: number
  readonly arp: number
}

export class WireProgress {
  // Its four words; of IPv4 the first one only.
  readonly #virtual: Int32Array
  readonly #flows = new Map<number, WireFlow>()
  readonly #at = new Float64Array(MAX_INSTANTS)
  readonly #mac = new Int32Array(MAX_INSTANTS)
  readonly #what = new Uint8Array(MAX_INSTANTS)
  #instants = 0
  readonly #speakers = new Int32Array(MAX_SPEAKERS)
  readonly #ipFrames = new Float64Array(MAX_SPEAKERS)
  readonly #arpFrames = new Float64Array(MAX_SPEAKERS)
  #speakerCount = 0
  #frames = 0
  #down = 0
  #up = 0
  #syns = 0
  // SEG.SEQ of each flow's SYN until the client says more: the same one again, as on a busy host, opens nothing.
  readonly #openings = new Map<number, number>()
  #resets = 0
  #repeats = 0
  // Octets of text per segment of the frame at hand.
  #segment = 0

  constructor(virtual: string) {
    this.#virtual = addressWords(virtual)
  }

  totals(): WireTotals {
    // allocates: asked for a few times a second, not per frame
    return {
      frames: this.#frames,
      down: this.#down,
      up: this.#up,
      syns: this.#syns,
      resets: this.#resets,
      repeats: this.#repeats,
    }
  }

  /** Who has spoken for the virtual address, and how often. */
  // allocates: asked for now and then, not per frame
  speakers(): Speaker[] {
    const list: Speaker[] = []
    for (let i = 0; i < this.#speakerCount; i++) {
      list.push({
        mac: this.#speakers[i] ?? 0,
        ip: this.#ipFrames[i] ?? 0,
        arp: this.#arpFrames[i] ?? 0,
      })
    }
    return list
  }

  /**
   * Takes note of the Ethernet frame `bytes[start, end)`, heard at `now`; `view` covers the same memory. `gsoSize`: octets of
   * text per segment of a super-frame, 0 for a plain one.
   */
  observe(
    bytes: Uint8Array,
    view: DataView,
    start: number,
    end: number,
    now: number,
    gsoSize = 0,
  ): void {
    this.#frames++
    if (end - start < 42) return
    const etherType = view.getUint16(start + 12)
    if (etherType === ETHERTYPE_ARP && this.#isVirtual(view, start + 28, 1)) {
      const speaker = this.#speaker(view.getInt32(start + 8))
      this.#arpFrames[speaker] = (this.#arpFrames[speaker] ?? 0) + 1
    }
    if (etherType !== ETHERTYPE_IPV4 && etherType !== ETHERTYPE_IPV6) return
    // Nobody in a lab sends extension headers.
    const v6 = etherType === ETHERTYPE_IPV6
    const words = v6 ? 4 : 1
    const ip = start + ETHERNET_HEADER
    const src = ip + (v6 ? 8 : 12)
    const dst = src + 4 * words
    if (dst + 4 * words > end) return
    const departs = this.#isVirtual(view, src, words)
    if (departs) {
      const speaker = this.#speaker(view.getInt32(start + 8))
      this.#ipFrames[speaker] = (this.#ipFrames[speaker] ?? 0) + 1
    } else if (!this.#isVirtual(view, dst, words)) return
    const headerLength = v6 ? IPV6_HEADER : ((bytes[ip] ?? 0) & 15) * 4
    const tcp = ip + headerLength
    const protocol = bytes[ip + (v6 ? 6 : 9)]
    if (protocol !== PROTOCOL_TCP || headerLength < 20 || tcp + 20 > end) return
    const flags = bytes[tcp + 13] ?? 0
    if ((flags & RST) !== 0) {
      this.#resets++
      return
    }
    const payload = v6 ? view.getUint16(ip + 4) : view.getUint16(ip + 2) - headerLength
    const length = payload - ((bytes[tcp + 12] ?? 0) >> 4) * 4
    this.#segment = gsoSize > 0 ? gsoSize : length
    // Of IPv6 the last word tells the clients of a lab apart.
    const client = view.getInt32((departs ? dst : src) + 4 * (words - 1))
    if (departs) this.#depart(bytes, view, start, tcp, length, client, now)
    else this.#arrive(bytes, view, tcp, length, client, now)
  }

  #isVirtual(view: DataView, at: number, words: number): boolean {
    for (let i = 0; i < words; i++) {
      if (view.getInt32(at + 4 * i) !== this.#virtual[i]) return false
    }
    return this.#virtual.length === words
  }

  /**
   * The milliseconds for which a client got nothing new although it could have, after the owner failed at `failedAt`: see
   * above. When all progress comes from one address, the longest such silence in the two seconds behind the failure.
   * Undefined: too early to tell at `now`. Meant for one transfer at a time.
   */
  stall(failedAt: number, now: number): number | undefined {
    const last = this.#lastProgressUpTo(failedAt)
    if (last < 0) return undefined
    const mac = this.#mac[last % MAX_INSTANTS]
    let since = this.#turnBehind(last)
    let longest: number | undefined
    for (let i = last + 1; i < this.#instants; i++) {
      const at = this.#at[i % MAX_INSTANTS] ?? 0
      const what = this.#what[i % MAX_INSTANTS]
      if (what === TURN_CAME || what === OPENED) {
        since = what === OPENED ? at : Math.min(since, at)
        continue
      }
      const silence = Math.max(0, at - Math.max(since, failedAt))
      if (this.#mac[i % MAX_INSTANTS] !== mac) return silence
      if (at - silence - failedAt <= SILENCE_SPAN_MS) longest = Math.max(longest ?? 0, silence)
      since = this.#turnBehind(i)
    }
    return now - failedAt > SILENCE_SPAN_MS ? longest : undefined
  }

  /** The longest silence of the same kind in the second before `failedAt`: how steady the server is by itself. */
  usualSilence(failedAt: number): number {
    const from = failedAt - USUAL_SPAN_MS
    const first = this.#lastProgressUpTo(from)
    let since = first < 0 ? Number.POSITIVE_INFINITY : this.#turnBehind(first)
    let longest = 0
    for (let i = Math.max(first + 1, this.#oldest()); i < this.#instants; i++) {
      const at = this.#at[i % MAX_INSTANTS] ?? 0
      if (at > failedAt) break
      const what = this.#what[i % MAX_INSTANTS]
      if (what === TURN_CAME || what === OPENED) {
        since = what === OPENED ? at : Math.min(since, at)
        continue
      }
      longest = Math.max(longest, at - Math.max(since, from))
      since = this.#turnBehind(i)
    }
    return longest
  }

  // Since when it is the server's turn behind the progress number `i`; infinite when it is the client's.
  #turnBehind(i: number): number {
    if (this.#what[i % MAX_INSTANTS] === CLIENTS_TURN) return Number.POSITIVE_INFINITY
    return this.#at[i % MAX_INSTANTS] ?? 0
  }

  #oldest(): number {
    return Math.max(0, this.#instants - MAX_INSTANTS)
  }

  /** The number of the last instant of progress that is not after `at`, or -1. */
  #lastProgressUpTo(at: number): number {
    for (let i = this.#instants - 1; i >= this.#oldest(); i--) {
      if ((this.#what[i % MAX_INSTANTS] ?? 0) >= TURN_CAME) continue
      if ((this.#at[i % MAX_INSTANTS] ?? 0) <= at) return i
    }
    return -1
  }

  #speaker(mac: number): number {
    for (let i = 0; i < this.#speakerCount; i++) if (this.#speakers[i] === mac) return i
    // The last place takes all that come too late for one of their own.
    const next = Math.min(this.#speakerCount, MAX_SPEAKERS - 1)
    this.#speakers[next] = mac
    this.#speakerCount = next + 1
    return next
  }

  #arrive(
    bytes: Uint8Array,
    view: DataView,
    tcp: number,
    length: number,
    client: number,
    now: number,
  ): void {
    const key = flowKey(client, view.getUint16(tcp))
    const opens = ((bytes[tcp + 13] ?? 0) & (SYN | ACK)) === SYN
    if (opens && this.#openings.get(key) !== view.getUint32(tcp + 4)) {
      this.#openings.set(key, view.getUint32(tcp + 4))
      this.#syns++
      this.#flows.delete(key)
      this.#note(now, 0, OPENED)
    } else if (!opens) {
      this.#openings.delete(key)
    }
    const flow = this.#flow(key)
    const before = flow.serversTurn
    flow.arrive(bytes, view, tcp, length, this.#segment)
    if (flow.repeated(false) > 0) this.#repeats++
    if (!before && flow.serversTurn) this.#note(now, 0, TURN_CAME)
  }

  #depart(
    bytes: Uint8Array,
    view: DataView,
    start: number,
    tcp: number,
    length: number,
    client: number,
    now: number,
  ): void {
    const flow = this.#flow(flowKey(client, view.getUint16(tcp + 2)))
    const advance = flow.depart(bytes, view, tcp, length, this.#segment)
    if (flow.repeated(true) > 0) this.#repeats++
    if (flow.sent > 0) this.#down += flow.sent
    if (flow.acked > 0) this.#up += flow.acked
    if (advance === Advance.NONE) return
    this.#note(now, view.getInt32(start + 8), flow.serversTurn ? SERVERS_TURN : CLIENTS_TURN)
  }

  #flow(key: number): WireFlow {
    let flow = this.#flows.get(key)
    if (flow === undefined) {
      // allocates: once per connection
      flow = new WireFlow()
      this.#flows.set(key, flow)
    }
    return flow
  }

  #note(now: number, mac: number, what: number): void {
    const last = (this.#instants + MAX_INSTANTS - 1) % MAX_INSTANTS
    const same = this.#instants > 0 && this.#at[last] === now && this.#mac[last] === mac
    // Several frames of one batch are one instant; what the last of them left is what counts.
    if (!same || what >= TURN_CAME || (this.#what[last] ?? 0) >= TURN_CAME) this.#instants++
    const place = (this.#instants + MAX_INSTANTS - 1) % MAX_INSTANTS
    this.#at[place] = now
    this.#mac[place] = mac
    this.#what[place] = what
  }
}

function flowKey(address: number, port: number): number {
  return (address >>> 0) * 65_536 + port
}

/** The words of `10.77.0.100`, one, or of `fd77::100`, four. */
// allocates: once per address of the settings
export function addressWords(text: string): Int32Array {
  const address = parseIpAddress(text)
  return isIpv4(address) ? Int32Array.of(address) : Int32Array.from(ipv6Words(address))
}

/** The low 32 bits of `02:75:73:00:00:01` as an int32. */
export function lowMac(text: string): number {
  return Number.parseInt(text.replaceAll(':', '').slice(4), 16) | 0
}
