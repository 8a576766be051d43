/**
 * Mirror: writes what changed in a snooper's shadows to the MirrorStore, once per turn at most (P27): the state as a record, the
 * text as runs by stream offset, and the removal of what is purged. It is also where retention is applied.
 */
import { arrivedUnseen, type Millis, type StreamBuffer } from '../stack/index.js'
import type { CheckpointStore } from './checkpoint.js'
import { readMirror } from './mirror-reader.js'
import type { MirrorStore, TextSide } from './mirror-store.js'
import { passedOn } from './pairs.js'
import { purge } from './retention.js'
import type { Shadow } from './shadow.js'
import type { Snooper } from './snooper.js'
import { encodeTcbRecord } from './tcb-record.js'

/** How often the mirror is written at most. What comes and goes in between costs nothing. */
export const MIRROR_INTERVAL_MS: Millis = 20

/** Shadows that are written at a time at most: the rest waits for the next time, lest a take-over of many hold the loop up. */
export const MAX_WRITTEN = 2000

const SCRATCH_SIZE = 64 * 1024

/** Writes the shadows of snoopers behind; what is there at the start it reads back, once. */
export class Mirror {
  readonly #store: MirrorStore
  readonly #checkpoints: CheckpointStore
  readonly #continuity: number
  readonly #scratch = new Uint8Array(SCRATCH_SIZE)
  #writtenAt: Millis = 0

  /** `continuity` names this life of the node: a record of an earlier one may lack what was said in between. */
  constructor(store: MirrorStore, checkpoints: CheckpointStore, continuity: number) {
    this.#store = store
    this.#checkpoints = checkpoints
    this.#continuity = continuity
  }

  /** Brings back what another run mirrored, distrusted: it lacks what was said while nobody listened. */
  restore(snooper: Snooper, now: Millis): void {
    for (const shadow of readMirror(this.#store, snooper.binding.id, this.#continuity)) {
      if (snooper.table.full) this.#store.removeFlow(shadow.key)
      else snooper.table.add(shadow, now)
    }
    this.#store.flush()
  }

  /** When `write` is due for this snooper, or never. */
  nextDeadline(snooper: Snooper): Millis {
    const waiting = snooper.dirty.length > 0 || snooper.removed.length > 0
    return waiting ? this.#writtenAt + MIRROR_INTERVAL_MS : Number.POSITIVE_INFINITY
  }

  /** Writes nothing for a while: there is something that does not wait. */
  rest(now: Millis): void {
    this.#writtenAt = now
  }

  /** Writes what changed, unless that was done a moment ago: what has left first, as another may have come in its place. */
  write(snooper: Snooper, now: Millis): void {
    if (this.nextDeadline(snooper) > now) return
    this.#writtenAt = now
    const { table, removed, dirty } = snooper
    const gone = removed.splice(0, MAX_WRITTEN)
    for (const { key } of gone) this.#store.removeFlow(key)
    const changed = removed.length > 0 ? [] : dirty.splice(0, MAX_WRITTEN - gone.length)
    for (const shadow of changed) {
      shadow.dirty = false
      const { localPort, remoteAddress, remotePort } = shadow.key
      // It has changed once more before it left.
      if (table.find(localPort, remoteAddress, remotePort) !== shadow) continue
      if (shadow.verdict !== 'untracked' && !shadow.closed) {
        this.#writeShadow(shadow, snooper, now)
      } else if (shadow.distrusted && !shadow.restored) {
        this.#store.removeFlow(shadow.key)
      }
    }
    this.#store.flush()
  }

  /** Lets go of what nobody needs any more of a shadow that keeps much, before its turn to be written comes. */
  relieve(shadow: Shadow, snooper: Snooper): void {
    purge(shadow, this.#consumed(shadow, snooper))
  }

  // Stream offset before which the input is consumed, or NO_CHECKPOINT: a proxy's goes to its partner, and others say so.
  #consumed({ key, tcb, partner }: Shadow, { pairs }: Snooper): number {
    if (partner !== null) return passedOn(partner)
    return pairs.isProxied(key) ? 0 : this.#checkpoints.inputOffset(key, tcb.iss, tcb.irs)
  }

  #writeShadow(shadow: Shadow, snooper: Snooper, now: Millis): void {
    const { tcb, buffers, key } = shadow
    const consumed = this.#consumed(shadow, snooper)
    // What the application has consumed nobody needs any more, heard here or not: a gap before it is none.
    if (shadow.verdict === 'gap') arrivedUnseen(tcb, buffers, consumed)
    purge(shadow, consumed)
    this.#store.putTcb(key, encodeTcbRecord(tcb, this.#continuity, now))
    // What is acknowledged is kept in memory only: nobody will ask for it but to compare.
    const unacknowledged = Math.max(shadow.sentMirrored, tcb.sndUnaOffset)
    shadow.sentMirrored = this.#writeText(shadow, 'sent', buffers.sent, unacknowledged)
    shadow.receivedMirrored = this.#writeText(
      shadow,
      'received',
      buffers.received,
      shadow.receivedMirrored,
    )
    if (tcb.sndUnaOffset > shadow.sentDropped) {
      shadow.sentDropped = tcb.sndUnaOffset
      this.#store.dropText(key, 'sent', tcb.sndUnaOffset)
    }
    if (buffers.received.start > shadow.receivedDropped) {
      shadow.receivedDropped = buffers.received.start
      this.#store.dropText(key, 'received', buffers.received.start)
    }
  }

  // Writes from `from` on what has become contiguous since the last time. Returns the new mark.
  #writeText(shadow: Shadow, side: TextSide, text: StreamBuffer, from: number): number {
    let at = Math.max(from, text.start)
    while (at < text.contiguousEnd) {
      const length = Math.min(text.contiguousEnd - at, SCRATCH_SIZE)
      text.copyTo(at, length, this.#scratch, 0)
      this.#store.putText(shadow.key, side, at, this.#scratch.subarray(0, length))
      at += length
    }
    return at
  }
}
