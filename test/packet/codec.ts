/**
 * Frames as the scripted peer writes and reads them: a second, naive codec, so that no slip of the stack's own can hide
 * behind the same slip here. It allocates at will and throws at whatever is not exactly right on the wire.
 */
export const FIN = 0x01
export const SYN = 0x02
export const RST = 0x04
export const PSH = 0x08
export const ACK = 0x10
export const URG = 0x20
export const ECE = 0x40
export const CWR = 0x80

export const PROTOCOL = { ICMP: 1, TCP: 6, UDP: 17 } as const

/** A TCP segment with absolute sequence numbers. */
export interface TcpFields {
  srcPort: number
  dstPort: number
  seq: number
  ack: number
  flags: number
  wnd: number
  mss?: number | undefined
  windowScale?: number | undefined
  sackPermitted?: boolean | undefined
  ts?: readonly [val: number, ecr: number] | undefined
  sack?: readonly (readonly [left: number, right: number])[] | undefined
  /** Options as octets, in place of those above. */
  rawOptions?: readonly number[] | undefined
  text: Buffer
}

function sum16(bytes: Buffer, initial = 0): number {
  let sum = initial
  for (let i = 0; i < bytes.length; i++) sum += (bytes[i] as number) << (i % 2 === 0 ? 8 : 0)
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000)
  return sum
}

function u32(n: number): number[] {
  return [(n >>> 24) & 255, (n >>> 16) & 255, (n >>> 8) & 255, n & 255]
}

function optionsOf(tcp: TcpFields): number[] {
  if (tcp.rawOptions !== undefined) return padded([...tcp.rawOptions])
  const bytes: number[] = []
  if (tcp.mss !== undefined) bytes.push(2, 4, tcp.mss >> 8, tcp.mss & 255)
  if (tcp.sackPermitted === true) bytes.push(4, 2)
  if (tcp.ts !== undefined) bytes.push(8, 10, ...u32(tcp.ts[0]), ...u32(tcp.ts[1]))
  if (tcp.windowScale !== undefined) bytes.push(3, 3, tcp.windowScale)
  if (tcp.sack !== undefined) {
    bytes.push(5, 2 + 8 * tcp.sack.length)
    for (const [left, right] of tcp.sack) bytes.push(...u32(left), ...u32(right))
  }
  return padded(bytes)
}

function padded(bytes: number[]): number[] {
  while (bytes.length % 4 !== 0) bytes.push(1)
  return bytes
}

/** The sum of the pseudo-header of RFC 9293 §3.1. */
function pseudoSum(src: number, dst: number, protocol: number, length: number): number {
  return sum16(Buffer.from([...u32(src), ...u32(dst), 0, protocol, length >> 8, length & 255]))
}

export function encodeTcp(tcp: TcpFields, src: number, dst: number): Buffer {
  const options = optionsOf(tcp)
  const head = Buffer.alloc(20)
  head.writeUInt16BE(tcp.srcPort, 0)
  head.writeUInt16BE(tcp.dstPort, 2)
  head.writeUInt32BE(tcp.seq >>> 0, 4)
  head.writeUInt32BE(tcp.ack >>> 0, 8)
  head.writeUInt8((5 + options.length / 4) << 4, 12)
  head.writeUInt8(tcp.flags, 13)
  head.writeUInt16BE(tcp.wnd, 14)
  const bytes = Buffer.concat([head, Buffer.from(options), tcp.text])
  const sum = sum16(bytes, pseudoSum(src, dst, PROTOCOL.TCP, bytes.length))
  bytes.writeUInt16BE(~sum & 0xffff, 16)
  return bytes
}

export function encodeIcmp(type: number, code: number, rest: number, data: Buffer): Buffer {
  const bytes = Buffer.concat([Buffer.from([type, code, 0, 0, ...u32(rest)]), data])
  bytes.writeUInt16BE(~sum16(bytes) & 0xffff, 2)
  return bytes
}

export function encodeIp(
  src: number,
  dst: number,
  protocol: number,
  payload: Buffer,
  ecn = 0,
): Buffer {
  const head = Buffer.alloc(20)
  head.writeUInt8(0x45, 0)
  head.writeUInt8(ecn, 1)
  head.writeUInt16BE(20 + payload.length, 2)
  head.writeUInt16BE(0x4000, 6)
  head.writeUInt8(64, 8)
  head.writeUInt8(protocol, 9)
  head.writeInt32BE(src | 0, 12)
  head.writeInt32BE(dst | 0, 16)
  head.writeUInt16BE(~sum16(head) & 0xffff, 10)
  return Buffer.concat([head, payload])
}

