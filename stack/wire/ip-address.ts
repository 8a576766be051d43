/**
 * IpAddress: an address of either family as one number, so that tables of endpoints need no strings and no objects.
 *
 * What is written with it holds for both families; `isIpv4` tells them apart. The value is meaningful within this process
 * only: nothing orders addresses by it, and no message or file holds it.
 */
import { formatIpv4Address, type Ipv4Address, parseIpv4Address } from './ipv4.js'

/** An IP address: a signed 32-bit integer is IPv4, 10.0.0.1 being 0x0a000001. */
export type IpAddress = number & { readonly __ip: unique symbol }

export { UNSPECIFIED } from './ipv4.js'

/** True for an IPv4 address. */
export function isIpv4(address: IpAddress): address is Ipv4Address {
  return (address | 0) === address
}

/** The text of an address as a number; `field` names the setting in the error ERR_INVALID_ADDRESS. */
export function parseIpAddress(text: string, field = 'address'): IpAddress {
  return parseIpv4Address(text, field)
}

/** The address as people write it. */
export function formatIpAddress(address: IpAddress): string {
  return formatIpv4Address(address as Ipv4Address)
}
