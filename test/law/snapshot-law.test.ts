/**
 * The snapshot law (P27): a node that begins to listen in the middle of a connection, and is told of it by the owner at another instant,
 * and hears that at a third, holds the owner's Tcb from then on, and the owner's text that is unacknowledged or unread.
 */
import t from 'tap'
import {
  decodeSnapshotMessage,
  SnapshotEncoder,
  type SnapshotMessage,
} from '../../cluster/snapshot.js'
import { SnapshotSource } from '../../cluster/snapshot-source.js'
import { Snooper } from '../../cluster/snooper.js'
import { type Connection, DropCounters, TCP_STATE_NAMES, type Tcb } from '../../stack/index.js'
import { AUTHENTICATOR } from '../sim/place.js'
import { CLIENT, differing, End, type Faults, Link, OWNER, PORT } from './link.js'
import { Random } from './random.js'

const FAULTS: readonly Faults[] = [
  { loss: 0, duplicate: 0, jitterMs: 0 },
  { loss: 0.02, duplicate: 0.01, jitterMs: 1 },
  { loss: 0.1, duplicate: 0.05, jitterMs: 3 },
]
const BINDING = { id: 7, address: OWNER, prefix: 24, firstPort: 1, lastPort: 65_535 }
const EPOCH = 3
const CLIENT_MAC = 0x0200_0000_0001

class Joiner {
  readonly snooper = new Snooper(BINDING, new DropCounters())
  readonly #link: Link
  readonly #source: SnapshotSource
  #listens = false
  #messages: SnapshotMessage[] = []

  constructor(link: Link) {
    this.#link = link
    this.#source = new SnapshotSource(link.owner, BINDING, AUTHENTICATOR)
    link.watch = (seg, direction, now) => {
      const port = direction === 'inbound' ? seg.srcPort : seg.dstPort
      if (!this.#listens) return
      this.snooper.observe(seg, direction, PORT, CLIENT, port, CLIENT_MAC, now)
    }
  }

  listen(): void {
    this.#listens = true
    this.snooper.joining.asked(this.#link.now)
  }

  /** The owner answers; what it says is on its way. */
  ask(): void {
    const { round } = this.snooper.joining
    const answer = this.#source.answer(2, { fromStart: true, round, epoch: EPOCH }, this.#link.now)
    this.#messages = answer.flatMap((bytes) => {
      const message = decodeSnapshotMessage(bytes.slice(), AUTHENTICATOR)
      return message === null ? [] : [message]
    })
  }

