/**
 * The live page of a lab (O3): what all its nodes tell, side by side, and buttons to kill, stop, continue and start them,
 * and to make the owner hand over.
 */

import {
  fetchView,
  type NodeStatus,
  OperatorServer,
  type OperatorView,
} from '../../cluster/io/index.js'
import { StackError } from '../../stack/base/errors.js'
import type { Lab } from './lab.js'
import { switchOver } from './switchover.js'

/** A node that does not answer by then is stopped or dead; the page shows what is known without it. */
const PATIENCE_MS = 100

const VERBS = ['kill', 'stop', 'cont', 'start', 'switchover']

/** Serves the page on a free port of the host's loopback interface, or on `port`. */
export async function openLabPage(lab: Lab, port = 0): Promise<OperatorServer> {
  const last = new Map<number, NodeStatus>()
  return OperatorServer.open({
    address: { host: '127.0.0.1', port },
    view: () => viewOf(lab, last),
    command: (verb, node) => obey(lab, verb, node),
  })
}

async function viewOf(lab: Lab, last: Map<number, NodeStatus>): Promise<OperatorView> {
  const processes: Record<number, string> = {}
  const nodes = await Promise.all(
    lab.status().map(async ({ id, state }) => {
      processes[id] = state
      if (state !== 'ready') return null
      try {
        const view = await fetchView({ socket: lab.operatorSocket(id) }, PATIENCE_MS)
        const [status] = view.nodes
        if (status !== undefined) last.set(id, status)
      } catch (error) {
        // On a busy host an answer may come late: what it said last will do.
        if (!(error instanceof StackError)) throw error
      }
      return last.get(id) ?? null
    }),
  )
  return { nodes: nodes.filter((node) => node !== null), verbs: VERBS, processes }
}

async function obey(lab: Lab, verb: string, node: number): Promise<void> {
  if (verb === 'kill') await lab.kill(node)
  else if (verb === 'stop') lab.stop(node)
  else if (verb === 'cont') lab.continue(node)
  else if (verb === 'switchover') await switchOver(lab, node)
  else await lab.start(node)
}
