/**
 * Loopback: a network in memory for one process. Servers and clients have a stack each, joined by a hub, so that every
 * octet really goes through TCP. Applications see one host, 127.0.0.1 and ::1; inside, the two ends have an address of the ranges
 * for documentation (RFC 5737, RFC 3849) for each of the two, as no host may send from a loopback address on a link.
 */
import { Driver } from '../io/driver.js'
import { systemClock } from '../io/system-clock.js'
import { SystemRng } from '../io/system-rng.js'
import { Hub } from '../link/hub.js'
import type { Nic } from '../net/nic.js'
import { Stack } from '../stack.js'
import { formatIpAddress, type IpAddress, parseIpAddress, UNSPECIFIED } from '../wire/ip-address.js'
import type { AddressNames, ListenAddress, StackHost } from './host.js'

/** Both addresses of one end. */
interface Pair {
  /** Called 127.0.0.1. */
  readonly v4: IpAddress
  /** Called ::1. */
  readonly v6: IpAddress
}

const SERVER: Pair = { v4: parseIpAddress('192.0.2.1'), v6: parseIpAddress('2001:db8::1') }
const CLIENT: Pair = { v4: parseIpAddress('192.0.2.2'), v6: parseIpAddress('2001:db8::2') }
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
  const { demux } = server.host.stack.tcp
  const isPortTaken = (port: number): boolean =>
    demux.findListener(SERVER.v4, port) !== null || demux.findListener(SERVER.v6, port) !== null
  return { server: server.host, client: { ...client.host, isPortTaken }, hub, close }
}

function newEnd(
  hub: Hub,
  addresses: Pair,
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
  nic.setAddress(addresses.v4, 24, 'assigned')
  nic.setAddress(addresses.v6, 64, 'assigned')
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

/** Which of the two addresses of this host `name` means. */
function familyMeant(name: string): keyof Pair | undefined {
  const plain = name.startsWith('::ffff:') ? name.slice('::ffff:'.length) : name
  if (plain === 'localhost' || plain.startsWith('127.')) return 'v4'
  return plain === '::1' ? 'v6' : undefined
}

function present(address: IpAddress): string {
  if (address === SERVER.v4 || address === CLIENT.v4) return '127.0.0.1'
  if (address === SERVER.v6 || address === CLIENT.v6) return '::1'
  return formatIpAddress(address)
}

// As Linux has it: a server that names no address listens by IPv6, and for IPv4 with it.
function listenAt(name: string, ipv6Only: boolean): ListenAddress | undefined {
  if (name === '0.0.0.0') return { address: SERVER.v4, shown: name, mapped: false }
  if (name !== '' && name !== '::') return undefined
  const address = ipv6Only ? SERVER.v6 : UNSPECIFIED
  return { address, shown: '::', mapped: !ipv6Only }
}

const SERVER_NAMES: AddressNames = {
  resolve: (name) => SERVER[familyMeant(name) as keyof Pair],
  listenAt,
  present,
}

// A client that names an address of this host means the server, whatever it calls it.
const CLIENT_NAMES: AddressNames = {
  resolve(name) {
    if (name === '0.0.0.0') return SERVER.v4
    return name === '::' ? SERVER.v6 : SERVER[familyMeant(name) as keyof Pair]
  },
  resolveOwn: (name) => CLIENT[familyMeant(name) as keyof Pair],
  ownFor: (remote) => (remote === SERVER.v6 ? CLIENT.v6 : null),
  present,
}
