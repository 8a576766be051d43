/**
 * Tap: a TAP device as a LinkEndpoint. Frames come in batches from a ring that is shared with the addon, and leave
 * through an arena that one native call writes per flush.
 *
 * Received frames are borrowed views of the ring. A frame to send is copied into the arena, unless it is the one that
 * `txFrame` lent: that lies there already. (The copy makes a short-lived view, which is 12 times faster than a loop.)
 * A leased frame is written only while the attached heartbeat's lease holds: the addon asks right before the write.
 */

import { readdirSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { assert } from '../base/assert.js'
import { StackError } from '../base/errors.js'
import type { FrameSink, LinkEndpoint, MacAddress, Offload } from '../link/link-endpoint.js'
import { NO_OFFLOAD } from '../link/link-endpoint.js'
import { macOctets } from '../wire/ethernet.js'
import type { ChecksumState } from '../wire/frame.js'
import { Frame, HEADROOM, MAX_FRAME_SIZE } from '../wire/frame.js'
import type { Heartbeat } from './heartbeat.js'
import type { SystemError, TapConfig, TapParts } from './native.js'
import { isSystemError, Meta, native, TapStat } from './native.js'
import { kernelDrops, type TapStats } from './tap-stats.js'

export interface TapOptions {
  /** Interface name, at most 15 octets. Absent: the kernel picks a new one (tap0, tap1, ...). */
  readonly name?: string
  /** The stack's address on this link. Default: derived from the device's, and never equal to it. */
  readonly mac?: MacAddress
  /** Octets of IP payload. Default: as the device has it (1500 when new). */
  readonly mtu?: number
  /** The device outlives this process. Its owner's death is then noticed sooner: removing a device takes 20 ms. */
  readonly persist?: boolean
  /** Frames the kernel queues towards us before it drops the newest. Default 10000; 0 leaves it as it is. */
  readonly txQueueLen?: number
  /** Brings the interface up. Default true. */
  readonly up?: boolean
  /** Exchanges super-frames and unfinished checksums with the kernel. Implies `vnetHdr`. Default false. */
  readonly offload?: boolean
  /**
   * Segments that follow each other are joined into super-frames as they are read: one call in place of many. Default: where the kernel
   * does not hand over super-frames itself, without `offload`.
   */
  readonly join?: boolean
  /**
   * Super-frames to send are cut and open checksums completed behind the one native call, as a device with offload would do it. Default:
   * where the kernel does not.
   */
  readonly cut?: boolean
  /** Puts a virtio-net header in front of each frame on the descriptor. Default: as `offload`. */
  readonly vnetHdr?: boolean
  /** Frames of one received batch, and of one written batch. Default 128. */
  readonly slots?: number
  /** Called once when the device vanishes under us (code ERR_TAP_LOST). Default: throws it. */
  readonly onLost?: (error: TapError) => void
}

/** What `setSpin` is worth on a host with more than one processor, where a sleeping thread is woken by another one. */
export const SPIN_US = availableParallelism() > 1 ? 100 : 0

/** A TAP that cannot be opened, or was lost. `errno` is the system's word for it, such as 'EBUSY'. */
export class TapError extends StackError {
  override readonly name = 'TapError'
  readonly errno: string
  readonly device: string

  constructor(code: string, message: string, errno: string, device: string, cause?: unknown) {
    super(code, message, { cause })
    this.errno = errno
    this.device = device
  }
}

const MAX_NAME_LENGTH = 15
const TUN = '/dev/net/tun'

export class Tap implements LinkEndpoint {
  readonly name: string
  readonly mac: MacAddress
  /** The address that the host itself answers to on this device: the stack must not use it. */
  readonly kernelMac: MacAddress
  readonly mtu: number
  readonly offload: Offload
  /** Frames the kernel queues towards us before it drops. */
  readonly queueLength: number
  readonly #parts: TapParts
  readonly #rx: Frame[] = []
  readonly #tx: Frame[] = []
  readonly #rxMeta: Int32Array
  readonly #txMeta: Int32Array
  readonly #stats: Float64Array
  readonly #onLost: (error: TapError) => void
  readonly #initialDrops: number
  // Octets of the longest frame that the device takes as it is.
  readonly #longest: number
  // The texts of queued frames that are not in the arena.
  readonly #texts: (Uint8Array | null)[] = []
  #sink: FrameSink | null = null
  #queued = 0
  #closed = false
  #delivering = false
  #noSink = 0
  #oversize = 0

  /** Opens or makes the device. Throws TapError with code ERR_TAP_NO_DEVICE, _PERMISSION, _BUSY, _NAME_TOO_LONG, ... */
  constructor(options: TapOptions = {}) {
    const config = toConfig(options)
    this.#parts = openParts(config, (count) => this.#onBatch(count))
    const { name, kernelMac, mtu, queueLength, rxSlotSize, txSlotSize, ring, arena } = this.#parts
    this.name = name
    this.kernelMac = kernelMac
    this.mac = options.mac ?? derivedMac(kernelMac)
    this.mtu = mtu
    this.queueLength = queueLength
    const superFrames = config.txFrameSize === MAX_FRAME_SIZE
    const uso = config.offload === 1 && this.#parts.uso === 1
    this.offload = superFrames ? { checksum: true, tso: true, uso } : NO_OFFLOAD
    this.#longest = Math.max(config.frameSize, mtu + 18)
    for (let i = 0; i < config.slots; i++) {
      this.#rx.push(new Frame(ring, i * rxSlotSize, rxSlotSize))
      const slot = new Frame(arena, i * txSlotSize, txSlotSize)
      slot.gathers = this.offload.tso
      this.#tx.push(slot)
      this.#texts.push(null)
    }
    this.#rxMeta = new Int32Array(this.#parts.rxMeta)
    this.#txMeta = new Int32Array(this.#parts.txMeta)
    this.#stats = new Float64Array(this.#parts.stats)
    this.#onLost = options.onLost ?? rethrow
    this.#initialDrops = kernelDrops(name) ?? 0
    if (this.mac === kernelMac) {
      this.close()
      throw new TapError(
        'ERR_TAP_MAC',
        `the stack on ${name} must not use the device's own address, whose frames the host takes for itself: choose another`,
        'EINVAL',
        name,
      )
    }
  }

  /** Frames that the kernel has given us. */
  get received(): number {
    return this.#stats[TapStat.RX_FRAMES] ?? 0
  }

  attach(sink: FrameSink): void {
    this.#sink = sink
  }

  /**
   * Lends the frame that the next `transmit` sends without a copy. It is reset; build the frame in it, then pass it to
   * `transmit` before anything else is transmitted. Not to be kept: after `transmit` it belongs to the device.
   */
  txFrame(): Frame {
    if (this.#queued === this.#tx.length) this.flush()
    const frame = this.#tx[this.#queued]
    assert(frame !== undefined, 'the arena has a slot for the next frame')
    frame.reset()
    return frame
  }

  transmit(frame: Frame): boolean {
    if (this.#closed) return false
    if (this.#queued === this.#tx.length) this.flush()
    const slot = this.#tx[this.#queued]
    assert(slot !== undefined, 'the arena has a slot for the next frame')
    if (slot !== frame) {
      const most = frame.gsoSize > 0 ? slot.bytes.length - HEADROOM : this.#longest
      if (frame.end - frame.start > most) {
        this.#oversize++
        return false
      }
      slot.copyFrom(frame)
    }
    const meta = this.#queued * Meta.WORDS
    this.#txMeta[meta + Meta.START] = slot.start
    this.#txMeta[meta + Meta.END] = slot.end
    this.#txMeta[meta + Meta.CHECKSUM] = slot.checksum
    this.#txMeta[meta + Meta.GSO] = slot.gsoSize
    this.#txMeta[meta + Meta.LEASED] = slot.leased ? 1 : 0
    this.#txMeta[meta + Meta.TEXT_FROM] = slot.textFrom
    this.#txMeta[meta + Meta.TEXT_LENGTH] = slot.text === null ? 0 : slot.textLength
    this.#texts[this.#queued] = slot.text
    this.#queued++
    return true
  }

  flush(): void {
    const count = this.#queued
    if (count === 0) return
    this.#queued = 0
    if (!this.#closed) native().tapWrite(this.#parts.handle, count, this.#texts)
    for (let i = 0; i < count; i++) this.#texts[i] = null
  }

  /** Leased frames leave only while `heartbeat`'s lease holds; null: they leave always. A closed one holds no lease. */
  setLease(heartbeat: Heartbeat | null): void {
    native().tapSetLease(this.#parts.handle, heartbeat === null ? null : heartbeat.handle)
  }

  /**
   * How many microseconds the device is asked again behind a batch, as long as that pays, before this thread sleeps: a peer that
   * answers within them is heard without waking up. 0, as from the start: not at all.
   */
  setSpin(microseconds: number): void {
    if (!this.#closed) native().tapSpin(this.#parts.handle, microseconds)
  }

  setFilter(macs: ReadonlySet<MacAddress> | null): void {
    if (!this.#closed) native().tapFilter(this.#parts.handle, macOctets(macs ?? []))
  }

  drain(): boolean {
    // The ring has the batch that is being delivered.
    return !this.#closed && !this.#delivering && native().tapDrain(this.#parts.handle)
  }

  /** Sets whether the device outlives its last user. */
  setPersistent(on: boolean): void {
    if (this.#closed) return
    try {
      native().tapPersist(this.#parts.handle, on)
    } catch (error) {
      throw toTapError(error, this.name)
    }
  }

  /** Lets the process end although the device is open. */
  unref(): this {
    native().tapRef(this.#parts.handle, false)
    return this
  }

  stats(): TapStats {
    const at = (slot: number) => this.#stats[slot] ?? 0
    const drops = kernelDrops(this.name)
    return {
      rxFrames: at(TapStat.RX_FRAMES),
      rxBytes: at(TapStat.RX_BYTES),
      rxBatches: at(TapStat.RX_BATCHES),
      txFrames: at(TapStat.TX_FRAMES),
      txBytes: at(TapStat.TX_BYTES),
      kernelDrops: drops === null ? null : drops - this.#initialDrops,
      rxDrops: {
        oversize: at(TapStat.RX_OVERSIZE),
        runt: at(TapStat.RX_RUNT),
        filtered: at(TapStat.RX_FILTERED),
        noSink: this.#noSink,
      },
      txDrops: {
        full: at(TapStat.TX_DROP_FULL),
        down: at(TapStat.TX_DROP_DOWN),
        invalid: at(TapStat.TX_DROP_INVALID),
        oversize: this.#oversize,
        other: at(TapStat.TX_DROP_OTHER),
      },
      leaseDrops: at(TapStat.TX_DROP_LEASE),
    }
  }

  /** Closes the device; one that is not persistent vanishes. Queued frames are dropped, the sink hears no more. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#sink = null
    native().tapClose(this.#parts.handle)
  }

  #onBatch(count: number): void {
    if (count < 0) {
      this.#lose()
      return
    }
    this.#delivering = true
    try {
      this.#deliver(count)
    } finally {
      this.#delivering = false
    }
  }

  #deliver(count: number): void {
    for (let i = 0; i < count; i++) {
      const frame = this.#rx[i]
      const sink = this.#sink
      assert(frame !== undefined, 'a batch fits the ring')
      if (sink === null) {
        if (!this.#closed) this.#noSink++
        continue
      }
      const meta = i * Meta.WORDS
      frame.start = this.#rxMeta[meta + Meta.START] ?? 0
      frame.end = this.#rxMeta[meta + Meta.END] ?? 0
      frame.checksum = (this.#rxMeta[meta + Meta.CHECKSUM] ?? 0) as ChecksumState
      frame.gsoSize = this.#rxMeta[meta + Meta.GSO] ?? 0
      frame.leased = false
      sink.onFrame(frame)
    }
    this.#sink?.onBatchEnd()
  }

  #lose(): void {
    this.close()
    const message = `the TAP device ${this.name} was removed while in use: make it again and open it`
    this.#onLost(new TapError('ERR_TAP_LOST', message, 'ENODEV', this.name))
  }
}

/** Makes the persistent device `name` vanish as soon as nobody uses it. Throws TapError as opening does. */
export function removePersistentTap(name: string): void {
  const tap = new Tap({ name, txQueueLen: 0, up: false, slots: 1 })
  try {
    tap.setPersistent(false)
  } finally {
    tap.close()
  }
}

/**
 * A locally administered unicast address that differs from the device's own in one bit of the first octet, so that it is
 * as unique as that one.
 */
export function derivedMac(kernelMac: MacAddress): MacAddress {
  const first = Math.floor(kernelMac / 2 ** 40)
  return (((first ^ 0x40) | 0x02) & 0xfe) * 2 ** 40 + (kernelMac % 2 ** 40)
}

function toConfig(options: TapOptions): TapConfig {
  const name = options.name ?? ''
  if (Buffer.byteLength(name) > MAX_NAME_LENGTH) {
    const message = `the TAP name ${name} is longer than ${MAX_NAME_LENGTH} octets: choose a shorter one`
    throw new TapError('ERR_TAP_NAME_TOO_LONG', message, 'ENAMETOOLONG', name)
  }
  if (/[/:%\s\0]/.test(name) || name === '.' || name === '..') {
    const message = `${JSON.stringify(name)} is not a name for an interface: use letters, digits, - and _`
    throw new TapError('ERR_TAP_NAME', message, 'EINVAL', name)
  }
  const offload = options.offload ?? false
  const slots = options.slots ?? 128
  const vnetHeaderSize = offload || options.vnetHdr === true ? 12 : 0
  const cut = vnetHeaderSize === 0 && (options.cut ?? true)
  return {
    name,
    slots,
    txSlots: slots,
    frameSize: offload ? MAX_FRAME_SIZE : 1518,
    txFrameSize: offload || cut ? MAX_FRAME_SIZE : 1518,
    headroom: HEADROOM,
    vnetHeaderSize,
    persist: options.persist === true ? 1 : 0,
    offload: offload ? 1 : 0,
    cut: cut ? 1 : 0,
    join: (options.join ?? !offload) ? 1 : 0,
    txQueueLength: options.txQueueLen ?? 32_768,
    mtu: options.mtu ?? 0,
    up: options.up === false ? 0 : 1,
  }
}

function openParts(config: TapConfig, onBatch: (count: number) => void): TapParts {
  try {
    return native().tapOpen(config, onBatch)
  } catch (error) {
    throw toTapError(error, config.name)
  }
}

function rethrow(error: TapError): never {
  throw error
}

function toTapError(error: unknown, name: string): unknown {
  if (!isSystemError(error)) return error
  const [code, advice] = diagnose(error, name)
  const device = name === '' ? 'a new TAP device' : `the TAP device ${name}`
  const message = `cannot open ${device}: ${error.message}: ${advice}`
  return new TapError(code, message, error.errno, name, error)
}

/** The stable code of a refusal, and what to do about it. */
function diagnose({ errno, syscall }: SystemError, name: string): [string, string] {
  if (syscall === 'open' && ['ENOENT', 'ENXIO', 'ENODEV'].includes(errno)) {
    const make = 'mkdir -p /dev/net && mknod /dev/net/tun c 10 200'
    return [
      'ERR_TAP_NO_DEVICE',
      `there is no ${TUN}: \`modprobe tun\`; in a container \`--device ${TUN}\`, or \`${make}\``,
    ]
  }
  if (errno === 'EACCES') {
    return [
      'ERR_TAP_PERMISSION',
      `this user may not open ${TUN}: run as root, or once \`chmod 0666 ${TUN}\` as root`,
    ]
  }
  if (errno === 'EPERM') {
    const command = 'unshare --user --map-root-user --net --mount'
    return ['ERR_TAP_PERMISSION', `CAP_NET_ADMIN is missing: run as root, or inside \`${command}\``]
  }
  if (errno === 'EBUSY') {
    const holders = holdersOf(name)
    const who = holders.length === 0 ? 'another process' : `process ${holders.join(', ')}`
    return ['ERR_TAP_BUSY', `${who} has it open: end that one, or choose another name`]
  }
  if (syscall === 'SIOCSIFMTU') return ['ERR_TAP_MTU', 'the MTU is out of range: use 68 to 65521']
  if (syscall === 'TUNSETIFF' && errno === 'EINVAL') {
    return [
      'ERR_TAP_NOT_A_TAP',
      'the name belongs to an interface of another kind: choose another name',
    ]
  }
  return ['ERR_TAP_SYSTEM', 'see the system error']
}

/** The processes that have the TAP `name` open, as far as this user may see. */
function holdersOf(name: string): string[] {
  return list('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid)) return false
    return list(`/proc/${pid}/fdinfo`).some((fd) => holds(`/proc/${pid}/fdinfo/${fd}`, name))
  })
}

function holds(path: string, name: string): boolean {
  try {
    return readFileSync(path, 'utf8').split('\n').includes(`iff:\t${name}`)
  } catch {
    return false
  }
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
