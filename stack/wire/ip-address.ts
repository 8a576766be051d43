/**
 * IpAddress: an address of either family as one number, so that tables of endpoints need no strings and no objects.
 *
 * What is written with it holds for both families; `isIpv4` tells them apart. An IPv6 address is its number in a table of those
 * that were met. The value is meaningful within this process only: nothing orders addresses by it, and no message or file holds
 * it.
 *
 * Anybody can make us meet addresses, so the table is bounded: when it is full, the one that was met longest ago makes way, unless
 * it is held. Whoever keeps an address for longer than a queue lasts holds it (`holdAddress`).
 */
import { StackError } from '../base/errors.js'
import { folded } from './checksum.js'
import {
  formatIpv4Address,
  type Ipv4Address,
  inPrefix as inPrefix4,
  isMulticast as isMulticast4,
  isUnicast as isUnicast4,
  parseIpv4Address,
} from './ipv4.js'

/** An IP address: a signed 32-bit integer is IPv4, 10.0.0.1 being 0x0a000001; from 2^32 on it is IPv6. */
export type IpAddress = number & { readonly __ip: unique symbol }

export { UNSPECIFIED } from './ipv4.js'

/** IPv6 addresses that the table holds at most. */
export const MAX_IPV6_ADDRESSES = 1 << 20
/** In place of an address for which the table has no room, as all in it are held. */
export const NO_ROOM = -(2 ** 40) as IpAddress

const FIRST_IPV6 = 2 ** 32
const WORDS = 4
/** Octets of an IPv6 address. */
export const IPV6_ADDRESS_LENGTH = 4 * WORDS
const PORTS = 0x10000
const MAPPED = 0xffff
const NIBBLES = /^[0-9a-f]{1,4}$/i

// The words of address n are words[4 n .. 4 n + 3].
let words = new Int32Array(64 * WORDS)
// The partial checksum of address n.
let sums = new Uint16Array(64)
// How often address n is held.
let holds = new Uint32Array(64)
let count = 0
// The next one to make way in a full table.
let hand = 0
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
  if (count < MAX_IPV6_ADDRESSES) return add(a, b, c, d, slot)
  return replace(a, b, c, d)
}

/** The address is kept somewhere: its number stays its own until it was dropped as often as it was held. */
export function holdAddress(address: number): void {
  if (address >= FIRST_IPV6) (holds[address - FIRST_IPV6] as number)++
}

export function dropAddress(address: number): void {
  if (address >= FIRST_IPV6) (holds[address - FIRST_IPV6] as number)--
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
  if (count === sums.length) grow()
  count++
  return put(count - 1, a, b, c, d, slot)
}

// allocates: each time that the table doubles
function grow(): void {
  const [oldWords, oldSums, oldHolds] = [words, sums, holds]
  words = new Int32Array(2 * oldWords.length)
  words.set(oldWords)
  sums = new Uint16Array(2 * oldSums.length)
  sums.set(oldSums)
  holds = new Uint32Array(2 * oldHolds.length)
  holds.set(oldHolds)
}

function put(n: number, a: number, b: number, c: number, d: number, slot: number): IpAddress {
  const at = n * WORDS
  words[at] = a
  words[at + 1] = b
  words[at + 2] = c
  words[at + 3] = d
  sums[n] = folded(halves(a) + halves(b) + halves(c) + halves(d))
  slots[slot] = n + 1
  if (count * 2 > slots.length) rehash()
  return (FIRST_IPV6 + n) as IpAddress
}

// In a full table: takes the place of the oldest that is not held.
function replace(a: number, b: number, c: number, d: number): IpAddress {
  for (let tried = 0; tried < MAX_IPV6_ADDRESSES; tried++) {
    const n = hand
    hand = (hand + 1) % MAX_IPV6_ADDRESSES
    if (holds[n] !== 0) continue
    forget(n)
    const mask = slots.length - 1
    let slot = hash(a, b, c, d) & mask
    while (slots[slot] !== 0) slot = (slot + 1) & mask
    return put(n, a, b, c, d, slot)
  }
  return NO_ROOM
}

