// What Swift cannot express about Linux: ancillary data, namespaces, netlink, epoll and fork.
// Every function returns a negative errno on failure unless it says otherwise; none of them prints, exits or keeps
// state.
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
/// The same with a socket that is there already. 0 when it is connected, -EINPROGRESS when it will be.
int cx_connect_loopback(int descriptor, uint16_t port, int ipv6);
/// A pair of connected unix sockets, non-blocking and close-on-exec.
int cx_socket_pair(int *first, int *second);
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
/// Descriptors that Linux passes with one message at most.
enum { CX_PASSED = 253 };
/// Receives bytes and every descriptor that came with them: `*held` of them in `passed`, which has place for CX_PASSED,
/// close-on-exec.
ssize_t cx_receive_all(int descriptor, void *bytes, size_t count, int *passed, int *held);
/// Whether it is a TCP socket. Does not wait for anything that another holder of the socket does.
int cx_is_tcp(int descriptor);
/// Ends both directions of a unix socket, so that nothing more arrives. Returns whether something that arrived was not
/// read: then `close` throws it away, which lasts as long as closing the descriptors in it.
int cx_hang_up(int descriptor);
/// The IPv4 address (host byte order) at the other end; 0 when there is none.
uint32_t cx_peer_address(int descriptor);
/// Whether a socket is connected to itself: TCP does that when a free port is tried from that same port.
int cx_is_self_connected(int descriptor);

// MARK: event loop (loop.c)

enum { CX_READ = 1, CX_WRITE = 2, CX_HANGUP = 4 };
int cx_poller(void);
/// Watches `descriptor` for `interest` (CX_READ | CX_WRITE; CX_HANGUP always comes). `known`: whether it is watched
/// already.
int cx_poller_set(int poller, int descriptor, int interest, uint64_t token, int known);
int cx_poller_remove(int poller, int descriptor);
/// Waits up to `timeout` milliseconds (-1: for ever) and fills in what is ready. Returns how many.
int cx_poller_wait(int poller, uint64_t *tokens, int *readiness, int capacity, int timeout);
/// A descriptor that tells of changes in folders. Non-blocking, close-on-exec.
int cx_folder_watcher(void);
/// Watches a folder for files that are made, written, renamed or removed. Returns the watch; a folder that is watched
/// already has one.
int cx_watch_folder(int watcher, const char *path);
int cx_unwatch_folder(int watcher, int watch);
/// Fills in the watches with changes, or -1 for all of them. Returns how many; 0 when there is nothing.
int cx_changed_folders(int watcher, int *watches, int capacity);
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
/// Like `cx_raise_file_limit`, and tells what the limit was.
long cx_raise_file_limit_from(long *before);

/// A file or folder of the host that bubblewrap binds into a container. It gets it at `CX_STAGE/INDEX`, in a mount
/// namespace of its own, so that neither a path of the host stands on its command line, nor a folder that only the
/// platform may enter is in its way, nor can a path be exchanged between check and use.
struct cx_mount {
    /// Absolute.
    const char *source;
    /// A volume: `source` is opened without following any link, and its files have `volume_owners`.
    int is_volume;
};
#define CX_STAGE "/sys"

/// What a child becomes between fork and exec.
struct cx_child {
    /// The program, absolute, or searched in the environment's PATH.
    const char *program;
    /// Ended by NULL, both.
    char *const *arguments;
    char *const *environment;
    /// NULL: stays where it is.
    const char *folder;
    /// Standard output and error; standard input is empty.
    int output;
    /// Gets one text when the program cannot be run; stays open for the program if `keeps_report`.
    int report;
    int keeps_report;
    /// Further descriptors that the program gets, ended by -1. It gets no others.
    const int *kept;
    /// `cgroup.procs` files to join, ended by NULL.
    char *const *cgroups;
    /// Soft limit of open files.
    long files;
    /// Limit of processes and threads of the pod; 0 for none.
    long processes;
    const struct cx_mount *mounts;
    size_t mount_count;
    /// The pod's user namespace, in which the child becomes user 0; -1 where the caller is in it.
    int user_namespace;
    /// A user namespace whose map says which owners files in volumes have; -1: their own.
    int volume_owners;
    /// The user's number inside the container; for `cx_spawn_inside`.
    unsigned user;
    /// System call filter (array of `struct sock_filter`) for the program; empty for none.
    const void *filter;
    size_t filter_size;
};