export function encodeEthernet(
  dst: number,
  src: number,
  etherType: number,
  payload: Buffer,
): Buffer {
  const head = Buffer.alloc(14)
  head.writeUIntBE(dst, 0, 6)
  head.writeUIntBE(src, 6, 6)
  head.writeUInt16BE(etherType, 12)
  return Buffer.concat([head, payload])
}

export interface ArpFields {
  operation: number
  senderMac: number
  senderIp: number
  targetMac: number
  targetIp: number
}

export function encodeArp(arp: ArpFields): Buffer {
  const bytes = Buffer.from([0, 1, 8, 0, 6, 4, 0, arp.operation, ...new Array<number>(20).fill(0)])
  bytes.writeUIntBE(arp.senderMac, 8, 6)
  bytes.writeInt32BE(arp.senderIp | 0, 14)
  bytes.writeUIntBE(arp.targetMac, 18, 6)
  bytes.writeInt32BE(arp.targetIp | 0, 24)
  return bytes
}

export interface EthernetFields {
  dst: number
  src: number
  etherType: number
  payload: Buffer
}

export function decodeEthernet(frame: Buffer): EthernetFields {
  return {
    dst: frame.readUIntBE(0, 6),
    src: frame.readUIntBE(6, 6),
    etherType: frame.readUInt16BE(12),
    payload: frame.subarray(14),
  }
}

export function decodeArp(bytes: Buffer): ArpFields {
  return {
    operation: bytes.readUInt16BE(6),
    senderMac: bytes.readUIntBE(8, 6),
    senderIp: bytes.readInt32BE(14),
    targetMac: bytes.readUIntBE(18, 6),
    targetIp: bytes.readInt32BE(24),
  }
}

export interface IpFields {
  src: number
  dst: number
  protocol: number
  ident: number
  ecn: number
  payload: Buffer
  readonly tos: number
  readonly ttl: number
}

export function decodeIp(bytes: Buffer): IpFields {
  if (bytes[0] !== 0x45) throw new Error('an IPv4 header without options is expected')
  if (sum16(bytes.subarray(0, 20)) !== 0xffff) throw new Error('the IPv4 header checksum is wrong')
  return {
    src: bytes.readInt32BE(12),
    dst: bytes.readInt32BE(16),
    protocol: bytes.readUInt8(9),
    ident: bytes.readUInt16BE(4),
    ecn: bytes.readUInt8(1) & 3,
    tos: bytes.readUInt8(1),
    ttl: bytes.readUInt8(8),
    payload: bytes.subarray(20, bytes.readUInt16BE(2)),
  }
}

export function decodeTcp(bytes: Buffer, src: number, dst: number): TcpFields {
  if (sum16(bytes, pseudoSum(src, dst, PROTOCOL.TCP, bytes.length)) !== 0xffff) {
    throw new Error('the TCP checksum is wrong')
  }
  const headerLength = (bytes.readUInt8(12) >> 4) * 4
  const tcp: TcpFields = {
    srcPort: bytes.readUInt16BE(0),
    dstPort: bytes.readUInt16BE(2),
    seq: bytes.readUInt32BE(4),
    ack: bytes.readUInt32BE(8),
    flags: bytes.readUInt8(13),
    wnd: bytes.readUInt16BE(14),
    text: bytes.subarray(headerLength),
  }
  decodeOptions(tcp, bytes.subarray(20, headerLength))
  return tcp
}

function decodeOptions(tcp: TcpFields, bytes: Buffer): void {
  for (let at = 0; at < bytes.length; ) {
    const kind = bytes.readUInt8(at)
    if (kind === 0) return
    if (kind === 1) {
      at++
      continue
    }
    const length = bytes.readUInt8(at + 1)
    if (length < 2 || at + length > bytes.length) throw new Error(`option ${kind} has a bad length`)
    if (kind === 2) tcp.mss = bytes.readUInt16BE(at + 2)
    else if (kind === 3) tcp.windowScale = bytes.readUInt8(at + 2)
    else if (kind === 4) tcp.sackPermitted = true
    else if (kind === 8) tcp.ts = [bytes.readUInt32BE(at + 2), bytes.readUInt32BE(at + 6)]
    else if (kind === 5) {
      const sack: [number, number][] = []
      for (let i = 2; i < length; i += 8) {
        sack.push([bytes.readUInt32BE(at + i), bytes.readUInt32BE(at + i + 4)])
      }
      tcp.sack = sack
    } else throw new Error(`option ${kind} is none that the stack may send`)
    at += length
  }
}
