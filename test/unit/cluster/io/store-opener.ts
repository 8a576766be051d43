/**
 * A process that uses a store which others use at the same time: `node store-opener.js count PATH MS` counts in transactions and says how
 * often it found another number than it had left; `open PATH` opens the store and is killed.
 */
import { LmdbCheckpointStore } from '../../../../cluster/io/lmdb-checkpoint-store.js'

const [what = '', path = '', ms = '0'] = process.argv.slice(2)
const store = new LmdbCheckpointStore({ path, cluster: 'c' })
const table = store.open<number>('numbers')

async function count(): Promise<void> {
  const endAt = performance.now() + Number(ms)
  let left = table.get('n') ?? 0
  let lost = 0
  process.stdout.write('ready\n')
  for (let turns = 1; performance.now() < endAt; turns++) {
    store.transaction(() => {
      const found = table.get('n') ?? 0
      if (found !== left) lost++
      left = found + 1
      table.put('n', left)
    })
    // Most of the time nobody writes, as in a node.
    const goOnAt = performance.now() + (turns % 7) / 4
    while (performance.now() < goOnAt);
    if (turns % 50 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  process.stdout.write(`${JSON.stringify({ counted: left, lost })}\n`)
}

if (what === 'count') {
  await count()
} else {
  table.get('n')
  process.kill(process.pid, 'SIGKILL')
}
