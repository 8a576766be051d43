/**
 * The header by which a proxy tells its server whose connection it brings: PROXY protocol, version 1 as a line, version 2 in octets (the
 * protocol's specification, sections 2.1 and 2.2). It is a function of the client's four-tuple, so that each node knows it (A7).
 */
import { formatIpAddress, isIpv4, putIpAddress } from '../stack/index.js'
import type { FlowKey } from './flow-key.js'

/** Which version of the header goes before the client's octets. */
export type ProxyHeader = 'v1' | 'v2'

/** Whose connection it is: remote is the client, local what he connected to. */
export type ProxiedEnds = Omit<FlowKey, 'binding'>

const SIGNATURE = [0x0d, 0x0a, 0x0d, 0x0a, 0, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]
const FIXED = 16
// Version 2, command PROXY.
const PROXY = 0x21
// Address family and STREAM.
const TCP4 = 0x11
const TCP6 = 0x21
// Where IPv4 begins in the sixteen octets of an address.
const MAPPED_PREFIX = 12

/** The header's octets. */
export function proxyHeader(version: ProxyHeader, ends: ProxiedEnds): Uint8Array {
  return version === 'v1' ? line(ends) : octets(ends)
}

function line({ localAddress, localPort, remoteAddress, remotePort }: ProxiedEnds): Uint8Array {
  const family = isIpv4(remoteAddress) ? 'TCP4' : 'TCP6'
  const from = formatIpAddress(remoteAddress)
  const to = formatIpAddress(localAddress)
  const text = `PROXY ${family} ${from} ${to} ${remotePort} ${localPort}\r\n`
  return Uint8Array.from(text, (character) => character.charCodeAt(0))
}

function octets({ localAddress, localPort, remoteAddress, remotePort }: ProxiedEnds): Uint8Array {
  const prefix = isIpv4(remoteAddress) ? MAPPED_PREFIX : 0
  const size = 16 - prefix
  const length = 2 * size + 4
  const header = new Uint8Array(FIXED + length)
  const view = new DataView(header.buffer)
  header.set(SIGNATURE)
  view.setUint8(12, PROXY)
  view.setUint8(13, prefix > 0 ? TCP4 : TCP6)
  view.setUint16(14, length)
  const whole = new DataView(new ArrayBuffer(16))
  for (const [i, address] of [remoteAddress, localAddress].entries()) {
    putIpAddress(whole, 0, address)
    header.set(new Uint8Array(whole.buffer, prefix, size), FIXED + i * size)
  }
  view.setUint16(FIXED + 2 * size, remotePort)
  view.setUint16(FIXED + 2 * size + 2, localPort)
  return header
}
