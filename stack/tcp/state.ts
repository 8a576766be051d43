/**
 * The TCP state machine (RFC 9293 §3.3.2, figure 5) as a table: eleven states by eleven events. The events are symmetric in
 * the two directions, so that a party who only overhears both directions walks the same table as the endpoint.
 *
 *                              +---------+ ---------\      active OPEN
 *                              |  CLOSED |            \    -----------
 *                              +---------+<---------\   \   create TCB
 *                                |     ^              \   \  snd SYN
 *                   passive OPEN |     |   CLOSE        \   \
 *                                V     |                  \   \
 *            rcv RST (note 1)  +---------+            CLOSE |    \
 *         -------------------->|  LISTEN |          ---------- |     |
 *        /                     +---------+          delete TCB |     |
 *       /           rcv SYN      |     |     SEND              |     |
 *      /           -----------   |     |    -------            |     V
 *  +--------+      snd SYN,ACK  /       \   snd SYN          +--------+
 *  |        |<-----------------           ------------------>|        |
 *  |  SYN   |                    rcv SYN                     |  SYN   |
 *  |  RCVD  |<-----------------------------------------------|  SENT  |
 *  |        |                  snd SYN,ACK                   |        |
 *  |        |------------------           -------------------|        |
 *  +--------+   rcv ACK of SYN  \       /  rcv SYN,ACK       +--------+
 *     |         --------------   |     |   -----------
 *     |                x         |     |     snd ACK
 *     |                          V     V
 *     |  CLOSE                 +---------+
 *     | -------                |  ESTAB  |
 *     | snd FIN                +---------+
 *     |                 CLOSE    |     |    rcv FIN
 *     V                -------   |     |    -------
 *  +---------+         snd FIN  /       \   snd ACK         +---------+
 *  |  FIN    |<----------------          ------------------>|  CLOSE  |
 *  | WAIT-1  |------------------                            |   WAIT  |
 *  +---------+          rcv FIN  \                          +---------+
 *    | rcv ACK of FIN   -------   |                          CLOSE  |
 *    | --------------   snd ACK   |                         ------- |
 *    V        x                   V                         snd FIN V
 *  +---------+               +---------+                    +---------+
 *  |FINWAIT-2|               | CLOSING |                    | LAST-ACK|
 *  +---------+               +---------+                    +---------+
 *    |              rcv ACK of FIN |                 rcv ACK of FIN |
 *    |  rcv FIN     -------------- |    Timeout=2MSL -------------- |
 *    |  -------            x       V    ------------        x       V
 *     \ snd ACK              +---------+delete TCB          +---------+
 *       -------------------->|TIME-WAIT|------------------->| CLOSED  |
 *                            +---------+                    +---------+
 *
 * A listener of ours stays in LISTEN and makes a TCB per SYN, so a TCB that is reset in SYN-RECEIVED ends in CLOSED where the
 * figure (note 1) goes back to LISTEN.
 */

/** The eleven states of RFC 9293 §3.3.2. */
export const TcpState = {
  CLOSED: 0,
  LISTEN: 1,
  SYN_SENT: 2,
  SYN_RECEIVED: 3,
  ESTABLISHED: 4,
  FIN_WAIT_1: 5,
  FIN_WAIT_2: 6,
  CLOSE_WAIT: 7,
  CLOSING: 8,
  LAST_ACK: 9,
  TIME_WAIT: 10,
} as const
export type TcpState = (typeof TcpState)[keyof typeof TcpState]

export const TCP_STATE_NAMES = Object.keys(TcpState) as readonly (keyof typeof TcpState)[]

/** What moves the state machine. `SYN_ACKED` and `FIN_ACKED`: the peer has acknowledged our SYN or FIN. */
export const TcpEvent = {
  OPEN_PASSIVE: 0,
  SYN_SENT: 1,
  SYN_RCVD: 2,
  SYN_ACKED: 3,
  FIN_SENT: 4,
  FIN_RCVD: 5,
  FIN_ACKED: 6,
  RST_RCVD: 7,
  RST_SENT: 8,
  TIMEOUT_2MSL: 9,
  DELETE: 10,
} as const
export type TcpEvent = (typeof TcpEvent)[keyof typeof TcpEvent]

