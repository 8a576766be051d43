/**
 * Routes of a host (RFC 1122 §3.3.1): straight to a neighbour on a link's prefix, else to that prefix's gateway.
 *
 * The longest prefix wins. A host has few routes, so they are a short list that is replaced when it changes; to look one
 * up allocates nothing.
 */
import { StackError } from '../base/errors.js'
import {
  addressBits,
  dropAddress,
  formatIpAddress,
  holdAddress,
  type IpAddress,
  inPrefix,
  ipv6Address,
  isIpv4,
  UNSPECIFIED,
} from '../wire/ip-address.js'

/** `nextHop`'s answer when no route leads there. */
export const NO_ROUTE: IpAddress = UNSPECIFIED

export const MAX_ROUTES = 64

interface Route {
  readonly destination: IpAddress
  readonly prefix: number
  /** UNSPECIFIED: the destination is on the link. */
  readonly gateway: IpAddress
}

export class RouteTable {
  #routes: readonly Route[] = []

  /** Adds the prefix of a link: whoever is in it is a neighbour. */
  addOnLink(address: IpAddress, prefix: number): void {
    this.#add({ destination: address, prefix, gateway: UNSPECIFIED })
  }

  /** Adds a gateway for a prefix, by default for everything of its family; it must be on a link that was added before. */
  addGateway(
    gateway: IpAddress,
    destination: IpAddress = isIpv4(gateway) ? UNSPECIFIED : ipv6Address(0, 0, 0, 0),
    prefix = 0,
  ): void {
    if (this.nextHop(gateway) !== gateway) {
      throw new StackError(
        'ERR_GATEWAY_UNREACHABLE',
        `gateway ${formatIpAddress(gateway)} is not on a link; give the interface an address in the gateway's subnet first`,
      )
    }
    this.#add({ destination, prefix, gateway })
  }

  /**
   * Takes away one route: that of the address or destination it was added for. Another address of the same prefix keeps
   * its own.
   */
  remove(destination: IpAddress, prefix: number): void {
    const index = this.#routes.findIndex(
      (route) => route.prefix === prefix && route.destination === destination,
    )
    if (index < 0) return
    dropAddress(destination)
    dropAddress(this.#routes[index]?.gateway ?? UNSPECIFIED)
    this.#routes = this.#routes.filter((_, i) => i !== index)
  }

  /** The neighbour to whom a datagram for `dst` is handed, or NO_ROUTE. */
  nextHop(dst: IpAddress): IpAddress {
    const routes = this.#routes
    for (let i = 0; i < routes.length; i++) {
      const route = routes[i]
      if (route !== undefined && inPrefix(dst, route.destination, route.prefix)) {
        return route.gateway === UNSPECIFIED ? dst : route.gateway
      }
    }
    return NO_ROUTE
  }

  #add(route: Route): void {
    const bits = addressBits(route.destination)
    if (!Number.isInteger(route.prefix) || route.prefix < 0 || route.prefix > bits) {
      throw new StackError(
        'ERR_INVALID_PREFIX',
        `prefix ${route.prefix}: give a number from 0 to ${bits}`,
      )
    }
    if (this.#routes.length >= MAX_ROUTES) {
      throw new StackError(
        'ERR_TOO_MANY_ROUTES',
        `more than ${MAX_ROUTES} routes: remove one first`,
      )
    }
    holdAddress(route.destination)
    holdAddress(route.gateway)
    this.#routes = [...this.#routes, route].sort((a, b) => b.prefix - a.prefix)
  }
}
