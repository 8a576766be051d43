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
import { type Binding, bindingCovers } from './binding.js'
import type { CheckpointStore } from './checkpoint.js'
import { type GivenUp, resumePoint } from './resume-point.js'
import { Shadow } from './shadow.js'
import type { Snooper } from './snooper.js'

/** Neighbours that are told by unicast at most. */
const MAX_UNICAST_ARP = 256

/** What became of the connections. */
export interface PromotionCount {
  connections: number
  promoted: number
  /** Of the promoted, those with text under way in either direction. */
  midStream: number
  /** Connections that could not be saved, by reason (D5). */
  readonly givenUp: Partial<Record<GivenUp, number>>
}

/** Promotes every shadow of the binding that can be, and resets the others' clients (P1, S2). */
export function promoteAll(
  stack: Stack,
  nic: Nic,
  snooper: Snooper,
  checkpoints: CheckpointStore,
  now: Millis,
): PromotionCount {
  const count: PromotionCount = { connections: 0, promoted: 0, midStream: 0, givenUp: {} }
  for (const shadow of [...snooper.table.shadows()]) {
    shadow.settle(now)
    snooper.remove(shadow)
    // The owner had not answered the SYN: the client repeats it, and is served as a new one.
    if (shadow.verdict !== 'untracked' && !shadow.tcb.synSent) continue
    if (shadow.closed) continue
    count.connections++
    if (shadow.peerMac !== 0) {
      nic.neighbors.learn(nic.routes.nextHop(shadow.key.remoteAddress), shadow.peerMac, now)
    }
    promote(stack, nic, shadow, checkpoints, now, count)
  }
  return count
}

function promote(
  stack: Stack,
  nic: Nic,
  shadow: Shadow,
  checkpoints: CheckpointStore,
  now: Millis,
  count: PromotionCount,
): void {
  const point = resumePoint(shadow, checkpoints.get(shadow.key))
  if (typeof point === 'string') {
    count.givenUp[point] = (count.givenUp[point] ?? 0) + 1
    stack.reset(shadow.key, shadow.resetSeq)
    return
  }
  const { tcb, buffers } = shadow
  if (tcb.flightSize > 0 || buffers.received.contiguousEnd > point.input) count.midStream++
  count.promoted++
  stack.adopt(shadow.release(), nic, shadow.key, now, point.input, point.output, point.resumption)
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

/** Demotion: every connection becomes a shadow again. The address has fallen silent before. */
export function demoteAll(stack: Stack, binding: Binding, snooper: Snooper, now: Millis): number {
  const connections: Connection[] = []
  for (const connection of stack.tcp.demux.connections()) {
    if (bindingCovers(binding, connection.localAddress as IpAddress, connection.localPort)) {
      connections.push(connection)
    }
  }
  for (const connection of connections) {
    const { localPort, remotePort } = connection
    const remoteAddress = connection.remoteAddress as IpAddress
    const parts = stack.release(connection)
    if (parts.tcb.state === TcpState.CLOSED || !parts.tcb.synSent) continue
    const key = {
      binding: binding.id,
      localAddress: binding.address,
      localPort,
      remoteAddress,
      remotePort,
    }
    const shadow = new Shadow(key, parts)
    snooper.table.add(shadow, now)
    if (parts.tcb.state === TcpState.TIME_WAIT) snooper.table.startWait(shadow, now)
    snooper.touch(shadow)
  }
  return connections.length
}
