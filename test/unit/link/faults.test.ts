import t from 'tap'
import type { Rng } from '../../../stack/base/time.js'
import { type FaultCounts, FaultyLink, type FaultyLinkOptions } from '../../../stack/link/faults.js'
import { Hub } from '../../../stack/link/hub.js'
import { Frame } from '../../../stack/wire/frame.js'

/** xorshift32 */
class SeededRng implements Rng {
  #state: number

  constructor(seed: number) {
    this.#state = seed
  }

  u32(): number {
    let x = this.#state
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    this.#state = x
    return x >>> 0
  }
}

interface Run {
  readonly sent: string[]
  readonly received: string[]
  readonly counts: FaultCounts
}

const FRAMES = 1000

/** Sends frames through a faulty link in both directions; what came out, in hexadecimal. */
function run(seed: number, options: FaultyLinkOptions): Run {
  const hub = new Hub({ maxQueue: 4 * FRAMES })
  const link = new FaultyLink(hub.addPort(1), new SeededRng(seed), options)
  const other = hub.addPort(2)
  const sent: string[] = []
  const received: string[] = []
  const into = (list: string[]) => ({
    onFrame: (frame: Frame) => {
      list.push(Buffer.from(frame.bytes.subarray(frame.start, frame.end)).toString('hex'))
    },
    onBatchEnd: () => {},
  })
  link.attach(into(received))
  other.attach(into(sent))
  const frame = new Frame()
  frame.reset()
  frame.end += 20
  for (let i = 0; i < FRAMES; i++) {
    frame.view.setUint32(frame.start, i)
    link.transmit(frame)
    other.transmit(frame)
  }
  link.flush()
  while (hub.deliver() > 0);
  return { sent, received, counts: link.counts }
}

function differingBits(a: string, b: string): number {
  let bits = BigInt(`0x${a}`) ^ BigInt(`0x${b}`)
  let count = 0
  for (; bits > 0n; bits >>= 1n) count += Number(bits & 1n)
  return count
}

const original = (i: number) => i.toString(16).padStart(8, '0') + '00'.repeat(16)

t.test('without faults everything passes', async (t) => {
  const { sent, received, counts } = run(1, {})
  t.same(
    sent,
    Array.from({ length: FRAMES }, (_, i) => original(i)),
  )
  t.same(received, sent)
  t.same(counts, { lost: 0, duplicated: 0, corrupted: 0 })
})

t.test('loss: in the direction asked for, about as often as asked for', async (t) => {
  const { sent, received, counts } = run(2, { transmit: { loss: 0.1 } })
  t.equal(received.length, FRAMES)
  t.equal(sent.length, FRAMES - counts.lost)
  t.ok(counts.lost > 60 && counts.lost < 150, `${counts.lost} lost`)
  t.equal(run(2, { receive: { loss: 1 } }).received.length, 0)
})

t.test('duplicates follow their originals', async (t) => {
  const { sent, received, counts } = run(3, { receive: { duplicate: 0.1 } })
  t.equal(sent.length, FRAMES)
  t.equal(received.length, FRAMES + counts.duplicated)
  t.ok(counts.duplicated > 60 && counts.duplicated < 150)
  t.equal(received.filter((frame, i) => frame === received[i - 1]).length, counts.duplicated)
  t.equal(run(3, { transmit: { duplicate: 1 } }).sent.length, 2 * FRAMES)
})

t.test('corruption: exactly one bit, and the sender keeps its frame whole', async (t) => {
  const { sent, received, counts } = run(4, { transmit: { corrupt: 0.1 } })
  const bits = sent.map((frame, i) => differingBits(frame, original(i)))
  t.equal(bits.filter((n) => n === 1).length, counts.corrupted)
  t.equal(bits.filter((n) => n === 0).length, FRAMES - counts.corrupted)
  t.ok(counts.corrupted > 60)
  t.equal(received[FRAMES - 1], original(FRAMES - 1))
})

t.test('the same seed gives the same run, another one another', async (t) => {
  const options = { transmit: { loss: 0.05, duplicate: 0.05, corrupt: 0.05 } }
  t.same(run(5, options), run(5, options))
  t.notSame(run(5, options).sent, run(6, options).sent)
})

t.test('what is no probability is refused by name', async (t) => {
  const link = new Hub().addPort(1)
  for (const loss of [-0.1, 1.1, Number.NaN]) {
    t.throws(() => new FaultyLink(link, new SeededRng(1), { receive: { loss } }), {
      code: 'ERR_INVALID_PROBABILITY',
      message: /^receive\.loss: /,
    })
  }
})
