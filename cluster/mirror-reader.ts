/**
 * MirrorReader: what an earlier process of this node, or another that attaches to its folder, mirrored of a binding, as shadows again (P27).
 *
 * A record of another run may lack what crossed the wire while nobody listened, and nothing in it tells. So what is read is distrusted, and
 * not gone on from, until the owner has named the connection in a snapshot: then what the mirror lacks is said again, or repaired
 * (Joining), and what the mirror has beyond the snapshot stays: input that the application has read and not committed.
 */
import { isSynchronized, type StreamBuffer, TcpState } from '../stack/index.js'
import { KEPT_INPUT } from './gap-repair.js'
import type { MirrorStore, StoredText } from './mirror-store.js'
import { leadsTo } from './said-again.js'
import { Shadow } from './shadow.js'
import { decodeTcbRecord } from './tcb-record.js'

/** The shadows of a binding that were mirrored in another run than `continuity`; what cannot be of use is removed from the store. */
export function readMirror(store: MirrorStore, binding: number, continuity: number): Shadow[] {
  const read: Shadow[] = []
  for (const { key, record } of [...store.flows(binding)]) {
    const decoded = decodeTcbRecord(record)
    const lives = decoded !== null && isSynchronized(decoded.tcb.state)
    if (!lives || decoded.tcb.state === TcpState.TIME_WAIT || decoded.continuity === continuity) {
      store.removeFlow(key)
      continue
    }
    const { tcb } = decoded
    const received = [...store.text(key, 'received')]
    const sent = [...store.text(key, 'sent')]
    const shadow = Shadow.from(
      key,
      tcb,
      received[0]?.offset ?? tcb.rcvNxtOffset - Number(tcb.finReceived),
      Math.min(sent[0]?.offset ?? tcb.sndUnaOffset, tcb.ackedOffset),
    )
    putAll(shadow.buffers.received, received)
    putAll(shadow.buffers.sent, sent)
    shadow.receivedMirrored = shadow.buffers.received.contiguousEnd
    shadow.sentMirrored = shadow.buffers.sent.contiguousEnd
    shadow.distrust()
    shadow.restored = true
    read.push(shadow)
  }
  return read
}

function putAll(buffer: StreamBuffer, runs: readonly StoredText[]): void {
  for (const { offset, bytes } of runs) buffer.put(offset, bytes, 0, bytes.length)
}

/**
 * True when `restored` is the connection of which the owner tells in `told`, has more of it than that brings, and what it lacks is to be had: from
 * the snapshot, or from what the owner keeps of what its application has read.
 */
export function completes(restored: Shadow, told: Shadow): boolean {
  if (!restored.restored || !isSynchronized(told.tcb.state) || told.closed) return false
  if (!leadsTo(restored, told)) return false
  const [was, is] = [restored.tcb, told.tcb]
  const { received } = told.buffers
  if (restored.buffers.received.start >= received.start) return false
  return received.start - was.rcvNxtOffset <= KEPT_INPUT && is.sndNxtOffset >= was.sndNxtOffset
}
