/**
 * A trace through the observer (O2).
 */

import { Observer, type ObserverOptions } from '../../cluster/observer.js'
import type { TraceConnection } from '../../cluster/trace-connection.js'
import { DropCounters } from '../../stack/base/counters.js'
import { EtherType } from '../../stack/wire/ethernet.js'
import { findNetworkLayer, NetworkLayer } from '../../stack/wire/link-type.js'
import { type CaptureSummary, readCaptureFile } from './capture-file.js'
import { StreamDigest } from './stream-digest.js'

/** A connection of the trace with the SHA-256 of its streams, in hexadecimal digits. */
export interface ReplayedConnection {
  readonly connection: TraceConnection
  readonly c2s: string
  readonly s2c: string
}

export interface Replayed {
  readonly file: CaptureSummary
  readonly connections: readonly ReplayedConnection[]
  readonly drops: DropCounters
  readonly segments: number
  /** Frames whose network layer is not IP, or is of a link type that cannot be read. */
  readonly otherFrames: number
  /** Frames of which the capture kept only a part. */
  readonly truncatedFrames: number
  readonly firstAt: number
  readonly lastAt: number
}

export interface ReplayOptions {
  readonly trustChecksums: boolean
  /** Where to write the streams of one connection. */
  readonly stream?: {
    readonly number: number
    readonly c2s: number | null
    readonly s2c: number | null
  }
  readonly onSegment?: ObserverOptions['onSegment']
  readonly onProgress?: (share: number) => void
}

/** Reads the capture at `path` to its end. Throws ERR_CAPTURE_FILE and ERR_INVALID_CAPTURE. */
export async function replay(path: string, options: ReplayOptions): Promise<Replayed> {
  const digests: { c2s: StreamDigest; s2c: StreamDigest }[] = []
  const drops = new DropCounters()
  const { stream, onSegment } = options
  const observer = new Observer(
    {
      trustChecksums: options.trustChecksums,
      ...(onSegment === undefined ? {} : { onSegment }),
      sinksFor: (number) => {
        const wanted = stream !== undefined && stream.number === number
        const c2s = new StreamDigest(wanted ? stream.c2s : null)
        const s2c = new StreamDigest(wanted ? stream.s2c : null)
        digests.push({ c2s, s2c })
        return {
          c2s: (bytes, from, to) => c2s.take(bytes, from, to),
          s2c: (bytes, from, to) => s2c.take(bytes, from, to),
        }
      },
    },
    drops,
  )
  const layer = new NetworkLayer()
  let otherFrames = 0
  let truncatedFrames = 0
  let firstAt = Number.NaN
  let now = 0
  const file = await readCaptureFile(
    path,
    (record) => {
      const { frame } = record
      // A frame without a time belongs behind the one before it.
      if (!Number.isNaN(record.at)) now = Math.max(now, record.at)
      if (Number.isNaN(firstAt)) firstAt = now
      if (record.originalLength > frame.length) truncatedFrames++
      const found = findNetworkLayer(layer, record.linkType, frame.view, frame.start, frame.end)
      if (found && layer.etherType === EtherType.IPV4) {
        observer.observeIpv4(frame, layer.start, layer.end, now)
      } else if (found && layer.etherType === EtherType.IPV6) {
        observer.observeIpv6(frame, layer.start, layer.end, now)
      } else {
        otherFrames++
      }
    },
    options.onProgress,
  )
  const connections = observer.connections.map((connection, i) => {
    const { c2s, s2c } = digests[i] as { c2s: StreamDigest; s2c: StreamDigest }
    return { connection, c2s: c2s.finish(), s2c: s2c.finish() }
  })
  const { segments } = observer
  return {
    file,
    connections,
    drops,
    segments,
    otherFrames,
    truncatedFrames,
    firstAt,
    lastAt: now,
  }
}
