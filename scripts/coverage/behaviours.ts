/**
 * Behaviours that other stacks' tests look for. One is shown by the scripts whose names begin with its id
 * (`test/packet/scripts/a01-…`), and by the tests whose names are given here.
 */

/** One behaviour: its id, what must hold, the tests that show it besides scripts, and why it is not kept, if it is not. */
export interface Behaviour {
  readonly id: string
  readonly text: string
  readonly tests?: readonly string[]
  readonly waived?: string
}

export const BEHAVIOURS: readonly Behaviour[] = [
  { id: 'A1', text: 'SYN to LISTEN is answered by SYN-ACK' },
  { id: 'A2', text: 'ACK to LISTEN is answered by RST' },
  { id: 'A3', text: 'SYN-ACK to LISTEN is answered by RST' },
  { id: 'A4', text: 'RST to LISTEN is ignored' },
  { id: 'A5', text: 'CLOSED answers by RST' },
  { id: 'A6', text: 'RST is never answered by RST' },
  { id: 'A7', text: 'SYN-RECEIVED answers a wrong ACK by RST and stays' },
  { id: 'A8', text: 'RST in SYN-RECEIVED returns to LISTEN' },
  { id: 'A9', text: 'SYN-RECEIVED answers a wrong sequence number by ACK' },
  { id: 'A10', text: 'SYN-SENT answers a wrong ACK by RST' },
  { id: 'A11', text: 'RST in SYN-SENT counts with the right ACK only' },
  { id: 'A12', text: 'simultaneous open' },
  { id: 'A13', text: 'RST ends a simultaneous open' },
  { id: 'A14', text: 'a SYN is sent again, ever later, and given up' },
  { id: 'A15', text: 'ICMP unreachable ends an open' },
  { id: 'A16', text: 'ICMP unreachable changes nothing in ESTABLISHED' },
  { id: 'A17', text: 'what is written early leaves after the handshake' },
  { id: 'A18', text: 'a full backlog', tests: ['T6: while nobody accepts, neither SYN nor ACK is answered', 'T6: a full backlog keeps no further SYN'] }, // biome-ignore format: a table
  { id: 'A19', text: 'cookies on overflow only; a late one is answered by RST', tests: ['T6: what is no cookie of ours, or too old a one', 'T6: without an overflow no ACK opens anything'] }, // biome-ignore format: a table
  { id: 'A20', text: 'text before accept is kept; a closed listener resets' },
  { id: 'A21', text: 'a SYN to a group is ignored', tests: ['T6: a segment to a group, by Ethernet or IP address'] }, // biome-ignore format: a table
  {
    id: 'A22',
    text: 'a connection to itself',
    waived:
      'a stack has no loopback interface: what it sends goes to the link, and a datagram that comes from its own address is forged (RFC 1122 §3.2.1.3)',
  },
  { id: 'A23', text: 'ports in use are not given to an open', tests: ['T2: ports in use are not given to an open'] }, // biome-ignore format: a table
  { id: 'A24', text: 'initial sequence numbers by RFC 6528', tests: ['T6: initial sequence numbers differ by endpoint'] }, // biome-ignore format: a table
  { id: 'B1', text: 'MSS: kept, 536 by default, 0 ignored, tiny ones raised' },
  { id: 'B2', text: 'window scale', tests: ['T3: a shift above 14 is taken as 14'] },
  { id: 'B3', text: 'timestamps: agreed on, echoed, demanded', tests: ['T3: timestamps echo the last in-order TSval'] }, // biome-ignore format: a table
  { id: 'B4', text: 'PAWS' },
  { id: 'B5', text: 'SACK blocks', tests: ['T3: with timestamps there is room for three blocks'] },
  { id: 'B6', text: 'D-SACK' },
  { id: 'B7', text: 'odd options do no harm', tests: ['T3: options that are unknown, empty, too long, or cut off'] }, // biome-ignore format: a table
  { id: 'B8', text: 'SACK near the wrap of sequence space', tests: ['T6: blocks near the wrap of sequence space'] }, // biome-ignore format: a table
  { id: 'C1', text: 'text in order, again, in part old, beyond the window' },
  { id: 'C2', text: 'outside of the window: ACK and drop' },
  { id: 'C3', text: 'ACK of unsent text, ACK too old' },
  { id: 'C4', text: 'reassembly in any order', tests: ['T2: FIN out of order waits for the text before it'] }, // biome-ignore format: a table
  { id: 'C5', text: 'text out of order is bounded', tests: ['T6: a flood of holes is bounded'] },
  { id: 'C6', text: 'the window does not shrink', tests: ['T2: the window closes with the buffer and never shrinks'] }, // biome-ignore format: a table
  { id: 'C7', text: 'the window closes, and opens by a worthwhile step' },
  { id: 'C8', text: 'segments at a zero window' },
  { id: 'C9', text: 'delayed ACKs' },
  {
    id: 'C10',
    text: 'a wrong checksum',
    tests: ['T1: bad checksums, lengths and flags are dropped'],
  },
  { id: 'C11', text: 'buffers wrap around', tests: ['P17: a long stream through a small buffer across 2^32'] }, // biome-ignore format: a table
  { id: 'D1', text: 'the window of the peer, that of its SYN-ACK too' },
  { id: 'D2', text: 'the peer shrinks its window' },
  { id: 'D3', text: 'SND.WL1 and SND.WL2' },
  { id: 'D4', text: 'Nagle, MSG_MORE, TCP_CORK' },
  { id: 'D5', text: 'zero-window probes' },
  { id: 'D6', text: 'the retransmission timer', tests: ['T4: Karn: what was sent twice is not measured'] }, // biome-ignore format: a table
  { id: 'D7', text: 'the timer starts anew with each ACK of news' },
  { id: 'D8', text: 'fast retransmit' },
  { id: 'D9', text: 'NewReno, SACK recovery, undo' },
  { id: 'D10', text: 'RACK-TLP', tests: ['T4: RACK: one report is enough', 'T4: TLP: when the tail is lost'] }, // biome-ignore format: a table
  { id: 'D11', text: 'initial window, slow start, restart' },
  { id: 'D12', text: 'sending across the wrap of sequence space', tests: ['T2: the whole handshake and a stream across the wrap'] }, // biome-ignore format: a table
  { id: 'D13', text: 'Identification of a retransmission', tests: ['T2: each datagram has an Identification of its own'] }, // biome-ignore format: a table
  { id: 'D14', text: 'path MTU' },
  { id: 'D15', text: 'user timeout', tests: ['T2: a user timeout ends a connection', 'T2: text that waits for a window counts, too', 'T2: with a user timeout keep-alive gives up'] }, // biome-ignore format: a table
  { id: 'D16', text: 'keep-alive', tests: ['T2: a probe has SEG.SEQ = SND.NXT - 1'] },
  { id: 'D17', text: 'PSH on the last segment of a write', tests: ['T2: PSH marks the last segment of a write'] }, // biome-ignore format: a table
  { id: 'E1', text: 'active, passive and simultaneous close' },
  { id: 'E2', text: 'FIN behind text' },
  { id: 'E3', text: 'FIN is sent again' },
  { id: 'E4', text: 'half-close' },
  { id: 'E5', text: 'close with unread text resets' },
  { id: 'E6', text: 'text after close is answered by RST' },
  { id: 'E7', text: 'SO_LINGER' },
  { id: 'E8', text: 'an orphan in FIN-WAIT-2 ends' },
  { id: 'E9', text: 'TIME-WAIT', tests: ['S3: a reset does not cut TIME-WAIT short'] },
  { id: 'E10', text: 'RST: exact, in the window, outside' },
  { id: 'E11', text: 'SYN in a synchronized state' },
  { id: 'E12', text: 'challenge ACKs are rationed', tests: ['T6: challenge ACKs are rationed'] },
  { id: 'E13', text: 'outside of the window in CLOSING and LAST-ACK' },
  { id: 'E14', text: 'reading after a reset' },
  { id: 'E15', text: 'abort in each state' },
  { id: 'F1', text: 'fragments in any order and overlap', tests: ['T1 F1: two pieces in either order', 'T1 F1: a duplicate is ignored'] }, // biome-ignore format: a table
  { id: 'F2', text: 'limits of reassembly', tests: ['T6 F2: memory is bounded', 'T1 F2: after 30 s it is given up', 'T6 F2: lengths that cannot be'] }, // biome-ignore format: a table
  { id: 'F3', text: 'bad IP headers, padding', tests: ['drops each kind of bad header for its reason', 'padding of short Ethernet frames is cut off'] }, // biome-ignore format: a table
  { id: 'F4', text: 'IP options', tests: ['T1: IP options are passed over'] },
  { id: 'F5', text: 'TTL 0', tests: ['drops each kind of bad header for its reason'] },
  { id: 'F6', text: 'ICMP echo; no error about an error', tests: ['T1: an echo request is answered with its data', 'T6: errors are never answered by errors'] }, // biome-ignore format: a table
  { id: 'F7', text: 'ARP', tests: ['P13: ARP is answered for an assigned address', 'T1: a neighbour that is not known is asked for', 'T1: a neighbour that never answers is asked three times'] }, // biome-ignore format: a table
  { id: 'F8', text: 'frames for others, broadcasts', tests: ['T6: a segment to a group, by Ethernet or IP address'] }, // biome-ignore format: a table
  { id: 'F9', text: 'loss of any amount ends in success or an error', tests: ['T2 T4: streams both ways arrive whole with'] }, // biome-ignore format: a table
]
