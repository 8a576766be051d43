/**
 * All 121 cells of the state table against the arrows of RFC 9293 §3.3.2, figure 5, written down a second time as a list of
 * arrows. A cell without an arrow leaves the state as it is.
 */
import t from 'tap'
import {
  isSynchronized,
  nextState,
  TCP_STATE_NAMES,
  TcpEvent,
  TcpState,
} from '../../stack/tcp/state.js'

type StateName = keyof typeof TcpState
type EventName = keyof typeof TcpEvent

const ARROWS: readonly (readonly [StateName, EventName, StateName])[] = [
  ['CLOSED', 'OPEN_PASSIVE', 'LISTEN'],
  ['CLOSED', 'SYN_SENT', 'SYN_SENT'],
  ['LISTEN', 'SYN_RCVD', 'SYN_RECEIVED'],
  ['LISTEN', 'SYN_SENT', 'SYN_SENT'],
  ['SYN_SENT', 'SYN_RCVD', 'SYN_RECEIVED'],
  ['SYN_RECEIVED', 'SYN_ACKED', 'ESTABLISHED'],
  ['SYN_RECEIVED', 'FIN_SENT', 'FIN_WAIT_1'],
  ['SYN_RECEIVED', 'FIN_RCVD', 'CLOSE_WAIT'],
  ['ESTABLISHED', 'FIN_SENT', 'FIN_WAIT_1'],
  ['ESTABLISHED', 'FIN_RCVD', 'CLOSE_WAIT'],
  ['FIN_WAIT_1', 'FIN_ACKED', 'FIN_WAIT_2'],
  ['FIN_WAIT_1', 'FIN_RCVD', 'CLOSING'],
  ['FIN_WAIT_2', 'FIN_RCVD', 'TIME_WAIT'],
  ['CLOSE_WAIT', 'FIN_SENT', 'LAST_ACK'],
  ['CLOSING', 'FIN_ACKED', 'TIME_WAIT'],
  ['LAST_ACK', 'FIN_ACKED', 'CLOSED'],
  ['TIME_WAIT', 'TIMEOUT_2MSL', 'CLOSED'],
]

// A reset, ours or the peer's, and deletion end every state; LISTEN alone hears no reset (§3.10.7.2).
const ENDS: readonly EventName[] = ['RST_RCVD', 'RST_SENT', 'DELETE']

function wanted(state: StateName, event: EventName): StateName {
  const arrow = ARROWS.find(([from, by]) => from === state && by === event)
  if (arrow !== undefined) return arrow[2]
  if (ENDS.includes(event) && !(state === 'LISTEN' && event === 'RST_RCVD')) return 'CLOSED'
  return state
}

t.test('T2: each of the 121 cells is what figure 5 says', (t) => {
  const states = Object.keys(TcpState) as StateName[]
  const events = Object.keys(TcpEvent) as EventName[]
  t.equal(states.length * events.length, 121)
  for (const state of states) {
    for (const event of events) {
      const found = TCP_STATE_NAMES[nextState(TcpState[state], TcpEvent[event])]
      t.equal(found, wanted(state, event), `${state} by ${event}`)
    }
  }
  t.end()
})

t.test('T2: every state can be reached from CLOSED, and leads back to it', (t) => {
  const reach = (from: Set<StateName>): Set<StateName> => {
    for (const [a, , b] of ARROWS) if (from.has(a)) from.add(b)
    return from
  }
  let reached = new Set<StateName>(['CLOSED'])
  for (let i = 0; i < 11; i++) reached = reach(reached)
  t.equal(reached.size, 11)
  t.end()
})

t.test('T2: the synchronized states are ESTABLISHED and those behind it', (t) => {
  const synchronized = (Object.keys(TcpState) as StateName[]).filter((s) =>
    isSynchronized(TcpState[s]),
  )
  t.strictSame(synchronized, [
    'ESTABLISHED', 'FIN_WAIT_1', 'FIN_WAIT_2', 'CLOSE_WAIT', 'CLOSING', 'LAST_ACK', 'TIME_WAIT',
  ]) // biome-ignore format: a list is read as a list
  t.end()
})
