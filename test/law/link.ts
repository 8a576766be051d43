/**
 * A client stack and an owner stack on a bridge, on virtual time. The bridge stands beside the owner: frames may be lost,
 * doubled and swapped between client and bridge only, so whoever watches the bridge sees just what the owner sees and says.
 */
import {
  type Connection,
  Frame,
  type IpAddress,
  IpProtocol,
  Ipv4Header,
  Ipv6Header,
  type Millis,
  NEVER,
  type Nic,
  parseIpAddress,
  parseIpv4,
  parseIpv4Address,
  parseIpv6,
  parseSegment,
  Segment,
  Stack,
  TCB_FIELDS,
  type Tcb,
} from '../../stack/index.js'
import { internetChecksum } from '../../stack/wire/checksum.js'
import { EthernetHeader, EtherType, parseEthernet } from '../../stack/wire/ethernet.js'
import { HEADROOM } from '../../stack/wire/frame.js'
import type { Random } from './random.js'

export const CLIENT = parseIpv4Address('10.0.0.1')
export const OWNER = parseIpv4Address('10.0.0.2')
export const PORT = 80
export const CLIENT6 = parseIpAddress('2001:db8::1')
export const OWNER6 = parseIpAddress('2001:db8::2')
const CLIENT_MAC = 0x02_00_00_00_00_01
const OWNER_MAC = 0x02_00_00_00_00_02

export interface Faults {
  readonly loss: number
  readonly duplicate: number
  readonly jitterMs: number
  /** How often a frame that is ECN-capable gets the mark of congestion (RFC 3168). */
  readonly mark?: number
}

export interface Limits {
  readonly receiveLimit: number
  readonly sendLimit: number
  /** Both ends send super-frames, which nothing on the way cuts, with checksums that nobody completes. */
  readonly offload?: boolean
  readonly ipv6?: boolean
}

/** Sees each TCP segment on the bridge. `seg` is borrowed. */
export type Watch = (seg: Segment, direction: 'inbound' | 'outbound', now: Millis) => void

interface Flight {
  readonly at: Millis
  readonly toOwner: boolean
  readonly frame: Frame
}

function ends({ ipv6 }: Limits): readonly [client: IpAddress, owner: IpAddress] {
  return ipv6 === true ? [CLIENT6, OWNER6] : [CLIENT, OWNER]
}

export function newHost(
  address: IpAddress,
  mac: number,
  random: Random,
  limits: Limits,
): [Stack, Nic] {
  const stack = new Stack({
    rng: random,
    secret: new Int32Array([1, 2, 3, 4]),
    ecn: 'offer',
    ...limits,
  })
  const offload = limits.offload === true
  const nic = stack.addNic({
    mac,
    mtu: 1500,
    offload: { checksum: offload, tso: offload, uso: false },
  })
  nic.setAddress(address, 24, 'assigned')
  const [client, owner] = ends(limits)
  nic.neighbors.learn(
    address === client ? owner : client,
    address === client ? OWNER_MAC : CLIENT_MAC,
    0,
  )
  return [stack, nic]
}

export class Link {
  now: Millis = 1_000_000
  readonly random: Random
  readonly faults: Faults
  readonly clientAddress: IpAddress
  readonly ownerAddress: IpAddress
  readonly client: Stack
  readonly #clientNic: Nic
  owner: Stack
  #ownerNic: Nic
  watch: Watch = () => {}
  readonly #limits: Limits
  #flights: Flight[] = []
  readonly #ethernet = new EthernetHeader()
  readonly #ip = new Ipv4Header()
  readonly #ip6 = new Ipv6Header()
  readonly #seg = new Segment()

