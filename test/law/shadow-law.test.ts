/**
 * The shadow law: whoever folds what is seen beside the owner holds the owner's Tcb, field by field, at every instant, through
 * handshake, streams both ways and every way to close; and of the owner's text at least what is unacknowledged.
 *
 * Loss, doubling and reordering happen on the client's side of the bridge only, so both see the same frames.
 */
import t from 'tap'
import { Shadow } from '../../cluster/shadow.js'
import { type Connection, TCB_FIELDS, TCP_STATE_NAMES, TcpState } from '../../stack/index.js'
import { differing, End, type Faults, Link, PORT } from './link.js'
import { Random } from './random.js'

const FAULTS: readonly Faults[] = [
  { loss: 0, duplicate: 0, jitterMs: 0 },
  { loss: 0.02, duplicate: 0.01, jitterMs: 1 },
  { loss: 0.1, duplicate: 0.05, jitterMs: 3 },
  { loss: 0.01, duplicate: 0, jitterMs: 1, mark: 0.2 },
]

/** Keep-alive that probes whenever nothing was heard for some milliseconds. */
const RESTLESS = { keepAlive: true, idleMs: 3, intervalMs: 3, count: 1_000_000 }

interface Outcome {
  checks: number
  states: Set<string>
  /** How often the owner was seen echoing congestion. */
  echoes: number
  wrong: string
  /** Octets of text of the largest segment. */
  largest: number
}

type Ending = 'client' | 'owner' | 'both' | 'clientReset' | 'ownerReset'
const ENDINGS: readonly Ending[] = ['client', 'owner', 'both', 'clientReset', 'ownerReset']

function textDiffers(owner: Connection, shadow: Shadow): boolean {
  const { sndUnaOffset, sndNxtOffset, sndFinSent } = owner.tcb
  const end = sndNxtOffset - sndFinSent
  const from = Math.max(sndUnaOffset, 0)
  if (end <= from) return false
  const { sent } = shadow.buffers
  if (!sent.has(from, end)) return true
  const bytes = new Uint8Array(end - from)
  owner.buffers.sent.copyTo(from, end - from, bytes, 0)
  return sent.compare(from, bytes, 0, bytes.length) !== bytes.length
}

function run(seed: number, offload: boolean, ipv6 = false): Outcome {
  const random = new Random(seed)
  const link = new Link(random, FAULTS[seed % FAULTS.length] as Faults, {
    receiveLimit: random.chance(0.5) ? 20_000 : 300_000,
    sendLimit: 60_000,
    offload,
    ipv6,
  })
  const { clientAddress, ownerAddress } = link
  const ending = ENDINGS[random.below(ENDINGS.length)] as Ending
  const listener = link.owner.listen(ownerAddress, PORT)
  const clientEnd = new End(link.connect(), random.bytes(random.below(60_000)))
  const shadow = new Shadow({
    localAddress: ownerAddress,
    localPort: PORT,
    remoteAddress: clientAddress,
    remotePort: clientEnd.connection.localPort,
  } as never)
  let largest = 0
  link.watch = (seg, direction, now) => {
    largest = Math.max(largest, seg.textLength)
    shadow.observe(seg, direction, now)
  }
  const outcome: Outcome = { checks: 0, states: new Set(), echoes: 0, wrong: '', largest: 0 }
  let ownerEnd: End | null = null
  let owner: Connection | undefined
  const check = (): boolean => {
    if (owner === undefined) {
      const { localPort } = clientEnd.connection
      owner = link.owner.tcp.demux.find(ownerAddress, PORT, clientAddress, localPort)
      // Probes of either side change nothing for either (RFC 9293 §3.8.4).
      if (seed % 3 === 0)
        for (const c of [owner, clientEnd.connection]) c?.watch(RESTLESS, link.now)
    }
    if (owner === undefined || !owner.tcb.synSent) return true
    // Only time ends TIME-WAIT, and the shadow's lasts longer (P18).
    if (owner.state === TcpState.CLOSED && shadow.tcb.state === TcpState.TIME_WAIT) return false
    const wrong = differing(owner.tcb, shadow.tcb)
    if (owner.state !== 0 && textDiffers(owner, shadow))
      wrong.push('the text that is unacknowledged')
    outcome.checks++
    outcome.echoes += owner.tcb.ecnEcho
    outcome.states.add(TCP_STATE_NAMES[owner.state] as string)
    if (wrong.length > 0)
      outcome.wrong = `seed ${seed}, ${ending}, at ${link.now}: ${wrong.join('; ')}`
    return wrong.length === 0
  }
  link.exchange()
  for (let i = 0; i < 20_000 && link.now < 1_050_000 && link.step(); i++) {
    if (!check()) break
    for (let l = link.owner.pollAccept(); l !== null; l = link.owner.pollAccept()) {
      const accepted = listener.accept()
      if (accepted !== null) ownerEnd = new End(accepted, random.bytes(random.below(60_000)))
    }
    if (i % 3 !== 0) continue
    act(ending, clientEnd, ownerEnd, random)
    link.exchange()
    if (!check()) break
  }
  return { ...outcome, largest }
}

