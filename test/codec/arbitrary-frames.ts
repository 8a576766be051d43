/**
 * Random Ethernet frames for the codec tests: well-formed ones of every kind that the stack knows, with random fields,
 * tags, options, padding and fragmentation; and the same with a few octets changed, removed or added, half of them with
 * their checksums made good again, so that what lies behind a checksum is reached too.
 *
 * Built by hand from octets, without the emitters under test.
 */
import fc from 'fast-check'
import { plainSum } from '../../stack/wire/schema.js'

const octet = fc.nat(0xff)
const word = fc.nat(0xffff)
const payload = fc.uint8Array({ maxLength: 80 })

function bytes(length: number): fc.Arbitrary<Uint8Array> {
  return fc.uint8Array({ minLength: length, maxLength: length })
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]))
}

function words(...values: readonly number[]): Uint8Array {
  return Uint8Array.from(values.flatMap((value) => [(value >> 8) & 0xff, value & 0xff]))
}

const tcpOption = fc.oneof(
  fc.constant(Uint8Array.of(1)),
  fc.constant(Uint8Array.of(4, 2)),
  bytes(2).map((data) => concat(Uint8Array.of(2, 4), data)),
  octet.map((shift) => Uint8Array.of(3, 3, shift)),
  bytes(8).map((data) => concat(Uint8Array.of(8, 10), data)),
  fc.integer({ min: 1, max: 4 }).chain((n) => {
    return bytes(8 * n).map((data) => concat(Uint8Array.of(5, 2 + 8 * n), data))
  }),
  fc.tuple(octet, octet, payload).map(([kind, length, data]) => {
    return concat(Uint8Array.of(kind, length), data.subarray(0, length % 6))
  }),
)

const tcp = fc
  .record({
    head: bytes(12),
    flags: octet,
    tail: bytes(6),
    options: fc.array(tcpOption, { maxLength: 6 }),
    payload,
  })
  .map(({ head, flags, tail, options, payload }) => {
    const raw = concat(...options).subarray(0, 40)
    const padded = new Uint8Array((raw.length + 3) & ~3)
    padded.set(raw)
    const offset = (20 + padded.length) >> 2
    return concat(head, Uint8Array.of(offset << 4, flags), tail, padded, payload)
  })

const udp = fc.record({ ports: bytes(4), payload }).map(({ ports, payload }) => {
  return concat(ports, words(8 + payload.length, 0xffff), payload)
})

const icmp = fc
  .record({ type: fc.oneof(fc.constantFrom(0, 3, 8, 11), octet), rest: bytes(5), payload })
  .map(({ type, rest, payload }) => {
    return concat(Uint8Array.of(type, rest[0] ?? 0), words(0), rest.subarray(1), payload)
  })

const transport = fc.oneof(
  tcp.map((data) => ({ protocol: 6, data })),
  udp.map((data) => ({ protocol: 17, data })),
  icmp.map((data) => ({ protocol: 1, data })),
  fc.record({ protocol: octet, data: payload }),
)

const ipv4 = fc
  .record({
    service: octet,
    ident: word,
    fragment: fc.oneof(
      { weight: 5, arbitrary: fc.constant(0x4000) },
      { weight: 1, arbitrary: word },
    ),
    ttl: octet,
    addresses: bytes(8),
    options: fc.oneof(fc.constant(0), fc.nat(10)).chain((n) => bytes(4 * n)),
    transport,
  })
  .map(({ service, ident, fragment, ttl, addresses, options, transport }) => {
    const headerLength = 20 + options.length
    const total = headerLength + transport.data.length
    const head = Uint8Array.of(0x40 | (headerLength >> 2), service)
    const middle = concat(words(total, ident, fragment), Uint8Array.of(ttl, transport.protocol))
    return concat(head, middle, words(0), addresses, options, transport.data)
  })

const arp = fc
  .record({ operation: fc.oneof(fc.constantFrom(1, 2), word), addresses: bytes(20) })
  .map(({ operation, addresses }) => {
    return concat(words(1, 0x0800, 0x0604, operation), addresses)
  })

const network = fc.oneof(
  { weight: 6, arbitrary: ipv4.map((data) => ({ etherType: 0x0800, data })) },
  { weight: 2, arbitrary: arp.map((data) => ({ etherType: 0x0806, data })) },
  { weight: 1, arbitrary: fc.record({ etherType: word, data: payload }) },
)

/** Makes the checksums of an IPv4 frame good, as far as its lengths allow; other frames stay as they are. */
function withChecksums(frame: Uint8Array): Uint8Array {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength)
  const ip = frame[12] === 0x81 && frame[13] === 0 ? 18 : 14
  if (frame.length < ip + 20 || view.getUint16(ip - 2) !== 0x0800) return frame
  const headerEnd = ip + 4 * ((frame[ip] ?? 0) & 0xf)
  if (headerEnd > frame.length) return frame
  view.setUint16(ip + 10, 0)
  view.setUint16(ip + 10, ~plainSum(frame.subarray(ip, headerEnd)) & 0xffff)
  const end = Math.min(frame.length, ip + view.getUint16(ip + 2))
  const protocol = frame[ip + 9]
  const field = headerEnd + (protocol === 6 ? 16 : protocol === 17 ? 6 : 2)
  if (![1, 6, 17].includes(protocol ?? 0) || field + 2 > end) return frame
  view.setUint16(field, 0)
  const text = frame.subarray(headerEnd, end)
  const pseudo = concat(frame.subarray(ip + 12, ip + 20), words(protocol ?? 0, text.length))
  const sum = plainSum(text, protocol === 1 ? 0 : plainSum(pseudo))
  view.setUint16(field, ~sum & 0xffff || 0xffff)
  return frame
}

/** Well-formed frames; random addresses and flags included. */
export const goodFrame: fc.Arbitrary<Uint8Array> = fc
  .record({
    addresses: bytes(12),
    tag: fc.oneof({ weight: 4, arbitrary: fc.constant(-1) }, { weight: 1, arbitrary: word }),
    network,
    padding: fc.oneof(fc.constant(0), fc.nat(46)),
  })
  .map(({ addresses, tag, network, padding }) => {
    const type = tag < 0 ? words(network.etherType) : words(0x8100, tag, network.etherType)
    return withChecksums(concat(addresses, type, network.data, new Uint8Array(padding)))
  })

/** Where an untagged frame without IP options has its lengths, versions and lifetimes: wrong values matter most there. */
const WEAK_SPOTS = [12, 14, 16, 17, 18, 20, 22, 38, 39, 46] as const

const mutation = fc.record({
  at: fc.oneof(fc.nat(100), fc.constantFrom(...WEAK_SPOTS)),
  value: octet,
  kind: fc.nat(5),
})

/** Frames that were well-formed once. */
export const mutatedFrame: fc.Arbitrary<Uint8Array> = fc
  .tuple(goodFrame, fc.array(mutation, { minLength: 1, maxLength: 4 }), fc.boolean())
  .map(([good, mutations, mend]) => {
    let frame: Uint8Array = good.slice()
    for (const { at, value, kind } of mutations) {
      const index = at % Math.max(1, frame.length)
      if (kind === 0) frame = frame.slice(0, index)
      else if (kind === 1) frame = concat(frame, new Uint8Array(value & 7))
      else if (kind === 2) frame[index] = (frame[index] ?? 0) + ((value & 1) === 0 ? 1 : -1)
      else if (frame.length > 0) frame[index] = value
    }
    return mend ? withChecksums(frame) : frame
  })

/** Octets that were never a frame. */
export const noise: fc.Arbitrary<Uint8Array> = fc.uint8Array({ maxLength: 120 })
