/**
 * The command lines of `understudy switchover` and `understudy drain`: make a running node of this host hand over what it owns (P24),
 * wait until it has, and let it end.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { fetchView, type NodeStatus, type OperatorAddress } from '../../cluster/io/index.js'
import { StackError } from '../../stack/base/errors.js'
import { identify, isRunning, type ProcessIdentity } from '../lab/process-table.js'
import { addressOf, parseAsking } from './asking.js'

export const HELP = `Usage: understudy switchover --config FILE | --at HOST:PORT | --at SOCKET [--json]

Makes a node of this host give what it owns, with all connections, to the next node, and stay as a peer. Clients notice nothing: so
a host is drained, or a program is exchanged under load. When the next node lacks something of a connection, nothing happens.

  --config FILE   the configuration that the node was started with
  --at WHERE      its address: host and port, or the path of a Unix socket
  --json          print one line of JSON

  understudy switchover --config /etc/understudy/node.json

Exit codes: 0 done, 1 it owns nothing or goes on (one line on stderr with a code and what to do), 2 wrong usage.`

export const DRAIN_HELP = `Usage: understudy drain --config FILE | --at HOST:PORT | --at SOCKET [--json]

Makes a node of this host hand over what it owns, as \`understudy switchover\` does, and then leave in good order. A node that owns nothing
just leaves. Options and exit codes are those of switchover.

  understudy drain --config /etc/understudy/node.json`

const LIMIT_MS = 5_000
const LOOK_MS = 50

/** Runs `understudy switchover ARGS` and resolves with the exit code. Throws UsageError or StackError. */
export async function switchoverCommand(args: readonly string[]): Promise<number> {
  const values = parseAsking('switchover', args)
  if (values.help === true) {
    process.stdout.write(`${HELP}\n`)
    return 0
  }
  const address = addressOf('switchover', values.config, values.at)
  const before = await statusAt(address)
  const moved = await handOver(address, before)
  const text =
    values.json === true ? JSON.stringify({ from: before.id, moved }) : portrait(before.id, moved)
  process.stdout.write(`${text}\n`)
  return 0
}

/** Runs `understudy drain ARGS` and resolves with the exit code. Throws UsageError or StackError. */
export async function drainCommand(args: readonly string[]): Promise<number> {
  const values = parseAsking('drain', args)
  if (values.help === true) {
    process.stdout.write(`${DRAIN_HELP}\n`)
    return 0
  }
  const address = addressOf('drain', values.config, values.at)
  const before = await statusAt(address)
  const owns = before.bindings.some(({ owner }) => owner === before.id)
  const moved = owns ? await handOver(address, before) : []
  const identity = identify(before.pid)
  signal(before, 'SIGTERM')
  await ended(before.id, identity)
  const text =
    values.json === true
      ? JSON.stringify({ from: before.id, moved, ended: true })
      : [portrait(before.id, moved), `node ${before.id} has left`].filter(Boolean).join('\n')
  process.stdout.write(`${text}\n`)
  return 0
}

interface Moved {
  readonly binding: number
  readonly to: number | null
  readonly connections: number
}

function portrait(from: number, moved: readonly Moved[]): string {
  return moved
    .map(
      ({ binding, to, connections }) =>
        `binding ${binding}: node ${from} -> node ${to}, ${connections} connections`,
    )
    .join('\n')
}

async function ended(id: number, identity: ProcessIdentity | undefined): Promise<void> {
  const giveUpAt = Date.now() + LIMIT_MS
  while (Date.now() < giveUpAt) {
    if (!isRunning(identity)) return
    await delay(LOOK_MS)
  }
  throw new StackError(
    'ERR_DRAIN',
    `node ${id} has handed over and does not end: kill process ${identity?.pid}`,
  )
}

async function handOver(address: OperatorAddress, before: NodeStatus): Promise<Moved[]> {
  const owned = before.bindings.filter(({ owner }) => owner === before.id)
  if (owned.length === 0) {
    throw new StackError(
      'ERR_SWITCHOVER',
      `node ${before.id} owns nothing: ask the owner, which understudy status names`,
    )
  }
  signal(before, 'SIGUSR2')
  const after = await handedOver(address, before)
  return owned.map(({ id, connections }) => ({
    binding: id,
    to: after.bindings.find((binding) => binding.id === id)?.owner ?? null,
    connections,
  }))
}

async function statusAt(address: OperatorAddress): Promise<NodeStatus> {
  const [node] = (await fetchView(address)).nodes
  if (node === undefined) throw new StackError('ERR_SWITCHOVER', 'no node answers there')
  return node
}

function signal({ id, pid }: NodeStatus, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new StackError(
      'ERR_SWITCHOVER',
      `process ${pid} of node ${id} cannot be told (${code}): run this on its host, as its user or as root`,
    )
  }
}

async function handedOver(address: OperatorAddress, before: NodeStatus): Promise<NodeStatus> {
  const giveUpAt = Date.now() + LIMIT_MS
  for (;;) {
    const now = await statusAt(address)
    if (now.bindings.every(({ owner }) => owner !== before.id && owner !== null)) return now
    const refused = now.decisions.some(
      ({ at, report }) => at >= before.at && report.event === 'handover-refused',
    )
    if (refused || Date.now() > giveUpAt) {
      const reason = refused
        ? 'the next node lacks something of a connection: try again later'
        : 'no other node is up'
      throw new StackError('ERR_SWITCHOVER', `node ${before.id} goes on: ${reason}`)
    }
    await delay(LOOK_MS)
  }
}
