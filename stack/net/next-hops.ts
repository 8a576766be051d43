/**
 * NextHops: to whom on a link a datagram is handed for a destination: a neighbour, or one of the gateways (P12: redundant routers),
 * of which those that are found to be silent are left out.
 */
import type { Millis } from '../base/time.js'
import type { MacAddress } from '../wire/ethernet.js'
import { type IpAddress, UNSPECIFIED } from '../wire/ip-address.js'
import { type LostNeighbor, NeighborCache, UNRESOLVED } from './neighbor.js'
import { NO_ROUTE, RouteTable } from './route.js'

export class NextHops {
  readonly neighbors = new NeighborCache()
  readonly routes = new RouteTable()

  /** What is sent to `dst` finds no answer: the gateway that should pass it on, if any, is asked whether it is there. */
  doubt(dst: IpAddress, now: Millis): void {
    const hop = this.routes.nextHop(dst)
    if (hop !== dst && hop !== NO_ROUTE) this.neighbors.doubt(hop, now)
  }

  /**
   * Frames of `remote` have come from `mac`: what is sent to it goes there, unless through a gateway that is known already, as any of
   * them may have brought the frames.
   */
  learn(remote: IpAddress, mac: MacAddress, now: Millis): void {
    const hop = this.routes.nextHop(remote)
    if (hop === NO_ROUTE) return
    const known = hop !== remote && this.neighbors.lookup(hop) !== UNRESOLVED
    if (!known) this.neighbors.learn(hop, mac, now)
  }

  /**
   * Takes what `sender` says of itself, that it is at `mac`: see `NeighborCache.hear`. A gateway is remembered without being asked for,
   * so that whoever takes an address over knows it. True when something is known now that may be waited for.
   */
  hear(sender: IpAddress, mac: MacAddress, targetIsOurs: boolean, now: Millis): boolean {
    const gateway = this.routes.isGateway(sender)
    if (!this.neighbors.hear(sender, mac, targetIsOurs || gateway, now)) return false
    if (gateway) this.routes.heard(sender)
    return true
  }

  /**
   * `lost` was given up. Returns whom `nextHop` names that is waited for in vain: one that never answered, and in whose place no other
   * gateway is to be tried; else UNSPECIFIED.
   */
  replace(lost: LostNeighbor, now: Millis): IpAddress {
    const replaced = this.routes.skip(lost.ip)
    const next = this.routes.instead(lost.ip)
    // What waits for the one waits for the other now.
    if (replaced && this.neighbors.lookup(next) === UNRESOLVED) this.neighbors.solicit(next, now)
    return replaced || lost.mac !== UNRESOLVED ? UNSPECIFIED : next
  }
}
