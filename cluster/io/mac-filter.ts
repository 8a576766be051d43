/**
 * MacFilter: the stations whose frames a node takes from its link (P12): itself, whoever may own its bindings, as they declare it, and the
 * routers, through which all clients come. What others on the link say to each other costs the node no more than reading it.
 *
 * As long as one of the routers is not known, everything is taken: what a filter leaves out is lost to the shadows.
 */
import {
  ArpOperation,
  BROADCAST_MAC,
  EtherType,
  emitArp,
  Frame,
  type Ipv4Address,
  type LinkEndpoint,
  type MacAddress,
  type Millis,
  type Nic,
  UNSPECIFIED,
} from '../../stack/index.js'
import type { Peers } from '../peers.js'

/** Between two questions for routers that have not been heard. */
export const ASK_MS: Millis = 1000

export class MacFilter {
  readonly #link: LinkEndpoint
  readonly #nic: Nic
  readonly #peers: Peers
  readonly #routers: readonly Ipv4Address[]
  readonly #frame = new Frame()
  #passed = ''
  #askAt: Millis = 0

  constructor(link: LinkEndpoint, nic: Nic, peers: Peers, routers: readonly Ipv4Address[]) {
    this.#link = link
    this.#nic = nic
    this.#peers = peers
    this.#routers = routers
  }

  /** To be called in each turn behind what was received: who is there may have changed. */
  update(now: Millis): void {
    const macs = this.#wanted(now)
    const passed = macs === null ? '' : [...macs].sort().join()
    if (passed === this.#passed) return
    this.#passed = passed
    this.#link.setFilter?.(macs)
  }

  #wanted(now: Millis): Set<MacAddress> | null {
    const macs = new Set([this.#nic.mac])
    for (const { named } of this.#nic.addresses()) macs.add(named)
    for (const { mac } of this.#peers.all()) macs.add(mac)
    let known = true
    for (const router of this.#routers) {
      const mac = this.#nic.neighbors.lookup(router)
      if (mac > 0) macs.add(mac)
      else known = false
    }
    if (!known) this.#ask(now)
    return known ? macs : null
  }

  // As a probe (RFC 5227 §2.1.1): a standby has no address to ask from, and names none.
  #ask(now: Millis): void {
    if (now < this.#askAt) return
    this.#askAt = now + ASK_MS
    for (const router of this.#routers) {
      const frame = this.#frame
      frame.reset()
      emitArp(frame, ArpOperation.REQUEST, this.#nic.mac, UNSPECIFIED as Ipv4Address, 0, router)
      const packet = frame.bytes.subarray(frame.start, frame.end)
      this.#nic.sendLinkMessage(BROADCAST_MAC, EtherType.ARP, packet)
    }
  }
}
