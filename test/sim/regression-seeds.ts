/**
 * Seeds that broke a law once, and what they showed. They are run with every test for ever; a change of the scenarios gives
 * them another meaning, and does no harm.
 */
export const REGRESSION_SEEDS: readonly (readonly [seed: number, shown: string])[] = [
  [4, 'the end of the control channel was acted upon only when some other deadline came'],
  [32, 'what was given up at a claim without a last owner was reported nowhere'],
  [37, 'a shadow that had heard a SYN but not its answer was passed over in silence'],
  [59, 'a node that started again claimed a term that had been used while it was down'],
  [82, 'a proof of what the last owner sent was refused when SND.UNA was old too'],
  [64, 'acknowledged output kept for comparison left no room to write'],
  [255, 'a node that started again claimed what a stalled owner still held'],
  [272, 'input that nobody here had heard was waited for without end'],
  [342, 'a FIN was sent again behind text that nobody here had heard, and the text was asked for'],
  [437, 'a SYN-ACK was repeated to a peer that was long established'],
  [1280, 'a connection of which only the SYN-ACK was heard went on as an active open'],
  [
    1398,
    'a claimant that yielded had drawn the client to its Ethernet address, and nobody drew it back',
  ],
  [1706, 'a stale owner refused what was meant for the true one'],
  [2061, 'a sender went beyond the right edge behind a retransmission that opened nothing'],
  [388, 'a node that passed over another acted at the same time as that one'],
  [
    918,
    'a shadow led where the owner had dropped a segment for its timestamp (a fault of the checker)',
  ],
  [2658, 'two nodes claimed at once, as they did not agree on who was in line'],
  [2754, 'two short stops in a row outlasted the lease (a fault of the simulation itself)'],
  [3780, 'a peer waited for ever for an answer to the FIN that only a dead owner had heard'],
  [3934, 'a node that started again did not wait for the lease of a stalled owner'],
  [
    6086,
    'a node that woke took the end of the channel with an earlier life of the owner for that of this one',
  ],
  [1277, 'an owner that was cut off and outclaimed lost what it knew of without a count'],
  [
    31277,
    'a node that had been taken for dead did not know it, and claimed at once with the one that took it for dead',
  ],
  [
    300166,
    'an owner that was cut off did not end what had gone on elsewhere, and its client waited for ever',
  ],
]

/** The same with peers that miss frames. */
export const LOSSY_REGRESSION_SEEDS: readonly (readonly [seed: number, what: string])[] = [
  [7071, 'a client whose neighbour entry named the dead owner was never drawn to the next one'],
  [13184, 'who had not heard the end of a handshake repeated nothing of what followed'],
  [
    7013,
    'an answer that waited for an Ethernet address in vain was asked for in the shadow (a fault of the checker)',
  ],
]

/** The same with peers that miss many. */
export const HARSH_REGRESSION_SEEDS: readonly (readonly [seed: number, what: string])[] = [
  [
    8389,
    'a shadow led where its owner was promoted late, with what it had missed (a fault of the checker)',
  ],
  [
    100022,
    'of a connection of which only the handshake was heard, the reset was accounted for nowhere',
  ],
]

/** The same in strict mode. */
export const STRICT_REGRESSION_SEEDS: readonly (readonly [seed: number, what: string])[] = [
  [
    10238,
    'two owners in one term, across a cut: the lesser one reset a client (a fault of the checker)',
  ],
  [
    1140152,
    'a probe came to its owner as that opened the window, and to the shadow before it had heard of that, which left the octet out',
  ],
]

/** The same with owners that come back. */
export const RETURN_REGRESSION_SEEDS: readonly (readonly [seed: number, what: string])[] = [
  [5328, 'clients that only listened were forgotten by both sides of a cut'],
  [7393, 'what had waited for an Ethernet address left in a later term, when it was stale'],
  [
    8583,
    'TIME-WAIT that began anew with its owner was asked for in the shadows (a fault of the checker)',
  ],
  [13181, 'who returned a binding into a cut carried on what the other side had taken over'],
  [15888, 'as --lossy 7013'],
  [
    310125,
    'an owner that started again before its lease was over passed for alive, and claimed knowing nothing of what it had served',
  ],
  [321417, 'a node that knew the owner by hearsay took its life for another'],
  [
    310172,
    'a node whose port was opened again listened by the clock of the world, which is not its own (a fault of the simulation itself)',
  ],
]

/** The same where nodes are cut off, and more than half must be heard. */
export const QUORUM_REGRESSION_SEEDS: readonly (readonly [seed: number, what: string])[] = [
  [
    311263,
    'a node that started again behind a cut was heard by nobody, knew nobody, and was taken for the owner that it had been',
  ],
  [106486, 'the same, of five'],
  [106538, 'the same'],
  [108196, 'the same, of three'],
  [
    1170361,
    'of two that asked for the same term each used up what the other asked for, for ever: nobody owned',
  ],
]

/** The same of {@link simulate} with proxies. */
export const PROXY_REGRESSION_SEEDS: readonly (readonly [seed: number, what: string])[] = [
  [438, 'an owner that was cut off and outclaimed went on from what it had known before'],
  [513, 'the same, with the next owner gone before it had said a word'],
  [750, 'what it had known of went uncounted'],
  [12685, 'two nodes claimed in one term, and each then stood by for the other'],
  [11747, 'a fenced owner that had not heard the next claim went on from what it had known'],
  [16966, 'a node that listened behind a shut port took silence for a vacancy'],
  [
    2329,
    'a node that had been cut off from the link for less than three renewals was taken for whole',
  ],
  [14448, 'the same, with an owner that died right behind the cut'],
  [19385, 'the same, with a node that was still cut off when it claimed'],
  [115422, 'as --return 310125'],
  [
    111979,
    'a pair came apart in a standby that had heard the answer of the server, when its owner, which had not, told of the connection',
  ],
  [
    513159,
    'clients that were ahead of a new owner by more than a window in both directions passed for strangers, and stood for ever',
  ],
  [400275, 'the same, with an owner that had been cut off for a tenth of a second'],
  [
    719732,
    'the same, in one whose server had said all, so that it was reset: by a number that the client took no notice of',
  ],
]
