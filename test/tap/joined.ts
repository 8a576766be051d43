/**
 * What the addon joins of the segments that it reads, beside a device that joins nothing. Run by tap.test.ts in a network namespace of
 * its own.
 *
 * Whatever comes, joined or not, must be what was sent: cut again at `gsoSize` it gives the very same octets, and folded it gives the same
 * Tcb, but for what depends on how many segments there were, and the same text.
 */
import { existsSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { Tap } from '../../stack/io/tap.js'
import { ChecksumState, Frame } from '../../stack/wire/frame.js'
import { differing } from '../law/link.js'
import { Random } from '../law/random.js'
import { ACK, established, IRS, ISS, octets, PSH, type Script, URG } from '../packet/peer.js'
import { hub, until } from './lab.js'

// The host's own chatter is none of this, and its firewall would take out what has a wrong checksum.
for (const [name, value] of [
  ['ipv6/conf/default/disable_ipv6', '1'],
  ['bridge/bridge-nf-call-iptables', '0'],
]) {
  const file = `/proc/sys/net/${name}`
  if (existsSync(file)) writeFileSync(file, value as string)
}

const [ETHERNET, IP, MSS] = [14, 20, 1000]
const ROUNDS = 60

interface Heard {
  readonly bytes: Buffer
  readonly checksum: ChecksumState
  readonly gsoSize: number
}

class Ear {
  readonly tap: Tap
  heard: Heard[] = []

  constructor(name: string, join: boolean) {
    this.tap = new Tap({ name, join })
    this.tap.attach(this)
  }

  onFrame(frame: Frame): void {
    if (frame.view.getUint16(frame.start + 12) !== 0x0800) return
    const bytes = Buffer.from(frame.bytes.subarray(frame.start, frame.end))
    this.heard.push({ bytes, checksum: frame.checksum, gsoSize: frame.gsoSize })
  }

  onBatchEnd(): void {}
}

function sum(bytes: Buffer, start = 0): number {
  let total = start
  for (let i = 0; i < bytes.length; i += 2) total += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0)
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16)
  return total
}

/** What a device with segmentation offload would make of it. */
function cut({ bytes, checksum, gsoSize }: Heard): Buffer[] {
  if (gsoSize === 0) return [bytes]
  t.equal(checksum, ChecksumState.PARTIAL)
  const tcp = ETHERNET + IP
  const head = bytes.subarray(0, tcp + ((bytes[tcp + 12] ?? 0) >> 4) * 4)
  const pieces: Buffer[] = []
  for (let at = head.length; at < bytes.length; at += gsoSize) {
    const text = bytes.subarray(at, at + gsoSize)
    const piece = Buffer.concat([head, text])
    piece.writeUInt16BE(piece.length - ETHERNET, ETHERNET + 2)
    piece.writeUInt16BE(0, ETHERNET + 10)
    piece.writeUInt16BE(~sum(piece.subarray(ETHERNET, tcp)) & 0xffff, ETHERNET + 10)
    piece.writeUInt32BE((head.readUInt32BE(tcp + 4) + at - head.length) >>> 0, tcp + 4)
    if (at + gsoSize < bytes.length) piece[tcp + 13] = (piece[tcp + 13] ?? 0) & ~PSH
    piece.writeUInt16BE(0, tcp + 16)
    const length = piece.length - tcp
    const pseudo = sum(piece.subarray(ETHERNET + 12, tcp), 6 + length)
    piece.writeUInt16BE(~sum(piece.subarray(tcp), pseudo) & 0xffff, tcp + 16)
    pieces.push(piece)
  }
  return pieces
}

/** The pseudo-header's sum is all that is left in the checksum of what was joined. */
function isPartial({ bytes, gsoSize }: Heard): boolean {
  const tcp = ETHERNET + IP
  const pseudo = sum(bytes.subarray(ETHERNET + 12, tcp), 6 + bytes.length - tcp)
  return gsoSize === 0 || bytes.readUInt16BE(tcp + 16) === pseudo
}

/** Segments as a peer sends them, most of them one behind the other; now and then one that is not like the others. */
class Peer {
  readonly #random: Random
  readonly #script: Script
  #at = 0

  constructor(script: Script, random: Random) {
    this.#script = script
    this.#random = random
  }

