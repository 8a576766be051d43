/**
 * The watchdog of one lab, a process of its own: it waits until the pipe from the lab's maker breaks, which happens
 * however the maker ends, and clears away what is left. Started with the lab's folder as its only argument.
 */
import { readLab } from './lab-file.js'
import { tearDown } from './teardown.js'

const folder = process.argv[2] ?? ''

// Ctrl-C reaches the whole foreground group; the reaper outlives it to see the others off.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})

process.stdin.on('error', () => {})
process.stdin.resume()
process.stdin.once('close', async () => {
  const lab = readLab(folder)
  if (lab !== undefined) await tearDown(lab)
  process.exit(0)
})
