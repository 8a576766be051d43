import t from 'tap'
import { ChecksumState, Frame, HEADROOM } from '../../../stack/wire/frame.js'

t.test('a copy has the same octets and meaning, wherever the original lay', async (t) => {
  const original = new Frame(400)
  original.start = 3
  original.end = 53
  for (let i = 0; i < original.length; i++) original.bytes[original.start + i] = i
  original.checksum = ChecksumState.PARTIAL
  original.gsoSize = 1448
  original.leased = true
  const copy = new Frame(HEADROOM + 50)
  copy.copyFrom(original)
  t.match(copy, { start: HEADROOM, length: 50, checksum: 1, gsoSize: 1448, leased: true })
  t.same(copy.bytes.slice(copy.start, copy.end), original.bytes.slice(3, 53))
  original.bytes[3] = 99
  t.equal(copy.bytes[copy.start], 0, 'copied, not shared')
  copy.reset()
  t.match(copy, { start: HEADROOM, length: 0, checksum: 0, gsoSize: 0, leased: false })
})

t.test('bytes and view are the same memory', async (t) => {
  const frame = new Frame()
  frame.view.setUint16(10, 0x1234)
  t.same([frame.bytes[10], frame.bytes[11]], [0x12, 0x34])
})

t.test('T8: a frame may leave its text where it lies; a copy has it all', async (t) => {
  const memory = new Uint8Array(200).map((_, i) => i)
  const frame = new Frame(400)
  frame.reset()
  frame.refer(memory, 7, 100)
  t.equal(frame.length, 100)
  frame.start -= 2
  frame.bytes.set([250, 251], frame.start)
  const copy = new Frame(400)
  copy.copyFrom(frame)
  t.equal(copy.text, null)
  t.same(copy.bytes.slice(copy.start, copy.end), [250, 251, ...memory.slice(7, 107)])
  frame.reset()
  t.equal(frame.text, null)
})
