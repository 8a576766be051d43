/**
 * Peers: what this node knows of the others, from their declarations alone (P4): nobody configures a list.
 */

import type { MacAddress } from '../stack/index.js'
import type { NodeId } from './binding.js'
import type { FenceTarget, OwnershipDeclaration } from './declaration.js'

/** Nodes that are remembered at most. */
export const MAX_PEERS = 63
/** Bindings of one node of which declarations are taken. */
export const MAX_BINDINGS = 64

/** A node as its last declaration describes it. */
export interface Peer {
  readonly id: NodeId
  readonly mac: MacAddress
  readonly incarnation: number
  /** The number of its last declaration, by binding. */
  readonly sequences: Map<number, number>
  readonly controlAddress: number
  readonly controlPort: number
  readonly heartbeatPort: number
  readonly fence: FenceTarget
  /** False once the node was taken for dead, until it declares itself anew. */
  readonly up: boolean
}

/**
 * What a declaration was to us: of a node unknown so far or started again, of a known one, the last one heard on another way, an
 * old one played again, or one for which there is no room.
 */
export type Notice = 'new' | 'known' | 'again' | 'replayed' | 'full'

/** The nodes heard of, by id and by MAC address. Bounded by {@link MAX_PEERS}. */
export class Peers {
  readonly #byId = new Map<NodeId, Peer>()
  readonly #byMac = new Map<MacAddress, NodeId>()

  get size(): number {
    return this.#byId.size
  }

  get(id: NodeId): Peer | undefined {
    return this.#byId.get(id)
  }

  /** The node whose frames carry `mac`; 0 when there is none. */
  idOf(mac: MacAddress): NodeId {
    return this.#byMac.get(mac) ?? 0
  }

  all(): Iterable<Peer> {
    return this.#byId.values()
  }

  /** The Ethernet address of a node, if it is known: a set of one or none. */
  macsOf(id: NodeId): ReadonlySet<MacAddress> {
    const peer = this.#byId.get(id)
    return new Set(peer === undefined ? [] : [peer.mac])
  }

  /** The nodes that are up, in ascending order, `self` among them. */
  upWith(self: NodeId): NodeId[] {
    const ids = [self]
    for (const peer of this.#byId.values()) if (peer.up) ids.push(peer.id)
    return ids.sort((a, b) => a - b)
  }

  /** Takes an authentic declaration. */
  note(d: OwnershipDeclaration): Notice {
    const known = this.#byId.get(d.node)
    if (known !== undefined) {
      const older = d.incarnation < known.incarnation
      const last = known.sequences.get(d.binding) ?? 0
      const ahead = d.incarnation === known.incarnation ? d.sequence - last : 1
      if (ahead === 0) return 'again'
      if (older || ahead < 0) return 'replayed'
    } else if (this.#byId.size >= MAX_PEERS) {
      return 'full'
    }
    const lived = known?.incarnation === d.incarnation ? known : undefined
    const sequences = lived?.sequences ?? new Map<number, number>()
    if (sequences.size >= MAX_BINDINGS && !sequences.has(d.binding)) return 'full'
    sequences.set(d.binding, d.sequence)
    const fresh = known === undefined || d.incarnation !== known.incarnation || !known.up
    if (known !== undefined && known.mac !== d.mac) this.#byMac.delete(known.mac)
    this.#byMac.set(d.mac, d.node)
    this.#byId.set(d.node, {
      id: d.node,
      mac: d.mac,
      incarnation: d.incarnation,
      sequences,
      controlAddress: d.controlAddress,
      controlPort: d.controlPort,
      heartbeatPort: d.heartbeatPort,
      fence: d.fence,
      up: true,
    })
    return fresh ? 'new' : 'known'
  }

  isUp(id: NodeId): boolean {
    return this.#byId.get(id)?.up === true
  }

  markDown(id: NodeId): void {
    const peer = this.#byId.get(id)
    if (peer !== undefined) this.#byId.set(id, { ...peer, up: false })
  }
}
