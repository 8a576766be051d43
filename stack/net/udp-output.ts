/**
 * UdpOutput: from a datagram of a socket to a frame of a NIC, or to fragments when it is longer than the NIC's MTU. Routers may
 * cut it further: nobody here probes the path for UDP (RFC 8085 §3.2).
 */
import type { Millis } from '../base/time.js'
import type { Frame } from '../wire/frame.js'
import { type IpAddress, isIpv4 } from '../wire/ip-address.js'
import { IpProtocol } from '../wire/ipv4.js'
import { emitUdp, UDP_HEADER_LENGTH } from '../wire/udp.js'
import { queueFragments } from './fragmentation.js'
import { type IpOutput, ipHeaderLength } from './ip-output.js'
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
      if (own.state !== 'assigned' || isIpv4(own.address) !== isIpv4(remote)) continue
      if (local !== null && own.address !== local) continue
      if (group || nic.routes.nextHop(remote) !== NO_ROUTE) return { nic, address: own.address }
    }
  }
  return null
}

export class UdpOutput {
  readonly #ipOut: IpOutput

  constructor(ipOut: IpOutput) {
    this.#ipOut = ipOut
  }

  /** True: `frame` holds the datagram and can leave now. False: it waits in the NIC's queue, as fragments or for a neighbour. */
  depart(datagram: OutgoingDatagram, nic: Nic, frame: Frame, now: Millis): boolean {
    const { data, src, srcPort, dst, dstPort, ttl } = datagram
    const fits = data.length + UDP_HEADER_LENGTH + ipHeaderLength(src) <= nic.mtu
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
    this.#ipOut.emit(frame, src, dst, IpProtocol.UDP, 0, ttl, true)
    return nic.isGroup(dst) ? nic.egressGroup(frame, src, dst) : nic.egress(frame, src, dst, now)
  }
}
