/**
 * SnapshotSource: an owner's side of snapshots (P27): tells a node that came up late of each connection of the binding, page by page.
 * A connection is told of in one go, as it stands at that instant; the node has overheard since it asked what is said later.
 */
import {
  type Connection,
  type Millis,
  type Stack,
  type StreamBuffer,
  TcpState,
} from '../stack/index.js'
import type { Authenticator } from './authenticator.js'
import { type Binding, connectionsOf, type NodeId } from './binding.js'
import { flowKeyOf } from './flow-key.js'
import type { TextSide } from './mirror-store.js'
import { SnapshotEncoder, type SnapshotMessage } from './snapshot.js'
import { encodeTcbRecord } from './tcb-record.js'

/** Octets of a page, but for what its last connection has beyond. */
export const PAGE_OCTETS = 256 * 1024
/** A connection with more text under way than that is not told of now: it is asked for again. */
export const MAX_FLOW_TEXT = 3 * 1024 * 1024
/** Octets of a run of text. */
const RUN_OCTETS = 64 * 1024

/** What is asked for. */
export type SnapshotRequest = Extract<SnapshotMessage, { kind: 'request' }>

/** What one node has still to hear of. */
interface Session {
  readonly epoch: number
  readonly round: number
  readonly connections: Connection[]
  /** A connection was left out. */
  skipped: boolean
}

export class SnapshotSource {
  readonly #stack: Stack
  readonly #binding: Binding
  readonly #authenticator: Authenticator
  readonly #sessions = new Map<NodeId, Session>()

  constructor(stack: Stack, binding: Binding, authenticator: Authenticator) {
    this.#stack = stack
    this.#binding = binding
    this.#authenticator = authenticator
  }

  /** The messages that answer a request of `node`; each is the caller's. */
  answer(
    node: NodeId,
    { fromStart, round, epoch }: Pick<SnapshotRequest, 'fromStart' | 'round' | 'epoch'>,
    now: Millis,
  ): Uint8Array[] {
    let session = this.#sessions.get(node)
    const goesOn = session?.epoch === epoch && session.round === round
    if (fromStart || session === undefined || !goesOn) {
      session = { epoch, round, connections: this.#all(), skipped: false }
      this.#sessions.set(node, session)
    }
    const encoder = new SnapshotEncoder(this.#authenticator, this.#binding.id, epoch, round)
    const messages: Uint8Array[] = []
    let octets = 0
    while (octets < PAGE_OCTETS) {
      const next = session.connections.pop()
      if (next === undefined) break
      for (const message of this.#tell(next, session, encoder, now)) {
        octets += message.length
        messages.push(message)
      }
    }
    const more = session.connections.length > 0
    if (!more) this.#sessions.delete(node)
    messages.push(encoder.page(more, session.skipped))
    return messages
  }

  /** The binding is owned no more, or anew. */
  end(): void {
    this.#sessions.clear()
  }

  // In the order in which they are taken from the end: of a proxy's pair the client's is told first, by which the other is known.
  #all(): Connection[] {
    const all = connectionsOf(this.#binding, this.#stack)
    return all.sort((a, b) => Number(b.opener) - Number(a.opener))
  }

  *#tell(
    connection: Connection,
    session: Session,
    encoder: SnapshotEncoder,
    now: Millis,
  ): Generator<Uint8Array> {
    const { tcb, buffers } = connection
    if (connection.released || tcb.state === TcpState.CLOSED || !tcb.synSent) return
    const { received, sent } = buffers
    const sentEnd = Math.min(sent.contiguousEnd, tcb.sndNxtOffset - tcb.sndFinSent)
    if (received.end - received.start + Math.max(sentEnd - sent.start, 0) > MAX_FLOW_TEXT) {
      session.skipped = true
      return
    }
    const key = flowKeyOf(this.#binding, connection)
    const { opener } = connection
    const record = encodeTcbRecord(tcb, 0, now)
    yield encoder.flow({ key, opener, record, received: received.start, sent: sent.start })
    yield* runs(encoder, 'received', received, received.start, received.contiguousEnd)
    for (let i = 0; i < received.rangeCount; i++) {
      yield* runs(encoder, 'received', received, received.rangeLeft(i), received.rangeRight(i))
    }
    yield* runs(encoder, 'sent', sent, sent.start, sentEnd)
    yield encoder.install()
  }
}

function* runs(
  encoder: SnapshotEncoder,
  side: TextSide,
  text: StreamBuffer,
  from: number,
  to: number,
): Generator<Uint8Array> {
  for (let at = from; at < to; ) {
    const offset = at
    const length = Math.min(RUN_OCTETS, to - at)
    yield encoder.text(side, offset, length, (into, where) =>
      text.copyTo(offset, length, into, where),
    )
    at += length
  }
}
