/*
 * A TAP device: batches of frames between the kernel and buffers that are allocated once and shared with JavaScript.
 *
 * In: when the device is readable, frames are read into the slots of the ring until there are no more or the ring is
 * full, then JavaScript is called once for the batch. Out: JavaScript fills slots of the arena, then one call writes
 * them. A frame marked `leased` is written only while the attached lease holds, asked for right before its write: that
 * is the last line of defence against an owner that was stopped and wakes (requirement D3).
 * Nothing is called back after close. Drops are counted, never thrown.
 */
#include "native.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

/* Batches per readable event: more would starve the event loop's timers. */
enum { MAX_BATCHES = 16 };

/*
 * Octets after which a batch ends. The next one fills the same slots again while the processor's caches still hold them, and the
 * sender hears an acknowledgement before its window is used up; but each acknowledgement costs as much as reading a super-frame.
 */
enum { BATCH_OCTETS = 256 * 1024 };

/* Room for the longest datagram with its Ethernet header. */
enum { JOINED_SIZE = 65535 + 18 };

/* Stations whose frames a filter passes at most. */
enum { MAC_SIZE = 6, MAX_FILTER = 256 };

/* Puts the IP header of a received frame on a multiple of four octets. */
enum { RX_ALIGN = 2 };

/* TUN_F_USO4 | TUN_F_USO6, which the headers of older distributions lack. */
enum { OFFLOAD_USO = 0x20 | 0x40 };

/* Words of metadata per slot; stack/io/native.ts has the same list. */
enum { META_START, META_END, META_CHECKSUM, META_GSO, META_LEASED, META_TEXT_FROM, META_TEXT_LENGTH, META_WORDS = 8 };

/* Counters, as doubles; stack/io/native.ts has the same list. */
enum {
  RX_FRAMES, RX_BYTES, RX_BATCHES, RX_OVERSIZE, RX_RUNT,
  TX_FRAMES, TX_BYTES, TX_DROP_FULL, TX_DROP_DOWN, TX_DROP_INVALID, TX_DROP_LEASE, TX_DROP_OTHER,
  RX_FILTERED,
  STAT_COUNT = 16
};

typedef struct {
  uv_poll_t poll;
  napi_env env;
  napi_async_context context;
  napi_async_cleanup_hook_handle hook;
  napi_ref callback, receiver, lease_ref, buffers[5];
  int fd;
  int references; /* The handle in JavaScript and the poll handle in libuv. */
  int slots, rx_slot_size, tx_slots, tx_slot_size, header_size;
  int rx_frame_size; /* Octets of the largest frame that is read, and one more. */
  int join;          /* Segments that follow each other are joined. */
  int cuts;          /* Super-frames are cut here, and checksums completed. */
  uint8_t *ring, *arena;
  int32_t *rx_meta, *tx_meta;
  double *stats;
  heartbeat_t *lease;
  uint64_t spin_ns; /* How long the device is asked again behind a batch. */
  int filtered;     /* Stations whose frames are taken; 0: those of all. */
  uint8_t filter[MAX_FILTER][MAC_SIZE];
  int credit;       /* How much asking the device again has paid of late. */
  uint64_t left_at; /* When the last frames had been handled. */
  char name[IFNAMSIZ];
} tap_t;

static void release(tap_t *tap) {
  if (--tap->references == 0) free(tap);
}

static void finalize(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  release(data);
}

static void on_closed(uv_handle_t *handle) {
  tap_t *tap = handle->data;
  /* Not in close_tap: JavaScript may close the device inside the very callback that runs in this context. */
  napi_async_destroy(tap->env, tap->context);
  if (tap->hook != NULL) napi_remove_async_cleanup_hook(tap->hook);
  release(tap);
}

static void close_tap(tap_t *tap) {
  if (tap->fd < 0) return;
  uv_poll_stop(&tap->poll);
  uv_close((uv_handle_t *)&tap->poll, on_closed);
  close(tap->fd);
  tap->fd = -1;
  tap->lease = NULL;
  drop_ref(tap->env, &tap->callback);
  drop_ref(tap->env, &tap->receiver);
  drop_ref(tap->env, &tap->lease_ref);
  for (int i = 0; i < 5; i++) drop_ref(tap->env, &tap->buffers[i]);
}

