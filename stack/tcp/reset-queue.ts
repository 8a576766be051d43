// hot path: no allocation per frame
/**
 * ResetQueue: resets that belong to no connection and wait to leave: answers to stray segments (RFC 9293 §3.10.7.1) and the end
 * of connections that nobody can go on with (S2). It has a limit, so that a flood of strays is not answered by a flood.
 */
import { add, type Seq, ZERO } from '../base/seq.js'
import { ACK, RST, type Segment } from '../wire/tcp.js'

/** Resets that may wait; further ones are refused. */
export const MAX_RESETS = 64

class Reset {
  local = 0
  localPort = 0
  remote = 0
  remotePort = 0
  seq: Seq = ZERO
  ack: Seq = ZERO
  flags = 0
}

export class ResetQueue {
  /** Addresses between which the reset of the last successful `poll` is to be sent. */
  local = 0
  remote = 0
  readonly #resets: Reset[] = []
  #head = 0
  #count = 0

  constructor() {
    for (let i = 0; i < MAX_RESETS; i++) this.#resets.push(new Reset())
  }

  /** <SEQ=seq><CTL=RST>. False: too many wait. */
  add(local: number, localPort: number, remote: number, remotePort: number, seq: Seq): boolean {
    return this.#put(local, localPort, remote, remotePort, RST, seq, ZERO)
  }

  /** The answer to `seg`: <SEQ=SEG.ACK><CTL=RST>, or <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>. False: too many wait. */
  addReply(seg: Segment, local: number, remote: number): boolean {
    return seg.has(ACK)
      ? this.#put(local, seg.dstPort, remote, seg.srcPort, RST, seg.ack, ZERO)
      : this.#put(local, seg.dstPort, remote, seg.srcPort, RST | ACK, ZERO, add(seg.seq, seg.len))
  }

  /** Fills `seg` with the reset that has waited longest. False: none waits. */
  poll(seg: Segment): boolean {
    if (this.#count === 0) return false
    const reset = this.#resets[this.#head] as Reset
    this.#head = (this.#head + 1) % MAX_RESETS
    this.#count--
    seg.clear()
    seg.srcPort = reset.localPort
    seg.dstPort = reset.remotePort
    seg.seq = reset.seq
    seg.ack = reset.ack
    seg.flags = reset.flags
    this.local = reset.local
    this.remote = reset.remote
    return true
  }

  #put(
    local: number,
    localPort: number,
    remote: number,
    remotePort: number,
    flags: number,
    seq: Seq,
    ack: Seq,
  ): boolean {
    if (this.#count >= MAX_RESETS) return false
    const reset = this.#resets[(this.#head + this.#count) % MAX_RESETS] as Reset
    this.#count++
    reset.local = local
    reset.localPort = localPort
    reset.remote = remote
    reset.remotePort = remotePort
    reset.flags = flags
    reset.seq = seq
    reset.ack = ack
    return true
  }
}
