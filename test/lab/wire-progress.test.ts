/** What the wire monitor concludes from frames: progress, stalls, SYNs and RSTs. No network is needed. */
import t from 'tap'
import { addressWords, lowMac, WireProgress } from '../../scripts/lab/wire-progress.js'

const wordOf = (text: string): number => addressWords(text)[0] ?? 0
const VIRTUAL = wordOf('10.77.0.100')
const CLIENT = wordOf('10.77.0.9')
const SYN = 2
const RST = 4
const ACK = 16
const FIRST = '02:75:73:00:00:01'
const SECOND = '02:75:73:00:00:02'

interface Segment {
  readonly from: number
  readonly to: number
  readonly mac?: string
  readonly seq?: number
  readonly ack?: number
  readonly flags?: number
  readonly length?: number
  readonly window?: number
  /** Of a SYN: the window scale it offers. */
  readonly shift?: number
}

function frameOf(segment: Segment): Uint8Array {
  const options = segment.shift === undefined ? 0 : 4
  const bytes = new Uint8Array(54 + options + (segment.length ?? 0))
  const view = new DataView(bytes.buffer)
  view.setInt32(8, lowMac(segment.mac ?? '02:75:73:00:00:01'))
  view.setUint16(12, 0x0800)
  bytes[14] = 0x45
  view.setUint16(16, 40 + options + (segment.length ?? 0))
  bytes[23] = 6
  view.setInt32(26, segment.from)
  view.setInt32(30, segment.to)
  view.setUint16(34, segment.from === VIRTUAL ? 80 : 40_000)
  view.setUint16(36, segment.from === VIRTUAL ? 40_000 : 80)
  view.setUint32(38, (segment.seq ?? 0) >>> 0)
  view.setUint32(42, (segment.ack ?? 0) >>> 0)
  bytes[46] = (5 + options / 4) << 4
  bytes[47] = segment.flags ?? ACK
  view.setUint16(48, segment.window ?? 65_535)
  if (segment.shift !== undefined) bytes.set([1, 3, 3, segment.shift], 54)
  return bytes
}

class Wire {
  readonly progress = new WireProgress('10.77.0.100')
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
  /** Opens a connection; sequence numbers of both sides begin at 1 then. `shift`: undefined offers no window scale. */
  opens(at: number, shift: { client?: number; server?: number } = {}): void {
    const scale = (value: number | undefined) => (value === undefined ? {} : { shift: value })
    this.hear(at, { from: CLIENT, to: VIRTUAL, flags: SYN, ...scale(shift.client) })
    const answer = { from: VIRTUAL, to: CLIENT, ack: 1, flags: SYN | ACK, mac: FIRST }
    this.hear(at, { ...answer, ...scale(shift.server) })
  }
  /** The client acknowledges the octets below `ack` and lets `window` more octets (before scaling) follow. */
  grants(at: number, ack: number, window: number): void {
    this.hear(at, { from: CLIENT, to: VIRTUAL, seq: 1, ack, window })
  }
  gives(at: number, seq: number, length: number): void {
    this.hear(at, { from: CLIENT, to: VIRTUAL, seq, ack: 1, length })
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
  t.equal(wire.progress.totals().repeats, 2, 'one repeated whole, one in part')
  wire.gives(5, 1, 100)
  wire.gives(6, 101, 100)
  wire.gives(7, 1, 50)
  t.equal(wire.progress.totals().repeats, 3, 'one of the client')
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
  wire.sends(100, 0, 1_000, FIRST)
  t.equal(wire.progress.stall(105, 120), undefined, 'nothing has come yet')
  wire.sends(106, 1_000, 1_000, FIRST)
  wire.sends(110, 0, 1_000, SECOND)
  t.equal(wire.progress.stall(105, 120), undefined, 'what is repeated is no progress')
  wire.sends(118, 2_000, 1_000, SECOND)
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
    wire.hear(1, { from: CLIENT, to: VIRTUAL, flags: SYN })
    wire.hear(2, { from: VIRTUAL, to: CLIENT, flags: SYN | ACK })
    wire.hear(3, { from: CLIENT, to: VIRTUAL, flags: RST })
    wire.hear(4, { from: VIRTUAL, to: CLIENT, flags: RST | ACK })
    wire.hear(5, { from: CLIENT, to: wordOf('10.77.0.10'), flags: SYN })
    const arp = new Uint8Array(60)
    wire.progress.observe(arp, new DataView(arp.buffer), 0, 60, 6)
    wire.progress.observe(arp, new DataView(arp.buffer), 0, 20, 7)
    t.match(wire.progress.totals(), { frames: 8, syns: 1, resets: 2, down: 0, up: 0 })
  },
)

t.test('while the window of the client is closed, no server can bring it forward', async (t) => {
  const wire = new Wire()
  wire.opens(100, { client: 2, server: 7 })
  wire.grants(101, 1, 1_000)
  wire.sends(110, 1, 2_000, FIRST)
  wire.sends(111, 2_001, 2_000, FIRST)
  wire.grants(150, 4_001, 0)
  wire.grants(200, 4_001, 250)
  wire.grants(210, 4_001, 500)
  wire.sends(215, 4_001, 2_000, SECOND)
  t.equal(wire.progress.stall(120, 220), 5, 'room for less than a segment is no room')
  t.equal(wire.progress.stall(212, 220), 3, 'the failure came later than the room')
})

