/* Advisory locks on open files (flock(2)): the kernel lets go of them when a process dies, however it dies. */
#include "native.h"

#include <errno.h>
#include <sys/file.h>

/* fileLock(fd, kind): kind 0 lets go, 1 asks for a share, 2 for the whole. True: it has it; false: somebody else has. Never waits. */
static napi_value file_lock(napi_env env, napi_callback_info info) {
  static const int operations[] = {LOCK_UN, LOCK_SH, LOCK_EX};
  napi_value arguments[2], result;
  size_t count = 2;
  int32_t fd = -1;
  uint32_t kind = 3;
  napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
  if (count < 2 || napi_get_value_int32(env, arguments[0], &fd) != napi_ok ||
      napi_get_value_uint32(env, arguments[1], &kind) != napi_ok || kind > 2) {
    throw_type(env, "fileLock(fd, 0 | 1 | 2)");
    return NULL;
  }
  int done;
  do {
    done = flock(fd, operations[kind] | LOCK_NB);
  } while (done != 0 && errno == EINTR);
  if (done != 0 && errno != EWOULDBLOCK) {
    throw_errno(env, errno, "flock", "");
    return NULL;
  }
  napi_get_boolean(env, done == 0, &result);
  return result;
}

void file_lock_exports(napi_env env, napi_value exports) {
  set_function(env, exports, "fileLock", file_lock);
}
