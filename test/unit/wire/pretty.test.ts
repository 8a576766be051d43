import t from 'tap'
import { seq } from '../../../stack/base/seq.js'
import { ArpOperation, emitArp } from '../../../stack/wire/arp.js'
import { fromHex } from '../../../stack/wire/bytes.js'
import { sealTransport } from '../../../stack/wire/checksum.js'
import { BROADCAST_MAC, EtherType, emitEthernet } from '../../../stack/wire/ethernet.js'
import { ChecksumState, Frame } from '../../../stack/wire/frame.js'
import { emitIcmpv4 } from '../../../stack/wire/icmpv4.js'
import { emitIpv4, IpProtocol, MORE_FRAGMENTS, parseIpv4Address } from '../../../stack/wire/ipv4.js'
import { prettyBytes, prettyFrame } from '../../../stack/wire/pretty.js'
import {
  ACK,
  emitTcp,
  PSH,
  Segment,
  SYN,
  TCP_CHECKSUM_OFFSET,
  URG,
} from '../../../stack/wire/tcp.js'
import { emitUdp } from '../../../stack/wire/udp.js'

const CLIENT = parseIpv4Address('10.77.0.9')
const SERVER = parseIpv4Address('10.77.0.100')
const CLIENT_MAC = 0x0200_0000_0009
const SERVER_MAC = 0x0200_0000_0064

function empty(text = 0): Frame {
  const frame = new Frame()
  frame.reset()
  frame.end += text
  return frame
}

function inIp(frame: Frame, protocol: number): Frame {
  emitIpv4(frame, CLIENT, SERVER, protocol, 7)
  emitEthernet(frame, SERVER_MAC, CLIENT_MAC, EtherType.IPV4)
  return frame
}

function tcpFrame(segment: Segment, text: number): Frame {
  const frame = empty(text)
  segment.srcPort = 43210
  segment.dstPort = 80
  emitTcp(segment, frame)
  sealTransport(frame, CLIENT, SERVER, IpProtocol.TCP, TCP_CHECKSUM_OFFSET, false)
  return inIp(frame, IpProtocol.TCP)
}

t.test('a SYN-ACK with its options', async (t) => {
  const segment = new Segment()
  segment.seq = seq(1)
  segment.ack = seq(2)
  segment.flags = SYN | ACK
  segment.wnd = 65535
  segment.mss = 1460
  segment.sackPermitted = true
  segment.hasTimestamps = true
  segment.tsVal = 1
  segment.tsEcr = 2
  segment.windowScale = 7
  t.equal(
    prettyFrame(tcpFrame(segment, 0)),
    'IP 10.77.0.9.43210 > 10.77.0.100.80: Flags [S.], seq 1, ack 2, win 65535, ' +
      'options [mss 1460,sackOK,TS val 1 ecr 2,nop,wscale 7], length 0',
  )
})

t.test('text, SACK blocks, urgent pointer, wrap of the sequence space', async (t) => {
  const segment = new Segment()
  segment.seq = seq(0xfffffff6)
  segment.ack = seq(-1)
  segment.flags = PSH | ACK | URG
  segment.wnd = 10
  segment.urgentPointer = 3
  segment.addSack(seq(100), seq(200))
  segment.addSack(seq(-2), seq(5))
  const frame = tcpFrame(segment, 20)
  const line =
    'IP 10.77.0.9.43210 > 10.77.0.100.80: Flags [P.U], seq 4294967286:10, ack 4294967295, ' +
    'win 10, urg 3, options [nop,nop,sack 2 {100:200}{4294967294:5}], length 20'
  t.equal(prettyFrame(frame), line)
  frame.view.setUint8(frame.end - 1, 1)
  t.equal(prettyFrame(frame), `${line} (bad checksum)`)
  frame.checksum = ChecksumState.PARTIAL
  t.equal(prettyFrame(frame), line, 'its device completes it')
})

