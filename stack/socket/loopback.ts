/**
 * Loopback: a network in memory for one process. Servers and clients have a stack each, joined by a hub, so that every
 * octet really goes through TCP. Applications see one host, 127.0.0.1; inside, the two ends have addresses of the range
 * for documentation (RFC 5737), as no host may send from a loopback address on a link.
 */
import { Driver } from '../io/driver.js'
import { systemClock } from '../io/system-clock.js'
import { SystemRng } from '../io/system-rng.js'
import { Hub } from '../link/hub.js'
import type { Nic } from '../net/nic.js'
import { Stack } from '../stack.js'
import { formatIpAddress, type IpAddress, parseIpAddress } from '../wire/ip-address.js'
import type { AddressNames, StackHost } from './host.js'

const SERVER = parseIpAddress('192.0.2.1')
const CLIENT = parseIpAddress('192.0.2.2')
const SERVER_MAC = 0x02_00_00_00_00_01
const CLIENT_MAC = 0x02_00_00_00_00_02
// Fewer and larger frames, as on a real loopback interface.
const MTU = 9000

/** A network whose two ends are in this process. */
export interface Loopback {
  /** Where servers listen. */
  readonly server: StackHost
  /** Where connections are opened. */
  readonly client: StackHost
  readonly hub: Hub
  close(): void
}

export function newLoopback(mtu: number = MTU): Loopback {
  const hub = new Hub({ mtu, offload: { checksum: true, tso: false, uso: false } })
  let scheduled = false
  const deliver = (): void => {
    scheduled = false
    hub.deliver()
  }
  hub.onReadable = () => {
    if (scheduled) return
    scheduled = true
    setImmediate(deliver)
  }
  const server = newEnd(hub, SERVER, SERVER_MAC, SERVER_NAMES)
  const client = newEnd(hub, CLIENT, CLIENT_MAC, CLIENT_NAMES)
  const close = (): void => {
    server.driver.close()
    client.driver.close()
  }
  const isPortTaken = (port: number): boolean =>
    server.host.stack.tcp.demux.findListener(SERVER, port) !== null
  return { server: server.host, client: { ...client.host, isPortTaken }, hub, close }
}

function newEnd(
  hub: Hub,
  address: IpAddress,
  mac: number,
  names: AddressNames,
): { readonly host: StackHost; readonly driver: Driver<Nic> } {
  const rng = new SystemRng()
  const secret = Int32Array.from({ length: 4 }, () => rng.u32())
  const stack = new Stack({ rng, secret })
  const nic = stack.addNic({
    mac,
    mtu: hub.mtu,
    offload: { checksum: true, tso: false, uso: false },
  })
  nic.setAddress(address, 24, 'assigned')
  const driver = new Driver<Nic>(stack, systemClock)
  driver.attach(nic, hub.addPort(mac))
  const host: StackHost = {
    stack,
    now: () => driver.now(),
    kick: () => driver.kick(),
    ref: () => driver.ref(),
    unref: () => driver.unref(),
    names,
  }
  return { host, driver }
}

function isLocal(host: string): boolean {
  return host === 'localhost' || host.startsWith('127.') || host === '::1'
}

function present(address: IpAddress): string {
  if (address === SERVER || address === CLIENT) return '127.0.0.1'
  return formatIpAddress(address)
}

const SERVER_NAMES: AddressNames = {
  resolve: (host) => (isLocal(host) ? SERVER : undefined),
  present,
}

// A client that names an address of this host means the server, whatever it calls it.
const CLIENT_NAMES: AddressNames = {
  resolve: (host) => (isLocal(host) || host === '0.0.0.0' || host === '::' ? SERVER : undefined),
  resolveOwn: (host) => (isLocal(host) ? CLIENT : undefined),
  present,
}
