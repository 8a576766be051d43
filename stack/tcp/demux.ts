// hot path: no allocation per frame
/**
 * Demux: from a segment's four-tuple to its connection, with two numeric look-ups and no strings: the local endpoint first,
 * then the remote one among its connections.
 */
import { dropAddress, endpointKey, holdAddress } from '../wire/ip-address.js'
import type { Connection } from './connection.js'
import type { TcpListener } from './listener.js'

class LocalEndpoint {
  listener: TcpListener | null = null
  readonly connections = new Map<number, Connection>()
}

export class Demux {
  readonly #endpoints = new Map<number, LocalEndpoint>()
  #size = 0
  // The connection that was found last: the next segment is often for it, too, and a key as large as an endpoint's costs an
  // allocation.
  #last: Connection | undefined = undefined

  /** Connections in the table. */
  get size(): number {
    return this.#size
  }

  find(
    local: number,
    localPort: number,
    remote: number,
    remotePort: number,
  ): Connection | undefined {
    const last = this.#last
    if (
      last !== undefined &&
      last.remotePort === remotePort &&
      last.remoteAddress === remote &&
      last.localPort === localPort &&
      last.localAddress === local
    ) {
      return last
    }
    const endpoint = this.#endpoints.get(endpointKey(local, localPort))
    const found = endpoint?.connections.get(endpointKey(remote, remotePort))
    if (found !== undefined) this.#last = found
    return found
  }

  /** The listener for a SYN to this endpoint: one bound to the address goes before one bound to any (RFC 9293 §3.10.1). */
  findListener(local: number, localPort: number): TcpListener | null {
    const bound = this.#endpoints.get(endpointKey(local, localPort))?.listener
    return bound ?? this.#endpoints.get(endpointKey(0, localPort))?.listener ?? null
  }

  /** The listener bound to exactly this endpoint. */
  listenerAt(local: number, localPort: number): TcpListener | null {
    return this.#endpoints.get(endpointKey(local, localPort))?.listener ?? null
  }

  add(connection: Connection): void {
    const { localAddress, localPort, remoteAddress, remotePort } = connection
    this.#last = undefined
    this.#endpoint(localAddress, localPort).connections.set(
      endpointKey(remoteAddress, remotePort),
      connection,
    )
    this.#size++
    holdAddress(localAddress)
    holdAddress(remoteAddress)
  }

  remove(connection: Connection): void {
    const { localAddress, localPort, remoteAddress, remotePort } = connection
    const endpoint = this.#endpoints.get(endpointKey(localAddress, localPort))
    const remoteKey = endpointKey(remoteAddress, remotePort)
    if (endpoint?.connections.get(remoteKey) !== connection) return
    if (this.#last === connection) this.#last = undefined
    endpoint.connections.delete(remoteKey)
    this.#size--
    dropAddress(localAddress)
    dropAddress(remoteAddress)
    this.#prune(localAddress, localPort, endpoint)
  }

  addListener(listener: TcpListener): void {
    this.#endpoint(listener.address, listener.port).listener = listener
    holdAddress(listener.address)
  }

  removeListener(listener: TcpListener): void {
    const endpoint = this.#endpoints.get(endpointKey(listener.address, listener.port))
    if (endpoint?.listener !== listener) return
    endpoint.listener = null
    dropAddress(listener.address)
    this.#prune(listener.address, listener.port, endpoint)
  }

  /** True when anything uses this local endpoint. */
  inUse(local: number, localPort: number): boolean {
    return this.#endpoints.has(endpointKey(local, localPort))
  }

  /** Every connection, in no order. For take-over, shutdown and metrics: not for the way of a frame. */
  *connections(): Generator<Connection> {
    for (const endpoint of this.#endpoints.values()) yield* endpoint.connections.values()
  }

  #endpoint(address: number, port: number): LocalEndpoint {
    const key = endpointKey(address, port)
    let endpoint = this.#endpoints.get(key)
    if (endpoint === undefined) {
      // allocates: once per local endpoint
      endpoint = new LocalEndpoint()
      this.#endpoints.set(key, endpoint)
    }
    return endpoint
  }

  #prune(address: number, port: number, endpoint: LocalEndpoint): void {
    if (endpoint.listener !== null || endpoint.connections.size > 0) return
    this.#endpoints.delete(endpointKey(address, port))
  }
}
