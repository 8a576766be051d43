/**
 * RawLink: a Stack on a link of raw IPv4 packets in memory, under a clock that moves only when it is told to. The stack wants
 * Ethernet, so each packet gets a header on the way in and loses it on the way out; the one neighbour's address is known
 * from the start and never asked for. Times are whole microseconds of virtual time.
 */
import { Frame, type IpAddress, type Nic, type Rng, Stack, StackError } from '../../stack/index.js'

const OWN_MAC = 0x02_00_00_00_00_01
const PEER_MAC = 0x02_00_00_00_00_02
const ETHERNET_HEADER = Buffer.from('0200000000010200000000020800', 'hex')
const ETHERTYPE_AT = 12
const ETHERTYPE_IPV4 = 0x0800
// Instants in a row at which a timer may be due without the clock getting on.
const MAX_IDLE_TURNS = 1000

/** A packet that left: when, in microseconds, and its octets in hexadecimal. */
export type Departure = readonly [number, string]

export interface RawLinkOptions {
  readonly local: IpAddress
  /** The one host that can be reached. */
  readonly remote: IpAddress
  readonly mtu: number
  readonly seed: number
  /** Octets an application may leave unread. */
  readonly receiveLimit: number
}

export class RawLink {
  readonly stack: Stack
  readonly #nic: Nic
  readonly #remote: IpAddress
  readonly #frame: Frame
  readonly #sent: Departure[] = []
  #nowUs: number

  constructor(options: RawLinkOptions, nowUs: number) {
    const rng = new SeededRng(options.seed)
    const secret = Int32Array.from({ length: 4 }, () => rng.u32())
    this.stack = new Stack({ rng, secret, receiveLimit: options.receiveLimit })
    this.#nic = this.stack.addNic({ mac: OWN_MAC, mtu: options.mtu })
    this.#nic.setAddress(options.local, 24, 'assigned')
    this.#nic.routes.addOnLink(options.remote, 32)
    this.#remote = options.remote
    this.#frame = new Frame()
    this.#nowUs = nowUs
  }

  get nowUs(): number {
    return this.#nowUs
  }

  /** The same instant as the stack reads it. */
  get now(): number {
    return this.#nowUs / 1000
  }

  /** A packet arrives. Throws EINVAL when it is longer than any frame. */
  inject(packet: Uint8Array): void {
    const frame = this.#frame
    frame.reset()
    if (frame.start + ETHERNET_HEADER.length + packet.length > frame.bytes.length) {
      throw new StackError('EINVAL', `a packet of ${packet.length} octets fits no frame`)
    }
    frame.bytes.set(ETHERNET_HEADER, frame.start)
    frame.bytes.set(packet, frame.start + ETHERNET_HEADER.length)
    frame.end = frame.start + ETHERNET_HEADER.length + packet.length
    this.stack.receive(this.#nic, frame, this.now)
    this.settle()
  }

  /** Lets `us` microseconds pass, stopping at every deadline on the way. */
  advance(us: number): void {
    const end = this.#nowUs + us
    let idle = 0
    for (;;) {
      const at = Math.ceil(this.stack.nextDeadline() * 1000)
      if (at > end) break
      idle = at > this.#nowUs ? 0 : idle + 1
      if (idle > MAX_IDLE_TURNS) {
        throw new StackError('ERR_TIMER_STUCK', `a timer is due at ${at} us and does not end`)
      }
      this.#nowUs = Math.max(this.#nowUs, at)
      this.stack.handleTimeout(this.now)
      this.settle()
    }
    this.#nowUs = end
  }

  /** Lets the stack send what it has to, and takes the news of its connections, which are asked for by polling here. */
  settle(): void {
    this.#nic.neighbors.learn(this.#remote, PEER_MAC, this.now)
    for (;;) {
      const frame = this.stack.pollTransmit(this.now)
      if (frame === null) break
      if (frame.view.getUint16(frame.start + ETHERTYPE_AT) !== ETHERTYPE_IPV4) continue
      const packet = frame.bytes.subarray(frame.start + ETHERNET_HEADER.length, frame.end)
      this.#sent.push([this.#nowUs, Buffer.from(packet).toString('hex')])
    }
    for (let c = this.stack.pollReady(); c !== null; c = this.stack.pollReady()) c.events = 0
    while (this.stack.pollAccept() !== null);
  }

  /** What left since the last call. */
  takeSent(): Departure[] {
    return this.#sent.splice(0)
  }
}

// xorshift32: the same numbers for the same seed, so that a run can be repeated.
class SeededRng implements Rng {
  #state: number

  constructor(seed: number) {
    this.#state = (Math.imul(seed, 0x9e37_79b1) ^ 0x5bd1_e995) | 0 || 1
  }

  u32(): number {
    let x = this.#state
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    this.#state = x
    return x >>> 0
  }
}
