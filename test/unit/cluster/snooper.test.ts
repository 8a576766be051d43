/**
 * Snooper: what the IP header of an overheard frame says reaches the shadow.
 */
import t from 'tap'
import { parseBinding, Snooper, Wiretap } from '../../../cluster/index.js'
import { DropCounters, Frame, parseIpv4Address } from '../../../stack/index.js'
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
