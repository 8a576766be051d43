/**
 * IpAddress: an address of either family as one number, so that tables of endpoints need no strings and no objects.
 *
 * What is written with it holds for both families; `isIpv4` tells them apart. An IPv6 address is its number in a table of those
 * that were met. The value is meaningful within this process only: nothing orders addresses by it, and no message or file holds
 * it.
 */
import { formatIpv4Address, type Ipv4Address, parseIpv4Address } from './ipv4.js'

/** An IP address: a signed 32-bit integer is IPv4, 10.0.0.1 being 0x0a000001; from 2^32 on it is IPv6. */
export type IpAddress = number & { readonly __ip: unique symbol }

export { UNSPECIFIED } from './ipv4.js'

/** IPv6 addresses that the table holds at most. */
export const MAX_IPV6_ADDRESSES = 1 << 20
/** In place of an address for which the table has no room. */
export const NO_ROOM = -(2 ** 40) as IpAddress

const FIRST_IPV6 = 2 ** 32
const WORDS = 4

// The words of address n are words[4 n .. 4 n + 3].
let words = new Int32Array(64 * WORDS)
let count = 0
// Open addressing by a hash of the words: the number of an address plus 1, or 0.
let slots = new Int32Array(256)

/** True for an IPv4 address. */
export function isIpv4(address: IpAddress): address is Ipv4Address {
  return (address | 0) === address
}

/** The IPv6 address whose 16 octets begin at `view[at]`, or NO_ROOM. */
export function ipv6AddressAt(view: DataView, at: number): IpAddress {
  const a = view.getInt32(at)
  const b = view.getInt32(at + 4)
  const c = view.getInt32(at + 8)
  const d = view.getInt32(at + 12)
  const mask = slots.length - 1
  let slot = hash(a, b, c, d) & mask
  for (let n = slots[slot] as number; n !== 0; n = slots[slot] as number) {
    if (isAt(n - 1, a, b, c, d)) return (FIRST_IPV6 + n - 1) as IpAddress
    slot = (slot + 1) & mask
  }
  if (count >= MAX_IPV6_ADDRESSES) return NO_ROOM
  return add(a, b, c, d, slot)
}

function isAt(n: number, a: number, b: number, c: number, d: number): boolean {
  const at = n * WORDS
  return words[at] === a && words[at + 1] === b && words[at + 2] === c && words[at + 3] === d
}

function hash(a: number, b: number, c: number, d: number): number {
  let h = Math.imul(a ^ Math.imul(b, 0x85ebca6b), 0xc2b2ae35) ^ Math.imul(c, 0x27d4eb2f) ^ d
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d)
  return h ^ (h >>> 13)
}

function add(a: number, b: number, c: number, d: number, slot: number): IpAddress {
  const at = count * WORDS
  if (at === words.length) {
    const larger = new Int32Array(2 * words.length)
    larger.set(words)
    words = larger
  }
  words[at] = a
  words[at + 1] = b
  words[at + 2] = c
  words[at + 3] = d
  count++
  slots[slot] = count
  if (count * 2 > slots.length) rehash()
  return (FIRST_IPV6 + count - 1) as IpAddress
}

function rehash(): void {
  slots = new Int32Array(2 * slots.length)
  const mask = slots.length - 1
  for (let n = 0; n < count; n++) {
    const [a, b, c, d] = wordsOf(n)
    let slot = hash(a, b, c, d) & mask
    while (slots[slot] !== 0) slot = (slot + 1) & mask
    slots[slot] = n + 1
  }
}

function wordsOf(n: number): [number, number, number, number] {
  return [...words.subarray(n * WORDS, n * WORDS + WORDS)] as [number, number, number, number]
}

/** The text of an address as a number; `field` names the setting in the error ERR_INVALID_ADDRESS. */
export function parseIpAddress(text: string, field = 'address'): IpAddress {
  return parseIpv4Address(text, field)
}

/** The address as people write it, an IPv6 one by RFC 5952. */
export function formatIpAddress(address: IpAddress): string {
  if (isIpv4(address)) return formatIpv4Address(address)
  const [a, b, c, d] = wordsOf(address - FIRST_IPV6)
  // RFC 5952 §5: an IPv4 address in IPv6's clothes.
  if (a === 0 && b === 0 && c === 0xffff) return `::ffff:${formatIpv4Address(d as Ipv4Address)}`
  const groups = [a, b, c, d].flatMap((word) => [word >>> 16, word & 0xffff])
  const [from, length] = longestZeros(groups)
  const text = (part: readonly number[]) => part.map((group) => group.toString(16)).join(':')
  if (length < 2) return text(groups)
  return `${text(groups.slice(0, from))}::${text(groups.slice(from + length))}`
}

// Where the longest run of zeros begins, the first of several, and how long it is.
function longestZeros(groups: readonly number[]): [from: number, length: number] {
  let best: [number, number] = [0, 0]
  for (let from = 0; from < groups.length; from++) {
    let length = 0
    while (groups[from + length] === 0) length++
    if (length > best[1]) best = [from, length]
    from += length
  }
  return best
}
