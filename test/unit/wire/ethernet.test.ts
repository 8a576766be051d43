import fc from 'fast-check'
import t from 'tap'
import { DropReason } from '../../../stack/base/counters.js'
import { fromHex, getUint48, setUint48, toHex } from '../../../stack/wire/bytes.js'
import {
  BROADCAST_MAC,
  EthernetHeader,
  EtherType,
  emitEthernet,
  formatMacAddress,
  isGroupMac,
  isUnicastMac,
  NO_TAG,
  parseEthernet,
  parseMacAddress,
} from '../../../stack/wire/ethernet.js'
import { Frame } from '../../../stack/wire/frame.js'

const anyMac = fc.integer({ min: 0, max: 2 ** 48 - 1 })

function frameOf(hex: string): Frame {
  const frame = new Frame()
  frame.reset()
  const bytes = fromHex(hex)
  frame.bytes.set(bytes, frame.start)
  frame.end = frame.start + bytes.length
  return frame
}

t.test('48-bit integers survive writing and reading', async (t) => {
  const view = new DataView(new ArrayBuffer(16))
  fc.assert(
    fc.property(anyMac, fc.nat(10), (mac, at) => {
      setUint48(view, at, mac)
      return getUint48(view, at) === mac
    }),
    { numRuns: 1000 },
  )
  t.pass('holds for all samples')
})

t.test('addresses survive formatting and parsing', async (t) => {
  fc.assert(fc.property(anyMac, (mac) => parseMacAddress(formatMacAddress(mac)) === mac))
  t.equal(formatMacAddress(0x02_00_00_00_00_0a), '02:00:00:00:00:0a')
  t.equal(parseMacAddress('FF-FF-FF-FF-FF-FF'), BROADCAST_MAC)
  for (const text of [
    '',
    '02:00:00:00:00',
    '02:00:00:00:00:0g',
    '2:0:0:0:0:a',
    '02:00:00:00:00:0a:',
  ]) {
    t.throws(() => parseMacAddress(text, 'nic.mac'), {
      code: 'ERR_INVALID_ADDRESS',
      message: /^nic\.mac: /,
    })
  }
})

t.test('group and unicast addresses', async (t) => {
  t.ok(isGroupMac(BROADCAST_MAC))
  t.ok(isGroupMac(parseMacAddress('01:00:5e:00:00:01')))
  t.notOk(isGroupMac(parseMacAddress('02:00:00:00:00:01')))
  t.ok(isUnicastMac(parseMacAddress('fe:ff:ff:ff:ff:ff')))
  t.notOk(isUnicastMac(0))
})

t.test('decodes a plain and a tagged frame', async (t) => {
  const header = new EthernetHeader()
  const plain = frameOf('ffffffffffff 02000000000a 0806 0102')
  t.equal(parseEthernet(header, plain), DropReason.NONE)
  t.match(header, {
    dst: BROADCAST_MAC,
    src: 0x02000000000a,
    etherType: EtherType.ARP,
    tag: NO_TAG,
  })
  t.equal(header.payloadStart - plain.start, 14)
  t.equal(header.payloadEnd, plain.end)

  const tagged = frameOf('ffffffffffff 02000000000a 8100 6005 0800 0102')
  t.equal(parseEthernet(header, tagged), DropReason.NONE)
  t.match(header, { etherType: EtherType.IPV4, tag: 0x6005 })
  t.equal(header.payloadStart - tagged.start, 18)
})

t.test('drops what is too short or has a length in place of a type', async (t) => {
  const header = new EthernetHeader()
  t.equal(
    parseEthernet(header, frameOf('ffffffffffff02000000000a08')),
    DropReason.ETHERNET_TRUNCATED,
  )
  const cutTag = frameOf('ffffffffffff 02000000000a 8100 6005 08')
  t.equal(parseEthernet(header, cutTag), DropReason.ETHERNET_TRUNCATED)
  const spanningTree = frameOf('0180c2000000 02000000000a 0026 424203')
  t.equal(parseEthernet(header, spanningTree), DropReason.ETHERNET_UNKNOWN_TYPE)
})

t.test('what is emitted is decoded, in front of the payload', async (t) => {
  const header = new EthernetHeader()
  const frame = new Frame()
  const tags = fc.oneof(fc.constant(NO_TAG), fc.nat(0xffff))
  fc.assert(
    fc.property(anyMac, anyMac, tags, (dst, src, tag) => {
      frame.reset()
      frame.end += 4
      const payload = frame.start
      emitEthernet(frame, dst, src, EtherType.IPV4, tag)
      return (
        parseEthernet(header, frame) === DropReason.NONE &&
        header.dst === dst &&
        header.src === src &&
        header.tag === tag &&
        header.etherType === EtherType.IPV4 &&
        header.payloadStart === payload
      )
    }),
  )
  t.pass('holds for all samples')
})

t.test('hexadecimal text', async (t) => {
  t.equal(toHex(fromHex('00 ff\n1a')), '00ff1a')
  t.equal(toHex(Uint8Array.of(1, 2, 3), 1, 2), '02')
})
