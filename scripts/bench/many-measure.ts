/**
 * Two measures of single take-overs: 10,000 connections that are to go on, and one that cannot. Both count from the decision: that of the
 * next owner, certain that the last one is silent, to claim; and that a connection is given up, as no node that lives has it.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { HeardEvent } from '../lab/lab.js'
import { type Dialog, type FailoverLab, play } from './failover-lab.js'
import type { Measure } from './measures.js'
import { broken, loadNote, percentile, resultOf } from './takeover-measure.js'

const CONNECTIONS = 10_000
const CLIENT = '10.77.0.9'
/** A second virtual address, which only kernels have. */
const MOVING = '10.77.0.200'
const MOVED_MS = 2000
const READ_MS = 30_000
const LOST_MS = 2000
/** How often a connection may be saved that was to be lost. */
const TRIES = 3
/** Within this a process that is stopped has come to a halt, and is not missed yet. */
const STOPPED_MS = 10

/** The numbers of the load's next line. Throws ERR_BENCH_TAKEOVER. */
async function numbers(dialog: Dialog, what: string): Promise<number[]> {
  const line = await dialog.line()
  if (line === undefined) throw broken(`${what}: no answer of the load`)
  return line.split(' ').map(Number)
}

/** Has an octet carried on each connection. Resolves with the instant of the last answer, by the wall clock. */
async function exchange(dialog: Dialog, what: string): Promise<number> {
  const [at = 0, answered = 0, lost = 0] = await numbers(dialog, what)
  if (answered !== CONNECTIONS) throw broken(`${what}: ${answered} answered, ${lost} are lost`)
  return at
}

/** Milliseconds: to the last answer from the decision, from the failure, and from an owner that lives; to the last promotion. */
interface ManyRound {
  readonly ms: number
  readonly whole: number
  readonly usual: number
  readonly promotion: number
}

async function manyRound(at: FailoverLab): Promise<ManyRound> {
  const dialog = at.load(['hold', at.address, CONNECTIONS, CLIENT])
  if ((await dialog.line()) !== 'ready') throw broken('the connections were not opened')
  let begun = Date.now()
  dialog.say()
  const usual = (await exchange(dialog, 'before the failure')) - begun
  // Checkpoints and mirrors of that are written by then.
  await delay(1000)
  begun = Date.now()
  const failure = await at.fail('kill')
  dialog.say()
  const last = await exchange(dialog, 'behind the take-over')
  const { at: decided, doneAt, promoted, givenUp } = await at.decision(failure)
  if (promoted !== CONNECTIONS || givenUp > 0) throw broken(`${promoted} went on, ${givenUp} not`)
  dialog.say()
  await exchange(dialog, 'once more')
  dialog.kill()
  await at.restore(failure, false)
  return { ms: last - decided, usual, whole: last - begun, promotion: doneAt - decided }
}

/** Until the last one of 10,000 connections has carried an octet there and back with the next owner. */
export const TEN_THOUSAND: Measure = {
  names: ['takeover-10k-last'],
  async run(world, { samples }) {
    const before = loadNote()
    const count = Math.ceil(samples / 20)
    const { done, failures } = await play(world, { app: 'echo', link: false }, count, manyRound)
    const ours = done.map(({ ms }) => ms)
    const ratios = done.map(({ ms, usual }) => ms / usual)
    const middle = (of: (round: ManyRound) => number): number => percentile(done.map(of), 0.5)
    const promotion = middle(({ promotion }) => promotion).toFixed(0)
    const whole = middle(({ whole }) => whole).toFixed(0)
    return [
      resultOf('takeover-10k-last', ours, percentile(ours, 0.5), {
        failures,
        reference: middle(({ usual }) => usual),
        referenceName: 'unharmed',
        ratio: done.length > 0 ? percentile(ratios, 0.5) : null,
        notes: [
          `the last one was promoted ${promotion} ms behind the decision; the last answer came ${whole} ms behind the kill`,
          `reference: the same octets with an owner that lives; ${before} before`,
        ],
      }),
    ]
  },
}

/** Lets frames through to the nodes that are not `owner`, or none. */
function setPorts({ lab }: FailoverLab, owner: number, open: boolean): void {
  const others = lab.record.nodes.filter(({ id }) => id !== owner)
  const script = others.map(({ tap }) => `bridge link set dev ${tap} state ${open ? 3 : 0}`)
  lab.space.runScriptIn(lab.record.switchNamespace, script.join('\n'))
}

/** Opens a connection to `address`. */
async function openClient(at: FailoverLab, address: string): Promise<Dialog> {
  const dialog = at.load(['wait', address])
  if ((await dialog.line()) !== 'open') throw broken('the connection was not opened')
  return dialog
}

/** Opens a connection to `address` and resolves when it is idle. */
async function idleClient(at: FailoverLab, address: string): Promise<Dialog> {
  const dialog = await openClient(at, address)
  dialog.say()
  if ((await dialog.line()) !== 'idle') throw broken('the connection carries nothing')
  return dialog
}