/// Starts a child in a session of its own that dies with the caller. Returns its process id.
int cx_spawn(const struct cx_child *child);
/// Starts a child inside the namespaces of process `target`, without capabilities and descriptors of the caller; the
/// container cannot trace it before it runs its program. The caller must be single-threaded.
int cx_spawn_inside(const struct cx_child *child, int target);
/// Replaces this process by `child` (which ignores `output`, `cgroups` and `files`); returns only on failure.
int cx_become(const struct cx_child *child);
/// Forks into the background in a new session. Returns the descriptor to read the daemon's report from (in the parent),
/// or 0 in the daemon, with `*report` to write to.
int cx_daemonise(int *report);
/// The process that bubblewrap's init (`init`) runs: its first child. 0 when there is none (any more).
int cx_main_process(int init);
/// Signals that process, if it still is that process.
int cx_signal_main(int init, int signal);
/// Sends SIGKILL to a process if its control groups' paths contain `group`: never to another process that has its
/// number since.
int cx_kill_in_group(int process, const char *group);
/// A descriptor that becomes readable when the process ends.
int cx_process_descriptor(int process);
/// Signals the process that a descriptor of `cx_process_descriptor` stands for: never another one that has its number
/// since.
int cx_signal_process(int descriptor, int signal);
/// Tells the kernel to hand orphaned descendants to this process.
int cx_adopt_orphans(void);
/// A descriptor from which the bytes can be read.
int cx_memory_file(const void *bytes, size_t count);
/// A pipe; the reading end does not block, both are close-on-exec.
int cx_pipe(int *reading, int *writing);

// MARK: namespaces (network.c)

/// New user and network namespaces, this user being 0 in them. `*step` names what failed.
int cx_enter_namespaces(const char **step);
/// A further network namespace; the process is in it afterwards.
int cx_new_network(void);
/// The present network namespace.
int cx_network(void);
/// Goes into a network namespace.
int cx_enter_network(int network);
/// Opens the network namespace of a process, which the caller closes; 0: that of the calling thread.
int cx_network_of(int process);
/// Whether a descriptor is a network namespace and not that of this process: 1; 0 if not.
int cx_is_other_network(int descriptor);
/// Where a call that enters a network namespace left its caller: in the namespace from which it came, there because the
/// kernel does not permit the user to enter (EPERM or ENOSYS), or in the other namespace because it could not return.
enum { CX_HOME = 0, CX_FORBIDDEN = 1, CX_LOST = 2 };
/// Makes `count` non-blocking TCP sockets in a network namespace and returns the calling thread to the namespace
/// `home`. 0, or a negative error number without sockets. The sockets are good with `*place` CX_LOST too, but the
/// thread must end.
int cx_sockets_in(int network, int home, int ipv6, int *sockets, int count, int *place);
/// Enters a network namespace, if necessary through the user namespace that owns it, makes `count` non-blocking TCP
/// sockets there and sends them, with one byte, to the unix socket `output`. For a process of its own: it does not
/// return to its namespaces and cannot be traced afterwards. `*place` is CX_FORBIDDEN where the kernel refuses.
int cx_send_sockets(int network, int output, int ipv6, int count, int *place);
/// Makes a pair of virtual links, `name` here and `peer` in another network namespace.
int cx_link_pair(const char *name, const char *peer, int network);
/// Adds an IPv4 address (host byte order) to a link.
int cx_link_address(const char *name, uint32_t address, int prefix);
/// Lets containers without capabilities listen on ports below 1024 of this network namespace.
int cx_free_low_ports(void);
/// Switches a link on.
int cx_link_up(const char *name);
/// Adds a rule before the routes of this network namespace: a destination (network byte order) is routed as usual, or
/// is unreachable. The rule with the lower priority number decides. A rule that exists is no failure.
int cx_route_rule(int ipv6, const void *address, int prefix, unsigned int priority, int reachable);
/// Becomes this user for good: no further groups, no capabilities, not traceable. The caller must be single-threaded.
int cx_become_user(unsigned int user, unsigned int group);

// MARK: mounts and user namespaces (mounts.c)

/// Opens a path (O_PATH) whose every part is no link; -ELOOP otherwise.
int cx_open_without_links(const char *path);
/// Goes into a new mount namespace and mounts `mounts` at CX_STAGE. `*failed` is the source that failed, or empty.
int cx_stage(const struct cx_mount *mounts, size_t count, int volume_owners, const char **failed);
/// Makes a user namespace with a map of users and groups (`INSIDE OUTSIDE COUNT` lines). Returns its descriptor.
int cx_user_namespace(const char *map);
/// Leaves all supplementary groups.
int cx_drop_groups(void);
/// Leaves the session keyring for a new, empty one.
int cx_new_keyring(void);

// MARK: messages (explain.c)

/// Whether `program`, searched in the environment's PATH, is an ELF file; `path` is where it is then.
int cx_locate_binary(const char *program, char *path, size_t size);
/// Why `program` could not be executed, with the usual cause, searched in the environment's PATH.
void cx_explain(const char *program, int error, char *text, size_t size);

// MARK: files (files.c)

/// Removes a folder and all in it, whatever its permissions and depth, without following a link. Nothing there is no
/// failure.
int cx_remove_tree(const char *path);
/// Bytes that what is in a folder takes on disk, without following a link or leaving the file system; at least `limit`
/// if it is more than that, and what was counted by then at `deadline` (of `cx_milliseconds`). It rests while it works,
/// so that it uses at most a quarter of a processor. -ELOOP where folders are nested too deeply.
int64_t cx_tree_usage(const char *path, int64_t limit, int64_t deadline);
/// Keeps a number beside an open file, in an extended attribute; without effect where the file system has none.
int cx_set_file_mark(int descriptor, const char *name, int64_t value);
/// That number; negative when there is none.
int64_t cx_file_mark(int descriptor, const char *name);
