/** sipHash against SipHash-2-4 written out with 64-bit integers, which is itself held to the published example. */
import fc from 'fast-check'
import t from 'tap'
import { sipHash } from '../../../stack/base/siphash.js'

const MASK = (1n << 64n) - 1n

function rotated(x: bigint, bits: bigint): bigint {
  return ((x << bits) | (x >> (64n - bits))) & MASK
}

/** SipHash-2-4 as its authors describe it (Aumasson and Bernstein, 2012, section 2.1). */
function plainSipHash(key: Uint8Array, message: Uint8Array): bigint {
  const keyView = new DataView(key.buffer)
  const k0 = keyView.getBigUint64(0, true)
  const k1 = keyView.getBigUint64(8, true)
  let v0 = k0 ^ 0x736f6d6570736575n
  let v1 = k1 ^ 0x646f72616e646f6dn
  let v2 = k0 ^ 0x6c7967656e657261n
  let v3 = k1 ^ 0x7465646279746573n
  const rounds = (count: number) => {
    for (let i = 0; i < count; i++) {
      v0 = (v0 + v1) & MASK
      v1 = rotated(v1, 13n) ^ v0
      v0 = rotated(v0, 32n)
      v2 = (v2 + v3) & MASK
      v3 = rotated(v3, 16n) ^ v2
      v0 = (v0 + v3) & MASK
      v3 = rotated(v3, 21n) ^ v0
      v2 = (v2 + v1) & MASK
      v1 = rotated(v1, 17n) ^ v2
      v2 = rotated(v2, 32n)
    }
  }
  const padded = new Uint8Array((message.length & ~7) + 8)
  padded.set(message)
  padded[padded.length - 1] = message.length & 0xff
  const view = new DataView(padded.buffer)
  for (let at = 0; at < padded.length; at += 8) {
    const block = view.getBigUint64(at, true)
    v3 ^= block
    rounds(2)
    v0 ^= block
  }
  v2 ^= 0xffn
  rounds(4)
  return v0 ^ v1 ^ v2 ^ v3
}

const counting = (length: number) => Uint8Array.from({ length }, (_, i) => i)

t.test('the published example', async (t) => {
  t.equal(plainSipHash(counting(16), counting(15)), 0xa129ca6149be45e5n)
})

t.test('sipHash is the low half of it for six words', async (t) => {
  const word = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })
  const words = fc.tuple(word, word, word, word, word, word)
  fc.assert(
    fc.property(fc.tuple(word, word, word, word), words, (key, message) => {
      const keyWords = Int32Array.from(key)
      const expected = plainSipHash(
        new Uint8Array(keyWords.buffer),
        new Uint8Array(Int32Array.from(message).buffer),
      )
      return sipHash(keyWords, ...message) >>> 0 === Number(expected & 0xffffffffn)
    }),
    { numRuns: 500 },
  )
  t.pass('holds for all samples')
})
