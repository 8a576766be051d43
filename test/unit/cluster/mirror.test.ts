/** Mirror: what is written of many shadows at once, and what is not. */
import t from 'tap'
import { MemoryCheckpointStore, MemoryMirrorStore } from '../../../cluster/memory-store.js'
import { MAX_WRITTEN, MIRROR_INTERVAL_MS, Mirror } from '../../../cluster/mirror.js'
import { MAX_REPLAYED } from '../../../cluster/retention.js'
import { MAX_KEPT } from '../../../cluster/shadow.js'
import { ACK, Segment } from '../../../stack/index.js'
import { overhearing, PEER, PEER_PORT } from './overhearing.js'

function watching() {
  const store = new MemoryMirrorStore()
  const mirror = new Mirror(store, new MemoryCheckpointStore(), 1)
  const { snooper, open } = overhearing()
  return { store, mirror, snooper, open: (port: number) => open(0, port) }
}

t.test(
  'P27: of very many shadows that changed at once some are written at a time, and all in the end',
  async (t) => {
    const { store, mirror, snooper, open } = watching()
    const count = 2 * MAX_WRITTEN + 10
    for (let port = 1; port <= count; port++) open(port)
    const written: number[] = []
    for (let now = MIRROR_INTERVAL_MS; mirror.nextDeadline(snooper) <= now; ) {
      mirror.write(snooper, now)
      written.push([...store.flows(1)].length)
      now += MIRROR_INTERVAL_MS
    }
    t.same(written, [MAX_WRITTEN, 2 * MAX_WRITTEN, count])
    for (const shadow of [...snooper.table.shadows()]) snooper.remove(shadow)
    open(1)
    for (let now = 1000; mirror.nextDeadline(snooper) <= now; now += MIRROR_INTERVAL_MS) {
      mirror.write(snooper, now)
    }
    t.equal([...store.flows(1)].length, 1, 'the one that came in the place of another is there')
  },
)

t.test('P27: a shadow that changed and was promoted right behind leaves no record', async (t) => {
  const { store, mirror, snooper, open } = watching()
  open(1)
  for (const shadow of [...snooper.table.shadows()]) snooper.remove(shadow)
  mirror.write(snooper, 1000)
  t.equal([...store.flows(1)].length, 0)
  t.equal(snooper.dirty.length, 0)
})

t.test(
  'P17: what comes between two writes of the mirror is more than a shadow may keep',
  async (t) => {
    const { mirror, snooper, open } = watching()
    open(PEER_PORT)
    snooper.relieve = (shadow) => mirror.relieve(shadow, snooper)
    const text = new Uint8Array(60_000)
    const count = Math.ceil((2 * MAX_KEPT) / text.length)
    let most = 0
    for (let i = 0; i < count; i++) {
      const seq = (101 + i * text.length) | 0
      const acks = { seq: 501, ack: seq, flags: ACK, wnd: 65_000 }
      snooper.observe(Object.assign(new Segment(), acks), 'outbound', 80, PEER, PEER_PORT, 0, 1000)
      const brings = { seq, ack: 501, flags: ACK, wnd: 65_000, text, textEnd: text.length }
      snooper.observe(Object.assign(new Segment(), brings), 'inbound', 80, PEER, PEER_PORT, 2, 1000)
      const [shadow] = snooper.table.shadows()
      most = Math.max(most, shadow?.buffers.received.readable ?? 0)
    }
    const [shadow] = snooper.table.shadows()
    t.equal(shadow?.verdict, 'ready')
    t.equal(shadow?.tcb.rcvNxtOffset, count * text.length)
    t.ok(most < 3 * MAX_REPLAYED, `${most} octets kept at most`)
    t.ok((shadow?.buffers.received.readable ?? 0) >= MAX_REPLAYED)
  },
)

t.test(
  'P17, P22: of acknowledged output one window is kept for comparison, and no more',
  async (t) => {
    const { mirror, snooper, open } = watching()
    open(PEER_PORT)
    const [window, length] = [2000, 5000]
    const text = new Uint8Array(length)
    const says = { seq: 501, ack: 101, flags: ACK, wnd: 65_000, text, textEnd: length }
    snooper.observe(Object.assign(new Segment(), says), 'outbound', 80, PEER, PEER_PORT, 0, 1000)
    const acks = { seq: 101, ack: 501 + length, flags: ACK, wnd: window }
    snooper.observe(Object.assign(new Segment(), acks), 'inbound', 80, PEER, PEER_PORT, 2, 1000)
    mirror.write(snooper, 2000)
    const [shadow] = snooper.table.shadows()
    t.equal(shadow?.tcb.ackedOffset, length)
    t.equal(shadow?.buffers.sent.start, length - window)
  },
)
