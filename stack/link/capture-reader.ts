/**
 * CaptureReader: the frames of a capture file, in the order of the file: pcap (draft-ietf-opsawg-pcap; either byte order, micro-
 * or nanoseconds) and pcapng (draft-ietf-opsawg-pcapng; any number of sections and interfaces, each with its own resolution).
 *
 * It reads no file: bytes are pushed in pieces of any size and records are pulled, so that a capture larger than memory passes
 * through one buffer. What is damaged ends the reading with ERR_INVALID_CAPTURE and the octet where; an end in the middle of a
 * record, as a capture that was interrupted has it, is no error and can be asked for.
 */
import { StackError } from '../base/errors.js'
import type { Millis } from '../base/time.js'
import { Frame } from '../wire/frame.js'

/** The largest record or block that is believed. */
export const MAX_CAPTURE_RECORD = 16 * 1024 * 1024

/** One captured frame. The instance is reused, and `frame` borrowed: both are valid until the next call of the reader. */
export class CaptureRecord {
  /** Milliseconds since 1970; NaN when the file does not say. */
  at: Millis = Number.NaN
  /** The octets that were kept, from the first one of the link layer on: `frame.bytes[start, end)`. */
  frame = new Frame(0)
  /** How long the frame was on the wire; more than `frame.length` when it was cut. */
  originalLength = 0
  /** LINKTYPE of the interface (tcpdump.org/linktypes.html). */
  linkType = 0
  /** Which interface of the section; 0 in a pcap file. */
  interfaceIndex = 0
}

interface CaptureInterface {
  readonly linkType: number
  readonly snapLength: number
  /** Units of its time stamps per millisecond. */
  readonly unitsPerMs: number
  readonly offsetMs: number
}

const PCAP_MICROSECONDS = 0xa1b2c3d4
const PCAP_NANOSECONDS = 0xa1b23c4d
/** The magic of Kuznetzov's variant, whose record headers are 8 octets longer. */
const PCAP_MODIFIED = 0xa1b2cd34
const PCAP_HEADER_LENGTH = 24

const BYTE_ORDER_MAGIC = 0x1a2b3c4d
const Block = {
  INTERFACE: 1,
  PACKET: 2,
  SIMPLE_PACKET: 3,
  ENHANCED_PACKET: 6,
  CUSTOM: 0x0bad,
  CUSTOM_NOT_COPIED: 0x4000_0bad,
  SECTION: 0x0a0d0d0a,
} as const
const OPTION_END = 0
const OPTION_TSRESOL = 9
const OPTION_TSOFFSET = 14
const MICROSECONDS_PER_MS = 1000
const SMALLEST_BUFFER = 64 * 1024

export class CaptureReader {
  readonly record = new CaptureRecord()
  /** Custom blocks passed so far: no frames, but records of the capture, and counted as such by other programs. */
  customBlocks = 0
  #frame = new Frame(SMALLEST_BUFFER)
  #start = 0
  #end = 0
  // Octets of the file before #start, for messages.
  #passed = 0
  #format: 'unknown' | 'pcap' | 'pcapng' = 'unknown'
  #littleEndian = true
  #recordHeaderLength = 16
  #interfaces: CaptureInterface[] = []

  /** Octets that were pushed and not yet read: at the end of the file, those of a record that was cut. */
  get pending(): number {
    return this.#end - this.#start
  }

  /** `pcap` or `pcapng`; `unknown` before the first octets have come. */
  get format(): 'unknown' | 'pcap' | 'pcapng' {
    return this.#format
  }

  /** Adds the next octets of the file, copying them. The last record is no longer valid. */
  push(bytes: Uint8Array): void {
    this.#makeRoom(bytes.length)
    this.#frame.bytes.set(bytes, this.#end)
    this.#end += bytes.length
  }