// Takes address n out of the slots. What stands behind it is moved up, so that no search ends too early.
function forget(n: number): void {
  const mask = slots.length - 1
  let hole = homeOf(n)
  while (slots[hole] !== n + 1) hole = (hole + 1) & mask
  for (let at = (hole + 1) & mask; slots[at] !== 0; at = (at + 1) & mask) {
    const home = homeOf((slots[at] as number) - 1)
    // It may move up to the hole when its home is not between the two.
    if (((at - home) & mask) < ((at - hole) & mask)) continue
    slots[hole] = slots[at] as number
    hole = at
  }
  slots[hole] = 0
}

function homeOf(n: number): number {
  const [a, b, c, d] = wordsOf(n)
  return hash(a, b, c, d) & (slots.length - 1)
}

function halves(word: number): number {
  return (word >>> 16) + (word & 0xffff)
}

function rehash(): void {
  slots = new Int32Array(2 * slots.length)
  const mask = slots.length - 1
  for (let n = 0; n < count; n++) {
    let slot = homeOf(n)
    while (slots[slot] !== 0) slot = (slot + 1) & mask
    slots[slot] = n + 1
  }
}

function wordsOf(n: number): [number, number, number, number] {
  return [...words.subarray(n * WORDS, n * WORDS + WORDS)] as [number, number, number, number]
}

/** Word `i`, 0 .. 3, of an IPv6 address. */
function wordAt(address: IpAddress, i: number): number {
  return words[(address - FIRST_IPV6) * WORDS + i] as number
}

/** The four words of an address as IPv6 has it; one of IPv4 is mapped (RFC 4291 §2.5.5.2). */
export function ipv6Words(address: IpAddress): [number, number, number, number] {
  return isIpv4(address) ? [0, 0, MAPPED, address] : wordsOf(address - FIRST_IPV6)
}

/** Writes the 16 octets of an address as IPv6 has it; one of IPv4 is mapped. */
export function putIpAddress(view: DataView, at: number, address: IpAddress): void {
  const own = !isIpv4(address)
  view.setInt32(at, own ? wordAt(address, 0) : 0)
  view.setInt32(at + 4, own ? wordAt(address, 1) : 0)
  view.setInt32(at + 8, own ? wordAt(address, 2) : MAPPED)
  view.setInt32(at + 12, own ? wordAt(address, 3) : address)
}

/** The address whose octets {@link putIpAddress} wrote, or NO_ROOM. */
export function ipAddressAt(view: DataView, at: number): IpAddress {
  const mapped = view.getInt32(at) === 0 && view.getInt32(at + 4) === 0
  if (mapped && view.getInt32(at + 8) === MAPPED) return view.getInt32(at + 12) as IpAddress
  return ipv6AddressAt(view, at)
}

/** The partial sum of the octets of an address, for the pseudo-header. */
export function addressSum(address: number): number {
  return (address | 0) === address ? halves(address) : (sums[address - FIRST_IPV6] as number)
}

/** Address and port as one number below 2^53, which no other endpoint has. */
export function endpointKey(address: number, port: number): number {
  return (address < 0 ? address + FIRST_IPV6 : address) * PORTS + port
}

/** True for `::`, and for 0.0.0.0. */
export function isUnspecified(address: IpAddress): boolean {
  if (isIpv4(address)) return address === 0
  return isAt(address - FIRST_IPV6, 0, 0, 0, 0)
}

/** True for an address of many hosts: 224.0.0.0/4 or ff00::/8. */
export function isMulticast(address: IpAddress): boolean {
  if (isIpv4(address)) return isMulticast4(address)
  return address >= FIRST_IPV6 && wordAt(address, 0) >>> 24 === 0xff
}

