// hot path: no allocation per frame
/** The addresses of a NIC, and which of them speaks to whom. */
import { isUnicastMac, type MacAddress } from '../wire/ethernet.js'
import { type IpAddress, inPrefix, isIpv4, solicitedNode } from '../wire/ip-address.js'
import {
  directedBroadcast,
  IPV4_HEADER_LENGTH,
  type Ipv4Address,
  LIMITED_BROADCAST,
} from '../wire/ipv4.js'
import { IPV6_HEADER_LENGTH } from '../wire/ipv6.js'
import { ALL_NODES } from './solicitation.js'

/**
 * Assigned: answer for it, speak. Shared: speak as one of several, of which another answers for the address; nothing but TCP is taken.
 * Observed: watch only.
 */
export type AddressState = 'assigned' | 'shared' | 'observed'

/**
 * Ethernet addresses that an address has to itself (P12), in place of the NIC's own: neighbours need not learn anew when it moves, and
 * switches that learn pass on to all ports what goes to a group.
 */
export interface AddressMacs {
  /** Where neighbours are told that the address is: a virtual one, which moves with it, or a group's. */
  readonly named: MacAddress
  /** The group to which all datagrams from the address are sent; absent: each to its next hop. */
  readonly sendTo?: MacAddress
}

/** An address of a NIC. */
export interface NicAddress extends AddressMacs {
  readonly address: IpAddress
  readonly prefix: number
  readonly state: AddressState
  /** Whose name its frames bear: no group may send (IEEE 802.3 §3.2.3). */
  readonly source: MacAddress
}

/** An address that is at `macs`, or at the NIC's own address `mac`. */
export function newNicAddress(
  address: IpAddress,
  prefix: number,
  state: AddressState,
  mac: MacAddress,
  macs?: AddressMacs,
): NicAddress {
  const named = macs?.named ?? mac
  const sendTo = macs?.sendTo
  const source = isUnicastMac(named) ? named : mac
  // allocates: once per change of an address
  return { address, prefix, state, named, source, ...(sendTo !== undefined && { sendTo }) }
}

/** Where those that are spoken from are said to be, but for the NIC's own address `mac`. */
// allocates: once per change of an address
export function macsOf(addresses: Iterable<NicAddress>, mac: MacAddress): readonly MacAddress[] {
  const spoken = [...addresses].filter(({ state }) => state !== 'observed')
  return [...new Set(spoken.map(({ named }) => named))].filter((named) => named !== mac)
}

const TCP_HEADER_LENGTH = 20

/** Octets of IP and TCP headers without options, to an address of this family. */
export function headersFor(address: IpAddress): number {
  return (isIpv4(address) ? IPV4_HEADER_LENGTH : IPV6_HEADER_LENGTH) + TCP_HEADER_LENGTH
}

/** The address we speak from whose subnet `target` is in, else one of its family; without one nobody may be asked. */
export function askerFor(
  addresses: Iterable<NicAddress>,
  target: IpAddress,
): NicAddress | undefined {
  let found: NicAddress | undefined
  for (const own of addresses) {
    if (own.state === 'observed' || isIpv4(own.address) !== isIpv4(target)) continue
    if (inPrefix(own.address, target, own.prefix)) return own
    found ??= own
  }
  return found
}

/** The assigned one whose subnet's hosts are all meant by `address`. */
export function broadcastOf(
  address: Ipv4Address,
  addresses: Iterable<NicAddress>,
): NicAddress | undefined {
  for (const own of addresses) {
    if (own.state !== 'assigned' || !isIpv4(own.address)) continue
    if (address === LIMITED_BROADCAST) return own
    if (address === directedBroadcast(own.address, own.prefix)) return own
  }
  return undefined
}

/** True for a group of IPv6 that an assigned one belongs to: all of the link, or those it is asked for in. */
export function belongsTo(group: IpAddress, addresses: Iterable<NicAddress>): boolean {
  for (const own of addresses) {
    if (own.state !== 'assigned' || isIpv4(own.address)) continue
    if (group === ALL_NODES || group === solicitedNode(own.address)) return true
  }
  return false
}