t.test('a window that had room when the owner failed does not shorten the stall', async (t) => {
  const wire = new Wire()
  wire.opens(100, { client: 2, server: 7 })
  wire.grants(101, 1, 1_000)
  wire.sends(110, 1, 1_000, FIRST)
  wire.grants(130, 1_001, 1_000)
  wire.sends(140, 1_001, 1_000, SECOND)
  t.equal(wire.progress.stall(115, 150), 25)
})

t.test('windows are scaled only when both SYNs offer it', async (t) => {
  const wire = new Wire()
  wire.opens(100, { client: 2 })
  wire.grants(101, 1, 1_000)
  wire.sends(110, 1, 1_000, FIRST)
  wire.grants(130, 1_001, 1_000)
  wire.sends(140, 1_001, 1_000, SECOND)
  t.equal(wire.progress.stall(115, 150), 10, 'the window of 1000 octets was full until 130')
})

t.test('a connection whose SYNs were not heard always has room', async (t) => {
  const wire = new Wire()
  wire.grants(101, 1, 1)
  wire.sends(110, 1, 1_000, FIRST)
  wire.sends(140, 1_001, 1_000, SECOND)
  t.equal(wire.progress.stall(115, 150), 25)
})

t.test('in an upload the stall begins with what the client sends', async (t) => {
  const wire = new Wire()
  wire.opens(100, { client: 2, server: 7 })
  wire.gives(105, 1, 1_000)
  wire.acknowledges(106, 1_001, FIRST)
  wire.gives(180, 1_001, 1_000)
  wire.acknowledges(190, 2_001, SECOND)
  t.equal(wire.progress.stall(120, 200), 10, 'all was acknowledged, and the client rested')

  wire.gives(210, 2_001, 1_000)
  wire.gives(210, 3_001, 1_000)
  wire.acknowledges(211, 3_001, SECOND)
  wire.gives(230, 3_001, 1_000)
  wire.acknowledges(250, 4_001, FIRST)
  t.equal(wire.progress.stall(215, 260), 35, 'something was outstanding all the time')
})

t.test('a client that may not send does not rest: the server owes it room', async (t) => {
  const wire = new Wire()
  wire.opens(100, { client: 2, server: 0 })
  wire.gives(105, 1, 65_000)
  wire.hear(106, { from: VIRTUAL, to: CLIENT, seq: 1, ack: 65_001, window: 535, mac: FIRST })
  wire.hear(140, { from: VIRTUAL, to: CLIENT, seq: 1, ack: 65_001, window: 65_535, mac: SECOND })
  wire.gives(141, 65_001, 1_000)
  wire.acknowledges(142, 66_001, SECOND)
  t.equal(wire.progress.stall(110, 150), 32)
})

t.test('frames in the name of the virtual address are counted by MAC address', async (t) => {
  const wire = new Wire()
  wire.sends(1, 1, 10, FIRST)
  wire.sends(2, 11, 10, FIRST)
  wire.hear(3, { from: CLIENT, to: VIRTUAL })
  const arp = new Uint8Array(60)
  const view = new DataView(arp.buffer)
  view.setInt32(8, lowMac(SECOND))
  view.setUint16(12, 0x0806)
  view.setInt32(28, VIRTUAL)
  wire.progress.observe(arp, view, 0, 60, 4)
  view.setInt32(28, CLIENT)
  wire.progress.observe(arp, view, 0, 60, 5)
  t.same(wire.progress.speakers(), [
    { mac: lowMac(FIRST), ip: 2, arp: 0 },
    { mac: lowMac(SECOND), ip: 0, arp: 1 },
  ])
})

t.test('what one connection left behind is no silence of the next', async (t) => {
  const wire = new Wire()
  wire.opens(100, { client: 2, server: 7 })
  wire.sends(101, 1, 10, FIRST)
  wire.grants(101, 11, 1_000)
  wire.opens(600, { client: 2, server: 7 })
  wire.sends(602, 1, 10, FIRST)
  wire.sends(640, 11, 10, SECOND)
  t.equal(wire.progress.usualSilence(605), 2)
  t.equal(wire.progress.stall(605, 650), 35)
})

t.test(
  'T8: a super-frame counts as its segments: the room that a client needs is that of one',
  (t) => {
    const wire = new Wire()
    const super1 = (at: number, seq: number, mac: string) => {
      const frame = frameOf({ from: VIRTUAL, to: CLIENT, seq, ack: 1, length: 10_000, mac })
      wire.progress.observe(frame, new DataView(frame.buffer), 0, frame.length, at, 1000)
    }
    wire.hear(0, { from: CLIENT, to: VIRTUAL, flags: SYN, shift: 0 })
    wire.hear(0, { from: VIRTUAL, to: CLIENT, flags: SYN | ACK, shift: 0 })
    super1(1, 1, FIRST)
    wire.hear(2, { from: CLIENT, to: VIRTUAL, seq: 1, ack: 10_001, window: 2000 })
    super1(100, 10_001, SECOND)
    t.equal(wire.progress.totals().down, 20_000)
    t.equal(
      wire.progress.stall(10, 200),
      90,
      'a window of two segments is room, though no super-frame fits',
    )
    t.end()
  },
)
