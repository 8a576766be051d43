/**
 * FlowKey: which connection of which binding, as seen from the virtual address.
 */
import { type Connection, type IpAddress, ipAddressAt, putIpAddress } from '../stack/index.js'
import type { Binding } from './binding.js'

/** One connection, named by its binding and its four-tuple. Local is the side of the virtual address. */
export interface FlowKey {
  readonly binding: number
  readonly localAddress: IpAddress
  readonly localPort: number
  readonly remoteAddress: IpAddress
  readonly remotePort: number
}

/** Which connection between those endpoints is meant, by its initial sequence numbers. */
export interface Flow {
  readonly key: FlowKey
  readonly iss: number
  readonly irs: number
}

/** The key of a connection that this node holds in `binding`. */
export function flowKeyOf(binding: Binding, connection: Connection): FlowKey {
  const { localPort, remoteAddress, remotePort } = connection
  return {
    binding: binding.id,
    localAddress: binding.address,
    localPort,
    remoteAddress: remoteAddress as IpAddress,
    remotePort,
  }
}

/** Octets of an encoded key. */
export const FLOW_KEY_LENGTH = 38

/** The key in network order, addresses as IPv6 has them, so that records sort by binding, local endpoint and remote endpoint. */
export function encodeFlowKey(key: FlowKey): Uint8Array {
  const bytes = new Uint8Array(FLOW_KEY_LENGTH)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, key.binding)
  putIpAddress(view, 2, key.localAddress)
  view.setUint16(18, key.localPort)
  putIpAddress(view, 20, key.remoteAddress)
  view.setUint16(36, key.remotePort)
  return bytes
}

/** The key in `bytes`, as {@link encodeFlowKey} wrote it. */
export function decodeFlowKey(bytes: Uint8Array): FlowKey {
  const view = new DataView(bytes.buffer, bytes.byteOffset, FLOW_KEY_LENGTH)
  return {
    binding: view.getUint16(0),
    localAddress: ipAddressAt(view, 2),
    localPort: view.getUint16(18),
    remoteAddress: ipAddressAt(view, 20),
    remotePort: view.getUint16(36),
  }
}

/** Octets of an encoded flow. */
export const FLOW_LENGTH = FLOW_KEY_LENGTH + 8

/** Writes `flow` to `bytes` at `at`: its key, ISS and IRS. */
export function putFlow(bytes: Uint8Array, at: number, { key, iss, irs }: Flow): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, FLOW_LENGTH)
  bytes.set(encodeFlowKey(key), at)
  view.setInt32(FLOW_KEY_LENGTH, iss)
  view.setInt32(FLOW_KEY_LENGTH + 4, irs)
}

/** The flow at `at`, as {@link putFlow} wrote it. */
export function flowAt(bytes: Uint8Array, at: number): Flow {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, FLOW_LENGTH)
  const key = decodeFlowKey(bytes.subarray(at))
  return { key, iss: view.getInt32(FLOW_KEY_LENGTH), irs: view.getInt32(FLOW_KEY_LENGTH + 4) }
}

/** The connection between these endpoints of one binding, as the key of a map. */
export function nameOf(localPort: number, remoteAddress: IpAddress, remotePort: number): string {
  return `${localPort} ${remoteAddress} ${remotePort}`
}

export function nameOfKey({ localPort, remoteAddress, remotePort }: FlowKey): string {
  return nameOf(localPort, remoteAddress, remotePort)
}
