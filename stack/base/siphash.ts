// hot path: no allocation per frame
/**
 * SipHash-2-4 with a 128-bit key over a few 32-bit words: the keyed hash of initial sequence numbers (RFC 6528) and of other
 * values that an outsider must not guess. Words are halves of the 64-bit state, because JavaScript has no fast 64-bit integers.
 */

/** A 128-bit key as four 32-bit words. */
export type SipKey = Int32Array

let v0l = 0
let v0h = 0
let v1l = 0
let v1h = 0
let v2l = 0
let v2h = 0
let v3l = 0
let v3h = 0

/** The low 32 bits of SipHash-2-4 of six words under `key`. */
export function sipHash(
  key: SipKey,
  a: number,
  b: number,
  c: number,
  d: number,
  e: number,
  f: number,
): number {
  const k0 = key[0] as number
  const k1 = key[1] as number
  const k2 = key[2] as number
  const k3 = key[3] as number
  v0l = k0 ^ 0x70736575
  v0h = k1 ^ 0x736f6d65
  v1l = k2 ^ 0x6e646f6d
  v1h = k3 ^ 0x646f7261
  v2l = k0 ^ 0x6e657261
  v2h = k1 ^ 0x6c796765
  v3l = k2 ^ 0x79746573
  v3h = k3 ^ 0x74656462
  block(a, b)
  block(c, d)
  block(e, f)
  block(0, 24 << 24)
  v2l ^= 0xff
  for (let i = 0; i < 4; i++) round()
  return v0l ^ v1l ^ v2l ^ v3l
}

function block(low: number, high: number): void {
  v3l ^= low
  v3h ^= high
  round()
  round()
  v0l ^= low
  v0h ^= high
}

function round(): void {
  let l = (v0l >>> 0) + (v1l >>> 0)
  v0h = (v0h + v1h + (l > 0xffffffff ? 1 : 0)) | 0
  v0l = l | 0
  let t = (v1l << 13) | (v1h >>> 19)
  v1h = ((v1h << 13) | (v1l >>> 19)) ^ v0h
  v1l = t ^ v0l
  t = v0l
  v0l = v0h
  v0h = t
  l = (v2l >>> 0) + (v3l >>> 0)
  v2h = (v2h + v3h + (l > 0xffffffff ? 1 : 0)) | 0
  v2l = l | 0
  t = (v3l << 16) | (v3h >>> 16)
  v3h = ((v3h << 16) | (v3l >>> 16)) ^ v2h
  v3l = t ^ v2l
  l = (v0l >>> 0) + (v3l >>> 0)
  v0h = (v0h + v3h + (l > 0xffffffff ? 1 : 0)) | 0
  v0l = l | 0
  t = (v3l << 21) | (v3h >>> 11)
  v3h = ((v3h << 21) | (v3l >>> 11)) ^ v0h
  v3l = t ^ v0l
  l = (v2l >>> 0) + (v1l >>> 0)
  v2h = (v2h + v1h + (l > 0xffffffff ? 1 : 0)) | 0
  v2l = l | 0
  t = (v1l << 17) | (v1h >>> 15)
  v1h = ((v1h << 17) | (v1l >>> 15)) ^ v2h
  v1l = t ^ v2l
  t = v2l
  v2l = v2h
  v2h = t
}
