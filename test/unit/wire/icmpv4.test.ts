import t from 'tap'
import { DropReason } from '../../../stack/base/counters.js'
import { fromHex, toHex } from '../../../stack/wire/bytes.js'
import { Frame } from '../../../stack/wire/frame.js'
import {
  emitIcmpv4,
  IcmpMessage,
  IcmpType,
  isIcmpError,
  parseIcmpv4,
} from '../../../stack/wire/icmpv4.js'

t.test('emits an echo request with its checksum, and decodes it', async (t) => {
  const frame = new Frame()
  frame.reset()
  frame.bytes.set(fromHex('616263'), frame.start)
  frame.end += 3
  emitIcmpv4(frame, IcmpType.ECHO_REQUEST, 0, 0x00010002)
  t.equal(
    toHex(frame.bytes, frame.start, frame.end),
    '0800 339a 0001 0002 616263'.replaceAll(' ', ''),
  )
  const message = new IcmpMessage()
  t.equal(parseIcmpv4(message, frame.view, frame.start, frame.end), DropReason.NONE)
  t.match(message, { type: 8, code: 0, identifier: 1, sequenceNumber: 2 })
  t.equal(message.payloadEnd - message.payloadStart, 3)
})

t.test('drops short and damaged messages', async (t) => {
  const frame = new Frame()
  frame.reset()
  emitIcmpv4(frame, IcmpType.ECHO_REPLY, 0, -1)
  const message = new IcmpMessage()
  t.equal(parseIcmpv4(message, frame.view, frame.start, frame.end), DropReason.NONE)
  t.equal(message.identifier, 0xffff)
  t.equal(parseIcmpv4(message, frame.view, frame.start, frame.end - 1), DropReason.ICMP_MALFORMED)
  frame.view.setUint8(frame.start, 8)
  t.equal(parseIcmpv4(message, frame.view, frame.start, frame.end), DropReason.ICMP_BAD_CHECKSUM)
})

t.test('which types are errors', async (t) => {
  const errors = Array.from({ length: 256 }, (_, type) => type).filter(isIcmpError)
  t.same(errors, [3, 4, 5, 11, 12])
})
