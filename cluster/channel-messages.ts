/**
 * ChannelMessages: what peers say over the control channel, besides declarations, brought to the part of the binding that it is about.
 */
import { DropReason, type Millis } from '../stack/index.js'
import type { NodeId } from './binding.js'
import { decodeFlowMessage, isFlowMessage } from './flow-message.js'
import type { NodeWorld } from './node-options.js'
import type { Ownership } from './ownership.js'
import { decodeRecoveryMessage, isRecoveryMessage } from './recovery-message.js'
import { decodeRepairMessage, isRepairMessage } from './repair-message.js'
import { decodeSnapshotMessage, isSnapshotMessage } from './snapshot.js'
import { decodeStrictMessage, isStrictMessage } from './strict-message.js'

/** Takes one message of `from`. `bytes` is borrowed. False: it is none of these. One that is malformed is counted. */
export function takeMessage(
  from: NodeId,
  bytes: Uint8Array,
  { authenticator, stack }: NodeWorld,
  ownershipOf: (binding: number) => Ownership | undefined,
  now: Millis,
): boolean {
  const malformed = (reason: DropReason): true => {
    stack.drops.count(reason)
    return true
  }
  if (isSnapshotMessage(bytes)) {
    const message = decodeSnapshotMessage(bytes, authenticator)
    if (message === null) return malformed(DropReason.SNAPSHOT_MALFORMED)
    ownershipOf(message.binding)?.snapshots.handle(from, message, now)
  } else if (isRepairMessage(bytes)) {
    const message = decodeRepairMessage(bytes, authenticator)
    if (message === null) return malformed(DropReason.REPAIR_MALFORMED)
    ownershipOf(message.binding)?.snooper.repair?.handle(from, message, now)
  } else if (isStrictMessage(bytes)) {
    const message = decodeStrictMessage(bytes, authenticator)
    if (message === null) return malformed(DropReason.REPAIR_MALFORMED)
    ownershipOf(message.binding)?.snooper.strict?.handle(from, message, now)
  } else if (isFlowMessage(bytes)) {
    const message = decodeFlowMessage(bytes, authenticator)
    if (message === null) return malformed(DropReason.SNAPSHOT_MALFORMED)
    ownershipOf(message.key.binding)?.carriage.handle(from, message, now)
  } else if (isRecoveryMessage(bytes)) {
    const message = decodeRecoveryMessage(bytes, authenticator)
    if (message === null) return malformed(DropReason.RECOVERY_MALFORMED)
    ownershipOf(message.binding)?.recovery.handle(from, message)
  } else return false
  return true
}
