/**
 * Binding: the unit of fail-over: one virtual address with a range of ports, and the nodes that may own it.
 */
import {
  addressBits,
  type Connection,
  type IpAddress,
  isUnicast,
  parseIpAddress,
  type Stack,
  StackError,
} from '../stack/index.js'

/** A cluster node's id: 1 .. 2^32 - 1. Ownership belongs to it, not to a NIC (P6). */
export type NodeId = number

/** A virtual address and the ports that move with it. */
export interface Binding {
  /** Names the binding in keys and declarations: 1 .. 65535. */
  readonly id: number
  readonly address: IpAddress
  /** Length of the subnet's prefix in bits. */
  readonly prefix: number
  readonly firstPort: number
  readonly lastPort: number
}

/** True when the local endpoint belongs to the binding. */
export function bindingCovers(binding: Binding, address: IpAddress, port: number): boolean {
  return binding.address === address && port >= binding.firstPort && port <= binding.lastPort
}

/** The connections that the stack holds in the binding, in no order. */
export function connectionsOf(binding: Binding, stack: Stack): Connection[] {
  const found: Connection[] = []
  for (const connection of stack.tcp.demux.connections()) {
    const address = connection.localAddress as IpAddress
    if (bindingCovers(binding, address, connection.localPort)) found.push(connection)
  }
  return found
}

/** True when `other` describes the same address and ports. */
export function isSameBinding(binding: Binding, other: Omit<Binding, 'id'>): boolean {
  return (
    binding.address === other.address &&
    binding.prefix === other.prefix &&
    binding.firstPort === other.firstPort &&
    binding.lastPort === other.lastPort
  )
}

/** Reads `10.77.0.100/24` or `fd77::100/64`, and `1-65535` or `80`. Throws ERR_INVALID_BINDING naming the field and the fix. */
export function parseBinding(id: number, address: string, ports = '1-65535'): Binding {
  const [text = '', prefixText] = address.split('/')
  const ip = parseIpAddress(text, 'binding.address')
  const bits = addressBits(ip)
  const prefix = Number(prefixText ?? (bits === 32 ? 24 : 64))
  if (!Number.isInteger(prefix) || prefix < 1 || prefix > bits) {
    throw new StackError(
      'ERR_INVALID_BINDING',
      `binding.address: '${address}' needs a prefix from 1 to ${bits}, as 10.77.0.100/24 or fd77::100/64`,
    )
  }
  if (!isUnicast(ip)) {
    throw new StackError(
      'ERR_INVALID_BINDING',
      `binding.address: '${text}' is no address that a host can have; write one as 10.77.0.100 or fd77::100`,
    )
  }
  const [first = '', last = first] = ports.split('-')
  const firstPort = Number(first)
  const lastPort = Number(last)
  const valid = [firstPort, lastPort].every((p) => Number.isInteger(p) && p >= 1 && p <= 65_535)
  if (!valid || firstPort > lastPort) {
    throw new StackError(
      'ERR_INVALID_BINDING',
      `binding.ports: '${ports}' is no range of ports; write 80 or 1-65535`,
    )
  }
  return { id, address: ip, prefix, firstPort, lastPort }
}
