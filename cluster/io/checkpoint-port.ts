/**
 * CheckpointPort: turns `socket.commit()` into a checkpoint in the shared store. Output that the connection has not sent yet
 * goes with it, because nobody could regenerate it from behind the checkpoint.
 */
import {
  type Connection,
  firstUnshared,
  type IpAddress,
  type CheckpointPort as Port,
  type Seq,
  StackError,
} from '../../stack/index.js'
import { type CheckpointStore, MAX_UNSENT } from '../checkpoint.js'
import type { FlowKey } from '../flow-key.js'

const NOTHING = new Uint8Array(0)

/** Of which connection there is a checkpoint: others come between the same ends, with other initial numbers. */
interface Committed {
  readonly key: FlowKey
  readonly iss: Seq
  readonly irs: Seq
}

export class CheckpointPort implements Port {
  readonly #store: CheckpointStore
  readonly #bindingAt: (address: number, port: number) => number
  readonly #committed = new Map<Connection, Committed>()

  /** `bindingAt` tells the id of the binding of a local endpoint; 0: it has none, and nobody takes it over. */
  constructor(store: CheckpointStore, bindingAt: (address: number, port: number) => number) {
    this.#store = store
    this.#bindingAt = bindingAt
  }

  /** Stores how far the application has come (A2). Throws ERR_CHECKPOINT_TOO_LARGE. */
  commit(
    connection: Connection,
    state: unknown,
    input: number,
    output: number,
    held: readonly Uint8Array[],
  ): void {
    const { iss, irs } = connection.tcb
    const unsent = unsentOutput(connection, output, held)
    let committed = this.#committed.get(connection)
    if (committed === undefined) {
      const key = {
        binding: this.#bindingAt(connection.localAddress, connection.localPort),
        localAddress: connection.localAddress as IpAddress,
        localPort: connection.localPort,
        remoteAddress: connection.remoteAddress as IpAddress,
        remotePort: connection.remotePort,
      }
      committed = { key, iss, irs }
      this.#committed.set(connection, committed)
    }
    this.#store.put(committed.key, { input, output, unsent, state, iss, irs })
  }

  /** Removes the checkpoints of connections that are closed for good; those that moved to another node stay. */
  sweep(): void {
    for (const [connection, { key, iss, irs }] of this.#committed) {
      if (!connection.closed && !connection.released) continue
      this.#committed.delete(connection)
      if (!connection.closed) continue
      // That of a connection which has come in its place stays: its peers have let go of the input before it.
      if (this.#store.inputOffset(key, iss, irs) >= 0) this.#store.remove(key)
    }
  }
}

// The octets up to `output` that nobody else may have: those from SND.NXT on, what the stack has not even taken, and in strict mode
// those that were sent and that a peer has not heard.
function unsentOutput(c: Connection, output: number, held: readonly Uint8Array[]): Uint8Array {
  const { sent } = c.buffers
  const from = firstUnshared(c)
  const length = output - from
  if (length <= 0) return NOTHING
  if (length > MAX_UNSENT) {
    throw new StackError(
      'ERR_CHECKPOINT_TOO_LARGE',
      `${length} octets of output wait to be sent, and a checkpoint carries ${MAX_UNSENT}: wait for 'drain' before commit()`,
    )
  }
  const unsent = new Uint8Array(length)
  const taken = Math.min(length, Math.max(sent.contiguousEnd - from, 0))
  if (taken > 0) sent.copyTo(from, taken, unsent, 0)
  let at = taken
  // `held` ends at the socket's output offset, which may lie behind `output`.
  for (const chunk of held) {
    const part = chunk.subarray(0, Math.max(length - at, 0))
    unsent.set(part, at)
    at += part.length
  }
  return unsent
}