  /** The next frame, or null when more octets must be pushed first. Throws ERR_INVALID_CAPTURE. */
  next(): CaptureRecord | null {
    if (this.#format === 'unknown' && !this.#readHeader()) return null
    return this.#format === 'pcap' ? this.#nextPcap() : this.#nextPcapng()
  }

  get #view(): DataView {
    return this.#frame.view
  }

  #u32(at: number): number {
    return this.#view.getUint32(at, this.#littleEndian)
  }

  #u16(at: number): number {
    return this.#view.getUint16(at, this.#littleEndian)
  }

  #readHeader(): boolean {
    if (this.pending < 4) return false
    const big = this.#view.getUint32(this.#start)
    if (big === Block.SECTION) {
      this.#format = 'pcapng'
      return true
    }
    const little = this.#view.getUint32(this.#start, true)
    this.#littleEndian = isPcapMagic(little)
    if (!this.#littleEndian && !isPcapMagic(big)) {
      this.#fail('it begins as neither a pcap nor a pcapng file does')
    }
    if (this.pending < PCAP_HEADER_LENGTH) return false
    const magic = this.#u32(this.#start)
    this.#recordHeaderLength = magic === PCAP_MODIFIED ? 24 : 16
    this.#interfaces = [
      {
        // The upper bits tell of a frame check sequence behind each frame, which the IP header's length leaves out.
        linkType: this.#u32(this.#start + 20) & 0xffff,
        snapLength: 0,
        unitsPerMs: magic === PCAP_NANOSECONDS ? 1e6 : MICROSECONDS_PER_MS,
        offsetMs: 0,
      },
    ]
    this.#format = 'pcap'
    this.#skip(PCAP_HEADER_LENGTH)
    return true
  }

  #nextPcap(): CaptureRecord | null {
    const header = this.#recordHeaderLength
    if (this.pending < header) return null
    const start = this.#start
    const length = this.#u32(start + 8)
    if (length > MAX_CAPTURE_RECORD) this.#fail(`a record claims ${length} octets`)
    if (this.pending < header + length) return null
    const { linkType, unitsPerMs } = this.#interfaces[0] as CaptureInterface
    const at = this.#u32(start) * 1000 + this.#u32(start + 4) / unitsPerMs
    const record = this.#fill(start + header, length, this.#u32(start + 12), linkType, at)
    this.#skip(header + length)
    return record
  }

  #nextPcapng(): CaptureRecord | null {
    for (;;) {
      if (this.pending < 12) return null
      const start = this.#start
      const type = this.#u32(start)
      if (type === Block.SECTION) this.#readByteOrder(start)
      const length = this.#u32(start + 4)
      if (length < 12 || length % 4 !== 0 || length > MAX_CAPTURE_RECORD) {
        this.#fail(`a block claims ${length} octets`)
      }
      if (this.pending < length) return null
      const record = this.#readBlock(type, start + 8, start + length - 4)
      this.#skip(length)
      if (record !== null) return record
    }
  }

  #readByteOrder(start: number): void {
    this.#littleEndian = this.#view.getUint32(start + 8, true) === BYTE_ORDER_MAGIC
    if (!this.#littleEndian && this.#view.getUint32(start + 8) !== BYTE_ORDER_MAGIC) {
      this.#fail('a section has no byte-order magic')
    }
    this.#interfaces = []
  }

  // The block's body is [from, to). Blocks of other types tell nothing about frames.
  #readBlock(type: number, from: number, to: number): CaptureRecord | null {
    switch (type) {
      case Block.INTERFACE:
        this.#readInterface(from, to)
        return null
      case Block.ENHANCED_PACKET:
        return this.#readPacket(this.#bounded(from, to, 20), to, this.#u32(from))
      case Block.PACKET:
        // Of old: the interface in 16 bits, then a count of drops.
        return this.#readPacket(this.#bounded(from, to, 20), to, this.#u16(from))
      case Block.SIMPLE_PACKET:
        return this.#readSimplePacket(this.#bounded(from, to, 4), to)
      case Block.CUSTOM:
      case Block.CUSTOM_NOT_COPIED:
        this.customBlocks++
        return null
      default:
        return null
    }
  }

  #readInterface(from: number, to: number): void {
    this.#bounded(from, to, 8)
    let unitsPerMs = MICROSECONDS_PER_MS
    let offsetMs = 0
    let at = from + 8
    while (at + 4 <= to) {
      const code = this.#u16(at)
      const length = this.#u16(at + 2)
      if (code === OPTION_END || at + 4 + length > to) break
      if (code === OPTION_TSRESOL && length === 1) {
        const value = this.#view.getUint8(at + 4)
        const power = value & 0x7f
        unitsPerMs = (value & 0x80 ? 2 ** power : 10 ** power) / 1000
      } else if (code === OPTION_TSOFFSET && length === 8) {
        offsetMs = Number(this.#view.getBigInt64(at + 4, this.#littleEndian)) * 1000
      }
      at += 4 + ((length + 3) & ~3)
    }
    const linkType = this.#u16(from)
    this.#interfaces.push({ linkType, snapLength: this.#u32(from + 4), unitsPerMs, offsetMs })
  }

  #readPacket(from: number, to: number, index: number): CaptureRecord {
    const { linkType, unitsPerMs, offsetMs } = this.#interfaceAt(index)
    const length = this.#u32(from + 12)
    if (from + 20 + length > to) this.#fail(`a frame claims ${length} octets of a smaller block`)
    const units = this.#u32(from + 4) * 2 ** 32 + this.#u32(from + 8)
    const at = units / unitsPerMs + offsetMs
    const record = this.#fill(from + 20, length, this.#u32(from + 16), linkType, at)
    record.interfaceIndex = index
    return record
  }

  // Without a time, and of the section's first interface.
  #readSimplePacket(from: number, to: number): CaptureRecord {
    const { linkType, snapLength } = this.#interfaceAt(0)
    const original = this.#u32(from)
    const kept = Math.min(original, to - from - 4, snapLength === 0 ? original : snapLength)
    return this.#fill(from + 4, kept, original, linkType, Number.NaN)
  }

  #interfaceAt(index: number): CaptureInterface {
    const found = this.#interfaces[index]
    if (found === undefined) this.#fail(`a frame is of interface ${index}, which is not described`)
    return found as CaptureInterface
  }

  #bounded(from: number, to: number, length: number): number {
    if (to - from < length) this.#fail('a block is shorter than its fields')
    return from
  }

  #fill(
    start: number,
    length: number,
    originalLength: number,
    linkType: number,
    at: Millis,
  ): CaptureRecord {
    const record = this.record
    record.frame = this.#frame
    record.frame.start = start
    record.frame.end = start + length
    record.originalLength = Math.max(originalLength, length)
    record.linkType = linkType
    record.interfaceIndex = 0
    record.at = at
    return record
  }

  #skip(length: number): void {
    this.#start += length
    this.#passed += length
  }

  #makeRoom(length: number): void {
    const { bytes } = this.#frame
    const kept = this.pending
    if (this.#end + length <= bytes.length) return
    let size = Math.max(bytes.length, SMALLEST_BUFFER)
    while (size < kept + length) size *= 2
    if (size === bytes.length) {
      bytes.copyWithin(0, this.#start, this.#end)
    } else {
      const frame = new Frame(size)
      frame.bytes.set(bytes.subarray(this.#start, this.#end))
      this.#frame = frame
    }
    this.#start = 0
    this.#end = kept
  }

  #fail(detail: string): never {
    throw new StackError(
      'ERR_INVALID_CAPTURE',
      `the capture cannot be read at octet ${this.#passed}: ${detail}`,
    )
  }
}

function isPcapMagic(magic: number): boolean {
  return magic === PCAP_MICROSECONDS || magic === PCAP_NANOSECONDS || magic === PCAP_MODIFIED
}