static void on_env_cleanup(napi_async_cleanup_hook_handle hook, void *data) {
  tap_t *tap = data;
  if (tap->fd < 0) return; /* Closing already: on_closed removes the hook. */
  tap->hook = hook;
  close_tap(tap);
}

/* Calls JavaScript with the number of frames in the ring, or with a negative errno when the device is lost. */
static void deliver(tap_t *tap, int count) {
  napi_env env = tap->env;
  napi_value callback, receiver, argument, error;
  if (napi_get_reference_value(env, tap->callback, &callback) != napi_ok) return;
  if (napi_get_reference_value(env, tap->receiver, &receiver) != napi_ok) return;
  napi_create_int32(env, count, &argument);
  napi_status status = napi_make_callback(env, tap->context, receiver, callback, 1, &argument, NULL);
  if (status == napi_pending_exception &&
      napi_get_and_clear_last_exception(env, &error) == napi_ok) {
    napi_fatal_exception(env, error);
  }
}

/* The frame in the ring before slot `count` is complete: when it was joined of several, its metadata say so. */
static void settle(tap_t *tap, join_t *join, int count) {
  if (!join_end(join)) return;
  int32_t *meta = tap->rx_meta + (size_t)(count - 1) * META_WORDS;
  meta[META_END] = meta[META_START] + (int32_t)join->length;
  meta[META_CHECKSUM] = CHECKSUM_PARTIAL;
  meta[META_GSO] = (int32_t)join->size;
}

/* Where the text of the next frame goes if it continues the open one, or NULL where it cannot. */
static uint8_t *continued(const tap_t *tap, const join_t *join) {
  if (!join->open) return NULL;
  size_t most = (size_t)(tap->rx_slot_size - RX_ALIGN);
  bool fits = join->length + (size_t)tap->rx_frame_size <= most + join->header;
  return fits ? join->frame + join->length : NULL;
}

/* True when a frame to `dst` is to be taken: one to many always is. */
static bool passes(const tap_t *tap, const uint8_t *dst) {
  if (tap->filtered == 0 || (dst[0] & 1) != 0) return true;
  for (int i = 0; i < tap->filtered; i++) {
    if (memcmp(tap->filter[i], dst, MAC_SIZE) == 0) return true;
  }
  return false;
}

/*
 * Fills the ring from its start. Sets `more` when the device may have further frames, `error` when it is gone. A frame is read as if
 * it continued the one before, its header apart, so that text that is joined is never moved.
 */
static int read_batch(tap_t *tap, bool *more, int *error) {
  int count = 0;
  ssize_t octets = 0, room = tap->rx_frame_size;
  struct vnet_header header = {0};
  join_t join = {0};
  uint8_t head[JOIN_HEADER];
  *more = true;
  for (int frames = 0; frames < tap->slots && octets < BATCH_OCTETS;) {
    uint8_t *slot = tap->ring + (size_t)count * (size_t)tap->rx_slot_size + RX_ALIGN;
    uint8_t *text = continued(tap, &join);
    size_t apart = text != NULL ? join.header : 0;
    struct iovec parts[3] = {
        {&header, (size_t)tap->header_size}, {head, apart}, {text != NULL ? text : slot, (size_t)room - apart}};
    ssize_t length = readv(tap->fd, parts, 3);
    if (length < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) *error = errno;
      *more = false;
      break;
    }
    length -= tap->header_size;
    if (length >= room) {
      tap->stats[RX_OVERSIZE]++; /* The kernel cuts in silence what does not fit. */
      continue;
    }
    if (length < 14) {
      tap->stats[RX_RUNT]++;
      continue;
    }
    frames++;
    octets += length;
    if (!passes(tap, apart > 0 ? head : slot)) {
      tap->stats[RX_FILTERED]++;
      continue;
    }
    tap->stats[RX_FRAMES]++;
    tap->stats[RX_BYTES] += (double)length;
    bool plain = header.flags == 0 && header.gso_type == 0;
    size_t behind = (size_t)length > apart ? (size_t)length - apart : 0;
    if (text != NULL && plain && join_add(&join, head, behind)) continue;
    settle(tap, &join, count);
    if (text != NULL) {
      memcpy(slot, head, (size_t)length - behind);
      memcpy(slot + apart, text, behind);
    }
    int32_t *meta = tap->rx_meta + (size_t)count * META_WORDS;
    meta[META_START] = RX_ALIGN;
    meta[META_END] = RX_ALIGN + (int32_t)length;
    meta[META_CHECKSUM] = vnet_checksum_state(&header);
    meta[META_GSO] = header.gso_type == 0 ? 0 : header.gso_size;
    count++;
    join.open = false;
    if (tap->join && plain) join_start(&join, slot, (size_t)length);
  }
  settle(tap, &join, count);
  if (count > 0) tap->stats[RX_BATCHES]++;
  return count;
}

