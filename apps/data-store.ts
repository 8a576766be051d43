/** The store of the cluster as an application sees it. */
import type { CheckpointStore } from '../cluster/io/index.js'

/** Where an application's data lie, beside the checkpoints of its connections and in the same transactions (A2). */
export type DataStore = Pick<CheckpointStore, 'transaction' | 'open'>
