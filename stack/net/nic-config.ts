/** What a NIC is made with, and who may listen to all that it hears. */
import type { Millis } from '../base/time.js'
import type { Offload } from '../link/link-endpoint.js'
import type { EthernetHeader, MacAddress } from '../wire/ethernet.js'
import type { Frame } from '../wire/frame.js'

/** Sees every frame on the link, before any filter. `frame` and `ethernet` are borrowed. */
export interface FrameSnoop {
  onFrame(frame: Frame, ethernet: EthernetHeader, now: Millis): void
}

/** A link to attach a stack to. */
export interface NicConfig {
  readonly mac: MacAddress
  readonly mtu: number
  /** 802.1Q VLAN, 1 .. 4094: frames leave with its tag, and those of other VLANs are not for us. Default: without a tag. */
  readonly vlan?: number
  /** What the device takes over; nothing when absent. */
  readonly offload?: Offload
}
