// transfer HOST:PORT PATH down|up SIZE: receives the body of one GET, which must have SIZE bytes and a Content-Length,
// or sends one POST of SIZE bytes and waits for the answer; prints the seconds.
#include "load.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

enum { room = 256 * 1024 };
static char bytes[room + 1];

static void send_all(int fd, const char *from, size_t size) {
  while (size > 0) {
    ssize_t sent = send(fd, from, size, MSG_NOSIGNAL);
    if (sent <= 0) fail("the server stopped reading with %zu bytes left", size);
    from += sent;
    size -= (size_t)sent;
  }
}

/// Reads one answer with status 200 and returns the size of its body.
static unsigned long long receive(int fd) {
  size_t filled = 0;
  char *end = NULL;
  while (!end) {
    ssize_t got = filled < room ? recv(fd, bytes + filled, room - filled, 0) : 0;
    if (got <= 0) fail("no answer");
    filled += (size_t)got;
    bytes[filled] = 0;
    end = strstr(bytes, "\r\n\r\n");
  }
  char *length = strcasestr(bytes, "\r\ncontent-length:");
  if (atoi(bytes + 9) != 200 || !length || length > end) fail("unexpected answer: %.300s", bytes);
  unsigned long long size = strtoull(length + 17, NULL, 10), arrived = filled - (size_t)(end + 4 - bytes);
  while (arrived < size) {
    ssize_t got = recv(fd, bytes, room, 0);
    if (got <= 0) fail("the answer ended after %llu of %llu bytes", arrived, size);
    arrived += (size_t)got;
  }
  return size;
}

int measure_transfer(int argc, char **argv) {
  if (argc != 4) fail("transfer HOST:PORT PATH down|up SIZE");
  bool is_up = strcmp(argv[2], "up") == 0;
  unsigned long long size = strtoull(argv[3], NULL, 10);
  int fd = connect_to(argv[0]);
  char head[512];
  int length = snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: %s\r\n", is_up ? "POST" : "GET", argv[1], argv[0]);
  if (is_up) length += snprintf(head + length, sizeof head - (size_t)length, "Content-Length: %llu\r\n", size);
  length += snprintf(head + length, sizeof head - (size_t)length, "\r\n");
  double began = now();
  send_all(fd, head, (size_t)length);
  for (unsigned long long left = is_up ? size : 0; left > 0;) {
    size_t part = left < room ? (size_t)left : room;
    send_all(fd, bytes, part);
    left -= part;
  }
  unsigned long long received = receive(fd);
  if (!is_up && received != size) fail("%llu bytes arrived instead of %llu", received, size);
  printf("{\"seconds\": %.3f}\n", now() - began);
  return 0;
}
