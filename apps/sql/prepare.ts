/** Makes a data directory beforehand, which takes some seconds: for installations, and for tests that want many. */
import * as fs from 'node:fs'
import { DatabaseThread } from './thread.js'

/** Resolves when the data directory in `folder` is there. No node may have it open. Rejects with ERR_SQL_THREAD. */
export async function prepareData(folder: string): Promise<void> {
  fs.mkdirSync(folder, { recursive: true, mode: 0o700 })
  const thread = new DatabaseThread(() => {})
  try {
    await thread.ask({ kind: 'prepare', folder }).result
  } finally {
    await thread.end('the data directory is made')
  }
}