/*
 * To sleep until the next frame and to be woken takes longer than many peers take to answer. So behind a batch the device is asked
 * again for a while, as long as that pays: a frame that comes while it is asked for is worth a turn, two turns in vain cost one.
 */
enum { SPIN_CREDIT = 8, SPIN_COST = 2, SPIN_TOTAL_NS = 1000 * 1000 };

/* True when there are further frames before the time is over. Others may have the processor meanwhile. */
static bool spin(tap_t *tap, uint64_t since) {
  if (tap->credit <= 0) return false;
  struct pollfd wanted = {tap->fd, POLLIN, 0};
  uint64_t start = uv_hrtime(), now = start;
  while (now - start < tap->spin_ns && now - since < SPIN_TOTAL_NS) {
    if (poll(&wanted, 1, 0) > 0) {
      if (tap->credit < SPIN_CREDIT) tap->credit++;
      return true;
    }
    sched_yield();
    now = uv_hrtime();
  }
  tap->credit -= SPIN_COST;
  return false;
}

/* Delivers what waits, and with `spins` what comes behind it soon; true when nothing waits any more. */
static bool take_in(tap_t *tap, bool spins, int error) {
  bool more = true;
  uint64_t start = uv_hrtime();
  for (int batch = 0; batch < MAX_BATCHES && more && tap->fd >= 0; batch++) {
    int count = read_batch(tap, &more, &error);
    if (count > 0) deliver(tap, count);
    if (spins && !more && error == 0 && tap->fd >= 0) more = spin(tap, start);
  }
  if (error != 0 && tap->fd >= 0) {
    uv_poll_stop(&tap->poll);
    deliver(tap, -error);
  }
  return !more;
}

static void on_readable(uv_poll_t *poll, int status, int events) {
  (void)events;
  tap_t *tap = poll->data;
  napi_handle_scope scope;
  if (napi_open_handle_scope(tap->env, &scope) != napi_ok) return;
  /* It came so soon behind the last one that it would have paid to wait for it. */
  if (uv_hrtime() - tap->left_at < tap->spin_ns && tap->credit < SPIN_CREDIT) tap->credit++;
  take_in(tap, true, status < 0 ? -status : 0);
  tap->left_at = uv_hrtime();
  napi_close_handle_scope(tap->env, scope);
}

static void count_failure(tap_t *tap, int error) {
  switch (error) {
    case EAGAIN:
    case ENOBUFS:
    case ENOMEM:
      tap->stats[TX_DROP_FULL]++;
      break;
    case EIO: /* The interface is down. */
      tap->stats[TX_DROP_DOWN]++;
      break;
    case EINVAL:
      tap->stats[TX_DROP_INVALID]++;
      break;
    default:
      tap->stats[TX_DROP_OTHER]++;
  }
}

/* The text of a frame that lies in an array of the caller's. NULL: there is none, or it is shorter than it should be. */
static uint8_t *text_of(napi_env env, napi_value texts, int slot, size_t from, size_t length) {
  napi_value text;
  napi_typedarray_type type;
  size_t size = 0;
  void *data = NULL;
  if (napi_get_element(env, texts, (uint32_t)slot, &text) != napi_ok) return NULL;
  if (napi_get_typedarray_info(env, text, &type, &size, &data, NULL, NULL) != napi_ok) return NULL;
  return type == napi_uint8_array && from + length <= size ? (uint8_t *)data + from : NULL;
}

