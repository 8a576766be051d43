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

static void drop_refs(heartbeat_t *hb) {
  drop_ref(hb->env, &hb->table_ref);
  drop_ref(hb->env, &hb->callback);
  drop_ref(hb->env, &hb->receiver);
}

static void release(heartbeat_t *hb) {
  if (--hb->references == 0) free(hb);
}

static void on_closed(uv_handle_t *handle) {
  heartbeat_t *hb = handle->data;
  /* Not in close_heartbeat: JavaScript may close it inside the very callback that runs in this context. */
  napi_async_destroy(hb->env, hb->context);
  if (hb->hook != NULL) napi_remove_async_cleanup_hook(hb->hook);
  release(hb);
}

static void call_back(heartbeat_t *hb, const notice_t *notice) {
  napi_env env = hb->env;
  napi_value arguments[3], receiver, callback;
  napi_get_reference_value(env, hb->callback, &callback);
  napi_get_reference_value(env, hb->receiver, &receiver);
  napi_create_uint32(env, notice->id, &arguments[0]);
  napi_create_int32(env, notice->kind, &arguments[1]);
  napi_create_double(env, notice->since, &arguments[2]);
  napi_make_callback(env, hb->context, receiver, callback, 3, arguments, NULL);
}

/* The thread has told something. It cannot call uv_async_send: the descriptor for that is not in its table. */
static void on_notice(uv_poll_t *poll, int status, int events) {
  heartbeat_t *hb = poll->data;
  (void)status;
  (void)events;
  uint64_t told;
  if (read(hb->notice, &told, sizeof told) < 0) return;
  notice_t notices[MAX_NOTICES];
  pthread_mutex_lock(&hb->lock);
  int count = hb->notice_count;
  memcpy(notices, hb->notices, (size_t)count * sizeof *notices);
  hb->notice_count = 0;
  pthread_mutex_unlock(&hb->lock);
  napi_handle_scope scope;
  napi_open_handle_scope(hb->env, &scope);
  for (int i = 0; i < count && !hb->closed; i++) call_back(hb, &notices[i]);
  napi_close_handle_scope(hb->env, scope);
}

static void close_heartbeat(heartbeat_t *hb) {
  if (hb->closed) return;
  __atomic_store_n(&hb->closed, true, __ATOMIC_RELEASE);
  __atomic_store_n(&hb->stop, true, __ATOMIC_RELEASE);
  uint64_t one = 1;
  if (write(hb->wake, &one, sizeof one) < 0) { /* The thread looks at `stop` at its next beat at the latest. */
  }
  pthread_join(hb->thread, NULL);
  uv_poll_stop(&hb->poll);
  uv_close((uv_handle_t *)&hb->poll, on_closed);
  if (!hb->own_files) close(hb->fd);
  close(hb->wake);
  close(hb->notice);
  pthread_mutex_destroy(&hb->lock);
  drop_refs(hb);
  memset(hb->key, 0, sizeof hb->key);
}

static void on_env_cleanup(napi_async_cleanup_hook_handle hook, void *data) {
  heartbeat_t *hb = data;
  if (hb->closed) return; /* Closing already: on_closed removes the hook. */
  hb->hook = hook;
  close_heartbeat(hb);
}

static void finalize(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  close_heartbeat(data);
  release(data);
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
  hb->notice = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (hb->fd < 0 || hb->wake < 0 || hb->notice < 0) return -errno;
  int told = 1;
  setsockopt(hb->fd, IPPROTO_IP, IP_RECVERR, &told, sizeof told);
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
  sem_init(&hb->started, 0, 0);
  int error = pthread_create(&hb->thread, &attributes, heartbeat_run, hb);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  pthread_attr_destroy(&attributes);
  if (error != 0) return error;
  while (sem_wait(&hb->started) != 0) { /* A signal came. */
  }
  /* The thread has the only one: it is closed when the thread ends. */
  if (hb->own_files) close(hb->fd);
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
  if (hb->notice >= 0) close(hb->notice);
  drop_refs(hb);
  free(hb);
}

static bool share_table(napi_env env, napi_value result, heartbeat_t *hb) {
  size_t slots = HEADER_SLOTS + MAX_PEERS * PEER_SLOTS;
  hb->table = share_buffer(env, result, "table", slots * sizeof(double), &hb->table_ref);
  if (hb->table == NULL) return false;
  double now = monotonic_ms();
  hb->table[H_TURN_AT] = hb->table[H_LAST_BEAT_AT] = hb->next_beat_at = hb->watch_from = now;
  hb->table[H_LEASE_UNTIL] = INFINITY;
  return true;
}

/* Begins to hear the thread's notices, without keeping the event loop up. */
static bool watch(napi_env env, napi_value callback, heartbeat_t *hb) {
  uv_loop_t *loop;
  napi_value resource, name;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok || uv_poll_init(loop, &hb->poll, hb->notice) < 0) return false;
  napi_create_object(env, &resource);
  napi_create_string_utf8(env, "heartbeat", NAPI_AUTO_LENGTH, &name);
  hb->poll.data = hb;
  napi_async_init(env, resource, name, &hb->context);
  napi_create_reference(env, callback, 1, &hb->callback);
  napi_create_reference(env, resource, 1, &hb->receiver);
  napi_add_async_cleanup_hook(env, on_env_cleanup, hb, &hb->hook);
  uv_poll_start(&hb->poll, UV_READABLE, on_notice);
  uv_unref((uv_handle_t *)&hb->poll);
  return true;
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
  hb->fd = hb->wake = hb->notice = -1;
  napi_create_object(env, &result);
  if (!read_config(env, arguments[0], hb, &address, &priority)) {
    abandon(hb);
    return NULL;
  }
  int port = bind_socket(hb, &address);
  int error = port < 0 ? -port : 0;
  if (error == 0 && getrandom(&hb->incarnation, sizeof hb->incarnation, 0) < 0) error = errno;
  if (error == 0 && !share_table(env, result, hb)) {
    abandon(hb);
    return NULL;
  }
  if (error == 0) error = start_thread(hb, priority);
  if (error != 0) {
    throw_errno(env, error, port < 0 ? "bind" : "pthread_create", inet_ntoa(address.sin_addr));
    abandon(hb);
    return NULL;
  }
  hb->references = 2;
  if (!watch(env, arguments[1], hb)) napi_fatal_error("heartbeat", NAPI_AUTO_LENGTH, "no uv_poll", NAPI_AUTO_LENGTH);
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
