import t from 'tap'
import { Hub, type HubPort } from '../../../stack/link/hub.js'
import type { FrameSink } from '../../../stack/link/link-endpoint.js'
import { ChecksumState, Frame } from '../../../stack/wire/frame.js'

/** Keeps the first octet of each frame; '|' marks the end of a batch. */
class Ears implements FrameSink {
  heard = ''
  answer: (() => void) | null = null

  constructor(port: HubPort) {
    port.attach(this)
  }

  onFrame(frame: Frame): void {
    this.heard += String.fromCharCode(frame.bytes[frame.start] ?? 0)
    this.answer?.()
  }

  onBatchEnd(): void {
    this.heard += '|'
  }
}

function frameOf(letter: string, length = 60): Frame {
  const frame = new Frame()
  frame.reset()
  frame.bytes[frame.start] = letter.charCodeAt(0)
  frame.end = frame.start + length
  return frame
}

t.test('each frame reaches every other port, once, and only when pulled', async (t) => {
  const hub = new Hub()
  const [a, b, c] = [hub.addPort(1), hub.addPort(2), hub.addPort(3)]
  const ears = [new Ears(a), new Ears(b), new Ears(c)]
  const frame = frameOf('x')
  frame.checksum = ChecksumState.PARTIAL
  t.ok(a.transmit(frame))
  frame.bytes[frame.start] = 'y'.charCodeAt(0)
  t.ok(a.transmit(frame), 'the first was copied')
  a.flush()
  t.same(
    ears.map((e) => e.heard),
    ['', '', ''],
  )
  t.equal(hub.deliver(), 4)
  t.same(
    ears.map((e) => e.heard),
    ['', 'xy|', 'xy|'],
  )
  t.equal(hub.deliver(), 0)
  t.same([a.transmitted, b.received, c.received], [2, 2, 2])
})

t.test('an answer waits for the next delivery', async (t) => {
  const hub = new Hub()
  const [a, b, c] = [hub.addPort(1), hub.addPort(2), hub.addPort(3)]
  const [first, second, third] = [new Ears(a), new Ears(b), new Ears(c)]
  second.answer = () => {
    b.transmit(frameOf('r'))
    b.flush()
    t.equal(b.poll(), 0, 'no delivery within a delivery')
  }
  a.transmit(frameOf('q'))
  hub.deliver()
  t.same([first.heard, third.heard], ['', 'q|'])
  second.answer = null
  hub.deliver()
  t.same([first.heard, second.heard, third.heard], ['r|', 'q|', 'q|r|'])
})

t.test('a full queue drops and counts; the queue works again when pulled', async (t) => {
  const hub = new Hub({ maxQueue: 2 })
  const [a, b] = [hub.addPort(1), hub.addPort(2)]
  const ears = new Ears(b)
  for (const letter of 'abc') t.ok(a.transmit(frameOf(letter)))
  t.equal(b.drops, 1)
  t.equal(b.poll(1), 1)
  a.transmit(frameOf('d'))
  b.poll()
  t.equal(ears.heard, 'a|bd|')
})

t.test('frames longer than the segment carries are refused', async (t) => {
  const hub = new Hub({ mtu: 100 })
  const [a, b] = [hub.addPort(1), hub.addPort(2)]
  t.ok(a.transmit(frameOf('a', 118)))
  t.notOk(a.transmit(frameOf('b', 119)))
  t.same([a.oversized, b.queued, b.mtu], [1, 1, 100])
  const large = new Hub({ offload: { checksum: true, tso: true, uso: false } })
  large.addPort(1)
  t.ok(large.addPort(2).transmit(frameOf('s', 65_000)), 'super-frames pass where ports take them')
})

t.test('flush tells that frames wait for somebody', async (t) => {
  const hub = new Hub()
  const [a, b] = [hub.addPort(1), hub.addPort(2)]
  let told = 0
  hub.onReadable = () => {
    told++
  }
  a.transmit(frameOf('x'))
  a.flush()
  t.equal(told, 0, 'nobody listens yet')
  const ears = new Ears(b)
  a.flush()
  t.same([told, ears.heard], [1, ''])
  hub.deliver()
  a.flush()
  t.equal(told, 1, 'nothing waits')
})

t.test('a closed port neither sends nor hears, not even the rest of its batch', async (t) => {
  const hub = new Hub()
  const [a, b] = [hub.addPort(1), hub.addPort(2)]
  const ears = new Ears(b)
  ears.answer = () => b.close()
  a.transmit(frameOf('x'))
  a.transmit(frameOf('y'))
  hub.deliver()
  t.equal(ears.heard, 'x')
  t.notOk(b.transmit(frameOf('z')))
  a.transmit(frameOf('w'))
  t.equal(hub.deliver(), 0)
  t.equal(hub.ports.length, 1)
})

t.test('a port gives what waits when it is asked, but not within a batch', async (t) => {
  const hub = new Hub()
  const [a, b] = [hub.addPort(1), hub.addPort(2)]
  const ears = new Ears(b)
  let within: boolean | null = null
  ears.answer = () => {
    within = b.drain()
  }
  for (const letter of 'xy') a.transmit(frameOf(letter))
  t.equal(b.drain(), true)
  t.equal(ears.heard, 'xy|')
  t.equal(within, false)
})
