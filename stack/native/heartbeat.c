/*
 * The heartbeat's face to JavaScript: starting and ending the thread, the table of peers, the lease. JavaScript reads the
 * shared table by itself; these calls are for what is rare. The thread is in heartbeat-thread.c.
 */
#include "heartbeat.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

static void on_notice(napi_env env, napi_value callback, void *context, void *data) {
  heartbeat_t *hb = context;
  notice_t notice = *(notice_t *)data;
  free(data);
  if (env == NULL || callback == NULL || hb->closed) return;
  napi_value arguments[3], receiver;
  napi_create_uint32(env, notice.id, &arguments[0]);
  napi_create_int32(env, notice.kind, &arguments[1]);
  napi_create_double(env, notice.since, &arguments[2]);
  napi_get_undefined(env, &receiver);
  napi_call_function(env, receiver, callback, 3, arguments, NULL);
}

static void close_heartbeat(void *data) {
  heartbeat_t *hb = data;
  if (hb->closed) return;
  __atomic_store_n(&hb->closed, true, __ATOMIC_RELEASE);
  __atomic_store_n(&hb->stop, true, __ATOMIC_RELEASE);
  uint64_t one = 1;
  if (write(hb->wake, &one, sizeof one) < 0) { /* The thread looks at `stop` at its next beat at the latest. */
  }
  pthread_join(hb->thread, NULL);
  close(hb->fd);
  close(hb->wake);
  pthread_mutex_destroy(&hb->lock);
  napi_release_threadsafe_function(hb->notify, napi_tsfn_abort);
  napi_remove_env_cleanup_hook(hb->env, close_heartbeat, hb);
  napi_delete_reference(hb->env, hb->table_ref);
  memset(hb->key, 0, sizeof hb->key);
}

static void finalize(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  close_heartbeat(data);
  free(data);
}

heartbeat_t *heartbeat_of(napi_env env, napi_value handle) {
  void *data = NULL;
  return napi_get_value_external(env, handle, &data) == napi_ok ? data : NULL;
}

static bool to_address(const char *text, int port, struct sockaddr_in *out) {
  memset(out, 0, sizeof *out);
  out->sin_family = AF_INET;
  out->sin_port = htons((uint16_t)port);
  return inet_pton(AF_INET, text, &out->sin_addr) == 1;
}

/* Opens and binds the socket. Returns the bound port, or a negative errno. */
static int bind_socket(heartbeat_t *hb, const struct sockaddr_in *address) {
  struct sockaddr_in bound;
  socklen_t size = sizeof bound;
  int priority = 6;
  hb->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  hb->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (hb->fd < 0 || hb->wake < 0) return -errno;
  setsockopt(hb->fd, SOL_SOCKET, SO_PRIORITY, &priority, sizeof priority);
  if (bind(hb->fd, (const struct sockaddr *)address, sizeof *address) < 0) return -errno;
  if (getsockname(hb->fd, (struct sockaddr *)&bound, &size) < 0) return -errno;
  return ntohs(bound.sin_port);
}

/* Starts the thread with all signals blocked. Notes the real-time priority it got, or 0. Returns an errno. */
static int start_thread(heartbeat_t *hb, int priority) {
  pthread_mutexattr_t mutex;
  pthread_attr_t attributes;
  sigset_t all, old;
  pthread_mutexattr_init(&mutex);
  pthread_mutexattr_setprotocol(&mutex, PTHREAD_PRIO_INHERIT);
  pthread_mutex_init(&hb->lock, &mutex);
  pthread_mutexattr_destroy(&mutex);
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 256 * 1024);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  int error = pthread_create(&hb->thread, &attributes, heartbeat_run, hb);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  pthread_attr_destroy(&attributes);
  if (error != 0) return error;
  struct sched_param wish = {.sched_priority = priority};
  if (priority > 0 && pthread_setschedparam(hb->thread, SCHED_FIFO, &wish) == 0) hb->priority = priority;
  return 0;
}

