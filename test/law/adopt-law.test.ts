/**
 * The record law's other half: a connection that is released by one stack and adopted by another goes on, and the streams are
 * byte-exact both ways, at whatever instant, in whatever state, with whatever options. The application stands at both places
 * (warm), or begins again from an earlier output offset (P22).
 */
import t from 'tap'
import { type Connection, type Endpoints, type TcbParts, TcpState } from '../../stack/index.js'
import { CLIENT, End, type Faults, Link, OWNER, PORT } from './link.js'
import { Random } from './random.js'

const FAULTS: readonly Faults[] = [
  { loss: 0, duplicate: 0, jitterMs: 0 },
  { loss: 0.03, duplicate: 0.02, jitterMs: 2 },
]

interface Run {
  link: Link
  client: End
  owner: End | null
  random: Random
  handOvers: number
  states: Set<number>
}

function begin(seed: number, up: number, down: number): Run {
  const random = new Random(seed)
  const link = new Link(random, FAULTS[seed % 2] as Faults, {
    receiveLimit: random.chance(0.3) ? 8000 : 200_000,
    sendLimit: 50_000,
  })
  link.owner.listen(OWNER, PORT)
  const client = new End(link.connect(), random.bytes(up))
  const run: Run = { link, client, owner: null, random, handOvers: 0, states: new Set() }
  downloads.set(run, random.bytes(down))
  link.exchange()
  return run
}

const downloads = new WeakMap<Run, Uint8Array>()

function endpointsOf(client: End): Endpoints {
  const remotePort = client.connection.localPort
  return { localAddress: OWNER, localPort: PORT, remoteAddress: CLIENT, remotePort }
}

/** Moves the connection to a fresh stack. `back` octets of output are regenerated. */
function handOver(run: Run, back: number): void {
  const { link, client } = run
  const old = link.owner.tcp.demux.find(OWNER, PORT, CLIENT, client.connection.localPort)
  if (old === undefined || !old.tcb.synSent || old.closed) return
  run.states.add(old.state)
  const input = old.inputOffset
  const written = run.owner?.written ?? 0
  const output = Math.max(0, Math.min(written, old.tcb.sndNxtOffset - old.tcb.sndFinSent) - back)
  const parts = forget(link.owner.release(old))
  const nic = link.replaceOwner()
  link.owner.listen(OWNER, PORT)
  const connection = link.owner.adopt(parts, nic, endpointsOf(client), link.now, input, output, {})
  run.handOvers++
  if (run.owner !== null) {
    run.owner.connection = connection
    run.owner.written = output
    run.owner.ended = false
  }
}

// What was written and never sent is known to nobody but the application.
function forget(parts: TcbParts): TcbParts {
  const { tcb, buffers } = parts
  const end = tcb.sndNxtOffset - tcb.sndFinSent
  const kept = buffers.sent
  if (kept.end <= Math.max(end, 0)) return parts
  const from = kept.start
  const bytes = new Uint8Array(Math.max(end - from, 0))
  kept.copyTo(from, bytes.length, bytes, 0)
  kept.restart(from)
  kept.put(from, bytes, 0, bytes.length)
  return parts
}

function accept(run: Run): void {
  const { link } = run
  for (let l = link.owner.pollAccept(); l !== null; l = link.owner.pollAccept()) {
    const accepted = l.accept()
    if (accepted === null) continue
    if (run.owner === null) run.owner = new End(accepted, downloads.get(run) as Uint8Array)
  }
}

function finished(run: Run): boolean {
  const { client, owner } = run
  return (
    owner !== null &&
    owner.got.length === client.out.length &&
    client.got.length === owner.out.length &&
    client.connection.tcb.finReceived &&
    owner.connection.tcb.finReceived
  )
}

// What was received can be read when all else is over, too.
function isOpen(connection: Connection): boolean {
  return connection.state >= TcpState.ESTABLISHED || connection.readable > 0
}

/** Runs to the end, with a hand-over before some of the steps. Returns what is wrong. */
function finish(run: Run, handsOver: (step: number) => boolean): string {
  // Nothing is under way and no timer runs: only the applications can go on, if they have left something.
  let idle = 0
  for (let step = 0; step < 60_000 && idle < 100 && !finished(run); step++) {
    if (handsOver(step)) {
      handOver(run, run.random.chance(0.5) ? 0 : run.random.below(30_000))
      run.link.exchange()
    }
    idle = run.link.step() ? 0 : idle + 1
    accept(run)
    if (isOpen(run.client.connection)) run.client.pump(run.random, true)
    if (run.owner !== null && isOpen(run.owner.connection)) run.owner.pump(run.random, true)
    run.link.exchange()
  }
  const { client, owner } = run
  if (owner === null) return 'the connection was never accepted'
  if (!Buffer.from(owner.got).equals(client.out))
    return `upload: ${owner.got.length} of ${client.out.length}`
  if (!Buffer.from(client.got).equals(owner.out))
    return `download: ${client.got.length} of ${owner.out.length}`
  if (client.connection.error !== '') return `the client saw ${client.connection.error}`
  return finished(run) ? '' : 'no end of stream'
}