/* Writes one frame, if it may leave now. */
static bool write_parts(tap_t *tap, bool leased, const struct iovec *parts, int count) {
  for (;;) {
    if (leased && tap->lease_ref != NULL && !heartbeat_lease_held(tap->lease)) {
      tap->stats[TX_DROP_LEASE]++;
      return false;
    }
    ssize_t written = writev(tap->fd, parts, count);
    if (written >= 0) {
      tap->stats[TX_FRAMES]++;
      tap->stats[TX_BYTES] += (double)(written - tap->header_size);
      return true;
    }
    if (errno == EINTR) continue;
    count_failure(tap, errno);
    return false;
  }
}

/* Writes a frame that the device would have to cut, or whose checksum it would have to complete, and cannot. */
static bool write_cut(tap_t *tap, bool leased, cut_t *cut) {
  struct iovec parts[2];
  bool written = false;
  while (cut_next(cut, parts)) written = write_parts(tap, leased, parts, 2) || written;
  return written;
}

static bool write_frame(tap_t *tap, int slot, napi_value texts) {
  const int32_t *meta = tap->tx_meta + (size_t)slot * META_WORDS;
  int32_t start = meta[META_START], end = meta[META_END];
  if (start < 0 || end - start < 14) {
    tap->stats[TX_DROP_INVALID]++;
    return false;
  }
  uint8_t *frame = tap->arena + (size_t)slot * (size_t)tap->tx_slot_size + start, *text = NULL;
  size_t length = (size_t)(end - start), elsewhere = (size_t)meta[META_TEXT_LENGTH];
  if (elsewhere > 0) {
    text = elsewhere < length ? text_of(tap->env, texts, slot, (size_t)meta[META_TEXT_FROM], elsewhere) : NULL;
    if (text == NULL) {
      tap->stats[TX_DROP_INVALID]++;
      return false;
    }
  }
  size_t here = length - elsewhere;
  bool leased = meta[META_LEASED] != 0, fits = (size_t)start + here <= (size_t)tap->tx_slot_size;
  struct vnet_header header;
  cut_t cut;
  if (fits && tap->header_size == 0 && (meta[META_CHECKSUM] == CHECKSUM_PARTIAL || meta[META_GSO] > 0)) {
    bool open = meta[META_CHECKSUM] == CHECKSUM_PARTIAL;
    if (tap->cuts && open && cut_start(&cut, frame, here, text, elsewhere, (size_t)meta[META_GSO])) {
      return write_cut(tap, leased, &cut);
    }
    fits = false;
  }
  if (!fits || !vnet_fill(&header, frame, length, meta[META_CHECKSUM], meta[META_GSO])) {
    tap->stats[TX_DROP_INVALID]++;
    return false;
  }
  struct iovec parts[3] = {{&header, (size_t)tap->header_size}, {frame, here}, {text, elsewhere}};
  return write_parts(tap, leased, parts, elsewhere > 0 ? 3 : 2);
}

/* Reads the handle and up to `extra` further arguments. NULL: an error is thrown or the TAP is closed. */
static tap_t *arguments(napi_env env, napi_callback_info info, size_t extra, napi_value *rest) {
  napi_value values[3];
  size_t count = 3;
  void *data = NULL;
  napi_get_cb_info(env, info, &count, values, NULL, NULL);
  if (count < 1 + extra || napi_get_value_external(env, values[0], &data) != napi_ok) {
    throw_type(env, "a TAP handle is expected");
    return NULL;
  }
  for (size_t i = 0; i < extra; i++) rest[i] = values[1 + i];
  tap_t *tap = data;
  return tap->fd < 0 ? NULL : tap;
}

/*
 * tapWrite(handle, count, texts): writes the first `count` slots of the arena; the text of a slot may lie in its element of
 * `texts`. Returns how many the kernel took.
 */
static napi_value tap_write(napi_env env, napi_callback_info info) {
  napi_value values[2], result = NULL;
  int32_t count = 0, written = 0;
  tap_t *tap = arguments(env, info, 2, values);
  if (tap != NULL) {
    napi_get_value_int32(env, values[0], &count);
    if (count > tap->tx_slots) count = tap->tx_slots;
    for (int32_t slot = 0; slot < count; slot++) written += write_frame(tap, slot, values[1]);
  }
  napi_create_int32(env, written, &result);
  return result;
}