static bool read_config(napi_env env, napi_value options, heartbeat_t *hb, struct sockaddr_in *address, int *priority) {
  char text[64];
  int port;
  double id;
  void *key;
  size_t length;
  napi_value bytes;
  if (!get_number(env, options, "id", &id) || !get_text(env, options, "address", text, sizeof text) ||
      !get_int(env, options, "port", &port) || !get_int(env, options, "priority", priority) ||
      !get_number(env, options, "intervalMs", &hb->interval_ms) ||
      !get_number(env, options, "leaseMs", &hb->lease_ms) ||
      !get_number(env, options, "turnLeaseMs", &hb->turn_lease_ms) ||
      !get_number(env, options, "silenceMs", &hb->silence_ms) ||
      !get_number(env, options, "stuckMs", &hb->stuck_ms)) {
    return false;
  }
  if (napi_get_named_property(env, options, "key", &bytes) != napi_ok ||
      napi_get_typedarray_info(env, bytes, NULL, &length, &key, NULL, NULL) != napi_ok || length != 16) {
    throw_type(env, "key");
    return false;
  }
  memcpy(hb->key, key, 16);
  hb->id = (uint32_t)id;
  if (!to_address(text, port, address)) {
    throw_errno(env, EINVAL, "inet_pton", text);
    return false;
  }
  return true;
}

static void abandon(heartbeat_t *hb) {
  if (hb->fd >= 0) close(hb->fd);
  if (hb->wake >= 0) close(hb->wake);
  if (hb->table_ref != NULL) napi_delete_reference(hb->env, hb->table_ref);
  if (hb->notify != NULL) napi_release_threadsafe_function(hb->notify, napi_tsfn_abort);
  free(hb);
}

static bool share_table(napi_env env, napi_value result, napi_value callback, heartbeat_t *hb) {
  size_t slots = HEADER_SLOTS + MAX_PEERS * PEER_SLOTS;
  hb->table = share_buffer(env, result, "table", slots * sizeof(double), &hb->table_ref);
  if (hb->table == NULL) return false;
  double now = monotonic_ms();
  hb->table[H_TURN_AT] = hb->table[H_LAST_BEAT_AT] = hb->next_beat_at = hb->watch_from = now;
  hb->table[H_LEASE_UNTIL] = INFINITY;
  napi_value name;
  napi_create_string_utf8(env, "heartbeat", NAPI_AUTO_LENGTH, &name);
  return napi_create_threadsafe_function(env, callback, NULL, name, 0, 1, NULL, NULL, hb, on_notice, &hb->notify) ==
         napi_ok;
}

/* heartbeatStart(options, callback): see HeartbeatConfig and HeartbeatParts in stack/io/native.ts. */
static napi_value heartbeat_start(napi_env env, napi_callback_info info) {
  napi_value arguments[2], result, handle;
  size_t count = 2;
  struct sockaddr_in address;
  int priority;
  napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
  heartbeat_t *hb = calloc(1, sizeof *hb);
  if (hb == NULL) {
    throw_errno(env, ENOMEM, "calloc", "");
    return NULL;
  }
  hb->env = env;
  hb->fd = hb->wake = -1;
  napi_create_object(env, &result);
  if (!read_config(env, arguments[0], hb, &address, &priority)) {
    abandon(hb);
    return NULL;
  }
  int port = bind_socket(hb, &address);
  int error = port < 0 ? -port : 0;
  if (error == 0 && getrandom(&hb->incarnation, sizeof hb->incarnation, 0) < 0) error = errno;
  if (error == 0 && !share_table(env, result, arguments[1], hb)) {
    abandon(hb);
    return NULL;
  }
  if (error == 0) error = start_thread(hb, priority);
  if (error != 0) {
    throw_errno(env, error, port < 0 ? "bind" : "pthread_create", inet_ntoa(address.sin_addr));
    abandon(hb);
    return NULL;
  }
  napi_unref_threadsafe_function(env, hb->notify);
  napi_add_env_cleanup_hook(env, close_heartbeat, hb);
  set_number(env, result, "port", port);
  set_number(env, result, "priority", hb->priority);
  napi_create_external(env, hb, finalize, NULL, &handle);
  napi_set_named_property(env, result, "handle", handle);
  return result;
}

