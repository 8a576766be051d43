/**
 * The way of a frame through a stack allocates nothing but the views by which text is copied natively: one where it leaves the
 * sender's buffer and one where it enters the receiver's; a super-frame's length of text is also written and read by one each.
 * Loss recovery keeps times and offsets in doubles, a few of which the engine boxes. Asked of the heap, not of the clock, so that a busy machine changes nothing.
 */
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const PROGRAM = fileURLToPath(new URL('./steady-state.js', import.meta.url))

// Copies per frame with text; a buffer's end cuts some of them in two.
for (const [mode, copies] of [
  ['plain', 2.1],
  ['offload', 4.4],
] as const) {
  t.test(
    `T8: a million frames (${mode}) leave views on the heap, and at most eight boxed numbers each besides`,
    (t) => {
      const flags = ['--expose-gc', '--max-semi-space-size=512', '--min-semi-space-size=512']
      const said = execFileSync(process.execPath, [...flags, PROGRAM, '1000000', mode], {
        encoding: 'utf8',
      })
      const { frames, received, growth, view, share } = JSON.parse(said)
      t.ok(frames >= 1_000_000, `${frames} frames, ${received} octets`)
      const sorted = [...growth].sort((a, b) => a - b)
      // The engine's own work, such as a late compilation, shows in a slice or two.
      // Numbers that are no small integers are boxed by the engine when they leave a function: sixteen octets each. Which ones
      // depends on what it has compiled into what by then.
      const budget = copies * share * view + 128
      const median = sorted[growth.length >> 1]
      t.ok(median < budget, `${median} octets per frame; the views take ${budget} (${view} each)`)
      t.end()
    },
  )
}