/* tapSetLease(handle, heartbeatHandle | null) */
static napi_value tap_set_lease(napi_env env, napi_callback_info info) {
  napi_value argument;
  napi_valuetype type;
  tap_t *tap = arguments(env, info, 1, &argument);
  if (tap == NULL) return NULL;
  napi_typeof(env, argument, &type);
  heartbeat_t *lease = NULL;
  napi_ref ref = NULL;
  if (type == napi_external) {
    lease = heartbeat_of(env, argument);
    napi_create_reference(env, argument, 1, &ref);
  }
  drop_ref(env, &tap->lease_ref);
  tap->lease_ref = ref;
  tap->lease = lease;
  return NULL;
}

/* tapRef(handle, on): whether the open device keeps the event loop alive. */
static napi_value tap_ref(napi_env env, napi_callback_info info) {
  napi_value argument;
  bool on = true;
  tap_t *tap = arguments(env, info, 1, &argument);
  if (tap == NULL) return NULL;
  napi_get_value_bool(env, argument, &on);
  if (on) {
    uv_ref((uv_handle_t *)&tap->poll);
  } else {
    uv_unref((uv_handle_t *)&tap->poll);
  }
  return NULL;
}

/* tapFilter(handle, macs): takes only frames to these stations, six octets each, and to groups; none: to all. */
static napi_value tap_filter(napi_env env, napi_callback_info info) {
  napi_value argument;
  napi_typedarray_type type;
  size_t size = 0;
  void *data = NULL;
  tap_t *tap = arguments(env, info, 1, &argument);
  if (tap == NULL) return NULL;
  if (napi_get_typedarray_info(env, argument, &type, &size, &data, NULL, NULL) != napi_ok ||
      type != napi_uint8_array || size > sizeof tap->filter) {
    throw_type(env, "Ethernet addresses are expected, 256 at most");
    return NULL;
  }
  tap->filtered = (int)(size / MAC_SIZE);
  memcpy(tap->filter, data, size);
  return NULL;
}

/* tapSpin(handle, microseconds): how long to ask the device again behind a batch; 0: not at all. */
static napi_value tap_spin(napi_env env, napi_callback_info info) {
  napi_value argument;
  int32_t microseconds = 0;
  tap_t *tap = arguments(env, info, 1, &argument);
  if (tap == NULL) return NULL;
  napi_get_value_int32(env, argument, &microseconds);
  tap->spin_ns = microseconds > 0 ? (uint64_t)microseconds * 1000 : 0;
  return NULL;
}

/* tapDrain(handle): delivers what waits now, without waiting for the event loop; true when nothing waits any more. */
static napi_value tap_drain(napi_env env, napi_callback_info info) {
  napi_value result;
  tap_t *tap = arguments(env, info, 0, NULL);
  if (tap == NULL) return NULL;
  napi_get_boolean(env, take_in(tap, false, 0), &result);
  return result;
}

/* tapPersist(handle, on): whether the device outlives its last descriptor. */
static napi_value tap_persist(napi_env env, napi_callback_info info) {
  napi_value argument;
  bool on = false;
  tap_t *tap = arguments(env, info, 1, &argument);
  if (tap == NULL) return NULL;
  napi_get_value_bool(env, argument, &on);
  if (ioctl(tap->fd, TUNSETPERSIST, on ? 1 : 0) < 0) throw_errno(env, errno, "TUNSETPERSIST", tap->name);
  return NULL;
}

static napi_value tap_close(napi_env env, napi_callback_info info) {
  tap_t *tap = arguments(env, info, 0, NULL);
  if (tap != NULL) close_tap(tap);
  return NULL;
}

typedef struct {
  int frame_size, tx_frame_size, headroom, persist, offload, tx_queue_length, mtu, up;
  bool uso; /* Out: whether the kernel also cuts UDP super-frames. */
} tap_config_t;

