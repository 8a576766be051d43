/**
 * The clock of a node: milliseconds since the Unix epoch that never go back. The epoch is read once, when the process
 * starts; from then on the monotonic clock counts, so that setting the host's clock changes nothing here.
 */
import { performance } from 'node:perf_hooks'
import type { Clock, Millis } from '../base/time.js'

const ORIGIN = performance.timeOrigin

export const systemClock: Clock = {
  now(): Millis {
    return ORIGIN + performance.now()
  },
}
