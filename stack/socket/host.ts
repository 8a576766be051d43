/**
 * What sockets and servers need of the world they live in: a stack, its clock, a nudge for its event loop, and the names
 * under which the application knows addresses. `io/Driver` gives the clock and the nudge; the cluster adds checkpoints.
 */
import { isIP } from 'node:net'
import type { Millis } from '../base/time.js'
import type { Stack } from '../stack.js'
import type { Connection } from '../tcp/connection.js'
import { formatIpAddress, type IpAddress, parseIpAddress, UNSPECIFIED } from '../wire/ip-address.js'

/** Takes checkpoints of connections (A2); given by the cluster. */
export interface CheckpointPort {
  /**
   * Stores how far the application has come, to be durable before anything leaves that was produced by then.
   *
   * @param state whatever the application wants back, any JSON value
   * @param inputOffset octets before this stream offset have been consumed; those behind it are delivered again
   * @param outputOffset octets before this stream offset have been produced; the application goes on from here
   * @param held produced octets that the connection has not taken yet, for want of room: the last ones before
   *   `outputOffset`, borrowed until this call returns
   */
  commit(
    connection: Connection,
    state: unknown,
    inputOffset: number,
    outputOffset: number,
    held: readonly Uint8Array[],
  ): void
}

/** Names of addresses other than their dotted form. */
export interface AddressNames {
  /** The address that is meant by `host`, or undefined when this is no name of ours. */
  resolve(host: string): IpAddress | undefined
  /** The own address that is meant by `host` when a connection is to leave from it; by default the same as `resolve`. */
  resolveOwn?(host: string): IpAddress | undefined
  /** The own address that a connection to `remote` leaves from, when the application names none; null: the stack's choice. */
  ownFor?(remote: IpAddress): IpAddress | null
  /** Where a server listens that is told to listen on `host`. Undefined: as `resolve` says. */
  listenAt?(host: string, ipv6Only: boolean): ListenAddress | undefined
  /** How the application sees `address`. */
  present(address: IpAddress): string
}

/** Where a server listens. */
export interface ListenAddress {
  readonly address: IpAddress
  /** How the application sees it. */
  readonly shown: string
  /** Connections over IPv4 have addresses that are mapped into IPv6 (RFC 4291 §2.5.5.2), as the socket is one of IPv6. */
  readonly mapped: boolean
}

/** One stack with an event loop. */
export interface StackHost {
  readonly stack: Stack
  now(): Millis
  /** Something was written, opened or closed: schedules a turn of the event loop. */
  kick(): void
  /** An open socket or server keeps the process alive; calls are counted. */
  ref?(): void
  unref?(): void
  /** True when somebody beyond this stack, whom the application takes for the same host, has this port. */
  isPortTaken?(port: number): boolean
  /**
   * True when another node is the owner of this endpoint, or may be: it is not known to be dead. An exclusive `listen` there fails (P10).
   */
  isOwnedElsewhere?(address: IpAddress, port: number): boolean
  readonly checkpoints?: CheckpointPort
  readonly names?: AddressNames
}

/** The address that `host` means on this stack: an IP address or one of its names. Undefined: neither. */
export function resolveHost(host: StackHost, name: string): IpAddress | undefined {
  const own = host.names?.resolve(name)
  if (own !== undefined) return own
  if (name === '' || name === '::') return UNSPECIFIED
  return isIP(name) === 0 || name.includes('%') ? undefined : parseIpAddress(name)
}

/** Where a server listens that is told to listen on `name`. Undefined: it is no address here. */
export function resolveListen(
  host: StackHost,
  name: string,
  ipv6Only: boolean,
): ListenAddress | undefined {
  const named = host.names?.listenAt?.(name, ipv6Only)
  if (named !== undefined) return named
  const address = resolveHost(host, name)
  if (address === undefined) return undefined
  return { address, shown: presentAddress(host, address), mapped: false }
}

/** The own address that is meant by `name` as the local end of a connection. Undefined: it is none. */
export function resolveOwn(host: StackHost, name: string): IpAddress | null | undefined {
  const own = host.names?.resolveOwn?.(name)
  if (own !== undefined) return own
  const address = resolveHost(host, name)
  if (address === UNSPECIFIED) return null
  const known = address !== undefined && host.stack.nics.some((nic) => nic.addressOf(address))
  return known ? address : undefined
}

/** How the application sees `address`. */
export function presentAddress(host: StackHost, address: IpAddress): string {
  return host.names?.present(address) ?? formatIpAddress(address)
}