  next(): Buffer {
    const random = this.#random
    const odd = random.chance(0.15) ? random.below(14) : -1
    const from = odd === 0 ? this.#at + MSS : odd === 1 ? Math.max(this.#at - 1500, 0) : this.#at
    const length = odd === 2 ? random.below(MSS) : odd === 3 ? MSS + 200 : MSS
    const frame = this.#script.frameOf({
      seq: IRS + 1 + from,
      ack: odd === 4 ? ISS : ISS + 1,
      flags: odd === 5 ? ACK | PSH : odd === 6 ? ACK | URG : ACK,
      wnd: odd === 7 ? 1000 : 500,
      ecn: odd === 8 ? 3 : 2,
      text: octets(length, from),
      ...(odd === 9 ? { ts: [this.#script.peerClock() + 1, 0] } : {}),
      ...(odd === 10 ? { srcPort: 4 } : {}),
      ...(odd === 11 ? { spoil: ETHERNET + 8 + random.below(40) } : {}),
      ...(odd === 12 ? { spoil: 70 + random.below(length > 4 ? length - 4 : 1) } : {}),
    })
    if (odd === 13) {
      // May be cut: its identification counts.
      frame.writeUInt16BE(0, ETHERNET + 6)
      frame.writeUInt16BE(0, ETHERNET + 10)
      const checksum = ~sum(frame.subarray(ETHERNET, ETHERNET + IP)) & 0xffff
      frame.writeUInt16BE(checksum, ETHERNET + 10)
    }
    // What was spoiled, or belongs to another connection, never came.
    const counts = odd !== 0 && odd !== 1 && odd < 10
    if (counts || odd === 13) this.#at = from + length
    return frame
  }
}

const FRAME = new Frame()

function deliver(script: Script, { bytes, checksum, gsoSize }: Heard): void {
  FRAME.reset()
  FRAME.bytes.set(bytes, FRAME.start)
  FRAME.end = FRAME.start + bytes.length
  FRAME.checksum = checksum
  FRAME.gsoSize = gsoSize
  script.stack.receive(script.nic, FRAME, script.now)
}

for (const timestamps of [false, true]) {
  t.test(`what is joined is what was sent, timestamps ${timestamps}`, async (t) => {
    const options = { timestamps, sack: true, windowScale: 7, receiveLimit: 8_000_000, ecn: 'accept' } as const // biome-ignore format: one line
    const [one, other] = [established(t, options), established(t, options)]
    const [joining, plain] = [new Ear('us-join', true), new Ear('us-plain', false)]
    const from = new Tap({ name: 'us-from' })
    for (const tap of [joining.tap, plain.tap, from]) t.teardown(() => tap.close())
    hub(`us-br${timestamps ? 1 : 0}`, 'us-join', 'us-plain', 'us-from')
    const random = new Random(timestamps ? 1 : 2)
    const peer = new Peer(one, random)
    let joined = 0
    let longest = 0
    for (let round = 0; round < ROUNDS; round++) {
      const sent = Array.from({ length: 1 + random.below(120) }, () => peer.next())
      for (const bytes of sent) {
        const frame = from.txFrame()
        frame.bytes.set(bytes, frame.start)
        frame.end = frame.start + bytes.length
        from.transmit(frame)
      }
      from.flush()
      const cutAgain = (): Buffer[] => joining.heard.flatMap(cut)
      await until(() => plain.heard.length === sent.length && cutAgain().length === sent.length)
      t.strictSame(plain.heard.map(({ bytes }) => bytes), sent) // biome-ignore format: one line
      if (!cutAgain().every((bytes, n) => bytes.equals(sent[n] as Buffer)))
        t.strictSame(cutAgain(), sent)
      t.ok(joining.heard.every(isPartial))
      for (const heard of joining.heard) {
        if (heard.gsoSize > 0) joined++
        longest = Math.max(longest, heard.bytes.length)
        deliver(one, heard)
      }
      for (const heard of plain.heard) deliver(other, heard)
      const [a, b] = [one.connection?.tcb, other.connection?.tcb]
      if (a === undefined || b === undefined) throw new Error('there are connections')
      // Who hears fewer segments answers fewer times, and rounds the window up at other places. SND.WL1 is the sequence number of
      // a super-frame's first octet, whoever made it.
      const wrong = differing(a, b).filter((field) => !/^(rcvAdv|sndWl1)/.test(field))
      t.strictSame(wrong, [], `round ${round}`)
      t.equal(one.read(), other.read())
      joining.heard = []
      plain.heard = []
      one.advance(1)
      other.advance(1)
    }
    t.ok(joined > ROUNDS, `${joined} were joined`)
    t.ok(longest > 20_000 && longest <= 65_535 + ETHERNET, `the longest has ${longest} octets`)
    t.ok(one.connection !== null && one.connection.tcb.rcvNxtOffset > 500_000)
  })
}
