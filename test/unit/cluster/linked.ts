/**
 * Nodes that hear each other and one client on a hub, for tests; what they say beside it is carried by hand.
 */
import type { NodeReport, Ownership } from '../../../cluster/index.js'
import { MemoryCheckpointStorage, MemoryMirrorStore } from '../../../cluster/memory-store.js'
import { isRecoveryMessage } from '../../../cluster/recovery-message.js'
import { Frame, parseIpv4Address } from '../../../stack/index.js'
import {
  ACK,
  encodeArp,
  encodeEthernet,
  encodeIp,
  encodeTcp,
  PROTOCOL,
  SYN,
} from '../../packet/codec.js'
import { attend, ONE, type Party, party } from './party.js'

const STEP = 10
export const CLIENT = parseIpv4Address('10.0.0.9')
export const VIRTUAL = parseIpv4Address('10.0.0.100')
const CLIENT_MAC = 0x02_00_00_00_00_99
export const macOf = (id: number): number => 0x02_00_00_00_00_00 + id

/** What somebody said for the virtual address. */
interface Said {
  readonly by: number
  readonly port: number
  readonly flags: number
  readonly seq: number
  /** The Ethernet address that it went to. */
  readonly to: number
}

export class Cluster {
  readonly parties: Party[] = []
  readonly dead = new Set<Party>()
  readonly said: Said[] = []
  readonly reports: { readonly by: number; readonly report: NodeReport }[] = []
  now = 1000
  /** Who talks to the nodes, and from which Ethernet address its frames come. */
  client = CLIENT
  clientMac = CLIENT_MAC
  /** Owner recovery directives are lost. */
  mute = false
  /** Nodes that are cut off from the link, and with `apart` from the control network too: there what is said waits. */
  readonly cut = new Set<number>()
  apart = false
  #kept: (() => void)[] = []
  /** What a node misses it may ask for. */
  repairs = false
  readonly #mirrors = new Map<number, MemoryMirrorStore>()
  readonly #sets: typeof ONE
  readonly #storage = new MemoryCheckpointStorage()

