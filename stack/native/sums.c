/*
 * Internet checksums (RFC 1071), as both the joining and the cutting of segments need them, and the octets of headers.
 */
#include "native.h"

#include <string.h>

unsigned load16(const uint8_t *p) {
  return (unsigned)p[0] << 8 | p[1];
}

void store16(uint8_t *p, unsigned value) {
  p[0] = (uint8_t)(value >> 8);
  p[1] = (uint8_t)value;
}

uint32_t load32(const uint8_t *p) {
  return (uint32_t)load16(p) << 16 | load16(p + 2);
}

void store32(uint8_t *p, uint32_t value) {
  store16(p, value >> 16);
  store16(p + 2, value & 0xffff);
}

uint64_t sum_of(const uint8_t *p, size_t length, uint64_t sum) {
  uint64_t more = 0;
  for (; length >= 16; length -= 16, p += 16) {
    uint32_t words[4];
    memcpy(words, p, sizeof words);
    sum += (uint64_t)words[0] + words[1];
    more += (uint64_t)words[2] + words[3];
  }
  sum += more;
  for (; length >= 2; length -= 2, p += 2) {
    uint16_t word;
    memcpy(&word, p, sizeof word);
    sum += word;
  }
  if (length > 0) {
    uint8_t last[2] = {*p, 0};
    uint16_t word;
    memcpy(&word, last, sizeof word);
    sum += word;
  }
  return sum;
}

uint16_t fold(uint64_t sum) {
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return (uint16_t)sum;
}

uint64_t pseudo_sum(const uint8_t *ip, bool ipv6, uint8_t protocol, size_t length) {
  uint8_t rest[4] = {0, protocol};
  store16(rest + 2, (unsigned)length);
  return sum_of(rest, sizeof rest, ipv6 ? sum_of(ip + 8, 32, 0) : sum_of(ip + 12, 8, 0));
}