function act(ending: Ending, clientEnd: End, ownerEnd: End | null, random: Random): void {
  if (clientEnd.connection.state < 4 || ownerEnd === null) return
  const done =
    clientEnd.written === clientEnd.out.length && ownerEnd.written === ownerEnd.out.length
  clientEnd.pump(random, done && (ending === 'client' || ending === 'both' || ownerEnd.ended))
  ownerEnd.pump(random, done && (ending === 'owner' || ending === 'both' || clientEnd.ended))
  if (done && ending === 'clientReset' && random.chance(0.2)) clientEnd.connection.abort()
  if (done && ending === 'ownerReset' && random.chance(0.2)) ownerEnd.connection.abort()
}

t.test('P5 P14 P15 P16 P17 P18: owner and shadow hold the same Tcb at every instant', (t) => {
  const states = new Set<string>()
  let checks = 0
  let echoes = 0
  const wrong: string[] = []
  for (let seed = 1; seed <= 160; seed++) {
    const outcome = run(seed, false)
    checks += outcome.checks
    echoes += outcome.echoes
    for (const state of outcome.states) states.add(state)
    if (outcome.wrong !== '') wrong.push(outcome.wrong)
  }
  t.strictSame(wrong.slice(0, 10), [], `${wrong.length} of 160 seeds`)
  t.ok(echoes > 500, `congestion was echoed in ${echoes} of them`)
  t.ok(checks > 20_000, `${checks} comparisons of ${TCB_FIELDS.length} fields`)
  for (const state of [
    'SYN_RECEIVED',
    'ESTABLISHED',
    'FIN_WAIT_1',
    'FIN_WAIT_2',
    'CLOSE_WAIT',
    'LAST_ACK',
    'TIME_WAIT',
    'CLOSED',
  ]) {
    t.ok(states.has(state), `the owner was seen in ${state}`)
  }
  t.comment(`${checks} checks, states ${[...states].sort().join(' ')}`)
  t.end()
})

t.test('T8 P5: the same holds when both ends exchange super-frames', (t) => {
  let largest = 0
  const wrong: string[] = []
  for (let seed = 1; seed <= 120; seed++) {
    const outcome = run(seed, true)
    largest = Math.max(largest, outcome.largest)
    if (outcome.wrong !== '') wrong.push(outcome.wrong)
  }
  t.strictSame(wrong.slice(0, 10), [], `${wrong.length} of 120 seeds`)
  t.ok(largest > 10_000, `the largest segment had ${largest} octets`)
  t.end()
})

t.test('T1 P5: the same holds over IPv6, with and without super-frames', (t) => {
  const states = new Set<string>()
  let echoes = 0
  const wrong: string[] = []
  for (let seed = 1; seed <= 100; seed++) {
    const outcome = run(seed, seed % 2 === 0, true)
    echoes += outcome.echoes
    for (const state of outcome.states) states.add(state)
    if (outcome.wrong !== '') wrong.push(outcome.wrong)
  }
  t.strictSame(wrong.slice(0, 10), [], `${wrong.length} of 100 seeds`)
  t.ok(echoes > 100, `congestion was echoed in ${echoes} of them`)
  t.ok(states.has('TIME_WAIT') && states.has('CLOSED'), [...states].join(' '))
  t.end()
})
