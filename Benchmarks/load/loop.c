#include "load.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

int connect_to(const char *address) {
  struct addrinfo wanted = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found;
  const char *colon = strrchr(address, ':');
  if (!colon) fail("%s is not host:port", address);
  char host[64];
  snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
  if (getaddrinfo(host, colon + 1, &wanted, &found) != 0) fail("no address for %s", host);
  int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) != 0) fail("connect: %s", strerror(errno));
  freeaddrinfo(found);
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

void loop_open(Loop *loop, const char *address, int connections, Answered answered, void *context) {
  memset(loop, 0, sizeof *loop);
  snprintf(loop->address, sizeof loop->address, "%s", address);
  loop->epoll = epoll_create1(EPOLL_CLOEXEC);
  loop->connections = calloc((size_t)connections, sizeof(Connection));
  loop->count = connections;
  loop->answered = answered;
  loop->context = context;
  for (int i = 0; i < connections; i++) {
    Connection *connection = &loop->connections[i];
    connection->loop = loop;
    connection->number = i;
    connection->fd = connect_to(address);
    fcntl(connection->fd, F_SETFL, fcntl(connection->fd, F_GETFL) | O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    epoll_ctl(loop->epoll, EPOLL_CTL_ADD, connection->fd, &event);
  }
}

void loop_close(Loop *loop) {
  for (int i = 0; i < loop->count; i++) {
    close(loop->connections[i].fd);
    free(loop->connections[i].in);
  }
  free(loop->connections);
  close(loop->epoll);
}

static void write_more(Connection *connection) {
  while (connection->left > 0) {
    ssize_t sent = send(connection->fd, connection->out, connection->left, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno != EAGAIN) fail("send: %s", strerror(errno));
      struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = connection};
      epoll_ctl(connection->loop->epoll, EPOLL_CTL_MOD, connection->fd, &event);
      return;
    }
    connection->out += sent;
    connection->left -= (size_t)sent;
  }
}

void send_bytes(Connection *connection, const char *bytes, size_t size, long tag) {
  connection->out = bytes;
  connection->left = size;
  connection->tag = tag;
  connection->sent_at = now();
  write_more(connection);
}

void send_get(Connection *connection, const char *path, const char *query, long tag) {
  int size = snprintf(connection->head, sizeof connection->head, "GET %s%s HTTP/1.1\r\nHost: %s\r\n\r\n", path, query,
                      connection->loop->address);
  send_bytes(connection, connection->head, (size_t)size, tag);
}

/// Removes one complete answer from the buffer, if there is one.
static bool take_answer(Connection *connection) {
  if (connection->filled == 0) return false;
  connection->in[connection->filled] = 0;
  char *end = strstr(connection->in, "\r\n\r\n");
  if (!end) return false;
  char *length = strcasestr(connection->in, "\r\ncontent-length:");
  if (!length || length > end) fail("an answer without Content-Length");
  size_t size = strtoul(length + 17, NULL, 10), head = (size_t)(end - connection->in) + 4;
  if (connection->filled < head + size) return false;
  if (connection->filled > head + size) fail("more came than was asked for");
  int status = atoi(connection->in + 9);
  // Cleared first, because the callee sends the next request.
  connection->filled = 0;
  connection->loop->answered(connection->loop, connection, status, connection->in + head, size);
  return true;
}

static void read_more(Connection *connection) {
  if (connection->room - connection->filled < 4096) {
    connection->room = connection->room ? connection->room * 2 : 8192;
    connection->in = realloc(connection->in, connection->room + 1);
  }
  ssize_t got = recv(connection->fd, connection->in + connection->filled, connection->room - connection->filled, 0);
  if (got == 0) fail("the server closed a connection");
  if (got < 0) {
    if (errno == EAGAIN) return;
    fail("recv: %s", strerror(errno));
  }
  connection->filled += (size_t)got;
  take_answer(connection);
}

bool loop_run(Loop *loop, double deadline) {
  struct epoll_event events[256];
  loop->is_done = false;
  while (!loop->is_done) {
    double left = deadline - now();
    if (left <= 0) return false;
    int count = epoll_wait(loop->epoll, events, 256, left > 1 ? 1000 : (int)(left * 1000) + 1);
    for (int i = 0; i < count && !loop->is_done; i++) {
      Connection *connection = events[i].data.ptr;
      if (events[i].events & EPOLLOUT) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
        epoll_ctl(loop->epoll, EPOLL_CTL_MOD, connection->fd, &event);
        write_more(connection);
      }
      if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) read_more(connection);
    }
  }
  return true;
}
