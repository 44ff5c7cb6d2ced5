// Linux system calls that Swift cannot express: ancillary data, epoll, inotify, process descriptors, namespaces and
// extended attributes. The platform and PodInit both use them.
// Every function returns a negative errno on failure unless its comment says otherwise. None of them prints, exits or
// keeps state.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// MARK: sockets (sockets.c)

/// Connects to a unix stream socket, also where `path` is longer than `sun_path`. Non-blocking, close-on-exec.
/// Returns the descriptor, or -EAGAIN when the listener's backlog is full.
int cx_unix_connect(const char *path);
/// Listens on a unix stream socket and replaces any socket at this path. Non-blocking, close-on-exec.
int cx_unix_listen(const char *path, unsigned int mode, int backlog);
/// Listens on an IPv4 address (host byte order). Non-blocking, close-on-exec.
int cx_tcp_listen(uint32_t address, uint16_t port, int backlog);
/// Begins to connect to `127.0.0.1:port`, or `[::1]:port` with `ipv6`. Non-blocking, close-on-exec.
int cx_loopback_connect(uint16_t port, int ipv6);
/// The same with an existing socket. 0 when it is connected, -EINPROGRESS when it will be.
int cx_connect_loopback(int descriptor, uint16_t port, int ipv6);
/// A pair of connected unix sockets, non-blocking and close-on-exec.
int cx_socket_pair(int *first, int *second);
/// Accepts one connection, non-blocking and close-on-exec.
int cx_accept(int listener);
/// The value of SO_ERROR, as a positive errno; 0 for none.
int cx_socket_error(int descriptor);
/// Makes `close` send a reset instead of an orderly end.
void cx_reset_on_close(int descriptor);
/// Sends bytes, and with the first of them a descriptor unless `passed` is -1. Never raises SIGPIPE.
ssize_t cx_send(int descriptor, const void *bytes, size_t count, int passed);
/// Receives bytes, and a descriptor that came with them (`*passed`, else -1), close-on-exec. 0 is the end.
ssize_t cx_receive(int descriptor, void *bytes, size_t count, int *passed);
/// The most descriptors that Linux passes with one message.
enum { CX_PASSED = 253 };
/// Receives bytes and every descriptor that came with them: `*held` of them in `passed`, which has place for CX_PASSED,
/// close-on-exec.
ssize_t cx_receive_all(int descriptor, void *bytes, size_t count, int *passed, int *held);
/// Whether it is a TCP socket. Does not wait for another process that holds the socket.
int cx_is_tcp(int descriptor);
/// Ends both directions of a unix socket, so that nothing more arrives. Returns whether received data was not read:
/// then `close` discards it, which takes as long as closing the descriptors in it.
int cx_hang_up(int descriptor);
/// Whether a socket is connected to itself: TCP does that when a free port is tried from that same port.
int cx_is_self_connected(int descriptor);

// MARK: event loop (loop.c)

enum { CX_READ = 1, CX_WRITE = 2, CX_HANGUP = 4 };
int cx_poller(void);
/// Watches `descriptor` for `interest` (CX_READ | CX_WRITE; CX_HANGUP is always reported). `known`: whether it is
/// watched already.
int cx_poller_set(int poller, int descriptor, int interest, uint64_t token, int known);
int cx_poller_remove(int poller, int descriptor);
/// Waits up to `timeout` milliseconds (-1: no limit) and fills in what is ready. Returns how many.
int cx_poller_wait(int poller, uint64_t *tokens, int *readiness, int capacity, int timeout);
/// A descriptor that reports changes in folders. Non-blocking, close-on-exec.
int cx_folder_watcher(void);
/// Watches a folder for files that are made, written, renamed or removed. Returns the watch; a folder that is watched
/// already has one.
int cx_watch_folder(int watcher, const char *path);
int cx_unwatch_folder(int watcher, int watch);
/// Fills in the watches with changes, or -1 for all of them. Returns how many; 0 when there are none.
int cx_changed_folders(int watcher, int *watches, int capacity);
/// Monotonic milliseconds.
int64_t cx_milliseconds(void);
/// Microseconds since the Unix epoch.
int64_t cx_epoch_microseconds(void);

// MARK: processes (process.c)

/// A descriptor that becomes readable when the process ends.
int cx_process_descriptor(int process);
/// Signals the process of a descriptor of `cx_process_descriptor`, never another process that has its number since.
int cx_signal_process(int descriptor, int signal);
/// Sends SIGKILL to a process if its control groups' paths contain `group`, never to another process that has its
/// number since.
int cx_kill_in_group(int process, const char *group);

// MARK: network namespaces (network.c)

/// Opens the network namespace of a process, which the caller closes; 0: that of the calling thread.
int cx_network_of(int process);
/// Whether a descriptor is a network namespace and not that of this process: 1; 0 if not.
int cx_is_other_network(int descriptor);
/// Whether this error number means that the kernel does not permit the user to enter a namespace.
int cx_is_forbidden(int error);
/// Makes `count` non-blocking TCP sockets, or none. 0, or a negative errno.
int cx_make_sockets(int *sockets, int ipv6, int count);
/// Where a call that enters a network namespace left its caller: in the namespace from which it came, there because the
/// kernel does not permit the user to enter (EPERM or ENOSYS), or in the other namespace because it could not return.
enum { CX_HOME = 0, CX_FORBIDDEN = 1, CX_LOST = 2 };
/// Makes `count` non-blocking TCP sockets in a network namespace and returns the calling thread to the namespace
/// `home`. 0, or a negative errno without sockets. The sockets are valid with `*place` CX_LOST too, but the thread must
/// end.
int cx_sockets_in(int network, int home, int ipv6, int *sockets, int count, int *place);

// MARK: files (files.c)

/// Opens a path (O_PATH) of which no part is a link; -ELOOP otherwise.
int cx_open_without_links(const char *path);
/// Opens a path below an open folder with these flags (O_CLOEXEC is added). It never leaves the folder and follows no
/// link in any component: -ELOOP or -EXDEV for such a path.
int cx_open_beneath(int folder, const char *path, int flags);
/// Removes a folder and everything in it, whatever its permissions and depth, without following a link. A missing
/// folder is no failure.
int cx_remove_tree(const char *path);
/// Bytes that the content of a folder takes on disk, without following a link or leaving the file system. Returns at
/// least `limit` if it is more than that, and what was counted so far at `deadline` (of `cx_milliseconds`). It pauses
/// while it works, so that it uses at most a quarter of a processor. -ELOOP where folders are nested too deeply.
int64_t cx_tree_usage(const char *path, int64_t limit, int64_t deadline);
/// Keeps a number beside an open file, in an extended attribute; no effect where the file system has none.
int cx_set_file_mark(int descriptor, const char *name, int64_t value);
/// That number; negative when there is none.
int64_t cx_file_mark(int descriptor, const char *name);
