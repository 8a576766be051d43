/** IPv6 headers and addresses, as a trace has them. */
import fc from 'fast-check'
import t from 'tap'
import { DropReason } from '../../../stack/base/counters.js'
import { verifyTransport } from '../../../stack/wire/checksum.js'
import { Frame } from '../../../stack/wire/frame.js'
import { formatIpAddress, ipv6AddressAt, isIpv4 } from '../../../stack/wire/ip-address.js'
import { Ipv6Header, parseIpv6 } from '../../../stack/wire/ipv6.js'

const viewOf = (bytes: readonly number[]) => new DataView(Uint8Array.from(bytes).buffer)
const addressOf = (groups: readonly number[]) =>
  ipv6AddressAt(viewOf(groups.flatMap((group) => [group >> 8, group & 255])), 0)

t.test('T1: addresses are written as RFC 5952 has it', async (t) => {
  const written: [number[], string][] = [
    [[0, 0, 0, 0, 0, 0, 0, 1], '::1'],
    [[0, 0, 0, 0, 0, 0, 0, 0], '::'],
    [[0x2001, 0xdb8, 0, 0, 1, 0, 0, 1], '2001:db8::1:0:0:1'],
    [[0x2001, 0xdb8, 0, 1, 1, 1, 1, 1], '2001:db8:0:1:1:1:1:1'],
    [[0xfe80, 0, 0, 0, 0, 0, 0, 0], 'fe80::'],
    [[0, 0, 0, 0, 0, 0xffff, 0xc000, 0x201], '::ffff:192.0.2.1'],
  ]
  for (const [groups, text] of written) t.equal(formatIpAddress(addressOf(groups)), text)
  // The standard of URLs has the same rules, but for IPv4 in IPv6's clothes.
  const group = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff }))
  fc.assert(
    fc.property(fc.array(group, { minLength: 8, maxLength: 8 }), (groups) => {
      if (groups.slice(0, 5).every((each) => each === 0) && groups[5] === 0xffff) return
      const long = groups.map((each) => each.toString(16)).join(':')
      const { hostname } = new URL(`http://[${long}]/`)
      if (`[${formatIpAddress(addressOf(groups))}]` !== hostname) throw new Error(hostname)
    }),
  )
})

t.test('an address is the same number each time, and no IPv4 one', async (t) => {
  const numbers = Array.from({ length: 5000 }, (_, i) =>
    addressOf([0x2001, 0xdb8, i, i * 7, 0, 0, i, 1]),
  )
  t.equal(new Set(numbers).size, 5000)
  t.notOk(numbers.some((number) => isIpv4(number)))
  const again = Array.from({ length: 5000 }, (_, i) =>
    addressOf([0x2001, 0xdb8, i, i * 7, 0, 0, i, 1]),
  )
  t.same(again, numbers)
})

// A packet with `chain` (each entry: its Next Header comes from the following one) in front of `payload`.
function packet(
  chain: readonly [type: number, bytes: number[]][],
  protocol: number,
  payload: number[],
) {
  const types = [...chain.map(([type]) => type), protocol]
  const extensions = chain.flatMap(([, bytes], i) => [types[i + 1] ?? 0, ...bytes])
  const length = extensions.length + payload.length
  const head = [0x60, 0x10, 0, 0, length >> 8, length & 255, types[0] ?? 0, 64]
  const addresses = [...Array(15).fill(0), 1, ...Array(15).fill(0), 2]
  return [...head, ...addresses, ...extensions, ...payload]
}

const TEXT = [1, 2, 3, 4]
const EIGHT = [0, 0, 0, 0, 0, 0, 0]

t.test('T1: the upper layer is found behind extension headers', async (t) => {
  const ip = new Ipv6Header()
  const read = (bytes: number[], end = bytes.length) => parseIpv6(ip, viewOf(bytes), 0, end)
  t.equal(read([...packet([], 6, TEXT), 9, 9]), DropReason.NONE)
  t.match(ip, { protocol: 6, payloadStart: 40, payloadEnd: 44, hopLimit: 64, ecn: 1 })
  t.equal(formatIpAddress(ip.src), '::1')
  t.equal(formatIpAddress(ip.dst), '::2')
  const all: [number, number[]][] = [
    [0, EIGHT],
    [60, [1, ...Array(14).fill(0)]],
    [43, EIGHT],
    [44, EIGHT],
    [51, [1, ...Array(10).fill(0)]],
  ]
  t.equal(read(packet(all, 6, TEXT)), DropReason.NONE)
  t.match(ip, { protocol: 6, payloadStart: 40 + 8 + 16 + 8 + 8 + 12, isFragment: false })
  t.equal(read(packet([[44, [0, 0, 1, 0, 0, 0, 0]]], 6, TEXT)), DropReason.NONE)
  t.equal(ip.isFragment, true, 'more follow')
  t.equal(read(packet([[44, [0, 0, 8, 0, 0, 0, 0]]], 6, TEXT)), DropReason.NONE)
  t.equal(ip.isFragment, true, 'others came before')
})

t.test('what is no IPv6 is dropped with a reason', async (t) => {
  const ip = new Ipv6Header()
  const read = (bytes: number[]) => parseIpv6(ip, viewOf(bytes), 0, bytes.length)
  const good = packet([[0, EIGHT]], 6, TEXT)
  for (let cut = 1; cut < good.length; cut++) {
    t.equal(read(good.slice(0, cut)), DropReason.IPV6_TRUNCATED)
  }
  t.equal(read([0x40, ...good.slice(1)]), DropReason.IPV6_BAD_VERSION)
  t.equal(read(packet([[0, [9, ...EIGHT.slice(1)]]], 6, TEXT)), DropReason.IPV6_BAD_HEADER_CHAIN)
  const endless = Array.from({ length: 9 }, (): [number, number[]] => [60, EIGHT])
  t.equal(read(packet(endless, 6, TEXT)), DropReason.IPV6_BAD_HEADER_CHAIN)
  t.equal(read(packet(endless.slice(1), 6, TEXT)), DropReason.NONE)
})

t.test('the checksum covers the addresses, and each octet', async (t) => {
  // ICMPv6 echo request of RFC 4443 between ::1 and ::2, its checksum worked out by hand: 8000 + 1 + 2 + 8 + 58.
  const bytes = packet([], 58, [0x80, 0, 0x7f, 0xba, 0, 0, 0, 0])
  const ip = new Ipv6Header()
  const check = (octets: number[]) => {
    const frame = new Frame(octets.length)
    frame.bytes.set(octets)
    frame.start = 0
    frame.end = octets.length
    parseIpv6(ip, frame.view, 0, octets.length)
    return verifyTransport(frame, ip.payloadStart, ip.payloadEnd, ip.src, ip.dst, ip.protocol)
  }
  t.ok(check(bytes))
  for (let i = 8; i < bytes.length; i++) {
    t.notOk(check(bytes.map((octet, at) => (at === i ? octet ^ 0x10 : octet))), `octet ${i}`)
  }
})
