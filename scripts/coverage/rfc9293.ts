/**
 * The requirements of RFC 9293 as its appendix B lists them, and those that are waived, with the reason. What is waived is neither
 * in the code nor in a test; everything else must be shown by one.
 */

/** One requirement: `MUST-1`, what it asks for, and why it is not kept, if it is not. */
export interface Requirement {
  readonly id: string
  readonly text: string
  readonly waived?: string
}

const SOURCE_ROUTE =
  'source routes are neither sent nor followed: hosts and routers drop them (RFC 6274 §3.13.2.3, RFC 7126 §4.3), and a return route taken from a segment lets anybody redirect the answer'
const URGENT =
  'new applications should not use it (SHLD-13, RFC 6093 §6), and the socket face is that of node:net, which has none; urgent octets are read in line'

function must(n: number, text: string, waived?: string): Requirement {
  return waived === undefined ? { id: `MUST-${n}`, text } : { id: `MUST-${n}`, text, waived }
}

function shld(n: number, text: string, waived?: string): Requirement {
  return waived === undefined ? { id: `SHLD-${n}`, text } : { id: `SHLD-${n}`, text, waived }
}

export const RFC9293: readonly Requirement[] = [
  must(1, 'the window is an unsigned number'),
  must(2, 'the sender computes the checksum'),
  must(3, 'the receiver checks the checksum'),
  must(4, 'the mandatory options are supported'),
  must(5, 'an option may come in any segment'),
  must(6, 'an unknown option is ignored'),
  must(7, 'an illegal option length does no harm'),
  must(8, 'the ISN is driven by a clock'),
  must(9, 'the function of the ISN cannot be computed from outside'),
  must(10, 'simultaneous open'),
  must(11, 'SYN-RECEIVED remembers how it was entered'),
  must(12, 'the application learns of an abort'),
  must(13, 'TIME-WAIT lasts 2 MSL'),
  must(14, 'the MSS option is sent and taken'),
  must(15, 'the MSS is 536, or 1220 over IPv6, when the peer names none'),
  must(16, 'the effective send MSS is computed'),
  must(17, "Nagle's algorithm can be switched off"),
  must(18, "Karn's algorithm"),
  must(19, 'back-off, slow start and congestion avoidance'),
  must(20, 'text that is not acknowledged ends the connection at R2'),
  must(21, 'the application can set R2'),
  must(22, 'SYNs are handled as text is'),
  must(23, 'a SYN is sent again for three minutes at least'),
  must(24, 'the application can ask for keep-alive'),
  must(25, 'keep-alive is off by default'),
  must(26, 'a keep-alive leaves only after silence'),
  must(27, 'the interval of keep-alives can be set'),
  must(28, 'it is two hours by default'),
  must(29, 'one lost keep-alive proves nothing'),
  must(30, 'the urgent mechanism is supported'),
  must(31, 'urgent data may have any length'),
  must(32, 'the application hears of urgent data asynchronously', URGENT),
  must(33, 'the application can ask for the amount of urgent data', URGENT),
  must(34, 'a shrinking window does no harm'),
  must(35, 'the standard probing of zero windows'),
  must(36, 'a zero window is probed'),
  must(37, 'a window may stay closed for ever while probes are answered'),
  must(38, 'silly window avoidance of the sender'),
  must(39, 'silly window avoidance of the receiver'),
  must(40, 'an ACK is delayed by less than 0.5 s'),
  must(41, 'a passive open leaves earlier connections alone'),
  must(42, 'several passive opens at the same time'),
  must(43, 'a local address may be named in an open'),
  must(44, 'else IP is asked for the source address'),
  must(45, 'and it is the same for the life of the connection'),
  must(46, 'an open to a group or an invalid address is refused'),
  must(47, 'soft errors are reported'),
  must(48, 'the application can set the Diffserv field'),
  must(49, 'the TTL can be configured'),
  must(50, 'IP options that are not understood are ignored'),
  must(51, 'a source route can be specified', SOURCE_ROUTE),
  must(52, 'it overrides that of the datagram', SOURCE_ROUTE),
  must(53, 'a return route is built', SOURCE_ROUTE),
  must(54, 'ICMP errors are acted on'),
  must(55, 'source quench is discarded'),
  must(56, 'soft ICMP errors abort nothing'),
  must(57, 'a segment to a group is discarded in silence'),
  must(58, 'ACKs are aggregated'),
  must(59, 'what is queued is processed before an ACK is sent'),
  must(60, 'without a PUSH, nothing is buffered for ever'),
  must(61, 'without a PUSH, the last segment has PSH'),
  must(
    62,
    'the urgent pointer points behind the urgent data',
    `${URGENT}; the pointer is not used in either direction`,
  ),
  must(63, 'a SYN from an invalid address is ignored'),
  must(64, 'options may begin anywhere'),
  must(65, 'the MSS option is on SYNs only'),
  must(66, 'RST and URG count at a zero window'),
  must(67, 'the MSS sent is what IP can take'),
  must(68, 'an option has a length'),
  must(69, 'the header is padded with zeros'),
  shld(1, 'the ISN has a pseudo-random function'),
  shld(2, 'a RST may have data'),
  shld(3, 'a close that loses data sends RST'),
  shld(4, 'timestamps shorten TIME-WAIT'),
  shld(5, 'the MSS option is sent'),
  shld(6, 'the MSS follows the MTU'),
  shld(7, "Nagle's algorithm"),
  shld(8, 'explicit congestion notification'),
  shld(
    9,
    'the application learns of R1',
    'R1 asks IP for another route; a host of one link has none, and node:net has no such event',
  ),
  shld(10, 'R1 is three retransmissions', 'see SHLD-9'),
  shld(11, 'R2 is 100 s or more'),
  shld(12, 'a keep-alive has no text'),
  shld(13, 'applications do not use the urgent mechanism'),
  shld(14, 'the window is not shrunk'),
  shld(15, 'no new text into a window that shrank'),
  shld(16, 'old text in the window is sent again'),
  shld(17, 'text beyond a window that shrank times nothing out'),
  shld(18, 'ACKs are delayed'),
  shld(19, 'every second full segment is acknowledged'),
  shld(
    20,
    'reports of soft errors can be switched off',
    'they are a field that nobody needs to read',
  ),
  shld(21, 'the Diffserv field may change later'),
  shld(22, 'it reaches IP unchanged'),
  shld(23, 'applications do not change it without need', 'that is for applications to keep'),
  shld(24, 'a later source route overrides', SOURCE_ROUTE),
  shld(25, 'soft ICMP errors are told'),
  shld(
    26,
    'hard ICMP errors abort the connection',
    'anybody can send one: they count while a connection is opened only (RFC 5927 §5.2, RFC 5461 §4)',
  ),
  shld(27, 'successive PSH bits are collapsed'),
  shld(28, 'segments are as long as may be'),
  shld(29, 'the first probe of a zero window leaves after an RTO'),
  shld(30, 'probes leave ever more rarely'),
  shld(31, 'text out of order is kept'),
]
