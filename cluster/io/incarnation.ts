/**
 * The incarnation of a node: a number that is greater in each life than in all before, so that peers can tell a new life from
 * declarations of an old one. It is the time, unless a clock that was set back says less than the last life's number.
 */
import type { Millis } from '../../stack/index.js'
import type { MirrorStore } from '../mirror-store.js'

// Bindings have ids from 1: the place of number 0 is free for the node itself.
const NODE_ITSELF = 0

/** The incarnation of a life that begins at `now`, in ms since the Unix epoch. It is on disk when this returns. */
export function nextIncarnation(store: MirrorStore, now: Millis): number {
  const incarnation = Math.max(Math.floor(now), store.epoch(NODE_ITSELF) + 1)
  store.putEpochSync(NODE_ITSELF, incarnation)
  return incarnation
}
