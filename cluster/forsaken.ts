/**
 * Forsaken: connections that one side of a cut served, and that the other, which has outclaimed it, knows nothing of (D3). Nobody goes on
 * with them, and a client that only listens would wait for ever. So whoever yields, and is told of all that the new owner has, names
 * the rest; the new owner ends it, and says so.
 */
import { isSynchronized, type Seq, TcpState, ZERO } from '../stack/index.js'
import type { NodeId } from './binding.js'
import { encodeFlowMessage, type FlowMessage, FlowMessageKind } from './flow-message.js'
import type { Action } from './node-actions.js'
import type { NodeWorld } from './node-options.js'
import type { CarriageTerm } from './ownership-context.js'
import type { Shadow } from './shadow.js'

/** Names to `owner` what of `shadows` was live when this node served it. */
export function tellForsaken(
  shadows: readonly Shadow[],
  { owner, epoch }: { readonly owner: NodeId; readonly epoch: number },
  { authenticator }: NodeWorld,
  act: (action: Action) => void,
): void {
  for (const { key, tcb, resetSeq } of shadows) {
    if (!isSynchronized(tcb.state) || tcb.state === TcpState.TIME_WAIT) continue
    const message = { kind: FlowMessageKind.FORSAKEN, epoch, key, iss: resetSeq, irs: ZERO }
    act({ kind: 'tell', node: owner, bytes: encodeFlowMessage(message, authenticator) })
  }
}

/** Ends a connection that a node has named in this term, unless it is known here. True: its client has been reset. */
export function endForsaken(
  { key, epoch, iss }: FlowMessage,
  { state, epoch: current, snooper }: CarriageTerm,
  { stack }: NodeWorld,
): boolean {
  const { localAddress, localPort, remoteAddress, remotePort } = key
  if (state !== 'owner' || epoch !== current) return false
  if (stack.tcp.demux.find(localAddress, localPort, remoteAddress, remotePort)) return false
  if (snooper.table.find(localPort, remoteAddress, remotePort)) return false
  stack.reset(key, iss as Seq)
  return true
}
