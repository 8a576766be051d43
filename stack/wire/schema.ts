/**
 * Every header described once with binary-parser: the codec of the cold paths (traces, tools), and the oracle that the
 * hand-written views of the hot paths are tested against.
 *
 * binary-parser accepts cut payloads and impossible lengths in silence, so each decoder here validates, on top and
 * without sharing code with the views. A frame that the views drop is dropped here for the same reason.
 */
import { Parser } from 'binary-parser'
import { DropReason } from '../base/counters.js'
import type { Ipv4Address } from './ipv4.js'

export interface EthernetFields {
  dst: number
  src: number
  etherType: number
  /** Tag control information, or -1. */
  tag: number
}

export interface ArpFields {
  hardwareType: number
  protocolType: number
  hardwareLength: number
  protocolLength: number
  operation: number
  senderMac: number
  senderIp: Ipv4Address
  targetMac: number
  targetIp: Ipv4Address
}

export interface Ipv4Fields {
  version: number
  /** In words of 32 bits. */
  headerWords: number
  dscp: number
  ecn: number
  totalLength: number
  ident: number
  flags: number
  /** In units of 8 octets, as on the wire. */
  fragmentOffset: number
  ttl: number
  protocol: number
  checksum: number
  src: Ipv4Address
  dst: Ipv4Address
  options: Uint8Array
}

export interface IcmpFields {
  type: number
  code: number
  checksum: number
  rest: number
}

export interface UdpFields {
  srcPort: number
  dstPort: number
  length: number
  checksum: number
}

export interface TcpFields {
  srcPort: number
  dstPort: number
  seq: number
  ack: number
  /** In words of 32 bits. */
  dataOffset: number
  reserved: number
  flags: number
  wnd: number
  checksum: number
  urgentPointer: number
  /** The options as they stand, padding included. */
  options: Uint8Array
}

/** A header and what follows it, or the reason why there is none. */
export type Decoded<T> =
  | { readonly drop: 0; readonly fields: T; readonly payload: Uint8Array }
  | { readonly drop: Exclude<DropReason, 0> }

const header = () => new Parser().endianness('big')

const ethernetSchema = header()
  .uint16('dstHigh')
  .uint32('dstLow')
  .uint16('srcHigh')
  .uint32('srcLow')
  .uint16('etherType')

const tagSchema = header().uint16('tag').uint16('etherType')

const arpSchema = header()
  .uint16('hardwareType')
  .uint16('protocolType')
  .uint8('hardwareLength')
  .uint8('protocolLength')
  .uint16('operation')
  .uint16('senderHigh')
  .uint32('senderLow')
  .int32('senderIp')
  .uint16('targetHigh')
  .uint32('targetLow')
  .int32('targetIp')

const ipv4Schema = header()
  .bit4('version')
  .bit4('headerWords')
  .bit6('dscp')
  .bit2('ecn')
  .uint16('totalLength')
  .uint16('ident')
  .bit3('flags')
  .bit13('fragmentOffset')
  .uint8('ttl')
  .uint8('protocol')
  .uint16('checksum')
  .int32('src')
  .int32('dst')
  .buffer('options', { length: (ip: Ipv4Fields) => Math.max(0, 4 * ip.headerWords - 20) })

const icmpSchema = header().uint8('type').uint8('code').uint16('checksum').int32('rest')

const udpSchema = header().uint16('srcPort').uint16('dstPort').uint16('length').uint16('checksum')

const tcpSchema = header()
  .uint16('srcPort')
  .uint16('dstPort')
  .int32('seq')
  .int32('ack')
  .bit4('dataOffset')
  .bit4('reserved')
  .uint8('flags')
  .uint16('wnd')
  .uint16('checksum')
  .uint16('urgentPointer')
  .buffer('options', { length: (tcp: TcpFields) => Math.max(0, 4 * tcp.dataOffset - 20) })

function mac(high: number, low: number): number {
  return high * 2 ** 32 + low
}

function isStation(address: number): boolean {
  return address !== 0 && (Math.floor(address / 2 ** 40) & 1) === 0
}

/** The one's complement sum by its definition, one word after the other (RFC 1071 §1). */
export function plainSum(bytes: Uint8Array, initial = 0): number {
  let sum = initial
  for (let i = 0; i < bytes.length; i += 2) {
    sum += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0)
    if (sum > 0xffff) sum -= 0xffff
  }
  return sum
}

/** The partial sum of the pseudo-header in front of `transport`, by its definition (RFC 9293 §3.1). */
export function plainPseudoSum(ip: Ipv4Fields, transport: Uint8Array): number {
  const pseudo = new Uint8Array(12)
  const view = new DataView(pseudo.buffer)
  view.setInt32(0, ip.src)
  view.setInt32(4, ip.dst)
  view.setUint16(8, ip.protocol)
  view.setUint16(10, transport.length)
  return plainSum(pseudo)
}

export function decodeEthernet(bytes: Uint8Array): Decoded<EthernetFields> {
  if (bytes.length < 14) return { drop: DropReason.ETHERNET_TRUNCATED }
  const raw = ethernetSchema.parse(bytes)
  const fields: EthernetFields = {
    dst: mac(raw.dstHigh, raw.dstLow),
    src: mac(raw.srcHigh, raw.srcLow),
    etherType: raw.etherType,
    tag: -1,
  }
  let payload = bytes.subarray(14)
  if (fields.etherType === 0x8100 || fields.etherType === 0x88a8) {
    if (payload.length < 4) return { drop: DropReason.ETHERNET_TRUNCATED }
    Object.assign(fields, tagSchema.parse(payload))
    payload = payload.subarray(4)
  }
  if (fields.etherType < 0x600) return { drop: DropReason.ETHERNET_UNKNOWN_TYPE }
  return { drop: 0, fields, payload }
}

