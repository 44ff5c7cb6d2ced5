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
/// The IPv4 address (host byte order) at the other end; 0 when there is none.
uint32_t cx_peer_address(int descriptor);
/// Whether a socket is connected to itself: TCP does that when a free port is tried from that same port.
int cx_is_self_connected(int descriptor);

// MARK: event loop (loop.c)

enum { CX_READ = 1, CX_WRITE = 2, CX_HANGUP = 4 };
int cx_poller(void);
/// Watches `descriptor` for `interest` (CX_READ | CX_WRITE; CX_HANGUP always comes). `known`: whether it is watched already.
int cx_poller_set(int poller, int descriptor, int interest, uint64_t token, int known);
int cx_poller_remove(int poller, int descriptor);
/// Waits up to `timeout` milliseconds (-1: for ever) and fills in what is ready. Returns how many.
int cx_poller_wait(int poller, uint64_t *tokens, int *readiness, int capacity, int timeout);
/// Monotonic milliseconds.
int64_t cx_milliseconds(void);
/// Microseconds since the Unix epoch.
int64_t cx_epoch_microseconds(void);

// MARK: processes (process.c)

/// Blocks SIGTERM, SIGINT, SIGHUP and SIGCHLD, ignores SIGPIPE, and returns a descriptor that tells them.
int cx_signals(void);
/// The next signal, or -EAGAIN.
int cx_next_signal(int signals);
/// Reaps one ended child: its process id (0: none ended, -ECHILD: none left) and its exit code (128 + signal).
int cx_reap(int *code);
/// Raises the limit of open files to what is allowed and returns it.
long cx_raise_file_limit(void);
