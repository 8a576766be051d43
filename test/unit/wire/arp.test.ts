import t from 'tap'
import { DropReason } from '../../../stack/base/counters.js'
import { ArpOperation, ArpPacket, emitArp, parseArp } from '../../../stack/wire/arp.js'
import { fromHex, toHex } from '../../../stack/wire/bytes.js'
import { Frame } from '../../../stack/wire/frame.js'
import { parseIpv4Address } from '../../../stack/wire/ipv4.js'

const REQUEST = '0001 0800 06 04 0001 02000000000a 0a4d0009 000000000000 0a4d0064'.replaceAll(
  ' ',
  '',
)

function parsed(hex: string): { reason: DropReason; packet: ArpPacket } {
  const bytes = fromHex(hex)
  const packet = new ArpPacket()
  return { reason: parseArp(packet, new DataView(bytes.buffer), 0, bytes.length), packet }
}

t.test('decodes a request, padding ignored', async (t) => {
  const { reason, packet } = parsed(`${REQUEST}${'00'.repeat(18)}`)
  t.equal(reason, DropReason.NONE)
  t.match(packet, {
    operation: ArpOperation.REQUEST,
    senderMac: 0x02000000000a,
    senderIp: parseIpv4Address('10.77.0.9'),
    targetMac: 0,
    targetIp: parseIpv4Address('10.77.0.100'),
    gratuitous: false,
  })
})

t.test('emits the very octets', async (t) => {
  const frame = new Frame()
  frame.reset()
  const sender = parseIpv4Address('10.77.0.9')
  const target = parseIpv4Address('10.77.0.100')
  emitArp(frame, ArpOperation.REQUEST, 0x02000000000a, sender, 0, target)
  t.equal(toHex(frame.bytes, frame.start, frame.end), REQUEST)
})

t.test('an announcement is gratuitous', async (t) => {
  t.ok(parsed(REQUEST.replace('0a4d0009', '0a4d0064')).packet.gratuitous)
})

const MALFORMED: Record<string, string> = {
  'one octet short': REQUEST.slice(0, -2),
  'other hardware': REQUEST.replace(/^0001/, '0006'),
  'other protocol': REQUEST.replace('0800', '86dd'),
  'other hardware length': REQUEST.replace('0604', '0804'),
  'other protocol length': REQUEST.replace('0604', '0610'),
  'operation 0': REQUEST.replace('06040001', '06040000'),
  'operation 3': REQUEST.replace('06040001', '06040003'),
  'sender with a group address': REQUEST.replace('02000000000a', '01005e000001'),
  'sender with address zero': REQUEST.replace('02000000000a', '000000000000'),
}
for (const [name, hex] of Object.entries(MALFORMED)) {
  t.test(`drops: ${name}`, async (t) => {
    t.not(hex, REQUEST)
    t.equal(parsed(hex).reason, DropReason.ARP_MALFORMED)
  })
}
