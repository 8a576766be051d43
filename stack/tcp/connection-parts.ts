// hot path: no allocation per frame
/**
 * ConnectionParts: what a connection is made of, and how it rests. One that has nothing under way, and has learned nothing of its path
 * that is to be remembered, comes down to some sixty numbers: those of its Tcb and a few of its sender and its receiver. When it has
 * been idle for a while they are put into a row (`row.ts`), and its parts are let go of. Whoever asks for one of them wakes it.
 *
 * Behind a rest the parts are other objects with the same content: nobody keeps one beyond his turn. Who rests is ESTABLISHED.
 */
import { giveRing, NO_SLAB, type Slab, slabWith } from '../base/ring-pool.js'
import { ROW_SIZE, Row } from '../base/row.js'
import { StreamBuffer } from '../base/stream-buffer.js'
import type { Millis } from '../base/time.js'
import type { ConnectionOptions } from './connection-options.js'
import { ConnectionSlots } from './connection-slots.js'
import { Output } from './output.js'
import { Receiver } from './receiver.js'
import { Sender } from './sender.js'
import { TcpState } from './state.js'
import { type Buffers, putTcb, type Tcb, type TcbParts, takeTcb } from './tcb.js'

// One for all: what is put down or taken up is so in one go.
const ROW = new Row()

/** What a connection that does not rest is made of. */
class Parts {
  readonly tcb: Tcb
  readonly buffers: Buffers
  readonly sender: Sender
  readonly receiver: Receiver
  readonly output: Output

  constructor(tcb: Tcb, buffers: Buffers, sender: Sender, receiver: Receiver, output: Output) {
    this.tcb = tcb
    this.buffers = buffers
    this.sender = sender
    this.receiver = receiver
    this.output = output
  }

  /** True when a row holds all that matters of it, but for text that the buffers may keep. */
  mayRest(now: Millis): boolean {
    const { tcb, buffers, sender, receiver, output } = this
    if (tcb.state !== TcpState.ESTABLISHED || tcb.flightSize > 0 || tcb.rcvFinSeen !== 0) {
      return false
    }
    const { received, sent } = buffers
    if (received.rangeCount > 0 || sent.end !== tcb.sndNxtOffset) return false
    if (sent.contiguousEnd !== sent.end || output.offset !== sent.end) return false
    if (output.blocked) return false
    return sender.mayRest && receiver.mayRest(now)
  }
}

export abstract class ConnectionParts extends ConnectionSlots {
  // Null while it rests.
  #parts: Parts | null
  // Of one that rests: where its row is.
  #slab: Slab = NO_SLAB
  #place = 0
  // Of one that rests: its buffers, where something is kept in them.
  #kept: Buffers | null = null

  constructor({ tcb, buffers }: TcbParts, options: ConnectionOptions) {
    super()
    const sender = new Sender(options.congestion)
    const receiver = new Receiver(options.receiveLimit)
    this.#parts = new Parts(tcb, buffers, sender, receiver, new Output(buffers.sent))
  }

  /** All of them: who needs several asks once. */
  protected get parts(): Parts {
    return this.#parts ?? this.#wake()
  }

  get tcb(): Tcb {
    return this.parts.tcb
  }

  get buffers(): Buffers {
    return this.parts.buffers
  }

  get sender(): Sender {
    return this.parts.sender
  }

  get receiver(): Receiver {
    return this.parts.receiver
  }

  get output(): Output {
    return this.parts.output
  }

  /** Wakes nobody. */
  get state(): TcpState {
    return this.#parts === null ? TcpState.ESTABLISHED : this.#parts.tcb.state
  }

  /** Wakes nobody. */
  get closed(): boolean {
    return this.state === TcpState.CLOSED
  }

  /** Something may be due that no segment has told of. */
  abstract touch(): void

  /** True while it rests. */
  get rests(): boolean {
    return this.#parts === null
  }

  /** Nothing has happened for a while: lets go of what is not needed. False: something is under way, and it is to be asked again. */
  rest(now: Millis): boolean {
    const parts = this.#parts
    if (parts === null) return true
    if (!parts.sender.rest(parts.tcb, now)) return false
    if (parts.mayRest(now)) this.#layDown(parts)
    return true
  }

  #layDown({ tcb, buffers, sender, receiver, output }: Parts): void {
    const slab = slabWith(ROW_SIZE)
    this.#slab = slab
    this.#place = slab.take()
    const row = ROW.begin(slab, this.#place)
    putTcb(tcb, row)
    sender.putInto(row)
    receiver.putInto(row)
    if (buffers.received.empty && buffers.sent.empty) {
      buffers.received.putInto(row)
      buffers.sent.putInto(row)
    } else {
      this.#kept = buffers
    }
    output.putInto(row)
    this.#parts = null
  }

  // allocates: behind an idle time
  #wake(): Parts {
    const row = ROW.begin(this.#slab, this.#place)
    const tcb = takeTcb(row)
    const sender = Sender.takeFrom(row)
    const receiver = Receiver.takeFrom(row)
    const buffers = this.#kept ?? {
      received: StreamBuffer.takeFrom(row),
      sent: StreamBuffer.takeFrom(row),
    }
    const output = Output.takeFrom(row, buffers.sent)
    const parts = new Parts(tcb, buffers, sender, receiver, output)
    giveRing(this.#slab, this.#place)
    this.#slab = NO_SLAB
    this.#kept = null
    this.#parts = parts
    // So that somebody sees to its resting again.
    this.touch()
    return parts
  }
}
