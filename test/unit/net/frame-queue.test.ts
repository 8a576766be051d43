import t from 'tap'
import { FrameQueue } from '../../../stack/net/frame-queue.js'

t.test('a frame that was taken stays whole while another is added to a full queue', (t) => {
  const queue = new FrameQueue(2, 512)
  for (const octet of [1, 2]) {
    const frame = queue.add()
    t.ok(frame !== null, 'the queue has room for two')
    if (frame === null) break
    frame.bytes[frame.start] = octet
    frame.end = frame.start + 1
  }
  t.equal(queue.add(), null, 'and not for three')
  const first = queue.take()
  const third = queue.add()
  t.ok(first !== null && third !== null && first !== third, 'another place')
  t.equal(first?.bytes[first.start], 1)
  t.equal(first?.length, 1)
  t.equal(queue.length, 2)
  t.end()
})