/* Opens and configures the device behind tap->fd. Returns NULL, or the name of the step that failed with errno set. */
static const char *open_device(tap_t *tap, tap_config_t *config) {
  tap->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (tap->fd < 0) return "open";
  struct ifreq ifr = {0};
  memcpy(ifr.ifr_name, tap->name, IFNAMSIZ);
  ifr.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | (tap->header_size > 0 ? IFF_VNET_HDR : 0));
  if (ioctl(tap->fd, TUNSETIFF, &ifr) < 0) return "TUNSETIFF";
  memcpy(tap->name, ifr.ifr_name, IFNAMSIZ);
  /* A persistent device keeps both from its last user, so each is set at every open, also to nothing. */
  int header_size = tap->header_size > 0 ? tap->header_size : 10;
  if (ioctl(tap->fd, TUNSETVNETHDRSZ, &header_size) < 0) return "TUNSETVNETHDRSZ";
  unsigned long offload = config->offload ? TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 : 0;
  config->uso = offload != 0 && ioctl(tap->fd, TUNSETOFFLOAD, offload | OFFLOAD_USO) == 0;
  if (!config->uso && ioctl(tap->fd, TUNSETOFFLOAD, offload) < 0) return "TUNSETOFFLOAD";
  if (config->persist && ioctl(tap->fd, TUNSETPERSIST, 1) < 0) return "TUNSETPERSIST";
  if (config->tx_queue_length > 0) {
    errno = link_set_queue_length(tap->name, (uint32_t)config->tx_queue_length);
    /* The owner of a persistent device may open it without the right to configure it: queueLength tells. */
    if (errno != 0 && errno != EPERM) return "IFLA_TXQLEN";
  }
  struct ifreq size = {0};
  size.ifr_mtu = config->mtu;
  if (config->mtu > 0 && (errno = link_ioctl(SIOCSIFMTU, tap->name, &size)) != 0) return "SIOCSIFMTU";
  if (config->up && (errno = link_set_up(tap->name)) != 0) return "SIOCSIFFLAGS";
  return NULL;
}

/* Sizes the slots for the largest frame: what the caller asks for, or what the device's MTU allows. */
static void size_slots(tap_t *tap, const tap_config_t *config) {
  struct ifreq mtu = {0};
  int size = config->frame_size;
  link_ioctl(SIOCGIFMTU, tap->name, &mtu);
  if (mtu.ifr_mtu + 18 > size) size = mtu.ifr_mtu + 18;
  /* One octet more than the largest frame, so that a cut one shows. */
  tap->rx_frame_size = size + 1;
  int most = tap->join && JOINED_SIZE > size ? JOINED_SIZE : size;
  tap->rx_slot_size = (RX_ALIGN + most + 1 + 63) & ~63;
  int longest = config->tx_frame_size > size ? config->tx_frame_size : size;
  tap->tx_slot_size = (config->headroom + longest + 63) & ~63;
}

static void describe(napi_env env, napi_value result, tap_t *tap) {
  struct ifreq mac = {0}, mtu = {0}, queue = {0};
  double address = 0;
  if (link_ioctl(SIOCGIFHWADDR, tap->name, &mac) == 0) {
    for (int i = 0; i < 6; i++) address = address * 256 + (uint8_t)mac.ifr_hwaddr.sa_data[i];
  }
  link_ioctl(SIOCGIFMTU, tap->name, &mtu);
  link_ioctl(SIOCGIFTXQLEN, tap->name, &queue);
  set_text(env, result, "name", tap->name);
  set_number(env, result, "kernelMac", address);
  set_number(env, result, "mtu", mtu.ifr_mtu);
  set_number(env, result, "queueLength", queue.ifr_qlen);
  set_number(env, result, "rxSlotSize", tap->rx_slot_size);
  set_number(env, result, "txSlotSize", tap->tx_slot_size);
}

static bool share_buffers(napi_env env, napi_value result, tap_t *tap) {
  size_t rx = (size_t)tap->slots, tx = (size_t)tap->tx_slots, words = META_WORDS * sizeof(int32_t);
  tap->ring = share_buffer(env, result, "ring", rx * (size_t)tap->rx_slot_size, &tap->buffers[0]);
  if (tap->ring == NULL) return false;
  tap->arena = share_buffer(env, result, "arena", tx * (size_t)tap->tx_slot_size, &tap->buffers[1]);
  if (tap->arena == NULL) return false;
  tap->rx_meta = share_buffer(env, result, "rxMeta", rx * words, &tap->buffers[2]);
  if (tap->rx_meta == NULL) return false;
  tap->tx_meta = share_buffer(env, result, "txMeta", tx * words, &tap->buffers[3]);
  if (tap->tx_meta == NULL) return false;
  tap->stats = share_buffer(env, result, "stats", STAT_COUNT * sizeof(double), &tap->buffers[4]);
  return tap->stats != NULL;
}

