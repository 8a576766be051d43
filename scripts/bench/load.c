/*
 * The bench's load, and the reference that it is measured beside: the same client against our server and against the
 * kernel's own TCP. One thread, sockets of the kernel, no dependency.
 *
 *   load serve ADDRESS                 sink on port 9, source on 19, echo on 7, until it is ended; says "ready"
 *   load up ADDRESS SECONDS            octets a second that the other side has taken
 *   load down ADDRESS SECONDS          octets a second that came
 *   load echo ADDRESS COUNT            median and 99th percentile of a one-octet answer, in microseconds
 *   load connect ADDRESS N SECONDS     connections a second of N clients that connect, ask once, and reset
 *   load offloads DEVICE on|off        whether the device of this namespace cuts segments and completes checksums
 *   load idle ADDRESS COUNT OWN        opens COUNT connections, at most 40,000, from the address OWN, sends one octet on each, says
 *                                      "ready" when all are answered, holds them
 *   load hold ADDRESS COUNT OWN        opens as many and says "ready"; behind that each line on standard input sends one octet on each
 *                                      and says when, by the wall clock in milliseconds, the last one was answered, how many were, how
 *                                      many are lost
 *   load ask ADDRESS NAME FILE         asks for http://ADDRESS/NAME again and again on one connection, until standard input has a
 *                                      line; each answer must be the octets of FILE; says how many there were
 *   load wait ADDRESS                  says "open"; a line on standard input: sends one octet, says "idle" if it is answered, and
 *                                      reads until that ends: says when, as hold does, and why; SIGUSR1: sends one octet more
 *
 * Results are one line of numbers. Congestion control is cubic where the kernel has it. Exit code 1 with a line on
 * standard error when something fails.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { ECHO = 7, SINK = 9, SOURCE = 19, HTTP = 80, PATIENCE_S = 20, CHUNK = 256 * 1024, EVENTS = 256, MAX_FD = 1 << 18 };

static char chunk[CHUNK];
static uint8_t kind[MAX_FD];

static void fail(const char *what) {
  fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
  exit(1);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct sockaddr_in address_of(const char *text, int port) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  if (inet_pton(AF_INET, text, &a.sin_addr) != 1) {
    errno = EINVAL;
    fail(text);
  }
  return a;
}

static int new_socket(void) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
  if (fd < 0 || fd >= MAX_FD) fail("socket");
  setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

static int open_to(const char *host, int port) {
  struct sockaddr_in a = address_of(host, port);
  int fd = new_socket();
  if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0) fail("connect");
  return fd;
}

static void watch(int poll, int fd, uint32_t events) {
  struct epoll_event e = {.events = events, .data.fd = fd};
  if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &e) < 0) fail("epoll_ctl");
}

static int listen_at(const char *host, int port, int poll) {
  struct sockaddr_in a = address_of(host, port);
  int fd = new_socket(), on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 4096) < 0) fail("listen");
  fcntl(fd, F_SETFL, O_NONBLOCK);
  kind[fd] = (uint8_t)(port | 0x80);
  watch(poll, fd, EPOLLIN);
  return fd;
}

static void accept_all(int poll, int listener) {
  for (;;) {
    int on = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 || fd >= MAX_FD) return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    kind[fd] = kind[listener] & 0x7f;
    watch(poll, fd, kind[fd] == SOURCE ? EPOLLIN | EPOLLOUT : EPOLLIN);
  }
}

/* Serves what one socket has. False: it is at its end. */
static int serve_one(int fd) {
  if (kind[fd] == SOURCE) {
    ssize_t n = send(fd, chunk, sizeof chunk, MSG_NOSIGNAL);
    return n > 0 || errno == EAGAIN;
  }
  ssize_t n = recv(fd, chunk, sizeof chunk, 0);
  if (n <= 0) return n < 0 && errno == EAGAIN;
  return kind[fd] != ECHO || send(fd, chunk, (size_t)n, MSG_NOSIGNAL) == n;
}

