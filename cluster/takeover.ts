/**
 * Takeover: the ordered steps of claiming a binding and of yielding it (P9, design of the order: hazards of every such system).
 *
 * State comes before the address, the address before ARP, ARP before TCP; and nothing is answered before all is in place. All of
 * it happens in one call, between two frames.
 */
import {
  type Connection,
  type IpAddress,
  type MacAddress,
  type Millis,
  type Nic,
  type Stack,
  TcpState,
} from '../stack/index.js'
import { type Binding, connectionsOf, type NodeId } from './binding.js'
import type { CheckpointStore } from './checkpoint.js'
import type { DoubtfulData } from './declaration.js'
import { flowKeyOf } from './flow-key.js'
import { doubtfulDataOf, type NodeWorld } from './node-options.js'
import type { Ownership } from './ownership.js'
import type { Peers } from './peers.js'
import {
  hasStray,
  Promotion,
  type PromotionCount,
  refusesAlone,
  type TakeLost,
} from './promotion.js'
import { Shadow } from './shadow.js'
import type { Snooper } from './snooper.js'

export type { PromotionCount } from './promotion.js'

/** Neighbours that are told by unicast at most. */
const MAX_UNICAST_ARP = 256

/**
 * Promotes every shadow of the binding that can be, and resets the others' clients (P1, S2). What lacks text that may still come from
 * another node stays a shadow a little longer (D1).
 */
export function promoteAll(
  stack: Stack,
  nic: Nic,
  snooper: Snooper,
  checkpoints: CheckpointStore,
  now: Millis,
  doubtful: DoubtfulData,
  takeLost?: TakeLost,
  orderly = false,
): PromotionCount {
  // What another node serves stays with it, and is watched.
  const shadows = [...snooper.table.shadows()].filter(({ key }) => !snooper.isAway(key))
  for (const shadow of shadows) shadow.settle(now)
  const waits = new Set(shadows.filter((shadow) => snooper.repair?.retain(shadow, now) === true))
  for (const { key, peerMac } of waits) {
    if (peerMac !== 0) nic.hops.learn(key.remoteAddress, peerMac, now)
  }
  const due = shadows.filter((shadow) => !waits.has(shadow))
  return promoteShadows(stack, nic, snooper, checkpoints, due, now, doubtful, takeLost, orderly)
}

/** The same for some of them, which have been settled. */
export function promoteShadows(
  stack: Stack,
  nic: Nic,
  snooper: Snooper,
  checkpoints: CheckpointStore,
  shadows: readonly Shadow[],
  now: Millis,
  doubtful: DoubtfulData,
  takeLost?: TakeLost,
  orderly = false,
): PromotionCount {
  const promotion = new Promotion(stack, nic, now, doubtful, takeLost, orderly)
  const { count } = promotion
  const stray = hasStray(snooper.pairs, shadows)
  const living = new Set<Shadow>()
  for (const shadow of shadows) {
    snooper.remove(shadow)
    // The owner had not answered the SYN: the client repeats it, and is served as a new one.
    if (shadow.verdict !== 'untracked' && !shadow.tcb.synSent) continue
    if (shadow.closed) continue
    count.connections++
    if (shadow.peerMac !== 0) {
      nic.hops.learn(shadow.key.remoteAddress, shadow.peerMac, now)
    }
    living.add(shadow)
  }
  for (const shadow of living) {
    const { partner } = shadow
    if (partner !== null && !living.has(partner)) promotion.promoteRest(shadow, partner)
    else if (partner !== null && !shadow.opener) promotion.promotePair(shadow, partner)
    else if (partner === null) {
      const reason = refusesAlone(shadow, snooper.pairs, stray)
      if (reason === null) promotion.promote(shadow, checkpoints)
      else promotion.giveUp(shadow, reason)
    }
  }
  return count
}

/**
 * Makes the shadows of a binding that was claimed from `from` the node's own connections, and watches the rest on. `orderly`: `from` gave it
 * up of its own accord.
 */
export function takeAll(
  { set, snooper, carriage }: Pick<Ownership, 'set' | 'snooper' | 'carriage'>,
  { stack, nic, checkpoints }: NodeWorld,
  from: NodeId,
  orderly: boolean,
  now: Millis,
): PromotionCount {
  const doubtful = doubtfulDataOf(set)
  const takeLost: TakeLost = (shadow, why) => carriage.takeLost(shadow, why, from)
  const count = promoteAll(stack, nic, snooper, checkpoints, now, doubtful, takeLost, orderly)
  snooper.active = snooper.table.size > 0
  snooper.knownOnly = true
  return count
}

