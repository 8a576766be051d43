/**
 * FaultyLink: a link that loses, duplicates and corrupts frames, each direction with its own probabilities, all drawn
 * from one seeded source, so that a run can be repeated.
 *
 * A corrupted frame has exactly one bit wrong, which the Internet checksum always detects where it covers it.
 */
import { StackError } from '../base/errors.js'
import type { Rng } from '../base/time.js'
import type { MacAddress } from '../wire/ethernet.js'
import { ChecksumState, Frame } from '../wire/frame.js'
import type { FrameSink, LinkEndpoint, Offload } from './link-endpoint.js'
import { completeChecksum } from './software-checksum.js'

/** Probabilities, 0 .. 1, drawn for each frame on its own. */
export interface Faults {
  readonly loss?: number
  readonly duplicate?: number
  readonly corrupt?: number
}

export interface FaultyLinkOptions {
  readonly transmit?: Faults
  readonly receive?: Faults
}

/** What happened so far, both directions together. */
export interface FaultCounts {
  lost: number
  duplicated: number
  corrupted: number
}

const TWO_TO_32 = 0x1_0000_0000

export class FaultyLink implements LinkEndpoint, FrameSink {
  readonly counts: FaultCounts = { lost: 0, duplicated: 0, corrupted: 0 }
  readonly #inner: LinkEndpoint
  readonly #rng: Rng
  readonly #transmit: Required<Faults>
  readonly #receive: Required<Faults>
  readonly #scratch = new Frame()
  #sink: FrameSink | null = null

  constructor(inner: LinkEndpoint, rng: Rng, options: FaultyLinkOptions) {
    this.#inner = inner
    this.#rng = rng
    this.#transmit = checked('transmit', options.transmit ?? {})
    this.#receive = checked('receive', options.receive ?? {})
  }

  get mac(): MacAddress {
    return this.#inner.mac
  }

  get mtu(): number {
    return this.#inner.mtu
  }

  get offload(): Offload {
    return this.#inner.offload
  }

  /** A lost frame counts as sent: the sender of a frame does not learn what became of it. */
  transmit(frame: Frame): boolean {
    const copies = this.#copies(this.#transmit)
    if (copies === 0) return true
    const passed = this.#corrupted(frame, this.#transmit)
    const taken = this.#inner.transmit(passed)
    if (copies === 2) this.#inner.transmit(passed)
    return taken
  }

  flush(): void {
    this.#inner.flush()
  }

  drain(): boolean {
    return this.#inner.drain()
  }

  attach(sink: FrameSink): void {
    this.#sink = sink
    this.#inner.attach(this)
  }

  close(): void {
    this.#sink = null
    this.#inner.close()
  }

  onFrame(frame: Frame): void {
    const copies = this.#copies(this.#receive)
    if (copies === 0) return
    const passed = this.#corrupted(frame, this.#receive)
    for (let copy = 0; copy < copies; copy++) this.#sink?.onFrame(passed)
  }

  onBatchEnd(): void {
    this.#sink?.onBatchEnd()
  }

  #copies(faults: Required<Faults>): number {
    if (this.#happens(faults.loss)) {
      this.counts.lost++
      return 0
    }
    if (!this.#happens(faults.duplicate)) return 1
    this.counts.duplicated++
    return 2
  }

  #corrupted(frame: Frame, faults: Required<Faults>): Frame {
    if (frame.length === 0 || !this.#happens(faults.corrupt)) return frame
    this.counts.corrupted++
    const copy = this.#scratch
    copy.copyFrom(frame)
    // The fault lies behind the device that vouched for the checksum, so nobody vouches for it any more.
    completeChecksum(copy)
    copy.checksum = ChecksumState.NONE
    const at = copy.start + (this.#rng.u32() % copy.length)
    copy.bytes[at] = (copy.bytes[at] ?? 0) ^ (1 << (this.#rng.u32() & 7))
    return copy
  }

  #happens(probability: number): boolean {
    return probability > 0 && this.#rng.u32() < probability * TWO_TO_32
  }
}

function checked(direction: string, faults: Faults): Required<Faults> {
  const all = { loss: 0, duplicate: 0, corrupt: 0, ...faults }
  for (const [name, probability] of Object.entries(all)) {
    if (!(probability >= 0 && probability <= 1)) {
      throw new StackError(
        'ERR_INVALID_PROBABILITY',
        `${direction}.${name}: ${probability} is no probability; give a number from 0 to 1`,
      )
    }
  }
  return all
}
