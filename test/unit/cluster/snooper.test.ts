/**
 * Snooper: what the IP header of an overheard frame says reaches the shadow.
 */
import t from 'tap'
import { parseBinding, Snooper, Wiretap } from '../../../cluster/index.js'
import { Shadow } from '../../../cluster/shadow.js'
import { HANDSHAKE_MS, MAX_HALF_OPEN, ShadowTable } from '../../../cluster/shadow-table.js'
import { DropCounters, Frame, parseIpv4Address, TcpState } from '../../../stack/index.js'
import { EthernetHeader, parseEthernet } from '../../../stack/wire/ethernet.js'
import {
  ACK,
  CWR,
  ECE,
  encodeEthernet,
  encodeIp,
  encodeTcp,
  PROTOCOL,
  SYN,
} from '../../packet/codec.js'

const PEER = parseIpv4Address('10.0.0.1')
const OWNER = parseIpv4Address('10.0.0.100')

t.test(
  'P5 T5: a shadow follows ECN: negotiation, the mark in the IP header, and the peer’s CWR (RFC 3168)',
  (t) => {
    const snooper = new Snooper(parseBinding(1, '10.0.0.100/24'), new DropCounters())
    const wiretap = new Wiretap(snooper.drops)
    wiretap.add(snooper)
    const ethernet = new EthernetHeader()
    const hear = (
      inbound: boolean,
      seq: number,
      ack: number,
      flags: number,
      text = '',
      ecn = 0,
    ): void => {
      const [src, dst] = inbound ? [PEER, OWNER] : [OWNER, PEER]
      const [srcPort, dstPort] = inbound ? [40_000, 80] : [80, 40_000]
      const tcp = encodeTcp(
        { srcPort, dstPort, seq, ack, flags, wnd: 65_535, text: Buffer.from(text) },
        src,
        dst,
      )
      const bytes = encodeEthernet(1, 2, 0x0800, encodeIp(src, dst, PROTOCOL.TCP, tcp, ecn))
      const frame = new Frame(2048)
      frame.bytes.set(bytes, frame.start)
      frame.end = frame.start + bytes.length
      parseEthernet(ethernet, frame)
      t.ok(wiretap.onFrame(frame, ethernet, 1000))
    }
    hear(true, 100, 0, SYN | ECE | CWR)
    hear(false, 500, 101, SYN | ACK | ECE)
    hear(true, 101, 501, ACK)
    const shadow = snooper.table.find(80, PEER, 40_000)
    t.equal(shadow?.tcb.ecnOk, true)
    hear(true, 101, 501, ACK, 'abc', 2)
    t.equal(shadow?.tcb.ecnEcho, 0)
    hear(true, 104, 501, ACK, 'def', 3)
    t.equal(shadow?.tcb.ecnEcho, 1)
    hear(true, 107, 501, ACK, 'ghi', 2)
    t.equal(shadow?.tcb.ecnEcho, 1)
    hear(true, 110, 501, ACK | CWR, 'jkl', 2)
    t.equal(shadow?.tcb.ecnEcho, 0)
    t.end()
  },
)

t.test('T6: a flood of SYNs takes no room from the shadows of connections that live', (t) => {
  const table = new ShadowTable()
  const shadowOf = (remotePort: number, remoteAddress: number) =>
    new Shadow({
      binding: 1,
      localAddress: OWNER,
      localPort: 80,
      remoteAddress,
      remotePort,
    } as never)
  const live = Array.from({ length: 100 }, (_, i) => shadowOf(40_000 + i, PEER))
  for (const shadow of live) {
    shadow.tcb.state = TcpState.ESTABLISHED
    table.add(shadow, 0)
  }
  let evicted = 0
  for (let i = 0; i < 100_000; i++) {
    if (table.add(shadowOf(1 + (i % 60_000), PEER + 1 + Math.floor(i / 60_000)), i / 100) !== null)
      evicted++
  }
  t.ok(table.size <= MAX_HALF_OPEN + 100, `${table.size} shadows`)
  t.equal(evicted, 100_000 + 100 - MAX_HALF_OPEN - 100)
  for (const { key } of live) t.ok(table.find(80, PEER, key.remotePort) !== undefined)
  t.equal(table.expire(2 * HANDSHAKE_MS).length, MAX_HALF_OPEN, 'the rest expires as ever')
  t.equal(table.size, 100)
  t.end()
})
