/** Octets in a queue: they come out as they went in, and small pieces of them take no more memory than they must. */
import fc from 'fast-check'
import t from 'tap'
import { Chunks } from '../../../apps/chunks.js'

t.test('A2: octets come out as they went in, in any pieces', async (t) => {
  const step = fc.record({
    push: fc.integer({ min: 0, max: 3000 }),
    small: fc.boolean(),
    peek: fc.integer({ min: 0, max: 6000 }),
    drop: fc.integer({ min: 0, max: 6000 }),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const chunks = new Chunks()
      let wanted = Buffer.alloc(0)
      let next = 0
      const given: [Buffer, Buffer][] = []
      for (const { push, small, peek, drop } of steps) {
        const chunk = Buffer.from(
          Array.from({ length: small ? push % 40 : push }, () => next++ % 251),
        )
        chunks.push(chunk)
        wanted = Buffer.concat([wanted, chunk])
        const seen = chunks.peek(peek)
        given.push([seen, wanted.subarray(0, peek)])
        const length = Math.min(drop, wanted.length)
        if (small) chunks.drop(length)
        else given.push([chunks.take(length), wanted.subarray(0, length)])
        wanted = wanted.subarray(length)
        if (chunks.length !== wanted.length) return false
      }
      return given.every(([seen, octets]) => seen.equals(octets))
    }),
  )
  t.pass('any pieces')
})

t.test('A2: a million octets one by one take a few million', async (t) => {
  const chunks = new Chunks()
  const before = process.memoryUsage()
  for (let i = 0; i < 1_000_000; i++) chunks.push(Buffer.from([i]))
  const after = process.memoryUsage()
  const external = after.arrayBuffers - before.arrayBuffers
  t.ok(external < 5_000_000, `${external} octets of buffers`)
  t.equal(chunks.peek(1_000_000)[999_999], 999_999 & 0xff)
})
