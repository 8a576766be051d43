/**
 * An owner to be stopped and woken by tap.test.ts: it sends numbered leased frames as fast as its timer allows, and
 * answers its parent's questions. Run as a child with an IPC channel, in the parent's network namespace.
 */
import { Heartbeat } from '../../stack/io/heartbeat.js'
import { Tap } from '../../stack/io/tap.js'

const tap = new Tap({ name: process.argv[2] ?? '' })
const heartbeat = new Heartbeat({ id: 1, key: new Uint8Array(16), leaseMs: 100, priority: 0 })
tap.setLease(heartbeat)

let count = 0
setInterval(() => {
  heartbeat.turn()
  for (let i = 0; i < 4; i++) {
    const frame = tap.txFrame()
    frame.end = frame.start + 60
    frame.bytes.fill(0xff, frame.start, frame.start + 6)
    frame.view.setUint16(frame.start + 6, 0x0200)
    frame.bytes.fill(1, frame.start + 8, frame.start + 12)
    frame.view.setUint16(frame.start + 12, 0x88b5)
    frame.view.setUint32(frame.start + 14, count++)
    frame.leased = true
    tap.transmit(frame)
  }
  tap.flush()
}, 1)

process.on('message', (message) => {
  if (message === 'renew') heartbeat.renewLease()
  if (message === 'close') heartbeat.close()
  process.send?.({
    expired: heartbeat.expired,
    held: heartbeat.leaseHeld(),
    expirations: heartbeat.expirations,
    leaseDrops: tap.stats().leaseDrops,
    txFrames: tap.stats().txFrames,
  })
})
process.on('disconnect', () => process.exit(0))
process.send?.('ready')
