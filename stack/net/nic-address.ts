// hot path: no allocation per frame
/** The addresses of a NIC, and which of them speaks to whom. */
import { type IpAddress, inPrefix, isIpv4 } from '../wire/ip-address.js'

/**
 * Assigned: answer for it, speak. Shared: speak as one of several, of which another answers for the address; nothing but TCP is taken.
 * Observed: watch only.
 */
export type AddressState = 'assigned' | 'shared' | 'observed'

/** An address of a NIC. */
export interface NicAddress {
  readonly address: IpAddress
  readonly prefix: number
  readonly state: AddressState
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