static bool watch(napi_env env, napi_value callback, tap_t *tap) {
  uv_loop_t *loop;
  napi_value resource, name;
  napi_create_object(env, &resource);
  napi_create_string_utf8(env, "TAP", NAPI_AUTO_LENGTH, &name);
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) return false;
  int error = uv_poll_init(loop, &tap->poll, tap->fd);
  if (error < 0) {
    throw_errno(env, -error, "uv_poll_init", tap->name);
    return false;
  }
  tap->poll.data = tap;
  napi_async_init(env, resource, name, &tap->context);
  napi_create_reference(env, callback, 1, &tap->callback);
  napi_create_reference(env, resource, 1, &tap->receiver);
  napi_add_async_cleanup_hook(env, on_env_cleanup, tap, &tap->hook);
  tap->references++;
  uv_poll_start(&tap->poll, UV_READABLE, on_readable);
  return true;
}

static void abandon(napi_env env, tap_t *tap) {
  for (int i = 0; i < 5; i++) drop_ref(env, &tap->buffers[i]);
  if (tap->fd >= 0) close(tap->fd);
  free(tap);
}

static bool read_config(napi_env env, napi_value options, tap_t *tap, tap_config_t *config) {
  return get_text(env, options, "name", tap->name, sizeof tap->name) &&
         get_int(env, options, "slots", &tap->slots) &&
         get_int(env, options, "txSlots", &tap->tx_slots) &&
         get_int(env, options, "frameSize", &config->frame_size) &&
         get_int(env, options, "txFrameSize", &config->tx_frame_size) &&
         get_int(env, options, "headroom", &config->headroom) &&
         get_int(env, options, "vnetHeaderSize", &tap->header_size) &&
         get_int(env, options, "persist", &config->persist) &&
         get_int(env, options, "offload", &config->offload) &&
         get_int(env, options, "join", &tap->join) && get_int(env, options, "cut", &tap->cuts) &&
         get_int(env, options, "txQueueLength", &config->tx_queue_length) &&
         get_int(env, options, "mtu", &config->mtu) && get_int(env, options, "up", &config->up);
}

/* tapOpen(options, callback): see TapConfig and TapParts in stack/io/native.ts. */
static napi_value tap_open(napi_env env, napi_callback_info info) {
  napi_value arguments[2], result, handle;
  size_t count = 2;
  tap_config_t config;
  napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
  tap_t *tap = calloc(1, sizeof *tap);
  if (tap == NULL) {
    throw_errno(env, ENOMEM, "calloc", "");
    return NULL;
  }
  tap->env = env;
  tap->fd = -1;
  if (!read_config(env, arguments[0], tap, &config)) {
    free(tap);
    return NULL;
  }
  const char *failed = open_device(tap, &config);
  if (failed != NULL) {
    int error = errno;
    throw_errno(env, error, failed, tap->name);
    abandon(env, tap);
    return NULL;
  }
  napi_create_object(env, &result);
  size_slots(tap, &config);
  describe(env, result, tap);
  set_number(env, result, "uso", config.uso);
  if (!share_buffers(env, result, tap) || !watch(env, arguments[1], tap)) {
    abandon(env, tap);
    return NULL;
  }
  tap->references++;
  napi_create_external(env, tap, finalize, NULL, &handle);
  napi_set_named_property(env, result, "handle", handle);
  return result;
}

void tap_exports(napi_env env, napi_value exports) {
  set_function(env, exports, "tapOpen", tap_open);
  set_function(env, exports, "tapWrite", tap_write);
  set_function(env, exports, "tapSetLease", tap_set_lease);
  set_function(env, exports, "tapPersist", tap_persist);
  set_function(env, exports, "tapSpin", tap_spin);
  set_function(env, exports, "tapFilter", tap_filter);
  set_function(env, exports, "tapDrain", tap_drain);
  set_function(env, exports, "tapRef", tap_ref);
  set_function(env, exports, "tapClose", tap_close);
}
