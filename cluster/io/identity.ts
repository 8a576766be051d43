/**
 * What tells this host and this process from others, for fencing: a host is one boot and one network namespace, because only
 * from within can a neighbour's bridge port be shut.
 */
import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import type { FenceTarget } from '../declaration.js'
import { readStartTime } from './fence.js'

/** A number for this host, this boot and this network namespace. */
function hostIdentity(): number {
  const boot = fs.readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
  const namespace = fs.readlinkSync('/proc/self/ns/net')
  return createHash('sha256').update(`${boot} ${namespace}`).digest().readUInt32BE(0)
}

/** How a peer on the same host can silence this process on the bridge port `port`. */
export function ownFenceTarget(port: string): FenceTarget {
  return {
    host: hostIdentity(),
    pid: process.pid,
    startTime: readStartTime(process.pid) ?? 0,
    port,
  }
}
