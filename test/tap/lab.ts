/** What the tests on a real kernel share: waiting, `ip`, and frames that can be told from the host's own. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { ChecksumState, type Frame } from '../../stack/wire/frame.js'

/** The tests' own EtherType: IEEE 802, local experimental. */
export const EXPERIMENTAL = 0x88b5

export const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

export async function until(holds: () => boolean, ms = 3000): Promise<boolean> {
  for (const end = Date.now() + ms; Date.now() < end; await sleep(2)) if (holds()) return true
  return holds()
}

export const ip = (args: string) =>
  execFileSync('ip', args.split(' '), { stdio: ['ignore', 'pipe', 'pipe'] }).toString()
export const exists = (name: string) =>
  readFileSync('/proc/self/net/dev', 'utf8').includes(`${name}:`)

/** Collects what arrives of the tests' own EtherType. */
export class Collector {
  readonly frames: Buffer[] = []
  readonly batches: number[] = []
  last: { checksum: number; gsoSize: number } | null = null
  #inBatch = 0
  onFrame(frame: Frame): void {
    if (frame.view.getUint16(frame.start + 12) !== EXPERIMENTAL) return
    this.frames.push(Buffer.from(frame.bytes.subarray(frame.start, frame.end)))
    this.last = { checksum: frame.checksum, gsoSize: frame.gsoSize }
    this.#inBatch++
  }
  onBatchEnd(): void {
    this.batches.push(this.#inBatch)
    this.#inBatch = 0
  }
}

export function numbered(frame: Frame, number: number, length: number): Frame {
  frame.reset()
  frame.end = frame.start + length
  for (let i = 0; i < length; i++) frame.bytes[frame.start + i] = (i * 7 + number) & 255
  frame.bytes.fill(0xff, frame.start, frame.start + 6)
  frame.view.setUint16(frame.start + 6, 0x0200)
  frame.view.setUint16(frame.start + 12, EXPERIMENTAL)
  frame.view.setUint32(frame.start + 14, number)
  return frame
}

export const bytesOf = (frame: Frame) => Buffer.from(frame.bytes.subarray(frame.start, frame.end))

/** A hub in this namespace with the named TAPs on it. */
export function hub(bridge: string, ...taps: string[]): void {
  ip(`link add ${bridge} type bridge ageing_time 0 mcast_snooping 0`)
  ip(`link set ${bridge} up`)
  for (const tap of taps) ip(`link set ${tap} master ${bridge}`)
}

/** A TCP segment over IPv4 with `length` octets of text, its checksum left to the device. */
export function superFrame(frame: Frame, length: number, gsoSize: number): Frame {
  frame.reset()
  const ethernet = frame.start
  const internet = ethernet + 14
  const tcp = internet + 20
  frame.end = tcp + 20 + length
  frame.bytes.fill(0, ethernet, frame.end)
  frame.bytes.fill(0xff, ethernet, ethernet + 6)
  frame.view.setUint16(ethernet + 6, 0x0200)
  frame.view.setUint16(ethernet + 12, 0x0800)
  frame.view.setUint16(internet, 0x4500)
  frame.view.setUint16(internet + 2, 40 + length)
  frame.view.setUint16(internet + 8, 0x4006)
  frame.view.setUint32(internet + 12, 0x0a000001)
  frame.view.setUint32(internet + 16, 0x0a000002)
  frame.view.setUint16(internet + 10, ~sum(bytesOf(frame).subarray(14, 34), 0) & 0xffff)
  frame.view.setUint16(tcp + 12, 0x5010)
  frame.view.setUint16(tcp + 16, sum(bytesOf(frame).subarray(26, 34), 6 + 20 + length))
  frame.checksum = ChecksumState.PARTIAL
  frame.gsoSize = gsoSize
  return frame
}

function sum(bytes: Buffer, initial: number): number {
  let total = initial
  for (let i = 0; i < bytes.length; i += 2) total += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0)
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16)
  return total
}

/** The sum over pseudo-header and segment: 0xffff when the checksum is right. */
export function tcpSum(frame: Buffer): number {
  const end = 14 + frame.readUInt16BE(16)
  return sum(frame.subarray(26, 34), sum(frame.subarray(34, end), 6 + end - 34))
}
