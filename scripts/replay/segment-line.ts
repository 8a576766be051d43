/**
 * One line of text per segment of a trace, in the manner of tcpdump, with sequence numbers relative to the SYNs.
 */
import type { TraceConnection } from '../../cluster/trace-connection.js'
import { diff } from '../../stack/base/seq.js'
import { ABSENT, ACK, FIN, PSH, RST, type Segment, SYN } from '../../stack/wire/tcp.js'

const LETTERS: readonly (readonly [number, string])[] = [
  [SYN, 'S'],
  [FIN, 'F'],
  [RST, 'R'],
  [PSH, 'P'],
  [ACK, '.'],
]

/** The segment as a line; `origin` is the time of the trace's first frame. */
export function segmentLine(
  connection: TraceConnection,
  seg: Segment,
  fromClient: boolean,
  origin: number,
): string {
  const [from, to] = fromClient
    ? [connection.c2s, connection.s2c]
    : [connection.s2c, connection.c2s]
  const flags = LETTERS.filter(([bit]) => seg.has(bit)).map(([, letter]) => letter)
  const first = seg.has(SYN) || from.offers === null ? seg.seq >>> 0 : diff(seg.seq, from.isn)
  const length = seg.textLength
  const ack = to.offers === null ? seg.ack >>> 0 : diff(seg.ack, to.isn)
  const parts = [
    `Flags [${flags.join('')}]`,
    length > 0 ? `seq ${first}:${first + length}` : `seq ${first}`,
    ...(seg.has(ACK) ? [`ack ${ack}`] : []),
    `win ${seg.wnd}`,
    ...optionParts(seg),
    `length ${length}`,
  ]
  const at = ((connection.lastAt - origin) / 1000).toFixed(6).padStart(11)
  return `${at}  ${String(connection.number).padStart(3)} ${fromClient ? '>' : '<'} ${parts.join(', ')}`
}

function optionParts(seg: Segment): string[] {
  const options = [
    ...(seg.mss === ABSENT ? [] : [`mss ${seg.mss}`]),
    ...(seg.windowScale === ABSENT ? [] : [`wscale ${seg.windowScale}`]),
    ...(seg.sackPermitted ? ['sackOK'] : []),
    ...(seg.hasTimestamps ? [`TS val ${seg.tsVal >>> 0} ecr ${seg.tsEcr >>> 0}`] : []),
    ...(seg.sackCount > 0 ? [`sack ${seg.sackCount}`] : []),
  ]
  return options.length > 0 ? [`options [${options.join(',')}]`] : []
}