t.test(
  'P1 S1 P22: streams are byte-exact both ways across a hand-over at a random instant, and across several',
  (t) => {
    const wrong: string[] = []
    const states = new Set<number>()
    let handOvers = 0
    for (let seed = 1; seed <= 200; seed++) {
      const run = begin(seed, 30_000 + (seed % 7) * 4000, 40_000 + (seed % 5) * 5000)
      const first = run.random.below(250)
      const every = seed % 3 === 0 ? 40 : 1_000_000
      const found = finish(
        run,
        (step) => step === first || (step > first && (step - first) % every === 0),
      )
      if (found !== '') wrong.push(`seed ${seed}, ${run.handOvers} hand-overs: ${found}`)
      for (const state of run.states) states.add(state)
      handOvers += run.handOvers
    }
    t.strictSame(wrong.slice(0, 10), [], `${wrong.length} of 200 seeds`)
    t.ok(handOvers > 200, `${handOvers} hand-overs`)
    for (const state of ['SYN_RECEIVED', 'ESTABLISHED', 'FIN_WAIT_1', 'CLOSE_WAIT'] as const) {
      t.ok(states.has(TcpState[state]), `one of them in ${state}`)
    }
    t.end()
  },
)

t.test('P1: at every single step of a short exchange', (t) => {
  const wrong: string[] = []
  let handOvers = 0
  for (let at = 0; at < 80; at++) {
    const run = begin(2 * (at % 20), 3000, 5000)
    const found = finish(run, (step) => step === at)
    if (found !== '') wrong.push(`step ${at}: ${found}`)
    handOvers += run.handOvers
  }
  t.strictSame(wrong.slice(0, 10), [], `${wrong.length} of 80`)
  t.ok(handOvers > 10, `${handOvers} hand-overs`)
  t.end()
})

/** A connection after some exchange, and the text its application writes. */
function midStream(seed: number): Run & { owner: End } {
  const run = begin(2 * seed, 1000, 60_000)
  while (run.owner === null || run.client.got.length < 20_000) {
    run.link.step()
    accept(run)
    if (run.client.connection.state >= TcpState.ESTABLISHED) run.client.pump(run.random, false)
    run.owner?.pump(run.random, false)
    run.link.exchange()
  }
  return run as Run & { owner: End }
}

t.test('P22: output that is begun again from 0 is compared or skipped, not sent twice', (t) => {
  for (let seed = 1; seed <= 10; seed++) {
    const run = midStream(seed)
    handOver(run, 1_000_000)
    t.equal(run.owner.written, 0)
    t.equal(
      finish(run, () => false),
      '',
      `seed ${seed}`,
    )
    const { output } = run.owner.connection
    t.ok(
      output.verified + output.unverified >= 20_000,
      `${output.verified} compared, ${output.unverified} gone`,
    )
    t.equal(output.divergedAt, -1)
  }
  t.end()
})

t.test(
  'P22: output that differs from what the client was sent is an error the application sees, and a reset',
  (t) => {
    for (let seed = 1; seed <= 10; seed++) {
      const run = midStream(seed)
      const old = run.owner.connection
      // Whatever the client has not acknowledged can be compared; the first such octet is made another.
      run.link.exchange()
      const { sndUnaOffset, sndNxtOffset } = old.tcb
      if (sndNxtOffset - sndUnaOffset < 2) continue
      handOver(run, 1_000_000)
      const connection: Connection = run.owner.connection
      const bytes = Uint8Array.from(run.owner.out)
      bytes[sndUnaOffset + 1] = (bytes[sndUnaOffset + 1] as number) ^ 1
      connection.write(bytes, 0, bytes.length)
      t.equal(connection.output.divergedAt, sndUnaOffset + 1, `seed ${seed}`)
      t.equal(connection.error, 'ERR_OUTPUT_DIVERGED')
      for (let i = 0; i < 200 && !run.client.connection.closed; i++) run.link.step()
      run.link.exchange()
      t.equal(run.client.connection.error, 'ECONNRESET', 'the client learns it at once')
    }
    t.end()
  },
)

t.test('P22: a hole in what was overheard is filled by the regenerated output', (t) => {
  for (let seed = 1; seed <= 10; seed++) {
    const run = midStream(seed)
    const old = run.owner.connection
    run.owner.pump(run.random, false)
    // The owner sends and dies; the frames are lost on the way, and its text with it.
    for (
      let f = run.link.owner.pollTransmit(run.link.now);
      f !== null;
      f = run.link.owner.pollTransmit(run.link.now)
    );
    const una = old.tcb.sndUnaOffset
    if (old.tcb.sndNxtOffset - una < 100) continue
    old.buffers.sent.restart(una)
    handOver(run, 1_000_000)
    t.equal(
      finish(run, () => false),
      '',
      `seed ${seed}`,
    )
  }
  t.end()
})

t.test(
  'P18: a connection adopted in TIME-WAIT answers a repeated FIN and ends in its time',
  (t) => {
    const run = begin(2, 10, 10)
    for (let i = 0; i < 2000 && run.owner?.connection.state !== TcpState.TIME_WAIT; i++) {
      run.link.step()
      accept(run)
      if (run.client.connection.state >= TcpState.ESTABLISHED)
        run.client.pump(run.random, run.owner?.ended ?? false)
      run.owner?.pump(run.random, true)
      run.link.exchange()
    }
    t.equal(run.owner?.connection.state, TcpState.TIME_WAIT)
    handOver(run, 0)
    const adopted = run.owner?.connection as Connection
    t.equal(adopted.state, TcpState.TIME_WAIT)
    for (let i = 0; i < 100 && run.link.step(); i++);
    t.equal(adopted.state, TcpState.CLOSED)
    t.equal(adopted.error, '')
    t.end()
  },
)
