/* The addon's entry, and the small calls that its parts share. Holds no global state, so worker threads may load it. */
#include "native.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

double monotonic_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

void drop_ref(napi_env env, napi_ref *ref) {
  if (*ref != NULL) napi_delete_reference(env, *ref);
  *ref = NULL;
}

void set_number(napi_env env, napi_value object, const char *key, double value) {
  napi_value number;
  if (napi_create_double(env, value, &number) == napi_ok) {
    napi_set_named_property(env, object, key, number);
  }
}

void set_text(napi_env env, napi_value object, const char *key, const char *value) {
  napi_value text;
  if (napi_create_string_utf8(env, value, NAPI_AUTO_LENGTH, &text) == napi_ok) {
    napi_set_named_property(env, object, key, text);
  }
}

void set_function(napi_env env, napi_value object, const char *key, napi_callback call) {
  napi_value function;
  if (napi_create_function(env, key, NAPI_AUTO_LENGTH, call, NULL, &function) == napi_ok) {
    napi_set_named_property(env, object, key, function);
  }
}

void throw_errno(napi_env env, int error, const char *syscall, const char *device) {
  char name[64];
  char message[256];
  uv_err_name_r(uv_translate_sys_error(error), name, sizeof name);
  snprintf(message, sizeof message, "%s: %s (%s)", syscall, strerror(error), name);
  napi_value text, thrown;
  if (napi_create_string_utf8(env, message, NAPI_AUTO_LENGTH, &text) != napi_ok) return;
  if (napi_create_error(env, NULL, text, &thrown) != napi_ok) return;
  set_text(env, thrown, "errno", name);
  set_text(env, thrown, "syscall", syscall);
  set_text(env, thrown, "device", device);
  napi_throw(env, thrown);
}

void throw_type(napi_env env, const char *message) {
  napi_throw_type_error(env, "ERR_NATIVE_ARGUMENT", message);
}

bool get_number(napi_env env, napi_value object, const char *key, double *out) {
  napi_value value;
  if (napi_get_named_property(env, object, key, &value) == napi_ok &&
      napi_get_value_double(env, value, out) == napi_ok) {
    return true;
  }
  throw_type(env, key);
  return false;
}

bool get_int(napi_env env, napi_value object, const char *key, int *out) {
  double number;
  if (!get_number(env, object, key, &number)) return false;
  if (!(number >= 0 && number <= INT32_MAX)) {
    throw_type(env, key);
    return false;
  }
  *out = (int)number;
  return true;
}

bool get_text(napi_env env, napi_value object, const char *key, char *out, size_t size) {
  napi_value value;
  size_t length;
  if (napi_get_named_property(env, object, key, &value) == napi_ok &&
      napi_get_value_string_utf8(env, value, NULL, 0, &length) == napi_ok && length < size &&
      napi_get_value_string_utf8(env, value, out, size, &length) == napi_ok) {
    return true;
  }
  throw_type(env, key);
  return false;
}

void *share_buffer(napi_env env, napi_value object, const char *key, size_t size, napi_ref *ref) {
  napi_value buffer;
  void *data = NULL;
  if (napi_create_arraybuffer(env, size, &data, &buffer) != napi_ok || data == NULL ||
      napi_create_reference(env, buffer, 1, ref) != napi_ok) {
    napi_throw_error(env, "ERR_OUT_OF_MEMORY", "the addon could not allocate its shared buffer");
    return NULL;
  }
  napi_set_named_property(env, object, key, buffer);
  return data;
}

NAPI_MODULE_INIT() {
  tap_exports(env, exports);
  heartbeat_exports(env, exports);
  link_exports(env, exports);
  file_lock_exports(env, exports);
  return exports;
}
