// What Swift cannot express about Linux: ancillary data, namespaces, netlink, epoll and fork.
// Every function returns a negative errno on failure unless it says otherwise; none of them prints, exits or keeps state.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// MARK: sockets (sockets.c)

/// Connects to a unix stream socket, also where `path` is longer than `sun_path`. Non-blocking, close-on-exec.
/// Returns the descriptor, or -EAGAIN when the listener's backlog is full.
int cx_unix_connect(const char *path);
/// Listens on a unix stream socket in place of whatever socket is there. Non-blocking, close-on-exec.
int cx_unix_listen(const char *path, unsigned int mode, int backlog);
/// Listens on an IPv4 address (host byte order). Non-blocking, close-on-exec.
int cx_tcp_listen(uint32_t address, uint16_t port, int backlog);
/// Begins to connect to `127.0.0.1:port`, or `[::1]:port` with `ipv6`. Non-blocking, close-on-exec.
int cx_loopback_connect(uint16_t port, int ipv6);
/// Accepts one connection, non-blocking and close-on-exec.
int cx_accept(int listener);
/// What SO_ERROR holds, as a positive errno; 0 for none.
int cx_socket_error(int descriptor);
/// Makes `close` answer with a reset rather than an orderly end.
void cx_reset_on_close(int descriptor);
/// Sends bytes, and with the first of them a descriptor unless `passed` is -1. Never raises SIGPIPE.
ssize_t cx_send(int descriptor, const void *bytes, size_t count, int passed);
/// Receives bytes, and a descriptor that came with them (`*passed`, else -1), close-on-exec. 0 is the end.
ssize_t cx_receive(int descriptor, void *bytes, size_t count, int *passed);
