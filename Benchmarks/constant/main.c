// The container of the measurements: answers every POST with {"ok":true} as fast as one thread can. With an argument it
// delays its answers until a file of that name exists, so that a queue can be filled. A request for a WebSocket is
// answered with the handshake of the example in RFC 6455; after that the connection's bytes are returned unchanged.
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { connections = 32768, room = 64 * 1024 };
static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{\"ok\":true}";
static const char handshake[] = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                                "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

typedef struct {
  /// Bytes of an incomplete head.
  char head[8192];
  size_t filled;
  /// Bytes of the body that are still to come.
  unsigned long long missing;
  int held;
  bool is_upgraded;
} Caller;

static Caller callers[connections];
static const char *gate;

static void leave(int signal) {
  (void)signal;
  _exit(0);
}

static bool is_open(void) {
  if (gate && access(gate, F_OK) == 0) gate = NULL;
  return !gate;
}

static void reply(int fd, int count) {
  if (callers[fd].is_upgraded) {
    // A failure closes the connection, which the next read reports.
    (void)!send(fd, handshake, sizeof handshake - 1, MSG_NOSIGNAL);
    return;
  }
  for (; count > 0; count--)
    if (send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL) < 0) return;
}

/// Processes received bytes and returns the number of requests completed by them; -1 for invalid HTTP.
static int take(Caller *caller, const char *bytes, size_t size) {
  int complete = 0;
  while (size > 0) {
    if (caller->missing > 0) {
      size_t part = size < caller->missing ? size : (size_t)caller->missing;
      caller->missing -= part;
      bytes += part;
      size -= part;
      if (caller->missing == 0) complete++;
      continue;
    }
    size_t before = caller->filled, part = sizeof caller->head - 1 - before;
    if (part == 0) return -1;
    if (part > size) part = size;
    memcpy(caller->head + before, bytes, part);
    caller->filled += part;
    caller->head[caller->filled] = 0;
    char *end = strstr(caller->head, "\r\n\r\n");
    if (!end) {
      bytes += part;
      size -= part;
      continue;
    }
    size_t head = (size_t)(end - caller->head) + 4 - before;
    bytes += head;
    size -= head;
    char *length = strcasestr(caller->head, "\r\ncontent-length:");
    char *upgrade = strcasestr(caller->head, "\r\nupgrade: websocket");
    caller->is_upgraded = upgrade && upgrade < end;
    caller->missing = length && length < end ? strtoull(length + 17, NULL, 10) : 0;
    caller->filled = 0;
    if (caller->missing == 0) complete++;
  }
  return complete;
}

int main(int argc, char **argv) {
  signal(SIGTERM, leave);
  gate = argc > 1 ? argv[1] : NULL;
  const char *port = getenv("CORTEX_PORT");
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                .sin_port = htons((unsigned short)(port ? atoi(port) : 8080))};
  int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1, epoll = epoll_create1(0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 512) != 0) return 1;
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[256];
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
  static char bytes[room];
  while (true) {
    int count = epoll_wait(epoll, events, 256, gate ? 20 : -1);
    if (gate && is_open())
      for (int fd = 0; fd < connections; fd++) {
        reply(fd, callers[fd].held);
        callers[fd].held = 0;
      }
    for (int i = 0; i < count; i++) {
      int fd = events[i].data.fd;
      if (fd == listener) {
        int accepted = accept(listener, NULL, NULL);
        if (accepted < 0 || accepted >= connections) {
          if (accepted >= 0) close(accepted);
          continue;
        }
        setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        callers[accepted].filled = callers[accepted].missing = 0;
        callers[accepted].held = 0;
        callers[accepted].is_upgraded = false;
        struct epoll_event more = {.events = EPOLLIN, .data.fd = accepted};
        epoll_ctl(epoll, EPOLL_CTL_ADD, accepted, &more);
        continue;
      }
      ssize_t got = recv(fd, bytes, sizeof bytes, 0);
      if (got > 0 && callers[fd].is_upgraded) {
        if (send(fd, bytes, (size_t)got, MSG_NOSIGNAL) != got) close(fd);
        continue;
      }
      int complete = got > 0 ? take(&callers[fd], bytes, (size_t)got) : -1;
      if (complete < 0) {
        close(fd);
        callers[fd].held = 0;
      } else if (gate) {
        callers[fd].held += complete;
      } else {
        reply(fd, complete);
      }
    }
  }
}
