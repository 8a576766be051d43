/**
 * One line of text per frame, in the manner of tcpdump: the traces of tests, tools and the simulator.
 *
 * Sequence numbers are absolute and always shown, because traces are compared across a take-over. What cannot be
 * decoded says why. Allocates freely: never on the way of a frame.
 */
import { type DropReason, dropReasonName } from '../base/counters.js'
import { formatMacAddress } from './ethernet.js'
import { ChecksumState, type Frame } from './frame.js'
import { formatIpv4Address, type Ipv4Address } from './ipv4.js'
import {
  type ArpFields,
  decodeArp,
  decodeEthernet,
  decodeIcmp,
  decodeIpv4,
  decodeTcp,
  decodeTcpOptions,
  decodeUdp,
  type IcmpFields,
  type Ipv4Fields,
  type TcpFields,
  type TcpOption,
} from './schema.js'

export interface PrettyOptions {
  /** Put the Ethernet addresses in front, as tcpdump -e. */
  readonly link?: boolean
  /** Trust TCP and UDP checksums, as for frames whose device completes them. */
  readonly trustChecksum?: boolean
}

const FLAG_LETTERS: readonly (readonly [number, string])[] = [
  [0x01, 'F'],
  [0x02, 'S'],
  [0x04, 'R'],
  [0x08, 'P'],
  [0x10, '.'],
  [0x20, 'U'],
  [0x40, 'E'],
  [0x80, 'W'],
]

const UNREACHABLE: Readonly<Record<number, string>> = {
  0: 'net unreachable',
  1: 'host unreachable',
  2: 'protocol unreachable',
  3: 'port unreachable',
  4: 'unreachable - need to frag',
  5: 'source route failed',
  13: 'administratively prohibited',
}

const PROTOCOLS: Readonly<Record<number, string>> = { 1: 'icmp', 6: 'tcp', 17: 'udp' }

/** The frame as one line of text. Checksums that its device vouches for are not verified. */
export function prettyFrame(frame: Frame, options: PrettyOptions = {}): string {
  return prettyBytes(frame.bytes.subarray(frame.start, frame.end), {
    trustChecksum: frame.checksum !== ChecksumState.NONE,
    ...options,
  })
}

/** The Ethernet frame `bytes` as one line of text. */
export function prettyBytes(bytes: Uint8Array, options: PrettyOptions = {}): string {
  const decoded = decodeEthernet(bytes)
  if (decoded.drop !== 0) return malformed('ethernet', decoded.drop, bytes)
  const { dst, src, etherType, tag } = decoded.fields
  const addresses = `${formatMacAddress(src)} > ${formatMacAddress(dst)}`
  const link = options.link === true ? `${addresses}, ` : ''
  const vlan = tag >= 0 ? `vlan ${tag & 0xfff}, ` : ''
  const prefix = link + vlan
  if (etherType === 0x0806) return prefix + prettyArp(decoded.payload)
  if (etherType === 0x0800) return prefix + prettyIpv4(decoded.payload, options)
  const type = `ethertype 0x${etherType.toString(16).padStart(4, '0')}`
  const shown = link === '' ? `${addresses}, ` : link
  return `${shown}${vlan}${type}, length ${decoded.payload.length}`
}

function malformed(layer: string, reason: DropReason, bytes: Uint8Array): string {
  return `${layer} malformed (${dropReasonName(reason)}), length ${bytes.length}`
}

function prettyArp(bytes: Uint8Array): string {
  const decoded = decodeArp(bytes)
  if (decoded.drop !== 0) return malformed('ARP', decoded.drop, bytes)
  return `ARP, ${arpText(decoded.fields)}`
}

function arpText(arp: ArpFields): string {
  const sender = formatIpv4Address(arp.senderIp)
  if (arp.senderIp === arp.targetIp) {
    const form = arp.operation === 1 ? 'Announcement' : 'Announcement (reply)'
    return `${form} ${sender} is-at ${formatMacAddress(arp.senderMac)}`
  }
  if (arp.operation === 1)
    return `Request who-has ${formatIpv4Address(arp.targetIp)} tell ${sender}`
  return `Reply ${sender} is-at ${formatMacAddress(arp.senderMac)}`
}

function prettyIpv4(bytes: Uint8Array, options: PrettyOptions): string {
  const decoded = decodeIpv4(bytes)
  if (decoded.drop !== 0) return malformed('IP', decoded.drop, bytes)
  const ip = decoded.fields
  const payload = decoded.payload
  const verify = options.trustChecksum === true ? null : ip
  if (ip.fragmentOffset !== 0 || (ip.flags & 1) !== 0) return fragmentText(ip, payload)
  if (ip.protocol === 6) return prettyTcp(ip, payload, verify)
  if (ip.protocol === 17) return prettyUdp(ip, payload, verify)
  const hosts = `IP ${formatIpv4Address(ip.src)} > ${formatIpv4Address(ip.dst)}:`
  if (ip.protocol !== 1) return `${hosts} proto ${ip.protocol}, length ${payload.length}`
  const icmp = decodeIcmp(payload)
  if (icmp.drop !== 0) return `${hosts} ${malformed('ICMP', icmp.drop, payload)}`
  return `${hosts} ICMP ${icmpText(icmp.fields, icmp.payload)}, length ${payload.length}`
}

