/**
 * Captures in the pcap format of libpcap (draft-ietf-opsawg-pcap), with nanoseconds, of Ethernet frames: a writer, a
 * reader, and a link that records what passes.
 *
 * Pure functions over bytes: where the bytes go is the caller's business. The reader takes either byte order and
 * either resolution, as other programs write them.
 */
import { StackError } from '../base/errors.js'
import type { Clock, Millis } from '../base/time.js'
import type { MacAddress } from '../wire/ethernet.js'
import { ChecksumState, Frame } from '../wire/frame.js'
import type { FrameSink, LinkEndpoint, Offload } from './link-endpoint.js'
import { completeChecksum } from './software-checksum.js'

const MAGIC_NANOSECONDS = 0xa1b23c4d
const MAGIC_MICROSECONDS = 0xa1b2c3d4
const LINKTYPE_ETHERNET = 1
const FILE_HEADER_LENGTH = 24
const RECORD_HEADER_LENGTH = 16
const SNAPSHOT_LENGTH = 262_144

/** One captured frame. */
export interface PcapRecord {
  /** When it was captured. */
  readonly at: Millis
  /** The octets that were kept. */
  readonly bytes: Uint8Array
  /** How long the frame was on the wire; more than `bytes.length` when it was cut. */
  readonly originalLength: number
}

/** The header of a capture file. */
export function pcapFileHeader(): Uint8Array {
  const bytes = new Uint8Array(FILE_HEADER_LENGTH)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, MAGIC_NANOSECONDS, true)
  view.setUint16(4, 2, true)
  view.setUint16(6, 4, true)
  view.setUint32(16, SNAPSHOT_LENGTH, true)
  view.setUint32(20, LINKTYPE_ETHERNET, true)
  return bytes
}

/** The record of the frame `bytes[start, end)`, captured at `at`: append it to the file. Copies the octets. */
export function pcapRecord(bytes: Uint8Array, start: number, end: number, at: Millis): Uint8Array {
  const record = new Uint8Array(RECORD_HEADER_LENGTH + end - start)
  const view = new DataView(record.buffer)
  const seconds = Math.floor(at / 1000)
  const nanoseconds = Math.min(999_999_999, Math.round((at - seconds * 1000) * 1e6))
  view.setUint32(0, seconds, true)
  view.setUint32(4, nanoseconds, true)
  view.setUint32(8, end - start, true)
  view.setUint32(12, end - start, true)
  record.set(bytes.subarray(start, end), RECORD_HEADER_LENGTH)
  return record
}

/** The frames of a capture file. Throws ERR_INVALID_PCAP when it is not one, or not of Ethernet; a cut end is let go. */
export function readPcap(file: Uint8Array): PcapRecord[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  const { littleEndian, fractionsPerMs } = readFileHeader(view)
  const records: PcapRecord[] = []
  let at = FILE_HEADER_LENGTH
  while (at + RECORD_HEADER_LENGTH <= file.length) {
    const length = view.getUint32(at + 8, littleEndian)
    if (length > SNAPSHOT_LENGTH) {
      throw invalid(
        `record ${records.length + 1} claims ${length} octets; the file is damaged there`,
      )
    }
    const start = at + RECORD_HEADER_LENGTH
    if (start + length > file.length) break
    const seconds = view.getUint32(at, littleEndian)
    records.push({
      at: seconds * 1000 + view.getUint32(at + 4, littleEndian) / fractionsPerMs,
      bytes: file.slice(start, start + length),
      originalLength: view.getUint32(at + 12, littleEndian),
    })
    at = start + length
  }
  return records
}

function readFileHeader(view: DataView): { littleEndian: boolean; fractionsPerMs: number } {
  if (view.byteLength < FILE_HEADER_LENGTH) {
    throw invalid(`the file has ${view.byteLength} octets, fewer than its header`)
  }
  const big = view.getUint32(0)
  const littleEndian = big !== MAGIC_NANOSECONDS && big !== MAGIC_MICROSECONDS
  const magic = view.getUint32(0, littleEndian)
  if (magic !== MAGIC_NANOSECONDS && magic !== MAGIC_MICROSECONDS) {
    throw invalid('the file is no pcap file; convert pcapng with `editcap -F nsecpcap`')
  }
  const linkType = view.getUint32(20, littleEndian) & 0xffff
  if (linkType !== LINKTYPE_ETHERNET) {
    throw invalid(`the frames are of link type ${linkType}; only Ethernet (1) can be read`)
  }
  return { littleEndian, fractionsPerMs: magic === MAGIC_NANOSECONDS ? 1e6 : 1e3 }
}

function invalid(detail: string): StackError {
  return new StackError('ERR_INVALID_PCAP', `cannot read the capture: ${detail}`)
}

/**
 * A link that records what passes in both directions. `write` gets the file's header first and then one record a frame,
 * in bytes of its own. Checksums left to the device are completed in the record, not in the frame.
 */
export class RecordingLink implements LinkEndpoint, FrameSink {
  readonly #inner: LinkEndpoint
  readonly #clock: Clock
  readonly #write: (bytes: Uint8Array) => void
  readonly #scratch = new Frame()
  #sink: FrameSink | null = null

  constructor(inner: LinkEndpoint, clock: Clock, write: (bytes: Uint8Array) => void) {
    this.#inner = inner
    this.#clock = clock
    this.#write = write
    write(pcapFileHeader())
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

  transmit(frame: Frame): boolean {
    const taken = this.#inner.transmit(frame)
    // A frame that the device refused was never on the wire.
    if (taken) this.#record(frame)
    return taken
  }

  flush(): void {
    this.#inner.flush()
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
    this.#record(frame)
    this.#sink?.onFrame(frame)
  }

  onBatchEnd(): void {
    this.#sink?.onBatchEnd()
  }

  #record(frame: Frame): void {
    let recorded = frame
    if (frame.checksum === ChecksumState.PARTIAL) {
      this.#scratch.copyFrom(frame)
      completeChecksum(this.#scratch)
      recorded = this.#scratch
    }
    this.#write(pcapRecord(recorded.bytes, recorded.start, recorded.end, this.#clock.now()))
  }
}
