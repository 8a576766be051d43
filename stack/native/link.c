/*
 * Settings of a network interface, by ioctl where that is enough and by rtnetlink where an ioctl asks for rights that the
 * root of a user namespace lacks. Each call opens a socket of its own: they are rare.
 */
#include "native.h"

#include <errno.h>
#include <linux/if_bridge.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

int link_ioctl(unsigned long request, const char *name, struct ifreq *ifr) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  memcpy(ifr->ifr_name, name, IFNAMSIZ);
  int error = ioctl(fd, request, ifr) < 0 ? errno : 0;
  close(fd);
  return error;
}

int link_set_up(const char *name) {
  struct ifreq ifr = {0};
  int error = link_ioctl(SIOCGIFFLAGS, name, &ifr);
  if (error != 0 || (ifr.ifr_flags & IFF_UP)) return error;
  ifr.ifr_flags |= IFF_UP;
  return link_ioctl(SIOCSIFFLAGS, name, &ifr);
}

/* Sends one request and reads the kernel's word on it. */
static int transact(struct nlmsghdr *request) {
  struct {
    struct nlmsghdr header;
    struct nlmsgerr error;
    char quoted[256];
  } reply;
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0) return errno;
  int error = 0;
  if (send(fd, request, request->nlmsg_len, 0) < 0 || recv(fd, &reply, sizeof reply, 0) < 0) {
    error = errno;
  } else if (reply.header.nlmsg_type == NLMSG_ERROR) {
    error = -reply.error.error;
  }
  close(fd);
  return error;
}

int link_set_port_state(const char *name, uint8_t state) {
  struct {
    struct nlmsghdr header;
    struct ifinfomsg link;
    struct rtattr port;
    struct rtattr attribute;
    uint8_t state[4];
  } request = {
      .header = {.nlmsg_len = sizeof request, .nlmsg_type = RTM_SETLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
      .link = {.ifi_family = AF_BRIDGE, .ifi_index = (int)if_nametoindex(name)},
      .port = {.rta_len = RTA_LENGTH(RTA_LENGTH(4)), .rta_type = IFLA_PROTINFO | NLA_F_NESTED},
      .attribute = {.rta_len = RTA_LENGTH(1), .rta_type = IFLA_BRPORT_STATE},
      .state = {state},
  };
  return request.link.ifi_index == 0 ? errno : transact(&request.header);
}

/* bridgePortState(name, state): sets the state of a port of a bridge (BR_STATE_DISABLED is 0), and returns when it is set. */
static napi_value bridge_port_state(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  size_t count = 2, length;
  char name[IFNAMSIZ] = {0};
  uint32_t state;
  napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
  if (napi_get_value_string_utf8(env, arguments[0], name, sizeof name, &length) != napi_ok ||
      napi_get_value_uint32(env, arguments[1], &state) != napi_ok || state > BR_STATE_BLOCKING) {
    throw_type(env, "bridgePortState(name, 0 .. 4)");
    return NULL;
  }
  int error = link_set_port_state(name, (uint8_t)state);
  if (error != 0) throw_errno(env, error, "rtnetlink", name);
  return NULL;
}

void link_exports(napi_env env, napi_value exports) {
  set_function(env, exports, "bridgePortState", bridge_port_state);
}

int link_set_queue_length(const char *name, uint32_t frames) {
  struct {
    struct nlmsghdr header;
    struct ifinfomsg link;
    struct rtattr attribute;
    uint32_t frames;
  } request = {
      .header = {.nlmsg_len = sizeof request, .nlmsg_type = RTM_NEWLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
      .link = {.ifi_index = (int)if_nametoindex(name)},
      .attribute = {.rta_len = RTA_LENGTH(sizeof frames), .rta_type = IFLA_TXQLEN},
      .frames = frames,
  };
  return request.link.ifi_index == 0 ? errno : transact(&request.header);
}