/** The connections of a binding that another node has owned meanwhile, unheard: those that went on there end here. */
export function doubtAll(binding: Binding, stack: Stack, now: Millis): void {
  for (const connection of connectionsOf(binding, stack)) connection.doubt(now)
}

/** Makes the connections of a binding that was given up shadows again, but for those that this node carries. */
export function watchAll(
  { binding, snooper, carriage }: Pick<Ownership, 'binding' | 'snooper' | 'carriage'>,
  stack: Stack,
  now: Millis,
): void {
  demoteAll(stack, binding, snooper, (each) => carriage.isCarried(each), now)
  snooper.active = true
  snooper.knownOnly = false
}

/** Ethernet addresses of whom clients may believe that he has an address that this node speaks from (P12). */
export function macsBelieved(ownerships: readonly Ownership[], peers: Peers): Set<MacAddress> {
  const macs = new Set<MacAddress>()
  for (const { predecessor, carriage, owner } of ownerships) {
    const nodes = new Set(carriage.carriers()).add(predecessor)
    if (carriage.speaks) nodes.add(owner)
    for (const node of nodes) for (const mac of peers.macsOf(node)) macs.add(mac)
  }
  // Whoever shares the address may be the one whom clients were told of.
  const shares = ownerships.some(({ owned, set }) => owned && set.arp !== undefined)
  if (shares) for (const peer of peers.all()) macs.add(peer.mac)
  return macs
}

/** Tells the link that the address is here now: in request form to all, and one request to each client by name (P13). */
export function announce(
  nic: Nic,
  binding: Binding,
  clients: Iterable<[IpAddress, MacAddress]>,
  now: Millis,
): void {
  nic.announce(binding.address, now)
  let left = MAX_UNICAST_ARP
  for (const [address, mac] of clients) {
    if (left-- === 0) return
    nic.askUnicast(binding.address, address, mac)
  }
}

/** The clients on the link whose frames were overheard, each once. */
export function clientsHeard(nic: Nic, snooper: Snooper): Map<IpAddress, MacAddress> {
  const clients = new Map<IpAddress, MacAddress>()
  for (const shadow of snooper.table.shadows()) {
    const hop = nic.routes.nextHop(shadow.key.remoteAddress)
    if (shadow.peerMac !== 0 && hop !== 0) clients.set(hop, shadow.peerMac)
    if (clients.size >= MAX_UNICAST_ARP) break
  }
  return clients
}

/** Demotion: every connection but those that stay becomes a shadow again. The address has fallen silent before. */
export function demoteAll(
  stack: Stack,
  binding: Binding,
  snooper: Snooper,
  stays: (connection: Connection) => boolean,
  now: Millis,
): number {
  const connections = connectionsOf(binding, stack).filter((each) => !stays(each))
  const shadows = new Map<Connection, Shadow>()
  for (const connection of connections) {
    const parts = stack.release(connection)
    if (parts.tcb.state === TcpState.CLOSED || !parts.tcb.synSent) continue
    const shadow = new Shadow(flowKeyOf(binding, connection), parts)
    shadow.opener = connection.opener
    shadows.set(connection, shadow)
    snooper.admit(shadow, now)
  }
  for (const [connection, shadow] of shadows) {
    joinAgain(binding, connection, shadow, shadows, snooper)
    if (shadow.partner === null) snooper.pairs.note(shadow)
  }
  return connections.length
}

// What a proxy has joined stays so; of a partner that is closed there may be text that waits to be passed on.
function joinAgain(
  binding: Binding,
  connection: Connection,
  shadow: Shadow,
  shadows: ReadonlyMap<Connection, Shadow>,
  { pairs }: Snooper,
): void {
  const partner = connection.partner as Connection | null
  if (partner === null || shadow.partner !== null || !partner.tcb.synSent) return
  const other = shadows.get(partner) ?? new Shadow(flowKeyOf(binding, partner), partner)
  if (connection.opener) pairs.join(other, shadow, other.key)
  else pairs.join(shadow, other, shadow.key)
}
