/**
 * UdpOutput: from a datagram of a socket to a frame of a NIC, or to fragments when it is longer than the NIC's MTU. Routers may
 * cut it further: nobody here probes the path for UDP (RFC 8085 §3.2).
 */
import type { Millis } from '../base/time.js'
import type { Frame } from '../wire/frame.js'
import type { IpAddress } from '../wire/ip-address.js'
import { IPV4_HEADER_LENGTH, IpProtocol, type Ipv4Address } from '../wire/ipv4.js'
import { emitUdp, UDP_HEADER_LENGTH } from '../wire/udp.js'
import { queueFragments } from './fragmentation.js'
import type { Ipv4Output } from './ipv4.js'
import type { Nic } from './nic.js'
import { NO_ROUTE } from './route.js'
import type { OutgoingDatagram } from './udp.js'

/** Where something leaves the stack: from which address, by which NIC. */
export interface Departure {
  readonly nic: Nic
  readonly address: IpAddress
}

/** The assigned address, `local` or any, from which `remote` is reached; null when there is none. */
export function departureTo(
  nics: readonly Nic[],
  remote: IpAddress,
  local: IpAddress | null,
): Departure | null {
  for (const nic of nics) {
    const group = nic.isGroup(remote)
    for (const own of nic.addresses()) {
      if (own.state !== 'assigned') continue
      if (local !== null && own.address !== local) continue
      if (group || nic.routes.nextHop(remote) !== NO_ROUTE) return { nic, address: own.address }
    }
  }
  return null
}

export class UdpOutput {
  readonly #ipOut: Ipv4Output

  constructor(ipOut: Ipv4Output) {
    this.#ipOut = ipOut
  }

  /** True: `frame` holds the datagram and can leave now. False: it waits in the NIC's queue, as fragments or for a neighbour. */
  depart(datagram: OutgoingDatagram, nic: Nic, frame: Frame, now: Millis): boolean {
    const { data, srcPort, dstPort, ttl } = datagram
    const src = datagram.src as Ipv4Address
    const dst = datagram.dst as Ipv4Address
    const fits = data.length + UDP_HEADER_LENGTH + IPV4_HEADER_LENGTH <= nic.mtu
    frame.reset()
    frame.bytes.set(data, frame.start)
    frame.end = frame.start + data.length
    // A device completes the checksum of a frame, never that of a datagram in many of them.
    emitUdp(frame, srcPort, dstPort, src, dst, fits && nic.offload.checksum)
    if (!fits) {
      const ident = this.#ipOut.nextIdent()
      queueFragments(nic, frame, src, dst, IpProtocol.UDP, ident, now, ttl)
      return false
    }
    this.#ipOut.emitFragmentable(frame, src, dst, IpProtocol.UDP, ttl)
    return nic.isGroup(dst) ? nic.egressGroup(frame, src, dst) : nic.egress(frame, src, dst, now)
  }
}
