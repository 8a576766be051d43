/**
 * The hand-written views of the hot paths against the schema: on every frame, good or bad, both decode the same fields
 * or drop it for the same reason.
 */
import { deepStrictEqual } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { DropReason, dropReasonName } from '../../stack/base/counters.js'
import { ArpPacket, parseArp } from '../../stack/wire/arp.js'
import { verifyTransport } from '../../stack/wire/checksum.js'
import { EthernetHeader, parseEthernet } from '../../stack/wire/ethernet.js'
import { Frame } from '../../stack/wire/frame.js'
import { IcmpMessage, parseIcmpv4 } from '../../stack/wire/icmpv4.js'
import { Ipv4Header, parseIpv4 } from '../../stack/wire/ipv4.js'
import { prettyBytes, prettyFrame } from '../../stack/wire/pretty.js'
import {
  decodeArp,
  decodeEthernet,
  decodeIcmp,
  decodeIpv4,
  decodeTcp,
  decodeTcpOptions,
  decodeUdp,
  type Ipv4Fields,
} from '../../stack/wire/schema.js'
import { ABSENT, MAX_SACK_BLOCKS, parseTcp, Segment } from '../../stack/wire/tcp.js'
import { parseUdp, UdpHeader } from '../../stack/wire/udp.js'
import { goodFrame, mutatedFrame, noise } from './arbitrary-frames.js'

type Json = Record<string, unknown>

/** What one codec makes of a frame: the decoded layers, and the reason where it stopped. */
interface Reading {
  readonly layers: Json[]
  drop: DropReason
}

const frame = new Frame()
const ethernet = new EthernetHeader()
const arp = new ArpPacket()
const ip = new Ipv4Header()
const icmp = new IcmpMessage()
const udp = new UdpHeader()
const segment = new Segment()

/** Puts the frame at an odd place, with octets of the value `around` about it. */
function load(bytes: Uint8Array, around: number): void {
  frame.reset()
  frame.start -= bytes.length & 3
  frame.bytes.fill(around, frame.start - 40, frame.start + bytes.length + 100)
  frame.bytes.set(bytes, frame.start)
  frame.end = frame.start + bytes.length
}

const where = (start: number, end: number) => ({
  payload: [start - frame.start, end - frame.start],
})

function readByViews(bytes: Uint8Array, around = 0xa5): Reading {
  load(bytes, around)
  const layers: Json[] = []
  const { view } = frame
  let drop = parseEthernet(ethernet, frame)
  if (drop !== DropReason.NONE) return { layers, drop }
  const { payloadStart, payloadEnd, ...link } = ethernet
  layers.push({ ...link, ...where(payloadStart, payloadEnd) })
  if (ethernet.etherType === 0x0806) {
    drop = parseArp(arp, view, payloadStart, payloadEnd)
    if (drop === DropReason.NONE) layers.push({ ...arp })
    return { layers, drop }
  }
  if (ethernet.etherType !== 0x0800) return { layers, drop }
  drop = parseIpv4(ip, view, payloadStart, payloadEnd)
  if (drop !== DropReason.NONE) return { layers, drop }
  const { headerStart, payloadStart: start, payloadEnd: end, ...network } = ip
  layers.push({ ...network, headerStart: headerStart - frame.start, ...where(start, end) })
  if (ip.isFragment) return { layers, drop }
  if (ip.protocol === 1) {
    drop = parseIcmpv4(icmp, view, start, end)
    if (drop === DropReason.NONE) {
      layers.push({ type: icmp.type, code: icmp.code, rest: icmp.rest })
    }
  } else if (ip.protocol === 17) {
    drop = parseUdp(udp, frame, start, end, ip.src, ip.dst)
    if (drop === DropReason.NONE) {
      const { srcPort, dstPort, length, checksum } = udp
      const text = where(udp.payloadStart, udp.payloadEnd)
      layers.push({ srcPort, dstPort, length, checksum, ...text })
    }
  } else if (ip.protocol === 6) {
    drop = parseTcp(segment, frame, start, end)
    const good = verifyTransport(frame, start, end, ip.src, ip.dst, 6)
    if (drop === DropReason.NONE && !good) drop = DropReason.TCP_BAD_CHECKSUM
    if (drop === DropReason.NONE) layers.push(segmentFields())
  }
  return { layers, drop }
}

function segmentFields(): Json {
  const { text: _, defaultMss: _6, textStart, textEnd, sackEdges, ...fields } = segment
  const edges = [...sackEdges.slice(0, 2 * segment.sackCount)]
  return { ...fields, sackEdges: edges, ...where(textStart, textEnd) }
}

function readBySchema(bytes: Uint8Array): Reading {
  const layers: Json[] = []
  const place = (payload: Uint8Array) => {
    const start = payload.byteOffset - bytes.byteOffset
    return { payload: [start, start + payload.length] }
  }
  const link = decodeEthernet(bytes)
  if (link.drop !== 0) return { layers, drop: link.drop }
  layers.push({ ...link.fields, ...place(link.payload) })
  if (link.fields.etherType === 0x0806) {
    const decoded = decodeArp(link.payload)
    if (decoded.drop === 0) {
      const { operation, senderMac, senderIp, targetMac, targetIp } = decoded.fields
      layers.push({ operation, senderMac, senderIp, targetMac, targetIp })
    }
    return { layers, drop: decoded.drop }
  }
  if (link.fields.etherType !== 0x0800) return { layers, drop: 0 }
  const network = decodeIpv4(link.payload)
  if (network.drop !== 0) return { layers, drop: network.drop }
  const { version: _, headerWords, checksum: __, options: ___, ...fields } = network.fields
  layers.push({
    ...fields,
    fragmentOffset: 8 * fields.fragmentOffset,
    headerLength: 4 * headerWords,
    headerStart: link.payload.byteOffset - bytes.byteOffset,
    ...place(network.payload),
  })
  if (fields.fragmentOffset !== 0 || (fields.flags & 1) !== 0) return { layers, drop: 0 }
  return { layers, drop: readTransport(layers, network.fields, network.payload, place) }
}