const EVENTS = 11
const S = TcpState

// Rows are states, columns events in the order of TcpEvent.
// biome-ignore format: a table is read as a table
const NEXT = new Uint8Array([
  /* CLOSED       */ S.LISTEN, S.SYN_SENT, S.CLOSED, S.CLOSED, S.CLOSED, S.CLOSED, S.CLOSED, S.CLOSED, S.CLOSED, S.CLOSED, S.CLOSED,
  /* LISTEN       */ S.LISTEN, S.SYN_SENT, S.SYN_RECEIVED, S.LISTEN, S.LISTEN, S.LISTEN, S.LISTEN, S.LISTEN, S.CLOSED, S.LISTEN, S.CLOSED,
  /* SYN_SENT     */ S.SYN_SENT, S.SYN_SENT, S.SYN_RECEIVED, S.SYN_SENT, S.SYN_SENT, S.SYN_SENT, S.SYN_SENT, S.CLOSED, S.CLOSED, S.SYN_SENT, S.CLOSED,
  /* SYN_RECEIVED */ S.SYN_RECEIVED, S.SYN_RECEIVED, S.SYN_RECEIVED, S.ESTABLISHED, S.FIN_WAIT_1, S.CLOSE_WAIT, S.SYN_RECEIVED, S.CLOSED, S.CLOSED, S.SYN_RECEIVED, S.CLOSED,
  /* ESTABLISHED  */ S.ESTABLISHED, S.ESTABLISHED, S.ESTABLISHED, S.ESTABLISHED, S.FIN_WAIT_1, S.CLOSE_WAIT, S.ESTABLISHED, S.CLOSED, S.CLOSED, S.ESTABLISHED, S.CLOSED,
  /* FIN_WAIT_1   */ S.FIN_WAIT_1, S.FIN_WAIT_1, S.FIN_WAIT_1, S.FIN_WAIT_1, S.FIN_WAIT_1, S.CLOSING, S.FIN_WAIT_2, S.CLOSED, S.CLOSED, S.FIN_WAIT_1, S.CLOSED,
  /* FIN_WAIT_2   */ S.FIN_WAIT_2, S.FIN_WAIT_2, S.FIN_WAIT_2, S.FIN_WAIT_2, S.FIN_WAIT_2, S.TIME_WAIT, S.FIN_WAIT_2, S.CLOSED, S.CLOSED, S.FIN_WAIT_2, S.CLOSED,
  /* CLOSE_WAIT   */ S.CLOSE_WAIT, S.CLOSE_WAIT, S.CLOSE_WAIT, S.CLOSE_WAIT, S.LAST_ACK, S.CLOSE_WAIT, S.CLOSE_WAIT, S.CLOSED, S.CLOSED, S.CLOSE_WAIT, S.CLOSED,
  /* CLOSING      */ S.CLOSING, S.CLOSING, S.CLOSING, S.CLOSING, S.CLOSING, S.CLOSING, S.TIME_WAIT, S.CLOSED, S.CLOSED, S.CLOSING, S.CLOSED,
  /* LAST_ACK     */ S.LAST_ACK, S.LAST_ACK, S.LAST_ACK, S.LAST_ACK, S.LAST_ACK, S.LAST_ACK, S.CLOSED, S.CLOSED, S.CLOSED, S.LAST_ACK, S.CLOSED,
  /* TIME_WAIT    */ S.TIME_WAIT, S.TIME_WAIT, S.TIME_WAIT, S.TIME_WAIT, S.TIME_WAIT, S.TIME_WAIT, S.TIME_WAIT, S.CLOSED, S.CLOSED, S.CLOSED, S.CLOSED,
])

/** The state behind `event` in `state`; events without an arrow in the figure leave the state as it is. */
export function nextState(state: TcpState, event: TcpEvent): TcpState {
  return NEXT[state * EVENTS + event] as TcpState
}

/** RFC 9293 §3.10.7: the synchronized states, ESTABLISHED and later. */
export function isSynchronized(state: TcpState): boolean {
  return state >= TcpState.ESTABLISHED
}
