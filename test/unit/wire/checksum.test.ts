import fc from 'fast-check'
import t from 'tap'
import {
  combine,
  combineAt,
  completeTransport,
  internetChecksum,
  MAX_CHECKSUM_LENGTH,
  pseudoHeaderSum,
  sealTransport,
  sumOf,
  updateChecksum,
  verifyChecksum,
  verifyTransport,
} from '../../../stack/wire/checksum.js'
import { ChecksumState, Frame } from '../../../stack/wire/frame.js'
import { type Ipv4Fields, plainPseudoSum, plainSum } from '../../../stack/wire/schema.js'

const octets = fc.uint8Array({ minLength: 0, maxLength: 300 })

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

t.test('the example of RFC 1071 §3', async (t) => {
  const bytes = Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7)
  t.equal(sumOf(viewOf(bytes), 0, 8), 0xddf2)
  t.equal(internetChecksum(viewOf(bytes), 0, 8), 0x220d)
})

t.test('sumOf agrees with the definition at any alignment and length', async (t) => {
  fc.assert(
    fc.property(octets, fc.nat(40), fc.nat(40), (bytes, from, cut) => {
      const start = Math.min(from, bytes.length)
      const end = Math.max(start, bytes.length - cut)
      return sumOf(viewOf(bytes), start, end) === plainSum(bytes.subarray(start, end))
    }),
    { numRuns: 2000 },
  )
  t.pass('holds for all samples')
})

t.test('sumOf does not overflow on the longest range of ones', async (t) => {
  const bytes = new Uint8Array(MAX_CHECKSUM_LENGTH).fill(0xff)
  for (const length of [65_535, 65_536, MAX_CHECKSUM_LENGTH]) {
    t.equal(sumOf(viewOf(bytes), 0, length), plainSum(bytes.subarray(0, length)))
  }
  const odd = new Uint8Array(65_535)
  for (let i = 0; i < odd.length; i++) odd[i] = (i * 31 + 7) ^ (i >> 8)
  t.equal(sumOf(viewOf(odd), 1, 65_535), plainSum(odd.subarray(1)))
})

t.test('partial sums combine to the sum of the whole, cut anywhere', async (t) => {
  fc.assert(
    fc.property(octets, fc.nat(300), (bytes, at) => {
      const cut = Math.min(at, bytes.length)
      const view = viewOf(bytes)
      const first = sumOf(view, 0, cut)
      const second = sumOf(view, cut, bytes.length)
      const whole = sumOf(view, 0, bytes.length)
      return (
        combineAt(first, second, cut) === whole &&
        (cut % 2 === 1 || combine(first, second) === whole)
      )
    }),
    { numRuns: 1000 },
  )
  t.pass('holds for all samples')
})

t.test('a filled-in checksum verifies, and any single wrong bit does not', async (t) => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 4, maxLength: 120 }),
      fc.nat(),
      fc.nat(0xffff),
      (bytes, bit, initial) => {
        const view = viewOf(bytes)
        view.setUint16(2, 0)
        view.setUint16(2, internetChecksum(view, 0, bytes.length, initial))
        if (!verifyChecksum(view, 0, bytes.length, initial)) return false
        const wrong = bit % (8 * bytes.length)
        bytes[wrong >> 3] = (bytes[wrong >> 3] ?? 0) ^ (1 << (wrong & 7))
        return !verifyChecksum(view, 0, bytes.length, initial)
      },
    ),
    { numRuns: 1000 },
  )
  t.pass('holds for all samples')
})

t.test('updateChecksum equals computing anew', async (t) => {
  const word = fc.nat(0xffff)
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 8, maxLength: 40 }), word, (bytes, after) => {
      const view = viewOf(bytes)
      bytes[4] = 1 // All octets zero is the one case in which the two zeros differ.
      view.setUint16(0, 0)
      view.setUint16(0, internetChecksum(view, 0, bytes.length))
      const updated = updateChecksum(view.getUint16(0), view.getUint16(2), after)
      view.setUint16(2, after)
      view.setUint16(0, updated)
      return verifyChecksum(view, 0, bytes.length)
    }),
    { numRuns: 1000 },
  )
  t.pass('holds for all samples')
})

t.test('the pseudo-header sums as its twelve octets do', async (t) => {
  const address = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })
  fc.assert(
    fc.property(address, address, fc.nat(255), fc.nat(2000), (src, dst, protocol, length) => {
      const fields = { src, dst, protocol } as Ipv4Fields
      const expected = plainPseudoSum(fields, new Uint8Array(length))
      return pseudoHeaderSum(src, dst, protocol, length) === expected
    }),
    { numRuns: 1000 },
  )
  t.pass('holds for all samples')
})

t.test('transport checksums: sealed, verified, left to a device, completed', async (t) => {
  const frame = new Frame()
  frame.reset()
  frame.end = frame.start + 33
  for (let at = frame.start; at < frame.end; at++) frame.bytes[at] = at
  frame.view.setUint16(frame.start + 16, 0)
  sealTransport(frame, 0x0a4d0009, -2, 6, 16, false)
  const whole = frame.view.getUint16(frame.start + 16)
  t.ok(verifyTransport(frame, frame.start, frame.end, 0x0a4d0009, -2, 6))
  t.notOk(verifyTransport(frame, frame.start, frame.end, 0x0a4d0009, -3, 6), 'other destination')

  frame.view.setUint16(frame.start + 16, 0)
  sealTransport(frame, 0x0a4d0009, -2, 6, 16, true)
  t.equal(frame.checksum, ChecksumState.PARTIAL)
  t.equal(frame.view.getUint16(frame.start + 16), pseudoHeaderSum(0x0a4d0009, -2, 6, 33))
  t.ok(verifyTransport(frame, frame.start, frame.end, 0x0a4d0009, -2, 6), 'the device vouches')
  completeTransport(frame, frame.start, frame.end, 16)
  t.equal(frame.view.getUint16(frame.start + 16), whole)
  t.equal(frame.checksum, ChecksumState.NONE)
  completeTransport(frame, frame.start, frame.end, 16)
  t.equal(frame.view.getUint16(frame.start + 16), whole, 'completing twice changes nothing')
})