  constructor(random: Random, faults: Faults, limits: Limits) {
    ;[this.clientAddress, this.ownerAddress] = ends(limits)
    this.random = random
    this.faults = faults
    this.#limits = limits
    ;[this.client, this.#clientNic] = newHost(ends(limits)[0], CLIENT_MAC, random, limits)
    ;[this.owner, this.#ownerNic] = newHost(ends(limits)[1], OWNER_MAC, random, limits)
  }

  /** Takes the owner away; another stack with the same address stands in its place. Returns its NIC. */
  replaceOwner(): Nic {
    ;[this.owner, this.#ownerNic] = newHost(
      ends(this.#limits)[1],
      OWNER_MAC,
      this.random,
      this.#limits,
    )
    return this.#ownerNic
  }

  connect(): Connection {
    return this.client.connect(this.ownerAddress, PORT, this.now, this.clientAddress)
  }

  /** Lets both ends send what they have, and shows it to the watcher. */
  exchange(): void {
    for (
      let f = this.owner.pollTransmit(this.now);
      f !== null;
      f = this.owner.pollTransmit(this.now)
    ) {
      this.#show(f, 'outbound')
      this.#fly(f, false)
    }
    for (
      let f = this.client.pollTransmit(this.now);
      f !== null;
      f = this.client.pollTransmit(this.now)
    ) {
      this.#fly(f, true)
    }
  }

  #fly(frame: Frame, toOwner: boolean): void {
    const { loss, duplicate, jitterMs, mark = 0 } = this.faults
    const copies = this.random.chance(loss) ? 0 : this.random.chance(duplicate) ? 2 : 1
    for (let i = 0; i < copies; i++) {
      const copy = new Frame(HEADROOM + Math.max(frame.length, 2048))
      copy.copyFrom(frame)
      if (this.random.chance(mark)) experienceCongestion(copy)
      this.#flights.push({
        at: this.now + 0.2 + (this.random.below(1000) / 1000) * jitterMs,
        toOwner,
        frame: copy,
      })
    }
    this.#flights.sort((a, b) => a.at - b.at)
  }

  #show(frame: Frame, direction: 'inbound' | 'outbound'): void {
    const { view } = frame
    parseEthernet(this.#ethernet, frame)
    const { etherType, payloadStart, payloadEnd } = this.#ethernet
    const ip = etherType === EtherType.IPV6 ? this.#ip6 : this.#ip
    if (ip === this.#ip6) parseIpv6(this.#ip6, view, payloadStart, payloadEnd)
    else parseIpv4(this.#ip, view, payloadStart, payloadEnd)
    if (etherType === EtherType.ARP || ip.protocol !== IpProtocol.TCP) return
    parseSegment(this.#seg, frame, ip)
    this.watch(this.#seg, direction, this.now)
  }

  /** Goes on to the next thing that happens. False when nothing will. */
  step(): boolean {
    const first = this.#flights[0]
    const at = Math.min(first?.at ?? NEVER, this.client.nextDeadline(), this.owner.nextDeadline())
    if (at === NEVER) return false
    this.now = Math.max(this.now, at)
    if (first !== undefined && first.at <= this.now) {
      this.#flights.shift()
      if (first.toOwner) {
        this.#show(first.frame, 'inbound')
        this.owner.receive(this.#ownerNic, first.frame, this.now)
      } else this.client.receive(this.#clientNic, first.frame, this.now)
    }
    this.client.handleTimeout(this.now)
    this.owner.handleTimeout(this.now)
    this.exchange()
    return true
  }
}

// A router that is congested: ECT becomes CE, other frames stay as they are.
function experienceCongestion(frame: Frame): void {
  const { view, start } = frame
  if (view.getUint16(start + 12) === EtherType.IPV6) {
    if ((view.getUint8(start + 15) & 0x30) !== 0) {
      view.setUint8(start + 15, view.getUint8(start + 15) | 0x30)
    }
    return
  }
  if (view.getUint16(start + 12) !== EtherType.IPV4 || (view.getUint8(start + 15) & 3) === 0) return
  view.setUint8(start + 15, view.getUint8(start + 15) | 3)
  view.setUint16(start + 24, 0)
  view.setUint16(start + 24, internetChecksum(view, start + 14, start + 34))
}

/** One end of a connection: writes what it is given, reads all it gets, ends its side when `ends` says so. */
export class End {
  connection: Connection
  readonly out: Uint8Array
  written: number
  readonly got: number[] = []
  ended = false
  readonly #chunk = new Uint8Array(4096)

  constructor(connection: Connection, out: Uint8Array, written = 0) {
    this.connection = connection
    this.out = out
    this.written = written
  }

  pump(random: Random, ends: boolean): void {
    const c = this.connection
    for (
      let n = c.read(this.#chunk, 0, 1 + random.below(4096));
      n > 0;
      n = c.read(this.#chunk, 0, this.#chunk.length)
    ) {
      for (let i = 0; i < n; i++) this.got.push(this.#chunk[i] as number)
      if (random.chance(0.3)) break
    }
    if (this.written < this.out.length && !c.closed) {
      const to = Math.min(this.out.length, this.written + 1 + random.below(9000))
      this.written += c.write(this.out, this.written, to)
    } else if (ends && !this.ended) {
      this.ended = true
      c.shutdown()
    }
  }
}

/** The fields in which two Tcbs differ. */
export function differing(a: Tcb, b: Tcb): string[] {
  return TCB_FIELDS.filter((field) => a[field] !== b[field]).map(
    (field) => `${field}: owner ${a[field]}, shadow ${b[field]}`,
  )
}
