/**
 * Routes of a host (RFC 1122 §3.3.1): straight to a neighbour on a link's prefix, else to that prefix's gateway.
 *
 * The longest prefix wins. A prefix may have several gateways (P12: redundant routers): the first of them that is not known to
 * be silent is used (RFC 1122 §3.3.1.4). A host has few routes, so they are a short list that is replaced when it changes; to look
 * one up allocates nothing.
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
  /** None: the destination is on the link. */
  readonly gateways: readonly IpAddress[]
  /** Which of them is used; UNSPECIFIED where there is none. */
  readonly gateway: IpAddress
}

export class RouteTable {
  #routes: readonly Route[] = []
  // Gateways that did not answer when they were asked last.
  readonly #silent = new Set<IpAddress>()

  /** Adds the prefix of a link: whoever is in it is a neighbour. */
  addOnLink(address: IpAddress, prefix: number): void {
    this.#add(address, prefix, [])
  }

  /**
   * Adds a gateway for a prefix, by default for everything of its family, behind those that the prefix has already. It must be on a
   * link that was added before.
   */
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
    const known = this.#routes.find(
      (route) =>
        route.prefix === prefix && route.destination === destination && route.gateways.length > 0,
    )
    if (known === undefined) {
      this.#add(destination, prefix, [gateway])
    } else if (!known.gateways.includes(gateway)) {
      holdAddress(gateway)
      const gateways = [...known.gateways, gateway]
      this.#replace((route) => (route === known ? { ...route, gateways } : route))
    }
  }

  /** True for a gateway of some prefix, used or not. */
  isGateway(address: IpAddress): boolean {
    const routes = this.#routes
    for (let i = 0; i < routes.length; i++) {
      if (routes[i]?.gateways.includes(address) === true) return true
    }
    return false
  }

  /**
   * `gateway` does not answer: others take its place (RFC 1122 §3.3.1.4, RFC 4861 §6.3.6) until it is heard. True when there is one
   * that is not known to be silent, too; with none all are tried again, from the first on.
   */
  skip(gateway: IpAddress): boolean {
    const others = this.#routes.filter(({ gateways }) => gateways.includes(gateway))
    if (others.length === 0) return false
    this.#silent.add(gateway)
    const left = others.some(({ gateways }) => gateways.some((each) => !this.#silent.has(each)))
    if (!left)
      for (const { gateways } of others) for (const each of gateways) this.#silent.delete(each)
    this.#replace((route) => route)
    return left
  }

  /** Who is used where `hop` was, if that is a gateway that others have taken the place of; else `hop`. */
  instead(hop: IpAddress): IpAddress {
    return this.#routes.find(({ gateways }) => gateways.includes(hop))?.gateway ?? hop
  }

  /** `gateway` has said something: it is there. */
  heard(gateway: IpAddress): void {
    if (this.#silent.size > 0 && this.#silent.delete(gateway)) this.#replace((route) => route)
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
    for (const gateway of this.#routes[index]?.gateways ?? []) dropAddress(gateway)
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

  // Replaces routes, each with the gateway that is to be used.
  #replace(change: (route: Route) => Route): void {
    this.#routes = this.#routes.map((old) => {
      const route = change(old)
      const { gateways } = route
      const gateway = gateways.find((each) => !this.#silent.has(each)) ?? gateways[0]
      return { ...route, gateway: gateway ?? UNSPECIFIED }
    })
  }

  #add(destination: IpAddress, prefix: number, gateways: readonly IpAddress[]): void {
    const bits = addressBits(destination)
    if (!Number.isInteger(prefix) || prefix < 0 || prefix > bits) {
      throw new StackError(
        'ERR_INVALID_PREFIX',
        `prefix ${prefix}: give a number from 0 to ${bits}`,
      )
    }
    if (this.#routes.length >= MAX_ROUTES) {
      throw new StackError(
        'ERR_TOO_MANY_ROUTES',
        `more than ${MAX_ROUTES} routes: remove one first`,
      )
    }
    holdAddress(destination)
    for (const gateway of gateways) holdAddress(gateway)
    const route = { destination, prefix, gateways, gateway: gateways[0] ?? UNSPECIFIED }
    this.#routes = [...this.#routes, route].sort((a, b) => b.prefix - a.prefix)
  }
}