function readTransport(
  layers: Json[],
  ipFields: Ipv4Fields,
  bytes: Uint8Array,
  place: (payload: Uint8Array) => Json,
): DropReason {
  if (ipFields.protocol === 1) {
    const decoded = decodeIcmp(bytes)
    if (decoded.drop !== 0) return decoded.drop
    const { checksum: _, ...fields } = decoded.fields
    layers.push(fields)
  } else if (ipFields.protocol === 17) {
    const decoded = decodeUdp(bytes, ipFields)
    if (decoded.drop !== 0) return decoded.drop
    layers.push({ ...decoded.fields, ...place(decoded.payload) })
  } else if (ipFields.protocol === 6) {
    const decoded = decodeTcp(bytes, ipFields)
    if (decoded.drop !== 0) return decoded.drop
    const { dataOffset: _, reserved: __, checksum: ___, options, ...fields } = decoded.fields
    const known = knownOptions(options, (fields.flags & 2) !== 0)
    layers.push({ ...fields, ...known, ...place(decoded.payload) })
  }
  return DropReason.NONE
}

/** What RFC 9293, 7323 and 2018 make of a list of options; later ones win. */
function knownOptions(raw: Uint8Array, syn: boolean): Json {
  const known = {
    ecn: 0,
    mss: ABSENT,
    windowScale: ABSENT,
    sackPermitted: false,
    hasTimestamps: false,
    tsVal: 0,
    tsEcr: 0,
    sackCount: 0,
    sackEdges: [] as number[],
  }
  for (const { kind, data } of decodeTcpOptions(raw)) {
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
    if (kind === 2 && data.length === 2 && syn) known.mss = view.getUint16(0)
    if (kind === 3 && data.length === 1 && syn) known.windowScale = view.getUint8(0)
    if (kind === 4 && data.length === 0 && syn) known.sackPermitted = true
    if (kind === 8 && data.length === 8) {
      known.hasTimestamps = true
      known.tsVal = view.getInt32(0)
      known.tsEcr = view.getInt32(4)
    }
    if (kind === 5 && data.length >= 8 && data.length % 8 === 0) {
      known.sackCount = Math.min(MAX_SACK_BLOCKS, data.length / 8)
      known.sackEdges = Array.from({ length: 2 * known.sackCount }, (_, i) => view.getInt32(4 * i))
    }
  }
  return known
}

interface Tally {
  decoded: number
  readonly reasons: Set<string>
}

/** Checks that both agree on many frames; how often they decoded all layers, and the reasons seen. */
function agreement(frames: fc.Arbitrary<Uint8Array>, options: fc.Parameters<[Uint8Array]>): Tally {
  const tally: Tally = { decoded: 0, reasons: new Set() }
  fc.assert(
    fc.property(frames, (bytes) => {
      const views = readByViews(bytes)
      const schema = readBySchema(bytes)
      if (views.drop === DropReason.NONE) tally.decoded++
      else tally.reasons.add(dropReasonName(views.drop))
      deepStrictEqual(views, schema)
    }),
    options,
  )
  return tally
}

t.test('well-formed frames', async (t) => {
  const { decoded } = agreement(goodFrame, { numRuns: 2000 })
  t.ok(decoded > 1000, `${decoded} decoded`)
})

t.test('mutated frames, dropped for each of the reasons of the codecs', async (t) => {
  // A fixed seed, because the rarest reason must be among the samples; the next test draws new ones.
  const { decoded, reasons } = agreement(mutatedFrame, { numRuns: 4000, seed: 1 })
  t.ok(decoded > 400, `${decoded} decoded`)
  const expected = [
    'ethernet-truncated',
    'ethernet-unknown-type',
    'arp-malformed',
    'ipv4-truncated',
    'ipv4-bad-version',
    'ipv4-bad-header-length',
    'ipv4-bad-total-length',
    'ipv4-bad-checksum',
    'ipv4-ttl-zero',
    'icmp-malformed',
    'icmp-bad-checksum',
    'udp-malformed',
    'udp-bad-checksum',
    'tcp-truncated',
    'tcp-bad-data-offset',
    'tcp-bad-checksum',
  ]
  t.same([...reasons].sort(), expected.sort())
})

t.test('mutated frames and noise, new ones in each run', async (t) => {
  agreement(fc.oneof(mutatedFrame, noise), { numRuns: 2000 })
  t.pass('agreed on all samples')
})

t.test('a frame is read within its bounds: what lies around it does not matter', async (t) => {
  fc.assert(
    fc.property(fc.oneof(goodFrame, mutatedFrame), fc.nat(255), (bytes, around) => {
      deepStrictEqual(readByViews(bytes, around), readByViews(bytes, 255 - around))
      return prettyFrame(frame) === prettyBytes(bytes)
    }),
    { numRuns: 500 },
  )
  t.pass('holds for all samples')
})

t.test('every frame has a line of text', async (t) => {
  const any = fc.oneof(goodFrame, mutatedFrame, noise)
  fc.assert(
    fc.property(any, (bytes) => /^[^\n]{10,}$/.test(prettyBytes(bytes))),
    { numRuns: 1000 },
  )
  t.pass('holds for all samples')
})
