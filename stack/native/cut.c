/*
 * Cutting: what a device with segmentation and checksum offload would do with a frame that is sent, for one that has neither: a
 * super-frame becomes segments, each with headers of its own, and checksums that were left open are completed. The text stays where it
 * is: a segment is written from two places.
 */
#include "native.h"

#include <string.h>

enum { ETHERNET = 14, IPV4 = 20, IPV6 = 40, PROTOCOL_TCP = 6, PROTOCOL_UDP = 17 };
enum { FLAG_FIN = 0x01, FLAG_PSH = 0x08, FLAG_CWR = 0x80 };

bool cut_start(cut_t *cut, const uint8_t *frame, size_t length, const uint8_t *text, size_t text_length, size_t size) {
  memset(cut, 0, sizeof *cut);
  size_t at = vnet_transport(frame, length, &cut->protocol, &cut->ipv6);
  bool tcp = cut->protocol == PROTOCOL_TCP;
  if (at == 0 || (!tcp && (cut->protocol != PROTOCOL_UDP || size > 0)) || at + (tcp ? 20 : 8) > length) return false;
  size_t header = at + (tcp ? (size_t)(frame[at + 12] >> 4) * 4 : 8);
  if (header < at + 8 || header > length || header > sizeof cut->head) return false;
  /* What is said to lie elsewhere is all of the text. */
  if (text != NULL && header != length) return false;
  cut->frame = frame;
  cut->ip = load16(frame + 12) == 0x8100 ? ETHERNET + 4 : ETHERNET;
  cut->transport = at;
  cut->header = header;
  cut->text = text != NULL ? text : frame + header;
  cut->left = text != NULL ? text_length : length - header;
  cut->size = size > 0 && size < cut->left ? size : cut->left;
  cut->more = true;
  return true;
}

/* The headers of the segment with the next `length` octets of text. */
static void write_head(cut_t *cut, size_t length) {
  uint8_t *head = cut->head, *ip = head + cut->ip, *transport = head + cut->transport;
  memcpy(head, cut->frame, cut->header);
  size_t datagram = cut->header - cut->ip + length;
  if (cut->ipv6) {
    store16(ip + 4, (unsigned)(datagram - IPV6));
  } else {
    size_t own = (size_t)(ip[0] & 15) * 4;
    store16(ip + 2, (unsigned)datagram);
    store16(ip + 4, (load16(ip + 4) + cut->segments) & 0xffff);
    store16(ip + 10, 0);
    uint16_t sum = (uint16_t)~fold(sum_of(ip, own, 0));
    memcpy(ip + 10, &sum, sizeof sum);
  }
  size_t field = 6, rest = cut->header - cut->transport;
  if (cut->protocol == PROTOCOL_TCP) {
    field = 16;
    store32(transport + 4, load32(transport + 4) + (uint32_t)cut->done);
    /* What ends the text is said at its end, and what is said once at its beginning (RFC 3168 §6.1.2). */
    if (length < cut->left) transport[13] &= (uint8_t)~(FLAG_FIN | FLAG_PSH);
    if (cut->segments > 0) transport[13] &= (uint8_t)~FLAG_CWR;
  }
  store16(transport + field, 0);
  uint64_t sum = pseudo_sum(ip, cut->ipv6, cut->protocol, rest + length);
  /* Headers of TCP are a multiple of four octets long, and that of UDP has eight: the text begins with a whole word. */
  uint16_t folded = (uint16_t)~fold(sum_of(cut->text, length, sum_of(transport, rest, sum)));
  /* RFC 768: a sum of zero would mean that there is none. */
  if (folded == 0 && cut->protocol == PROTOCOL_UDP) folded = 0xffff;
  memcpy(transport + field, &folded, sizeof folded);
}

bool cut_next(cut_t *cut, struct iovec parts[2]) {
  if (!cut->more) return false;
  size_t length = cut->left < cut->size ? cut->left : cut->size;
  write_head(cut, length);
  parts[0] = (struct iovec){cut->head, cut->header};
  parts[1] = (struct iovec){(void *)cut->text, length};
  cut->text += length;
  cut->done += length;
  cut->left -= length;
  cut->segments++;
  cut->more = cut->left > 0;
  return true;
}
