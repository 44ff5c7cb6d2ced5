// hold HOST:PORT PATH COUNT idle|upgraded|stalled: opens COUNT connections one after the other and leaves them open.
// idle: each has had one GET answered. upgraded: each has become a WebSocket. stalled: each has received the beginning
// of a large body, and reads no more. Prints "holding", waits for a line on its input, and then checks that every idle
// and every upgraded connection still works.
#include "load.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

/// The key of the example in RFC 6455, whose answer the container knows.
static const char upgrade[] = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

static void send_request(int fd, const char *address, const char *path, const char *fields) {
  char head[1024];
  int size = snprintf(head, sizeof head, "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", path, address, fields);
  if (send(fd, head, (size_t)size, MSG_NOSIGNAL) != size) fail("a request could not be sent");
}

/// Reads an answer with this status: its head, and the whole of its body if `is_whole`.
static void receive(int fd, int status, bool is_whole) {
  char bytes[8193];
  size_t filled = 0;
  while (true) {
    ssize_t got = filled < sizeof bytes - 1 ? recv(fd, bytes + filled, sizeof bytes - 1 - filled, 0) : 0;
    if (got <= 0) fail("an answer did not arrive");
    filled += (size_t)got;
    bytes[filled] = 0;
    char *end = strstr(bytes, "\r\n\r\n");
    if (!end) continue;
    if (atoi(bytes + 9) != status) fail("unexpected answer: %.300s", bytes);
    char *length = strcasestr(bytes, "\r\ncontent-length:");
    size_t size = is_whole && length && length < end ? strtoul(length + 17, NULL, 10) : 0;
    if (filled >= (size_t)(end + 4 - bytes) + size) return;
  }
}

int measure_hold(int argc, char **argv) {
  if (argc != 4) fail("hold HOST:PORT PATH COUNT idle|upgraded|stalled");
  const char *address = argv[0], *path = argv[1];
  long count = atol(argv[2]);
  bool is_upgraded = strcmp(argv[3], "upgraded") == 0, is_stalled = strcmp(argv[3], "stalled") == 0;
  allow_connections(count);
  int *connections = calloc((size_t)count, sizeof(int));
  for (long i = 0; i < count; i++) {
    connections[i] = connect_to(address);
    send_request(connections[i], address, path, is_upgraded ? upgrade : "");
    receive(connections[i], is_upgraded ? 101 : 200, !is_stalled);
  }
  puts("holding");
  fflush(stdout);
  getchar();
  for (long i = 0; i < count && !is_stalled; i++) {
    if (is_upgraded) {
      char byte = 'x';
      if (send(connections[i], &byte, 1, MSG_NOSIGNAL) != 1 || recv(connections[i], &byte, 1, 0) != 1 || byte != 'x')
        fail("connection %ld of %ld was closed", i, count);
    } else {
      send_request(connections[i], address, path, "");
      receive(connections[i], 200, true);
    }
  }
  puts("ended");
  return 0;
}
