/*
 * Joining: segments of one flow that follow each other directly become one super-frame before JavaScript sees them, as a device with
 * receive offload would have given them. Only what loses nothing by it is joined: full segments with text and ACK alone, whose headers
 * differ in nothing but sequence number, identification, lengths, checksums and a PSH in the last one, and whose checksums are right.
 * Whatever else comes is passed on as it came, in its order.
 */
#include "native.h"

#include <string.h>

enum { ETHERNET = 14, IPV4 = 20, IPV6 = 40, TCP = 20, PROTOCOL_TCP = 6, FLAG_ACK = 0x10, FLAG_PSH = 0x08 };

/* The least text of a segment for which it pays. */
enum { LEAST_TEXT = 512 };

/* The longest IP datagram. */
enum { MOST = 65535 };

/* True when both checksums of a frame are right whose headers are at `head` and whose text is elsewhere. */
static bool is_whole(const join_t *join, const uint8_t *head, const uint8_t *text, size_t length) {
  const uint8_t *ip = head + ETHERNET, *tcp = head + join->tcp;
  if (!join->ipv6 && fold(sum_of(ip, IPV4, 0)) != 0xffff) return false;
  size_t own = join->header - join->tcp;
  /* Headers are a multiple of four octets long, so the text begins with a whole word. */
  return fold(sum_of(text, length, sum_of(tcp, own, pseudo_sum(ip, join->ipv6, PROTOCOL_TCP, own + length)))) == 0xffff;
}

/* True when the lengths in the IP header at `ip` are those of a datagram of so many octets. */
static bool has_length(const uint8_t *ip, bool ipv6, size_t length) {
  return ipv6 ? load16(ip + 4) == length - IPV6 : load16(ip + 2) == length;
}

void join_start(join_t *join, uint8_t *frame, size_t length) {
  const uint8_t *ip = frame + ETHERNET;
  join->open = false;
  join->segments = 1;
  if (length < ETHERNET + IPV4 + TCP + LEAST_TEXT) return;
  unsigned type = load16(frame + 12);
  join->ipv6 = type == 0x86dd;
  if (join->ipv6) {
    if (ip[0] >> 4 != 6 || ip[6] != PROTOCOL_TCP) return;
  } else if (type != 0x0800 || ip[0] != 0x45 || load16(ip + 6) != 0x4000 || ip[9] != PROTOCOL_TCP) {
    /* Only what may not be cut does without its identification (RFC 6864). */
    return;
  }
  join->tcp = ETHERNET + (join->ipv6 ? IPV6 : IPV4);
  const uint8_t *tcp = frame + join->tcp;
  join->header = join->tcp + (size_t)(tcp[12] >> 4) * 4;
  if (join->header < join->tcp + TCP || join->header + LEAST_TEXT > length) return;
  if ((tcp[12] & 0x0f) != 0 || tcp[13] != FLAG_ACK || load16(tcp + 18) != 0) return;
  if (!has_length(ip, join->ipv6, length - ETHERNET)) return;
  join->frame = frame;
  join->length = length;
  join->size = length - join->header;
  join->next = load32(tcp + 4) + (uint32_t)join->size;
  join->open = true;
}

/* True when nothing but what a segment of the same flow must have of its own differs. */
static bool is_alike(const join_t *join, const uint8_t *head) {
  const uint8_t *frame = join->frame;
  const uint8_t *ours = frame + ETHERNET, *its = head + ETHERNET;
  if (memcmp(frame, head, ETHERNET) != 0) return false;
  if (join->ipv6) {
    if (memcmp(ours, its, 4) != 0 || memcmp(ours + 6, its + 6, 34) != 0) return false;
  } else if (memcmp(ours, its, 2) != 0 || memcmp(ours + 6, its + 6, 4) != 0 || memcmp(ours + 12, its + 12, 8) != 0) {
    return false;
  }
  ours = frame + join->tcp;
  its = head + join->tcp;
  if (memcmp(ours, its, 4) != 0 || memcmp(ours + 8, its + 8, 5) != 0) return false;
  if ((its[13] & ~FLAG_PSH) != FLAG_ACK || memcmp(ours + 14, its + 14, 2) != 0) return false;
  return memcmp(ours + 18, its + 18, join->header - join->tcp - 18) == 0;
}

bool join_add(join_t *join, const uint8_t *head, size_t length) {
  const uint8_t *text = join->frame + join->length;
  if (length == 0 || length > join->size || join->length - ETHERNET + length > MOST) return false;
  if (!is_alike(join, head) || load32(head + join->tcp + 4) != join->next) return false;
  if (!has_length(head + ETHERNET, join->ipv6, join->header - ETHERNET + length)) return false;
  if (!is_whole(join, head, text, length)) return false;
  if (join->segments == 1 && !is_whole(join, join->frame, join->frame + join->header, join->size)) return false;
  uint8_t flags = head[join->tcp + 13];
  join->frame[join->tcp + 13] |= flags;
  join->length += length;
  join->next += (uint32_t)length;
  join->segments++;
  /* What is pushed or short is the end of something. */
  if (length < join->size || (flags & FLAG_PSH) != 0) join->open = false;
  return true;
}

bool join_end(join_t *join) {
  join->open = false;
  if (join->segments < 2) return false;
  uint8_t *ip = join->frame + ETHERNET;
  size_t length = join->length - ETHERNET;
  if (join->ipv6) {
    store16(ip + 4, (unsigned)(length - IPV6));
  } else {
    store16(ip + 2, (unsigned)length);
    store16(ip + 10, 0);
    uint16_t sum = (uint16_t)~fold(sum_of(ip, IPV4, 0));
    memcpy(ip + 10, &sum, sizeof sum);
  }
  /* As a local sender would leave it to the device: the pseudo-header's sum. */
  uint16_t sum = fold(pseudo_sum(ip, join->ipv6, PROTOCOL_TCP, join->length - join->tcp));
  memcpy(join->frame + join->tcp + 16, &sum, sizeof sum);
  return true;
}
