/*
 * The write limit: how fast a C loop that does nothing else can give valid segments to a TAP when a TCP receiver of the kernel
 * takes them behind the bridge. It is the bound for any stack on this device, as the writer's core runs the bridge, the wire
 * and the receiver, too.
 *
 *   tap-source TAP MAC OWN PEER offload|plain SECONDS
 *
 * Opens one connection from OWN to the sink of PEER, keeps to its window, and prints the octets a second that the peer
 * acknowledged. Nothing is ever sent again: it ends with exit code 1 when the peer falls silent.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { SINK = 9, MSS = 1460, SUPER = 44 * MSS, SHIFT = 7, SILENCE_MS = 3000 };
enum { FIN = 1, SYN = 2, RST = 4, ACK = 16 };

static struct {
  struct virtio_net_hdr_mrg_rxbuf vnet;
  uint8_t frame[14 + 20 + 24 + SUPER];
} __attribute__((packed)) out;
static uint8_t in[sizeof out.vnet + 65536 + 64];
static uint8_t own_mac[6], peer_mac[6];
static uint32_t own, peer, next, acked, edge, peer_next;
static uint16_t port;
static bool offload, established, resolved;
static int tap;

static void fail(const char *what) {
  fprintf(stderr, "tap-source: %s: %s\n", what, strerror(errno));
  exit(1);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void put16(uint8_t *p, unsigned v) {
  p[0] = (uint8_t)(v >> 8);
  p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v) {
  put16(p, v >> 16);
  put16(p + 2, v & 0xffff);
}

static unsigned get16(const uint8_t *p) {
  return (unsigned)p[0] << 8 | p[1];
}

static uint32_t get32(const uint8_t *p) {
  return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static uint32_t sum_of(const uint8_t *p, size_t length) {
  uint64_t sum = 0;
  for (; length >= 4; p += 4, length -= 4) {
    uint32_t word;
    memcpy(&word, p, 4);
    sum += ntohl(word);
  }
  if (length >= 2) sum += get16(p);
  if (length % 2 == 1) sum += (uint32_t)p[length - 1] << 8;
  sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32 & 0xffff) + (sum >> 48);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return (uint32_t)sum;
}

static unsigned folded(uint32_t sum) {
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

static void send_frame(size_t length) {
  const uint8_t *from = (const uint8_t *)&out;
  if (write(tap, from, sizeof out.vnet + length) < 0 && errno != EAGAIN && errno != ENOBUFS) fail("write");
}

static void ethernet(const uint8_t *to, unsigned type) {
  memset(&out.vnet, 0, sizeof out.vnet);
  memcpy(out.frame, to, 6);
  memcpy(out.frame + 6, own_mac, 6);
  put16(out.frame + 12, type);
}

static void arp(unsigned operation, const uint8_t *to) {
  uint8_t *a = out.frame + 14;
  ethernet(to, 0x0806);
  memcpy(a, "\0\1\10\0\6\4", 6);
  put16(a + 6, operation);
  memcpy(a + 8, own_mac, 6);
  put32(a + 14, own);
  memcpy(a + 18, peer_mac, 6);
  put32(a + 24, peer);
  send_frame(42);
}

static void segment(unsigned flags, size_t text) {
  uint8_t *ip = out.frame + 14, *tcp = ip + 20;
  size_t header = flags & SYN ? 28 : 20;
  ethernet(peer_mac, 0x0800);
  memset(ip, 0, 20 + header);
  ip[0] = 0x45;
  put16(ip + 2, (unsigned)(20 + header + text));
  ip[6] = 0x40;
  ip[8] = 64;
  ip[9] = 6;
  put32(ip + 12, own);
  put32(ip + 16, peer);
  put16(ip + 10, ~sum_of(ip, 20) & 0xffff);
  put16(tcp, port);
  put16(tcp + 2, SINK);
  put32(tcp + 4, next);
  put32(tcp + 8, peer_next);
  tcp[12] = (uint8_t)(header << 2);
  tcp[13] = (uint8_t)flags;
  put16(tcp + 14, 0xffff);
  if (flags & SYN) memcpy(tcp + 20, "\2\4\5\264\1\3\3\7", 8);
  uint32_t pseudo = folded(sum_of(ip + 12, 8) + 6 + (uint32_t)(header + text));
  if (offload) {
    put16(tcp + 16, pseudo);
    out.vnet.hdr.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
    out.vnet.hdr.csum_start = 34;
    out.vnet.hdr.csum_offset = 16;
    if (text > MSS) {
      out.vnet.hdr.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
      out.vnet.hdr.gso_size = MSS;
      out.vnet.hdr.hdr_len = (uint16_t)(34 + header);
    }
  } else {
    put16(tcp + 16, ~folded(pseudo + sum_of(tcp, header + text)) & 0xffff);
  }
  send_frame(34 + header + text);
  next += (uint32_t)text + ((flags & (SYN | FIN)) != 0);
}

static void take(const uint8_t *frame, size_t length) {
  if (length < 42) return;
  if (get16(frame + 12) == 0x0806) {
    if (get32(frame + 28) != peer || get32(frame + 38) != own) return;
    memcpy(peer_mac, frame + 22, 6);
    if (get16(frame + 20) == 1) arp(2, peer_mac);
    resolved = true;
    return;
  }
  const uint8_t *ip = frame + 14, *tcp = ip + (ip[0] & 15) * 4;
  if (get16(frame + 12) != 0x0800 || ip[9] != 6 || get32(ip + 12) != peer || get32(ip + 16) != own) return;
  if (get16(tcp + 2) != port) return;
  unsigned flags = tcp[13], window = get16(tcp + 14);
  if (flags & RST) {
    errno = ECONNRESET;
    fail("the sink");
  }
  if ((flags & (SYN | ACK)) == (SYN | ACK) && !established) {
    peer_next = get32(tcp + 4) + 1;
    acked = get32(tcp + 8);
    edge = acked + window;
    established = true;
    segment(ACK, 0);
    return;
  }
  if ((int32_t)(get32(tcp + 8) - acked) >= 0) acked = get32(tcp + 8);
  uint32_t right = get32(tcp + 8) + (window << SHIFT);
  if ((int32_t)(right - edge) > 0) edge = right;
}

static void listen_once(int timeout) {
  struct pollfd ready = {.fd = tap, .events = POLLIN};
  if (timeout > 0 && poll(&ready, 1, timeout) == 0) {
    errno = ETIMEDOUT;
    fail("the sink");
  }
  for (;;) {
    ssize_t length = read(tap, in, sizeof in);
    if (length < (ssize_t)sizeof out.vnet) return;
    take(in + sizeof out.vnet, (size_t)length - sizeof out.vnet);
  }
}

static void open_tap(const char *name) {
  struct ifreq ifr = {0};
  int size = sizeof out.vnet;
  tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (tap < 0) fail("/dev/net/tun");
  strncpy(ifr.ifr_name, name, IFNAMSIZ - 1);
  ifr.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
  if (ioctl(tap, TUNSETIFF, &ifr) < 0) fail(name);
  if (ioctl(tap, TUNSETVNETHDRSZ, &size) < 0) fail("TUNSETVNETHDRSZ");
  if (ioctl(tap, TUNSETOFFLOAD, offload ? TUN_F_CSUM | TUN_F_TSO4 : 0) < 0) fail("TUNSETOFFLOAD");
}

static void stream(double seconds) {
  size_t most = offload ? SUPER : MSS;
  double start = now(), total = 0;
  uint32_t from = acked;
  while (now() - start < seconds) {
    for (int burst = 0; burst < 64 && (int32_t)(edge - next) >= MSS; burst++) {
      size_t room = edge - next, text = room < most ? room - room % MSS : most;
      segment(ACK, text);
    }
    listen_once((int32_t)(edge - next) < MSS ? SILENCE_MS : 0);
    total += acked - from;
    from = acked;
  }
  printf("%.0f\n", total / (now() - start));
  segment(RST | ACK, 0);
}

int main(int count, char **words) {
  if (count != 7) {
    fprintf(stderr, "tap-source TAP MAC OWN PEER offload|plain SECONDS\n");
    return 2;
  }
  for (int i = 0; i < 6; i++) own_mac[i] = (uint8_t)strtol(words[2] + 3 * i, NULL, 16);
  own = ntohl(inet_addr(words[3]));
  peer = ntohl(inet_addr(words[4]));
  offload = strcmp(words[5], "offload") == 0;
  port = (uint16_t)(20000 + getpid() % 20000);
  next = (uint32_t)(now() * 250000);
  open_tap(words[1]);
  for (int tries = 0; !resolved && tries < 100; tries++) {
    arp(1, (const uint8_t *)"\377\377\377\377\377\377");
    usleep(20000);
    listen_once(0);
  }
  segment(SYN, 0);
  for (double start = now(); !established && now() - start < 3;) listen_once(SILENCE_MS);
  stream(atof(words[6]));
  return 0;
}