export function decodeArp(bytes: Uint8Array): Decoded<ArpFields> {
  if (bytes.length < 28) return { drop: DropReason.ARP_MALFORMED }
  const { senderHigh, senderLow, targetHigh, targetLow, ...rest } = arpSchema.parse(bytes)
  const fields: ArpFields = {
    ...rest,
    senderMac: mac(senderHigh, senderLow),
    targetMac: mac(targetHigh, targetLow),
  }
  const good =
    fields.hardwareType === 1 &&
    fields.protocolType === 0x0800 &&
    fields.hardwareLength === 6 &&
    fields.protocolLength === 4 &&
    (fields.operation === 1 || fields.operation === 2) &&
    isStation(fields.senderMac)
  if (!good) return { drop: DropReason.ARP_MALFORMED }
  return { drop: 0, fields, payload: bytes.subarray(28) }
}

export function decodeIpv4(bytes: Uint8Array): Decoded<Ipv4Fields> {
  if (bytes.length < 20) return { drop: DropReason.IPV4_TRUNCATED }
  const fields = ipv4Schema.parse(bytes) as Ipv4Fields
  if (fields.version !== 4) return { drop: DropReason.IPV4_BAD_VERSION }
  const headerLength = 4 * fields.headerWords
  if (headerLength < 20) return { drop: DropReason.IPV4_BAD_HEADER_LENGTH }
  if (headerLength > bytes.length) return { drop: DropReason.IPV4_TRUNCATED }
  if (fields.totalLength < headerLength) return { drop: DropReason.IPV4_BAD_TOTAL_LENGTH }
  if (fields.totalLength > bytes.length) return { drop: DropReason.IPV4_TRUNCATED }
  if (plainSum(bytes.subarray(0, headerLength)) !== 0xffff) {
    return { drop: DropReason.IPV4_BAD_CHECKSUM }
  }
  if (fields.ttl === 0) return { drop: DropReason.IPV4_TTL_ZERO }
  return { drop: 0, fields, payload: bytes.subarray(headerLength, fields.totalLength) }
}

export function decodeIcmp(bytes: Uint8Array): Decoded<IcmpFields> {
  if (bytes.length < 8) return { drop: DropReason.ICMP_MALFORMED }
  if (plainSum(bytes) !== 0xffff) return { drop: DropReason.ICMP_BAD_CHECKSUM }
  return { drop: 0, fields: icmpSchema.parse(bytes) as IcmpFields, payload: bytes.subarray(8) }
}

/** Decodes a UDP header; its checksum is verified when `ip` is given. */
export function decodeUdp(bytes: Uint8Array, ip: Ipv4Fields | null): Decoded<UdpFields> {
  if (bytes.length < 8) return { drop: DropReason.UDP_MALFORMED }
  const fields = udpSchema.parse(bytes) as UdpFields
  if (fields.length < 8 || fields.length > bytes.length) return { drop: DropReason.UDP_MALFORMED }
  const datagram = bytes.subarray(0, fields.length)
  if (ip !== null && fields.checksum !== 0) {
    if (plainSum(datagram, plainPseudoSum(ip, datagram)) !== 0xffff) {
      return { drop: DropReason.UDP_BAD_CHECKSUM }
    }
  }
  return { drop: 0, fields, payload: datagram.subarray(8) }
}

/** Decodes a TCP header; its checksum is verified when `ip` is given. */
export function decodeTcp(bytes: Uint8Array, ip: Ipv4Fields | null): Decoded<TcpFields> {
  if (bytes.length < 20) return { drop: DropReason.TCP_TRUNCATED }
  const fields = tcpSchema.parse(bytes) as TcpFields
  const headerLength = 4 * fields.dataOffset
  if (headerLength < 20) return { drop: DropReason.TCP_BAD_DATA_OFFSET }
  if (headerLength > bytes.length) return { drop: DropReason.TCP_TRUNCATED }
  if (ip !== null && plainSum(bytes, plainPseudoSum(ip, bytes)) !== 0xffff) {
    return { drop: DropReason.TCP_BAD_CHECKSUM }
  }
  return { drop: 0, fields, payload: bytes.subarray(headerLength) }
}

/** One TCP option. */
export interface TcpOption {
  kind: number
  /** What follows kind and length. */
  data: Uint8Array
}

/** The options of a TCP header, NOPs included, up to the end of the list or the first that cannot be read. */
export function decodeTcpOptions(options: Uint8Array): TcpOption[] {
  const list: TcpOption[] = []
  let rest = options
  while (rest.length > 0) {
    const kind = rest[0] ?? 0
    if (kind === 0) break
    const length = kind === 1 ? 1 : (rest[1] ?? 0)
    if ((kind !== 1 && length < 2) || length > rest.length) break
    list.push({ kind, data: kind === 1 ? rest.subarray(0, 0) : rest.subarray(2, length) })
    rest = rest.subarray(length)
  }
  return list
}
