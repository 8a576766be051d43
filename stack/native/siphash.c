/* SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed 64-bit tag for short messages. It authenticates heartbeats. */
#include "native.h"

static uint64_t rotate(uint64_t x, int bits) {
  return (x << bits) | (x >> (64 - bits));
}

static uint64_t load_le(const uint8_t *p, size_t octets) {
  uint64_t x = 0;
  for (size_t i = 0; i < octets; i++) x |= (uint64_t)p[i] << (8 * i);
  return x;
}

static void rounds(uint64_t v[4], int count) {
  while (count-- > 0) {
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
  }
}

uint64_t siphash24(const uint8_t key[16], const uint8_t *data, size_t length) {
  uint64_t k0 = load_le(key, 8), k1 = load_le(key + 8, 8);
  uint64_t v[4] = {
      k0 ^ 0x736f6d6570736575u, k1 ^ 0x646f72616e646f6du,
      k0 ^ 0x6c7967656e657261u, k1 ^ 0x7465646279746573u,
  };
  size_t whole = length - length % 8;
  for (size_t i = 0; i < whole; i += 8) {
    uint64_t word = load_le(data + i, 8);
    v[3] ^= word;
    rounds(v, 2);
    v[0] ^= word;
  }
  uint64_t last = load_le(data + whole, length % 8) | (uint64_t)(length & 0xff) << 56;
  v[3] ^= last;
  rounds(v, 2);
  v[0] ^= last;
  v[2] ^= 0xff;
  rounds(v, 4);
  return v[0] ^ v[1] ^ v[2] ^ v[3];
}
