/*
 * Heartbeats from a thread of their own, at real-time priority where permitted, so that garbage collection and busy
 * JavaScript never look like death. Each beat carries the event loop's turn counter, so that "the process stopped" and
 * "its loop is stuck" can be told apart.
 *
 * The lease (requirement D3): this process may speak only while its beats go out and its loop turns. When the thread
 * finds that it was stopped for longer than the lease, it notes the expiry before it sends anything; and whoever asks
 * compares the clock as well, so the answer is right whichever thread wakes first.
 *
 * A beat is believed only when its tag is right, it is addressed to this node, and it is fresh: a higher sequence number
 * of the incarnation already known, or a new incarnation that repeats a recent sequence number of ours. So a recorded
 * beat of an earlier life cannot make a dead node look alive. Everything else is counted and dropped.
 *
 * The thread has a table of open files of its own, with the socket in it and nowhere else. When the process is killed each of its
 * threads ends by itself, and this one's socket is closed before the memory of the process is taken down, which takes some
 * tens of milliseconds. The next beat of each peer is then refused by the kernel (ICMP port unreachable), which shows there
 * that the process has ended. A refusal counts when it brings back a beat of ours with its tag, a recent one: nobody can make
 * it up who has not seen that beat.
 */
#include "heartbeat.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <math.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PACKET_SIZE = 64, TAG_AT = 56, MAGIC = 0x55536862, VERSION = 1, BEAT_EXPIRED = 1 };

/* Packets read per beat, so that a flood cannot keep the thread from sending, nor take the core at its priority. */
enum { READS_PER_BEAT = 1024 };

/* A new incarnation must repeat one of our latest sequence numbers, this many at most behind. */
enum { FRESH_BEATS = 64 };

