/** What a download is made of behind a take-over: the octets at once, and the stream of the rest. */
import * as fs from 'node:fs'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import t from 'tap'
import { lookAt, openPart } from '../../../apps/files/haste.js'

const folder = t.testdir()
const path = join(folder, 'file')
const octets = Buffer.from(Array.from({ length: 150_000 }, (_, i) => i % 251))
fs.writeFileSync(path, octets)

async function whole(first: number, last: number, hurries: boolean): Promise<Buffer> {
  const { head, rest } = openPart(path, first, last, hurries)
  return Buffer.concat([
    head ?? Buffer.alloc(0),
    rest === null ? Buffer.alloc(0) : await buffer(rest),
  ])
}

t.test('A3: head and rest are the part, octet by octet', async (t) => {
  for (const hurries of [true, false]) {
    for (const [first, last] of [
      [0, 149_999],
      [1000, 149_999],
      [149_000, 149_999],
      [0, 65_535],
      [5, 65_541],
      [7, 7],
    ] as const) {
      t.ok((await whole(first, last, hurries)).equals(octets.subarray(first, last + 1)))
    }
  }
})

t.test('A3: who hurries has the first octets without a turn of the loop', (t) => {
  const { head, rest } = openPart(path, 10, 149_999, true)
  t.equal(head?.length, 65_536)
  t.ok(head !== null && octets.subarray(10, 65_546).equals(head))
  rest?.destroy()
  t.end()
})

t.test('A3: what is not there is told as ever', async (t) => {
  const missing = join(folder, 'missing')
  t.throws(() => openPart(missing, 0, 1, true), { code: 'ENOENT' })
  await t.rejects(lookAt(missing, true), { code: 'ENOENT' })
  await t.rejects(lookAt(missing, false), { code: 'ENOENT' })
  t.equal((await lookAt(path, true)).size, octets.length)
})

t.test('A3: a slow disk keeps the loop for so long, and then the threads are asked', async (t) => {
  const { performance } = globalThis
  const { now } = performance
  let passed = 0
  t.teardown(() => {
    performance.now = now
  })
  // Each look takes 7 ms by this clock, beginning far behind what was spent above.
  performance.now = () => 1e9 + 3.5 * passed++
  const atOnce = (): boolean => {
    const { head, rest } = openPart(path, 0, 99_999, true)
    rest?.destroy()
    return head !== null
  }
  t.same([1, 2, 3, 4, 5, 6, 7, 8].map(atOnce), [true, true, true, true, true, true, false, false])
  performance.now = () => 2e9
  t.ok(atOnce(), 'a while later there is time again')
})