/** Milliseconds until the client learns of it, from the decision that it is lost, from the claim, and from the stop. */
interface LostRound {
  readonly ms: number
  readonly claimed: number
  readonly whole: number
}

/** One connection whose handshake the owner alone has heard: until the client learns that it is lost. */
async function lostRound(at: FailoverLab, tries = TRIES): Promise<LostRound> {
  const owner = await at.lab.awaitOwner()
  setPorts(at, owner, false)
  let dialog: Dialog
  try {
    dialog = await openClient(at, at.address)
  } finally {
    setPorts(at, owner, true)
  }
  await delay(300)
  const begun = Date.now()
  // An owner that lives would be asked for the connection as soon as something is heard of it, and save it.
  const failure = await at.fail('stop')
  await delay(STOPPED_MS)
  dialog.say()
  const line = await dialog.line(READ_MS)
  if (line === undefined) throw broken(`the client still reads after ${READ_MS / 1000} s`)
  if (line === 'idle' && tries > 1) {
    // A standby has heard the handshake all the same, or of it, and gone on with the connection.
    dialog.kill()
    await at.restore(failure, false)
    return lostRound(at, tries - 1)
  }
  const [instant = '', why = ''] = line.split(' ')
  if (why !== 'ECONNRESET') throw broken(`the client's read ended with ${why}`)
  const { at: claimed, givenUp } = await at.decision(failure)
  // The next owner asks the third node for it first (P20), and gives it up when that has not got it.
  const lost = (): HeardEvent | undefined =>
    at.lab.events.slice(failure.mark).find(({ event }) => event === 'flow-lost')
  if (givenUp === 0) {
    await at.lab.until(() => lost() !== undefined, LOST_MS, 'the connection was not given up')
  }
  const decided = Number(lost()?.at ?? claimed)
  await at.restore(failure, false)
  const told = Number(instant)
  return { ms: told - decided, claimed: told - claimed, whole: told - begun }
}

/**
 * The same client of a kernel whose address moves to another one, which announces it and knows of no connection: how long it
 * reads, at most MOVED_MS.
 */
async function movedRound(at: FailoverLab): Promise<number> {
  const { lab } = at
  const [client, first, second] = lab.record.clients.map(({ namespace }) => namespace)
  // A neighbour's entry that has just been made is changed at once, too.
  const change = 'echo 0 >/proc/sys/net/ipv4/neigh/eth0/locktime'
  lab.space.runScriptIn(client ?? '', change)
  const take = `ip address add ${MOVING}/24 dev eth0`
  lab.space.runScriptIn(first ?? '', take)
  const server = at.load(['serve', MOVING], 1)
  await server.line()
  const dialog = await idleClient(at, MOVING)
  const begun = Date.now()
  lab.space.runScriptIn(first ?? '', 'ip link set eth0 down')
  server.kill()
  // A device that has just come up loses what it says first.
  const announce = 'echo 1 >/proc/sys/net/ipv4/conf/eth0/arp_notify'
  const script = `${announce}\n${take}\nfor i in 1 2 3 4; do ip link set eth0 down; ip link set eth0 up; sleep 0.6; done`
  lab.space.runScriptIn(second ?? '', script)
  const line = await dialog.line(MOVED_MS)
  const ms = line === undefined ? MOVED_MS : Number(line.split(' ')[0]) - begun
  // The address has really moved: what the client says by itself is reset.
  dialog.signal('SIGUSR1')
  if (line === undefined && (await dialog.line())?.endsWith('ECONNRESET') !== true) {
    throw broken('the address of the reference has not moved')
  }
  return ms
}

/** Until an idle client that reads learns that its connection could not be saved (S2). */
export const FAIL_FAST: Measure = {
  names: ['fail-fast'],
  async run(world, { samples }) {
    const before = loadNote()
    const count = Math.ceil(samples / 5)
    const { done, failures } = await play(world, { app: 'echo' }, count, (at) => lostRound(at))
    const moved = await play(world, { app: 'echo', clients: 3 }, 1, movedRound)
    failures.push(...moved.failures)
    const [reference = Number.NaN] = moved.done
    const ours = done.map(({ ms }) => ms)
    const middle = (of: (round: LostRound) => number): string =>
      percentile(done.map(of), 0.5).toFixed(0)
    const claimed = middle(({ claimed }) => claimed)
    const whole = middle(({ whole }) => whole)
    const silent = reference >= MOVED_MS
    return [
      resultOf('fail-fast', ours, percentile(ours, 0.5), {
        failures,
        reference,
        referenceName: silent ? 'kernel >' : 'kernel',
        notes: [
          `from the claim ${claimed} ms, with the question to the third node; from the stop ${whole} ms: nodes that could not save it let others go first`,
          `reference: the address moves to a kernel that knows nothing${silent ? `: nothing within ${MOVED_MS / 1000} s` : ''}; ${before} before`,
        ],
      }),
    ]
  },
}
