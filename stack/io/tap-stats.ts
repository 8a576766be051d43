/** What a TAP counts. */

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