function fragmentText(ip: Ipv4Fields, payload: Uint8Array): string {
  const name = PROTOCOLS[ip.protocol] ?? `proto ${ip.protocol}`
  const more = (ip.flags & 1) !== 0 ? '+' : ''
  const place = `id ${ip.ident} offset ${8 * ip.fragmentOffset} length ${payload.length}${more}`
  return `IP ${formatIpv4Address(ip.src)} > ${formatIpv4Address(ip.dst)}: ${name} (frag ${place})`
}

function socketPair(ip: Ipv4Fields, ports: { srcPort: number; dstPort: number }): string {
  const src = `${formatIpv4Address(ip.src)}.${ports.srcPort}`
  return `IP ${src} > ${formatIpv4Address(ip.dst)}.${ports.dstPort}:`
}

function prettyUdp(ip: Ipv4Fields, bytes: Uint8Array, verify: Ipv4Fields | null): string {
  const plain = decodeUdp(bytes, null)
  if (plain.drop !== 0) {
    const hosts = `IP ${formatIpv4Address(ip.src)} > ${formatIpv4Address(ip.dst)}:`
    return `${hosts} ${malformed('UDP', plain.drop, bytes)}`
  }
  const bad = decodeUdp(bytes, verify).drop !== 0 ? ' (bad checksum)' : ''
  return `${socketPair(ip, plain.fields)} UDP, length ${plain.payload.length}${bad}`
}

function prettyTcp(ip: Ipv4Fields, bytes: Uint8Array, verify: Ipv4Fields | null): string {
  const plain = decodeTcp(bytes, null)
  if (plain.drop !== 0) {
    const hosts = `IP ${formatIpv4Address(ip.src)} > ${formatIpv4Address(ip.dst)}:`
    return `${hosts} ${malformed('TCP', plain.drop, bytes)}`
  }
  const bad = decodeTcp(bytes, verify).drop !== 0 ? ' (bad checksum)' : ''
  return `${socketPair(ip, plain.fields)} ${tcpText(plain.fields, plain.payload.length)}${bad}`
}

function tcpText(tcp: TcpFields, length: number): string {
  const letters = FLAG_LETTERS.filter(([flag]) => (tcp.flags & flag) !== 0)
  const flags = letters.map(([, letter]) => letter).join('')
  const parts = [`Flags [${flags === '' ? 'none' : flags}]`]
  const seq = tcp.seq >>> 0
  parts.push(length > 0 ? `seq ${seq}:${(seq + length) >>> 0}` : `seq ${seq}`)
  if ((tcp.flags & 0x10) !== 0) parts.push(`ack ${tcp.ack >>> 0}`)
  parts.push(`win ${tcp.wnd}`)
  if ((tcp.flags & 0x20) !== 0) parts.push(`urg ${tcp.urgentPointer}`)
  const options = decodeTcpOptions(tcp.options)
  if (options.length > 0) parts.push(`options [${options.map(optionText).join(',')}]`)
  parts.push(`length ${length}`)
  return parts.join(', ')
}

function optionText(option: TcpOption): string {
  const { kind, data } = option
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  if (kind === 1) return 'nop'
  if (kind === 2 && data.length === 2) return `mss ${view.getUint16(0)}`
  if (kind === 3 && data.length === 1) return `wscale ${view.getUint8(0)}`
  if (kind === 4 && data.length === 0) return 'sackOK'
  if (kind === 8 && data.length === 8) return `TS val ${view.getUint32(0)} ecr ${view.getUint32(4)}`
  if (kind === 5 && data.length > 0 && data.length % 8 === 0) {
    const blocks: string[] = []
    for (let at = 0; at < data.length; at += 8) {
      blocks.push(`{${view.getUint32(at)}:${view.getUint32(at + 4)}}`)
    }
    return `sack ${blocks.length} ${blocks.join('')}`
  }
  return `opt-${kind}`
}

function icmpText(icmp: IcmpFields, payload: Uint8Array): string {
  const echo = `id ${icmp.rest >>> 16}, seq ${icmp.rest & 0xffff}`
  if (icmp.type === 8) return `echo request, ${echo}`
  if (icmp.type === 0) return `echo reply, ${echo}`
  if (icmp.type === 11)
    return icmp.code === 0 ? 'time exceeded in-transit' : 'reassembly time exceeded'
  if (icmp.type !== 3) return `type ${icmp.type} code ${icmp.code}`
  const text = UNREACHABLE[icmp.code] ?? `unreachable code ${icmp.code}`
  const mtu = icmp.code === 4 ? ` (mtu ${icmp.rest & 0xffff})` : ''
  return `${quotedDestination(payload)}${text}${mtu}`
}

/** Whom the quoted datagram was for: an address, with protocol and port where it quotes them. */
function quotedDestination(quoted: Uint8Array): string {
  if (quoted.length < 20) return ''
  const view = new DataView(quoted.buffer, quoted.byteOffset, quoted.byteLength)
  const address = formatIpv4Address(view.getInt32(16) as Ipv4Address)
  const headerLength = (view.getUint8(0) & 0xf) << 2
  const protocol = view.getUint8(9)
  const hasPorts = (protocol === 6 || protocol === 17) && quoted.length >= headerLength + 4
  if (!hasPorts || headerLength < 20) return `${address} `
  return `${address} ${PROTOCOLS[protocol]} port ${view.getUint16(headerLength + 2)} `
}
