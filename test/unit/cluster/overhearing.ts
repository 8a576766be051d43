/** A snooper of one binding that is told segment by segment what it overhears between one client and port 80, for tests. */
import { parseBinding, Snooper } from '../../../cluster/index.js'
import type { Direction } from '../../../cluster/shadow.js'
import { ACK, DropCounters, parseIpv4Address, Segment, SYN } from '../../../stack/index.js'

export const PEER = parseIpv4Address('10.0.0.1')
/** Port of the client, unless another is given. */
export const PEER_PORT = 40_000

export interface Overhearing {
  readonly snooper: Snooper
  say(
    direction: Direction,
    seq: number,
    ack: number,
    flags: number,
    at?: number,
    remotePort?: number,
    text?: number,
  ): void
  /** A handshake with the ISNs 100 and 500. */
  open(at?: number, remotePort?: number): void
}

/** A snooper that lacks nothing of what was before it. */
export function overhearing(): Overhearing {
  const snooper = new Snooper(parseBinding(1, '10.0.0.100/24'), new DropCounters())
  snooper.joining.end()
  return sayingTo(snooper)
}

export function sayingTo(snooper: Snooper): Overhearing {
  const say: Overhearing['say'] = (
    direction,
    seq,
    ack,
    flags,
    at = 1000,
    port = PEER_PORT,
    text = 0,
  ) => {
    const seg = Object.assign(new Segment(), { seq, ack, flags, wnd: 60_000 })
    seg.text = new Uint8Array(text)
    seg.textEnd = text
    snooper.observe(seg, direction, 80, PEER, port, 2, at)
  }
  const open: Overhearing['open'] = (at, port) => {
    say('inbound', 100, 0, SYN, at, port)
    say('outbound', 500, 101, SYN | ACK, at, port)
    say('inbound', 101, 501, ACK, at, port)
  }
  return { snooper, say, open }
}
