/** What a TAP counts. */
import { readFileSync } from 'node:fs'

/** What a device has seen; all counts grow from 0 at open. */
export interface TapStats {
  readonly rxFrames: number
  readonly rxBytes: number
  readonly rxBatches: number
  readonly txFrames: number
  readonly txBytes: number
  /** Frames the device's kernel queue had no room for: each is a gap for a snooper. Null: the device is gone. */
  readonly kernelDrops: number | null
  readonly rxDrops: {
    readonly oversize: number
    readonly runt: number
    /** Frames to stations that `setFilter` leaves out. */
    readonly filtered: number
    readonly noSink: number
  }
  readonly txDrops: {
    readonly full: number
    readonly down: number
    readonly invalid: number
    readonly oversize: number
    readonly other: number
  }
  /** Frames not sent because the lease did not hold. */
  readonly leaseDrops: number
}

/**
 * Frames the kernel dropped in front of the device's queue. From /proc, which shows this process's network namespace;
 * /sys shows the one it was mounted in.
 */
export function kernelDrops(name: string): number | null {
  const line = readFileSync('/proc/self/net/dev', 'utf8')
    .split('\n')
    .find((row) => row.trimStart().startsWith(`${name}:`))
  if (line === undefined) return null
  const columns = line
    .slice(line.indexOf(':') + 1)
    .trim()
    .split(/\s+/)
  return Number(columns[11])
}
