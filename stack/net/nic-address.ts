// hot path: no allocation per frame
/** The addresses of a NIC, and which of them speaks to whom. */
import { type IpAddress, inPrefix, isIpv4 } from '../wire/ip-address.js'

/** Assigned: answer for it, speak. Observed: watch only. */
export type AddressState = 'assigned' | 'observed'

/** An address of a NIC. */
export interface NicAddress {
  readonly address: IpAddress
  readonly prefix: number
  readonly state: AddressState
}

/** The assigned address whose subnet `target` is in, else one of its family; without one nobody may be asked. */
export function askerFor(
  addresses: Iterable<NicAddress>,
  target: IpAddress,
): NicAddress | undefined {
  let found: NicAddress | undefined
  for (const own of addresses) {
    if (own.state !== 'assigned' || isIpv4(own.address) !== isIpv4(target)) continue
    if (inPrefix(own.address, target, own.prefix)) return own
    found ??= own
  }
  return found
}