double slot_load(const double *slot) {
  uint64_t bits = __atomic_load_n((const uint64_t *)(const void *)slot, __ATOMIC_ACQUIRE);
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

void slot_store(double *slot, double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  __atomic_store_n((uint64_t *)(void *)slot, bits, __ATOMIC_RELEASE);
}

void slot_add(double *slot, double amount) {
  uint64_t *raw = (uint64_t *)(void *)slot;
  uint64_t old = __atomic_load_n(raw, __ATOMIC_ACQUIRE), new;
  do {
    double value;
    memcpy(&value, &old, sizeof value);
    value += amount;
    memcpy(&new, &value, sizeof new);
  } while (!__atomic_compare_exchange_n(raw, &old, new, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
}

bool lease_expired(const double *table) {
  return slot_load(&table[H_EXPIRATIONS]) != slot_load(&table[H_RENEWED]);
}

bool heartbeat_lease_held(const heartbeat_t *heartbeat) {
  if (heartbeat == NULL || __atomic_load_n(&heartbeat->closed, __ATOMIC_ACQUIRE)) return false;
  const double *table = heartbeat->table;
  /* The thread notes an expiry before it notes its next beat, so the beat is read before the expiry. */
  double beat_at = slot_load(&table[H_LAST_BEAT_AT]);
  double turn_at = slot_load(&table[H_TURN_AT]);
  if (lease_expired(table)) return false;
  double now = monotonic_ms();
  return now - beat_at <= heartbeat->lease_ms && now - turn_at <= heartbeat->turn_lease_ms &&
         now <= slot_load(&table[H_LEASE_UNTIL]);
}

static void put32(uint8_t *p, uint32_t x) {
  for (int i = 3; i >= 0; i--, x >>= 8) p[i] = (uint8_t)x;
}

static void put64(uint8_t *p, uint64_t x) {
  put32(p, (uint32_t)(x >> 32));
  put32(p + 4, (uint32_t)x);
}

static uint32_t get32(const uint8_t *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint64_t get64(const uint8_t *p) {
  return (uint64_t)get32(p) << 32 | get32(p + 4);
}

/*
 * A beat, big-endian: magic 4, version 1, flags 1, length 2, sender 4, addressee 4, incarnation 8, sequence number 8,
 * turn counter 8, the addressee's incarnation 8 and sequence number 8 as last heard, tag 8.
 */
static void send_beat(heartbeat_t *hb, const peer_t *peer) {
  uint8_t packet[PACKET_SIZE];
  put32(packet, MAGIC);
  packet[4] = VERSION;
  packet[5] = lease_expired(hb->table) ? BEAT_EXPIRED : 0;
  packet[6] = 0;
  packet[7] = PACKET_SIZE;
  put32(packet + 8, hb->id);
  put32(packet + 12, peer->id);
  put64(packet + 16, hb->incarnation);
  put64(packet + 24, hb->seq);
  put64(packet + 32, (uint64_t)slot_load(&hb->table[H_TURN]));
  put64(packet + 40, peer->noted_incarnation);
  put64(packet + 48, peer->noted_seq);
  put64(packet + TAG_AT, siphash24(hb->key, packet, TAG_AT));
  ssize_t sent = -1;
  /* A socket that is told of refusals has the next call fail for one of them, whomever that is for. */
  for (int i = 0; i < 2 && sent < 0; i++) {
    sent = sendto(hb->fd, packet, PACKET_SIZE, MSG_DONTWAIT | MSG_NOSIGNAL,
                  (const struct sockaddr *)&peer->address, sizeof peer->address);
  }
  slot_add(&hb->table[sent == PACKET_SIZE ? H_SENT : H_SEND_ERRORS], 1);
}

peer_t *find_peer(heartbeat_t *hb, uint32_t id) {
  for (int i = 0; i < MAX_PEERS; i++) {
    if (hb->peers[i].used && hb->peers[i].id == id) return &hb->peers[i];
  }
  return NULL;
}

static void publish(heartbeat_t *hb, const peer_t *peer, bool peer_expired) {
  double *row = hb->table + HEADER_SLOTS + (peer - hb->peers) * PEER_SLOTS;
  int flags = PEER_USED | (peer->heard ? PEER_HEARD : 0) | (peer->silent ? PEER_SILENT : 0) |
              (peer->stuck ? PEER_STUCK : 0) | (peer_expired ? PEER_EXPIRED : 0) | (peer->gone ? PEER_GONE : 0);
  slot_store(&row[P_TURN], (double)peer->turn);
  slot_store(&row[P_TURN_AT], peer->turn_at);
  slot_store(&row[P_ECHO_SEQ], (double)peer->echo_seq);
  slot_store(&row[P_ECHO_SENT_AT], peer->echo_seq == 0 ? 0 : hb->sent_at[peer->echo_seq % SENT_AT_SIZE]);
  slot_store(&row[P_SEQ], (double)peer->seq);
  slot_store(&row[P_LAST_HEARD_AT], peer->heard_at);
  slot_store(&row[P_FLAGS], flags);
}

/* Returns the counter for a packet: H_RECEIVED when it is believed and noted. */
static int receive_beat(heartbeat_t *hb, const uint8_t *packet, ssize_t length, double now) {
  if (length != PACKET_SIZE || get32(packet) != MAGIC || packet[4] != VERSION || packet[6] != 0 ||
      packet[7] != PACKET_SIZE) {
    return H_BAD_PACKET;
  }
  if (get64(packet + TAG_AT) != siphash24(hb->key, packet, TAG_AT)) return H_BAD_TAG;
  peer_t *peer = find_peer(hb, get32(packet + 8));
  if (peer == NULL || get32(packet + 12) != hb->id) return H_UNKNOWN;
  uint64_t incarnation = get64(packet + 16), seq = get64(packet + 24), turn = get64(packet + 32);
  uint64_t echo_seq = get64(packet + 48);
  bool ours = get64(packet + 40) == hb->incarnation && echo_seq <= hb->seq;
  if (peer->incarnation != incarnation) {
    peer->noted_incarnation = incarnation;
    peer->noted_seq = seq;
    if (!ours || hb->seq - echo_seq > FRESH_BEATS) return H_UNPROVEN;
    peer->incarnation = incarnation;
    peer->turn_at = now;
    peer->echo_seq = 0;
  } else if (seq <= peer->seq) {
    return H_REPLAYED;
  }
  peer->noted_incarnation = incarnation;
  peer->noted_seq = peer->seq = seq;
  peer->heard = true;
  peer->silent = peer->gone = false;
  peer->heard_at = now;
  if (turn != peer->turn) {
    peer->turn = turn;
    peer->turn_at = now;
    peer->stuck = false;
  }
  if (ours && echo_seq > peer->echo_seq && hb->seq - echo_seq < SENT_AT_SIZE) peer->echo_seq = echo_seq;
  slot_add(&hb->table[HEADER_SLOTS + (peer - hb->peers) * PEER_SLOTS + P_RECEIVED], 1);
  publish(hb, peer, (packet[5] & BEAT_EXPIRED) != 0);
  return H_RECEIVED;
}

/* Reads what has arrived, within the budget. */
static void receive_all(heartbeat_t *hb, int *budget) {
  uint8_t packet[PACKET_SIZE + 1];
  while (*budget > 0) {
    ssize_t length = recv(hb->fd, packet, sizeof packet, MSG_DONTWAIT);
    if (length < 0 && errno == EINTR) continue;
    /* Errors other than these are refusals that an earlier send drew: the next packet stands behind them. */
    if (length < 0 && (errno == EAGAIN || errno == EBADF)) return;
    --*budget;
    if (length < 0) continue;
    slot_add(&hb->table[receive_beat(hb, packet, length, monotonic_ms())], 1);
  }
}

static void beat(heartbeat_t *hb, double now) {
  hb->seq++;
  hb->sent_at[hb->seq % SENT_AT_SIZE] = now;
  slot_store(&hb->table[H_SEQ], (double)hb->seq);
  for (int i = 0; i < MAX_PEERS; i++) {
    if (hb->peers[i].used) send_beat(hb, &hb->peers[i]);
  }
  /* The instant before sending: a stop in between makes the lease end earlier, never later. */
  slot_store(&hb->table[H_LAST_BEAT_AT], now);
  hb->next_beat_at = now + hb->interval_ms;
}

/* The caller holds the lock. */
static void post(heartbeat_t *hb, const peer_t *peer, int kind, double since) {
  if (hb->notice_count < MAX_NOTICES) hb->notices[hb->notice_count++] = (notice_t){peer->id, kind, since};
  uint64_t one = 1;
  if (write(hb->notice, &one, sizeof one) < 0) { /* It is full: JavaScript is going to look. */
  }
}

static void raise_flag(heartbeat_t *hb, const peer_t *peer, int flag) {
  double *flags = &hb->table[HEADER_SLOTS + (peer - hb->peers) * PEER_SLOTS + P_FLAGS];
  slot_store(flags, (int)slot_load(flags) | flag);
}

/* The peer whose port refused `packet`, a beat of ours that came back; NULL when it proves nothing. */
static peer_t *refuser(heartbeat_t *hb, const uint8_t *packet, ssize_t length, const struct sockaddr_in *to) {
  if (length != PACKET_SIZE || get32(packet) != MAGIC || get32(packet + 8) != hb->id ||
      get64(packet + 16) != hb->incarnation || hb->seq - get64(packet + 24) > FRESH_BEATS ||
      get64(packet + TAG_AT) != siphash24(hb->key, packet, TAG_AT)) {
    return NULL;
  }
  peer_t *peer = find_peer(hb, get32(packet + 12));
  if (peer == NULL || peer->address.sin_port != to->sin_port ||
      peer->address.sin_addr.s_addr != to->sin_addr.s_addr) {
    return NULL;
  }
  return peer;
}

static bool is_refusal(struct msghdr *message) {
  for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
    if (c->cmsg_level != IPPROTO_IP || c->cmsg_type != IP_RECVERR) continue;
    struct sock_extended_err error;
    memcpy(&error, CMSG_DATA(c), sizeof error);
    return error.ee_origin == SO_EE_ORIGIN_ICMP && error.ee_type == ICMP_UNREACH && error.ee_code == ICMP_UNREACH_PORT;
  }
  return false;
}

/* Tells JavaScript of peers whose ports are closed: their processes have ended. */
static void receive_refusals(heartbeat_t *hb) {
  for (int i = 0; i < MAX_PEERS; i++) {
    uint8_t packet[PACKET_SIZE + 1], control[256];
    struct sockaddr_in to = {0};
    struct iovec vector = {packet, sizeof packet};
    struct msghdr message = {&to, sizeof to, &vector, 1, control, sizeof control, 0};
    ssize_t length = recvmsg(hb->fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT);
    if (length < 0) return;
    if (!is_refusal(&message)) continue;
    peer_t *peer = refuser(hb, packet, length, &to);
    /* Who was never heard may come up still. */
    if (peer == NULL || !peer->heard || peer->gone) continue;
    peer->gone = true;
    raise_flag(hb, peer, PEER_GONE);
    post(hb, peer, PEER_GONE, peer->heard_at);
  }
}

/* Tells JavaScript of peers that fell silent or whose loop is stuck. Returns when the next one would. */
static double watch_peers(heartbeat_t *hb, double now) {
  double next = INFINITY;
  for (int i = 0; i < MAX_PEERS; i++) {
    peer_t *peer = &hb->peers[i];
    if (!peer->used || !peer->heard || peer->silent) continue;
    double silent_at = fmax(peer->heard_at, hb->watch_from) + hb->silence_ms;
    double stuck_at = fmax(peer->turn_at, hb->watch_from) + hb->stuck_ms;
    if (now >= silent_at) {
      peer->silent = true;
      raise_flag(hb, peer, PEER_SILENT);
      post(hb, peer, PEER_SILENT, peer->heard_at);
      continue;
    }
    next = fmin(next, silent_at);
    if (!peer->stuck && now >= stuck_at) {
      peer->stuck = true;
      raise_flag(hb, peer, PEER_STUCK);
      post(hb, peer, PEER_STUCK, peer->turn_at);
    }
    if (!peer->stuck) next = fmin(next, stuck_at);
  }
  return next;
}

/* Notes an expiry when this thread or the event loop stood still for longer than the lease. */
static void check_own_life(heartbeat_t *hb, double now) {
  double gap = now - slot_load(&hb->table[H_LAST_BEAT_AT]);
  if (gap > slot_load(&hb->table[H_WORST_GAP])) slot_store(&hb->table[H_WORST_GAP], gap);
  bool stopped = gap > hb->lease_ms;
  if (stopped || now - slot_load(&hb->table[H_TURN_AT]) > hb->turn_lease_ms) {
    if (!lease_expired(hb->table)) slot_add(&hb->table[H_EXPIRATIONS], 1);
  }
  /* A node that was itself stopped cannot tell who else was: it gives each peer a full term. */
  if (gap > hb->silence_ms) hb->watch_from = now;
}

static void wait_until(heartbeat_t *hb, double at, bool readable) {
  double ms = fmax(0, at - monotonic_ms());
  struct timespec timeout = {(time_t)(ms / 1e3), (long)(fmod(ms, 1e3) * 1e6)};
  struct pollfd fds[2] = {{hb->wake, POLLIN, 0}, {hb->fd, POLLIN, 0}};
  ppoll(fds, readable ? 2 : 1, &timeout, NULL);
}

static bool close_range_of(unsigned first, unsigned last) {
  return syscall(SYS_close_range, first, last, 0) == 0;
}

/* Leaves this thread with its own three descriptors in a table of its own, where the system can do that (Linux 5.9). */
static void take_files(heartbeat_t *hb) {
  /* Asked with a range that is empty. Without the call a copy of the TAP would stay open here. */
  if (!close_range_of(~0U, ~0U) || unshare(CLONE_FILES) != 0) return;
  unsigned keep[3] = {(unsigned)hb->fd, (unsigned)hb->wake, (unsigned)hb->notice};
  for (int i = 1; i < 3; i++) {
    for (int j = i; j > 0 && keep[j] < keep[j - 1]; j--) {
      unsigned other = keep[j];
      keep[j] = keep[j - 1];
      keep[j - 1] = other;
    }
  }
  unsigned from = 0;
  for (int i = 0; i < 3; i++) {
    if (keep[i] > from) close_range_of(from, keep[i] - 1);
    from = keep[i] + 1;
  }
  close_range_of(from, ~0U);
  hb->own_files = true;
}

void *heartbeat_run(void *data) {
  heartbeat_t *hb = data;
  take_files(hb);
  sem_post(&hb->started);
  int budget = READS_PER_BEAT;
  while (!__atomic_load_n(&hb->stop, __ATOMIC_ACQUIRE)) {
    double now = monotonic_ms();
    check_own_life(hb, now);
    pthread_mutex_lock(&hb->lock);
    receive_all(hb, &budget);
    receive_refusals(hb);
    if (now >= hb->next_beat_at) {
      beat(hb, now);
      budget = READS_PER_BEAT;
    }
    double next = fmin(hb->next_beat_at, watch_peers(hb, now));
    pthread_mutex_unlock(&hb->lock);
    wait_until(hb, next, budget > 0);
  }
  return NULL;
}
