/**
 * Which shadows can be resumed, and from where.
 */
import t from 'tap'
import type { Checkpoint } from '../../../cluster/checkpoint.js'
import { DoubtfulData } from '../../../cluster/declaration.js'
import { resumePoint } from '../../../cluster/resume-point.js'
import { Shadow } from '../../../cluster/shadow.js'
import { ACK, FIN, Segment, SYN, seq, TcpState } from '../../../stack/index.js'
import { segmentArrives } from '../../../stack/tcp/segment-arrives.js'

const KEY = {
  binding: 1,
  localAddress: 1,
  localPort: 80,
  remoteAddress: 2,
  remotePort: 1000,
} as never
const IRS = 100
const ISS = 5000

function segment(flags: number, seqNo: number, ackNo: number, text = ''): Segment {
  const seg = new Segment()
  seg.flags = flags
  seg.seq = seq(seqNo)
  seg.ack = seq(ackNo)
  seg.wnd = 65_535
  seg.text = Buffer.from(text)
  seg.textEnd = text.length
  return seg
}

function established(): Shadow {
  const shadow = new Shadow(KEY)
  shadow.observe(segment(SYN, IRS, 0), 'inbound', 1)
  shadow.observe(segment(SYN | ACK, ISS, IRS + 1), 'outbound', 1)
  shadow.observe(segment(ACK, IRS + 1, ISS + 1), 'inbound', 2)
  return shadow
}

function checkpoint(input: number, output = 0): Checkpoint {
  return { input, output, unsent: new Uint8Array(0), state: 'x', iss: ISS, irs: IRS }
}

t.test('P20: all input is there, so the application starts anew', (t) => {
  const shadow = established()
  shadow.observe(segment(ACK, IRS + 1, ISS + 1, 'hello'), 'inbound', 3)
  t.match(resumePoint(shadow, null), { input: 0, output: 0, resumption: { state: null } })
  t.end()
})

t.test('P18: a server that has ended its side and still reads is not taken for finished', (t) => {
  const shadow = established()
  shadow.observe(segment(FIN | ACK, ISS + 1, IRS + 1), 'outbound', 3)
  shadow.observe(segment(ACK, IRS + 1, ISS + 2, 'hello'), 'inbound', 4)
  shadow.observe(segment(ACK, ISS + 2, IRS + 6), 'outbound', 5)
  t.equal(shadow.tcb.state, TcpState.FIN_WAIT_2)
  t.match(resumePoint(shadow, null), { input: 0, resumption: { input: 0 } })
  shadow.observe(segment(FIN | ACK, IRS + 6, ISS + 2), 'inbound', 6)
  t.match(resumePoint(shadow, null), { resumption: null }, "and is finished with the peer's FIN")
  t.end()
})

t.test('D1: what the application consumed need not have been heard', (t) => {
  const shadow = established()
  shadow.observe(segment(ACK, ISS + 1, IRS + 6), 'outbound', 3)
  t.equal(shadow.verdict, 'gap')
  t.equal(shadow.gapLength, 5)
  t.equal(resumePoint(shadow, null), 'gap')
  t.equal(resumePoint(shadow, checkpoint(3)), 'gap', 'a part of it is not enough')
  t.match(resumePoint(shadow, checkpoint(5)), { input: 5, resumption: { state: 'x' } })
  t.equal(shadow.verdict, 'ready')
  t.end()
})

t.test('D1: a FIN that waited behind what the application consumed is in order then', (t) => {
  const shadow = established()
  shadow.observe(segment(FIN | ACK, IRS + 6, ISS + 1), 'inbound', 3)
  shadow.observe(segment(ACK, ISS + 1, IRS + 7), 'outbound', 4)
  t.equal(shadow.verdict, 'gap')
  t.match(resumePoint(shadow, checkpoint(5)), { input: 5 })
  t.equal(shadow.tcb.state, TcpState.CLOSE_WAIT)
  t.end()
})

t.test('P22: acknowledged output is kept for comparison', (t) => {
  const shadow = established()
  shadow.observe(segment(ACK, ISS + 1, IRS + 1, 'answer'), 'outbound', 3)
  shadow.observe(segment(ACK, IRS + 1, ISS + 7), 'inbound', 4)
  t.match(resumePoint(shadow, null), { output: 0, resumption: { sent: 6 } })
  t.equal(shadow.buffers.sent.start, 0)
  t.end()
})

t.test(
  'P21: doubtful input is named, and delivered again or dropped as the declaration says',
  (t) => {
    const shadow = established()
    shadow.observe(segment(ACK, IRS + 1, ISS + 1, 'hello'), 'inbound', 3)
    shadow.observe(segment(ACK, ISS + 1, IRS + 6), 'outbound', 4)
    shadow.observe(segment(ACK, IRS + 6, ISS + 1, 'unacknowledged'), 'inbound', 5)
    const { DELIVER, DROP } = DoubtfulData
    const doubtful = { from: 2, to: 5 }
    t.match(resumePoint(shadow, checkpoint(2), DELIVER), {
      input: 2,
      resumption: { input: 2, doubtful },
    })
    t.match(resumePoint(shadow, checkpoint(2), DROP), {
      input: 5,
      resumption: { input: 5, doubtful },
    })
    t.match(resumePoint(shadow, checkpoint(9), DROP), {
      input: 9,
      resumption: { doubtful: { from: 9, to: 9 } },
    })
    t.match(resumePoint(shadow, null), { input: 0, resumption: { doubtful: { from: 0, to: 5 } } })
    t.match(resumePoint(shadow, null, DROP), {
      input: 5,
      resumption: { doubtful: { from: 0, to: 5 } },
    })
    t.end()
  },
)

t.test(
  'P20 D3: an owner that lost its lease has what its application read and did not commit',
  (t) => {
    const { tcb, buffers } = established()
    buffers.received.keep = 1000
    const text = Buffer.from('PING\r\nPI')
    segmentArrives(tcb, buffers, segment(ACK, IRS + 1, ISS + 1, String(text)), 3)
    buffers.received.trim(text.length)
    const shadow = new Shadow(KEY, { tcb, buffers })
    t.match(resumePoint(shadow, checkpoint(6)), { input: 6 })
    t.ok(shadow.buffers.received.has(6, 8), 'and is given it again')
    t.match(resumePoint(shadow, null), { input: 0 }, 'with no checkpoint it starts anew')
    t.end()
  },
)