  constructor(count: number, sets = ONE) {
    this.#sets = sets
    for (let id = 1; id <= count; id++) this.parties.push(this.#party(id))
    for (const { node } of this.parties) node.start(this.now)
    this.run(1000)
    for (const { nic } of this.parties) nic.neighbors.learn(CLIENT, CLIENT_MAC, this.now)
  }

  #party(id: number): Party {
    const mirror = this.#mirrors.get(id) ?? new MemoryMirrorStore()
    this.#mirrors.set(id, mirror)
    const made = party(id, this.#storage, this.#sets, macOf(id), this.now, mirror)
    made.stack.listen(0 as never, 80)
    // What these tests let a node miss is not to be had any more: else it would be fetched, and nothing would be lacking.
    if (made.own.snooper.repair !== null) made.own.snooper.repair.enabled = this.repairs
    return made
  }

  /** A node that was killed is back, with an empty memory and what it had mirrored, and joins. */
  restart(id: number): void {
    this.#mirrors.get(id)?.crash()
    this.dead.delete(this.of(id))
    const made = this.#party(id)
    this.parties[id - 1] = made
    made.node.start(this.now)
    made.nic.neighbors.learn(CLIENT, CLIENT_MAC, this.now)
    this.run(STEP)
    for (const { node } of this.living) {
      if (node === made.node) continue
      node.handleChannel(id, true, this.now)
      made.node.handleChannel(node.options.id, true, this.now)
    }
    this.run(1500)
  }

  /** Who says something for the virtual address to the client's `port`. */
  speakers(port: number): number[] {
    return [...new Set(this.said.filter((each) => each.port === port).map(({ by }) => by))]
  }

  of(id: number): Party {
    return this.parties[id - 1] as Party
  }

  own(id: number): Ownership {
    return this.of(id).own
  }

  get living(): Party[] {
    return this.parties.filter((each) => !this.dead.has(each))
  }

  /** What the client says, heard by all but `deaf`. */
  says(fields: object, to: number, deaf: readonly number[] = []): void {
    const tcp = encodeTcp(
      { dstPort: 80, wnd: 9000, text: Buffer.alloc(0), ...fields } as never,
      this.client,
      VIRTUAL,
    )
    const ip = encodeIp(this.client, VIRTUAL, PROTOCOL.TCP, tcp)
    this.#hear(Buffer.from(encodeEthernet(macOf(to), this.clientMac, 0x0800, ip)), 0, deaf)
    this.run(STEP)
  }

  /** The client, or a router, asks for the virtual address. Who answers? */
  asksWhoHas(by = { ip: this.client, mac: this.clientMac }): number[] {
    this.said.length = 0
    const arp = encodeArp({
      operation: 1,
      senderMac: by.mac,
      senderIp: by.ip,
      targetMac: 0,
      targetIp: VIRTUAL,
    })
    this.#hear(Buffer.from(encodeEthernet(0xffff_ffff_ffff, by.mac, 0x0806, arp)), 0, [])
    const answered: number[] = []
    for (const each of this.living) {
      for (const frame of this.#frames(each)) {
        if (frame.readUInt16BE(12) === 0x0806 && frame.readUInt16BE(20) === 2)
          answered.push(each.node.options.id)
      }
    }
    return answered
  }

  /** One handshake of the client's, heard by all but `deaf`. */
  connects(port: number, deaf: readonly number[] = []): number {
    this.said.length = 0
    this.says({ srcPort: port, seq: 100, ack: 0, flags: SYN }, 1, deaf)
    const iss = this.said.find((each) => each.port === port)?.seq ?? 0
    this.says({ srcPort: port, seq: 101, ack: iss + 1, flags: ACK }, 1, deaf)
    return iss
  }

  run(ms: number): void {
    for (const end = this.now + ms; this.now < end; this.now += STEP) {
      for (const each of this.living) {
        const { node, stack } = each
        node.beginTurn(this.now)
        stack.handleTimeout(this.now)
        attend(node, this.now)
        for (let c = stack.pollReady(); c !== null; c = stack.pollReady()) c.events = 0
        for (const frame of this.#frames(each)) this.#hear(frame, node.options.id, [])
        for (const other of this.living) {
          const { id } = other.node.options
          if (other === each || (this.apart && this.#isBetween(id, node.options.id))) continue
          node.handleHeartbeat(id, this.now, this.now)
        }
      }
      for (const each of this.living) this.#act(each)
    }
  }

  /** All hear each other again. */
  heal(): void {
    this.cut.clear()
    this.apart = false
    for (const carry of this.#kept.splice(0)) carry()
  }

  #isBetween(a: number, b: number): boolean {
    return this.cut.has(a) !== this.cut.has(b)
  }

  /** The process ends; every fence around it is confirmed. */
  kill(id: number): void {
    this.dead.add(this.of(id))
    for (const { node } of this.living) node.handleChannel(id, false, this.now)
    this.run(600)
  }

  #act(from: Party): void {
    const { id } = from.node.options
    for (let a = from.node.pollAction(); a !== null; a = from.node.pollAction()) {
      if (a.kind === 'fence')
        from.node.handleFenced(a.node, this.dead.has(this.of(a.node)), this.now)
      else if (a.kind === 'report') this.reports.push({ by: id, report: a.report })
      else if (a.kind === 'send' || a.kind === 'tell') {
        if (this.mute && isRecoveryMessage(a.bytes)) continue
        for (const to of this.living) {
          if (to === from || (a.kind === 'tell' && a.node !== to.node.options.id)) continue
          const { bytes } = a
          const carry = () => to.node.handleMessage(id, bytes, this.now)
          if (this.apart && this.#isBetween(id, to.node.options.id)) this.#kept.push(carry)
          else carry()
        }
      }
    }
  }

  #frames({ stack }: Party): Buffer[] {
    const sent: Buffer[] = []
    for (let f = stack.pollTransmit(this.now); f !== null; f = stack.pollTransmit(this.now)) {
      sent.push(Buffer.from(f.bytes.subarray(f.start, f.end)))
    }
    return sent
  }

  #hear(bytes: Buffer, by: number, deaf: readonly number[]): void {
    if (by !== 0 && bytes.readUInt16BE(12) === 0x0800 && bytes[23] === PROTOCOL.TCP) {
      const tcp = 34
      this.said.push({
        by,
        port: bytes.readUInt16BE(tcp + 2),
        flags: bytes[tcp + 13] ?? 0,
        seq: bytes.readUInt32BE(tcp + 4),
        to: bytes.readUIntBE(0, 6),
      })
    }
    for (const { node, stack, nic } of this.living) {
      const { id } = node.options
      if (id === by || deaf.includes(id) || this.#isBetween(id, by)) continue
      const frame = new Frame(2048)
      frame.bytes.set(bytes, frame.start)
      frame.end = frame.start + bytes.length
      stack.receive(nic, frame, this.now)
    }
  }

  events(name: string): { by: number; report: NodeReport }[] {
    return this.reports.filter(({ report }) => report.event === name)
  }
}
