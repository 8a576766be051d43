/**
 * What the addon cuts for a device that cuts nothing, beside what the kernel makes of the same frames (T8): the very same octets. Run by
 * tap.test.ts in a network namespace of its own.
 */
import { existsSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { Tap } from '../../stack/io/tap.js'
import { ChecksumState, type Frame } from '../../stack/wire/frame.js'
import { Random } from '../law/random.js'
import {
  ACK,
  CWR,
  encodeEthernet,
  encodeIp,
  encodeTcp,
  FIN,
  PROTOCOL,
  PSH,
} from '../packet/codec.js'
import { hub, until } from './lab.js'

// The host's own chatter is none of this.
const NO_IPV6 = '/proc/sys/net/ipv6/conf/default/disable_ipv6'
if (existsSync(NO_IPV6)) writeFileSync(NO_IPV6, '1')

const [SRC, DST] = [0x0a00_0001, 0x0a00_0002]

function sum(bytes: Buffer, start = 0): number {
  let total = start
  for (let i = 0; i < bytes.length; i += 2) total += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0)
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16)
  return total
}

/** A frame to send, its headers apart from its text, and its checksum left open. */
interface Sample {
  readonly head: Buffer
  readonly text: Buffer
  readonly gsoSize: number
}

function sample(random: Random, round: number): Sample {
  const udp = random.chance(0.15)
  const [ipv6, tagged, large] = [random.chance(0.3), random.chance(0.2), !udp && random.chance(0.8)]
  const gsoSize = large ? 100 + random.below(1300) : 0
  const text = Buffer.from(
    random.bytes(large ? gsoSize + 1 + random.below(20_000) : random.below(1400)),
  )
  const often = random.below(16)
  const flags = ACK | (often & 1 ? PSH : 0) | (often & 2 ? FIN : 0) | (often & 4 ? CWR : 0)
  const ts = random.chance(0.5) ? ([round, 7] as const) : undefined
  const seq = random.chance(0.2) ? 0xffff_fff0 : random.below(2 ** 31)
  const fields = { srcPort: 80, dstPort: 4000 + round, seq, ack: 5, flags, wnd: 900, ts, text }
  const segment = encodeTcp(fields, SRC, DST)
  if (udp) {
    segment.writeUInt16BE(8 + text.length, 4)
    text.copy(segment, 8)
  }
  const transport = udp ? segment.subarray(0, 8 + text.length) : segment
  const protocol = udp ? PROTOCOL.UDP : PROTOCOL.TCP
  let ip = encodeIp(SRC, DST, protocol, transport)
  ip.writeUInt16BE(random.chance(0.2) ? 0xffff : round, 4)
  if (ipv6) {
    const header = Buffer.alloc(40)
    header.writeUInt32BE(0x6000_0000)
    header.writeUInt16BE(transport.length, 4)
    header.set([protocol, 64], 6)
    header.set([0xfd, 0x77], 8)
    header.set([0xfd, 0x77], 24)
    header.set([1, 2], 22)
    header.set([3, 4], 38)
    ip = Buffer.concat([header, transport])
  } else {
    ip.writeUInt16BE(0, 10)
    ip.writeUInt16BE(~sum(ip.subarray(0, 20)) & 0xffff, 10)
  }
  const [from, to] = ipv6 ? [8, 40] : [12, 20]
  const at = ipv6 ? 40 : 20
  ip.writeUInt16BE(sum(ip.subarray(from, to), protocol + transport.length), at + (udp ? 6 : 16))
  const type = ipv6 ? 0x86dd : 0x0800
  const inner = tagged ? Buffer.concat([Buffer.from([0, 5, type >> 8, type & 255]), ip]) : ip
  const frame = encodeEthernet(0xffff_ffff_ffff, 0x02_00_00_00_00_07, tagged ? 0x8100 : type, inner)
  return { head: frame.subarray(0, frame.length - text.length), text, gsoSize }
}

function send(tap: Tap, { head, text, gsoSize }: Sample, gathered: boolean): void {
  const frame = tap.txFrame()
  frame.bytes.set(head, frame.start)
  frame.end = frame.start + head.length
  if (gathered) {
    // Somewhere in a larger memory, as in a send buffer.
    frame.text = new Uint8Array(Buffer.concat([Buffer.alloc(3), text]))
    frame.textFrom = 3
    frame.textLength = text.length
  } else frame.bytes.set(text, frame.end)
  frame.end += text.length
  frame.checksum = ChecksumState.PARTIAL
  frame.gsoSize = gsoSize
  tap.transmit(frame)
  tap.flush()
}

class Ear {
  readonly tap: Tap
  heard: Buffer[] = []

  constructor(name: string) {
    this.tap = new Tap({ name, join: false, slots: 64 })
    this.tap.attach(this)
  }

  onFrame(frame: Frame): void {
    if (frame.view.getUint16(frame.start + 10) !== 7) return
    this.heard.push(Buffer.from(frame.bytes.subarray(frame.start, frame.end)))
  }

  onBatchEnd(): void {}
}

t.test('T8: what is cut here is what the kernel would make of it, to the octet', async (t) => {
  const kernel = new Tap({ name: 'us-kernel', offload: true, slots: 8 })
  const plain = new Tap({ name: 'us-plain', slots: 8 })
  const [one, other] = [new Ear('us-one'), new Ear('us-other')]
  for (const tap of [kernel, plain, one.tap, other.tap]) t.teardown(() => tap.close())
  hub('us-brk', 'us-kernel', 'us-one')
  hub('us-brp', 'us-plain', 'us-other')
  t.match(plain.offload, { checksum: true, tso: true, uso: false })
  const random = new Random(7)
  let segments = 0
  for (let round = 0; round < 300; round++) {
    const each = sample(random, round)
    const { length } = each.text
    const wanted = each.gsoSize === 0 ? 1 : Math.ceil(length / each.gsoSize)
    send(kernel, each, false)
    send(plain, each, length > 0 && random.chance(0.5))
    await until(() => one.heard.length === wanted && other.heard.length === wanted)
    const same =
      one.heard.length === wanted && one.heard.every((b, i) => b.equals(other.heard[i] as Buffer))
    if (!same) t.strictSame(other.heard, one.heard, `round ${round}`)
    segments += wanted
    one.heard = []
    other.heard = []
  }
  t.ok(segments > 2000, `${segments} segments`)
  t.match(plain.stats(), { txFrames: segments, txDrops: { invalid: 0, oversize: 0 } })
})

t.test('T8: what cannot be cut is counted', async (t) => {
  const tap = new Tap({ name: 'us-wrong', slots: 8 })
  const none = new Tap({ name: 'us-none', slots: 8, cut: false })
  for (const each of [tap, none]) t.teardown(() => each.close())
  t.match(none.offload, { checksum: false, tso: false })
  const random = new Random(3)
  let good = sample(random, 0)
  while (good.gsoSize === 0) good = sample(random, 0)
  const broken: [string, (head: Buffer) => void][] = [
    ['no IP', (head) => head.writeUInt16BE(0x88b5, 12)],
    ['a data offset beyond the frame', (head) => head.fill(0xff, head.length - 20)],
  ]
  let count = 0
  for (const [what, spoil] of broken) {
    const head = Buffer.from(good.head)
    spoil(head)
    send(tap, { ...good, head, text: Buffer.alloc(0) }, false)
    t.equal(tap.stats().txDrops.invalid, ++count, what)
  }
  send(none, { ...good, text: good.text.subarray(0, 100), gsoSize: 0 }, false)
  t.equal(none.stats().txDrops.invalid, 1, 'who cuts nothing completes nothing')
})
