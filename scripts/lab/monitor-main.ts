/**
 * The wire monitor as a process: listens on a port of the hub through a TAP, so that the demo's own work does not
 * distort what it measures. Started with the TAP's name, the virtual address, `offload` or `plain` and, if wanted, the path of
 * a pcap file, which has super-frames as they came;
 * talks to its parent through an IPC channel and ends with it.
 */
import * as fs from 'node:fs'
import { Tap } from '../../stack/io/tap.js'
import { completeChecksum } from '../../stack/link/software-checksum.js'
import { monotonicMs } from './lab.js'
import type { MonitorReply, MonitorRequest } from './wire-monitor.js'
import { WireProgress } from './wire-progress.js'

const REPORT_EVERY_MS = 25
/** Octets kept of each frame in the pcap file: all headers, and a taste of the text. */
const SNAP_LENGTH = 128
const LINKTYPE_ETHERNET = 1

const [, , device = '', virtual = '', link = '', pcapPath] = process.argv
const progress = new WireProgress(virtual)
const pcap = pcapPath === undefined ? undefined : openPcap(pcapPath)
const tap = new Tap({ name: device, persist: true, offload: link === 'offload' })
// One time for each batch: its frames were there together when the process woke up.
let batchAt = -1

tap.attach({
  onFrame(frame) {
    if (batchAt < 0) batchAt = monotonicMs()
    progress.observe(frame.bytes, frame.view, frame.start, frame.end, batchAt, frame.gsoSize)
    if (pcap === undefined) return
    completeChecksum(frame)
    writePcap(pcap, frame.bytes, frame.start, frame.end)
  },
  onBatchEnd() {
    batchAt = -1
  },
})

const timer = setInterval(() => send({ totals: progress.totals() }), REPORT_EVERY_MS)
process.on('message', (request: MonitorRequest) => {
  if (request.ask === 'stall') {
    const stallMs = progress.stall(request.failedAt, monotonicMs()) ?? null
    send({ answer: request.number, stallMs, usualMs: progress.usualSilence(request.failedAt) })
  } else if (request.ask === 'speakers') {
    send({ answer: request.number, speakers: progress.speakers() })
  } else {
    const drops = tap.stats().kernelDrops ?? 0
    send({ answer: request.number, totals: progress.totals(), drops })
  }
})
process.on('disconnect', () => {
  clearInterval(timer)
  tap.close()
  if (pcap !== undefined) fs.closeSync(pcap)
  process.exit(0)
})
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
send({ totals: progress.totals() })

function send(reply: MonitorReply): void {
  process.send?.(reply, undefined, undefined, () => {})
}

function openPcap(path: string): number {
  const header = Buffer.alloc(24)
  header.writeUInt32LE(0xa1b2c3d4, 0)
  header.writeUInt16LE(2, 4)
  header.writeUInt16LE(4, 6)
  header.writeUInt32LE(SNAP_LENGTH, 16)
  header.writeUInt32LE(LINKTYPE_ETHERNET, 20)
  const file = fs.openSync(path, 'w', 0o600)
  fs.writeSync(file, header)
  return file
}

function writePcap(file: number, bytes: Uint8Array, start: number, end: number): void {
  const kept = Math.min(end - start, SNAP_LENGTH)
  const record = Buffer.alloc(16 + kept)
  const now = performance.timeOrigin + performance.now()
  record.writeUInt32LE(Math.floor(now / 1000), 0)
  record.writeUInt32LE(Math.floor((now % 1000) * 1000), 4)
  record.writeUInt32LE(kept, 8)
  record.writeUInt32LE(end - start, 12)
  record.set(bytes.subarray(start, start + kept), 16)
  fs.writeSync(file, record)
}