t.test('a segment without flags', async (t) => {
  t.equal(
    prettyFrame(tcpFrame(new Segment(), 0)),
    'IP 10.77.0.9.43210 > 10.77.0.100.80: Flags [none], seq 0, win 0, length 0',
  )
})

t.test('ARP', async (t) => {
  const line = (operation: ArpOperation, from: typeof CLIENT, to: typeof CLIENT) => {
    const frame = empty()
    emitArp(frame, operation, CLIENT_MAC, from, 0, to)
    emitEthernet(frame, BROADCAST_MAC, CLIENT_MAC, EtherType.ARP)
    return prettyFrame(frame)
  }
  t.equal(
    line(ArpOperation.REQUEST, CLIENT, SERVER),
    'ARP, Request who-has 10.77.0.100 tell 10.77.0.9',
  )
  t.equal(line(ArpOperation.REPLY, CLIENT, SERVER), 'ARP, Reply 10.77.0.9 is-at 02:00:00:00:00:09')
  t.equal(
    line(ArpOperation.REQUEST, SERVER, SERVER),
    'ARP, Announcement 10.77.0.100 is-at 02:00:00:00:00:09',
  )
})

t.test('UDP, ICMP echo and unreachable', async (t) => {
  const udp = empty(5)
  emitUdp(udp, 4000, 53, CLIENT, SERVER, false)
  t.equal(
    prettyFrame(inIp(udp, IpProtocol.UDP)),
    'IP 10.77.0.9.4000 > 10.77.0.100.53: UDP, length 5',
  )

  const echo = empty(56)
  emitIcmpv4(echo, 8, 0, 0x00010002)
  t.equal(
    prettyFrame(inIp(echo, IpProtocol.ICMP)),
    'IP 10.77.0.9 > 10.77.0.100: ICMP echo request, id 1, seq 2, length 64',
  )

  const error = empty(8)
  error.view.setUint32(error.start, (4000 << 16) | 53)
  emitIpv4(error, SERVER, CLIENT, IpProtocol.UDP, 9)
  emitIcmpv4(error, 3, 3, 0)
  t.equal(
    prettyFrame(inIp(error, IpProtocol.ICMP)),
    'IP 10.77.0.9 > 10.77.0.100: ICMP 10.77.0.9 udp port 53 port unreachable, length 36',
  )
})

t.test('fragments, unknown protocols and types, tags, link addresses', async (t) => {
  const fragment = empty(16)
  emitIpv4(fragment, CLIENT, SERVER, IpProtocol.UDP, 7, 64, MORE_FRAGMENTS)
  emitEthernet(fragment, SERVER_MAC, CLIENT_MAC, EtherType.IPV4, 5)
  t.equal(
    prettyFrame(fragment),
    'vlan 5, IP 10.77.0.9 > 10.77.0.100: udp (frag id 7 offset 0 length 16+)',
  )
  t.equal(prettyFrame(inIp(empty(4), 89)), 'IP 10.77.0.9 > 10.77.0.100: proto 89, length 4')
  t.equal(
    prettyFrame(inIp(empty(4), 89), { link: true }),
    '02:00:00:00:00:09 > 02:00:00:00:00:64, IP 10.77.0.9 > 10.77.0.100: proto 89, length 4',
  )
  t.equal(
    prettyBytes(fromHex('ffffffffffff 020000000009 88b5 0102')),
    '02:00:00:00:00:09 > ff:ff:ff:ff:ff:ff, ethertype 0x88b5, length 2',
  )
})

t.test('what cannot be decoded says why', async (t) => {
  t.equal(prettyBytes(new Uint8Array(3)), 'ethernet malformed (ethernet-truncated), length 3')
  const frame = inIp(empty(4), 6)
  t.equal(prettyFrame(frame), 'IP 10.77.0.9 > 10.77.0.100: TCP malformed (tcp-truncated), length 4')
  frame.view.setUint8(frame.start + 22, 1)
  t.equal(prettyFrame(frame), 'IP malformed (ipv4-bad-checksum), length 24')
})
