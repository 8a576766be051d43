/** Which family an address of a lab is of. */

export function isIpv6(address: string): boolean {
  return address.includes(':')
}