  hear(): void {
    for (const message of this.#messages) this.snooper.joining.handle(message, this.#link.now)
  }
}

interface Outcome {
  compared: number
  readonly states: Set<string>
  wrong: string
}

function unreadDiffers(owner: Connection, joiner: Joiner, remotePort: number): boolean {
  const shadow = joiner.snooper.table.find(PORT, CLIENT, remotePort)
  const { received } = owner.buffers
  const length = received.contiguousEnd - received.start
  if (shadow === undefined || length === 0) return false
  const bytes = new Uint8Array(length)
  received.copyTo(received.start, length, bytes, 0)
  return (
    !shadow.buffers.received.has(received.start, received.contiguousEnd) ||
    shadow.buffers.received.compare(received.start, bytes, 0, length) !== length
  )
}

// Instants of the owner's clock are known but for the time that its word took. A segment that the owner took before its word, and
// the joiner behind it, may count for TS.Recent only there: by then Last.ACK.sent has passed it (RFC 7323 §4.3).
function differences(owner: Tcb, shadow: Tcb, wordMs: number): string[] {
  const mostMs = Math.max(wordMs, 1000)
  const close = Math.abs(owner.tsRecentAt - shadow.tsRecentAt) <= mostMs
  const late = owner.tsOffset - shadow.tsOffset
  const newer = (shadow.tsRecent - owner.tsRecent) | 0
  return differing(owner, shadow).filter(
    (text) =>
      !(close && text.startsWith('tsRecentAt')) &&
      !(newer > 0 && newer < 1000 && text.startsWith('tsRecent:')) &&
      !(late >= 0 && late < mostMs && text.startsWith('tsOffset')),
  )
}

function run(seed: number): Outcome {
  const random = new Random(seed)
  const link = new Link(random, FAULTS[seed % FAULTS.length] as Faults, {
    receiveLimit: random.chance(0.5) ? 20_000 : 200_000,
    sendLimit: 60_000,
    offload: seed % 5 === 0,
  })
  const listener = link.owner.listen(OWNER, PORT)
  const client = new End(link.connect(), random.bytes(60_000 + random.below(140_000)))
  const joiner = new Joiner(link)
  const outcome: Outcome = { compared: 0, states: new Set(), wrong: '' }
  const { localPort } = client.connection
  let end: End | null = null
  // Three instants, in steps of the simulation.
  const listenAt = 10 + random.below(300)
  const askAt = listenAt + random.below(40)
  const hearAt = askAt + random.below(40)
  let wordMs = 0
  link.exchange()
  for (let i = 0; i < 20_000 && link.now < 1_050_000 && link.step(); i++) {
    if (i === listenAt) joiner.listen()
    if (i === askAt) {
      joiner.ask()
      wordMs = -link.now
    }
    if (i === hearAt) {
      joiner.hear()
      wordMs += link.now
    }
    for (let l = link.owner.pollAccept(); l !== null; l = link.owner.pollAccept()) {
      const accepted = listener.accept()
      if (accepted !== null) end = new End(accepted, random.bytes(random.below(60_000)))
    }
    const owner = link.owner.tcp.demux.find(OWNER, PORT, CLIENT, localPort)
    if (i > hearAt && owner !== undefined && owner.state !== 0) {
      const shadow = joiner.snooper.table.find(PORT, CLIENT, localPort)
      const wrong =
        shadow === undefined ? ['no shadow'] : differences(owner.tcb, shadow.tcb, wordMs)
      if (unreadDiffers(owner, joiner, localPort)) wrong.push('unread text')
      outcome.compared++
      outcome.states.add(TCP_STATE_NAMES[owner.state] as string)
      if (wrong.length > 0) {
        outcome.wrong = `seed ${seed}, heard at ${hearAt}, at ${i}: ${wrong.join('; ')}`
        return outcome
      }
    }
    if (i % 3 !== 0 || end === null || client.connection.state < 4) continue
    const done = client.written === client.out.length && end.written === end.out.length
    client.pump(random, done)
    end.pump(random, done && (random.chance(0.5) || client.ended))
    link.exchange()
  }
  return outcome
}

t.test('P27: who is told of a connection in its middle holds the same Tcb from then on', (t) => {
  const states = new Set<string>()
  let compared = 0
  const wrong: string[] = []
  for (let seed = 1; seed <= 300; seed++) {
    const outcome = run(seed)
    compared += outcome.compared
    for (const state of outcome.states) states.add(state)
    if (outcome.wrong !== '') wrong.push(outcome.wrong)
  }
  t.strictSame(wrong.slice(0, 10), [], `${wrong.length} of 300 seeds`)
  t.ok(compared > 8000, `${compared} comparisons`)
  for (const state of ['ESTABLISHED', 'FIN_WAIT_2', 'CLOSE_WAIT', 'TIME_WAIT']) {
    t.ok(states.has(state), `the owner was seen in ${state}`)
  }
  t.end()
})

t.test('P27: what is damaged, forged or cut short is no message', async (t) => {
  const encoder = new SnapshotEncoder(AUTHENTICATOR, 7, EPOCH, 63)
  const good = encoder.text('sent', 1000, 300, (into, at) => into.fill(9, at, at + 300))
  t.match(decodeSnapshotMessage(good, AUTHENTICATOR), {
    kind: 'text', side: 'sent', offset: 1000, binding: 7, epoch: EPOCH, round: 63,
  }) // biome-ignore format: a list of fields is read as a list
  for (let cut = 0; cut < good.length; cut++) {
    if (decodeSnapshotMessage(good.subarray(0, cut), AUTHENTICATOR) !== null) t.fail(`${cut}`)
  }
  for (let at = 0; at < good.length; at++) {
    const bad = good.slice()
    bad[at] = (bad[at] ?? 0) ^ 0x40
    if (decodeSnapshotMessage(bad, AUTHENTICATOR) !== null) t.fail(`octet ${at}`)
  }
  t.match(decodeSnapshotMessage(encoder.request(true), AUTHENTICATOR), { fromStart: true })
  t.match(decodeSnapshotMessage(encoder.page(false, true), AUTHENTICATOR), {
    more: false, lacks: true,
  }) // biome-ignore format: a list of fields is read as a list
})