/* heartbeatAddPeer(handle, id, address, port): the row of the table, or -1 when the table is full. */
static napi_value heartbeat_add_peer(napi_env env, napi_callback_info info) {
  napi_value arguments[4], result;
  size_t count = 4, length;
  uint32_t id, port;
  char text[64];
  struct sockaddr_in address;
  napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
  heartbeat_t *hb = heartbeat_of(env, arguments[0]);
  if (hb == NULL || hb->closed || napi_get_value_uint32(env, arguments[1], &id) != napi_ok ||
      napi_get_value_string_utf8(env, arguments[2], text, sizeof text, &length) != napi_ok ||
      napi_get_value_uint32(env, arguments[3], &port) != napi_ok || !to_address(text, (int)port, &address)) {
    throw_type(env, "an open heartbeat, an id, an IPv4 address and a port are expected");
    return NULL;
  }
  pthread_mutex_lock(&hb->lock);
  peer_t *peer = find_peer(hb, id);
  for (int i = 0; peer == NULL && i < MAX_PEERS; i++) {
    if (!hb->peers[i].used) peer = &hb->peers[i];
  }
  int row = peer == NULL ? -1 : (int)(peer - hb->peers);
  if (peer != NULL) {
    double *slots = hb->table + HEADER_SLOTS + row * PEER_SLOTS;
    memset(peer, 0, sizeof *peer);
    peer->used = true;
    peer->id = id;
    peer->address = address;
    for (int i = 0; i < PEER_SLOTS; i++) slot_store(&slots[i], 0);
    slot_store(&slots[P_ID], id);
    slot_store(&slots[P_FLAGS], PEER_USED);
  }
  pthread_mutex_unlock(&hb->lock);
  napi_create_int32(env, row, &result);
  return result;
}

/* heartbeatRemovePeer(handle, id) */
static napi_value heartbeat_remove_peer(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  size_t count = 2;
  uint32_t id;
  napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
  heartbeat_t *hb = heartbeat_of(env, arguments[0]);
  if (hb == NULL || hb->closed || napi_get_value_uint32(env, arguments[1], &id) != napi_ok) return NULL;
  pthread_mutex_lock(&hb->lock);
  peer_t *peer = find_peer(hb, id);
  if (peer != NULL) {
    slot_store(&hb->table[HEADER_SLOTS + (peer - hb->peers) * PEER_SLOTS + P_FLAGS], 0);
    peer->used = false;
  }
  pthread_mutex_unlock(&hb->lock);
  return NULL;
}

/* heartbeatExpire(handle): notes an expiry, as the thread would. */
static napi_value heartbeat_expire(napi_env env, napi_callback_info info) {
  napi_value argument;
  size_t count = 1;
  napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
  heartbeat_t *hb = heartbeat_of(env, argument);
  if (hb != NULL && !hb->closed && !lease_expired(hb->table)) slot_add(&hb->table[H_EXPIRATIONS], 1);
  return NULL;
}

/* heartbeatLeaseHeld(handle): exactly what the TAP asks before it writes a leased frame. */
static napi_value heartbeat_held(napi_env env, napi_callback_info info) {
  napi_value argument, result;
  size_t count = 1;
  napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
  napi_get_boolean(env, heartbeat_lease_held(heartbeat_of(env, argument)), &result);
  return result;
}

static napi_value heartbeat_close(napi_env env, napi_callback_info info) {
  napi_value argument;
  size_t count = 1;
  napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
  heartbeat_t *hb = heartbeat_of(env, argument);
  if (hb != NULL) close_heartbeat(hb);
  return NULL;
}

void heartbeat_exports(napi_env env, napi_value exports) {
  set_function(env, exports, "heartbeatStart", heartbeat_start);
  set_function(env, exports, "heartbeatAddPeer", heartbeat_add_peer);
  set_function(env, exports, "heartbeatRemovePeer", heartbeat_remove_peer);
  set_function(env, exports, "heartbeatExpire", heartbeat_expire);
  set_function(env, exports, "heartbeatLeaseHeld", heartbeat_held);
  set_function(env, exports, "heartbeatClose", heartbeat_close);
}
