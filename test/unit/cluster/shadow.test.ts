/**
 * Shadow: what comes in another order than it was sent in, and what never comes.
 */
import t from 'tap'
import type { Checkpoint } from '../../../cluster/checkpoint.js'
import { parseBinding } from '../../../cluster/index.js'
import { MemoryCheckpointStore, MemoryMirrorStore } from '../../../cluster/memory-store.js'
import { Mirror } from '../../../cluster/mirror.js'
import { Shadow } from '../../../cluster/shadow.js'
import { Snooper } from '../../../cluster/snooper.js'
import { ACK, DropCounters, Segment, SYN, seq } from '../../../stack/index.js'

const KEY = {
  binding: 1,
  localAddress: 1,
  localPort: 80,
  remoteAddress: 2,
  remotePort: 1000,
} as never
const IRS = 100
const ISS = 5000

function segment(flags: number, seqNo: number, ackNo: number, wnd: number, text = ''): Segment {
  const seg = new Segment()
  seg.flags = flags
  seg.seq = seq(seqNo)
  seg.ack = seq(ackNo)
  seg.wnd = wnd
  seg.text = Buffer.from(text)
  seg.textEnd = text.length
  return seg
}

/** A shadow whose owner offers a window of ten octets. */
function established(): Shadow {
  const shadow = new Shadow(KEY)
  shadow.observe(segment(SYN, IRS, 0, 1000), 'inbound', 1)
  shadow.observe(segment(SYN | ACK, ISS, IRS + 1, 10), 'outbound', 1)
  shadow.observe(segment(ACK, IRS + 1, ISS + 1, 1000), 'inbound', 2)
  return shadow
}

t.test('D1: text that outruns the window it fills is not lost', (t) => {
  const shadow = established()
  shadow.observe(segment(ACK, IRS + 1, ISS + 1, 1000, '0123456789'), 'inbound', 3)
  shadow.observe(segment(ACK, IRS + 11, ISS + 1, 1000, 'abcde'), 'inbound', 4)
  shadow.observe(segment(ACK, IRS + 16, ISS + 1, 1000, 'fghij'), 'inbound', 4)
  t.equal(shadow.tcb.rcvNxtOffset, 10, 'the window is not known to be open yet')
  shadow.observe(segment(ACK, ISS + 1, IRS + 11, 10), 'outbound', 5)
  t.equal(shadow.tcb.rcvNxtOffset, 20, 'and now it is')
  shadow.observe(segment(ACK, ISS + 1, IRS + 21, 10), 'outbound', 6)
  t.equal(shadow.verdict, 'ready')
  t.end()
})

t.test(
  'D1: an octet before a closed window is a probe, unless the window opens at that very moment',
  (t) => {
    const probes = (openedAt: number): Shadow => {
      const shadow = established()
      shadow.observe(segment(ACK, IRS + 1, ISS + 1, 1000, '0123456789'), 'inbound', 3)
      shadow.observe(segment(ACK, ISS + 1, IRS + 11, 0), 'outbound', 4)
      shadow.observe(segment(ACK, IRS + 11, ISS + 1, 1000, 'a'), 'inbound', 100)
      t.equal(shadow.tcb.rcvNxtOffset, 10)
      shadow.observe(segment(ACK, ISS + 1, IRS + 11, 10), 'outbound', openedAt)
      return shadow
    }
    t.equal(probes(100.5).tcb.rcvNxtOffset, 11, 'the owner may have taken it')
    t.equal(probes(102).tcb.rcvNxtOffset, 10, 'it has refused it')
    t.end()
  },
)

t.test('T6: text far beyond any window is not kept', (t) => {
  const shadow = established()
  for (let i = 0; i < 100; i++) {
    shadow.observe(segment(ACK, IRS + 0x1000_0000 + i, ISS + 1, 1000, 'x'), 'inbound', 3)
  }
  shadow.observe(segment(ACK, IRS + 11, ISS + 1, 1000, 'abcde'), 'inbound', 4)
  shadow.observe(segment(ACK, IRS + 1, ISS + 1, 1000, '0123456789'), 'inbound', 4)
  shadow.observe(segment(ACK, ISS + 1, IRS + 11, 10), 'outbound', 5)
  t.equal(shadow.tcb.rcvNxtOffset, 15)
  t.end()
})

t.test('D1: a gap before what the application has consumed heals with its checkpoint', (t) => {
  const checkpoints = new MemoryCheckpointStore()
  const mirror = new Mirror(new MemoryMirrorStore(), checkpoints, 1)
  const snooper = new Snooper(parseBinding(1, '10.0.0.100/24'), new DropCounters())
  const shadow = established()
  shadow.observe(segment(ACK, ISS + 1, IRS + 6, 10), 'outbound', 3)
  shadow.observe(segment(ACK, IRS + 6, ISS + 1, 1000, 'later'), 'inbound', 4)
  shadow.observe(segment(ACK, ISS + 1, IRS + 11, 10), 'outbound', 5)
  t.equal(shadow.verdict, 'gap')
  t.equal(shadow.gapLength, 10)
  const made: Checkpoint = {
    input: 5,
    output: 0,
    unsent: new Uint8Array(0),
    state: 0,
    iss: ISS,
    irs: IRS,
  }
  checkpoints.put(KEY, made)
  checkpoints.flush()
  snooper.admit(shadow, 5)
  mirror.write(snooper, 1000)
  t.equal(shadow.verdict, 'ready')
  t.equal(shadow.tcb.rcvNxtOffset, 10)
  t.end()
})
