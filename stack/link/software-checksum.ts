/**
 * Completes in software what a device with checksum offload would have completed: for frames that leave the way of the
 * device, to a capture or through a fault. TCP and UDP only, as only they are ever left to the device.
 */
import { DropReason } from '../base/counters.js'
import { completeTransport } from '../wire/checksum.js'
import { EthernetHeader, EtherType, parseEthernet } from '../wire/ethernet.js'
import { ChecksumState, type Frame } from '../wire/frame.js'
import { IpProtocol, Ipv4Header, parseIpv4 } from '../wire/ipv4.js'
import { Ipv6Header, parseIpv6 } from '../wire/ipv6.js'
import { TCP_CHECKSUM_OFFSET } from '../wire/tcp.js'
import { UDP_CHECKSUM_OFFSET } from '../wire/udp.js'

const ethernet = new EthernetHeader()
const ipv4 = new Ipv4Header()
const ipv6 = new Ipv6Header()

/** Makes the checksum of a PARTIAL frame whole, in place. Other frames, and what cannot be read, stay as they are. */
export function completeChecksum(frame: Frame): void {
  if (frame.checksum !== ChecksumState.PARTIAL) return
  if (parseEthernet(ethernet, frame) !== DropReason.NONE) return
  const { etherType, payloadStart, payloadEnd } = ethernet
  if (etherType !== EtherType.IPV4 && etherType !== EtherType.IPV6) return
  const ip = etherType === EtherType.IPV6 ? ipv6 : ipv4
  const reason =
    ip === ipv6
      ? parseIpv6(ipv6, frame.view, payloadStart, payloadEnd)
      : parseIpv4(ipv4, frame.view, payloadStart, payloadEnd)
  if (reason !== DropReason.NONE) return
  const length = ip.payloadEnd - ip.payloadStart
  if (ip.protocol === IpProtocol.TCP && length >= TCP_CHECKSUM_OFFSET + 2) {
    completeTransport(frame, ip.payloadStart, ip.payloadEnd, TCP_CHECKSUM_OFFSET)
  } else if (ip.protocol === IpProtocol.UDP && length >= UDP_CHECKSUM_OFFSET + 2) {
    completeTransport(frame, ip.payloadStart, ip.payloadEnd, UDP_CHECKSUM_OFFSET)
  }
}
