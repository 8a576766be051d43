// hot path: no allocation per frame
/**
 * Fragmentation: sends a datagram that is longer than the link's MTU as fragments (RFC 791 §3.2, RFC 8200 §4.5), all but the last with as
 * many blocks of eight octets as fit. Either all of them are queued or none. TCP never needs it.
 */
import { DropReason } from '../base/counters.js'
import type { Millis } from '../base/time.js'
import type { Frame } from '../wire/frame.js'
import { type IpAddress, isIpv4 } from '../wire/ip-address.js'
import {
  DEFAULT_TTL,
  emitIpv4,
  IPV4_HEADER_LENGTH,
  type Ipv4Address,
  MORE_FRAGMENTS,
} from '../wire/ipv4.js'
import {
  emitFragmentHeader,
  emitIpv6,
  FRAGMENT_HEADER_LENGTH,
  FRAGMENT_PROTOCOL,
  IPV6_HEADER_LENGTH,
} from '../wire/ipv6.js'
import type { Nic } from './nic.js'

/**
 * Queues what lies between `datagram.start` and `datagram.end`, which is copied, behind headers of its own. False, and
 * counted: the NIC's queue has no room for all of it.
 */
export function queueFragments(
  nic: Nic,
  datagram: Frame,
  src: IpAddress,
  dst: IpAddress,
  protocol: number,
  ident: number,
  now: Millis,
  ttl: number = DEFAULT_TTL,
): boolean {
  const length = datagram.end - datagram.start
  const own = isIpv4(src)
  const headers = own ? IPV4_HEADER_LENGTH : IPV6_HEADER_LENGTH + FRAGMENT_HEADER_LENGTH
  const most = (nic.mtu - headers) & ~7
  if (Math.ceil(length / most) > nic.room) {
    nic.drops.count(DropReason.LINK_QUEUE_FULL)
    return false
  }
  for (let from = 0; from < length; from += most) {
    const out = nic.newDatagram()
    if (out === null) return false
    const to = Math.min(from + most, length)
    // allocates: a short-lived view per fragment, to copy at the speed of memory
    const text = datagram.bytes.subarray(datagram.start + from, datagram.start + to)
    out.bytes.set(text, out.start)
    out.end = out.start + (to - from)
    const more = to < length
    if (own) {
      const flags = more ? MORE_FRAGMENTS : 0
      emitIpv4(out, src, dst as Ipv4Address, protocol, ident, ttl, flags, 0, from)
    } else {
      emitFragmentHeader(out, protocol, from, more, ident)
      emitIpv6(out, src, dst, FRAGMENT_PROTOCOL, 0, ttl)
    }
    nic.queueDatagram(out, src, dst, now)
  }
  return true
}
