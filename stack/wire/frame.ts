/**
 * Frame: one Ethernet frame in a buffer that is allocated once and used for ever.
 *
 * A received frame is borrowed: it is valid until the sink returns, and whoever wants bytes later copies them. A frame
 * to send has headroom: TCP puts its text at HEADROOM, and each layer writes its header in front of what is there, so
 * the payload is copied exactly once.
 */

/** Octets kept free in front of the text of a frame to send: virtio-net, Ethernet with tag, IPv6, TCP with options. */
export const HEADROOM = 160

/** Room for the largest super-frame of a device with segmentation offload, with its headers. */
export const MAX_FRAME_SIZE = 65_535 + 18

/** Who vouches for the TCP or UDP checksum of a frame. */
export const ChecksumState = {
  /** Nobody: compute it to send, verify it on arrival. */
  NONE: 0,
  /** The field holds the pseudo-header's sum; the other side of the device completes it (VIRTIO_NET_HDR_F_NEEDS_CSUM). */
  PARTIAL: 1,
  /** The device has verified it (VIRTIO_NET_HDR_F_DATA_VALID). */
  VALID: 2,
} as const
export type ChecksumState = (typeof ChecksumState)[keyof typeof ChecksumState]

/** One Ethernet frame, without preamble and FCS: `bytes[start, end)`. */
export class Frame {
  readonly bytes: Uint8Array
  /** The same memory as `bytes`, for reads and writes of more than one octet. */
  readonly view: DataView
  /** Index of the first octet of the Ethernet header. */
  start = 0
  /** Index behind the last octet. */
  end = 0
  checksum: ChecksumState = ChecksumState.NONE
  /** Octets of text per segment of a super-frame; 0 for a plain frame. */
  gsoSize = 0
  /**
   * True when the frame speaks for an address whose lease must hold at the instant of sending: set by the NIC's egress
   * guard for whatever comes from an assigned address, read by the driver and the device (hazard: a paused owner wakes).
   */
  leased = false
  /** True for a device's frame whose text may stay where it is until the device takes it: see `refer`. */
  gathers = false
  /** The memory that the last octets of the frame are in, when they are not in `bytes`; null: they are. */
  text: Uint8Array | null = null
  textFrom = 0
  textLength = 0

  /** A frame of so many octets in memory of its own; or one over `memory[offset, offset + size)`, such as a device's ring. */
  constructor(memory: number | ArrayBuffer = HEADROOM + MAX_FRAME_SIZE, offset = 0, size?: number) {
    const buffer = typeof memory === 'number' ? new ArrayBuffer(memory) : memory
    this.bytes = new Uint8Array(buffer, offset, size)
    this.view = new DataView(buffer, offset, size)
  }

  get length(): number {
    return this.end - this.start
  }

  /** Makes this frame empty, with all its headroom in front. */
  reset(): void {
    this.start = HEADROOM
    this.end = HEADROOM
    this.checksum = ChecksumState.NONE
    this.gsoSize = 0
    this.leased = false
    this.text = null
  }

  /**
   * Makes `memory[from, from + length)` the text of this empty frame, without a copy: it must stay as it is until the device has
   * taken the frame. For frames with `gathers` only, and where nobody reads the text: whose checksum the device completes.
   */
  refer(memory: Uint8Array, from: number, length: number): void {
    this.text = memory
    this.textFrom = from
    this.textLength = length
    this.end = this.start + length
  }

  /** Copies `other`'s octets and meaning into this frame, at this frame's headroom. */
  copyFrom(other: Frame): void {
    this.start = HEADROOM
    this.end = HEADROOM + (other.end - other.start)
    this.bytes.set(other.bytes.subarray(other.start, other.end), HEADROOM)
    this.text = null
    if (other.text !== null) {
      const text = other.text.subarray(other.textFrom, other.textFrom + other.textLength)
      this.bytes.set(text, this.end - other.textLength)
    }
    this.checksum = other.checksum
    this.gsoSize = other.gsoSize
    this.leased = other.leased
  }
}
