/*
 * What the parts of the addon share: reading arguments, throwing errors, the clock, and the lease that the heartbeat
 * thread holds and the TAP asks for before each frame. Plain C Node-API plus libuv's uv_poll; no C++.
 */
#ifndef UNDERSTUDY_NATIVE_H
#define UNDERSTUDY_NATIVE_H

#define NAPI_VERSION 8
#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include <uv.h>

/* CLOCK_MONOTONIC in milliseconds: the clock of process.hrtime(). */
double monotonic_ms(void);

/* Throws an Error with `errno` ('ENOENT'), `syscall` and `device`; the TypeScript face turns it into a StackError. */
void throw_errno(napi_env env, int error, const char *syscall, const char *device);

/* Throws a TypeError: only the TypeScript face calls the addon, so this is a fault of ours. */
void throw_type(napi_env env, const char *message);

/* Properties of an options object. A missing or wrong one throws and returns false. */
bool get_number(napi_env env, napi_value object, const char *key, double *out);
bool get_int(napi_env env, napi_value object, const char *key, int *out);
bool get_text(napi_env env, napi_value object, const char *key, char *out, size_t size);

/* Makes a zeroed ArrayBuffer, puts it on `object` as `key` and keeps it alive through `ref`. NULL: an error is thrown. */
void *share_buffer(napi_env env, napi_value object, const char *key, size_t size, napi_ref *ref);
/* Lets go of a reference, if there is one. */
void drop_ref(napi_env env, napi_ref *ref);
void set_number(napi_env env, napi_value object, const char *key, double value);
void set_text(napi_env env, napi_value object, const char *key, const char *value);
void set_function(napi_env env, napi_value object, const char *key, napi_callback call);

/* Settings of the interface `name`, a buffer of IFNAMSIZ octets. Each returns 0 or an errno. */
struct ifreq;
int link_ioctl(unsigned long request, const char *name, struct ifreq *ifr);
int link_set_up(const char *name);
/* The frames the kernel queues towards a TAP's reader. */
int link_set_queue_length(const char *name, uint32_t frames);
/* The state of a port of a bridge: BR_STATE_DISABLED, BR_STATE_FORWARDING. */
int link_set_port_state(const char *name, uint8_t state);

/* SipHash-2-4 with a key of 16 octets. */
uint64_t siphash24(const uint8_t key[16], const uint8_t *data, size_t length);

/* struct virtio_net_hdr_v1 (virtio 1.2 §5.1.6), in the host's byte order as TUNSETVNETLE is not asked for. */
struct vnet_header {
  uint8_t flags;
  uint8_t gso_type;
  uint16_t hdr_len;
  uint16_t gso_size;
  uint16_t csum_start;
  uint16_t csum_offset;
  uint16_t num_buffers;
};

/* The values of ChecksumState in stack/wire/frame.ts. */
enum { CHECKSUM_NONE = 0, CHECKSUM_PARTIAL = 1, CHECKSUM_VALID = 2 };

/* Numbers in the network's byte order. */
unsigned load16(const uint8_t *p);
uint32_t load32(const uint8_t *p);
void store16(uint8_t *p, unsigned value);
void store32(uint8_t *p, uint32_t value);

/* The sum of RFC 1071 in the host's byte order, not folded, added to `sum`. An odd last octet counts as the first of a word. */
uint64_t sum_of(const uint8_t *p, size_t length, uint64_t sum);
/* The sum folded to 16 bits, as it is stored. */
uint16_t fold(uint64_t sum);
/* The pseudo-header's sum for so many octets of TCP or UDP in the datagram whose header is at `ip`. */
uint64_t pseudo_sum(const uint8_t *ip, bool ipv6, uint8_t protocol, size_t length);

/* The offset of the TCP or UDP header in a frame, with its protocol, or 0 when there is none. */
size_t vnet_transport(const uint8_t *frame, size_t length, uint8_t *protocol, bool *ipv6);

/* What a received header says about the checksum. */
int vnet_checksum_state(const struct vnet_header *header);

/* Fills the header of a frame to send. False: the frame is not TCP or UDP over IP, so it cannot be offloaded. */
bool vnet_fill(struct vnet_header *header, const uint8_t *frame, size_t length, int checksum, int gso_size);

/* The longest header that is joined: Ethernet, IPv6, TCP with options. */
enum { JOIN_HEADER = 14 + 40 + 60 };

/* A super-frame in the making: see join.c. */
typedef struct {
  bool open;      /* The next frame may continue it. */
  bool ipv6;
  int segments;
  uint8_t *frame;
  size_t tcp;     /* Where the TCP header begins. */
  size_t header;  /* Where the text begins. */
  size_t length;  /* Octets of the frame. */
  size_t size;    /* Octets of text of each segment, but for the last one. */
  uint32_t next;  /* The sequence number that is to follow. */
} join_t;

/* Begins with a frame of so many octets; `open` tells whether another may join it. */
void join_start(join_t *join, uint8_t *frame, size_t length);

/* Joins a frame whose header is at `head` and whose `length` octets of text lie behind the frame so far. False: it does not belong there. */
bool join_add(join_t *join, const uint8_t *head, size_t length);

/* Nothing more comes. True: several have been joined, their headers now say so, and the checksum is PARTIAL. */
bool join_end(join_t *join);

/* The longest header that is written anew: Ethernet with a tag, IPv6 with some extension headers, TCP with options. */
enum { CUT_HEADER = 256 };

/* A frame that is being cut: see cut.c. */
typedef struct {
  const uint8_t *frame;
  const uint8_t *text;   /* What is left of it. */
  size_t ip, transport;  /* Where the headers begin, */
  size_t header;         /* and where they end. */
  size_t left, done;     /* Octets of text. */
  size_t size;           /* Octets of text of each segment, but for the last one. */
  unsigned segments;
  uint8_t protocol;
  bool ipv6, more;
  uint8_t head[CUT_HEADER];
} cut_t;

/*
 * Begins to cut a frame of so many octets into segments with `size` octets of text; 0: it stays whole. Its text follows its headers, or is
 * elsewhere when `text` is not NULL. False: it is no frame of TCP, or with `size` 0 of UDP, over IP.
 */
bool cut_start(cut_t *cut, const uint8_t *frame, size_t length, const uint8_t *text, size_t text_length, size_t size);

/* The next segment: its headers, which are valid until the next call, and its text. False: there is none. */
bool cut_next(cut_t *cut, struct iovec parts[2]);

typedef struct heartbeat heartbeat_t;

/* The heartbeat behind a handle, or NULL. It lives as long as the handle does, closed or not. */
heartbeat_t *heartbeat_of(napi_env env, napi_value handle);

/* True while this process may speak: see heartbeat-thread.c. False for ever once the heartbeat is closed. */
bool heartbeat_lease_held(const heartbeat_t *heartbeat);

void tap_exports(napi_env env, napi_value exports);
void heartbeat_exports(napi_env env, napi_value exports);
void link_exports(napi_env env, napi_value exports);
void file_lock_exports(napi_env env, napi_value exports);

#endif
