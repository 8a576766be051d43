/** What the wire monitor concludes from frames: progress, stalls, SYNs and RSTs. No network is needed. */
import t from 'tap'
import { lowMac, parseIpv4, WireProgress } from '../../scripts/lab/wire-progress.js'

const VIRTUAL = parseIpv4('10.77.0.100')
const CLIENT = parseIpv4('10.77.0.9')
const SYN = 2
const RST = 4
const ACK = 16

interface Segment {
  readonly from: number
  readonly to: number
  readonly mac?: string
  readonly seq?: number
  readonly ack?: number
  readonly flags?: number
  readonly length?: number
}

function frameOf(segment: Segment): Uint8Array {
  const bytes = new Uint8Array(54 + (segment.length ?? 0))
  const view = new DataView(bytes.buffer)
  view.setInt32(8, lowMac(segment.mac ?? '02:75:73:00:00:01'))
  view.setUint16(12, 0x0800)
  bytes[14] = 0x45
  view.setUint16(16, 40 + (segment.length ?? 0))
  bytes[23] = 6
  view.setInt32(26, segment.from)
  view.setInt32(30, segment.to)
  view.setUint16(34, segment.from === VIRTUAL ? 80 : 40_000)
  view.setUint16(36, segment.from === VIRTUAL ? 40_000 : 80)
  view.setUint32(38, (segment.seq ?? 0) >>> 0)
  view.setUint32(42, (segment.ack ?? 0) >>> 0)
  bytes[46] = 0x50
  bytes[47] = segment.flags ?? ACK
  return bytes
}

class Wire {
  readonly progress = new WireProgress(VIRTUAL)
  hear(at: number, segment: Segment): void {
    const frame = frameOf(segment)
    this.progress.observe(frame, new DataView(frame.buffer), 0, frame.length, at)
  }
  sends(at: number, seq: number, length: number, mac?: string): void {
    const from = { from: VIRTUAL, to: CLIENT, seq, ack: 1, length }
    this.hear(at, mac === undefined ? from : { ...from, mac })
  }
  acknowledges(at: number, ack: number, mac: string): void {
    this.hear(at, { from: VIRTUAL, to: CLIENT, seq: 1, ack, mac })
  }
}

t.test('text counts once, also across the end of sequence space', async (t) => {
  const wire = new Wire()
  const start = 0xffff_fe00
  wire.sends(1, start, 512)
  wire.sends(2, start + 512, 512)
  wire.sends(3, start, 512)
  wire.sends(4, start + 256, 1024)
  t.equal(wire.progress.totals().down, 512 + 512 + 256)
})

t.test('acknowledgements count by how far they go', async (t) => {
  const wire = new Wire()
  wire.acknowledges(1, 1_000, '02:75:73:00:00:01')
  wire.acknowledges(2, 3_000, '02:75:73:00:00:01')
  wire.acknowledges(3, 2_000, '02:75:73:00:00:01')
  wire.acknowledges(4, 3_000, '02:75:73:00:00:01')
  t.equal(wire.progress.totals().up, 2_000)
})

t.test('a stall ends with the first new text of another node', async (t) => {
  const wire = new Wire()
  const [first, second] = ['02:75:73:00:00:01', '02:75:73:00:00:02']
  wire.sends(100, 0, 1_000, first)
  t.equal(wire.progress.stall(105, 120), undefined, 'nothing has come yet')
  wire.sends(106, 1_000, 1_000, first)
  wire.sends(110, 0, 1_000, second)
  t.equal(wire.progress.stall(105, 120), undefined, 'what is repeated is no progress')
  wire.sends(118, 2_000, 1_000, second)
  t.equal(wire.progress.stall(105, 120), 12, 'from the last frame that was on its way')
  t.equal(wire.progress.stall(107, 120), 11, 'from the failure')
})

t.test('with one MAC address the stall is the longest silence behind the failure', async (t) => {
  const wire = new Wire()
  for (const [index, at] of [100, 101, 140, 150, 160].entries()) wire.sends(at, index * 10, 10)
  t.equal(wire.progress.stall(100.5, 170), undefined, 'too early to tell')
  wire.sends(3_000, 50, 10)
  wire.sends(3_001, 60, 10)
  wire.sends(5_100, 70, 10)
  t.equal(wire.progress.stall(100.5, 5_200), 2_840)
  t.equal(wire.progress.usualSilence(100.5), 0)
  t.equal(wire.progress.usualSilence(155), 39)
})

t.test(
  'SYNs of the client and RSTs of both sides are counted, and what is no TCP is not',
  async (t) => {
    const wire = new Wire()
    wire.hear(1, { from: CLIENT, to: VIRTUAL, flags: SYN })
    wire.hear(2, { from: VIRTUAL, to: CLIENT, flags: SYN | ACK })
    wire.hear(3, { from: CLIENT, to: VIRTUAL, flags: RST })
    wire.hear(4, { from: VIRTUAL, to: CLIENT, flags: RST | ACK })
    wire.hear(5, { from: CLIENT, to: parseIpv4('10.77.0.10'), flags: SYN })
    const arp = new Uint8Array(60)
    wire.progress.observe(arp, new DataView(arp.buffer), 0, 60, 6)
    wire.progress.observe(arp, new DataView(arp.buffer), 0, 20, 7)
    t.match(wire.progress.totals(), { frames: 7, syns: 1, resets: 2, down: 0, up: 0 })
  },
)
