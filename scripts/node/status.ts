/**
 * The command line of `understudy status`: asks a running node for its status and prints it.
 */
import {
  type BindingStatus,
  fetchView,
  type NodeStatus,
  type TakeoverStatus,
} from '../../cluster/io/index.js'
import { addressOf, parseAsking } from './asking.js'

export const HELP = `Usage: understudy status --config FILE | --at HOST:PORT | --at SOCKET [--json]

Asks a running node what it owns, shadows and has decided. Its configuration must have a section "operator", as
  "operator": { "port": 9477 }   or   "operator": { "socket": "/run/understudy/node1.sock" }

  --config FILE   the configuration that the node was started with
  --at WHERE      its address: host and port, or the path of a Unix socket
  --json          print one line of JSON

  understudy status --config /etc/understudy/node.json
  understudy status --at 127.0.0.1:9477 --json

Exit codes: 0 done, 1 no answer (one line on stderr with a code and what to do), 2 wrong usage.`

/** Runs `understudy status ARGS` and resolves with the exit code. Throws UsageError or StackError. */
export async function statusCommand(args: readonly string[]): Promise<number> {
  const values = parseAsking('status', args)
  if (values.help === true) {
    process.stdout.write(`${HELP}\n`)
    return 0
  }
  const view = await fetchView(addressOf('status', values.config, values.at))
  const text =
    values.json === true
      ? JSON.stringify(view)
      : view.nodes.map((node) => statusText(node).join('\n')).join('\n\n')
  process.stdout.write(`${text}\n`)
  return 0
}

/** One node's status, a line for each thing. */
export function statusText(node: NodeStatus): string[] {
  const up = node.peers.filter((peer) => peer.up).map(({ id }) => id)
  return [
    `node ${node.id} of cluster ${node.cluster}: process ${node.pid}, up for ${Math.round(node.upMs / 1000)} s`,
    `  peers up: ${up.length === 0 ? 'none' : up.join(', ')}`,
    ...node.bindings.flatMap(bindingText),
    ...node.takeovers.slice(-5).map(takeoverText),
    ...Object.entries(node.drops).map(([reason, count]) => `  not taken: ${count} ${reason}`),
  ]
}

function bindingText(binding: BindingStatus): string[] {
  const { id, address, firstPort, lastPort, state, epoch, owner, shadows, protectedPercent } =
    binding
  const head = `  binding ${id}, ${address} ports ${firstPort} to ${lastPort}: ${state}, term ${epoch}, owner ${owner ?? 'unknown'}`
  const counts =
    state === 'owner'
      ? `    connections: ${binding.connections}`
      : `    shadows: ${shadows.ready} ready, ${shadows.gap} with a gap, ${shadows.untracked} untracked`
  const share = typeof protectedPercent === 'number' ? `, ${protectedPercent} % protected` : ''
  return [head, counts + share, ...strictText(binding)]
}

function strictText({ strict, state }: BindingStatus): string[] {
  if (strict == null || state !== 'owner') return []
  const { state: how, confirming, peers, waiting } = strict
  const nodes =
    confirming.length === 0 ? 'nobody confirms' : `nodes ${confirming.join(', ')} confirm`
  return [`    strict mode: ${how}; ${nodes}, ${peers} must; ${waiting} connections wait`]
}

function takeoverText(takeover: TakeoverStatus): string {
  const { at, from, cause, promoted, connections, claimedMs, answeredMs } = takeover
  const answer = answeredMs === null ? '' : `, a client answered after ${answeredMs.toFixed(1)} ms`
  return (
    `  ${new Date(at).toISOString()}: took over from node ${from} (${cause}): ${promoted} of ${connections} connections, ` +
    `claimed ${claimedMs.toFixed(1)} ms behind its last sign of life${answer}`
  )
}