static void serve(const char *host) {
  int poll = epoll_create1(EPOLL_CLOEXEC);
  listen_at(host, ECHO, poll);
  listen_at(host, SINK, poll);
  listen_at(host, SOURCE, poll);
  puts("ready");
  fflush(stdout);
  for (;;) {
    struct epoll_event events[EVENTS];
    int n = epoll_wait(poll, events, EVENTS, -1);
    for (int i = 0; i < n; i++) {
      int fd = events[i].data.fd;
      if (kind[fd] & 0x80) accept_all(poll, fd);
      else if (!serve_one(fd)) close(fd);
    }
  }
}

/* The clock stops when the other side has closed behind our end, and so has taken everything. */
static void up(const char *host, double seconds) {
  int fd = open_to(host, SINK);
  double start = now(), sent = 0;
  while (now() - start < seconds) {
    ssize_t n = send(fd, chunk, sizeof chunk, MSG_NOSIGNAL);
    if (n <= 0) fail("send");
    sent += (double)n;
  }
  shutdown(fd, SHUT_WR);
  while (recv(fd, chunk, sizeof chunk, 0) > 0) continue;
  printf("%.0f\n", sent / (now() - start));
}

static void down(const char *host, double seconds) {
  int fd = open_to(host, SOURCE);
  double start = now(), got = 0;
  while (now() - start < seconds) {
    ssize_t n = recv(fd, chunk, sizeof chunk, 0);
    if (n <= 0) fail("recv");
    got += (double)n;
  }
  printf("%.0f\n", got / (now() - start));
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static void echo(const char *host, int count) {
  /* Enough for a server's compiler to be done with the way of an answer. */
  int fd = open_to(host, ECHO), warm = count / 10 + 5000;
  double *took = calloc((size_t)count, sizeof *took);
  char octet = 1;
  for (int i = -warm; i < count; i++) {
    double start = now();
    if (send(fd, &octet, 1, MSG_NOSIGNAL) != 1 || recv(fd, &octet, 1, 0) != 1) fail("echo");
    if (i >= 0) took[i] = (now() - start) * 1e6;
  }
  qsort(took, (size_t)count, sizeof *took, compare);
  printf("%.2f %.2f\n", took[count / 2], took[count * 99 / 100]);
}

static void dial(int poll, const struct sockaddr_in *to) {
  int fd = new_socket();
  struct linger hard = {1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  if (connect(fd, (const struct sockaddr *)to, sizeof *to) < 0 && errno != EINPROGRESS) fail("connect");
  kind[fd] = 0;
  watch(poll, fd, EPOLLOUT);
}

static void connect_rate(const char *host, int clients, double seconds) {
  struct sockaddr_in to = address_of(host, ECHO);
  int poll = epoll_create1(EPOLL_CLOEXEC);
  double start = now(), done = 0;
  for (int i = 0; i < clients; i++) dial(poll, &to);
  while (now() - start < seconds) {
    struct epoll_event events[EVENTS];
    int n = epoll_wait(poll, events, EVENTS, 1000);
    for (int i = 0; i < n; i++) {
      int fd = events[i].data.fd;
      if (kind[fd] == 0 && (events[i].events & (EPOLLERR | EPOLLHUP)) == 0) {
        struct epoll_event answer = {.events = EPOLLIN, .data.fd = fd};
        if (send(fd, chunk, 1, MSG_NOSIGNAL) != 1) fail("ask");
        kind[fd] = 1;
        epoll_ctl(poll, EPOLL_CTL_MOD, fd, &answer);
        continue;
      }
      if (recv(fd, chunk, 1, 0) != 1) fail("answer");
      close(fd);
      done++;
      dial(poll, &to);
    }
  }
  printf("%.0f\n", done / (now() - start));
}

static int *open_many(const char *host, int count, const char *own) {
  int *fds = calloc((size_t)count, sizeof *fds);
  struct rlimit files = {(rlim_t)count + 64, (rlim_t)count + 64};
  if (setrlimit(RLIMIT_NOFILE, &files) < 0) fail("setrlimit");
  struct sockaddr_in to = address_of(host, ECHO);
  for (int i = 0; i < count; i++) {
    int fd = new_socket(), on = 1;
    struct linger hard = {1, 0};
    struct sockaddr_in from = {.sin_family = AF_INET};
    /* The next round uses the same ports. */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    inet_pton(AF_INET, own, &from.sin_addr);
    from.sin_port = htons((uint16_t)(20000 + i));
    if (bind(fd, (struct sockaddr *)&from, sizeof from) < 0) fail("bind");
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0) fail("connect");
    fds[i] = fd;
  }
  return fds;
}

static void say(const char *what) {
  puts(what);
  fflush(stdout);
}

static double wall_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void idle(const char *host, int count, const char *own) {
  int *fds = open_many(host, count, own);
  char octet = 1;
  /* What has never carried anything has no buffers yet, and is no example. */
  for (int i = 0; i < count; i++) {
    if (send(fds[i], &octet, 1, MSG_NOSIGNAL) != 1) fail("send");
  }
  for (int i = 0; i < count; i++) {
    if (recv(fds[i], &octet, 1, 0) != 1) fail("answer");
  }
  say("ready");
  pause();
}

/* One octet on each connection, and its answer, which must be that octet alone. */
static void exchange(const int *fds, int count, char octet) {
  int poll = epoll_create1(EPOLL_CLOEXEC), answered = 0, lost = 0;
  double until = now() + PATIENCE_S, last = wall_ms();
  for (int i = 0; i < count; i++) {
    if (kind[fds[i]] != 0) {
      lost++;
      continue;
    }
    watch(poll, fds[i], EPOLLIN);
    send(fds[i], &octet, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  while (answered + lost < count && now() < until) {
    struct epoll_event events[EVENTS];
    int n = epoll_wait(poll, events, EVENTS, 100);
    for (int i = 0; i < n; i++) {
      int fd = events[i].data.fd;
      char got[2] = {0, 0};
      ssize_t length = recv(fd, got, sizeof got, MSG_DONTWAIT);
      if (length < 0 && errno == EAGAIN) continue;
      epoll_ctl(poll, EPOLL_CTL_DEL, fd, NULL);
      if (length == 1 && got[0] == octet) {
        answered++;
        last = wall_ms();
      } else {
        kind[fd] = 1;
        lost++;
      }
    }
  }
  close(poll);
  printf("%.3f %d %d\n", last, answered, count - answered);
  fflush(stdout);
}

static void hold(const char *host, int count, const char *own) {
  int *fds = open_many(host, count, own);
  say("ready");
  for (char octet = 1, line[8]; fgets(line, sizeof line, stdin) != NULL; octet++) exchange(fds, count, octet);
}

static int open_patiently(const char *host, int port) {
  struct timeval patience = {.tv_sec = PATIENCE_S};
  int fd = open_to(host, port);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  return fd;
}

/* Whether the answer to one request is 200 and the octets `wanted`. */
static int is_answered(int fd, const char *request, const char *wanted, size_t size) {
  size_t got = 0, head = 0;
  if (send(fd, request, strlen(request), MSG_NOSIGNAL) < 0) fail("ask");
  while (head == 0 || got < head + size) {
    ssize_t n = recv(fd, chunk + got, sizeof chunk - 1 - got, 0);
    if (n <= 0) fail("answer");
    got += (size_t)n;
    chunk[got] = 0;
    const char *end = head == 0 ? strstr(chunk, "\r\n\r\n") : NULL;
    if (end != NULL) head = (size_t)(end - chunk) + 4;
  }
  return strncmp(chunk, "HTTP/1.1 200", 12) == 0 && got == head + size && memcmp(chunk + head, wanted, size) == 0;
}

static void ask(const char *host, const char *name, const char *file) {
  static char wanted[CHUNK / 2];
  FILE *in = fopen(file, "rb");
  if (in == NULL) fail(file);
  size_t size = fread(wanted, 1, sizeof wanted, in);
  char request[512];
  snprintf(request, sizeof request, "GET /%s HTTP/1.1\r\nHost: %s\r\n\r\n", name, host);
  struct pollfd input = {.fd = 0, .events = POLLIN};
  int fd = open_patiently(host, HTTP), count = 0;
  /* A rest between the answers leaves the processor to others. */
  for (; poll(&input, 1, 1) == 0; count++) {
    if (!is_answered(fd, request, wanted, size)) {
      errno = EBADMSG;
      fail("another answer");
    }
  }
  printf("%d\n", count);
}

static int waiting;

static void poke(int signal) {
  (void)signal;
  send(waiting, "", 1, MSG_NOSIGNAL);
}

static void wait_for_end(const char *host) {
  struct sigaction on_signal = {.sa_handler = poke, .sa_flags = SA_RESTART};
  char octet = 1, line[8];
  waiting = open_to(host, ECHO);
  say("open");
  if (fgets(line, sizeof line, stdin) == NULL) return;
  if (send(waiting, &octet, 1, MSG_NOSIGNAL) != 1) fail("send");
  sigaction(SIGUSR1, &on_signal, NULL);
  ssize_t n = recv(waiting, &octet, 1, 0);
  if (n == 1) {
    say("idle");
    n = recv(waiting, &octet, 1, 0);
  }
  printf("%.3f %s\n", wall_ms(), n > 0 ? "octet" : n == 0 ? "end" : errno == ECONNRESET ? "ECONNRESET" : strerror(errno));
}

/* What a device cannot do is no failure: it has none of it to switch off. */
static void offloads(const char *device, int on) {
  const uint32_t features[] = {ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO, ETHTOOL_SSG, ETHTOOL_STXCSUM};
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), count = sizeof features / sizeof *features;
  for (int i = 0; i < count; i++) {
    /* Checksums come first when all goes on, as the rest depends on them. */
    struct ethtool_value value = {features[on ? count - 1 - i : i], (uint32_t)on};
    struct ifreq request = {.ifr_data = (void *)&value};
    strncpy(request.ifr_name, device, IFNAMSIZ - 1);
    if (ioctl(fd, SIOCETHTOOL, &request) < 0 && errno != EOPNOTSUPP) fail("offloads");
  }
  close(fd);
  puts("0");
}

int main(int count, char **words) {
  const char *what = count > 2 ? words[1] : "";
  double third = count > 3 ? atof(words[3]) : 0;
  if (strcmp(what, "serve") == 0) serve(words[2]);
  else if (strcmp(what, "up") == 0) up(words[2], third);
  else if (strcmp(what, "down") == 0) down(words[2], third);
  else if (strcmp(what, "echo") == 0) echo(words[2], (int)third);
  else if (strcmp(what, "connect") == 0) connect_rate(words[2], (int)third, count > 4 ? atof(words[4]) : 1);
  else if (strcmp(what, "idle") == 0) idle(words[2], (int)third, count > 4 ? words[4] : "0.0.0.0");
  else if (strcmp(what, "hold") == 0) hold(words[2], (int)third, count > 4 ? words[4] : "0.0.0.0");
  else if (strcmp(what, "ask") == 0 && count > 4) ask(words[2], words[3], words[4]);
  else if (strcmp(what, "wait") == 0) wait_for_end(words[2]);
  else if (strcmp(what, "offloads") == 0) offloads(words[2], count > 3 && strcmp(words[3], "on") == 0);
  else {
    fprintf(stderr, "load: serve, up, down, echo, connect, offloads, idle, hold, ask or wait; see the head of load.c\n");
    return 2;
  }
  return 0;
}
