/* What the two halves of the heartbeat share: the thread (heartbeat-thread.c) and its Node-API face (heartbeat.c). */
#ifndef UNDERSTUDY_HEARTBEAT_H
#define UNDERSTUDY_HEARTBEAT_H

#include "native.h"

#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>

enum { MAX_PEERS = 64, HEADER_SLOTS = 32, PEER_SLOTS = 16, SENT_AT_SIZE = 256 };

/* The shared table, in doubles; stack/io/native.ts has the same lists. JavaScript writes the first four only. */
enum {
  H_TURN, H_TURN_AT, H_RENEWED, H_LEASE_UNTIL,
  H_EXPIRATIONS, H_LAST_BEAT_AT, H_SEQ, H_WORST_GAP,
  H_SENT, H_SEND_ERRORS, H_RECEIVED, H_BAD_PACKET, H_BAD_TAG, H_UNKNOWN, H_REPLAYED, H_UNPROVEN
};
enum { P_ID, P_LAST_HEARD_AT, P_TURN, P_TURN_AT, P_ECHO_SEQ, P_ECHO_SENT_AT, P_FLAGS, P_SEQ, P_RECEIVED };
enum { PEER_USED = 1, PEER_HEARD = 2, PEER_SILENT = 4, PEER_STUCK = 8, PEER_EXPIRED = 16, PEER_GONE = 32 };

/* Notices that JavaScript has not taken yet; with more of them it looks at the table. */
enum { MAX_NOTICES = 3 * MAX_PEERS };

typedef struct {
  bool used, heard, silent, stuck, gone;
  uint32_t id;
  struct sockaddr_in address;
  uint64_t incarnation, noted_incarnation, seq, noted_seq, turn, echo_seq;
  double heard_at, turn_at;
} peer_t;

typedef struct {
  uint32_t id;
  int kind; /* PEER_SILENT, PEER_STUCK or PEER_GONE */
  double since;
} notice_t;

struct heartbeat {
  uv_poll_t poll; /* Of `notice`. */
  pthread_t thread;
  pthread_mutex_t lock; /* Guards `peers` and the notices. */
  sem_t started;
  napi_env env;
  napi_async_context context;
  napi_async_cleanup_hook_handle hook;
  napi_ref table_ref, callback, receiver;
  int references; /* The handle in JavaScript and the poll handle in libuv. */
  int fd, wake, notice, priority;
  bool closed, stop, own_files;
  uint32_t id;
  uint8_t key[16];
  uint64_t incarnation, seq;
  double interval_ms, lease_ms, turn_lease_ms, silence_ms, stuck_ms;
  double next_beat_at, watch_from, sent_at[SENT_AT_SIZE];
  double *table;
  peer_t peers[MAX_PEERS];
  notice_t notices[MAX_NOTICES];
  int notice_count;
};

/* Slots are doubles that two threads share: they go through 64-bit atomics. */
double slot_load(const double *slot);
void slot_store(double *slot, double value);
void slot_add(double *slot, double amount);

/* True from the moment the lease ran out until it is renewed. */
bool lease_expired(const double *table);

/* The peer `id`, or NULL. The caller holds the lock. */
peer_t *find_peer(heartbeat_t *hb, uint32_t id);

/* The thread; its argument is the heartbeat. */
void *heartbeat_run(void *data);

#endif