/** True for an address that one host can have on a link. One of IPv4 in IPv6's clothes belongs on no wire. */
export function isUnicast(address: IpAddress): boolean {
  if (isIpv4(address)) return isUnicast4(address)
  if (address < FIRST_IPV6 || isMulticast(address)) return false
  const top = wordAt(address, 0) === 0 && wordAt(address, 1) === 0
  if (!top) return true
  const c = wordAt(address, 2)
  return c !== MAPPED && (c !== 0 || wordAt(address, 3) >>> 1 !== 0)
}

/** True when both addresses are of one family and share their first `prefix` bits. */
export function inPrefix(a: IpAddress, b: IpAddress, prefix: number): boolean {
  if (isIpv4(a) !== isIpv4(b)) return false
  if (isIpv4(a)) return inPrefix4(a, b, prefix)
  for (let i = 0, left = prefix; i < WORDS && left > 0; i++, left -= 32) {
    const mask = left >= 32 ? -1 : -1 << (32 - left)
    if (((wordAt(a, i) ^ wordAt(b, i)) & mask) !== 0) return false
  }
  return true
}

/** Bits of the longest prefix of the address's family. */
export function addressBits(address: IpAddress): number {
  return isIpv4(address) ? 32 : 128
}

const scratch = new DataView(new ArrayBuffer(IPV6_ADDRESS_LENGTH))

/** The IPv6 address with these words. */
export function ipv6Address(a: number, b: number, c: number, d: number): IpAddress {
  scratch.setInt32(0, a)
  scratch.setInt32(4, b)
  scratch.setInt32(8, c)
  scratch.setInt32(12, d)
  return ipv6AddressAt(scratch, 0)
}

/** The group in which an IPv6 neighbour with this address is asked for (RFC 4291 §2.7.1). */
export function solicitedNode(address: IpAddress): IpAddress {
  return ipv6Address(0xff02_0000 | 0, 0, 1, 0xff00_0000 | wordAt(address, 3))
}

/** The low 32 bits, by which a group has its Ethernet address (RFC 2464 §7). */
export function lowWord(address: IpAddress): number {
  return isIpv4(address) ? address : wordAt(address, 3)
}

/** The text of an address as a number; `field` names the setting in the error ERR_INVALID_ADDRESS. */
export function parseIpAddress(text: string, field = 'address'): IpAddress {
  return text.includes(':') ? parseIpv6Address(text, field) : parseIpv4Address(text, field)
}

// RFC 4291 §2.2.
function parseIpv6Address(text: string, field: string): IpAddress {
  const [head = '', tail, more] = text.split('::')
  const front = groupsOf(head, field, text)
  const back = tail === undefined ? [] : groupsOf(tail, field, text)
  const zeros = 8 - front.length - back.length
  const full = tail === undefined ? zeros === 0 : zeros >= 1
  if (!full || more !== undefined) throw notIpv6(field, text)
  const groups = [...front, ...new Array<number>(zeros).fill(0), ...back]
  const word = (i: number): number =>
    ((groups[2 * i] as number) << 16) | (groups[2 * i + 1] as number)
  return ipv6Address(word(0), word(1), word(2), word(3))
}

function groupsOf(text: string, field: string, whole: string): number[] {
  if (text === '') return []
  return text.split(':').flatMap((group, i, all) => {
    if (i === all.length - 1 && group.includes('.')) {
      const last = parseIpv4Address(group, field)
      return [last >>> 16, last & 0xffff]
    }
    if (!NIBBLES.test(group)) throw notIpv6(field, whole)
    return [Number.parseInt(group, 16)]
  })
}

function notIpv6(field: string, text: string): StackError {
  return new StackError(
    'ERR_INVALID_ADDRESS',
    `${field}: '${text}' is not an IPv6 address; write it as fd77::100, without a zone`,
  )
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

/** Address and port as people write them (RFC 5952 §6). */
export function formatEndpoint(address: IpAddress, port: number): string {
  const text = formatIpAddress(address)
  return isIpv4(address) ? `${text}:${port}` : `[${text}]:${port}`
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
