/*
 * The virtio-net header in front of each frame of a TAP opened with IFF_VNET_HDR (virtio 1.2 §5.1.6): who vouches for
 * the checksum, and how a super-frame is to be cut. Reads the frame it is given and nothing else.
 */
#include "native.h"

#include <linux/virtio_net.h>
#include <stddef.h>
#include <string.h>

enum { PROTOCOL_TCP = 6, PROTOCOL_UDP = 17 };

/* VIRTIO_NET_HDR_GSO_UDP_L4, which the headers of older distributions lack. */
enum { GSO_UDP_L4 = 5 };

int vnet_checksum_state(const struct vnet_header *header) {
  if (header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) return CHECKSUM_PARTIAL;
  if (header->flags & VIRTIO_NET_HDR_F_DATA_VALID) return CHECKSUM_VALID;
  return CHECKSUM_NONE;
}

/* The offset of the transport header behind IPv6 extension headers (RFC 8200 §4), or 0. */
static size_t skip_ipv6(const uint8_t *frame, size_t at, size_t length, uint8_t *protocol) {
  if (at + 40 > length) return 0;
  uint8_t next = frame[at + 6];
  at += 40;
  for (int i = 0; i < 8; i++) {
    if (next == PROTOCOL_TCP || next == PROTOCOL_UDP) {
      *protocol = next;
      return at;
    }
    bool option_shaped = next == 0 || next == 43 || next == 60;
    if (!option_shaped || at + 8 > length) return 0;
    next = frame[at];
    at += 8 * ((size_t)frame[at + 1] + 1);
  }
  return 0;
}

size_t vnet_transport(const uint8_t *frame, size_t length, uint8_t *protocol, bool *ipv6) {
  if (length < 14) return 0;
  size_t at = 14;
  unsigned type = load16(frame + 12);
  if (type == 0x8100 && length >= 18) {
    type = load16(frame + 16);
    at = 18;
  }
  *ipv6 = type == 0x86dd;
  if (*ipv6) return skip_ipv6(frame, at, length, protocol);
  if (type != 0x0800 || at + 20 > length) return 0;
  *protocol = frame[at + 9];
  size_t header = (size_t)(frame[at] & 15) * 4;
  bool fragment = (load16(frame + at + 6) & 0x3fff) != 0;
  return header < 20 || fragment ? 0 : at + header;
}

bool vnet_fill(struct vnet_header *header, const uint8_t *frame, size_t length, int checksum, int gso_size) {
  memset(header, 0, sizeof *header);
  if (checksum != CHECKSUM_PARTIAL && gso_size == 0) return true;
  /* A super-frame's checksums are computed per segment, so only a partial one makes sense with it. */
  if (checksum != CHECKSUM_PARTIAL || gso_size < 0 || gso_size > UINT16_MAX) return false;
  uint8_t protocol = 0;
  bool ipv6 = false;
  size_t at = vnet_transport(frame, length, &protocol, &ipv6);
  bool tcp = protocol == PROTOCOL_TCP;
  if (at == 0 || (!tcp && protocol != PROTOCOL_UDP) || at + (tcp ? 20 : 8) > length) return false;
  header->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
  header->csum_start = (uint16_t)at;
  header->csum_offset = tcp ? 16 : 6;
  if (gso_size > 0) {
    size_t own = tcp ? (size_t)(frame[at + 12] >> 4) * 4 : 8;
    if (own < 8 || at + own > length) return false;
    header->gso_type = tcp ? (ipv6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4) : GSO_UDP_L4;
    header->gso_size = (uint16_t)gso_size;
    header->hdr_len = (uint16_t)(at + own);
  }
  return true;
}
